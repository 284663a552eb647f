//! The coordination records a document holds: by object for readers, by writer and number for deltas.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Closed;
use crate::{
    document::{DocumentError, SlotKey, SlotPart, SlotRecord, records::SEQ_MAX},
    id::{ObjectId, ReplicaId},
    limits,
    trust::record::{RecordId, ShownCredentials},
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    seq: u64,
    body: Bytes,
    signature: Option<Bytes>,
}

/// Pairs of contradicting records kept as evidence; all are counted.
const EVIDENCE_MAX: usize = 16;
/// What an entry costs beside its body: its place in two maps.
const ENTRY_BYTES: usize = 160;

impl Entry {
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.body.len() + self.signature.as_ref().map_or(0, Bytes::len)
    }
}

/// All coordination records of a document that are not finished.
#[derive(Debug, Default)]
pub(in crate::document) struct Board {
    entries: BTreeMap<(SlotKey, ReplicaId), Entry>,
    order: BTreeMap<ReplicaId, BTreeMap<u64, SlotKey>>,
    closed: Closed,
    bytes: usize,
    equivocations: u64,
    evidence: Vec<(ReplicaId, SlotRecord, SlotRecord)>,
    /// Keys written since [`Board::take_changed`].
    changed: Vec<(SlotKey, ReplicaId)>,
    newly_closed: bool,
}

impl Board {
    /// Joins a record; `known` is how far its writer has been followed. Returns whether anything changed.
    ///
    /// A number followed already is here, overwritten or finished: such a record says nothing new, unless its writer
    /// used the number twice. Then the lower hash stands at every replica that holds one of the two; where records have
    /// names (`ids`: of this one, and of that with its number), the lower name.
    pub(in crate::document) fn put(
        &mut self,
        writer: ReplicaId,
        record: &SlotRecord,
        known: u64,
        ids: Option<(RecordId, RecordId)>,
    ) -> bool {
        if let SlotKey::Of(object, _) = record.key
            && self.closed.contains(object)
        {
            return false;
        }
        if record.seq <= known && !self.wins_over_twin(writer, record, ids) {
            return false;
        }
        let entry = Entry { seq: record.seq, body: record.body.clone(), signature: record.signature.clone() };
        let at = (record.key, writer);
        if self.entries.get(&at).is_some_and(|newer| newer.seq > entry.seq) {
            return false;
        }
        self.bytes += entry.cost();
        if let Some(old) = self.entries.insert(at, entry) {
            self.unindex(writer, &old);
        }
        self.order.entry(writer).or_default().insert(record.seq, record.key);
        self.changed.push(at);
        if record.key == SlotKey::Closed
            && let Ok(closed) = Closed::decode(&record.body)
        {
            self.close(&closed);
        }
        true
    }

    /// The record of that number.
    pub(in crate::document) fn numbered(&self, writer: ReplicaId, seq: u64) -> Option<SlotRecord> {
        let key = *self.order.get(&writer)?.get(&seq)?;
        let entry = self.entries.get(&(key, writer))?;
        Some(SlotRecord { seq, key, body: entry.body.clone(), signature: entry.signature.clone() })
    }

    fn wins_over_twin(&mut self, writer: ReplicaId, record: &SlotRecord, ids: Option<(RecordId, RecordId)>) -> bool {
        let Some(twin) = self.numbered(writer, record.seq) else { return false };
        let is_same = match ids {
            Some((own, other)) => own == other,
            None => (twin.key, &twin.body) == (record.key, &record.body),
        };
        if is_same {
            return false;
        }
        self.equivocations += 1;
        let pair = (writer, twin.clone(), record.clone());
        if self.evidence.len() < EVIDENCE_MAX && !self.evidence.contains(&pair) {
            self.evidence.push(pair);
        }
        let hash = |key: &SlotKey, body: &[u8]| -> [u8; 32] {
            let key = postcard::to_stdvec(key).unwrap_or_default();
            Sha256::new().chain_update(key).chain_update(body).finalize().into()
        };
        let wins = match ids {
            Some((own, other)) => own < other,
            None => hash(&record.key, &record.body) < hash(&twin.key, &twin.body),
        };
        if wins {
            self.remove(twin.key, writer);
        }
        wins
    }

    /// Takes a record away.
    pub(in crate::document) fn remove(&mut self, key: SlotKey, writer: ReplicaId) {
        if let Some(entry) = self.entries.remove(&(key, writer)) {
            self.unindex(writer, &entry);
            self.changed.push((key, writer));
        }
    }

    fn unindex(&mut self, writer: ReplicaId, old: &Entry) {
        self.bytes -= old.cost();
        if let Some(order) = self.order.get_mut(&writer) {
            order.remove(&old.seq);
            if order.is_empty() {
                self.order.remove(&writer);
            }
        }
    }

    /// Drops what is finished. O(what is dropped + runs).
    fn close(&mut self, closed: &Closed) {
        if !self.closed.join(closed) {
            return;
        }
        self.newly_closed = true;
        for (holder, first, last) in closed.runs() {
            let from = (SlotKey::Of(ObjectId { holder, number: first }, SlotPart::FIRST), ReplicaId::FIRST);
            let end = ObjectId { holder, number: last };
            let range = self.entries.range(from..).map(|(at, _)| *at);
            let gone: Vec<_> =
                range.take_while(|(key, _)| matches!(key, SlotKey::Of(object, _) if *object <= end)).collect();
            for (key, writer) in gone {
                if let Some(entry) = self.entries.remove(&(key, writer)) {
                    self.unindex(writer, &entry);
                }
            }
        }
    }

    /// Finished objects.
    pub(in crate::document) fn closed(&self) -> &Closed {
        &self.closed
    }

    /// The records of a writer with a number above `since`, by growing number.
    pub(in crate::document) fn since(&self, writer: ReplicaId, since: u64) -> impl Iterator<Item = SlotRecord> {
        let order = self.order.get(&writer).into_iter().flat_map(move |order| order.range(since.saturating_add(1)..));
        order.filter_map(move |(seq, key)| {
            let entry = self.entries.get(&(*key, writer))?;
            Some(SlotRecord { seq: *seq, key: *key, body: entry.body.clone(), signature: entry.signature.clone() })
        })
    }

    /// All records, by key and writer.
    pub(in crate::document) fn iter(&self) -> impl Iterator<Item = (SlotKey, ReplicaId, &Bytes)> {
        self.entries.iter().map(|((key, writer), entry)| (*key, *writer, &entry.body))
    }

    /// The records of one object, by part and writer.
    pub(in crate::document) fn of(&self, object: ObjectId) -> impl Iterator<Item = (SlotPart, ReplicaId, &Bytes)> {
        let from = (SlotKey::Of(object, SlotPart::FIRST), ReplicaId::FIRST);
        let to = (SlotKey::Of(object, SlotPart::LAST), ReplicaId::LAST);
        self.entries.range(from..=to).filter_map(|((key, writer), entry)| match key {
            SlotKey::Of(_, part) => Some((*part, *writer, &entry.body)),
            SlotKey::Closed | SlotKey::Credential => None,
        })
    }

    /// One record's bytes.
    pub(in crate::document) fn get(&self, key: SlotKey, writer: ReplicaId) -> Option<&Bytes> {
        self.entries.get(&(key, writer)).map(|entry| &entry.body)
    }

    /// One record's bytes and seal.
    pub(in crate::document) fn sealed(&self, key: SlotKey, writer: ReplicaId) -> Option<(&Bytes, Option<&Bytes>)> {
        self.entries.get(&(key, writer)).map(|entry| (&entry.body, entry.signature.as_ref()))
    }

    /// What changed since the last call, and whether objects were finished.
    pub(in crate::document) fn take_changed(&mut self) -> (Vec<(SlotKey, ReplicaId)>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.newly_closed))
    }

    /// The highest number of an object that a holder has begun, as far as known here.
    pub(in crate::document) fn last_object_of(&self, holder: ReplicaId) -> u64 {
        let from = (SlotKey::Of(ObjectId { holder, number: 0 }, SlotPart::FIRST), ReplicaId::FIRST);
        let to = (SlotKey::Of(ObjectId { holder, number: u64::MAX }, SlotPart::LAST), ReplicaId::LAST);
        let last = self.entries.range(from..=to).next_back();
        let last = last.map_or(0, |((key, _), _)| if let SlotKey::Of(object, _) = key { object.number } else { 0 });
        last.max(self.closed.last_of(holder))
    }

    pub(in crate::document) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::document) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pairs of records with one number: the one that was here, and the other.
    pub(in crate::document) fn evidence(&self) -> &[(ReplicaId, SlotRecord, SlotRecord)] {
        &self.evidence
    }

    /// How often a writer was seen to use one number twice.
    pub(in crate::document) fn equivocations(&self) -> u64 {
        self.equivocations
    }
}

/// Checks a record by itself, our own or a peer's.
///
/// # Errors
/// `Record` names the value and the limit.
pub(in crate::document) fn check(record: &SlotRecord) -> Result<(), DocumentError> {
    let refuse = |reason: String| Err(DocumentError::Record { path: format!("coordination/{}", record.key), reason });
    if record.seq == 0 || record.seq > SEQ_MAX {
        return refuse(format!("number {} is outside 1..={SEQ_MAX}", record.seq));
    }
    if let SlotKey::Of(object, _) = record.key
        && (object.number == 0 || object.number > SEQ_MAX)
    {
        return refuse(format!("number {} of an object is outside 1..={SEQ_MAX}", object.number));
    }
    if record.body.len() > limits::SLOT_BYTES {
        return refuse(format!("body of {} bytes is over the limit of {}", record.body.len(), limits::SLOT_BYTES));
    }
    if let Some(seal) = record.signature.as_ref().filter(|seal| seal.len() > limits::SEAL_BYTES) {
        return refuse(format!("seal of {} bytes is over the limit of {}", seal.len(), limits::SEAL_BYTES));
    }
    match record.key {
        SlotKey::Closed => Closed::decode(&record.body).map(drop).or_else(refuse),
        SlotKey::Credential => {
            ShownCredentials::decode(&record.body).map(drop).or_else(|error| refuse(error.to_string()))
        }
        SlotKey::Of(..) => Ok(()),
    }
}
