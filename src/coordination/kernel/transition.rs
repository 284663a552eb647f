//! The rules by which a seat's slot may change, one function each. Layer 3, pure.
//!
//! Each takes the seat's durable slot and gives the next one; nothing, when the rule does not apply. Whoever calls it
//! makes the result durable first, then publishes it and puts it into the view, then acts on it. Several may be applied
//! in a row before one write: the slots in between then count as never published.

use super::{Accepted, Arrival, Ballot, BitSet, Gate, OnShortfall, Own, Proposal, Roster, Slot, View};
use crate::limits;

/// Why a member may not arrive or decline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It has arrived in this generation; that cannot be taken back.
    #[error("has arrived in generation {0} already")]
    Arrived(u64),
    /// It has declined in this generation; that cannot be taken back.
    #[error("has declined generation {0} already")]
    Declined(u64),
    /// Its seat only decides.
    #[error("seat {seat} is none of the {members} members'")]
    NoMember {
        /// The seat.
        seat: usize,
        /// How many there are.
        members: usize,
    },
    /// Too many newcomers.
    #[error("{count} newcomers are over the limit of {}", limits::COORDINATION_SPONSORED)]
    Sponsored {
        /// How many.
        count: usize,
    },
    /// A newcomer in a tier without a policy.
    #[error("`{agent}` is for {tier}, of which the definition says nothing")]
    Tier {
        /// The newcomer.
        agent: crate::id::AgentId,
        /// Its tier.
        tier: super::Tier,
    },
}

/// T1: the member is here. Its own echo goes with it, unless its tier's echoes are frozen.
///
/// # Errors
/// [`Refusal`]; retrying in the next generation may help.
pub fn arrive(view: &View, me: usize, slot: &Slot, arrival: Arrival) -> Result<Slot, Refusal> {
    let roster = view.roster();
    if arrival.sponsored.len() > limits::COORDINATION_SPONSORED {
        return Err(Refusal::Sponsored { count: arrival.sponsored.len() });
    }
    let stray = arrival.sponsored.iter().find(|seat| !roster.tiers().iter().any(|tier| tier.tier == seat.tier));
    if let Some(seat) = stray {
        return Err(Refusal::Tier { agent: seat.agent.clone(), tier: seat.tier });
    }
    let fence = arrival.fence;
    let mut next = speak(roster, me, slot, Own::Arrived(arrival))?;
    next.fence = fence;
    if echoes(roster, me, slot, me) {
        next.yes.insert(me);
    }
    Ok(next)
}

/// T1: the member will not come. Its own echo goes with it, unless its tier's echoes are frozen.
///
/// # Errors
/// [`Refusal`]; retrying in the next generation may help.
pub fn decline(view: &View, me: usize, slot: &Slot) -> Result<Slot, Refusal> {
    let mut next = speak(view.roster(), me, slot, Own::Declined)?;
    if echoes(view.roster(), me, slot, me) {
        next.no.insert(me);
    }
    Ok(next)
}

fn speak(roster: &Roster, me: usize, slot: &Slot, own: Own) -> Result<Slot, Refusal> {
    if me >= roster.members() {
        return Err(Refusal::NoMember { seat: me, members: roster.members() });
    }
    match slot.own {
        Own::Unset => Ok(Slot { own, ..slot.clone() }),
        Own::Arrived(_) => Err(Refusal::Arrived(slot.generation)),
        Own::Declined => Err(Refusal::Declined(slot.generation)),
    }
}

/// Whether the seat's echo of a member would count.
fn echoes(roster: &Roster, me: usize, slot: &Slot, member: usize) -> bool {
    let frozen = |tier| slot.tier(tier).promised > Ballot::ZERO;
    roster.rules().ballots && roster.is_acceptor(me) && roster.tier_of(member).is_some_and(|tier| !frozen(tier))
}

/// T2: the seat has seen a member's arrival or refusal. Never after a promise in that member's tier: a proposer would
/// not know of it.
pub fn echo(view: &View, me: usize, slot: &Slot, member: usize) -> Option<Slot> {
    let said_yes = view.arrived().contains(member);
    let said = said_yes || view.declined().contains(member);
    if !said || slot.yes.contains(member) || slot.no.contains(member) || !echoes(view.roster(), me, slot, member) {
        return None;
    }
    let mut next = slot.clone();
    if said_yes {
        next.yes.insert(member)
    } else {
        next.no.insert(member)
    };
    Some(next)
}

/// T3, first half: the seat begins a ballot of its own. `expired`: its own timer for the tier has run out.
pub fn prepare(view: &View, me: usize, slot: &Slot, tier: usize, ballot: Ballot, expired: bool) -> Option<Slot> {
    let roster = view.roster();
    let last = slot.tier(tier).proposal.as_ref().map_or(Ballot::ZERO, |proposal| proposal.ballot);
    if !expired || !roster.rules().ballots || ballot <= last || roster.owner(ballot) != Some(me) {
        return None;
    }
    let mut next = slot.clone();
    next.tier_mut(tier).proposal = Some(Proposal { ballot, mask: None });
    Some(next)
}

/// T3: the seat will take part in no lower ballot, and echoes nobody of this tier any more. `expired`: its own timer
/// for the tier has run out, so that one hasty clock excludes nobody.
pub fn promise(view: &View, me: usize, slot: &Slot, tier: usize, ballot: Ballot, expired: bool) -> Option<Slot> {
    let roster = view.roster();
    if !expired || !roster.rules().ballots || !roster.is_acceptor(me) || ballot <= slot.tier(tier).promised {
        return None;
    }
    let mut next = slot.clone();
    next.tier_mut(tier).promised = ballot;
    Some(next)
}

/// T4: the seat proposes who is in, at the ballot it has prepared, once enough acceptors have promised exactly that
/// one. A value accepted before binds it (the highest ballot's); otherwise so do the echoes of those that promised,
/// and of the rest it includes those of `include` that have arrived. O(acceptors).
pub fn propose(view: &View, me: usize, slot: &Slot, tier: usize, include: &BitSet) -> Option<Slot> {
    let proposal = slot.tier(tier).proposal.as_ref().filter(|proposal| proposal.mask.is_none())?;
    let roster = view.roster();
    let seats = &roster.tiers()[tier];
    let (mut heard, mut bound, mut yes, mut no) = (0, None::<&Accepted>, BitSet::new(), BitSet::new());
    for (_, promised) in view.promises(tier, proposal.ballot) {
        heard += 1;
        bound = bound.max_by_ballot(promised.tier(tier).accepted.as_ref());
        yes = yes.union(&promised.yes);
        no = no.union(&promised.no);
    }
    if heard < roster.rules().recovery || roster.owner(proposal.ballot) != Some(me) {
        return None;
    }
    let mask = match bound {
        Some(accepted) => accepted.mask.clone(),
        None => {
            let free = include.intersection(view.arrived()).difference(&no);
            let mask = yes.union(&free).intersection(&seats.members);
            if seats.on_shortfall == OnShortfall::Wait && mask.len() < seats.min {
                return None;
            }
            mask
        }
    };
    let mut next = slot.clone();
    next.tier_mut(tier).proposal = Some(Proposal { ballot: proposal.ballot, mask: Some(mask) });
    Some(next)
}

trait HighestBallot<'a> {
    fn max_by_ballot(self, other: Option<&'a Accepted>) -> Self;
}

impl<'a> HighestBallot<'a> for Option<&'a Accepted> {
    fn max_by_ballot(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(if b.ballot > a.ballot { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// T5: the seat accepts what was proposed at a ballot, unless it promised a higher one. It holds the arrival of
/// everybody included: nobody is released who did not come.
pub fn accept(view: &View, me: usize, slot: &Slot, tier: usize, ballot: Ballot) -> Option<Slot> {
    let roster = view.roster();
    let own = slot.tier(tier).proposal.as_ref().filter(|own| own.ballot == ballot && roster.owner(ballot) == Some(me));
    let mask = own.and_then(|own| own.mask.as_ref()).or_else(|| view.proposal(tier, ballot))?;
    let state = slot.tier(tier);
    let accepted = state.accepted.as_ref().map_or(Ballot::ZERO, |accepted| accepted.ballot);
    let allowed = roster.rules().ballots && roster.is_acceptor(me) && ballot >= state.promised && ballot > accepted;
    if !allowed || !mask.is_subset(&roster.tiers()[tier].members) || !mask.is_subset(view.arrived()) {
        return None;
    }
    let mut next = slot.clone();
    let state = next.tier_mut(tier);
    state.promised = ballot;
    state.accepted = Some(Accepted { ballot, mask: mask.clone() });
    Some(next)
}

/// T6: the seat keeps the outcomes it sees. With ballots a release is acted on only once the slot that holds it is
/// durable; strict rules need not wait (`docs/decisions/0008-strict-releases-wait-for-no-disk.md`).
pub fn latch(view: &View, slot: &Slot) -> Option<Slot> {
    let open = (0..view.roster().tiers().len()).filter(|tier| !slot.latched.tiers.contains(*tier));
    let mut next = None;
    for (tier, released) in open.filter_map(|tier| Some((tier, view.resolved(tier)?))) {
        let latched = &mut next.get_or_insert_with(|| slot.clone()).latched;
        latched.tiers.insert(tier);
        latched.released = latched.released.union(&released);
    }
    next
}

/// The member has acted on its release, which is in its durable slot: what [`Gate::Acked`] waits for.
pub fn acknowledge(view: &View, me: usize, slot: &Slot) -> Option<Slot> {
    let asked = view.roster().definition().gate == Gate::Acked;
    (asked && !slot.acked && slot.latched.released.contains(me)).then(|| Slot { acked: true, ..slot.clone() })
}

/// T7: the next generation, once every outcome of this one is in the seat's own slot, none is broken and the roster
/// that follows is known. The slot is `None` when the seat has no place in it.
pub fn enter(view: &View, me: usize, slot: &Slot) -> Option<(Roster, Option<Slot>)> {
    let roster = view.roster();
    let broken =
        |tier: &super::TierSeats| matches!(tier.outcome(&slot.latched.released), super::TierOutcome::Broken { .. });
    let all = BitSet::full(roster.tiers().len());
    if slot.latched.tiers != all || roster.tiers().iter().any(broken) {
        return None;
    }
    let change = view.next()?;
    let next = roster.following(change.clone());
    let seated = next.seat_of(roster.seats()[me].replica).is_some();
    let previous = Some(slot.latched.released.clone());
    let previous_change = (*roster.change() != change).then(|| roster.change().clone());
    let generation = next.generation();
    let fence = slot.fence;
    let fresh = seated.then(|| Slot { generation, change, previous, previous_change, fence, ..Slot::default() });
    Some((next, fresh))
}
