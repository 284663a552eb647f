//! What the demo and its agents say to each other: JSON lines through stdin and stdout. Layer 7.

use std::path::PathBuf;

use aepoch::engine::EngineKind;
use serde::{Deserialize, Serialize};

/// The document the swarm fills.
pub(super) const DOCUMENT: &str = "index";
/// The swarm's name.
pub(super) const SWARM: &str = "demo";
/// Map of files to their statistics, and the counter of files.
pub(super) const FILES: &str = "files";
/// Map of `word/file` to counts: the inverted index.
pub(super) const INDEX: &str = "index";
/// Counter of all words.
pub(super) const WORDS: &str = "words";

/// What every agent is told once, in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Address of the relay.
    pub(super) relay: String,
    /// Engine of the document.
    pub(super) engine: EngineKind,
    /// Names of all agents.
    pub(super) agents: Vec<String>,
    /// The folder.
    pub(super) root: PathBuf,
    /// Its text files.
    pub(super) files: Vec<String>,
    /// Pause after each file.
    pub(super) pace_ms: u64,
}

/// What an agent is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Leave the network, and work on.
    GoOffline,
    /// Come back.
    GoOnline,
    /// Wait until all files of all agents are here, then say what is here.
    Settle,
    /// Close in order.
    End,
}

/// What an agent tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It works. `resumed` of its files were in its replica already.
    Ready { resumed: usize },
    /// Its connection came up or went down.
    Connected(bool),
    /// It has indexed a file: visible in its own replica.
    Indexed(String),
    /// The relay has told it that this file's results are on disk.
    Acked(String),
    /// It has indexed all of its files, and all are acknowledged.
    Done,
    /// It is back and has caught up, both ways; what that took.
    Back { bytes: u64, ms: u64 },
    /// It holds everything: its digest.
    Settled { digest: String },
    /// It cannot go on.
    Failed(String),
    /// Its process has ended. Told by the reader of its output, not by the agent.
    Gone,
}
