//! What the demo and its agents say to each other: JSON lines through stdin and stdout. Layer 7.

use std::path::PathBuf;

use aepoch::{coordination::standing::Standing, engine::EngineKind};
use serde::{Deserialize, Serialize};

/// The document the swarm fills.
pub(super) const DOCUMENT: &str = "index";
/// The swarm's name.
pub(super) const SWARM: &str = "demo";
/// Map of files to their statistics; the queue of files to be indexed.
pub(super) const FILES: &str = "files";
/// Map of `word/file` to counts: the inverted index. The epoch in which it is made.
pub(super) const INDEX: &str = "index";
/// What the alphas publish at the end: a register, and the barrier that gammas wait at until it is there.
pub(super) const RESULT: &str = "result";
/// Registers with the sums of each agent's part: `sum/NAME`.
pub(super) const SUM: &str = "sum";
/// The phases of the epoch: files are pushed; all are indexed and summed up; the result is out.
pub(super) const PHASES: [&str; 3] = ["collect", "reduce", "publish"];

/// What every agent is told once, in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Address of the relay.
    pub(super) relay: String,
    /// Engine of the document.
    pub(super) engine: EngineKind,
    /// Names of those who partition the work and publish the result.
    pub(super) alphas: Vec<String>,
    /// Names of those who work.
    pub(super) gammas: Vec<String>,
    /// The folder.
    pub(super) root: PathBuf,
    /// Its text files.
    pub(super) files: Vec<String>,
    /// Pause of an alpha after each file that it pushes, and of a gamma after each that it has indexed.
    pub(super) push_ms: u64,
    pub(super) pace_ms: u64,
}

impl Plan {
    /// All agents, alphas first.
    pub(super) fn agents(&self) -> impl Iterator<Item = &String> {
        self.alphas.iter().chain(&self.gammas)
    }

    /// Those who claim files: the gammas, or the alphas where there are none.
    pub(super) fn workers(&self) -> &[String] {
        if self.gammas.is_empty() { &self.alphas } else { &self.gammas }
    }
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
    /// It is there. Its replica had so many files already.
    Ready { resumed: usize },
    /// Its connection came up or went down.
    Connected(bool),
    /// It has pushed a file into the queue.
    Pushed(String),
    /// It is about to write what a file holds, under the fencing token of its claim.
    Effect { file: String, item: String, token: u64 },
    /// Its claim has ended with the file done: visible in its own replica.
    Indexed { file: String, item: String, token: u64 },
    /// It is in this phase now.
    Phase(String),
    /// How a barrier or a phase ended for it.
    Passed { object: String, generation: u64, standing: Standing },
    /// The result it was shown on its release.
    Result { words: u64, files: u64 },
    /// The relay has told it that this file's results are on disk.
    Acked(String),
    /// Its part is over, and all it has done is acknowledged.
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
