//! Asking peers what they hold: who is waited for, who is not, and what is known afterwards.

use std::{collections::BTreeSet, time::Duration};

use aepoch::{
    document::DigestEntry,
    engine::EngineKind,
    id::LinkId,
    node::{Input, Inquired, InquiryId, TargetId},
    sync::Message,
    time::Dice,
};

use crate::world::{World, document, tuning};

const AGENTS: usize = 4;

fn inquire(world: &mut World, host: usize) -> InquiryId {
    let now = world.now;
    world.hosts[host].node.inquire(&document(), "register", now).unwrap()
}

fn inquired(world: &World, host: usize, inquiry: InquiryId) -> Inquired {
    world.hosts[host].node.inquired(&document(), inquiry)
}

/// Which agents have written that they are there, as far as one knows.
fn known(world: &World, host: usize) -> BTreeSet<usize> {
    (1..=AGENTS).filter(|other| world.get(host, &format!("register/host-{other}")).is_some()).collect()
}

fn pass_ms(world: &mut World, ms: u64) {
    world.pass(Duration::from_millis(ms));
}

/// Agents write that they are there and inquire, while packets to and fro are held back and let go. Of each two, one at
/// least knows of the other when it has heard.
fn one_of_two_knows(seed: u64, wire_up: impl Fn(&mut World) -> usize) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(AGENTS, &tuning());
    let wires = wire_up(&mut world);
    let mut open: Vec<Option<InquiryId>> = vec![None; AGENTS + 1];
    let mut heard: Vec<Option<BTreeSet<usize>>> = vec![None; AGENTS + 1];
    for step in 0.. {
        if step < 60 {
            let host = 1 + dice.below(AGENTS as u64) as usize;
            match dice.below(5) {
                0 => world.cut_off(host),
                1 => world.cut_off_no_more(host),
                2 => world.hold(dice.below(wires as u64) as usize, dice.chance(50)),
                3 if open[host].is_none() => {
                    world.set(host, &format!("host-{host}"), 1);
                    open[host] = Some(inquire(&mut world, host));
                }
                _ => pass_ms(&mut world, dice.below(100)),
            }
        } else {
            for host in 1..=AGENTS {
                world.cut_off_no_more(host);
            }
            pass_ms(&mut world, 1_000);
        }
        for host in 1..=AGENTS {
            if let (Some(inquiry), None) = (open[host], &heard[host]) {
                match inquired(&world, host, inquiry) {
                    Inquired::Pending => {}
                    Inquired::Heard => heard[host] = Some(known(&world, host)),
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        let is_over = (1..=AGENTS).all(|host| open[host].is_some() == heard[host].is_some());
        if step >= 60 && is_over {
            break;
        }
        assert!(step < 100, "seed {seed}: not heard: {open:?} {heard:?}");
    }
    for (one, of_one) in heard.iter().enumerate() {
        for (two, of_two) in heard.iter().enumerate().skip(one + 1) {
            if let (Some(of_one), Some(of_two)) = (of_one, of_two) {
                assert!(of_one.contains(&two) || of_two.contains(&one), "seed {seed}, {one} and {two}: {heard:?}");
            }
        }
    }
}

#[test]
fn of_two_that_inquire_of_one_relay_one_knows_of_the_other() {
    (0..150).for_each(|seed| one_of_two_knows(seed, |_| AGENTS));
}

#[test]
fn of_two_that_inquire_of_each_other_one_knows_of_the_other() {
    (0..150).for_each(|seed| one_of_two_knows(seed, without_relay));
}

/// Connects agents with each other instead; returns how many wires there are.
fn without_relay(world: &mut World) -> usize {
    let mut wires = 0;
    for host in 1..=AGENTS {
        world.lose(host, LinkId(2 * (host as u64 - 1)));
        wires = (1..host).map(|other| world.connect(host, other) + 1).max().unwrap_or(wires);
    }
    world.pump();
    wires
}

#[test]
fn who_has_a_target_waits_until_it_is_connected_and_who_has_none_does_not() {
    let mut world = World::new(1, &tuning());
    world.set(1, "key", 1);
    world.lose(1, LinkId(0));
    let alone = inquire(&mut world, 1);
    assert_eq!(inquired(&world, 1, alone), Inquired::Heard);
    let now = world.now;
    world.hosts[1].node.add_target(TargetId(0), now);
    let waits = inquire(&mut world, 1);
    assert_eq!(inquired(&world, 1, waits), Inquired::Pending);
    world.connect(1, 0);
    pass_ms(&mut world, 200);
    assert_eq!(inquired(&world, 1, waits), Inquired::Heard);
    world.hosts[1].node.end_inquiry(&document(), waits);
    assert_eq!(inquired(&world, 1, waits), Inquired::Pending, "nobody is asked any more");
}

#[test]
fn who_goes_while_it_is_asked_is_not_waited_for_and_asked_again_when_it_is_back() {
    let mut world = World::new(2, &tuning());
    world.set(2, "key", 1);
    pass_ms(&mut world, 50);
    let now = world.now;
    world.hosts[1].node.add_target(TargetId(0), now);
    world.hold(0, true);
    world.set(2, "key", 2);
    pass_ms(&mut world, 50);
    let inquiry = inquire(&mut world, 1);
    pass_ms(&mut world, 50);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Pending);
    world.lose(1, LinkId(0));
    pass_ms(&mut world, 50);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Pending, "it has a target");
    world.connect(1, 0);
    pass_ms(&mut world, 200);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
    assert_eq!(world.get(1, "register/key"), Some(2.into()));
}

#[test]
fn a_peer_that_does_not_hold_the_document_is_not_waited_for_until_it_does() {
    let mut world = World::new(2, &tuning());
    let now = world.now;
    world.hosts[2].node.close(&document(), now);
    world.pass(tuning().evict_after * 2);
    for host in [1, 2] {
        world.cut_off(host);
    }
    world.connect(1, 2);
    pass_ms(&mut world, 50);
    world.lose(1, LinkId(0));
    let inquiry = inquire(&mut world, 1);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard, "nobody else has it");
    // With it open, it is one of those who are asked.
    world.hosts[2].node.open(&document(), EngineKind::Yrs, aepoch::document::Subscription::default(), now).unwrap();
    world.pump();
    world.set(2, "key", 7);
    pass_ms(&mut world, 1);
    let inquiry = inquire(&mut world, 1);
    pass_ms(&mut world, 500);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
    assert_eq!(world.get(1, "register/key"), Some(7.into()));
}

/// An answer of the relay to host 1, which it may never have given.
fn answer(world: &mut World, question: u64, entries: Vec<DigestEntry>) {
    let message = Message::Digest { document: document(), question, path: "register".to_owned(), entries };
    let now = world.now;
    world.hosts[1].node.handle(Input::Message { link: LinkId(0), message }, now);
}

#[test]
fn an_answer_to_an_older_question_does_not_count() {
    let mut world = World::new(1, &tuning());
    world.set(1, "key", 1);
    let older = inquire(&mut world, 1);
    world.cut_off(1);
    world.hosts[1].node.end_inquiry(&document(), older);
    let inquiry = inquire(&mut world, 1);
    let ours = world.hosts[1].node.read(&document(), |document| document.digest("register").unwrap()).unwrap();
    answer(&mut world, older.question(), ours.clone());
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Pending);
    answer(&mut world, inquiry.question(), ours);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
}

#[test]
fn what_others_keep_changing_is_not_waited_for_for_ever() {
    let mut world = World::new(1, &tuning());
    let inquiry = inquire(&mut world, 1);
    world.cut_off(1);
    world.set(1, "key", 0);
    let answer = |world: &mut World| {
        answer(world, inquiry.question(), Vec::new());
        inquired(world, 1, inquiry)
    };
    // That the relay lacks what is here is no reason to stop asking.
    for _ in 0..50 {
        assert_eq!(answer(&mut world), Inquired::Pending);
    }
    for change in 1..10 {
        world.set(1, "key", change);
        assert_eq!(answer(&mut world), Inquired::Pending, "after {change} changes");
    }
    world.set(1, "key", 10);
    assert_eq!(answer(&mut world), Inquired::Changing);
}
