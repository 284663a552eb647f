//! A transaction is checked as a whole, then done as a whole.

use aepoch::engine::{Container, ContainerKind, EngineError, Op};
use serde_json::json;

use crate::support::*;

#[test]
fn a_list_of_operations_that_fails_changes_nothing() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[put("m", "k", json!(1)), push("l", &[json!(1), json!(2)]), write("t", None, "ab")]);
        let (content, frontier) = (peer.content(), peer.engine.frontier());
        let failing = [
            Op::ListInsert { list: "l".into(), index: Some(4), values: vec![json!(0)] },
            Op::ListRemove { list: "l".into(), range: 1..4 },
            write("t", Some(4), "x"),
            erase("t", 2..4),
            Op::TextFormat { text: "t".into(), range: 0..9, attribute: "bold".into(), value: json!(true) },
            Op::ListRemove { list: "absent".into(), range: 0..1 },
        ];
        for op in failing {
            let ops = [put("m", "k", json!(2)), push("l", &[json!(3)]), write("t", None, "c"), op];
            let outcome = peer.engine.transact(&ops, true);
            assert!(matches!(outcome, Err(EngineError::OutOfRange { .. })), "{kind}: {outcome:?}");
            assert_eq!((peer.content(), peer.engine.frontier()), (content.clone(), frontier.clone()), "{kind}");
        }
        assert!(peer.engine.transact(&[put("m", "k", json!(2))], false).is_ok(), "{kind}");
    }
}

#[test]
fn operations_see_the_ones_before_them() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[
            write("t", None, "🦀b"),
            write("t", Some(2), "c"),
            erase("t", 1..2),
            write("t", Some(1), "🦀"),
            push("l", &[json!(1), json!(2), json!(3)]),
            Op::ListRemove { list: "l".into(), range: 0..2 },
            Op::ListInsert { list: "l".into(), index: Some(1), values: vec![json!(4)] },
            put("m", "k", json!(1)),
            remove("m", "k"),
            put("m", "k", json!(2)),
        ]);
        for peer in [&peer, &peer.reload(2)] {
            assert_eq!(text_of(peer.engine.as_ref(), "t"), "🦀🦀c", "{kind}");
            assert_eq!(peer.engine.list_values("l").unwrap(), [json!(3), json!(4)], "{kind}");
            assert_eq!(peer.engine.map_get("m", "k").unwrap(), Some(json!(2)), "{kind}");
        }
    }
}

#[test]
fn nothing_to_do_gives_no_update() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        let idle = [
            remove("m", "absent"),
            push("l", &[]),
            write("t", None, ""),
            erase("t", 0..0),
            Op::ListRemove { list: "l".into(), range: 0..0 },
        ];
        for op in idle {
            assert!(peer.commit(std::slice::from_ref(&op)).is_empty(), "{kind}: {op:?}");
        }
        assert!(peer.commit(&[]).is_empty(), "{kind}");
        assert!(peer.engine.delta_since(&[], None).unwrap().is_empty(), "{kind}");
    }
}

#[test]
fn a_name_is_of_one_kind() {
    for &kind in ENGINES {
        let mut writer = Peer::new(kind, 1);
        writer.commit(&[put("m", "k", json!(1)), push("l", &[json!(1)]), write("t", None, "x")]);
        let mut reader = writer.reload(2);
        for peer in [&mut writer, &mut reader] {
            let expected = [("l", ContainerKind::List), ("m", ContainerKind::Map), ("t", ContainerKind::Text)];
            let containers = expected.map(|(name, kind)| Container { kind, name: name.into() });
            assert_eq!(peer.engine.containers(), containers, "{kind}");
            for op in [put("l", "k", json!(1)), push("t", &[json!(1)]), write("m", None, "x"), push("m", &[json!(1)])] {
                let outcome = peer.engine.transact(std::slice::from_ref(&op), false);
                assert!(matches!(outcome, Err(EngineError::WrongType { .. })), "{kind} {op:?}: {outcome:?}");
            }
            assert!(matches!(peer.engine.map_get("l", "k"), Err(EngineError::WrongType { .. })), "{kind}");
            assert!(matches!(peer.engine.map_entries("t"), Err(EngineError::WrongType { .. })), "{kind}");
            assert!(matches!(peer.engine.list_values("m"), Err(EngineError::WrongType { .. })), "{kind}");
            assert!(matches!(peer.engine.text_spans("l"), Err(EngineError::WrongType { .. })), "{kind}");
        }
    }
}

#[test]
fn absent_containers_read_as_empty() {
    for &kind in ENGINES {
        let peer = Peer::new(kind, 1);
        assert_eq!(peer.engine.map_get("x", "k").unwrap(), None);
        assert_eq!(peer.engine.map_entries("x").unwrap(), []);
        assert_eq!(peer.engine.list_values("x").unwrap(), Vec::<serde_json::Value>::new());
        assert_eq!(peer.engine.text_spans("x").unwrap(), []);
        for container in [ContainerKind::Map, ContainerKind::List, ContainerKind::Text] {
            assert_eq!(peer.engine.len(&Container { kind: container, name: "x".into() }).unwrap(), 0, "{kind}");
        }
        assert!(peer.engine.containers().is_empty());
    }
}
