//! A relay, and agents that are nothing but commands.

use std::process::{Child, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Relay, json, program, text};

/// A relay and the stores of agents, in a folder of their own.
pub(crate) struct Stage {
    folder: TempDir,
    relay: Relay,
}

/// What a command that ended has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) value: Value,
    pub(crate) error: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::serve(&folder.path().join("relay.redb"));
        Self { folder, relay }
    }

    /// Begins a command, given as one would type it. `@a` stands for `--as a` with a's store.
    pub(crate) fn begin(&self, line: &str) -> Child {
        self.spawn(line, &["--json"])
    }

    /// What a command that has to succeed says to people.
    pub(crate) fn text(&self, line: &str) -> String {
        let output = self.spawn(line, &[]).wait_with_output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn spawn(&self, line: &str, options: &[&str]) -> Child {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            match word.strip_prefix('@') {
                Some(agent) => {
                    let store = self.folder.path().join(format!("{agent}.redb"));
                    words.extend(["--as", agent, "--store", store.to_str().unwrap()].map(str::to_owned));
                }
                None => words.push(word.to_owned()),
            }
        }
        // What follows `--` is another program's.
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (own, others) = words.split_at(end);
        let place = ["--connect", &self.relay.url, "--document", "stage"];
        let own = own.iter().map(String::as_str).chain(place).chain(options.iter().copied());
        let words: Vec<&str> = own.chain(others.iter().map(String::as_str)).collect();
        program(&words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command to its end.
    pub(crate) fn say(&self, line: &str) -> Said {
        ended(self.begin(line))
    }

    /// Runs commands at the same time, to their ends.
    pub(crate) fn say_all<const N: usize>(&self, lines: [&str; N]) -> [Said; N] {
        lines.map(|line| self.begin(line)).map(ended)
    }

    /// Runs a command that has to succeed.
    pub(crate) fn done(&self, line: &str) -> Value {
        let said = self.say(line);
        assert_eq!(said.code, Some(0), "{line}: {said:?}");
        said.value
    }

    /// The swarm's own document.
    pub(crate) fn swarm(&self) -> Value {
        json(&["doc", "show", "--connect", &self.relay.url, "--document", "_swarm", "--json"])["value"].clone()
    }

    /// Makes agents with stores known to the swarm.
    pub(crate) fn introduce<const N: usize>(&self, agents: [&str; N]) {
        for agent in agents {
            // There is no such barrier; whoever asks has entered the swarm nevertheless.
            assert_eq!(self.say(&format!("barrier status none @{agent}")).code, Some(1));
        }
    }
}

/// Waits for a command to end.
pub(crate) fn ended(child: Child) -> Said {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let value = if stdout.is_empty() { Value::Null } else { serde_json::from_slice(&stdout).unwrap() };
    Said { code: status.code(), value, error: text(&stderr) }
}
