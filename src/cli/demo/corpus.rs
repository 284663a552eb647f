//! What the swarm indexes: the text files of a folder, and what is in each. Layer 7.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Files above this many bytes are left out: data rather than text.
const FILE_BYTES: u64 = 1024 * 1024;
/// Files a demo takes on; each is a transaction.
const FILES: usize = 5_000;
/// Paths longer than this would not fit into a key of the index together with a word.
const PATH_BYTES: usize = 512;
/// Words are cut after this many characters: what is longer is a number or a hash.
const WORD_CHARS: usize = 64;

/// What is in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statistics {
    /// Its size.
    pub(super) bytes: u64,
    /// Its lines.
    pub(super) lines: u64,
    /// Its words.
    pub(super) words: u64,
    /// Its different words.
    pub(super) distinct: u64,
}

/// A file's statistics, and how often it holds each word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Analysis {
    /// The totals.
    pub(super) statistics: Statistics,
    /// Words in lower case, with their counts.
    pub(super) words: BTreeMap<String, u64>,
}

/// Reads and counts one file.
pub(super) fn analyse(root: &Path, file: &str) -> io::Result<Analysis> {
    Ok(count(&std::fs::read_to_string(root.join(file))?))
}

/// Words are runs of letters, digits and `_`.
pub(super) fn count(text: &str) -> Analysis {
    let mut words = BTreeMap::new();
    let mut total = 0;
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()) {
        let word: String = word.chars().take(WORD_CHARS).flat_map(char::to_lowercase).collect();
        *words.entry(word).or_insert(0) += 1;
        total += 1;
    }
    let statistics = Statistics {
        bytes: text.len() as u64,
        lines: text.lines().count() as u64,
        words: total,
        distinct: words.len() as u64,
    };
    Analysis { statistics, words }
}

/// The text files under `root`, as paths with `/` relative to it, sorted. With `endings`, only those.
pub(super) fn text_files(root: &Path, endings: Option<&[&str]>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        // A cache says so itself: https://bford.info/cachedir/
        if root.join(&folder).join("CACHEDIR.TAG").exists() {
            continue;
        }
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let (path, kind) = (folder.join(name), entry.file_type()?);
            if kind.is_dir() && !matches!(name, "target" | "node_modules") {
                folders.push(path);
            } else if kind.is_file() && ends_well(name, endings) && is_text(&root.join(&path)) {
                found.extend(portable(&path));
            }
        }
    }
    found.sort();
    found.truncate(FILES);
    Ok(found)
}

/// At most `most` of them, evenly spread.
pub(super) fn sample(files: Vec<String>, most: usize) -> Vec<String> {
    let (count, most) = (files.len(), most.min(files.len()));
    let taken = |number: usize| number * most / count != (number + 1) * most / count;
    files.into_iter().enumerate().filter(|(number, _)| taken(*number)).map(|(_, file)| file).collect()
}

fn ends_well(name: &str, endings: Option<&[&str]>) -> bool {
    endings.is_none_or(|endings| endings.iter().any(|ending| name.ends_with(ending)))
}

fn is_text(path: &Path) -> bool {
    let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= FILE_BYTES);
    small && std::fs::read_to_string(path).is_ok_and(|text| !text.contains('\0'))
}

fn portable(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/")).filter(|path| path.len() <= PATH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_without_case() {
        let analysis = count("The relay, the RELAY;\nand a_b 42.\n");
        assert_eq!(analysis.statistics, Statistics { bytes: 34, lines: 2, words: 7, distinct: 5 });
        assert_eq!(analysis.words["relay"], 2);
        assert_eq!(analysis.words["a_b"], 1);
    }

    #[test]
    fn a_sample_is_spread_over_all_files() {
        let files = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(sample(files(10), 3), ["3", "6", "9"]);
        assert_eq!(sample(files(617), 160).len(), 160);
        assert_eq!(sample(files(3), 3), files(3));
        assert_eq!(sample(files(3), 10), files(3));
        assert!(sample(files(0), 10).is_empty());
    }

    #[test]
    fn only_text_files_outside_caches_and_hidden_folders_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write("b/two.md", b"two");
        write("a.rs", b"one");
        write("image.md", b"a\0b");
        write("latin.md", &[0xff, 0xfe]);
        write(".git/config.md", b"hidden");
        write("cache/CACHEDIR.TAG", b"");
        write("cache/x.md", b"cached");
        write("notes.txt", b"other ending");
        assert_eq!(text_files(folder.path(), Some(&[".md", ".rs"])).unwrap(), ["a.rs", "b/two.md"]);
        assert_eq!(text_files(folder.path(), None).unwrap(), ["a.rs", "b/two.md", "notes.txt"]);
    }
}
