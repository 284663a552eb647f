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

#[cfg(unix)]
#[test]
fn a_sealed_relay_serves_again_under_its_new_key_and_under_no_other() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, old, new) = (at("relay.redb"), at("old.key"), at("new.key"));
    for (path, digits) in [(&old, "01"), (&new, "02")] {
        std::fs::write(path, digits.repeat(32)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let serve = |key: [&str; 2]| program::Relay::serve_with(std::path::Path::new(&store), &key);
    let relay = serve(["--store-key-file", &old]);
    program::json(&["state", "set", "register/tempo", "120", "--connect", &relay.url, "--json"]);
    assert_eq!(relay.terminate(), Some(0));

    let verified = program::json(&["store", "verify", &store, "--store-key-file", &old, "--json"]);
    assert_eq!((&verified["sealed"], &verified["documents"][0]["document"]), (&json!(true), &json!("default/main")));
    let blind = program::json(&["store", "verify", &store, "--json"]);
    assert!(blind["documents"][0]["document"].as_str().is_some_and(|name| name.len() == 64), "{blind}");
    let rekey = ["store", "rekey", &store, "--store-key-file", &old, "--new-key-file", &new, "--json"];
    assert_eq!(program::json(&rekey)["rekeyed"], true);

    let refused = |arguments: &[&str], expected: &str| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    };
    refused(&rekey, "another key");
    refused(&["store", "verify", &store, "--store-key-file", &old], "another key");
    refused(&["store", "compact", &store, "--store-key-file", &old], "another key");
    refused(&["store", "repair", &store, "--store-key-file", &old], "another key");
    refused(&["serve", "--listen", "127.0.0.1:0", "--store", &store, "--store-key-file", &old], "another key");
    refused(&["serve", "--listen", "127.0.0.1:0", "--store", &store], "no key was given");
    refused(&["doc", "list", "--store", &store], "no key was given");
    assert_eq!(run(&["serve", "--memory", "--store-key-file", &old]).status.code(), Some(2));
    assert_eq!(run(&["store", "rekey", &store, "--new-key-file", &new]).status.code(), Some(2));

    let command = format!("cat '{new}'");
    let relay = serve(["--store-key-command", &command]);
    let tempo = program::json(&["state", "get", "register/tempo", "--connect", &relay.url, "--json"]);
    assert_eq!(tempo, json!(120));
    let listed = run(&["doc", "list", "--connect", &relay.url, "--json"]);
    assert!(text(&listed.stdout).contains("default/main"), "{}", text(&listed.stdout));
    assert_eq!(relay.terminate(), Some(0));
    for maintenance in ["compact", "repair", "verify"] {
        let mut command = program::program(&["store", maintenance, &store, "--store-key-env", "AEPOCH_TEST_KEY"]);
        let output = command.env("AEPOCH_TEST_KEY", "02".repeat(32)).output().unwrap();
        assert!(output.status.success(), "{maintenance}: {}", text(&output.stderr));
    }
}
