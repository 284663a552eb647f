//! Asking peers what they hold: who is waited for, who is not, and what is known afterwards.

use std::{collections::BTreeSet, time::Duration};

use aepoch::{
    document::{Subscription, Version},
    engine::{EngineKind, Section},
    id::{LinkId, ReplicaId},
    node::{Event, Input, Inquired, InquiryId, TargetId},
    sync::Message,
    time::Dice,
};

use crate::world::{World, document, tuning};

const AGENTS: usize = 4;

fn inquire(world: &mut World, host: usize) -> InquiryId {
    let now = world.now;
    world.hosts[host].node.inquire(&document(), Some(Section::Register), now).unwrap()
}

fn inquired(world: &World, host: usize, inquiry: InquiryId) -> Inquired {
    world.hosts[host].node.inquired(&document(), inquiry)
}

/// Which of so many agents have written that they are there, as far as one knows.
fn known_of(world: &World, host: usize, agents: usize) -> Vec<usize> {
    (1..=agents).filter(|other| world.get(host, &format!("register/host-{other}")).is_some()).collect()
}

fn known(world: &World, host: usize) -> BTreeSet<usize> {
    known_of(world, host, AGENTS).into_iter().collect()
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
    world.hosts[2].node.open(&document(), EngineKind::Yrs, Subscription::default(), now).unwrap();
    world.pump();
    world.set(2, "key", 7);
    pass_ms(&mut world, 1);
    let inquiry = inquire(&mut world, 1);
    pass_ms(&mut world, 500);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
    assert_eq!(world.get(1, "register/key"), Some(7.into()));
}

/// An answer of the relay to host 1, which it may never have given.
fn answer(world: &mut World, inquiry: InquiryId, version: Version) {
    let message = Message::Version { document: document(), question: inquiry.question(), version };
    let now = world.now;
    world.hosts[1].node.handle(Input::Message { link: LinkId(0), message }, now);
}

fn version(world: &World, host: usize) -> Version {
    world.hosts[host].node.read(&document(), |document| document.version().clone()).unwrap()
}

#[test]
fn an_answer_to_an_older_question_does_not_count() {
    let mut world = World::new(1, &tuning());
    world.set(1, "key", 1);
    let older = inquire(&mut world, 1);
    world.cut_off(1);
    world.hosts[1].node.end_inquiry(&document(), older);
    let inquiry = inquire(&mut world, 1);
    let ours = version(&world, 1);
    answer(&mut world, older, ours.clone());
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Pending);
    answer(&mut world, inquiry, ours);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
}

#[test]
fn an_answer_counts_once_it_has_what_was_written_here() {
    let mut world = World::new(1, &tuning());
    world.cut_off(1);
    world.set(1, "key", 1);
    let inquiry = inquire(&mut world, 1);
    let ours = version(&world, 1);
    for _ in 0..50 {
        answer(&mut world, inquiry, Version::default());
        assert_eq!(inquired(&world, 1, inquiry), Inquired::Pending, "that the relay has not all yet is nobody's fault");
    }
    world.set(1, "key", 2);
    pass_ms(&mut world, 1_000);
    answer(&mut world, inquiry, ours);
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard, "what is written while it is asked need not be there");
}

#[test]
fn all_that_is_in_an_answer_is_waited_for_and_nothing_that_comes_later() {
    let mut world = World::new(2, &tuning());
    world.cut_off(1);
    let inquiry = inquire(&mut world, 1);
    world.set(2, "key", 1);
    let theirs = version(&world, 2);
    answer(&mut world, inquiry, theirs);
    world.rest();
    let told =
        |world: &World| world.hosts[1].events.iter().filter(|event| matches!(event, Event::Inquired { .. })).count();
    assert_eq!((inquired(&world, 1, inquiry), told(&world)), (Inquired::Pending, 0));
    world.cut_off_no_more(1);
    pass_ms(&mut world, 50);
    assert_eq!((inquired(&world, 1, inquiry), told(&world)), (Inquired::Heard, 1));
    world.cut_off(1);
    world.set(2, "key", 2);
    pass_ms(&mut world, 50);
    assert_eq!(world.get(1, "register/key"), Some(1.into()));
    assert_eq!(inquired(&world, 1, inquiry), Inquired::Heard);
}

#[test]
fn of_another_kind_nothing_is_waited_for() {
    let mut world = World::new(1, &tuning());
    world.cut_off(1);
    let now = world.now;
    let ask = |world: &mut World, section| world.hosts[1].node.inquire(&document(), section, now).unwrap();
    let of = [None, Some(Section::Counter), Some(Section::Text), Some(Section::Coordination)];
    let open = of.map(|section| ask(&mut world, section));
    let more = Version { records: [(ReplicaId::from_bits(102), 1)].into_iter().collect(), ..Version::default() };
    for inquiry in open {
        answer(&mut world, inquiry, more.clone());
    }
    let stands = open.map(|inquiry| inquired(&world, 1, inquiry));
    assert_eq!(stands, [Inquired::Pending, Inquired::Pending, Inquired::Heard, Inquired::Heard]);
}

/// Agents 2 and 3 take of whom dialled them only its own writes, and do not hear of each other.
#[test]
fn who_dialled_two_that_do_not_hear_of_each_other_hears_of_both() {
    let mut world = World::new(3, &tuning());
    for host in 1..=3 {
        world.lose(host, LinkId(2 * (host as u64 - 1)));
    }
    world.connect(1, 2);
    world.connect(1, 3);
    world.pump();
    for host in 1..=3 {
        world.set(host, &format!("host-{host}"), 1);
    }
    let open = [1, 2, 3].map(|host| inquire(&mut world, host));
    pass_ms(&mut world, 200);
    for (host, knows) in [(1, vec![1, 2, 3]), (2, vec![1, 2]), (3, vec![1, 3])] {
        assert_eq!(inquired(&world, host, open[host - 1]), Inquired::Heard, "of {host}");
        assert_eq!(known_of(&world, host, 3), knows, "by {host}");
    }
}

#[test]
fn who_holds_a_part_of_the_records_asks_and_is_asked_like_everybody() {
    let mut world = World::new(2, &tuning());
    let (now, part) = (world.now, Subscription { prefixes: vec!["register/host-2".to_owned()] });
    world.hosts[2].node.close(&document(), now);
    world.pass(tuning().evict_after * 2);
    world.hosts[2].node.open(&document(), EngineKind::Yrs, part, now).unwrap();
    world.pump();
    world.connect(1, 2);
    world.pump();
    world.set(1, "host-1", 1);
    world.set(2, "host-2", 1);
    let open = [1, 2].map(|host| inquire(&mut world, host));
    pass_ms(&mut world, 200);
    for (host, knows) in [(1, vec![1, 2]), (2, vec![2])] {
        assert_eq!(inquired(&world, host, open[host - 1]), Inquired::Heard, "of {host}");
        assert_eq!(known_of(&world, host, 2), knows, "by {host}");
    }
}
