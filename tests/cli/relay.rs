//! A served relay, and the commands that talk to it.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::program::{self, Relay, run, text};

#[test]
fn what_is_set_can_be_read_shown_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::serve(&folder.path().join("relay.redb"));
    let at = ["--connect", relay.url.as_str(), "--document", "stage", "--json"];
    let set = |path: &str, value: &str| program::json(&[&["state", "set", path, value], &at[..]].concat());
    let get = |path: &str| program::json(&[&["state", "get", path], &at[..]].concat());

    assert_eq!(set("register/setlist", "[\"intro\"]")["value"], json!(["intro"]));
    assert_eq!(set("counter/takes", "2")["value"], json!(2));
    assert_eq!(set("counter/takes", "-3")["value"], json!(-1));
    set("map/files/src/a.rs", "{\"lines\": 3}");
    set("list/jobs", "\"first\"");
    set("text/notes", "hello");
    set("text/notes", " there");
    assert_eq!(get("register/setlist/0"), json!("intro"));
    assert_eq!(get("counter/takes"), json!(-1));
    assert_eq!(get("map/files/src/a.rs/lines"), json!(3));
    assert_eq!(get("list/jobs/0"), json!("first"));
    assert_eq!(get("text/notes"), json!("hello there"));

    let missing = run(&[&["state", "get", "register/setlst"], &at[..]].concat());
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("setlist"), "{}", text(&missing.stderr));

    let shown = program::json(&[&["doc", "show"], &at[..]].concat());
    assert_eq!(shown["value"], get(""));
    assert_eq!(shown["digest"], program::json(&[&["doc", "digest"], &at[..]].concat())["digest"]);
    let listed = run(&["doc", "list", "--connect", &relay.url, "--json"]);
    let listed: Vec<Value> = text(&listed.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(listed.iter().any(|document| document["document"] == "default/stage"), "{listed:?}");
}

#[test]
fn a_watcher_sees_the_changes_of_others_under_its_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::serve(&folder.path().join("relay.redb"));
    let at = ["--connect", relay.url.as_str(), "--document", "stage", "--json"];
    let set = |path: &str, value: &str| program::json(&[&["state", "set", path, value], &at[..]].concat());
    let mut watch = program::program(&[&["state", "watch", "register/", "--count", "3"], &at[..]].concat());
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let seen = BufReader::new(watch.stdout.take().unwrap());
    // Whether the watcher has begun is not told: what is set before does not count, so it is set again and again.
    let mut tempo = 0;
    while watch.try_wait().unwrap().is_none() {
        tempo += 1;
        set("counter/takes", "1");
        set("register/tempo", &tempo.to_string());
    }
    let patches: Vec<Value> = seen.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(patches.len(), 3);
    for patch in patches {
        assert_eq!((&patch["path"]["section"], &patch["path"]["name"]), (&json!("register"), &json!("tempo")));
        assert_eq!(patch["origin"], "remote");
        assert!(patch["change"]["put"]["new"].as_i64().is_some_and(|seen| seen <= tempo), "{patch}");
    }
}

#[cfg(unix)]
#[test]
fn a_relay_told_to_stop_ends_with_0_and_serves_the_same_from_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("relay.redb");
    let relay = Relay::serve(&store);
    program::json(&["state", "set", "register/a", "1", "--connect", &relay.url, "--json"]);
    assert_eq!(relay.terminate(), Some(0));
    let relay = Relay::serve(&store);
    assert_eq!(program::json(&["state", "get", "register/a", "--connect", &relay.url, "--json"]), json!(1));
}

#[test]
fn a_killed_relay_has_kept_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("relay.redb");
    let relay = Relay::serve(&store);
    program::json(&["state", "set", "register/a", "1", "--connect", &relay.url, "--json"]);
    drop(relay);
    let path = store.to_str().unwrap();
    assert_eq!(program::json(&["state", "get", "register/a", "--store", path, "--json"]), json!(1));
}
