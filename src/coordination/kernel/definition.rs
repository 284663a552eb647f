//! What is agreed before anything happens: who takes part, how many failures are survived, and the rules of each tier.
//! Layer 3, pure.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    document::hex,
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
    limits,
    tier::Tier,
};

/// One incarnation of an agent, as a member or an elector. A new incarnation is another seat: an agent whose log was
/// lost may have made promises it no longer knows of (Michael et al., "Recovering Shared Objects Without Stable
/// Storage", 2017), so its old seat counts as failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// The agent.
    pub agent: AgentId,
    /// The writer of its slot.
    pub replica: ReplicaId,
    /// Its tier; without meaning for electors.
    pub tier: Tier,
}

/// What happens when fewer members of a tier than its minimum take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnShortfall {
    /// Nobody is left out below the minimum: the tier stays open until enough have arrived. When so many have declined
    /// that this cannot happen any more, it breaks.
    Wait,
    /// The tier is skipped and lower tiers go on.
    Proceed,
    /// The barrier is broken for good; a new one needs a new definition.
    Break,
}

/// The rules of one tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TierPolicy {
    /// Which one.
    pub tier: Tier,
    /// How long after its own first sight of a generation a replica may begin to promise and to propose leaving
    /// members out. It decides nothing by itself.
    pub timeout: Duration,
    /// Fewest members that must take part. In a later generation with fewer members than that, all of them.
    pub min: u32,
    /// What happens otherwise.
    pub on_shortfall: OnShortfall,
}

/// What a lower tier waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Gate {
    /// Every higher tier is decided.
    Decided,
    /// Also every released member of higher tiers has acknowledged that it acted. One that dies in between holds the
    /// gate shut for good: an acknowledgement has no timeout.
    Acked,
}

/// The immutable description of a coordination object. Its identity is its hash, so two creators who use one name for
/// different things are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Definition {
    /// The document it belongs to: a slot cannot be replayed in another one.
    pub document: DocumentId,
    /// What people call it.
    pub name: String,
    /// Who wrote it.
    pub creator: AgentId,
    /// Under which number of which replica. So one replica seals the roster, and two creators have two objects.
    pub origin: ObjectId,
    /// Who takes part, in an order that gives each its seat. No replica twice.
    pub members: Vec<Seat>,
    /// Who decides, when it is not the members themselves. Agents that come and go then do not count against
    /// `tolerate`. May name members.
    pub electors: Vec<Seat>,
    /// How many unreachable electors (or members, where none are named) a decision survives. Zero without electors is
    /// strict: nobody is ever left out, and one dead member blocks for ever.
    pub tolerate: u32,
    /// One policy for each tier that has members, sorted by tier.
    pub tiers: Vec<TierPolicy>,
    /// What a lower tier waits for.
    pub gate: Gate,
    /// Whether a release waits for the content that the released had written before they arrived.
    pub fence: bool,
}

/// Names a [`Definition`]: SHA-256 over a domain tag and its postcard encoding. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefinitionId(pub [u8; 32]);

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DefinitionId({self})")
    }
}

/// What is wrong with a definition. All are the caller's (or the peer's) fault; retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// Nobody takes part.
    #[error("a definition without members")]
    NoMembers,
    /// Too many of something.
    #[error("{count} {what} are over the limit of {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The name is empty or too long.
    #[error("a name of {len} bytes is outside 1..={max}")]
    Name {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// One replica has two seats of one kind.
    #[error("replica {replica} of `{agent}` is named twice")]
    Twice {
        /// The agent.
        agent: AgentId,
        /// The replica.
        replica: ReplicaId,
    },
    /// More failures are to be survived than a majority allows.
    #[error("tolerate of {tolerate} is over the limit of {max} for {acceptors} acceptors")]
    Tolerate {
        /// What was asked for.
        tolerate: u32,
        /// `(acceptors - 1) / 2`.
        max: u32,
        /// How many decide.
        acceptors: usize,
    },
    /// The policies are not one for each tier with members, in order.
    #[error("policies are for tiers {policies:?}, members are in tiers {members:?}")]
    Policies {
        /// Tiers with a policy.
        policies: Vec<Tier>,
        /// Tiers with members.
        members: Vec<Tier>,
    },
    /// A minimum nobody can reach.
    #[error("minimum {min} of {tier} is over the limit of {members}, its members")]
    Minimum {
        /// The tier.
        tier: Tier,
        /// Its minimum.
        min: u32,
        /// Its members.
        members: usize,
    },
    /// A timeout above the limit.
    #[error("timeout of {} s for {tier} is over the limit of {} s", timeout.as_secs(), max.as_secs())]
    Timeout {
        /// The tier.
        tier: Tier,
        /// What was asked for.
        timeout: Duration,
        /// The limit.
        max: Duration,
    },
}

impl Definition {
    /// Checks a definition: pure and total, so every replica comes to the same verdict.
    ///
    /// # Errors
    /// [`DefinitionError`] names the value and the limit.
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.name.is_empty() || self.name.len() > limits::KEY_BYTES {
            return Err(DefinitionError::Name { len: self.name.len(), max: limits::KEY_BYTES });
        }
        if self.members.is_empty() {
            return Err(DefinitionError::NoMembers);
        }
        within("seats", self.members.len() + self.electors.len(), limits::COORDINATION_SEATS)?;
        within("tiers", self.tiers.len(), limits::TIERS)?;
        distinct(&self.members)?;
        distinct(&self.electors)?;
        let acceptors = if self.electors.is_empty() { self.members.len() } else { self.electors.len() };
        let max = u32::try_from((acceptors - 1) / 2).unwrap_or(u32::MAX);
        if self.tolerate > max {
            return Err(DefinitionError::Tolerate { tolerate: self.tolerate, max, acceptors });
        }
        self.check_tiers()
    }

    fn check_tiers(&self) -> Result<(), DefinitionError> {
        let members: BTreeSet<Tier> = self.members.iter().map(|seat| seat.tier).collect();
        if !self.tiers.iter().map(|policy| &policy.tier).eq(&members) {
            let policies = self.tiers.iter().map(|policy| policy.tier).collect();
            return Err(DefinitionError::Policies { policies, members: members.into_iter().collect() });
        }
        for TierPolicy { tier, timeout, min, .. } in &self.tiers {
            let members = self.members.iter().filter(|seat| seat.tier == *tier).count();
            if *min as usize > members {
                return Err(DefinitionError::Minimum { tier: *tier, min: *min, members });
            }
            if *timeout > limits::TIER_TIMEOUT_MAX {
                let max = limits::TIER_TIMEOUT_MAX;
                return Err(DefinitionError::Timeout { tier: *tier, timeout: *timeout, max });
            }
        }
        Ok(())
    }

    /// Its identity.
    pub fn id(&self) -> DefinitionId {
        let encoded = postcard::to_stdvec(self).expect("every field has an encoding");
        DefinitionId(Sha256::new().chain_update(b"aepoch definition 1\n").chain_update(encoded).finalize().into())
    }

    /// The fields in which two definitions differ, in words: for those who meet under one name.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |field: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push(format!("{field}: {ours} here, {theirs} there"));
            }
        };
        compare("document", self.document.to_string(), other.document.to_string());
        compare("name", self.name.clone(), other.name.clone());
        compare("creator", self.creator.to_string(), other.creator.to_string());
        compare("origin", self.origin.to_string(), other.origin.to_string());
        compare("members", seats(&self.members), seats(&other.members));
        compare("electors", seats(&self.electors), seats(&other.electors));
        compare("tolerate", self.tolerate.to_string(), other.tolerate.to_string());
        compare("tiers", format!("{:?}", self.tiers), format!("{:?}", other.tiers));
        compare("gate", format!("{:?}", self.gate), format!("{:?}", other.gate));
        compare("fence", self.fence.to_string(), other.fence.to_string());
        found
    }

    /// True when nobody is ever left out.
    pub fn is_strict(&self) -> bool {
        self.tolerate == 0 && self.electors.is_empty()
    }

    /// The policy of a tier.
    pub fn policy(&self, tier: Tier) -> Option<&TierPolicy> {
        self.tiers.iter().find(|policy| policy.tier == tier)
    }
}

fn seats(seats: &[Seat]) -> String {
    let names = seats.iter().map(|seat| format!("{} {} ({})", seat.agent, seat.replica, seat.tier));
    names.collect::<Vec<_>>().join(", ")
}

fn within(what: &'static str, count: usize, max: usize) -> Result<(), DefinitionError> {
    if count > max { Err(DefinitionError::TooMany { what, count, max }) } else { Ok(()) }
}

fn distinct(seats: &[Seat]) -> Result<(), DefinitionError> {
    let mut known = BTreeSet::new();
    match seats.iter().find(|seat| !known.insert(seat.replica)) {
        Some(seat) => Err(DefinitionError::Twice { agent: seat.agent.clone(), replica: seat.replica }),
        None => Ok(()),
    }
}
