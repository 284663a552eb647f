//! Batches, fan-out, joiners.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, tuning};

#[test]
fn the_first_changes_after_a_pause_go_out_at_once_and_the_next_wait_for_the_tick() {
    let mut world = World::new(2, &tuning());
    world.pass(Duration::from_millis(100));
    for n in 1..=2 {
        world.set(1, "r", n);
        world.pump();
        assert_eq!(world.get(2, "register/r"), Some(json!(n)), "no time had to pass");
    }
    let batches = world.hosts[1].node.counters().batches;
    for n in 3..=50 {
        world.set(1, "r", n);
        world.pump();
    }
    assert_eq!(world.get(2, "register/r"), Some(json!(2)), "the tick is not over");
    world.pass(Duration::from_millis(12));
    assert_eq!(world.get(2, "register/r"), Some(json!(50)));
    let counters = world.hosts[1].node.counters();
    assert_eq!(counters.batches - batches, 1, "forty-eight changes left in one batch");
    world.assert_equal();
}

#[test]
fn a_full_batch_does_not_wait_for_its_tick() {
    let mut tuning = tuning();
    tuning.tick = Duration::from_secs(3_600);
    tuning.tick_changes = 10;
    let mut world = World::new(2, &tuning);
    world.set(1, "r", 0);
    world.pump();
    for n in 1..10 {
        world.set(1, "r", n);
        world.pump();
        assert_ne!(world.get(0, "register/r"), Some(json!(n)), "change {n} waits");
    }
    world.set(1, "r", 10);
    world.pump();
    assert_eq!(world.get(0, "register/r"), Some(json!(10)), "ten changes are a batch");
}

#[test]
fn joiners_share_one_snapshot_and_get_the_rest_as_a_delta() {
    let mut world = World::new(1, &tuning());
    for n in 0..200 {
        world.put(1, &n.to_string(), &"x".repeat(500));
    }
    world.pass(Duration::from_millis(100));
    let before = world.hosts[0].node.counters();
    for n in 0..20 {
        world.join(&tuning());
        world.put(1, "between", &n.to_string());
        world.pump();
    }
    world.pass(Duration::from_millis(100));
    world.assert_equal();
    let after = world.hosts[0].node.counters();
    assert_eq!(after.snapshots - before.snapshots, 1);
    assert_eq!(after.snapshots_shared - before.snapshots_shared, 19);
}

#[test]
fn a_slow_reader_gets_one_delta_instead_of_its_queue() {
    let mut tuning = tuning();
    tuning.queue_high = 100_000;
    let mut world = World::new(2, &tuning);
    world.hold(1, true);
    for n in 0..2_000 {
        world.put(1, &(n % 10).to_string(), &"y".repeat(400));
        world.pass(Duration::from_millis(6));
    }
    let queued = world.hosts[0].queued();
    assert!(queued < 120_000, "{queued} bytes wait for a reader that does not read");
    assert_eq!(world.hosts[0].node.counters().conflations, 1);
    world.hold(1, false);
    world.pass(Duration::from_secs(1));
    world.assert_equal();
    let status = world.hosts[0].node.documents().next().unwrap();
    assert_eq!(status.behind, 0, "it is live again");
}

#[test]
fn work_on_a_large_document_does_not_hold_up_its_neighbours() {
    use aepoch::{document::Subscription, engine::EngineKind, id::DocumentId};
    let mut tuning = tuning();
    tuning.inline_bytes = 1_000;
    let mut world = World::new(2, &tuning);
    let small = DocumentId::new("swarm/small").unwrap();
    for host in [1, 2] {
        let now = world.now;
        world.hosts[host].node.open(&small, EngineKind::Yrs, Subscription::default(), now).unwrap();
    }
    world.pump();
    for n in 0..20 {
        world.put(1, &n.to_string(), &"z".repeat(400));
    }
    world.pass(Duration::from_millis(50));
    world.hosts[0].hold_work = true;
    world.join(&tuning);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.hosts[0].work.len(), 1, "the snapshot is being encoded elsewhere");
    let now = world.now;
    world.hosts[1].node.transact(&small, |tx| tx.counter("c").add(1), now).unwrap();
    world.put(1, "meanwhile", "m");
    world.pass(Duration::from_millis(50));
    let counter = world.hosts[2].node.read(&small, |document| document.counter("c")).unwrap();
    assert_eq!(counter, 1, "the small document went on");
    assert_eq!(world.get(2, "map/m/meanwhile"), None, "the large one waits");
    world.hosts[0].hold_work = false;
    world.pass(Duration::from_secs(1));
    world.assert_equal();
}
