//! Where a member or an onlooker stands in a barrier. Layer 3, pure.

use std::sync::Arc;

use super::TieredBarrier;
use crate::{
    coordination::kernel::{BitSet, Definition, Gate, Roster, Slot, Tier, TierOutcome},
    id::ReplicaId,
    time::Monotonic,
};

/// Where a member (or an onlooker) stands in one generation. All but `Waiting` and `Overdue` are final, and the same at
/// every replica; two generations later an outcome is kept no longer, and `Superseded` says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not decided yet.
    Waiting,
    /// Not decided, and this replica's timer has run out: an observation, nothing follows from it.
    Overdue {
        /// Seats whose arrival is not here.
        missing: BitSet,
    },
    /// The tier is released: outcomes of all tiers down to this one, highest first.
    Released {
        /// How each ended.
        outcomes: Vec<(Tier, TierOutcome)>,
    },
    /// The tier was decided without this member.
    Late {
        /// Its tier.
        tier: Tier,
        /// How it ended.
        outcome: TierOutcome,
    },
    /// A tier had too few, and that is the end of the barrier.
    Broken {
        /// Which one.
        tier: Tier,
        /// Seats that did not take part.
        missing: BitSet,
    },
    /// The others, or this replica itself, are two generations ahead or more; the outcome is not to be had any more.
    Superseded {
        /// The newest generation heard of.
        generation: u64,
    },
}

/// Content to be had before a release is told: of whom, how many commits of content, and how many records.
pub type Fence = Vec<(ReplicaId, (u64, u64))>;

impl TieredBarrier {
    /// The highest tier that is not released yet, as far as this replica may act on it, among those down to `tier`.
    pub fn gated_by(&self, tier: usize) -> Option<usize> {
        (0..=tier).find(|above| !self.passed(*above, *above == tier))
    }

    /// Who is in, of a tier that is decided: in the own slot, or as seen by an onlooker without a seat.
    fn known(&self, tier: usize) -> Option<BitSet> {
        match self.me {
            Some(_) => self.slot.latched.tiers.contains(tier).then(|| self.slot.latched.released.clone()),
            None => self.view.resolved(tier),
        }
    }

    fn passed(&self, tier: usize, own: bool) -> bool {
        let Some(released) = self.known(tier) else { return false };
        let seats = &self.view.roster().tiers()[tier];
        let broken = matches!(seats.outcome(&released), TierOutcome::Broken { .. });
        let released = released.intersection(&seats.members);
        let acted = self.definition.gate == Gate::Decided || own || released.is_subset(self.view.acked());
        !broken && acted
    }

    /// How a generation stands for this replica: in its own tier, or in the lowest one when it is no member. Only what
    /// is in its durable slot counts, except with strict rules; an onlooker without a seat goes by what it sees.
    pub fn progress(&self, generation: u64, now: Monotonic) -> Progress {
        if generation != self.generation() {
            return match self.before.iter().find(|(before, ..)| before.generation() == generation) {
                Some((_, progress, _)) => progress.clone(),
                _ if generation > self.generation() => Progress::Waiting,
                _ => Progress::Superseded { generation: self.generation() },
            };
        }
        if self.view.superseded() {
            return Progress::Superseded { generation: self.view.newest_generation() };
        }
        let roster = self.view.roster();
        let lowest = roster.tiers().len() - 1;
        let own = self.me.and_then(|me| roster.tier_of(me));
        let tier = own.unwrap_or(lowest);
        let mut outcomes = Vec::new();
        for (at, seats) in roster.tiers().iter().enumerate().take(tier + 1) {
            let Some(outcome) = self.known(at).map(|released| seats.outcome(&released)) else { break };
            if let TierOutcome::Broken { missing } = outcome {
                return Progress::Broken { tier: seats.tier, missing };
            }
            outcomes.push((seats.tier, outcome));
        }
        // After the tiers above: else what it is told would depend on which was decided first.
        if outcomes.len() == tier + 1
            && let (Some(me), Some(tier), Some(released)) = (self.me, own, self.known(tier))
            && !released.contains(me)
        {
            let seats = &roster.tiers()[tier];
            return Progress::Late { tier: seats.tier, outcome: seats.outcome(&released) };
        }
        let open = self.gated_by(tier).is_some();
        if outcomes.len() == tier + 1 && !open {
            return Progress::Released { outcomes };
        }
        if !self.expired(tier, now) {
            return Progress::Waiting;
        }
        let members = roster.tiers()[..=tier].iter().fold(BitSet::new(), |all, seats| all.union(&seats.members));
        Progress::Overdue { missing: members.difference(self.view.arrived()) }
    }

    /// What a release from this generation, or the one before, waits for here, when the definition asks for a fence.
    /// `None` while an arrival of those released is not here.
    pub fn fence(&self, generation: u64) -> Option<Fence> {
        if !self.definition.fence {
            return Some(Fence::new());
        }
        let roster = self.view.roster();
        if generation != roster.generation() {
            let before = self.before.iter().find(|(before, ..)| before.generation() == generation);
            return before.and_then(|(_, _, fence)| fence.clone());
        }
        let own = self.me.and_then(|me| roster.tier_of(me));
        let tier = own.unwrap_or(roster.tiers().len() - 1);
        let released = roster.tiers()[..=tier].iter().fold(BitSet::new(), |all, seats| all.union(&seats.members));
        let known = (0..=tier).filter_map(|above| self.known(above)).fold(BitSet::new(), |all, tier| all.union(&tier));
        let released = released.intersection(&known);
        // An arrival may be overwritten by its seat's next generation already: that is fenced with as much or more.
        let of = |seat: usize| match self.view.arrival(seat) {
            Some(arrival) => Some(arrival.fence),
            None => self.view.slot(seat).filter(|slot| slot.generation > generation).map(|slot| slot.fence),
        };
        let fenced = released.iter().map(|seat| Some((roster.seats()[seat].replica, of(seat)?)));
        // Whoever has written nothing is waited for no longer.
        fenced.filter(|fenced| fenced.is_none_or(|(_, upto)| upto != (0, 0))).collect()
    }
}

/// How the generation before a slot's has ended for a replica, as the slot says: it was gone on from, so nothing in it
/// is open or broken. A restart does not make an answer another one.
pub(super) fn ended(
    definition: &Arc<Definition>,
    replica: ReplicaId,
    slot: &Slot,
) -> Option<(Arc<Roster>, Progress, Option<Fence>)> {
    let (generation, released) = (slot.generation.checked_sub(1)?, slot.previous.as_ref()?);
    let roster = Roster::of(Arc::clone(definition), generation, slot.change_before().clone());
    let own = roster.seat_of(replica).and_then(|seat| Some((seat, roster.tier_of(seat)?)));
    let down_to = own.map_or(roster.tiers().len(), |(_, tier)| tier + 1);
    let progress = match own {
        Some((seat, tier)) if !released.contains(seat) => {
            let seats = &roster.tiers()[tier];
            Progress::Late { tier: seats.tier, outcome: seats.outcome(released) }
        }
        // Whoever has gone on knows the outcome; that lower tiers were let through only who was let through itself.
        None if definition.gate == Gate::Acked && down_to > 1 => return None,
        _ => {
            let outcomes = roster.tiers()[..down_to].iter().map(|seats| (seats.tier, seats.outcome(released)));
            Progress::Released { outcomes: outcomes.collect() }
        }
    };
    // Who arrived with what is overwritten by now.
    let fence = (!definition.fence).then(Fence::new);
    Some((Arc::new(roster), progress, fence))
}
