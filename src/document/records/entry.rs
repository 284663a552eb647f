//! One record as kept in memory, and the place it belongs to.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    document::{DocumentError, Record, RecordKind},
    engine::{Path, Section, Segment},
    id::ReplicaId,
    time::Hlc,
};

impl RecordKind {
    /// The section in which records of this kind are found.
    pub const fn section(self) -> Section {
        match self {
            Self::Register => Section::Register,
            Self::Counter => Section::Counter,
            Self::Agent => Section::Agent,
            Self::Member => Section::Member,
        }
    }
}

/// What a record is about: the part that all its writers share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::document) struct Slot {
    pub(in crate::document) kind: RecordKind,
    pub(in crate::document) key: Arc<str>,
}

impl Slot {
    pub(in crate::document) fn new(kind: RecordKind, key: &str) -> Self {
        Self { kind, key: key.into() }
    }

    /// The path as text, as subscriptions and digests name it.
    pub(in crate::document) fn path_text(&self) -> String {
        format!("{}/{}", self.kind.section().as_str(), self.key)
    }

    pub(in crate::document) fn path(&self) -> Path {
        let section = self.kind.section();
        match (self.kind, self.key.split_once('/')) {
            (RecordKind::Agent, Some((agent, key))) => {
                Path { section, name: agent.into(), within: Some(Segment::Key(key.into())) }
            }
            _ => Path { section, name: self.key.clone(), within: None },
        }
    }
}

/// A record without its key, which the slot holds once for all writers. Boxes instead of `Vec` and `Bytes`: a
/// document may hold a million of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::document) struct Entry {
    pub(in crate::document) seq: u64,
    pub(in crate::document) hlc: Hlc,
    pub(in crate::document) fence: u64,
    pub(in crate::document) context: Box<[(ReplicaId, u64)]>,
    pub(in crate::document) body: Box<[u8]>,
    pub(in crate::document) signature: Option<Box<[u8]>>,
}

impl Entry {
    pub(in crate::document) fn of(record: &Record) -> Self {
        Self {
            seq: record.seq,
            hlc: record.hlc,
            fence: record.fence,
            context: record.context.as_slice().into(),
            body: record.body.as_ref().into(),
            signature: record.signature.as_ref().map(|bytes| bytes.as_ref().into()),
        }
    }

    pub(in crate::document) fn record(&self, slot: &Slot) -> Record {
        Record {
            seq: self.seq,
            kind: slot.kind,
            key: slot.key.clone(),
            hlc: self.hlc,
            fence: self.fence,
            context: self.context.to_vec(),
            body: Bytes::copy_from_slice(&self.body),
            signature: self.signature.as_deref().map(Bytes::copy_from_slice),
        }
    }

    /// Bytes this entry holds on the heap and in its indexes, roughly: what limits count.
    pub(in crate::document) fn cost(&self, slot: &Slot) -> usize {
        let seal = self.signature.as_ref().map_or(0, |seal| seal.len());
        size_of::<Self>() + self.context.len() * 16 + self.body.len() + slot.key.len() + seal
    }

    /// Names the record as written: settles two records with one number.
    ///
    /// # Errors
    /// None in practice: every field has an encoding.
    pub(in crate::document) fn hash(&self, slot: &Slot) -> Result<[u8; 32], DocumentError> {
        let encoded = postcard::to_stdvec(&self.record(slot))
            .map_err(|error| DocumentError::Serialize { path: slot.path_text(), reason: error.to_string() })?;
        Ok(Sha256::digest(encoded).into())
    }

    /// True when the writer of this entry had seen number `seq` of `writer` in this slot.
    pub(in crate::document) fn has_seen(&self, writer: ReplicaId, seq: u64) -> bool {
        self.context
            .binary_search_by_key(&writer, |(writer, _)| *writer)
            .is_ok_and(|index| self.context[index].1 >= seq)
    }
}
