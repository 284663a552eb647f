//! Which slots are well formed, and which contradict an earlier one of the same seat. Layer 3, pure.

use super::{Ballot, BitSet, Definition, Own, Roster, Slot, TierState};
use crate::limits;

/// Why a slot says nothing: the same verdict at every replica that is in its generation. The writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A set names seats that do not exist or do not belong there.
    #[error("{what} names seat {seat}, which is not among the {count} it may name")]
    Stray {
        /// Which set.
        what: &'static str,
        /// The first seat at fault.
        seat: usize,
        /// How many it may name.
        count: usize,
    },
    /// Two sets that exclude each other share a seat.
    #[error("seat {seat} is echoed both ways")]
    BothWays {
        /// The seat.
        seat: usize,
    },
    /// Its roster is not that of its generation.
    #[error("its roster is not that of generation {0}")]
    Roster(u64),
    /// A generation above the limit.
    #[error("generation {generation} is over the limit of {}", limits::GENERATION_MAX)]
    Generation {
        /// Its number.
        generation: u64,
    },
    /// A later generation without the outcome before it, or the first one with such an outcome.
    #[error("generation {0} with the wrong kind of outcome before it")]
    Previous(u64),
    /// An elector that is no member has said whether it comes.
    #[error("seat {seat} is none of the {members} members', but has spoken")]
    Spoken {
        /// The seat.
        seat: usize,
        /// How many members there are.
        members: usize,
    },
    /// A part that only acceptors have, or that strict rules do not have.
    #[error("seat {seat} takes part in echoes or ballots it has no part in")]
    NoPart {
        /// The seat.
        seat: usize,
    },
    /// A ballot out of order, out of bounds or another's.
    #[error("ballot {ballot} of {what} is impossible for seat {seat}")]
    BallotOrder {
        /// Of what.
        what: &'static str,
        /// Its number.
        ballot: u32,
        /// The seat.
        seat: usize,
    },
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
}

/// Checks a slot of one seat of the roster by itself. Of a slot of a later generation only what concerns this one is
/// checked; one of an earlier generation says nothing here and passes. O(n / 64) per tier.
///
/// # Errors
/// [`Malformed`]: the slot is ignored, and its writer is broken or dishonest.
pub fn check_slot(roster: &Roster, seat: usize, slot: &Slot) -> Result<(), Malformed> {
    check_roster(roster.definition(), slot)?;
    if slot.previous.is_some() != (slot.generation > 0) || (slot.generation == 0 && slot.previous_change.is_some()) {
        return Err(Malformed::Previous(slot.generation));
    }
    if slot.generation == roster.generation() + 1 {
        if slot.change_before() != roster.change() {
            return Err(Malformed::Roster(slot.generation));
        }
        return within("the outcome before", slot.previous.as_ref().unwrap_or(&BitSet::new()), roster.all_members());
    }
    if slot.generation != roster.generation() {
        return Ok(());
    }
    if slot.change != *roster.change() {
        return Err(Malformed::Roster(slot.generation));
    }
    check_own(roster, seat, &slot.own)?;
    check_echoes(roster, seat, slot)?;
    bounded("tiers", slot.tiers.len(), roster.tiers().len())?;
    for (state, tier) in slot.tiers.iter().zip(roster.tiers()) {
        check_tier(roster, seat, state, &tier.members)?;
    }
    within("the decided tiers", &slot.latched.tiers, &BitSet::full(roster.tiers().len()))?;
    if slot.latched.released.is_empty() {
        return Ok(());
    }
    let decided = slot.latched.tiers.iter().map(|tier| &roster.tiers()[tier].members);
    within("the released", &slot.latched.released, &decided.fold(BitSet::new(), |all, tier| all.union(tier)))
}

/// What must hold before the roster a slot speaks of may be built: of whatever generation, by whomever.
pub(in crate::coordination) fn check_roster(definition: &Definition, slot: &Slot) -> Result<(), Malformed> {
    if slot.generation > limits::GENERATION_MAX {
        return Err(Malformed::Generation { generation: slot.generation });
    }
    for change in std::iter::once(&slot.change).chain(&slot.previous_change) {
        if !change.removed.is_empty() {
            within("the removed", &change.removed, &BitSet::full(definition.members.len()))?;
        }
        let kept = definition.members.len() - change.removed.len();
        let seats = kept + change.added.len() + definition.electors.len();
        bounded("seats", seats, limits::COORDINATION_SEATS)?;
    }
    Ok(())
}

fn check_own(roster: &Roster, seat: usize, own: &Own) -> Result<(), Malformed> {
    if *own != Own::Unset && seat >= roster.members() {
        return Err(Malformed::Spoken { seat, members: roster.members() });
    }
    let Own::Arrived(arrival) = own else { return Ok(()) };
    bounded("newcomers", arrival.sponsored.len(), limits::COORDINATION_SPONSORED)
}

fn check_echoes(roster: &Roster, seat: usize, slot: &Slot) -> Result<(), Malformed> {
    let members = roster.all_members();
    within("its echoes", &slot.yes, members)?;
    within("its echoes of refusals", &slot.no, members)?;
    if let Some(seat) = slot.yes.intersection(&slot.no).last() {
        return Err(Malformed::BothWays { seat });
    }
    let silent = slot.yes.is_empty() && slot.no.is_empty() && slot.tiers.is_empty();
    let part = roster.is_acceptor(seat) && roster.rules().ballots;
    if silent || part { Ok(()) } else { Err(Malformed::NoPart { seat }) }
}

fn check_tier(roster: &Roster, seat: usize, state: &TierState, members: &BitSet) -> Result<(), Malformed> {
    let impossible = |what, ballot: Ballot| Err(Malformed::BallotOrder { what, ballot: ballot.0, seat });
    if state.promised.0 > limits::BALLOT_MAX {
        return impossible("its promise", state.promised);
    }
    if let Some(accepted) = &state.accepted {
        if accepted.ballot == Ballot::ZERO || accepted.ballot > state.promised {
            return impossible("its accept", accepted.ballot);
        }
        within("its accept", &accepted.mask, members)?;
    }
    if let Some(proposal) = &state.proposal {
        if proposal.ballot.0 > limits::BALLOT_MAX || roster.owner(proposal.ballot) != Some(seat) {
            return impossible("its proposal", proposal.ballot);
        }
        within("its proposal", proposal.mask.as_ref().unwrap_or(&BitSet::new()), members)?;
    }
    Ok(())
}

fn within(what: &'static str, set: &BitSet, may: &BitSet) -> Result<(), Malformed> {
    if set.is_subset(may) {
        return Ok(());
    }
    match set.difference(may).iter().next() {
        Some(seat) => Err(Malformed::Stray { what, seat, count: may.len() }),
        None => Ok(()),
    }
}

fn bounded(what: &'static str, count: usize, max: usize) -> Result<(), Malformed> {
    if count > max { Err(Malformed::TooMany { what, count, max }) } else { Ok(()) }
}

/// What a later slot took back. Evidence that its seat forgot or lies: it is reported and may lead to the seat's
/// exclusion by decision. It never makes a slot invalid, since replicas that did not see both would judge otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Contradiction {
    /// It went back to an earlier generation.
    Generation,
    /// Its roster changed within a generation.
    Roster,
    /// It took back or changed its own arrival.
    Own,
    /// It took back an echo, or an acknowledgement.
    Echo,
    /// It echoed after it had promised.
    EchoAfterPromise,
    /// It took back a promise, or an accept.
    Promise,
    /// It accepted two values at one ballot, or one below its promise.
    Accept,
    /// It proposed two values at one ballot, or went back to an earlier one.
    Proposal,
    /// It took back or changed an outcome.
    Outcome,
}

/// What `new` takes back of `old`, an earlier slot of the same seat; the slots between them may be unknown.
pub fn contradiction(roster: &Roster, old: &Slot, new: &Slot) -> Option<Contradiction> {
    let found = |broken: bool, what| broken.then_some(what);
    if new.generation != old.generation {
        let all = BitSet::full(roster.tiers().len());
        let known = new.generation == old.generation + 1 && old.latched.tiers == all;
        let changed = known && new.previous.as_ref() != Some(&old.latched.released);
        return found(new.generation < old.generation, Contradiction::Generation)
            .or_else(|| found(changed, Contradiction::Outcome));
    }
    found(new.change != old.change, Contradiction::Roster)
        .or_else(|| found(old.own != Own::Unset && new.own != old.own, Contradiction::Own))
        .or_else(|| {
            let kept = old.yes.is_subset(&new.yes) && old.no.is_subset(&new.no) && (new.acked || !old.acked);
            found(!kept, Contradiction::Echo)
        })
        .or_else(|| {
            let kept = new.previous == old.previous && new.previous_change == old.previous_change;
            found(!kept, Contradiction::Outcome)
        })
        .or_else(|| outcome_contradiction(roster, old, new))
        .or_else(|| {
            let tiers = roster.tiers().iter().enumerate();
            tiers.map(|(tier, seats)| tier_contradiction(old, new, tier, &seats.members)).find_map(|found| found)
        })
}

fn outcome_contradiction(roster: &Roster, old: &Slot, new: &Slot) -> Option<Contradiction> {
    let decided = old.latched.tiers.iter().filter_map(|tier| roster.tiers().get(tier));
    let decided = decided.fold(BitSet::new(), |all, tier| all.union(&tier.members));
    let same = new.latched.released.intersection(&decided) == old.latched.released;
    (!old.latched.tiers.is_subset(&new.latched.tiers) || !same).then_some(Contradiction::Outcome)
}

fn tier_contradiction(old: &Slot, new: &Slot, tier: usize, members: &BitSet) -> Option<Contradiction> {
    let echoed = |slot: &Slot| slot.yes.union(&slot.no).intersection(members);
    let (before, after) = (old.tier(tier), new.tier(tier));
    if before.promised > Ballot::ZERO && echoed(old) != echoed(new) {
        return Some(Contradiction::EchoAfterPromise);
    }
    if after.promised < before.promised {
        return Some(Contradiction::Promise);
    }
    match (&before.accepted, &after.accepted) {
        (Some(_), None) => return Some(Contradiction::Promise),
        (Some(a), Some(b)) if b.ballot < a.ballot => return Some(Contradiction::Promise),
        (Some(a), Some(b)) if b.ballot == a.ballot && b.mask != a.mask => return Some(Contradiction::Accept),
        (a, Some(b)) if a.as_ref() != Some(b) && b.ballot < before.promised => return Some(Contradiction::Accept),
        _ => {}
    }
    match (&before.proposal, &after.proposal) {
        (Some(_), None) => Some(Contradiction::Proposal),
        (Some(a), Some(b)) if b.ballot < a.ballot => Some(Contradiction::Proposal),
        (Some(a), Some(b)) if b.ballot == a.ballot && a.mask.is_some() && b.mask != a.mask => {
            Some(Contradiction::Proposal)
        }
        _ => None,
    }
}
