//! The demo on a small folder: all of its processes, mishaps and checks.

use std::path::Path;

use crate::program::{run, text};

fn write_input(folder: &Path) {
    for file in 0..24 {
        let words: Vec<String> = (0..40).map(|word| format!("word{}", (file * 7 + word * 3) % 50)).collect();
        std::fs::write(folder.join(format!("{file:02}.txt")), words.join(" ")).unwrap();
    }
}

fn holds(engine: &str, mishaps: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    write_input(folder.path());
    let input = folder.path().to_str().unwrap();
    let output = run(&[&["demo", "--json", "--agents", "3", "--engine", engine, "--input", input], mishaps].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&verdict["agents"], &verdict["files"]), (&3.into(), &24.into()));
    assert_eq!((&verdict["words"], &verdict["expected_words"]), (&960.into(), &960.into()));
    assert_eq!((&verdict["digests_equal"], &verdict["exact"]), (&true.into(), &true.into()));
    assert_eq!(verdict["acked_lost"], 0);
    if mishaps.is_empty() {
        assert!(verdict["resync_bytes"].as_u64() > Some(0), "whoever comes back exchanges something");
    }
}

#[test]
fn mishaps_lose_nothing_with_yrs() {
    holds("yrs", &[]);
}

#[test]
fn mishaps_lose_nothing_with_automerge() {
    holds("automerge", &[]);
}

#[test]
fn the_swarm_agrees_without_mishaps_on_both_engines() {
    holds("yrs", &["--no-chaos"]);
    holds("automerge", &["--no-chaos"]);
}

/// Nobody could press Enter.
#[test]
fn without_a_terminal_the_demo_ends_by_itself_and_names_its_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    write_input(folder.path());
    let output = run(&["demo", "--stay", "--no-chaos", "--agents", "3", "--input", folder.path().to_str().unwrap()]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("the dashboard is at http://127.0.0.1:"), "{told}");
    assert!(!told.contains("stay up"), "{told}");
}

#[test]
fn a_folder_without_text_is_refused_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["demo", "--input", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}
