//! What an object is: its definition with what it is for, and the records it is made of. Layer 3, pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    epoch::{Phases, PhasesError},
    kernel::{Definition, DefinitionError, Slot, SlotError},
    poll::{Poll, PollError},
};
use crate::{id::ObjectId, limits};

/// What an object is for. The variants' order is part of the wire and storage formats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Members wait for each other.
    Barrier {
        /// Over after one generation; else it goes on until it is cleaned up.
        once: bool,
    },
    /// Members go through phases together, again and again.
    Epoch {
        /// Their names, in order.
        phases: Vec<String>,
    },
    /// Members vote.
    Poll {
        /// What for.
        options: Vec<String>,
        /// The weight of each member's vote, in the order of the definition's members.
        weights: Vec<u32>,
        /// The weight that approves.
        threshold: u64,
        /// Whether the kernel closes it: then only agreed votes count, and whoever is left out abstains.
        closable: bool,
    },
    /// Exactly one of the values proposed by members is decided.
    Decision,
    /// Members push items, and claim them.
    Queue(QueueRules),
}

impl Purpose {
    /// Its name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Barrier { .. } => "barrier",
            Self::Epoch { .. } => "epoch",
            Self::Poll { .. } => "poll",
            Self::Decision => "decision",
            Self::Queue(_) => "queue",
        }
    }
}

/// The rules of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRules {
    /// Length of a bucket in milliseconds: what may be sealed at once, and how far priority reaches.
    pub span_ms: u64,
    /// How long a claim holds without renewal.
    pub lease: Duration,
    /// How often an item may fail before it is dead.
    pub attempts: u32,
}

/// A definition with what it is for: what the holder of an object publishes, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Who takes part, and how it is decided.
    pub definition: Definition,
    /// What for.
    pub purpose: Purpose,
}

/// What is wrong with a plan. The caller's (or the peer's) fault; retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Its definition.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Its phases.
    #[error(transparent)]
    Phases(#[from] PhasesError),
    /// Its votes.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// Not one weight for each member.
    #[error("{weights} weights for {members} members")]
    Weights {
        /// How many weights.
        weights: usize,
        /// How many members.
        members: usize,
    },
    /// A number out of bounds.
    #[error("{what} of {value} is outside {min}..={max}")]
    Bounds {
        /// Of what.
        what: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// The record cannot be read.
    #[error("unreadable definition: {0}")]
    Unreadable(String),
}

impl Plan {
    /// Checks a plan: pure and total, so every replica comes to the same verdict.
    ///
    /// # Errors
    /// [`PlanError`] names the value and the limit.
    pub fn check(&self) -> Result<(), PlanError> {
        self.definition.check()?;
        match &self.purpose {
            Purpose::Barrier { .. } | Purpose::Decision => Ok(()),
            Purpose::Epoch { phases } => {
                within("number of phases", phases.len() as u64, 1, limits::EPOCH_PHASES as u64)?;
                Phases::new(phases.clone()).map(drop).map_err(PlanError::from)
            }
            Purpose::Poll { options, weights, .. } => {
                within("number of options", options.len() as u64, 1, limits::POLL_OPTIONS as u64)?;
                let members = self.definition.members.len();
                if weights.len() != members {
                    return Err(PlanError::Weights { weights: weights.len(), members });
                }
                self.poll().map(drop)
            }
            Purpose::Queue(rules) => {
                within("bucket of milliseconds", rules.span_ms, 1, 86_400_000)?;
                let lease_ms = u64::try_from(rules.lease.as_millis()).unwrap_or(u64::MAX);
                within("lease of milliseconds", lease_ms, 10, 86_400_000)?;
                within("number of attempts", rules.attempts.into(), 1, 1_000_000)
            }
        }
    }

    /// Who votes, when it is a poll.
    ///
    /// # Errors
    /// [`PlanError::Poll`] for a threshold that cannot be.
    pub fn poll(&self) -> Result<Option<Poll>, PlanError> {
        let Purpose::Poll { options, weights, threshold, .. } = &self.purpose else { return Ok(None) };
        let voters = self.definition.members.iter().map(|seat| seat.replica).zip(weights.iter().copied()).collect();
        let options = u32::try_from(options.len()).unwrap_or(u32::MAX);
        Ok(Some(Poll::new(voters, options, *threshold)?))
    }

    /// The name of a poll's option.
    pub fn option(&self, number: u32) -> Option<&str> {
        let Purpose::Poll { options, .. } = &self.purpose else { return None };
        options.get(usize::try_from(number).ok()?).map(String::as_str)
    }

    /// The object it describes.
    pub fn object(&self) -> ObjectId {
        self.definition.origin
    }

    /// True when it is over once its first generation is decided.
    pub fn is_once(&self) -> bool {
        match self.purpose {
            Purpose::Barrier { once } => once,
            Purpose::Poll { .. } | Purpose::Decision => true,
            Purpose::Epoch { .. } | Purpose::Queue(_) => false,
        }
    }

    /// What distinguishes it from every other plan: slots carry it, so that a holder that publishes two plans under one
    /// number has two groups of members that ignore each other, not one that disagrees.
    pub fn fingerprint(&self) -> u64 {
        let hash = Sha256::new().chain_update(b"aepoch plan 1\n").chain_update(self.encode()).finalize();
        u64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
    }

    /// The bytes of its record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every field has an encoding")
    }

    /// Reads and checks the bytes of the record of `object`.
    ///
    /// # Errors
    /// [`PlanError`]: the writer's fault.
    pub fn decode(bytes: &[u8], object: ObjectId) -> Result<Self, PlanError> {
        let (plan, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(|error| PlanError::Unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(PlanError::Unreadable(format!("{} bytes follow it", rest.len())));
        }
        if plan.object() != object {
            return Err(PlanError::Unreadable(format!("it is of {}, not {object}", plan.object())));
        }
        plan.check()?;
        Ok(plan)
    }

    /// In which respects two plans under one name differ, in words; who began them does not count.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut theirs = other.definition.clone();
        theirs.creator = self.definition.creator.clone();
        theirs.origin = self.definition.origin;
        let mut found = self.definition.differences(&theirs);
        if self.purpose != other.purpose {
            found.push(format!("purpose: {:?} here, {:?} there", self.purpose, other.purpose));
        }
        found
    }
}

fn within(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(PlanError::Bounds { what, value, min, max }) }
}

/// The bytes of a member's slot record: the plan it is a slot of, and the slot.
pub fn encode_slot(fingerprint: u64, slot: &Slot) -> Vec<u8> {
    let mut bytes = fingerprint.to_be_bytes().to_vec();
    bytes.extend(slot.encode());
    bytes
}

/// Reads a member's slot record; `None` when it belongs to another plan.
///
/// # Errors
/// [`SlotError`]: the writer's fault.
pub fn decode_slot(fingerprint: u64, bytes: &[u8]) -> Result<Option<Slot>, SlotError> {
    match bytes.split_first_chunk::<8>() {
        Some((of, slot)) if *of == fingerprint.to_be_bytes() => Slot::decode(slot).map(Some),
        _ => Ok(None),
    }
}
