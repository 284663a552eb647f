//! Acknowledgements, failing stores, documents that leave memory.

use std::time::Duration;

use aepoch::node::Event;
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
