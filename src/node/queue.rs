//! Queues over nodes: what an application pushes, claims and finishes. See `coordination::queue` for what is promised.
//!
//! Commands begin something: it counts once it is durable, and where others have a say, once enough of them agree.
//! [`Event::Coordination`](super::Event::Coordination) of the queue tells when to look again.

use bytes::Bytes;

use super::{Node, NodeError};
use crate::{
    coordination::{
        kernel::Tier,
        participant::{Participant, ParticipantError},
        queue::{Claimed, Claiming, Hold, ItemRecord, ItemView, Peeked, Queue, QueueError, QueueStatus},
    },
    document::{Document, SlotKey, SlotPart},
    id::{DocumentId, ObjectId},
    limits,
    time::Moment,
};

/// What is pushed.
#[derive(Debug, Clone)]
pub struct Pushing {
    /// Its priority: 0 comes first within its bucket.
    pub tier: Tier,
    /// When it should be done, in wall milliseconds. Orders items of one tier; nothing else follows from it.
    pub deadline_ms: Option<u64>,
    /// What is to be done.
    pub payload: Bytes,
}

impl Default for Pushing {
    fn default() -> Self {
        Self { tier: Tier::ALPHA, deadline_ms: None, payload: Bytes::new() }
    }
}

impl Node {
    /// Pushes an item. Returns the number it goes by.
    ///
    /// # Errors
    /// `TooLarge` names the size and the limit; `Participant` when this node is no member, or the queue is not known.
    pub fn push(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        pushing: Pushing,
        now: Moment,
    ) -> Result<ObjectId, NodeError> {
        let Pushing { tier, deadline_ms, payload } = pushing;
        if payload.len() > limits::PAYLOAD_BYTES {
            let (size, max) = (payload.len(), limits::PAYLOAD_BYTES);
            return Err(NodeError::TooLarge { what: "payload of an item", size, max });
        }
        let clock = self.hub.hlc.stamp(now.wall_ms);
        self.with_participant(document, now, |participant, content| {
            if let Some(own) = content.confines().filter(|own| tier < own.tier()) {
                return Err(own.too_high("push items at", tier).into());
            }
            let item = content.next_object();
            let pushed = participant.queue(queue)?.push(item, tier, deadline_ms, payload, clock);
            Ok((item, vec![pushed.map_err(ParticipantError::from)?]))
        })
    }

    /// Begins to wait for an item of a queue. Returns the ticket for [`Node::claimed`].
    ///
    /// # Errors
    /// As [`Node::push`].
    pub fn claim(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        claiming: Claiming,
        now: Moment,
    ) -> Result<u64, NodeError> {
        let stamp = self.hub.hlc.stamp(now.wall_ms);
        self.on_queue(document, queue, now, |queue| queue.claim(claiming, stamp))
    }

    /// The item a claim has taken, with what was pushed; `None` while it waits. Once told, the ticket is used up.
    ///
    /// # Errors
    /// `Participant` when there is no such ticket, or the item was lost again in the meantime.
    pub fn claimed(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        ticket: u64,
        now: Moment,
    ) -> Result<Option<(Claimed, Bytes)>, NodeError> {
        // Looking changes nothing, so that whoever looks whenever something has changed comes to rest.
        let is_waiting = self.queue(document, queue, |queue, _| queue.is_waiting(ticket))?;
        if is_waiting {
            return Ok(None);
        }
        self.with_participant(document, now, |participant, content| {
            let claimed = participant.queue_mut(queue)?.claimed(ticket).map_err(ParticipantError::from)?;
            let Some(claimed) = claimed else { return Ok((None, Vec::new())) };
            let unknown = QueueError::Unknown { item: claimed.item };
            let payload = payload(content, claimed.item).ok_or(ParticipantError::from(unknown))?;
            Ok((Some((claimed, payload)), Vec::new()))
        })
    }

    /// Waits no longer. An item that was taken in the meantime goes back.
    ///
    /// # Errors
    /// As [`Node::push`].
    pub fn unclaim(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        ticket: u64,
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| {
            queue.unclaim(ticket);
            Ok(())
        })
    }

    /// Begins to renew the lease of an item held with a token; [`Node::hold`] tells until when it then holds.
    ///
    /// # Errors
    /// `Participant`: a stale token is named together with the current one.
    pub fn renew(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        (item, token): (ObjectId, u64),
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| queue.renew(item, token, now.mono))
    }

    /// Begins to declare an item done; [`Node::hold`] tells when it is.
    ///
    /// # Errors
    /// As [`Node::renew`].
    pub fn complete(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        (item, token): (ObjectId, u64),
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| queue.complete(item, token, now.mono))
    }

    /// Begins to give an item back, with a reason for people.
    ///
    /// # Errors
    /// As [`Node::renew`].
    pub fn fail(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        (item, token): (ObjectId, u64),
        reason: &str,
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| queue.fail(item, token, reason, now.mono))
    }

    /// Begins to offer a dead item again.
    ///
    /// # Errors
    /// `Participant` when it is not dead, not known, or being changed.
    pub fn requeue(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        item: ObjectId,
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| queue.requeue(item, now.mono))
    }

    /// Begins to give an item up for good.
    ///
    /// # Errors
    /// `Participant` when somebody holds it, it is not known, or being changed.
    pub fn discard(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        item: ObjectId,
        now: Moment,
    ) -> Result<(), NodeError> {
        self.on_queue(document, queue, now, |queue| queue.discard(item, now.mono))
    }

    /// How a hold of this node's application stands.
    ///
    /// # Errors
    /// `Participant` when the queue is not known; as [`Node::read`].
    pub fn hold(
        &self,
        document: &DocumentId,
        queue: ObjectId,
        (item, token): (ObjectId, u64),
    ) -> Result<Hold, NodeError> {
        self.queue(document, queue, |queue, _| queue.hold(item, token))
    }

    /// The first item that nobody holds: sealed when nothing can come before it any more.
    ///
    /// # Errors
    /// As [`Node::hold`].
    pub fn peek(
        &self,
        document: &DocumentId,
        queue: ObjectId,
        now: Moment,
    ) -> Result<Option<(Peeked, Bytes)>, NodeError> {
        self.queue(document, queue, |queue, content| {
            let peeked = queue.peek(now.mono)?;
            let (Peeked::Sealed(view) | Peeked::Tentative(view)) = &peeked;
            let payload = payload(content, view.item)?;
            Some((peeked, payload))
        })
    }

    /// All items in order, then the dead ones. O(items).
    ///
    /// # Errors
    /// As [`Node::hold`].
    pub fn items(&self, document: &DocumentId, queue: ObjectId, now: Moment) -> Result<Vec<ItemView>, NodeError> {
        self.queue(document, queue, |queue, _| queue.views(now.mono).collect())
    }

    /// How a queue stands here.
    ///
    /// # Errors
    /// As [`Node::hold`].
    pub fn queue_status(&self, document: &DocumentId, queue: ObjectId) -> Result<QueueStatus, NodeError> {
        self.queue(document, queue, |queue, _| queue.status())
    }

    /// The number of the last coordination record this node has written in a document.
    pub fn slots_written(&self, document: &DocumentId) -> u64 {
        self.rooms.get(document).map_or(0, |room| room.written.slots)
    }

    /// The number of the last one that outlives this process; of all, for a node that does not outlive it either.
    pub fn slots_kept(&self, document: &DocumentId) -> u64 {
        if !self.hub.config.keeps_identity {
            return u64::MAX;
        }
        self.rooms.get(document).map_or(0, |room| room.log.durable.slots.get(self.hub.me()))
    }

    fn queue<R>(
        &self,
        document: &DocumentId,
        queue: ObjectId,
        look: impl FnOnce(&Queue, &Document) -> R,
    ) -> Result<R, NodeError> {
        let participant = self.rooms.get(document).and_then(|room| room.participant.as_ref());
        let found = self.read(document, |content| {
            let participant: &Participant = participant.ok_or(ParticipantError::Unknown { object: queue })?;
            Ok::<_, ParticipantError>(look(participant.queue(queue)?, content))
        })?;
        Ok(found?)
    }

    fn on_queue<R>(
        &mut self,
        document: &DocumentId,
        queue: ObjectId,
        now: Moment,
        act: impl FnOnce(&mut Queue) -> Result<R, QueueError>,
    ) -> Result<R, NodeError> {
        self.with_participant(document, now, |participant, _| {
            let result = act(participant.queue_mut(queue)?);
            Ok((result.map_err(ParticipantError::from)?, Vec::new()))
        })
    }
}

fn payload(content: &Document, item: ObjectId) -> Option<Bytes> {
    let body = content.slot(SlotKey::Of(item, SlotPart::Item), item.holder)?;
    ItemRecord::decode(body).ok().map(|record| record.payload)
}
