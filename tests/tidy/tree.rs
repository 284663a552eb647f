//! The files under test, and how a failed check reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file: its path from the root of the repository, with `/`, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of one file, or `None` when there is none.
pub(crate) fn read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

/// Every Rust file below `folders`, sorted. A folder that does not exist has none; build output is not ours.
pub(crate) fn sources(folders: &[&str]) -> Vec<File> {
    files(folders, "rs")
}

/// Every file of this ending below `folders`, as [`sources`].
pub(crate) fn files(folders: &[&str], ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), ending, &mut found);
    }
    let mut files: Vec<File> = found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path:?}: {error}"));
            let relative = path.strip_prefix(root()).expect("found below the root");
            let path =
                relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            File { path, text }
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != "node_modules" {
                walk(&path, ending, found);
            }
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// Fails with every complaint at once, so that one run shows all there is to mend.
pub(crate) fn complain(what: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{what}: {} to mend\n  {}\n", complaints.len(), complaints.join("\n  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_finds_this_file_and_no_build_output() {
        let files = sources(&["tests", "no-such-folder"]);
        assert!(files.iter().any(|file| file.path == "tests/tidy/tree.rs"));
        assert!(files.iter().all(|file| !file.path.contains("/target/")));
    }

    #[test]
    #[should_panic(expected = "layering: 1 to mend\n  src/a.rs is wrong")]
    fn a_complaint_fails_the_check() {
        complain("layering", vec!["src/a.rs is wrong".to_owned()]);
    }
}
