//! The document: one replica's copy of content and records.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Confines, Delta, DocumentError, Equivocation, Frontier, Incoming, Signing, Version, records::Lattice,
    sealed::Sealing, slots::Board,
};
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
    pub(super) board: Board,
    /// What has taken effect.
    pub(super) version: Version,
    pub(super) clock: HlcClock,
    /// Deltas that arrived before what they build on.
    pub(super) held: VecDeque<Incoming>,
    /// Here where records are signed.
    pub(super) sealing: Option<Box<Sealing>>,
    /// Set once the engine has failed half-way: nothing may be written or read on from here.
    pub(super) poisoned: Option<String>,
    /// What local transactions may change.
    pub(super) confines: Option<Confines>,
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
            board: Board::default(),
            version: Version::default(),
            clock: HlcClock::default(),
            held: VecDeque::new(),
            sealing: None,
            poisoned: None,
            confines: None,
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
        document.take_stored(snapshot, entries)?;
        Ok(document)
    }

    /// As [`Self::load`], and then [`Self::set_signing`]: of records with one number the same one counts as before.
    /// Their seals were checked when they came and are not again.
    ///
    /// # Errors
    /// Those of both.
    pub fn load_sealed(
        id: DocumentId,
        kind: EngineKind,
        replica: ReplicaId,
        snapshot: Option<&Bytes>,
        entries: &[Bytes],
        authority: &Arc<Signing>,
    ) -> Result<Self, DocumentError> {
        let mut document = Self::new(id, kind, replica)?;
        document.take_authority(authority)?;
        document.take_stored(snapshot, entries)?;
        // Anew, now that our own last records are here.
        document.sealing = None;
        document.set_signing(authority)?;
        Ok(document)
    }

    fn take_stored(&mut self, snapshot: Option<&Bytes>, entries: &[Bytes]) -> Result<(), DocumentError> {
        let replica = self.replica;
        let numbered = snapshot.into_iter().map(|bytes| (0, bytes)).chain((1..).zip(entries));
        let incoming = numbered
            .map(|(position, bytes)| {
                Incoming::decode(bytes.clone(), position, None)
                    .map_err(|error| DocumentError::Unreadable { what: "stored delta", reason: error.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Our own last stamp stands in for the wall clock: stamps must grow on although the clock was set back.
        let runs = incoming.iter().flat_map(|incoming| &incoming.delta.records);
        let own = runs.filter(|run| run.span.writer == replica).flat_map(|run| &run.records);
        let wall_ms = own.map(|record| record.hlc.wall_ms()).max().unwrap_or(0);
        let own = own_updates(&incoming, replica);
        let applied = self.apply_stored(incoming, wall_ms)?;
        if let Some((_, error)) = applied.refused.into_iter().next() {
            return Err(error);
        }
        if let Some(last) = applied.waiting_on {
            let entry = self.held.front().map_or(last, |incoming| incoming.source);
            return Err(DocumentError::Incomplete { entry: usize::try_from(entry).unwrap_or(usize::MAX) });
        }
        own.iter().try_for_each(|update| self.engine.adopt(update))?;
        Ok(())
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
        let (evidence, count) = self.lattice.equivocations();
        (evidence, count + self.board.equivocations())
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

#[cfg(all(test, feature = "yrs"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{ops::Range, sync::Arc};

    use super::*;
    use crate::{
        document::Commit,
        engine::{Applied, Container, EngineCommit, EngineError, HistoryEntry, Op, Relation, TextSpan, Value},
    };

    /// An engine that panics on the updates whose numbers (from 0) are in `panics`, after changing something.
    #[derive(Debug)]
    struct Broken {
        inner: Box<dyn Engine>,
        calls: usize,
        panics: Range<usize>,
    }

    impl Broken {
        fn count(&mut self) {
            self.calls += 1;
            assert!(!self.panics.contains(&(self.calls - 1)), "block 7 is not there");
        }
    }

    impl Engine for Broken {
        fn kind(&self) -> EngineKind {
            self.inner.kind()
        }
        fn transact(&mut self, ops: &[Op], watch: bool) -> Result<EngineCommit, EngineError> {
            let commit = self.inner.transact(ops, watch);
            self.count();
            commit
        }
        fn known(&self, writer: u64) -> u64 {
            self.inner.known(writer)
        }
        fn has_change(&self, hash: &[u8; 32]) -> bool {
            self.inner.has_change(hash)
        }
        fn apply(&mut self, updates: &[Bytes], watch: bool) -> Result<Applied, EngineError> {
            let applied = self.inner.apply(updates, watch);
            self.count();
            applied
        }
        fn frontier(&self) -> Bytes {
            self.inner.frontier()
        }
        fn compare(&self, frontier: &[u8]) -> Result<Relation, EngineError> {
            self.inner.compare(frontier)
        }
        fn delta_since(&self, frontier: &[u8], author: Option<ReplicaId>) -> Result<Bytes, EngineError> {
            self.inner.delta_since(frontier, author)
        }
        fn snapshot(&self) -> Bytes {
            self.inner.snapshot()
        }
        fn pending(&self) -> usize {
            self.inner.pending()
        }
        fn drop_pending(&mut self) -> Result<(), EngineError> {
            self.inner.drop_pending()
        }
        fn containers(&self) -> Vec<Container> {
            self.inner.containers()
        }
        fn map_get(&self, map: &str, key: &str) -> Result<Option<Value>, EngineError> {
            self.inner.map_get(map, key)
        }
        fn map_entries(&self, map: &str) -> Result<Vec<(Arc<str>, Value)>, EngineError> {
            self.inner.map_entries(map)
        }
        fn list_values(&self, list: &str) -> Result<Vec<Value>, EngineError> {
            self.inner.list_values(list)
        }
        fn len(&self, container: &Container) -> Result<usize, EngineError> {
            self.inner.len(container)
        }
        fn text_spans(&self, text: &str) -> Result<Vec<TextSpan>, EngineError> {
            self.inner.text_spans(text)
        }
        fn history(&self) -> Result<Vec<HistoryEntry>, EngineError> {
            self.inner.history()
        }
        fn past(&self, changes: usize) -> Result<Box<dyn Engine>, EngineError> {
            self.inner.past(changes)
        }
    }

    fn document(replica: u64, panics: Range<usize>) -> Document {
        let id = DocumentId::new("stage").unwrap();
        let mut document = Document::new(id, EngineKind::Yrs, ReplicaId::from_bits(replica)).unwrap();
        let inner = engine::create(EngineKind::Yrs, document.replica).unwrap();
        document.engine = Box::new(Broken { inner, calls: 0, panics });
        document
    }

    fn write(document: &mut Document) -> Result<Commit, DocumentError> {
        let written = document.transact(1_000, false, |tx| -> Result<(), DocumentError> {
            tx.list("log").push(&1)?;
            tx.register("last").set(&1)
        });
        Ok(written?.1)
    }

    fn is_poisoned(result: Result<impl std::fmt::Debug, DocumentError>, marks: &[u64]) -> bool {
        match result.unwrap_err() {
            DocumentError::Poisoned { sources, reason } => sources == marks && reason.contains("block 7 is not there"),
            _ => false,
        }
    }

    #[test]
    fn an_engine_that_panics_on_a_peers_update_poisons_the_document_and_names_the_suspects() {
        let mut writer = document(1, 0..0);
        let incoming: Vec<Incoming> = (0..3)
            .map(|mark| {
                let delta = write(&mut writer).unwrap().delta;
                Incoming::decode(delta.encode().unwrap(), mark, None).unwrap()
            })
            .collect();
        let mut reader = document(2, 1..2);
        reader.apply(incoming[..1].to_vec(), 1_000, false).unwrap();
        let (version, last) = (reader.version.clone(), reader.get_path("register/last").unwrap());
        assert!(is_poisoned(reader.apply(incoming[1..].to_vec(), 1_000, false), &[1, 2]));
        // Records and versions are as before, and nothing goes on from content in doubt, in or out.
        assert_eq!(reader.version, version);
        assert_eq!(reader.get_path("register/last").unwrap(), last);
        assert!(is_poisoned(reader.apply(Vec::new(), 1_000, false), &[]));
        assert!(is_poisoned(write(&mut reader), &[]));
        let everything = reader.delta_since(&Frontier::default(), None, &crate::document::Subscription::default());
        assert!(is_poisoned(everything, &[]));
    }

    #[test]
    fn an_engine_that_panics_on_a_local_change_poisons_the_document_and_takes_the_records_back() {
        let mut writer = document(1, 1..2);
        write(&mut writer).unwrap();
        let version = writer.version.clone();
        assert!(is_poisoned(write(&mut writer), &[]));
        assert_eq!(writer.version, version);
        assert_eq!(writer.lattice.len(), 1);
        assert_eq!(writer.lattice.numbered(writer.replica, 1).count(), 0);
    }
}

/// What among stored deltas is `replica`'s own content: entries with its commits only, and what a snapshot sets apart
/// behind everything (see [`Document::everything`]).
fn own_updates(stored: &[Incoming], replica: ReplicaId) -> Vec<Bytes> {
    let contents = stored.iter().filter_map(|incoming| Some((incoming.source, incoming.delta.content.as_ref()?)));
    let own = contents.flat_map(|(position, content)| {
        let is_own = content.spans.iter().all(|span| span.writer == replica);
        let foreign = match position {
            0 => 1,
            _ if is_own => 0,
            _ => usize::MAX,
        };
        content.updates.iter().skip(foreign)
    });
    own.cloned().collect()
}
