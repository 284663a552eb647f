//! From one generation of a barrier to the next. Layer 3, pure.

use std::{sync::Arc, time::Duration};

use super::{Fence, Progress, TieredBarrier, progress::ended};
use crate::{
    coordination::kernel::{Gate, Own, Roster, Slot, View, check_slot, enter, latch},
    id::ReplicaId,
    time::Monotonic,
};

/// How long an outcome that everybody can tell for himself is kept in memory only: a member that goes on within that
/// time need not write it, since its next arrival says how the generation before ended.
const KEEP_WAIT: Duration = Duration::from_secs(1);

impl TieredBarrier {
    /// Enters the next generation when this one is over here and the member wants to (`asked`), or others are in it: it
    /// decides there with them, whether or not its application has come so far. What has no seat, or is too far behind
    /// to learn anything, jumps to the newest.
    pub(super) fn follow(&mut self, asked: bool, now: Monotonic) {
        while let Some(me) = self.me {
            if self.is_evident()
                && let Some(slot) = latch(&self.view, &self.slot)
            {
                self.slot = Arc::new(slot);
                self.keep_at.get_or_insert(now + KEEP_WAIT);
            }
            let ahead = self.view.newest_generation() > self.generation();
            let spoken = self.slot.own != Own::Unset;
            if self.owes() || !(ahead || asked && spoken) {
                break;
            }
            let Some((roster, slot)) = enter(&self.view, me, &self.slot) else { break };
            self.go(roster, slot.unwrap_or_default());
        }
        self.jump();
    }

    /// A slot of the next generation counts as an acknowledgement, so it must not run ahead of it.
    fn owes(&self) -> bool {
        let released = self.me.is_some_and(|me| self.slot.latched.released.contains(me));
        self.definition.gate == Gate::Acked && released && !self.slot.acked
    }

    fn ending(&self) -> (Arc<Roster>, Progress, Option<Fence>) {
        let generation = self.generation();
        (Arc::clone(self.view.roster()), self.progress(generation, Monotonic(0)), self.fence(generation))
    }

    fn go(&mut self, roster: Roster, slot: Slot) {
        let own = self.ending();
        // Whoever has gone on knows the outcome, but not that lower tiers were let through: that takes acknowledgements
        // of others, which are overwritten by now.
        let open = |progress: &Progress| match progress {
            Progress::Released { outcomes } => self.definition.gate == Gate::Decided || outcomes.len() == 1,
            _ => true,
        };
        let told = ended(&self.definition, self.replica, &slot).filter(|(_, progress, _)| open(progress));
        // One that has learned nothing by itself goes by what it is told, or else is superseded.
        let own = (!matches!(own.1, Progress::Waiting | Progress::Overdue { .. })).then_some(own);
        self.before = own.into_iter().chain(told).collect();
        self.view = View::new(Arc::new(roster));
        self.sit(Arc::new(slot));
    }

    /// Goes to the newest generation somebody known here is in, for one who has no seat, or cannot get there step by
    /// step: the slots of the generation in between are overwritten, and with them its outcome or its roster.
    ///
    /// A slot names its own roster, so it is believed only when its writer has a seat in the generation known here:
    /// a member of a true generation is in a true one. Agreement of several slots would say less, since whoever makes
    /// up a roster can make up its members too. A reader far behind gets there all the same, if in several jumps:
    /// whoever is first in a generation was a member of the one before (T7), and its newest slot remains even when it
    /// has left since. So from every generation but the newest one leads a step ahead.
    fn jump(&mut self) {
        let behind = |barrier: &Self| barrier.view.newest_generation() > barrier.generation() + 1;
        while !self.owes() && (self.me.is_none() || behind(self)) {
            let Some((writer, newest)) = self.ahead() else { return };
            let roster = Roster::of(Arc::clone(&self.definition), newest.generation, newest.change.clone());
            let seat = roster.seat_of(writer);
            if seat.is_none_or(|seat| check_slot(&roster, seat, &newest).is_err()) {
                // Its writer is broken or dishonest: what it says is not asked for again.
                self.heard.remove(&writer);
                continue;
            }
            let slot = Slot {
                generation: newest.generation,
                change: newest.change.clone(),
                previous: newest.previous.clone(),
                previous_change: newest.previous_change.clone(),
                fence: self.durable.fence,
                ..Slot::default()
            };
            self.go(roster, slot);
        }
    }

    /// The newest slot of a later generation by one that has a seat in this one.
    fn ahead(&self) -> Option<(ReplicaId, Arc<Slot>)> {
        let roster = self.view.roster();
        let seated = self.heard.iter().filter(|(writer, _)| roster.seat_of(**writer).is_some());
        let (writer, newest) = seated.max_by_key(|(_, slot)| slot.generation)?;
        (newest.generation > self.generation()).then(|| (*writer, Arc::clone(newest)))
    }
}
