//! Typed handles: the user's own types, nesting, sets, and the same operations inside and outside of transactions.

use std::collections::BTreeMap;

use aepoch::engine::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::peer::{Peer, kinds};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Song {
    title: String,
    minutes: u32,
    id: u64,
    tags: BTreeMap<String, Option<bool>>,
}

fn song(title: &str) -> Song {
    let tags = BTreeMap::from([("live".to_owned(), Some(true)), ("cover".to_owned(), None)]);
    Song { title: title.to_owned(), minutes: 3, id: u64::MAX - 1, tags }
}

#[test]
fn own_types_come_back_as_they_were_from_every_kind_of_place() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.register("song").set(&song("a")).unwrap();
        a.agent_state("planner-1").set("song", &song("b")).unwrap();
        a.map("songs").put("c", &song("c")).unwrap();
        a.set("known").insert(&song("d")).unwrap();
        a.list("queue").insert(0, &[song("e"), song("f")]).unwrap();
        a.sync_to(&b);
        assert_eq!(b.register("song").get().unwrap(), Some(song("a")));
        assert_eq!(b.agent_state("planner-1").get("song").unwrap(), Some(song("b")));
        assert_eq!(b.map("songs").get("c").unwrap(), Some(song("c")));
        assert_eq!(b.map::<Song>("songs").get("x").unwrap(), None);
        assert!(b.set("known").contains(&song("d")).unwrap());
        assert_eq!(b.list::<Song>("queue").values().unwrap(), [song("e"), song("f")]);
    }
}

#[test]
fn maps_sets_lists_and_texts_do_what_their_names_say() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let map = a.map::<u64>("files");
        map.put("b", &2).unwrap();
        map.put("a", &1).unwrap();
        map.remove("none").unwrap();
        assert_eq!(map.entries().unwrap(), [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!((map.len().unwrap(), map.is_empty().unwrap()), (2, false));
        map.remove("a").unwrap();
        assert_eq!(map.get("a").unwrap(), None);

        let set = a.set::<u64>("seen");
        set.insert(&7).unwrap();
        let version = a.document.borrow().version().clone();
        set.insert(&7).unwrap();
        assert_eq!(*a.document.borrow().version(), version, "adding what is there changes nothing");
        set.insert(&8).unwrap();
        set.remove(&7).unwrap();
        assert_eq!((set.values().unwrap(), set.len().unwrap(), set.is_empty().unwrap()), (vec![8], 1, false));

        let list = a.list::<u64>("jobs");
        assert!(list.is_empty().unwrap());
        list.push(&1).unwrap();
        list.insert(0, &[5, 6, 7]).unwrap();
        list.remove(1..3).unwrap();
        assert_eq!((list.values().unwrap(), list.len().unwrap()), (vec![5, 1], 2));

        let text = a.text("notes");
        text.push("wörld").unwrap();
        text.insert(0, "héllo ").unwrap();
        text.format(0..5, "bold", json!(true)).unwrap();
        text.remove(5..6).unwrap();
        assert_eq!((text.get().unwrap(), text.len().unwrap()), ("héllowörld".to_owned(), 10));
        a.sync_to(&b);
        let spans = b.text("notes").spans().unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0].attributes["bold"], json!(true));
        assert_eq!(a.render(), b.render());
    }
}

#[test]
fn what_lies_below_a_map_is_shared_by_replicas_that_create_it_at_once() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        for (peer, word) in [(&a, "x"), (&b, "y")] {
            let post = peer.map::<u64>("posts").map::<u64>("42");
            post.put(word, &1).unwrap();
            post.list("comments").push(&word).unwrap();
            post.set("readers").insert(&word).unwrap();
            post.text("body").push(word).unwrap();
            post.counter("votes").add(1).unwrap();
            post.register("title").set(&word).unwrap();
        }
        a.sync_to(&b);
        b.sync_to(&a);
        assert_eq!(a.render(), b.render());
        assert_eq!(a.at("map/posts/42"), Some(json!({"x": 1, "y": 1})));
        assert_eq!(a.list::<String>("posts/42/comments").len().unwrap(), 2);
        assert_eq!(a.set::<String>("posts/42/readers").values().unwrap(), ["x", "y"]);
        assert_eq!(a.text("posts/42/body").len().unwrap(), 2);
        assert_eq!(a.counter("posts/42/votes").get().unwrap(), 2);
    }
}

#[test]
fn one_transaction_makes_one_delta_of_all_kinds_of_changes() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let agent = aepoch::id::AgentId::new("planner-1").unwrap();
        let commit = a.commit(|tx| {
            tx.register("song").set(&1)?;
            tx.counter("takes").add(1)?;
            tx.agent_state(&agent).set("status", "busy")?;
            tx.map("files").put("a", &1)?;
            tx.set("seen").insert(&1)?;
            tx.list("jobs").push(&1)?;
            tx.text("notes").push("x")
        });
        assert_eq!(commit.patches.len(), 7, "{:?}", commit.patches);
        assert!(commit.patches.iter().all(|patch| patch.writer == Some(a.replica())));
        let content = commit.delta.content.as_ref().unwrap();
        assert_eq!((content.updates.len(), content.spans[0].upto), (1, 1));
        assert_eq!(commit.delta.records[0].records.len(), 3);
        assert!(commit.delta.records[0].records.iter().all(|record| record.fence == 1));
        let applied = b.receive(&[commit.delta.encode().unwrap()]);
        assert_eq!(applied.patches.len(), 7, "{:?}", applied.patches);
        assert!(applied.patches.iter().all(|patch| patch.writer == Some(a.replica())));
        let put = |path: &str| {
            let patch = applied.patches.iter().find(|patch| patch.path.to_string() == path);
            patch.map(|patch| patch.change.clone())
        };
        assert_eq!(put("map/files/a"), Some(Change::Put { old: None, new: Some(json!(1)) }));
        assert_eq!(put("counter/takes"), Some(Change::Put { old: None, new: Some(json!(1)) }));
    }
}
