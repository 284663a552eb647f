//! Reading by path, as a whole, and by what has changed; and what subscriptions leave out.

use aepoch::{
    document::{DocumentError, Subscription},
    engine::{Path, Section, Segment},
};
use serde_json::json;

use crate::peer::{Peer, kinds};

fn filled(kind: aepoch::engine::EngineKind) -> Peer {
    let peer = Peer::new(kind, 1);
    peer.commit(|tx| {
        tx.map("posts").put("1", &json!({"title": "a"}))?;
        tx.map("posts/1/votes").put("x/y", &json!(2))?;
        tx.list("jobs").insert(0, &[json!("first"), json!(2)])?;
        tx.text("notes").push("hello")?;
        tx.register("set/list").set(&json!([1]))?;
        tx.counter("takes").add(4)
    });
    peer.agent_state("planner-1").set("position/x", &3).unwrap();
    peer
}

#[test]
fn everything_can_be_read_by_its_path() {
    for kind in kinds() {
        let peer = filled(kind);
        let read = |path: &str| peer.document.borrow().get_path(path);
        for (path, value) in [
            ("map/posts/1", json!({"title": "a"})),
            ("map/posts/1/votes", json!({"x/y": 2})),
            ("map/posts/1/votes/x/y", json!(2)),
            ("list/jobs/0", json!("first")),
            ("list/jobs", json!(["first", 2])),
            ("text/notes", json!("hello")),
            ("register/set/list", json!([1])),
            ("counter/takes", json!(4)),
            ("agent/planner-1", json!({"position/x": 3})),
            ("agent/planner-1/position/x", json!(3)),
            ("counter", json!({"takes": 4})),
        ] {
            assert_eq!(read(path).unwrap(), value, "{path}");
        }
        for path in ["map/posts/2", "map/jobs", "list/jobs/2", "list/jobs/x", "text/notes/0", "register/x", "agent/x"] {
            assert!(matches!(read(path), Err(DocumentError::UnknownPath { .. })), "{path}");
        }
        assert_eq!(
            read("").unwrap(),
            json!({
                "map": {"posts": {"1": {"title": "a"}}, "posts/1/votes": {"x/y": 2}},
                "list": {"jobs": ["first", 2]},
                "text": {"notes": "hello"},
                "register": {"set/list": [1]},
                "counter": {"takes": 4},
                "agent": {"planner-1": {"position/x": 3}},
            })
        );
    }
}

#[test]
fn paths_are_read_as_they_are_written() {
    let path = Path { section: Section::Agent, name: "planner-1".into(), within: Some(Segment::Key("a/b".into())) };
    assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
    let path = Path { section: Section::Register, name: "set/list".into(), within: None };
    assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
    for wrong in ["", "register", "register/", "songs/a", "agent//x", "agent/a/"] {
        assert!(wrong.parse::<Path>().is_err(), "{wrong}");
    }
}

#[test]
fn changes_since_a_version_name_the_records_exactly_and_the_content_as_a_whole() {
    for kind in kinds() {
        let a = filled(kind);
        let b = Peer::new(kind, 2);
        a.sync_to(&b);
        let version = b.document.borrow().version().clone();
        let since = |prefix: &str| {
            let paths = b.document.borrow().changes_since(&version, prefix);
            paths.into_iter().map(|path| path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(since(""), Vec::<String>::new());
        a.register("set/list").set(&json!([2])).unwrap();
        b.counter("other").add(1).unwrap();
        a.sync_to(&b);
        assert_eq!(since(""), ["register/set/list", "counter/other"]);
        assert_eq!(since("register/set"), ["register/set/list"]);
        a.map("posts").put("2", &json!(1)).unwrap();
        a.sync_to(&b);
        assert_eq!(since("map/"), ["map/posts", "map/posts/1/votes"]);
    }
}

#[test]
fn a_subscription_leaves_out_records_and_keeps_content() {
    for kind in kinds() {
        let a = filled(kind);
        let b = Peer::new(kind, 2);
        let wanted = Subscription { prefixes: vec!["counter/".to_owned(), "register/jobs".to_owned()] };
        let frontier = b.document.borrow().frontier();
        let delta = a.document.borrow().delta_since(&frontier, None, &wanted).unwrap();
        b.receive(&[delta.encode().unwrap()]);
        assert_eq!(b.at("register/set/list"), None);
        assert_eq!(b.at("counter/takes"), Some(json!(4)));
        assert_eq!(b.at("text/notes"), Some(json!("hello")));
        // What was left out counts as followed, so later deltas fit.
        let frontier = b.document.borrow().frontier();
        assert!(a.document.borrow().delta_since(&frontier, None, &wanted).unwrap().is_empty());
        a.register("jobs").set(&1).unwrap();
        a.sync_to(&b);
        assert_eq!(b.at("register/jobs"), Some(json!(1)));
        // Widening: the frontier without records brings what was left out.
        let mut frontier = b.document.borrow().frontier();
        frontier.version.records = Default::default();
        let delta = a.document.borrow().delta_since(&frontier, None, &Subscription::default()).unwrap();
        assert_eq!(b.receive(&[delta.encode().unwrap()]).landed.len(), 1);
        assert_eq!(a.render(), b.render());
    }
}

#[test]
fn only_an_authors_own_writes_are_sent_when_asked_for() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        a.commit(|tx| {
            tx.map("files").put("a", &1)?;
            tx.register("song").set(&1)
        });
        a.sync_to(&b);
        b.commit(|tx| {
            tx.map("files").put("b", &2)?;
            tx.register("song").set(&2)
        });
        a.sync_to(&c);
        let frontier = c.document.borrow().frontier();
        let own = |peer: &Peer| {
            peer.document.borrow().delta_since(&frontier, Some(peer.replica()), &Subscription::default()).unwrap()
        };
        assert!(own(&a).is_empty());
        let delta = own(&b);
        assert_eq!(delta.records.len(), 1);
        assert_eq!(delta.content.as_ref().unwrap().spans.len(), 1);
        let incoming = aepoch::document::Incoming::decode(delta.encode().unwrap(), 0, Some(b.replica())).unwrap();
        let applied = c.document.borrow_mut().apply(vec![incoming], 1_000, false).unwrap();
        assert!(applied.refused.is_empty() && applied.waiting_on.is_none());
        assert_eq!(b.render(), c.render());
    }
}
