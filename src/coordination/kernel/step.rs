//! All rules that apply to one seat at once, for a driver. Layer 3, pure.

use super::{Ballot, BitSet, Slot, View, accept, echo, latch, prepare, promise, propose};

/// What the driver's clocks say, and whether this seat should lead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Tiers (by position) whose timer has expired here.
    pub expired: BitSet,
    /// Tiers in which this seat should begin a ballot now.
    pub lead: BitSet,
}

/// Applies every rule that applies, except those that are the application's wish (`arrive`, `decline`, `acknowledge`,
/// `enter`). `Some`: the slot to be made durable, then published, then put into the view. `None`: nothing to write.
///
/// O(n / 64) plus what is new while no timer has expired; O(acceptors) per open and expired tier after.
pub fn step(view: &View, me: usize, slot: &Slot, wanted: &Wanted) -> Option<Slot> {
    if !view.roster().rules().ballots {
        // Nothing is echoed, nobody is left out.
        return latch(view, slot);
    }
    let mut next = latch(view, slot).unwrap_or_else(|| slot.clone());
    for member in view.arrived().union(view.declined()).difference(&next.yes).difference(&next.no).iter() {
        let open = view.roster().tier_of(member).is_some_and(|tier| !next.latched.tiers.contains(tier));
        if open && let Some(echoed) = echo(view, me, &next, member) {
            next = echoed;
        }
    }
    for tier in (0..view.roster().tiers().len()).filter(|tier| !slot.latched.tiers.contains(*tier)) {
        if !next.latched.tiers.contains(tier) {
            next = ballots(view, me, next, tier, wanted);
        }
    }
    (next != *slot).then_some(next)
}

/// The rules of ballots above 0, in one tier. Highest ballots only: lower ones could not succeed any more.
fn ballots(view: &View, me: usize, slot: Slot, tier: usize, wanted: &Wanted) -> Slot {
    let expired = wanted.expired.contains(tier);
    let mut next = slot;
    if wanted.lead.contains(tier)
        && let Some(ballot) = view.roster().ballot_after(me, highest(view, &next, tier))
    {
        next = prepare(view, me, &next, tier, ballot, expired).unwrap_or(next);
    }
    let own = next.tier(tier).proposal.as_ref().map_or(Ballot::ZERO, |own| own.ballot);
    let asked = view.asked(tier).max(own);
    next = promise(view, me, &next, tier, asked, expired).unwrap_or(next);
    next = propose(view, me, &next, tier, view.arrived()).unwrap_or(next);
    let proposed = view.roster().acceptors().iter().filter_map(|seat| view.proposal_of(*seat, tier));
    let proposed = proposed.chain(&next.tier(tier).proposal).filter(|proposal| proposal.mask.is_some());
    let Some(ballot) = proposed.map(|proposal| proposal.ballot).max() else { return next };
    accept(view, me, &next, tier, ballot).unwrap_or(next)
}

/// The highest ballot this seat knows of.
fn highest(view: &View, slot: &Slot, tier: usize) -> Ballot {
    let promised = view.roster().acceptors().iter().filter_map(|seat| view.current(*seat));
    let promised = promised.map(|slot| slot.tier(tier).promised).max().unwrap_or_default();
    promised.max(view.asked(tier)).max(slot.tier(tier).promised)
}
