//! What an application asks of a queue. Layer 3, pure.

use bytes::Bytes;

use super::{
    item::{Failure, ItemRecord},
    look::{Claimed, Hold},
    seek::{Claiming, Seeker, Seeking},
    state::{Item, Mine, Queue},
};
use crate::{
    coordination::{
        claim::{Change, ClaimRefusal},
        kernel::Tier,
        participant::Write,
    },
    document::{SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    limits,
    time::{Hlc, Monotonic},
};

/// Why a wish is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Only members push and claim.
    #[error("replica {replica} is none of the {members} members of the queue")]
    NotMember {
        /// This replica.
        replica: ReplicaId,
        /// How many members there are.
        members: usize,
    },
    /// No such item is here: not here yet, or finished and dropped.
    #[error("item {item} is not known here: not here yet, or finished and dropped")]
    Unknown {
        /// The item.
        item: ObjectId,
    },
    /// No such claim waits here.
    #[error("no claim with ticket {ticket} waits here")]
    NoTicket {
        /// The ticket.
        ticket: u64,
    },
    /// The item is changed right now; the same may succeed shortly.
    #[error("item {item} is being changed")]
    Busy {
        /// The item.
        item: ObjectId,
    },
    /// The item's register refuses.
    #[error(transparent)]
    Claim(#[from] ClaimRefusal),
}

impl QueueError {
    /// True when the same wish may succeed shortly.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl Queue {
    pub(super) fn check_member(&self) -> Result<(), QueueError> {
        if self.seats.is_member(self.replica) {
            return Ok(());
        }
        Err(QueueError::NotMember { replica: self.replica, members: self.seats.members().len() })
    }

    /// Pushes an item under a number of this replica's.
    ///
    /// # Errors
    /// `NotMember`.
    pub fn push(
        &self,
        id: ObjectId,
        tier: Tier,
        deadline_ms: Option<u64>,
        payload: Bytes,
        clock: Hlc,
    ) -> Result<Write, QueueError> {
        self.check_member()?;
        let record = ItemRecord { queue: self.object(), tier, deadline_ms, stamp: self.stamp(clock), payload };
        Ok(Write { key: SlotKey::Of(id, SlotPart::Item), body: record.encode(), lazy: false })
    }

    /// Begins to wait for an item. Returns the ticket under which the result is asked for.
    ///
    /// # Errors
    /// `NotMember`.
    pub fn claim(&mut self, claiming: Claiming, stamp: Hlc) -> Result<u64, QueueError> {
        self.check_member()?;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.seekers.insert(ticket, Seeker { claiming, stamp, state: Seeking::Waiting });
        let object = self.object();
        self.changed.insert(object);
        Ok(ticket)
    }

    /// True while a claim has no item.
    pub fn is_waiting(&self, ticket: u64) -> bool {
        self.seekers.get(&ticket).is_some_and(|seeker| !matches!(seeker.state, Seeking::Won(_)))
    }

    /// The item a claim has taken; `None` while it waits. Once told, the ticket is used up.
    ///
    /// # Errors
    /// `NoTicket`.
    pub fn claimed(&mut self, ticket: u64) -> Result<Option<Claimed>, QueueError> {
        match self.seekers.get(&ticket).map(|seeker| seeker.state) {
            None => Err(QueueError::NoTicket { ticket }),
            Some(Seeking::Won(id)) => {
                self.seekers.remove(&ticket);
                let Some(Mine { token, until, .. }) = self.items.get(&id).and_then(|item| item.mine.clone()) else {
                    return Err(QueueError::Unknown { item: id });
                };
                Ok(Some(Claimed { item: id, token, until }))
            }
            Some(_) => Ok(None),
        }
    }

    /// Waits no longer. An item that was taken in the meantime goes back.
    pub fn unclaim(&mut self, ticket: u64) {
        let Some(seeker) = self.seekers.remove(&ticket) else { return };
        if let Seeking::Won(id) = seeker.state
            && let Some(item) = self.items.get_mut(&id)
        {
            if item.mine.take().is_some_and(|mine| mine.token == 0) {
                item.register.intend(None);
            }
            self.changed.insert(id);
        }
    }

    /// Begins to renew the lease.
    ///
    /// # Errors
    /// `Claim` names the token given and the current one; `Unknown`.
    pub fn renew(&mut self, id: ObjectId, token: u64, now: Monotonic) -> Result<(), QueueError> {
        let lease = self.rules.lease;
        let item = self.held(id, token)?;
        if token > 0 {
            // One that is under way is as good.
            item.register.want(Change::Renew { token }, None, now);
        } else if let Some(intent) = item.register.intended() {
            item.register.intend(Some(super::Intent { renewal: intent.renewal + 1, ..intent }));
            if let Some(mine) = &mut item.mine {
                mine.until = now + lease;
            }
        }
        self.changed.insert(id);
        Ok(())
    }

    /// Begins to declare an item done; [`Queue::hold`] says when it is.
    ///
    /// # Errors
    /// As [`Queue::renew`].
    pub fn complete(&mut self, id: ObjectId, token: u64, now: Monotonic) -> Result<(), QueueError> {
        let item = self.held(id, token)?;
        if token > 0 {
            item.end(Change::Complete { token }, now);
        } else if let Some(intent) = item.register.intended() {
            item.register.intend(Some(super::Intent { done: true, ..intent }));
        }
        self.changed.insert(id);
        Ok(())
    }

    /// Begins to give an item back, with a reason for those who look at it: the beginning of it when it is too long.
    ///
    /// # Errors
    /// As [`Queue::renew`].
    pub fn fail(&mut self, id: ObjectId, token: u64, reason: &str, now: Monotonic) -> Result<(), QueueError> {
        let item = self.held(id, token)?;
        let end = (0..=limits::FAILURE_BYTES.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
        let failure = Failure { token, reason: reason[..end.unwrap_or_default()].to_owned() };
        item.register.explain(failure.clone());
        item.failure = Some(failure);
        if token > 0 {
            item.end(Change::Return { token }, now);
        } else {
            item.register.intend(None);
            item.mine = None;
        }
        self.changed.insert(id);
        Ok(())
    }

    /// Begins to offer a dead item again, with all attempts before it.
    ///
    /// # Errors
    /// `Claim` when it is not dead; `Busy`, `NotMember`, `Unknown`.
    pub fn requeue(&mut self, id: ObjectId, now: Monotonic) -> Result<(), QueueError> {
        self.change(id, Change::Requeue { attempts: self.rules.attempts }, now)
    }

    /// Begins to give an item up for good; nobody may hold it.
    ///
    /// # Errors
    /// `Claim` when somebody holds it; `Busy`, `NotMember`, `Unknown`.
    pub fn discard(&mut self, id: ObjectId, now: Monotonic) -> Result<(), QueueError> {
        self.change(id, Change::Discard, now)
    }

    fn change(&mut self, id: ObjectId, change: Change, now: Monotonic) -> Result<(), QueueError> {
        self.check_member()?;
        let item = self.items.get_mut(&id).ok_or(QueueError::Unknown { item: id })?;
        item.register.claim().apply(change)?;
        if !item.register.want(change, None, now) {
            return Err(QueueError::Busy { item: id });
        }
        self.changed.insert(id);
        Ok(())
    }

    /// The item this replica's application holds with a token.
    fn held(&mut self, id: ObjectId, token: u64) -> Result<&mut Item, QueueError> {
        if let Hold::Lost { current } = self.hold(id, token) {
            return Err(ClaimRefusal::Stale { token, current }.into());
        }
        if let Some(claim) = self.finished.get(&id) {
            let refusal = claim.apply(Change::Complete { token }).err();
            return Err(refusal.unwrap_or(ClaimRefusal::Stale { token, current: claim.token() }).into());
        }
        let item = self.items.get_mut(&id).ok_or(QueueError::Unknown { item: id })?;
        if item.mine.as_ref().is_none_or(|mine| mine.token != token) {
            return Err(ClaimRefusal::Stale { token, current: item.register.claim().token() }.into());
        }
        Ok(item)
    }
}

impl Item {
    /// Ends the hold, now or once what is under way is done.
    fn end(&mut self, change: Change, now: Monotonic) {
        if !self.register.want(change, None, now)
            && let Some(mine) = &mut self.mine
        {
            mine.next = Some(change);
        }
    }
}
