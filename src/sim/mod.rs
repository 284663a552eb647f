//! The simulator: a swarm of production nodes in one thread, with a seeded network, disks, clocks and workload.
//! Layer 6; pure: no clock, no entropy, so a seed replays the same run everywhere.
//!
//! What runs is what ships: [`Node`](crate::node::Node), [`Session`](crate::sync::Session) and documents. What is made
//! up is what surrounds them:
//! - `network`: streams that delay, stall, break at any packet and keep one side in the dark;
//! - `disk`: late answers, failing writes, and crashes that keep any prefix of what had not been confirmed;
//! - `host`: one process: its clocks, its restarts, its identity;
//! - `faults` and `workload`: what happens at each step, drawn from the seed;
//! - `checks`: what must hold after every step, and once all faults have healed; `digests`: that peers tell so too;
//! - `coordination`: what applications do with barriers and their kin; `told`: what was done and told of them, and what
//!   must hold of that; `witness`: how nodes are asked; `resolve`: that all that can be decided is, once faults healed;
//! - `inquiries`: that who asks what has begun hears of it;
//! - `world`: the order of events that ties them together.
//!
//! A run has two parts: `steps` of work under faults, then healing, after which every replica must agree, everything
//! acknowledged must be there and nothing may be left waiting.

mod checks;
mod coordination;
mod digests;
mod disk;
mod faults;
mod host;
mod inquiries;
mod network;
mod resolve;
mod told;
mod trace;
mod witness;
mod workload;
mod world;

use std::fmt;

use serde::Serialize;

use crate::{engine::EngineKind, node::Counters};

/// A fault built into the simulated surroundings on purpose, to see whether the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// The relay's disk confirms writes that it has not yet made durable.
    AckBeforeSync,
    /// What a slow reader is to get instead of its dropped queue never leaves.
    ForgetCatchUp,
    /// Deltas claim to build on nothing, so that a replica cannot notice that one is missing; and some are missing.
    IgnoreGaps,
    /// Agents that keep their identity do not wait for their disk.
    CountBeforeDurable,
    /// An agent whose disk is put back to an older state goes on under its old number.
    Amnesia,
    /// Releases do not wait for content, though they are to.
    IgnoreFence,
    /// Lower tiers do not wait for acknowledgements, though they are to.
    IgnoreGate,
    /// Timers run four times as fast as they are to.
    HastyTimers,
    /// Slots claim that their highest tier is decided, whoever of it has come.
    ForgeOutcome,
    /// What is finished is never heard of.
    ForgetClosed,
    /// Who asks what peers hold is told what it holds itself.
    EchoVersions,
}

/// What to simulate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Things done before healing: writes, reads, faults.
    pub steps: u32,
    /// Agents around one relay.
    pub agents: usize,
    /// What holds the documents' content.
    pub engine: EngineKind,
    /// A fault to be caught.
    pub sabotage: Option<Sabotage>,
    /// Applications coordinate too.
    pub coordination: bool,
    /// Keep a line of text for everything that happens.
    pub trace: bool,
}

impl Plan {
    /// A run of the usual size. In every other one applications coordinate.
    pub const fn new(seed: u64, engine: EngineKind) -> Self {
        Self { seed, steps: 300, agents: 4, engine, sabotage: None, coordination: seed % 2 == 1, trace: false }
    }

    /// Every other agent holds a part of the records only. Decided by seeds none of which was committed before there
    /// were such agents, so that those keep their meaning.
    const fn filters(&self) -> bool {
        matches!(self.seed % 8, 2 | 5)
    }

    /// Engines fail now and then on something of what has come, and go on from the store. Decided as before.
    const fn engines_fail(&self) -> bool {
        self.seed % 16 == 14 || self.seed % 32 == 31
    }

    /// Applications that coordinate ask now and then what their peers hold. Decided as before; of the last two, some hold a
    /// part of the records only.
    const fn inquires(&self) -> bool {
        matches!(self.seed % 16, 1 | 3 | 11 | 12 | 15) || matches!(self.seed % 32, 5 | 18)
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// The step after which it was seen; the number of steps when it was seen after healing.
    pub step: u32,
    /// What was wrong.
    pub what: String,
    /// The command that shows it again.
    pub replay: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} failed at step {}: {}\n  replay: {}", self.seed, self.step, self.what, self.replay)
    }
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was broken first, if anything.
    pub failure: Option<Failure>,
    /// Hash of everything that happened, in order: equal for equal plans.
    pub hash: u64,
    /// Things that happened: packets, timers, writes.
    pub events: u64,
    /// Virtual time passed, in microseconds.
    pub micros: u64,
    /// What all nodes have done, added up.
    pub counters: Counters,
    /// One line for each thing that happened, when asked for.
    pub lines: Vec<String>,
}

/// Simulates a plan.
pub fn run(plan: &Plan) -> Outcome {
    world::World::new(plan).run()
}
