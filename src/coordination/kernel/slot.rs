//! What one member publishes: its own arrival, its echoes, and its part in ballots. Layer 3, pure.

use serde::{Deserialize, Serialize};

use super::{BitSet, RosterChange, Seat};
use crate::{limits, time::Hlc};

/// The number of an attempt to decide a tier. 0 belongs to the members themselves; each one above to one acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ballot(pub u32);

impl Ballot {
    /// The members' own.
    pub const ZERO: Self = Self(0);
}

/// What a member says when it arrives. Written once per generation, so it is agreed on with the arrival itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Arrival {
    /// When, by its own hybrid logical clock.
    pub hlc: Hlc,
    /// How many content commits it had made, and how many records: with [`fence`](super::Definition::fence) a release
    /// waits for them.
    pub fence: (u64, u64),
    /// SHA-256 of what it hands over, if anything.
    pub payload: Option<[u8; 32]>,
    /// It takes no part in the next generation (Phaser's `arriveAndDeregister`).
    pub leave: bool,
    /// Who joins the next generation on its word; at most [`limits::COORDINATION_SPONSORED`].
    pub sponsored: Vec<Seat>,
}

/// A member's own ballot-0 value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Own {
    /// Nothing yet.
    #[default]
    Unset,
    /// It is here. Never taken back.
    Arrived(Arrival),
    /// It will not come. Never taken back.
    Declined,
}

/// An accept: the promise to let nothing else be chosen at this ballot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Accepted {
    /// At which ballot, never 0.
    pub ballot: Ballot,
    /// Who of the tier is in; the others are out.
    pub mask: BitSet,
}

/// A proposer's own ballot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// Which one, never 0.
    pub ballot: Ballot,
    /// What is proposed; `None` while promises are asked for.
    pub mask: Option<BitSet>,
}

/// A seat's part in the ballots of one tier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TierState {
    /// Takes part in no lower ballot. Above 0, the echoes for this tier are frozen.
    pub promised: Ballot,
    /// The last accept.
    pub accepted: Option<Accepted>,
    /// The last own ballot.
    pub proposal: Option<Proposal>,
}

/// Outcomes a seat has seen. Kept for good: a chosen value may vanish from sight when acceptors accept it again at a
/// higher ballot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Latched {
    /// The decided tiers, as positions in the roster.
    pub tiers: BitSet,
    /// Their members that are in.
    pub released: BitSet,
}

/// What one seat publishes about one generation: a record of its own that replaces the one before. Only its owner
/// writes it, and makes it durable before anybody sees it or acts on it.
///
/// Encoded with postcard. A settled generation of a thousand members takes a few dozen bytes, since full sets are short;
/// at worst 125 bytes for each of `yes`, `no`, `released`, `previous` and each tier's two masks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Slot {
    /// Which generation.
    pub generation: u64,
    /// How its roster differs from the definition's.
    pub change: RosterChange,
    /// The seat's own arrival; `Unset` for an elector that is no member.
    pub own: Own,
    /// What its last arrival was fenced with, of whatever generation: whoever comes to a release when the arrival itself
    /// is overwritten waits for this, which is as much or more.
    pub fence: (u64, u64),
    /// Echoed arrivals (ballot-0 accepts), its own among them.
    pub yes: BitSet,
    /// Echoed refusals.
    pub no: BitSet,
    /// Ballots by tier; shorter than the roster's tiers while the last ones have none.
    pub tiers: Vec<TierState>,
    /// Outcomes seen.
    pub latched: Latched,
    /// Whether it has acted on its release.
    pub acked: bool,
    /// Who was in, in the generation before: for those who come after. `None` in generation 0.
    pub previous: Option<BitSet>,
    /// The roster change of the generation before, by which `previous` is read; `None` where it is the same as
    /// `change`, and in generation 0.
    pub previous_change: Option<RosterChange>,
}

/// A slot that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The bytes are no slot.
    #[error("unreadable slot: {0}")]
    Unreadable(postcard::Error),
    /// Bytes follow it.
    #[error("{0} bytes follow the slot")]
    Trailing(usize),
    /// More tiers than a definition can have.
    #[error("a slot of {count} tiers is over the limit of {}", limits::TIERS)]
    Tiers {
        /// How many.
        count: usize,
    },
}

static UNTOUCHED: TierState = TierState { promised: Ballot::ZERO, accepted: None, proposal: None };

impl Slot {
    /// Its part in the ballots of a tier.
    pub fn tier(&self, tier: usize) -> &TierState {
        self.tiers.get(tier).unwrap_or(&UNTOUCHED)
    }

    pub(super) fn tier_mut(&mut self, tier: usize) -> &mut TierState {
        if self.tiers.len() <= tier {
            self.tiers.resize(tier + 1, TierState::default());
        }
        &mut self.tiers[tier]
    }

    /// Its arrival.
    pub fn arrival(&self) -> Option<&Arrival> {
        match &self.own {
            Own::Arrived(arrival) => Some(arrival),
            Own::Unset | Own::Declined => None,
        }
    }

    /// The bytes of its record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every field has an encoding")
    }

    /// How the roster of the generation before differs from the definition's.
    pub fn change_before(&self) -> &RosterChange {
        self.previous_change.as_ref().unwrap_or(&self.change)
    }

    /// Reads the bytes of a record. What they say is checked by [`check_slot`](super::check_slot).
    ///
    /// # Errors
    /// [`SlotError`]: the writer's fault; retrying does not help.
    pub fn decode(bytes: &[u8]) -> Result<Self, SlotError> {
        let (slot, rest): (Self, _) = postcard::take_from_bytes(bytes).map_err(SlotError::Unreadable)?;
        if !rest.is_empty() {
            return Err(SlotError::Trailing(rest.len()));
        }
        if slot.tiers.len() > limits::TIERS {
            return Err(SlotError::Tiers { count: slot.tiers.len() });
        }
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_among_a_thousand_members_takes_a_few_hundred_bytes() {
        let halves: BitSet = (0..1000).filter(|seat| seat % 2 == 0).collect();
        let mut slot = Slot { yes: BitSet::full(1000), previous: Some(BitSet::full(1000)), ..Slot::default() };
        slot.latched = Latched { tiers: BitSet::full(3), released: BitSet::full(1000) };
        assert!(slot.encode().len() <= 40, "{} bytes settled", slot.encode().len());
        slot.yes = halves.clone();
        slot.latched.released = halves.clone();
        slot.previous = Some(halves);
        assert!(slot.encode().len() <= 420, "{} bytes at half", slot.encode().len());
    }

    #[test]
    fn a_slot_comes_back_and_nothing_may_follow_it() {
        let mut slot = Slot { own: Own::Declined, no: [2].into_iter().collect(), acked: true, ..Slot::default() };
        slot.tier_mut(1).accepted = Some(Accepted { ballot: Ballot(3), mask: BitSet::full(2) });
        let mut bytes = slot.encode();
        assert_eq!(Slot::decode(&bytes), Ok(slot));
        bytes.push(0);
        assert_eq!(Slot::decode(&bytes), Err(SlotError::Trailing(1)));
    }

    #[test]
    fn a_slot_with_too_many_tiers_is_refused() {
        let slot = Slot { tiers: vec![TierState::default(); 17], ..Slot::default() };
        assert_eq!(Slot::decode(&slot.encode()), Err(SlotError::Tiers { count: 17 }));
    }
}
