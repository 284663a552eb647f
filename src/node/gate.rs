//! What a room holds back until it may leave: deltas with writes that our own store does not yet have.
//!
//! A replica that comes back after a crash goes on under its old id. Had it told others of commits which its disk then
//! lost, it would use their numbers again, and replicas with equal versions would hold different things for ever.

use super::{hub::Hub, room::Room};
use crate::{id::LinkId, sync::Encoded};

/// Bytes on their way out, and the own commits of content and of records they may contain.
#[derive(Debug)]
pub(super) struct Gated {
    content: u64,
    records: u64,
    links: Vec<LinkId>,
    encoded: Encoded,
}

impl Room {
    /// Sends a delta, at once when all we have written is durable, else as soon as what is written by now is. Deltas
    /// keep their order, and count as queued meanwhile.
    pub(super) fn emit(&mut self, links: Vec<LinkId>, encoded: Encoded, hub: &mut Hub) {
        let (content, records) = self.written;
        hub.charge(&links, &encoded);
        if hub.config.keeps_identity && (!self.gated.is_empty() || !self.is_kept(content, records, hub)) {
            self.gated.push_back(Gated { content, records, links, encoded });
        } else {
            hub.release(links, encoded);
        }
    }

    /// Lets go what has become durable.
    pub(super) fn release_kept(&mut self, hub: &mut Hub) {
        while let Some(gated) = self.gated.front() {
            if !self.is_kept(gated.content, gated.records, hub) {
                return;
            }
            if let Some(Gated { links, encoded, .. }) = self.gated.pop_front() {
                hub.release(links, encoded);
            }
        }
    }

    fn is_kept(&self, content: u64, records: u64, hub: &Hub) -> bool {
        let durable = &self.log.durable;
        durable.content.get(hub.me()) >= content && durable.records.get(hub.me()) >= records
    }
}
