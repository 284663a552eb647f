//! How a generation of an object ended or stands, in names. Layer 3, pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    barrier::Progress,
    kernel::{BitSet, Roster, Tier, TierOutcome},
};
use crate::id::AgentId;

/// How one tier ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everybody took part.
    Complete,
    /// Enough did.
    Degraded,
    /// Too few did, and the tier was skipped.
    Shortfall,
    /// Too few did, and that was the end.
    Broken,
}

/// One tier of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TierResult {
    /// Which.
    pub tier: Tier,
    /// How it ended.
    pub ending: Ending,
    /// Who took part, in the order of seats.
    pub released: Arc<[AgentId]>,
    /// Who did not.
    pub missing: Arc<[AgentId]>,
}

/// What was decided of one generation, down to the tier of whoever asks: the same for every agent of that tier, and a
/// prefix of what lower tiers are told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// Which generation, from 0.
    pub generation: u64,
    /// The tiers, highest first.
    pub tiers: Vec<TierResult>,
}

impl Outcome {
    /// True when nobody is missing.
    pub fn is_complete(&self) -> bool {
        self.tiers.iter().all(|tier| tier.ending == Ending::Complete)
    }

    /// Who is missing, over all tiers.
    pub fn missing(&self) -> impl Iterator<Item = &AgentId> {
        self.tiers.iter().flat_map(|tier| &*tier.missing)
    }

    /// Who took part, over all tiers.
    pub fn released(&self) -> impl Iterator<Item = &AgentId> {
        self.tiers.iter().flat_map(|tier| &*tier.released)
    }
}

/// Where an agent stands in one generation of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// Not decided yet.
    Waiting,
    /// Not decided, and this agent's timer has run out: an observation, nothing follows from it.
    Overdue {
        /// Whose arrival is not here.
        missing: Arc<[AgentId]>,
    },
    /// Released.
    Released(Outcome),
    /// Its tier was decided without it.
    Late(Outcome),
    /// A tier had too few, and that is the end of the object.
    Broken(Outcome),
    /// The others have gone on; what was decided is not to be had any more.
    Superseded {
        /// The newest generation heard of.
        newest: u64,
    },
    /// Cleaned up before it was decided here.
    Closed,
}

impl Standing {
    /// True when it does not change any more.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Overdue { .. })
    }

    pub(super) fn of(progress: Progress, roster: &Roster) -> Self {
        let generation = roster.generation();
        let names = |seats: &BitSet| -> Arc<[AgentId]> {
            if seats.is_empty() {
                return Arc::default();
            }
            seats.iter().filter_map(|seat| Some(roster.seats().get(seat)?.agent.clone())).collect()
        };
        let result = |tier: Tier, ending: Ending, missing: &BitSet| {
            let at = roster.tiers().iter().position(|seats| seats.tier == tier);
            let released = match at {
                // Shared by all who ask: with many members, copying their names would take longer than all the rest.
                Some(at) if missing.is_empty() => Arc::clone(roster.names(at)),
                Some(at) => names(&roster.tiers()[at].members.difference(missing)),
                None => Arc::default(),
            };
            TierResult { tier, ending, released, missing: names(missing) }
        };
        let ended = |tier: Tier, outcome: &TierOutcome| match outcome {
            TierOutcome::Complete => result(tier, Ending::Complete, &BitSet::new()),
            TierOutcome::Degraded { missing } => result(tier, Ending::Degraded, missing),
            TierOutcome::Shortfall { missing } => result(tier, Ending::Shortfall, missing),
            TierOutcome::Broken { missing } => result(tier, Ending::Broken, missing),
        };
        match progress {
            Progress::Waiting => Self::Waiting,
            Progress::Overdue { missing } => Self::Overdue { missing: names(&missing) },
            Progress::Released { outcomes } => {
                let tiers = outcomes.iter().map(|(tier, outcome)| ended(*tier, outcome)).collect();
                Self::Released(Outcome { generation, tiers })
            }
            Progress::Late { tier, outcome } => Self::Late(Outcome { generation, tiers: vec![ended(tier, &outcome)] }),
            Progress::Broken { tier, missing } => {
                Self::Broken(Outcome { generation, tiers: vec![result(tier, Ending::Broken, &missing)] })
            }
            Progress::Superseded { generation } => Self::Superseded { newest: generation },
        }
    }
}
