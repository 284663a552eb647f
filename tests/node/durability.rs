//! Acknowledgements, failing stores, documents that leave memory.

use std::time::Duration;

use aepoch::{
    document::{Frontier, Subscription},
    engine::EngineKind,
    id::LinkId,
    node::{Event, Input, NodeError},
    store::StoreError,
    sync::Message,
};
use serde_json::json;

use crate::world::{World, document, tuning};

#[test]
fn an_acknowledgement_waits_for_the_store() {
    let mut world = World::new(2, &tuning());
    for agent in [1, 2] {
        let now = world.now;
        world.hosts[agent].node.add_target(aepoch::node::TargetId(0), now);
    }
    world.hosts[0].hold_store = true;
    world.set(1, "r", 1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.get(2, "register/r"), Some(json!(1)), "forwarded first");
    assert_eq!(world.hosts[1].node.unsynced(&document()), 1, "not durable yet");
    world.hosts[0].hold_store = false;
    world.pass(Duration::from_millis(10));
    assert_eq!(world.hosts[1].node.unsynced(&document()), 0);
    assert!(world.hosts[1].events.iter().any(|event| matches!(event, Event::Acked { .. })));
}

#[test]
fn what_is_not_durable_is_counted_while_the_document_is_worked_on_or_read() {
    let mut world = World::new(2, &tuning());
    let now = world.now;
    world.hosts[1].node.add_target(aepoch::node::TargetId(0), now);
    world.hosts[0].hold_store = true;
    world.set(1, "r", 1);
    world.hosts[1].hold_work = true;
    for n in 0..3 {
        world.put(2, &n.to_string(), &"z".repeat(100_000));
    }
    world.pass(Duration::from_millis(50));
    assert!(world.hosts[1].node.read(&document(), |_| ()).is_err(), "it is away");
    let stands = |world: &World| {
        let node = &world.hosts[1].node;
        (node.unsynced(&document()), node.is_synced(&document()))
    };
    assert_eq!(stands(&world), (1, false));
    world.hosts[0].hold_store = false;
    world.hosts[1].hold_work = false;
    world.pass(Duration::from_millis(50));
    assert_eq!(stands(&world), (0, true));

    // Begun anew without a connection, it does not know yet what it had written before.
    world.cut_off(1);
    world.set(1, "r", 2);
    world.pass(Duration::from_millis(50));
    world.hosts[1].hold_store = true;
    world.restart(1);
    world.cut_off(1);
    let now = world.now;
    world.hosts[1].node.add_target(aepoch::node::TargetId(0), now);
    assert_eq!(stands(&world), (0, false));
    world.hosts[1].hold_store = false;
    world.pass(Duration::from_millis(50));
    let (unsynced, is_synced) = stands(&world);
    assert!(unsynced > 0 && !is_synced, "{unsynced}");
    world.cut_off_no_more(1);
    world.pass(Duration::from_millis(50));
    assert_eq!(stands(&world), (0, true));
}

#[test]
fn a_failing_store_delays_acknowledgements_and_loses_nothing() {
    let mut world = World::new(1, &tuning());
    let now = world.now;
    world.hosts[1].node.add_target(aepoch::node::TargetId(0), now);
    world.hosts[0].fail_store = true;
    for n in 0..10 {
        world.set(1, "r", n);
        world.pass(Duration::from_millis(300));
    }
    assert!(world.hosts[1].node.unsynced(&document()) > 0);
    assert_eq!(world.hosts[0].node.store_error().as_deref(), Some("store write failed: disk full"));
    world.hosts[0].fail_store = false;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.hosts[1].node.unsynced(&document()), 0);
    assert_eq!(world.hosts[0].node.store_error(), None);
    assert!(world.hosts[0].node.is_settled());
}

#[test]
fn a_long_log_is_compacted_and_the_document_reads_the_same_afterwards() {
    let mut tuning = tuning();
    tuning.compact_entries = 20;
    tuning.evict_after = Duration::from_secs(10);
    let mut world = World::new(1, &tuning);
    for n in 0..100 {
        world.put(1, &(n % 5).to_string(), &format!("value {n}"));
        world.set(1, "r", n);
        world.pass(Duration::from_millis(20));
    }
    let status = world.hosts[0].node.documents().next().unwrap();
    assert!(status.log_entries <= 21, "{} entries stand in the log", status.log_entries);
    let before = world.digests();
    let now = world.now;
    world.hosts[1].node.close(&document(), now);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.hosts[0].node.documents().count(), 0, "nobody needs it: it has left memory");
    world.join(&tuning);
    world.pass(Duration::from_secs(1));
    let digest = world.hosts[2].node.read(&document(), |document| document.root_digest().unwrap()).unwrap();
    assert_eq!(digest, before[0], "and came back from the store");
}

/// A relay whose store answers loads with `error`, after its only document has left memory; an agent (host 1) that
/// writes register `r` and joins, but hears nothing from the relay.
fn relay_that_cannot_load(error: StoreError) -> World {
    let mut tuning = tuning();
    tuning.evict_after = Duration::from_secs(1);
    let mut world = World::new(1, &tuning);
    world.set(1, "r", 1);
    world.pass(Duration::from_millis(50));
    let now = world.now;
    world.hosts[1].node.close(&document(), now);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.hosts[0].node.documents().count(), 0, "it has left memory");
    world.hosts[0].load_error = Some(error);
    world.hold(0, true);
    world.hosts[1].node.open(&document(), EngineKind::Yrs, Subscription::default(), now).unwrap();
    world.pass(Duration::from_millis(50));
    world
}

#[test]
fn a_load_that_fails_for_now_is_tried_again_and_what_arrives_meanwhile_waits() {
    let mut world = relay_that_cannot_load(StoreError::Read { reason: "device busy".to_owned() });
    world.set(1, "r", 2);
    let everything = world.hosts[1].node.read(&document(), |document| {
        document.delta_since(&Frontier::default(), None, &Subscription::default()).unwrap().encode().unwrap()
    });
    let message = Message::Delta { document: document(), delta: everything.unwrap() };
    let now = world.now;
    world.hosts[0].node.handle(Input::Message { link: LinkId(1), message }, now);
    world.pass(Duration::from_secs(3));

    let relay = &world.hosts[0];
    let said = |event: &&Event| matches!(event, Event::StoreFailed { reason, .. } if reason.contains("device busy"));
    assert!(relay.events.iter().filter(said).count() >= 3, "every attempt is told");
    assert!(!relay.events.iter().any(|event| matches!(event, Event::OpenFailed { .. })));
    assert!(matches!(relay.node.read(&document(), |_| ()), Err(NodeError::Busy { .. })));
    assert_eq!(relay.node.store_error().as_deref(), Some("store read failed: device busy"));
    let stalled = relay.node.status().stalled.unwrap();
    assert_eq!(stalled, "the store failed and is asked again: store read failed: device busy");

    world.hosts[0].load_error = None;
    world.pass(Duration::from_secs(2));
    assert_eq!(world.get(0, "register/r"), Some(json!(2)), "the wire is held: it can only be what had waited");
    assert_eq!((world.hosts[0].node.store_error(), world.hosts[0].node.status().stalled), (None, None));
    world.hold(0, false);
    world.pass(Duration::from_secs(1));
    world.assert_equal();
}

#[test]
fn a_load_that_cannot_succeed_later_fails_the_document_for_good() {
    let what = "entry 1 of the log".to_owned();
    let damaged = StoreError::Damaged { document: document(), what, survives: "nothing".to_owned() };
    let mut world = relay_that_cannot_load(damaged);
    world.hosts[0].load_error = None;
    world.pass(Duration::from_millis(900));
    let relay = &world.hosts[0];
    assert!(relay.events.iter().any(|event| matches!(event, Event::OpenFailed { .. })));
    assert!(matches!(relay.node.read(&document(), |_| ()), Err(NodeError::Unreadable { .. })));
    assert!(relay.node.status().stalled.unwrap().starts_with("the document cannot be read: "));
}
