//! What observers are told.

use aepoch::engine::{Change, guarded};
use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// Applies what the other has, watching; gives the patches as text.
fn watch(engine: &mut Boxed, update: Bytes) -> Vec<String> {
    shown(&guarded(|| engine.apply(&[update], true)).unwrap().patches)
}

fn shown(patches: &[(aepoch::engine::Path, Change)]) -> Vec<String> {
    patches
        .iter()
        .map(|(path, change)| match change {
            Change::Put { old, new } => {
                let value =
                    |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
                format!("{path}: {} -> {}", value(old), value(new))
            }
            Change::Splice { removed, inserted } => format!("{path}: -{removed} +{}", json!(inserted)),
            Change::Format { len } => format!("{path}: format {len}"),
        })
        .collect()
}

#[test]
fn local_and_remote_changes_are_reported_alike() {
    let (mut left, mut right) = (engine(1), engine(2));
    let steps: Vec<(Vec<aepoch::engine::Op>, Vec<&str>)> = vec![
        (vec![put("m", "k", 1)], vec!["map/m/k: - -> 1"]),
        (vec![put("m", "k", json!({"a": [1, {"b": 2}]}))], vec!["map/m/k: 1 -> {\"a\":[1,{\"b\":2}]}"]),
        (
            vec![put("m", "k", "s"), put("m", "j", true)],
            vec!["map/m/k: {\"a\":[1,{\"b\":2}]} -> \"s\"", "map/m/j: - -> true"],
        ),
        (vec![remove("m", "k")], vec!["map/m/k: \"s\" -> -"]),
        (vec![push("l", vec![json!(1), json!([2]), json!(3)])], vec!["list/l/0: -0 +[1,[2],3]"]),
        (vec![cut("l", 0..2)], vec!["list/l/0: -2 +[]"]),
        (vec![write_at("t", 0, "hé😀")], vec!["text/t/0: -0 +[\"hé😀\"]"]),
        (vec![erase("t", 1..2)], vec!["text/t/1: -1 +[\"\"]"]),
        (vec![format("t", 0..2, "bold", true)], vec!["text/t/0: format 2"]),
    ];
    for (ops, expected) in steps {
        let commit = left.transact(&ops, true).unwrap();
        assert_eq!(shown(&commit.patches), expected, "local");
        let mut remote = watch(&mut right, commit.update);
        let mut expected = expected;
        // One batch reports the keys of a map in their order, not in that of writing.
        remote.sort();
        expected.sort();
        assert_eq!(remote, expected, "remote");
    }
}

#[test]
fn nothing_is_reported_unless_asked_for_and_nothing_that_did_not_change() {
    let (mut left, mut right) = (engine(1), engine(2));
    let update = act(&mut left, put("m", "k", 1));
    assert!(deliver(&mut right, std::slice::from_ref(&update)).unwrap().patches.is_empty());
    assert!(watch(&mut right, update).is_empty());
    // The loser of a concurrent write changes nothing that is shown.
    let low = act(&mut left, put("m", "k", 2));
    let high = act(&mut right, put("m", "k", 3));
    assert!(watch(&mut right, low).is_empty());
    assert_eq!(watch(&mut left, high), ["map/m/k: 2 -> 3"]);
}

#[test]
fn a_loaded_document_is_reported_whole() {
    let (mut left, mut right) = (engine(1), engine(2));
    let ops =
        [put("m", "b", 1), put("m", "a", json!([1])), push("l", vec![json!(1), json!(2)]), write_at("t", 0, "xy")];
    left.transact(&ops, false).unwrap();
    assert_eq!(
        watch(&mut right, left.snapshot()),
        ["list/l/0: -0 +[1,2]", "map/m/a: - -> [1]", "map/m/b: - -> 1", "text/t/0: -0 +[\"xy\"]"]
    );
}
