//! Writing and reading coordination records.

use bytes::Bytes;

use super::{Closed, check_slot};
use crate::{
    document::{Delta, Document, DocumentError, SlotKey, SlotPart, SlotRecord, SlotsDelta, Span},
    id::{ObjectId, ReplicaId},
    limits,
    trust::pattern::Right,
};

impl Document {
    /// Writes coordination records of this replica: all of them, or none. Returns what to store and to send.
    ///
    /// # Errors
    /// `Forbidden`, `Record` when one is over its limit, `TooLarge` when the document has no room, `Unsigned` when they
    /// would have to be signed, `Poisoned`.
    pub fn write_slots(&mut self, writes: Vec<(SlotKey, Bytes)>, wall_ms: u64) -> Result<Delta, DocumentError> {
        self.check_sound()?;
        self.check_signer()?;
        if writes.is_empty() {
            return Ok(Delta::default());
        }
        self.confines().map_or(Ok(()), |confines| confines.require(Right::Coordinate))?;
        let own = self.replica;
        let since = self.version.slots.get(own);
        let numbered = (since + 1..).zip(writes);
        let mut records: Vec<SlotRecord> =
            numbered.map(|(seq, (key, body))| SlotRecord { seq, key, body, signature: None }).collect();
        records.iter().try_for_each(check_slot)?;
        let limit = |what: &str, size: usize, max: usize| {
            if size > max { Err(DocumentError::TooLarge { what: what.to_owned(), size, max }) } else { Ok(()) }
        };
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        limit("coordination records", self.board.len() + records.len(), limits::DOCUMENT_SLOTS)?;
        limit("bytes of coordination records", self.board.bytes() + bytes, limits::DOCUMENT_BYTES)?;
        let upto = since + records.len() as u64;
        for record in &mut records {
            self.seal_slot(record, wall_ms);
            self.board.put(own, record, record.seq - 1, None);
        }
        self.version.slots.raise(own, upto);
        let slots = vec![SlotsDelta { span: Span { writer: own, since, upto }, records }];
        Ok(Delta { slots, ..Delta::default() })
    }

    /// All coordination records here, by key and writer.
    pub fn slots(&self) -> impl Iterator<Item = (SlotKey, ReplicaId, &Bytes)> {
        self.board.iter()
    }

    /// The coordination records of one object, by part and writer.
    pub fn slots_of(&self, object: ObjectId) -> impl Iterator<Item = (SlotPart, ReplicaId, &Bytes)> {
        self.board.of(object)
    }

    /// One writer's coordination record.
    pub fn slot(&self, key: SlotKey, writer: ReplicaId) -> Option<&Bytes> {
        self.board.get(key, writer)
    }

    /// Objects that are finished: their records are dropped here, and ignored when they come.
    pub fn closed(&self) -> &Closed {
        self.board.closed()
    }

    /// A number this replica has not given to an object yet.
    pub fn next_object(&self) -> ObjectId {
        ObjectId { holder: self.replica, number: self.board.last_object_of(self.replica) + 1 }
    }

    /// The coordination records that changed since the last call, and whether objects were finished since.
    pub fn take_changed_slots(&mut self) -> (Vec<(SlotKey, ReplicaId)>, bool) {
        self.board.take_changed()
    }

    /// Coordination records held, and the bytes they take in memory, roughly.
    pub fn slots_held(&self) -> (usize, usize) {
        (self.board.len(), self.board.bytes())
    }
}
