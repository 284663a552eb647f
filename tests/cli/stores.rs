//! Store files: work offline, history, comparing, maintenance.

use serde_json::json;

use crate::program::{self, run, text};

#[test]
fn a_store_can_be_worked_on_without_any_relay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.redb");
    let at = ["--store", path.to_str().unwrap(), "--document", "stage", "--json"];
    program::json(&[&["state", "set", "register/tempo", "120"], &at[..]].concat());
    program::json(&[&["state", "set", "map/files/a", "1"], &at[..]].concat());
    assert_eq!(program::json(&[&["state", "get"], &at[..]].concat())["register"], json!({ "tempo": 120 }));
    let history = program::json(&[&["doc", "history"], &at[..]].concat());
    assert_eq!(history["commits"], 1, "only content counts as commits of yrs");
    let verified = program::json(&["store", "verify", at[1], "--json"]);
    assert_eq!(verified["pages_hold"], true);
    assert!(program::json(&["store", "compact", at[1], "--json"])["bytes_after"].as_u64() > Some(0));
    assert_eq!(program::json(&["store", "repair", at[1], "--json"])["damaged_file"], json!(null));
}

#[test]
fn two_stores_are_compared_and_the_first_difference_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.redb", "two.redb"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    for (path, value) in paths.iter().zip(["1", "2"]) {
        program::json(&["state", "set", "map/files/a", value, "--store", path, "--document", "stage", "--json"]);
    }
    let compare = |one: &str, other: &str| run(&["doc", "digest", one, other, "--document", "stage", "--json"]);
    let same = compare(&paths[0], &paths[0]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let different = compare(&paths[0], &paths[1]);
    assert_eq!(different.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&different.stdout).unwrap();
    assert_eq!(told["first_difference"], "map/files/a");
}

#[test]
fn a_damaged_store_is_reported_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.redb");
    let store = path.to_str().unwrap();
    program::json(&["state", "set", "register/tempo", "120", "--store", store, "--json"]);
    let mut bytes = std::fs::read(&path).unwrap();
    let name = b"default/main";
    let found: Vec<usize> = (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at + name.len() + 4] ^= 0xff;
    }
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(run(&["store", "verify", store, "--json"]).status.code(), Some(1));
}
