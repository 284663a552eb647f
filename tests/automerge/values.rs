//! Values keep their exact form, positions count Unicode scalar values, formatting is read back in runs.

use std::sync::Arc;

use aepoch::engine::{Container, ContainerKind, EngineError, TextSpan, Value};
use serde_json::json;

use crate::support::*;

#[test]
fn values_of_every_kind_read_back_exactly_here_and_at_a_peer() {
    let values = json!([
        null, true, false, 0, -1, 1, i64::MIN, i64::MAX, u64::MAX, 0.1, -0.0, 1e300, f64::MIN_POSITIVE, 3.0,
        "", "text", "😀 é \u{0} \n", [], {}, [[]], {"a": {"b": [1, {"c": null}, "x"]}, "": 1, "é/😀": [true]}
    ]);
    let (mut here, mut there) = (engine(1), engine(2));
    for (at, value) in values.as_array().unwrap().iter().enumerate() {
        act(&mut here, put("map", &format!("{at:02}"), value.clone()));
    }
    act(&mut here, push("list", values.as_array().unwrap().clone()));
    deliver(&mut there, &[here.delta_since(&[], None).unwrap()]).unwrap();
    for engine in [&here, &there] {
        assert_eq!(Value::Array(engine.list_values("list").unwrap()), values);
        let entries = engine.map_entries("map").unwrap();
        assert_eq!(Value::Array(entries.into_iter().map(|(_, value)| value).collect()), values);
    }
}

#[test]
fn values_are_bounded_in_depth_size_and_keys() {
    let mut engine = engine(1);
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    act(&mut engine, put("m", "deepest", nested(64)));
    assert_eq!(engine.map_get("m", "deepest").unwrap(), Some(nested(64)));
    for (op, what) in [
        (put("m", "k", nested(65)), "depth"),
        (put("m", &"k".repeat(1025), 1), "key"),
        (put("m", "k", json!({"k".repeat(1025): 1})), "key"),
        (put(&"n".repeat(257), "k", 1), "name"),
        (put(&["n"; 17].join("/"), "k", 1), "name"),
        (put("m", "k", "x".repeat(128 * 1024)), "value"),
        (write_at("t", 0, &"x".repeat(500_001)), "operations"),
        (push("l", vec![json!("x".repeat(120_000)); 36]), "bytes"),
    ] {
        let error = engine.transact(&[op], false).unwrap_err();
        assert!(matches!(&error, EngineError::TooLarge { what: found, .. } if found.contains(what)), "{error}");
    }
    // A value may be nested deeper than the stack is; it is refused, not walked recursively.
    let mut tower = json!(1);
    for _ in 0..20_000 {
        tower = Value::Array(vec![tower]);
    }
    let ops = [put("m", "k", json!(1)), push("l", vec![tower])];
    assert!(matches!(engine.transact(&ops, false), Err(EngineError::TooLarge { .. })));
    // Dropping it would recurse.
    std::mem::forget(ops);
}

#[test]
fn positions_count_unicode_scalar_values() {
    let mut engine = engine(1);
    act(&mut engine, write_at("t", 0, "a😀é\u{301}z"));
    let len = |engine: &Boxed| engine.len(&Container { kind: ContainerKind::Text, name: Arc::from("t") }).unwrap();
    assert_eq!(len(&engine), 5);
    act(&mut engine, write_at("t", 2, "👍"));
    assert_eq!(text(&engine, "t"), "a😀👍é\u{301}z");
    act(&mut engine, erase("t", 1..3));
    assert_eq!(text(&engine, "t"), "aé\u{301}z");
    assert_eq!(len(&engine), 4);
}

#[test]
fn lists_insert_and_remove_in_the_middle() {
    let mut engine = engine(1);
    act(&mut engine, push("l", vec![json!(1), json!({"a": 2}), json!(3)]));
    let op = aepoch::engine::Op::ListInsert {
        list: "l".into(),
        index: Some(1),
        values: vec![json!("x"), json!([]), json!("y")],
    };
    act(&mut engine, op);
    assert_eq!(json!(engine.list_values("l").unwrap()), json!([1, "x", [], "y", {"a": 2}, 3]));
    act(&mut engine, cut("l", 1..5));
    assert_eq!(json!(engine.list_values("l").unwrap()), json!([1, 3]));
}

#[test]
fn formatting_is_set_extended_by_typing_and_cleared() {
    let mut engine = engine(1);
    act(&mut engine, write_at("t", 0, "hello world"));
    act(&mut engine, format("t", 0..5, "bold", true));
    act(&mut engine, format("t", 3..8, "link", "x"));
    let span = |text: &str, attributes: Value| TextSpan {
        text: text.to_owned(),
        attributes: serde_json::from_value(attributes).unwrap(),
    };
    assert_eq!(
        engine.text_spans("t").unwrap(),
        [
            span("hel", json!({"bold": true})),
            span("lo", json!({"bold": true, "link": "x"})),
            span(" wo", json!({"link": "x"})),
            span("rld", json!({})),
        ]
    );
    act(&mut engine, format("t", 0..11, "link", Value::Null));
    act(&mut engine, write_at("t", 5, "!"));
    assert_eq!(engine.text_spans("t").unwrap(), [span("hello!", json!({"bold": true})), span(" world", json!({}))]);
}

#[test]
fn absent_names_are_empty_and_wrong_kinds_are_errors() {
    let mut engine = engine(1);
    act(&mut engine, put("m", "k", 1));
    assert_eq!(engine.map_get("none", "k").unwrap(), None);
    assert!(engine.list_values("none").unwrap().is_empty() && engine.text_spans("none").unwrap().is_empty());
    assert!(matches!(engine.list_values("m"), Err(EngineError::WrongType { found: ContainerKind::Map, .. })));
    assert!(matches!(engine.text_spans("m"), Err(EngineError::WrongType { .. })));
    assert_eq!(engine.len(&Container { kind: ContainerKind::Map, name: "m".into() }).unwrap(), 1);
}
