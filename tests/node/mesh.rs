//! Agents that talk with each other directly, and come and go.

use std::time::Duration;

use aepoch::{document::Subscription, engine::EngineKind, id::LinkId};

use crate::world::{World, document, tuning};

#[test]
fn who_left_and_came_back_while_that_was_on_its_way_takes_part() {
    let mut world = World::new(2, &tuning());
    world.lose(1, LinkId(0));
    world.lose(2, LinkId(2));
    let wire = world.connect(1, 2);
    world.pump();
    world.hold(wire, true);
    for host in [2, 1] {
        let now = world.now;
        world.hosts[host].node.close(&document(), now);
        world.pump();
    }
    for host in [1, 2] {
        let now = world.now;
        world.hosts[host].node.open(&document(), EngineKind::Yrs, Subscription::default(), now).unwrap();
        world.pump();
    }
    // Only now the first hears that the other one had left, before it joined again.
    world.hold(wire, false);
    world.pump();
    world.set(1, "r", 1);
    world.set(2, "s", 2);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.get(2, "register/r"), Some(1.into()));
    assert_eq!(world.get(1, "register/s"), Some(2.into()));
}
