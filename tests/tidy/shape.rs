//! The shape of files: length, header, name, nothing left undone.

use crate::{code::tokens, tree::File};

/// Above this a file holds more than one concept.
const LINES_MAX: usize = 800;

/// Words that tell a reader nothing about what a file holds.
const VAGUE: [&str; 12] =
    ["util", "utils", "common", "manager", "managers", "helper", "helpers", "misc", "v2", "old", "new", "stuff"];

/// Macros that stand for work not done, or for work being debugged.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Complains about files above the limit.
pub(crate) fn too_long(files: &[File]) -> Vec<String> {
    let lengths = files.iter().map(|file| (file, file.text.lines().count())).filter(|(_, lines)| *lines > LINES_MAX);
    lengths
        .map(|(file, lines)| format!("{}: {lines} lines, limit {LINES_MAX}; one concept per file", file.path))
        .collect()
}

/// Complains about files that do not open with `//!`. Inner attributes may come first.
pub(crate) fn without_header(files: &[File]) -> Vec<String> {
    let opens = |text: &str| {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("#!["));
        lines.next().is_some_and(|line| line.starts_with("//! "))
    };
    let headless = files.iter().filter(|file| !opens(&file.text));
    headless.map(|file| format!("{}: open with `//!` saying what lives here and its layer", file.path)).collect()
}

/// Complains about files and folders named after nothing in particular.
pub(crate) fn vague_names(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let words = file.path.trim_end_matches(".rs").split(['/', '_', '-', '.']);
        for word in words.filter(|word| VAGUE.contains(word)) {
            complaints.push(format!("{}: `{word}` says nothing; name the concept", file.path));
        }
    }
    complaints
}

/// Complains about macros that mark missing work, and about notes to finish something later without an issue.
pub(crate) fn unfinished(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let tokens = tokens(&file.text);
        let calls = tokens.windows(2).filter(|pair| pair[1].text == "!" && UNFINISHED.contains(&pair[0].text.as_str()));
        complaints.extend(calls.map(|pair| format!("{}:{}: `{}!`: finish it", file.path, pair[0].line, pair[0].text)));
        let notes = file
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| (line.contains("TODO") || line.contains("FIXME")) && !line.contains('#'));
        complaints
            .extend(notes.map(|(at, _)| format!("{}:{}: a note to do something names its issue", file.path, at + 1)));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<File> {
        vec![File { path: path.to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn a_file_of_801_lines_is_too_long() {
        assert_eq!(too_long(&file("src/a.rs", &"\n".repeat(801))).len(), 1);
        assert_eq!(too_long(&file("src/a.rs", &"\n".repeat(800))), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_header_is_found() {
        assert_eq!(without_header(&file("src/a.rs", "use std::fmt;\n//! Late.")).len(), 1);
        assert_eq!(without_header(&file("src/a.rs", "//!\n")).len(), 1);
        assert_eq!(without_header(&file("src/a.rs", "#![no_main]\n\n//! Says it.")), Vec::<String>::new());
    }

    #[test]
    fn a_vague_name_is_found_in_file_and_folder() {
        for path in
            ["src/utils.rs", "src/common/mod.rs", "src/room_manager.rs", "tests/sync/helpers.rs", "src/wire_v2.rs"]
        {
            assert_eq!(vague_names(&file(path, "")).len(), 1, "{path}");
        }
        assert_eq!(vague_names(&file("src/node/renewal.rs", "")), Vec::<String>::new());
    }

    #[test]
    fn unfinished_code_is_found() {
        // In two parts, so that no search for unfinished code ends here.
        for (mark, rest) in
            [("fn f() { to", "do!() }"), ("db", "g!(x);"), ("un", "implemented!()"), ("// TO", "DO: later")]
        {
            let text = format!("{mark}{rest}");
            assert_eq!(unfinished(&file("src/a.rs", &text)).len(), 1, "{text}");
        }
        assert_eq!(unfinished(&file("src/a.rs", "// TODO(#12): later\nlet todo = 1;")), Vec::<String>::new());
    }
}
