//! When a barrier's time is up, and who leads then. Layer 3, pure.

use std::time::Duration;

use super::TieredBarrier;
use crate::{
    coordination::kernel::{OnShortfall, Wanted},
    id::ReplicaId,
    time::{Dice, Monotonic},
};

/// What the proposer of the next rank waits longer than the one before it: several round trips of a slow network.
const RANK_WAIT: Duration = Duration::from_millis(500);
/// Ranks beyond this wait no longer: jitter keeps them apart.
const RANKS: u32 = 8;
/// Longest pause between two ballots of one seat.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lead {
    /// When this seat begins its next ballot.
    at: Option<Monotonic>,
    tries: u32,
}

impl TieredBarrier {
    /// What the timers say; `None` without a seat.
    pub(super) fn wanted(
        &mut self,
        now: Monotonic,
        dice: &mut Dice,
        suspected: &impl Fn(ReplicaId) -> bool,
    ) -> Option<Wanted> {
        let me = self.me?;
        let mut wanted = Wanted::default();
        for tier in 0..self.leads.len() {
            if self.expired(tier, now) {
                wanted.expired.insert(tier);
                if self.leads_now(tier, me, now, dice, suspected) {
                    wanted.lead.insert(tier);
                }
            }
        }
        Some(wanted)
    }

    /// When the timer of a tier runs out here; `None` until somebody has arrived.
    pub fn deadline(&self, tier: usize) -> Option<Monotonic> {
        Some(self.begun? + self.definition.tiers[tier].timeout)
    }

    /// When the first arrival or refusal of this generation was heard.
    pub fn begun(&self) -> Option<Monotonic> {
        self.begun
    }

    /// True when the timer of a tier has run out here.
    pub fn expired(&self, tier: usize, now: Monotonic) -> bool {
        self.deadline(tier).is_some_and(|deadline| deadline <= now)
    }

    /// Whether leaving somebody out could be decided here and would be allowed.
    fn may_lead(&self, tier: usize, me: usize) -> bool {
        let roster = self.view.roster();
        let seats = &roster.tiers()[tier];
        let enough = self.view.arrived().intersection(&seats.members).len() >= seats.min;
        let waits = seats.on_shortfall == OnShortfall::Wait && !enough;
        roster.rules().ballots && roster.is_acceptor(me) && !waits && self.view.resolved(tier).is_none()
    }

    /// Lowest rank first: each waits a little longer than those before it that are not suspected, then again with
    /// exponential backoff and full jitter, so that proposers do not preempt each other for ever.
    fn leads_now(
        &mut self,
        tier: usize,
        me: usize,
        now: Monotonic,
        dice: &mut Dice,
        suspected: &impl Fn(ReplicaId) -> bool,
    ) -> bool {
        if !self.may_lead(tier, me) {
            return false;
        }
        let roster = self.view.roster();
        let before = roster.acceptors().iter().take_while(|seat| **seat != me);
        let rank = before.filter(|seat| !suspected(roster.seats()[**seat].replica)).take(RANKS as usize).count();
        let lead = self.leads[tier];
        let at = match lead.at {
            Some(at) => at,
            None if rank == 0 => now,
            None => {
                let rank = u32::try_from(rank).unwrap_or(RANKS);
                now + RANK_WAIT * rank + dice.jitter(RANK_WAIT)
            }
        };
        self.leads[tier].at = Some(at);
        if at > now {
            return false;
        }
        let pause = (RANK_WAIT * 2 * 2_u32.saturating_pow(lead.tries.min(8))).min(BACKOFF_MAX);
        let again = now + RANK_WAIT + dice.jitter(pause);
        self.leads[tier] = Lead { at: Some(again), tries: lead.tries.saturating_add(1) };
        true
    }

    /// When to poll again although nothing was heard; `None`: only when something is.
    pub fn next_wake(&self, now: Monotonic) -> Option<Monotonic> {
        let me = self.me?;
        let wake = |tier: usize| {
            let deadline = self.deadline(tier)?;
            if deadline > now {
                return Some(deadline);
            }
            if self.may_lead(tier, me) { self.leads[tier].at } else { None }
        };
        let tiers = (0..self.leads.len()).filter(|tier| self.view.resolved(*tier).is_none());
        tiers.filter_map(wake).chain(self.keep_at).min()
    }
}
