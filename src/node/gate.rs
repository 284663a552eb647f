//! What a room holds back until it may leave: deltas with writes that our own store does not yet have.
//!
//! A replica that comes back after a crash goes on under its old id. Had it told others of commits which its disk then
//! lost, it would use their numbers again, and replicas with equal versions would hold different things for ever. For
//! coordination the same rule is what makes its promises promises: see `coordination`.

use super::{
    hub::Hub,
    room::{Room, State},
};
use crate::{
    document::Version,
    id::{LinkId, ReplicaId},
    sync::Encoded,
};

/// Numbers of our own writes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    content: u64,
    records: u64,
    pub(super) slots: u64,
}

impl Written {
    pub(super) fn note(&mut self, version: &Version, me: ReplicaId) {
        self.content = version.content.get(me);
        self.records = version.records.get(me);
        self.slots = version.slots.get(me);
    }

    /// How many of them are not in a version.
    pub(super) fn beyond(&self, durable: &Version, me: ReplicaId) -> u64 {
        self.content.saturating_sub(durable.content.get(me))
            + self.records.saturating_sub(durable.records.get(me))
            + self.slots.saturating_sub(durable.slots.get(me))
    }
}

/// Bytes on their way out, and the own writes they may contain.
#[derive(Debug)]
pub(super) struct Gated {
    written: Written,
    links: Vec<LinkId>,
    encoded: Encoded,
}

impl Room {
    /// We have written: what leaves from now on may contain it.
    pub(super) fn note_written(&mut self, me: ReplicaId) {
        if let State::Ready(document) = &self.state {
            self.written.note(document.version(), me);
        }
    }

    /// Sends a delta, at once when all we have written is durable, else as soon as what is written by now is. Deltas
    /// keep their order, and count as queued meanwhile.
    pub(super) fn emit(&mut self, links: Vec<LinkId>, encoded: Encoded, hub: &mut Hub) {
        let written = Written { slots: 0, ..self.written };
        hub.charge(&links, &encoded);
        if hub.config.keeps_identity && (!self.gated.is_empty() || !self.is_kept(written, hub)) {
            self.gated.push_back(Gated { written, links, encoded });
        } else {
            hub.release(links, encoded);
        }
    }

    /// As [`Room::emit`], for coordination records, of which `upto` is the last own one they may contain.
    pub(super) fn emit_slots(&mut self, links: Vec<LinkId>, encoded: Encoded, upto: u64, hub: &mut Hub) {
        let written = Written { slots: upto, ..Written::default() };
        hub.charge(&links, &encoded);
        if hub.config.keeps_identity && !self.is_kept(written, hub) {
            self.gated_slots.push_back(Gated { written, links, encoded });
        } else {
            hub.release(links, encoded);
        }
    }

    /// Lets go what has become durable.
    pub(super) fn release_kept(&mut self, hub: &mut Hub) {
        self.release_to_guests(hub);
        while let Some(gated) = self.gated_slots.pop_front_if(|gated| kept(&self.log.durable, gated.written, hub)) {
            hub.release(gated.links, gated.encoded);
        }
        while let Some(gated) = self.gated.pop_front_if(|gated| kept(&self.log.durable, gated.written, hub)) {
            hub.release(gated.links, gated.encoded);
        }
    }

    fn is_kept(&self, written: Written, hub: &Hub) -> bool {
        kept(&self.log.durable, written, hub)
    }
}

fn kept(durable: &Version, written: Written, hub: &Hub) -> bool {
    let me = hub.me();
    durable.content.get(me) >= written.content
        && durable.records.get(me) >= written.records
        && durable.slots.get(me) >= written.slots
}
