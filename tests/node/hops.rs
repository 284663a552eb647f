//! How many message delays a release takes over direct links, with disks that take no time: what each tolerance costs.

use std::time::Duration;

use aepoch::{coordination::object::Purpose, coordination::standing::Standing, node::Arriving};

use crate::{
    coordination::plan,
    world::{World, document, tuning},
};

/// Delays from the last arrival to the release: of whoever came last, and of the slowest and the fastest other.
fn delays(members: usize, tolerate: u32) -> (usize, usize, usize) {
    let mut world = World::new(members, &tuning());
    for from in 1..=members {
        for to in 1..from {
            world.connect(from, to);
        }
    }
    world.pass(Duration::from_millis(100));
    let all: Vec<usize> = (1..=members).collect();
    let plan = plan("hops", &[&all], tolerate, Purpose::Barrier { once: true });
    let object = world.hosts[1].node.define(&document(), plan, world.now).unwrap();
    world.pass(Duration::from_millis(100));
    for host in 1..=members {
        world.hosts[host].node.arrive(&document(), object, Arriving::default(), world.now).unwrap();
        if host < members {
            world.pass(Duration::from_millis(100));
        }
    }
    let mut taken = vec![None; members + 1];
    for delay in 0..6 {
        if delay == 0 {
            world.rest()
        } else {
            world.delay()
        }
        for (host, taken) in taken.iter_mut().enumerate().skip(1) {
            let standing = world.hosts[host].node.standing(&document(), object, 0, world.now).unwrap();
            if taken.is_none() && matches!(standing, Standing::Released(_)) {
                *taken = Some(delay);
            }
        }
    }
    let taken: Vec<usize> = taken[1..].iter().map(|delay| delay.expect("everybody is released")).collect();
    let others = &taken[..members - 1];
    (taken[members - 1], *others.iter().min().unwrap(), *others.iter().max().unwrap())
}

#[test]
fn a_release_takes_the_delays_that_its_tolerance_costs_and_no_more() {
    for members in [3, 5, 7] {
        assert_eq!(delays(members, 0), (0, 1, 1), "strict, {members} members");
        assert_eq!(delays(members, 1), (2, 1, 1), "one failure, {members} members");
        for tolerate in 2..=(members as u32 - 1) / 2 {
            assert_eq!(delays(members, tolerate), (2, 2, 2), "{tolerate} failures, {members} members");
        }
    }
}
