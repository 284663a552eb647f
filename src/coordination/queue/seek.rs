//! Which item a claim takes. Layer 3, pure.
//!
//! Each item has an owner among the members, by rendezvous hashing: it alone may claim it without promises, so members
//! that are up take different items without talking about it. What an owner leaves lying for a while, others take by
//! ballot: first the one that would be its owner among those seen to claim lately, then anybody, each at a time of its
//! own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    item::Intent,
    line::Place,
    state::{GRACE, Mine, Queue},
};
use crate::{
    coordination::{claim::Change, kernel::Tier},
    id::{ObjectId, ReplicaId},
    time::{Dice, Hlc, Monotonic},
};

/// An owner seen to claim within this time is left its items.
const ACTIVE: Duration = Duration::from_secs(1);
/// Items beyond the head that a claim looks at.
const LOOKED_AT: usize = 16;

/// How a claim excludes others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claiming {
    /// One holder per token, with a lease. Under partition only a side with enough acceptors takes items over.
    #[default]
    Exclusive,
    /// A written intent: no waiting, and several may work on one item until they have seen each other. For work that
    /// may be done twice.
    Advisory,
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeking {
    Waiting,
    Trying(ObjectId),
    Won(ObjectId),
}

/// A claim of the application that waits for an item.
#[derive(Debug, Clone)]
pub(super) struct Seeker {
    pub(super) claiming: Claiming,
    /// When the claim was made: what advisory claims are compared by.
    pub(super) stamp: Hlc,
    pub(super) state: Seeking,
}

impl Queue {
    /// Gives waiting claims items to try. O(log n) for each.
    pub(super) fn seek(&mut self, now: Monotonic, dice: &mut Dice) {
        let waiting = self.seekers.iter().filter(|(_, seeker)| seeker.state == Seeking::Waiting);
        for ticket in waiting.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            let Some(seeker) = self.seekers.get(&ticket).cloned() else { continue };
            let picked = match seeker.claiming {
                Claiming::Advisory => self.line.ready().first_key_value().map(|(_, id)| *id),
                Claiming::Exclusive => self.pick(now, dice),
            };
            let Some(id) = picked else { continue };
            self.attempt(ticket, &seeker, id, now);
        }
    }

    fn attempt(&mut self, ticket: u64, seeker: &Seeker, id: ObjectId, now: Monotonic) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match seeker.claiming {
            Claiming::Exclusive => {
                let change = Change::Take { holder: self.replica, attempts: self.rules.attempts };
                item.register.want(change, Some(ticket), now);
            }
            Claiming::Advisory => {
                item.register.intend(Some(Intent { stamp: seeker.stamp, renewal: 0, done: false }));
                item.intending = Some(ticket);
            }
        }
        // Nobody else here takes it meanwhile.
        self.line.put(&item.key, id, Place::Open, false);
        item.replaced();
        self.changed.insert(id);
        if let Some(seeker) = self.seekers.get_mut(&ticket) {
            seeker.state = Seeking::Trying(id);
        }
    }

    /// The item to try next. What nobody else will take comes first, then the own ones in the head's tier.
    fn pick(&mut self, now: Monotonic, dice: &mut Dice) -> Option<ObjectId> {
        let me = self.seats.me()?;
        let ready: Vec<(Tier, ObjectId)> =
            self.line.ready().iter().take(LOOKED_AT).map(|(key, id)| (key.tier(), *id)).collect();
        let head = ready.first()?.0;
        for (at, (tier, id)) in ready.into_iter().enumerate() {
            let Some(item) = self.items.get_mut(&id) else { continue };
            if item.owner == me {
                if tier == head {
                    return Some(id);
                }
                continue;
            }
            let steal_at = *item.steal_at.get_or_insert_with(|| now + GRACE + dice.jitter(GRACE));
            if self.may_steal(id, steal_at, me, now) {
                return Some(id);
            }
            if at == 0
                && let Some((key, own)) = self.line.own().first_key_value()
                && key.tier() == head
            {
                return Some(*own);
            }
        }
        self.wake_at(now + GRACE);
        None
    }

    fn may_steal(&self, id: ObjectId, steal_at: Monotonic, me: u16, now: Monotonic) -> bool {
        let Some(item) = self.items.get(&id) else { return false };
        let is_active = |seat: u16| self.active.get(&seat).is_some_and(|seen| *seen + ACTIVE > now);
        if steal_at > now || is_active(item.owner) {
            return false;
        }
        let active =
            |member: &&ReplicaId| self.seats.seat_of(**member).is_some_and(|seat| seat == me || is_active(seat));
        let lately: Vec<ReplicaId> = self.seats.members().iter().filter(active).copied().collect();
        self.seats.heir_of(id, &lately) == me || steal_at + ACTIVE <= now
    }

    /// A claim's attempt came to nothing: it goes on with another item.
    pub(super) fn lost(&mut self, ticket: Option<u64>) {
        if let Some(seeker) = ticket.and_then(|ticket| self.seekers.get_mut(&ticket)) {
            seeker.state = Seeking::Waiting;
            let object = self.object();
            self.changed.insert(object);
        }
    }

    /// Takes over what the application has claimed and waits for from the queue as it was before the document was read
    /// again.
    pub(super) fn adopt(&mut self, old: Self) {
        self.next_ticket = old.next_ticket;
        self.seekers = old.seekers;
        self.seekers.values_mut().filter(|seeker| matches!(seeker.state, Seeking::Trying(_))).for_each(|seeker| {
            seeker.state = Seeking::Waiting;
        });
        for (id, item) in old.items {
            if let (Some(mine), Some(here)) = (item.mine, self.items.get_mut(&id)) {
                here.mine = Some(Mine { next: None, ..mine });
                self.changed.insert(id);
            }
        }
        for (id, register) in old.ended {
            if let Some(here) = self.items.get_mut(&id) {
                here.register.join(&register);
                self.changed.insert(id);
            }
        }
        let object = self.object();
        self.changed.insert(object);
    }
}
