//! Help teaches, and exit codes say what kind of failure it was.

use crate::program::{run, text};

const COMMANDS: [&[&str]; 32] = [
    &["serve"],
    &["demo"],
    &["state", "get"],
    &["state", "set"],
    &["state", "watch"],
    &["doc", "list"],
    &["doc", "show"],
    &["doc", "history"],
    &["doc", "digest"],
    &["doc", "export"],
    &["doc", "import"],
    &["store", "verify"],
    &["store", "repair"],
    &["store", "compact"],
    &["barrier", "create"],
    &["barrier", "arrive"],
    &["barrier", "wait"],
    &["barrier", "status"],
    &["barrier", "clean"],
    &["epoch", "create"],
    &["epoch", "finish"],
    &["epoch", "wait"],
    &["epoch", "status"],
    &["epoch", "clean"],
    &["poll", "create"],
    &["poll", "vote"],
    &["poll", "wait"],
    &["poll", "status"],
    &["poll", "clean"],
    &["decide"],
    &["why"],
    &["sim"],
];

#[test]
fn every_command_shows_examples_of_itself() {
    for command in COMMANDS {
        let help = run(&[command, &["--help"]].concat());
        assert!(help.status.success(), "{command:?}");
        let help = text(&help.stdout);
        assert!(help.contains("Examples:"), "{command:?} has no examples");
        assert!(help.contains(&format!("aepoch {}", command.join(" "))), "{command:?} does not show itself");
    }
}

#[test]
fn the_help_documents_exit_codes() {
    let help = text(&run(&["--help"]).stdout);
    for line in ["Exit codes:", "  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "  7  ", "  8  "] {
        assert!(help.contains(line), "{line} is missing");
    }
}

#[test]
fn the_defaults_of_coordination_are_in_the_help() {
    let create = text(&run(&["barrier", "create", "--help"]).stdout);
    for default in ["alpha=15s, others 30s", "[default: 10]", "[default: 60s]", "[default: proceed]", "gamma"] {
        assert!(create.contains(default), "{default} is missing:\n{create}");
    }
    let epoch = text(&run(&["epoch", "create", "--help"]).stdout);
    let window = epoch.split("--window").nth(1).unwrap().split("--").next().unwrap();
    assert!(window.contains("[default: 60s]"), "{window}");
}

#[test]
fn a_command_line_without_sense_ends_with_2() {
    for arguments in [
        &["fly"][..],
        &["state", "set", "register", "1"],
        &["state", "set", "song/title", "1"],
        &["state", "set", "counter/takes", "many"],
        &["doc", "digest", "only-one"],
        &["demo", "--agents", "0"],
        &["demo", "--engine", "steam"],
        &["state", "get", "register/a", "--connect", "http://127.0.0.1:1"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn nobody_answering_ends_with_3() {
    // Port 9 is for discarding; nothing that speaks our protocol listens there.
    for command in [["get", "register/a"].as_slice(), &["set", "register/a", "1"], &["watch"]] {
        let arguments = [&["state"], command, &["--connect", "ws://127.0.0.1:9", "--timeout", "1", "--json"]].concat();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["code"], 3);
    }
}

#[test]
fn a_missing_store_is_not_created_by_looking_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("none.redb");
    let path = store.to_str().unwrap();
    for command in [&["store", "verify", path][..], &["doc", "list", "--store", path]] {
        assert_eq!(run(command).status.code(), Some(1), "{command:?}");
        assert!(!store.exists(), "{command:?} created it");
    }
}
