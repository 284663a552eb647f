//! Polls and decisions: what a weighted majority wants, and what exactly one proposal becomes of. Layer 3, pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kernel::View;
use crate::id::ReplicaId;

/// Who votes, and what it takes. A vote is written once and never changes, so an approval is stable and nobody has to
/// agree on it: the first replica to see enough votes may say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    voters: BTreeMap<ReplicaId, u32>,
    options: u32,
    threshold: u64,
}

/// A poll that cannot be. The caller's fault; retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// Two options could both be approved, or none ever.
    #[error("threshold of {threshold} is outside {}..={weight}", weight / 2 + 1)]
    Threshold {
        /// What was asked for.
        threshold: u64,
        /// The weight of all voters.
        weight: u64,
    },
    /// Nothing to vote for.
    #[error("a poll without options")]
    NoOptions,
}

/// How a poll stands. `Approved` and `Failed` are final, and no two replicas have different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PollOutcome {
    /// Enough weight is behind this option.
    Approved(u32),
    /// No option can reach the threshold any more.
    Failed,
    /// Neither yet; may stay so for ever.
    Pending,
}

impl Poll {
    /// Checks and keeps a poll: options are numbered from 0.
    ///
    /// # Errors
    /// [`PollError`] names value and limit.
    pub fn new(voters: BTreeMap<ReplicaId, u32>, options: u32, threshold: u64) -> Result<Self, PollError> {
        let weight = voters.values().copied().map(u64::from).sum();
        if options == 0 {
            return Err(PollError::NoOptions);
        }
        if threshold <= weight / 2 || threshold > weight {
            return Err(PollError::Threshold { threshold, weight });
        }
        Ok(Self { voters, options, threshold })
    }

    /// The outcome of the votes known: one for each voter, written once. Votes of others, or for options that do not
    /// exist, count for nothing. Stable: more votes never change an `Approved` or `Failed`. O(votes).
    pub fn outcome(&self, votes: &BTreeMap<ReplicaId, u32>) -> PollOutcome {
        self.judge(votes, |voter| !votes.contains_key(&voter))
    }

    /// The outcome of a closed poll: only the agreed votes count, whoever is not among them abstains. Never pending.
    pub fn closed(&self, agreed: &BTreeMap<ReplicaId, u32>) -> PollOutcome {
        self.judge(agreed, |_| false)
    }

    fn judge(&self, votes: &BTreeMap<ReplicaId, u32>, may_still_vote: impl Fn(ReplicaId) -> bool) -> PollOutcome {
        let mut behind: BTreeMap<u32, u64> = BTreeMap::new();
        let mut outstanding = 0;
        for (voter, weight) in &self.voters {
            match votes.get(voter).filter(|option| **option < self.options) {
                Some(option) => *behind.entry(*option).or_default() += u64::from(*weight),
                None if may_still_vote(*voter) => outstanding += u64::from(*weight),
                None => {}
            }
        }
        let most = behind.iter().max_by_key(|(_, weight)| **weight);
        match most {
            Some((option, weight)) if *weight >= self.threshold => PollOutcome::Approved(*option),
            _ if most.map_or(0, |(_, weight)| *weight) + outstanding < self.threshold => PollOutcome::Failed,
            _ => PollOutcome::Pending,
        }
    }
}

/// What a vote is written as when a poll is to be closed: the payload of an arrival, so that who is in decides which
/// votes count.
pub fn vote_payload(option: u32) -> [u8; 32] {
    let mut payload = [0; 32];
    payload[..4].copy_from_slice(&option.to_le_bytes());
    payload
}

/// The vote in a payload.
pub(super) fn vote_of(payload: [u8; 32]) -> Option<u32> {
    let option = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]);
    (vote_payload(option) == payload).then_some(option)
}

/// The votes that count in a poll closed by the kernel: those of the members that are in, over all tiers. `None` until
/// every tier is decided and their arrivals are here; the same at every replica.
pub fn agreed_votes(view: &View) -> Option<BTreeMap<ReplicaId, u32>> {
    let votes = agreed(view)?.into_iter().filter_map(|(voter, payload)| Some((voter, vote_of(payload?)?)));
    Some(votes.collect())
}

/// The proposal that is decided: that of the first seat which is in and has proposed something. `None` until it is
/// known; `Some(None)` when nobody who is in has proposed. The same at every replica, and never another one later.
///
/// A seat counts once its own tier is decided, so a creator that sits alone in the highest tier decides in two message
/// delays, whatever the lower ones do; they take over when it is left out. Terminates where the barrier does: with
/// `n - tolerate` acceptors up and connected.
pub fn decision(view: &View) -> Option<Option<[u8; 32]>> {
    let mut ranked: Vec<usize> = (0..view.roster().members()).collect();
    ranked.sort_by_key(|seat| view.roster().tier_of(*seat));
    for seat in ranked {
        if let Some(payload) = included(view, seat)? {
            return Some(Some(payload));
        }
    }
    Some(None)
}

/// What a member handed over, when it is in: `None` until that is known.
fn included(view: &View, seat: usize) -> Option<Option<[u8; 32]>> {
    if view.resolved(view.roster().tier_of(seat)?)?.contains(seat) {
        Some(view.arrival(seat)?.payload)
    } else {
        Some(None)
    }
}

/// The members that are in, by seat, with what they handed over.
fn agreed(view: &View) -> Option<Vec<(ReplicaId, Option<[u8; 32]>)>> {
    let seats = 0..view.roster().members();
    seats.map(|seat| Some((view.roster().seats()[seat].replica, included(view, seat)?))).collect()
}
