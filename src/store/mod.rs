//! Stores: where documents survive. Layer 1: knows bytes, names and checksums, not what is in a document.
//!
//! The node emits [`StoreTask`]s and never calls a store itself. A task is done when its effect is durable.

use bytes::Bytes;

use crate::{error::Fault, id::DocumentId};

/// What a node asks of its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTask {
    /// Read everything kept of a document.
    Load {
        /// The document.
        document: DocumentId,
    },
    /// Keep entries at the end of a document's log. Creates the document.
    Append {
        /// The document.
        document: DocumentId,
        /// A short note of the document's fixed properties (its engine), kept from the first append on.
        header: Bytes,
        /// The entries, in order.
        entries: Vec<Bytes>,
    },
    /// Replace the log up to and including entry `upto` by a snapshot, in one step.
    Compact {
        /// The document.
        document: DocumentId,
        /// Number of the last entry the snapshot contains.
        upto: u64,
        /// The snapshot.
        snapshot: Bytes,
    },
    /// List the documents kept.
    List,
}

/// A document as read from a store; checksums hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredDocument {
    /// The note given with the first append.
    pub header: Bytes,
    /// The latest snapshot.
    pub snapshot: Option<Bytes>,
    /// Log entries after the snapshot, in order.
    pub entries: Vec<Bytes>,
    /// Number of the last entry ever appended; zero for none.
    pub last: u64,
}

/// What a store keeps of one document, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoredSummary {
    /// The document.
    pub document: DocumentId,
    /// Bytes of its snapshot.
    pub snapshot_bytes: u64,
    /// Entries in its log.
    pub entries: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
}

/// The answer to a [`StoreTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreDone {
    /// To `Load`; `None` when the store has nothing of it.
    Loaded(Option<StoredDocument>),
    /// To `Append`: durable; the number of the last entry.
    Appended {
        /// Number of the last entry.
        last: u64,
    },
    /// To `Compact`: durable.
    Compacted,
    /// To `List`.
    Listed(Vec<StoredSummary>),
}

/// Why a store failed. Nothing of the failed task was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened or created.
    #[error("cannot open the store {path}: {reason}")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The disk failed or is full.
    #[error("store write failed: {reason}")]
    Write {
        /// What the system said.
        reason: String,
    },
    /// Reading failed.
    #[error("store read failed: {reason}")]
    Read {
        /// What the system said.
        reason: String,
    },
    /// Stored bytes do not match their checksum.
    #[error("document `{document}` is damaged: {what}; {survives}")]
    Damaged {
        /// The document.
        document: DocumentId,
        /// Which part is damaged.
        what: String,
        /// What can still be read.
        survives: String,
    },
    /// The file was written by a later version.
    #[error("store format {found} is newer than {supported}, the newest this build reads")]
    Format {
        /// The format found.
        found: u64,
        /// The newest supported.
        supported: u64,
    },
    /// The store has stopped.
    #[error("the store has been closed")]
    Closed,
}

impl StoreError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        Fault::Environment
    }

    /// True when the same task may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Read { .. })
    }
}

/// A place where documents survive.
pub trait Store: Send {
    /// Carries out a batch: all its writes become durable together, in one commit, or none does; reads see the
    /// writes before them. Answers in the order of the tasks.
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>>;

    /// The note under `name` kept beside the documents (the node's identity, for one).
    ///
    /// # Errors
    /// `Read`.
    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// Keeps a note durably.
    ///
    /// # Errors
    /// `Write`; the previous note remains.
    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError>;
}
