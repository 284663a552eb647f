//! A store in memory: for tests, the simulator and agents that keep nothing. Layer 1; pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Store, StoreDone, StoreError, StoreTask, StoredDocument, StoredSummary};
use crate::id::DocumentId;

/// Keeps everything in memory and forgets it when dropped. A clone is an independent store with the same contents: what
/// a simulated disk holds at the moment of a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStore {
    documents: BTreeMap<DocumentId, Kept>,
    notes: BTreeMap<String, Bytes>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    header: Bytes,
    snapshot: Option<Bytes>,
    /// Number of the last entry no longer in `entries`.
    upto: u64,
    entries: Vec<Bytes>,
}

impl Kept {
    fn last(&self) -> u64 {
        self.upto + self.entries.len() as u64
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn load(&self, document: &DocumentId) -> Option<StoredDocument> {
        self.documents.get(document).map(|kept| StoredDocument {
            header: kept.header.clone(),
            snapshot: kept.snapshot.clone(),
            entries: kept.entries.clone(),
            last: kept.last(),
        })
    }

    fn append(&mut self, document: &DocumentId, header: &Bytes, entries: &[Bytes]) -> StoreDone {
        let kept = self
            .documents
            .entry(document.clone())
            .or_insert_with(|| Kept { header: header.clone(), ..Kept::default() });
        kept.entries.extend_from_slice(entries);
        StoreDone::Appended { last: kept.last() }
    }

    fn compact(&mut self, document: &DocumentId, upto: u64, snapshot: &Bytes) -> Result<StoreDone, StoreError> {
        let Some(kept) = self.documents.get_mut(document) else {
            return Err(StoreError::Missing { document: document.clone() });
        };
        let upto = upto.min(kept.last());
        if upto >= kept.upto {
            let covered = usize::try_from(upto - kept.upto).unwrap_or(usize::MAX);
            kept.entries.drain(..covered.min(kept.entries.len()));
            kept.upto = upto;
            kept.snapshot = Some(snapshot.clone());
        }
        Ok(StoreDone::Compacted)
    }

    fn list(&self) -> Vec<StoredSummary> {
        let summary = |(document, kept): (&DocumentId, &Kept)| StoredSummary {
            document: document.clone(),
            snapshot_bytes: kept.snapshot.as_ref().map_or(0, Bytes::len) as u64,
            entries: kept.entries.len() as u64,
            log_bytes: kept.entries.iter().map(Bytes::len).sum::<usize>() as u64,
        };
        self.documents.iter().map(summary).collect()
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            answers.push(match task {
                StoreTask::Load { document } => Ok(StoreDone::Loaded(self.load(document))),
                StoreTask::Append { document, header, entries } => Ok(self.append(document, header, entries)),
                StoreTask::Compact { document, upto, snapshot } => self.compact(document, *upto, snapshot),
                StoreTask::List => Ok(StoreDone::Listed(self.list())),
            });
        }
        answers
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.notes.get(name).cloned())
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        self.notes.insert(name.to_owned(), note);
        Ok(())
    }
}
