//! Goal: the rules of this code base hold without anyone remembering them. Method: read the sources as text.
//!
//! Every check is a function over `(path, text)` pairs that returns complaints, so each one is also shown to fail on a
//! small sample. A complaint says what to do about it.

mod code;
mod layers;
mod lock;
mod promises;
mod shape;
mod tree;

use tree::{File, complain, files, read, sources};

#[test]
fn dependencies_point_down() {
    complain("layering", layers::upward(&sources(&["src"])));
}

#[test]
fn every_module_has_a_layer() {
    complain("layering", layers::unplaced(&sources(&["src"])));
}

#[test]
fn the_core_is_pure() {
    complain("purity", layers::impure(&sources(&["src"])));
}

#[test]
fn files_are_short() {
    complain("file length", shape::too_long(&sources(&["src"])));
}

#[test]
fn every_file_says_what_lives_in_it() {
    let files = sources(&["src", "tests", "benches", "examples", "fuzz", "bindings"]);
    complain("file header", shape::without_header(&files));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let files = sources(&["src", "tests", "benches", "examples", "fuzz", "bindings"]);
    complain("file name", shape::vague_names(&files));
}

#[test]
fn nothing_is_left_unfinished() {
    complain("unfinished code", shape::unfinished(&sources(&["src"])));
}

#[test]
fn locked_versions_are_above_known_advisories() {
    complain("Cargo.lock", lock::below_floor(&read("Cargo.lock").expect("Cargo.lock is committed")));
}

#[test]
fn every_guarantee_names_a_test_that_exists() {
    if let Some(table) = read("docs/guarantees.md") {
        let mut tests = sources(&["src", "tests", "benches", "bindings"]);
        tests.extend(files(&["bindings", "www", "tests/interop"], "mjs"));
        tests.push(File { path: "docs/guarantees.md".to_owned(), text: table.clone() });
        complain("docs/guarantees.md", promises::unproven(&table, &tests));
    }
}

#[test]
fn the_commands_of_the_readme_exist() {
    if let Some(readme) = read("README.md") {
        let makefile = read("Makefile").expect("Makefile is committed");
        complain("README.md", promises::missing_commands(&readme, &makefile));
    }
}
