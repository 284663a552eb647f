//! What the documentation promises must exist: the test of every guarantee, the commands of the README.

use std::collections::BTreeSet;

use crate::{code::tokens, tree::File};

/// Commands a newcomer is told to use.
const COMMANDS: [&str; 2] = ["make demo", "make test"];

/// Complains about rows of the guarantees whose last column names no test, or one that does not exist.
///
/// A row without evidence says `none` or `argued` in the column before and `-` in the last.
pub(crate) fn unproven(table: &str, files: &[File]) -> Vec<String> {
    let tests: BTreeSet<String> = files.iter().flat_map(tests).collect();
    let mut complaints = Vec::new();
    for (at, cells) in rows(table) {
        let (evidence, named) = (cells[cells.len() - 2], cells[cells.len() - 1]);
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        let unproven = ["none", "argued"].iter().any(|word| evidence.contains(word));
        if names.is_empty() && !(unproven && matches!(named, "-" | "–" | "—")) {
            complaints.push(format!("docs/guarantees.md:{at}: no test named; say `none` or `argued` if there is none"));
        }
        for name in names {
            let function = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(function) {
                complaints.push(format!("docs/guarantees.md:{at}: no test is called `{name}`"));
            }
        }
    }
    complaints
}

/// The rows of all tables, without their headings, each with its line.
fn rows(table: &str) -> Vec<(usize, Vec<&str>)> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let is_rule = |line: &str| line.starts_with('|') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let heading = lines.get(at + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !is_rule(line) && !heading {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            if cells.len() >= 2 {
                found.push((at + 1, cells));
            }
        }
    }
    found
}

/// The names of tests: of functions, and in JavaScript what `test(` is given first.
fn tests(file: &File) -> Vec<String> {
    if file.path.ends_with(".mjs") {
        let names = file.text.lines().filter_map(|line| line.strip_prefix("test(\"")?.split('"').next());
        return names.map(str::to_owned).collect();
    }
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let tokens = tokens(&file.text);
    tokens.windows(2).filter(|pair| pair[0].text == "fn").map(|pair| pair[1].text.clone()).collect()
}

/// Complains when the README lacks one of the two commands, or names a target the Makefile does not have.
pub(crate) fn missing_commands(readme: &str, makefile: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for command in COMMANDS {
        if !readme.lines().any(|line| line.trim().trim_start_matches("$ ").starts_with(command)) {
            complaints.push(format!("README.md: `{command}` does not stand on a line of its own"));
        }
    }
    for line in readme.lines().map(|line| line.trim().trim_start_matches("$ ")) {
        let Some(target) = line.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) else { continue };
        if !makefile.lines().any(|rule| rule.starts_with(&format!("{target}:"))) {
            complaints.push(format!("README.md: the Makefile has no target `{target}`"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(row: &str) -> String {
        format!("# Guarantees\n\n| claim | holds | fails | evidence | test |\n|-|-|-|:-:|-|\n{row}\n")
    }

    fn files() -> Vec<File> {
        vec![File {
            path: "tests/a.rs".to_owned(),
            text: "#[test]\nfn replicas_agree() {} // fn ghost() {}".to_owned(),
        }]
        .into_iter()
        .chain([File { path: "www/a.mjs".to_owned(), text: "test(\"tabs agree\", () => {});\n// ghost".to_owned() }])
        .collect()
    }

    #[test]
    fn a_guarantee_without_its_test_is_found() {
        for row in ["| a | b | c | tested | `ghost` |", "| a | b | c | tested | - |", "| a | b | c | tested | soon |"] {
            assert_eq!(unproven(&table(row), &files()).len(), 1, "{row}");
        }
        for row in ["| a | b | c | tested | `laws::replicas_agree`, `tabs agree` |", "| a | b | c | none | - |"] {
            assert_eq!(unproven(&table(row), &files()), Vec::<String>::new(), "{row}");
        }
    }

    #[test]
    fn a_command_that_does_not_exist_is_found() {
        let makefile = "demo:\n\tcargo run\ntest:\n";
        assert_eq!(missing_commands("```\nmake demo\nmake test\n```", makefile), Vec::<String>::new());
        assert_eq!(missing_commands("make demo", makefile).len(), 1);
        assert_eq!(missing_commands("make demo\nmake test\nmake tea", makefile).len(), 1);
    }
}
