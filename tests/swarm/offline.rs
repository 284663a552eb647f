//! Going offline, coming back, relays that go away.

use aepoch::{Agent, Relay, node::Tuning};

use crate::world::{ENGINES, World, converged, eventually, flushed, quick_backoff};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_made_offline_arrive_and_missed_ones_come_back_as_deltas() {
    for engine in ENGINES {
        let world = World::new().await;
        let (a, b) = (world.agent_with("a", engine).await, world.agent_with("b", engine).await);
        let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
        let padding = "x".repeat(1_000);
        for n in 0..50 {
            left.map("m").put(&format!("before/{n}"), &format!("{padding}{n}")).unwrap();
        }
        flushed(&left).await;
        converged(&[&left, &right]).await;
        b.set_online(false);
        eventually("b is offline", || !b.status().online).await;
        right.map("m").put("offline", &1).unwrap();
        right.register("offline").set(&1).unwrap();
        right.map::<String>("m").remove("before/3").unwrap();
        assert!(right.unsynced() > 0);
        assert!(b.status().stalled.is_some_and(|reason| reason.contains("no connection")));
        left.map("m").put("missed", &1).unwrap();
        flushed(&left).await;
        let before = b.status().bytes_in;
        b.set_online(true);
        flushed(&right).await;
        converged(&[&left, &right]).await;
        assert_eq!(right.unsynced(), 0);
        assert!(b.status().last_ack_ms.is_some());
        assert_eq!(left.register::<u32>("offline").get().unwrap(), Some(1));
        assert_eq!(left.map::<String>("m").get("before/3").unwrap(), None);
        let came = b.status().bytes_in - before;
        assert!(came < 10_000, "{came} bytes came back for one small edit of a 50 kB document");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_works_without_any_peer_and_without_a_store() {
    let alone = Agent::builder("alone").open().await.unwrap();
    let notes = alone.document("notes").await.unwrap();
    notes.text("draft").push("hello").unwrap();
    flushed(&notes).await;
    assert_eq!(notes.text("draft").get().unwrap(), "hello");
    assert!(!alone.status().online);
    assert_eq!(alone.status().unsynced, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_restarts_has_all_that_was_flushed() {
    let mut world = World::new().await;
    let a = world.agent("a").await;
    let left = a.document("stage").await.unwrap();
    left.register("r").set(&1).unwrap();
    left.list("l").push(&"one").unwrap();
    flushed(&left).await;
    world.restart_relay().await;
    let late = world.agent("late").await;
    let right = late.document("stage").await.unwrap();
    eventually("the flushed write", || right.register::<u32>("r").get().unwrap() == Some(1)).await;
    left.register("r").set(&2).unwrap();
    eventually("the reconnected agent's write", || right.register::<u32>("r").get().unwrap() == Some(2)).await;
    converged(&[&left, &right]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_lost_its_disk_gets_everything_back_from_its_agents() {
    let world = World::new().await;
    let address = world.relay.address().to_string();
    let a = world.agent("a").await;
    let left = a.document("stage").await.unwrap();
    left.map("m").put("k", &1).unwrap();
    flushed(&left).await;
    world.relay.shut_down().await.unwrap();
    let empty = Relay::builder().listen(&address).open().await.unwrap();
    let b = Agent::builder("b").swarm("test").connect(&empty.url()).backoff(quick_backoff()).open().await.unwrap();
    let right = b.document("stage").await.unwrap();
    eventually("the write is back", || right.map::<u32>("m").get("k").unwrap() == Some(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_document_reaches_a_joiner_while_others_go_on() {
    for engine in ENGINES {
        let mut tuning = Tuning::default();
        tuning.inline_bytes = 4 * 1024;
        tuning.bulk_bytes = 8 * 1024;
        tuning.queue_high = 64 * 1024;
        tuning.compact_entries = 20;
        let world = World::tuned(tuning).await;
        let a = world.agent_with("a", engine).await;
        let left = a.document("big").await.unwrap();
        for n in 0..100 {
            left.map("m").put(&n.to_string(), &format!("{n}").repeat(2_000)).unwrap();
            left.register(&format!("r/{}", n % 7)).set(&n).unwrap();
        }
        let b = world.agent_with("b", engine).await;
        let right = b.document("big").await.unwrap();
        for n in 0..50 {
            left.map("m").put(&n.to_string(), &"new".to_owned()).unwrap();
            right.counter("c").add(1).unwrap();
        }
        flushed(&left).await;
        flushed(&right).await;
        converged(&[&left, &right]).await;
        assert_eq!(left.counter("c").get().unwrap(), 50);
        assert_eq!(right.map::<String>("m").len().unwrap(), 100);
        assert_eq!(right.verify().await.unwrap(), None);
    }
}
