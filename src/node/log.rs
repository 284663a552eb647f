//! What is kept of a room: its log in the store, acknowledgements of what is durable, compaction.

use bytes::Bytes;

use super::{
    event::Event,
    hub::Hub,
    room::{Room, State},
    work::Job,
};
use crate::{
    document::{Delta, DocumentError, Version},
    id::LinkId,
    store::{StoreDone, StoreError, StoreTask, StoredDocument},
    sync::{Lane, Message, Role},
    time::Monotonic,
};

#[derive(Debug)]
struct Append {
    task: u64,
    covers: Version,
    entries: Vec<Bytes>,
}

#[derive(Debug)]
struct Compaction {
    task: u64,
    entries: u64,
    bytes: u64,
    snapshot_bytes: u64,
}

/// The state of a document's log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What is durable in the store.
    pub(super) durable: Version,
    /// Entries since the last snapshot.
    pub(super) entries: u64,
    pub(super) last_error: Option<StoreError>,
    bytes: u64,
    snapshot_bytes: u64,
    last: u64,
    /// Entries ever queued, and how many of them are durable: they are appended in order.
    queued: u64,
    kept: u64,
    /// Entries up to the last one that no guest brought.
    natives: u64,
    waiting: Vec<Bytes>,
    /// What is durable once all that waits is.
    waiting_covers: Version,
    appending: Option<Append>,
    /// Entries and bytes in the log when the snapshot under way was ordered.
    snapshotting: Option<(u64, u64)>,
    compacting: Option<Compaction>,
    retry_at: Option<Monotonic>,
}

impl Log {
    pub(super) fn adopt(&mut self, stored: &StoredDocument) {
        self.entries = stored.entries.len() as u64;
        self.bytes = stored.entries.iter().map(|entry| entry.len() as u64).sum();
        self.snapshot_bytes = stored.snapshot.as_ref().map_or(0, |snapshot| snapshot.len() as u64);
        self.last = stored.last;
        self.snapshotting = None;
        if self.retry_at.is_none() {
            self.last_error = None;
        }
    }

    pub(super) fn queue(&mut self, delta: &Delta, encoded: Bytes) {
        self.waiting_covers.raise(delta);
        self.waiting.push(encoded);
        self.queued += 1;
        self.natives = self.queued;
    }

    /// Like [`Log::queue`], for what a guest brought.
    pub(super) fn queue_foreign(&mut self, delta: &Delta, encoded: Bytes) {
        let natives = self.natives;
        self.queue(delta, encoded);
        self.natives = natives;
    }

    /// How far the log goes with all that agents wrote.
    pub(super) fn natives(&self) -> u64 {
        self.natives
    }

    /// How far the log goes with all that waits: what is in the document now is durable once [`Log::kept`] is there.
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    /// How far the log is durable.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// What the store may not have yet. A document that is read anew, because its engine failed, has it nevertheless:
    /// peers have been told of it, and its own writes have their numbers.
    pub(super) fn pending(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.appending.iter().flat_map(|append| &append.entries).chain(&self.waiting).cloned()
    }

    /// Everything queued is durable and nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.appending.is_none() && self.compacting.is_none()
    }
}

impl Room {
    /// Gives the store what waits, one append at a time: while one is under way the next one gathers.
    pub(super) fn append(&mut self, hub: &mut Hub) {
        if self.log.waiting.is_empty() || self.log.appending.is_some() || self.log.retry_at.is_some() {
            return;
        }
        let covers = std::mem::take(&mut self.log.waiting_covers);
        let entries = std::mem::take(&mut self.log.waiting);
        hub.counters.appends += entries.len() as u64;
        let header = postcard::to_allocvec(&self.engine).unwrap_or_default().into();
        let task = StoreTask::Append { document: self.id.clone(), header, entries: entries.clone() };
        let task = hub.store(&self.id, task);
        self.log.appending = Some(Append { task, covers, entries });
    }

    pub(super) fn retry_append(&mut self, hub: &mut Hub) {
        if let Some(at) = self.log.retry_at {
            if at <= hub.now.mono {
                self.log.retry_at = None;
                self.append(hub);
            } else {
                hub.arm(&self.id, at);
            }
        }
    }

    /// The store has finished an append or a compaction.
    pub(super) fn stored(&mut self, id: u64, result: Result<StoreDone, StoreError>, hub: &mut Hub) {
        if self.log.appending.as_ref().is_some_and(|append| append.task == id) {
            let Some(append) = self.log.appending.take() else { return };
            match result {
                Ok(done) => self.appended(append, &done, hub),
                Err(error) => self.append_failed(append, error, hub),
            }
        } else if self.log.compacting.as_ref().is_some_and(|compaction| compaction.task == id) {
            let Some(compaction) = self.log.compacting.take() else { return };
            match result {
                Ok(_) => {
                    self.log.entries = self.log.entries.saturating_sub(compaction.entries);
                    self.log.bytes = self.log.bytes.saturating_sub(compaction.bytes);
                    self.log.snapshot_bytes = compaction.snapshot_bytes;
                    self.weight = self.log.snapshot_bytes + self.log.bytes;
                }
                Err(error) => self.store_failed(error, hub),
            }
        }
        self.rest(hub);
    }

    fn appended(&mut self, append: Append, done: &StoreDone, hub: &mut Hub) {
        if let StoreDone::Appended { last } = done {
            self.log.last = *last;
        }
        self.log.last_error = None;
        self.log.entries += append.entries.len() as u64;
        self.log.kept += append.entries.len() as u64;
        self.log.bytes += append.entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
        self.log.durable.join(&append.covers);
        self.release_kept(hub);
        self.confirm_guests(hub);
        self.slots_durable(hub);
        if !hub.has_targets {
            hub.event(Event::Acked { document: self.id.clone() });
        }
        self.ack_known(hub);
        self.append(hub);
        self.compact_if_long(hub);
    }

    fn append_failed(&mut self, mut append: Append, error: StoreError, hub: &mut Hub) {
        append.entries.append(&mut self.log.waiting);
        self.log.waiting = append.entries;
        self.log.waiting_covers.join(&append.covers);
        self.store_failed(error, hub);
    }

    fn store_failed(&mut self, error: StoreError, hub: &mut Hub) {
        hub.event(Event::StoreFailed { document: self.id.clone(), reason: error.to_string() });
        self.log.last_error = Some(error);
        let at = hub.now.mono + hub.config.tuning.store_retry;
        self.log.retry_at = Some(at);
        hub.arm(&self.id, at);
    }

    /// Tells members which of the writes they brought are durable. Only relays do: an agent's word would not mean
    /// that the writes are out of reach of its own crash.
    pub(super) fn ack_known(&mut self, hub: &mut Hub) {
        if hub.config.role != Role::Relay {
            return;
        }
        let version = match &self.state {
            State::Ready(document) => Some(document.version()),
            _ => None,
        };
        let durable = &self.log.durable;
        let mut acks: Vec<(LinkId, Version)> = Vec::new();
        for (link, member) in &mut self.members {
            let mut ack = Version::default();
            for writer in &member.owed {
                let theirs = durable.of(*writer);
                if !member.told.covers(&theirs) {
                    ack.join(&theirs);
                }
            }
            if let Some(version) = version {
                // Its own writes may yet come by another way than from itself.
                let own = hub.links.get(link).map(|link| link.hello.identity.replica);
                member.owed.retain(|writer| own == Some(*writer) || !durable.covers(&version.of(*writer)));
            }
            if !ack.is_empty() {
                member.told.join(&ack);
                acks.push((*link, ack));
            }
        }
        for (link, durable) in acks {
            hub.counters.acks += 1;
            hub.tell(link, &Message::Ack { document: self.id.clone(), durable }, Lane::Critical);
        }
    }

    fn compact_if_long(&mut self, hub: &mut Hub) {
        let tuning = &hub.config.tuning;
        let bytes_max = tuning.compact_bytes.max(self.log.snapshot_bytes.saturating_mul(2));
        let long = self.log.entries > tuning.compact_entries || self.log.bytes > bytes_max;
        if !long || self.log.snapshotting.is_some() || self.log.compacting.is_some() {
            return;
        }
        if matches!(self.state, State::Ready(_)) {
            self.log.snapshotting = Some((self.log.entries, self.log.bytes));
            self.send_away(Job::Snapshot { upto: self.log.last }, hub);
        }
    }

    /// The snapshot for a compaction has been encoded.
    pub(super) fn snapshot_made(&mut self, upto: u64, made: Result<Bytes, DocumentError>, hub: &mut Hub) {
        let (entries, bytes) = self.log.snapshotting.take().unwrap_or_default();
        let snapshot = match made {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let reason = format!("compaction failed: {error}");
                return hub.event(Event::StoreFailed { document: self.id.clone(), reason });
            }
        };
        let snapshot_bytes = snapshot.len() as u64;
        let task = StoreTask::Compact { document: self.id.clone(), upto, snapshot };
        let task = hub.store(&self.id, task);
        self.log.compacting = Some(Compaction { task, entries, bytes, snapshot_bytes });
    }
}
