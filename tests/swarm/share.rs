//! What one agent writes, the others read.

use aepoch::{
    document::Resolver,
    engine::{Change, Value},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::world::{ENGINES, World, converged, eventually, flushed};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Song {
    title: String,
    seconds: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_reaches_the_other_agent_on_both_engines() {
    for engine in ENGINES {
        let world = World::new().await;
        let (a, b) = (world.agent_with("a", engine).await, world.agent_with("b", engine).await);
        let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
        let song = Song { title: "Überfahrt 🎸".to_owned(), seconds: 215 };
        left.register("opener").set(&song).unwrap();
        left.counter("takes").add(3).unwrap();
        right.counter("takes").add(-1).unwrap();
        left.map("songs").put("first", &song).unwrap();
        left.map::<Value>("songs").map("notes").put("key", &json!({ "of": ["c", "major"] })).unwrap();
        left.set("tags").insert(&"loud".to_owned()).unwrap();
        left.list("order").push(&7_u64).unwrap();
        left.text("lyrics").push("la la").unwrap();
        left.text("lyrics").format(0..2, "bold", json!(true)).unwrap();
        a.state().set("position", &(3, 4)).unwrap();
        flushed(&left).await;
        flushed(&right).await;
        converged(&[&left, &right]).await;
        assert_eq!(right.register::<Song>("opener").get().unwrap(), Some(song.clone()));
        assert_eq!(right.counter("takes").get().unwrap(), 2);
        assert_eq!(right.map::<Song>("songs").get("first").unwrap(), Some(song));
        let notes = right.map::<Value>("songs").map::<Value>("notes");
        assert_eq!(notes.get("key").unwrap(), Some(json!({ "of": ["c", "major"] })));
        assert_eq!(right.set::<String>("tags").values().unwrap(), ["loud"]);
        assert_eq!(right.list::<u64>("order").values().unwrap(), [7]);
        assert_eq!(right.text("lyrics").get().unwrap(), "la la");
        assert_eq!(right.text("lyrics").spans().unwrap().len(), 2);
        let swarm = b.swarm().await.unwrap();
        eventually("the agent's state", || {
            swarm.agent_state(a.name()).get::<(i32, i32)>("position").unwrap() == Some((3, 4))
        })
        .await;
        eventually("both members", || swarm.read(|document| document.members().len()).unwrap() == 2).await;
        assert_eq!(right.verify().await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_values_stay_visible_until_someone_has_seen_both() {
    let world = World::new().await;
    let (a, b) = (world.agent("a").await, world.agent("b").await);
    let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    a.set_online(false);
    b.set_online(false);
    left.register("tempo").set(&120).unwrap();
    right.register("tempo").set(&90).unwrap();
    a.set_online(true);
    b.set_online(true);
    let tempo = left.register::<u32>("tempo").resolved_by(Resolver::MultiValue);
    eventually("both values", || tempo.values().unwrap().len() == 2).await;
    left.register("tempo").set(&100).unwrap();
    let other = right.register::<u32>("tempo");
    eventually("one value", || {
        let values = other.values().unwrap();
        values.len() == 1 && values[0].value == Some(json!(100))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_seen_whole_or_not_at_all() {
    for engine in ENGINES {
        let world = World::new().await;
        let (a, b) = (world.agent_with("a", engine).await, world.agent_with("b", engine).await);
        let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
        let writer = {
            let left = left.clone();
            tokio::task::spawn_blocking(move || {
                for n in 1..=200_u64 {
                    left.transact(|tx| {
                        tx.register("n").set(&n)?;
                        tx.map("m").put("n", &n)
                    })
                    .unwrap();
                }
            })
        };
        let seen = || {
            right
                .read(|document| {
                    let record = document.get_path("register/n").ok();
                    let content = document.get_path("map/m/n").ok();
                    (record, content)
                })
                .unwrap()
        };
        eventually("the last transaction", || {
            let (record, content) = seen();
            assert_eq!(record, content, "half a transaction on {engine}");
            record == Some(json!(200))
        })
        .await;
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_hear_what_changed_and_who_wrote_it() {
    let world = World::new().await;
    let (a, b) = (world.agent("a").await, world.agent("b").await);
    let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    let mut songs = right.observe("map/songs");
    left.register("noise").set(&0).unwrap();
    left.map("songs").put("x", &1).unwrap();
    let patch = songs.next().await.unwrap().unwrap();
    assert_eq!(patch.path.to_string(), "map/songs/x");
    assert_eq!(patch.change, Change::Put { old: None, new: Some(json!(1)) });
    assert_eq!(patch.writer, Some(a.identity().replica));
    left.map("songs").put("x", &2).unwrap();
    let patch = songs.next().await.unwrap().unwrap();
    assert_eq!(patch.change, Change::Put { old: Some(json!(1)), new: Some(json!(2)) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_since_a_version_name_the_keys_written_after_it() {
    let world = World::new().await;
    let (a, b) = (world.agent("a").await, world.agent("b").await);
    let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    left.register("early").set(&1).unwrap();
    flushed(&left).await;
    converged(&[&left, &right]).await;
    let version = right.version().unwrap();
    left.register("late/one").set(&1).unwrap();
    left.register("late/two").set(&2).unwrap();
    flushed(&left).await;
    converged(&[&left, &right]).await;
    let changes = |prefix: &str| {
        let paths = right.read(|document| document.changes_since(&version, prefix)).unwrap();
        paths.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(changes(""), ["register/late/one", "register/late/two"]);
    assert_eq!(changes("register/late/t"), ["register/late/two"]);
    assert_eq!(right.register::<u32>("late/two").version().unwrap(), 1);
    assert_eq!(right.transact(|tx| tx.clear_registers("late/")).unwrap(), 2);
    flushed(&right).await;
    eventually("cleared", || left.register::<u32>("late/one").get().unwrap().is_none()).await;
    assert_eq!(left.register::<u32>("early").get().unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_records_can_be_had_alone() {
    let world = World::new().await;
    let (a, b) = (world.agent("a").await, world.agent("b").await);
    let whole = a.document("stage").await.unwrap();
    whole.register("jobs/1").set(&1).unwrap();
    whole.register("noise/1").set(&1).unwrap();
    let part = b.document_part("stage", &["register/jobs/"]).await.unwrap();
    eventually("the wanted record", || part.register::<u32>("jobs/1").get().unwrap() == Some(1)).await;
    whole.register("noise/2").set(&2).unwrap();
    whole.register("jobs/2").set(&2).unwrap();
    eventually("the next wanted record", || part.register::<u32>("jobs/2").get().unwrap() == Some(2)).await;
    let names: Vec<String> = part.read(|document| document.register_names().map(str::to_owned).collect()).unwrap();
    assert_eq!(names, ["jobs/1", "jobs/2"]);
    part.register("jobs/3").set(&3).unwrap();
    eventually("what the part wrote", || whole.register::<u32>("jobs/3").get().unwrap() == Some(3)).await;
}
