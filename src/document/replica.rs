//! The document: one replica's copy of content and records.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Delta, DocumentError, Equivocation, Frontier, Incoming, Version, records::Lattice};
use crate::{
    engine::{self, Engine, EngineKind},
    id::{DocumentId, ReplicaId},
    time::HlcClock,
};

/// One replica of a document: content held by an engine, and records.
///
/// Given the same calls it holds the same bytes: it reads no clock and draws no chance.
#[derive(Debug)]
pub struct Document {
    pub(super) id: DocumentId,
    pub(super) replica: ReplicaId,
    pub(super) engine: Box<dyn Engine>,
    pub(super) lattice: Lattice,
    /// What has taken effect.
    pub(super) version: Version,
    pub(super) clock: HlcClock,
    /// Deltas that arrived before what they build on.
    pub(super) held: VecDeque<Incoming>,
    /// Set once the engine has failed half-way: nothing may be written or read on from here.
    pub(super) poisoned: Option<String>,
}

impl Document {
    /// An empty document, written under `replica`.
    ///
    /// # Errors
    /// `Engine(NotCompiled)` when the build lacks the engine.
    pub fn new(id: DocumentId, kind: EngineKind, replica: ReplicaId) -> Result<Self, DocumentError> {
        Ok(Self {
            id,
            replica,
            engine: engine::create(kind, replica)?,
            lattice: Lattice::default(),
            version: Version::default(),
            clock: HlcClock::default(),
            held: VecDeque::new(),
            poisoned: None,
        })
    }

    /// A document as it was stored: an encoded snapshot and the encoded deltas that took effect after it, in order.
    /// They are inspected like a peer's: a disk is not trusted more than a wire.
    ///
    /// # Errors
    /// `Unreadable` or what [`Self::apply`] refuses; `Poisoned` with the positions of the entries (the snapshot is
    /// 0, the first entry 1); `Incomplete` when an entry is missing.
    pub fn load(
        id: DocumentId,
        kind: EngineKind,
        replica: ReplicaId,
        snapshot: Option<&Bytes>,
        entries: &[Bytes],
    ) -> Result<Self, DocumentError> {
        let mut document = Self::new(id, kind, replica)?;
        let numbered = snapshot.into_iter().map(|bytes| (0, bytes)).chain((1..).zip(entries));
        let incoming = numbered
            .map(|(position, bytes)| {
                Incoming::decode(bytes.clone(), position, None)
                    .map_err(|error| DocumentError::Unreadable { what: "stored delta", reason: error.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Without a wall clock no foreign stamp is witnessed; a later write witnesses those of its own slot.
        let applied = document.apply(incoming, 0, false)?;
        if let Some((_, error)) = applied.refused.into_iter().next() {
            return Err(error);
        }
        if let Some(last) = applied.waiting_on {
            let entry = document.held.front().map_or(last, |incoming| incoming.source);
            return Err(DocumentError::Incomplete { entry: usize::try_from(entry).unwrap_or(usize::MAX) });
        }
        document.engine.adopt();
        Ok(document)
    }

    /// The document's name.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// The engine that holds its content.
    pub fn engine_kind(&self) -> EngineKind {
        self.engine.kind()
    }

    /// The writer of local transactions.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The content, for reading.
    pub fn content(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// What of every writer has taken effect here.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What a peer must know to send what is lacking here.
    pub fn frontier(&self) -> Frontier {
        Frontier { version: self.version.clone(), engine: self.engine.frontier() }
    }

    /// Everything, as one delta: the difference to an empty document.
    pub fn snapshot(&self) -> Delta {
        self.everything()
    }

    /// True when deltas wait for something that has not arrived: a resync is due.
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Records held, and the bytes they take in memory, roughly.
    pub fn records_held(&self) -> (usize, usize) {
        (self.lattice.len(), self.lattice.bytes())
    }

    /// Proofs that a writer used one number twice (the first few of them), and how many there were.
    pub fn equivocations(&self) -> (&[Equivocation], u64) {
        self.lattice.equivocations()
    }

    /// # Errors
    /// `Poisoned` once the engine has failed half-way.
    pub(super) fn check_sound(&self) -> Result<(), DocumentError> {
        match &self.poisoned {
            None => Ok(()),
            Some(reason) => Err(DocumentError::Poisoned { sources: Vec::new(), reason: reason.clone() }),
        }
    }
}
