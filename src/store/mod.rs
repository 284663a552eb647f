//! Stores: where documents survive. Layer 1: knows bytes, names and checksums, not what is in a document.
//!
//! The node emits [`StoreTask`]s and never calls a store itself. A task is done when its effect is durable.
//! `docs/storage.md` describes the file format and what a crash can lose.

#[cfg(feature = "tokio")]
mod asynchronous;
mod memory;

#[cfg(feature = "redb")]
mod batch;
#[cfg(feature = "redb")]
mod format;
#[cfg(feature = "redb")]
pub mod maintenance;
#[cfg(feature = "redb")]
mod overlay;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sealed")]
pub mod sealed;
#[cfg(feature = "redb")]
mod survey;
#[cfg(all(any(feature = "redb", feature = "tokio"), not(target_family = "wasm")))]
mod writer;

use bytes::Bytes;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncStore, Pending};
pub use memory::MemoryStore;
#[cfg(feature = "redb")]
pub use redb::{RedbConfig, RedbStore};
#[cfg(feature = "sealed")]
pub use sealed::{KeySource, SealedStore, StoreKey};
#[cfg(all(any(feature = "redb", feature = "tokio"), not(target_family = "wasm")))]
pub use writer::{StoreThread, WriterConfig};

use crate::{error::Fault, id::DocumentId};

/// Name of the note a repair leaves when anything was lost: the node must then draw a new identity, for its own
/// latest commits may be among what was lost, and a writer must never use a number twice.
pub const LOSS_NOTE: &str = "store/loss";

/// Name of the note in which a node keeps who it is.
pub const IDENTITY_NOTE: &str = "identity";

/// Name of the note with the 8 bytes that make a replica of a key.
pub const SALT_NOTE: &str = "identity/salt";

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
    /// Replace the log up to and including entry `upto` by a snapshot, in one step. Later entries keep their numbers.
    /// A snapshot older than the one kept changes nothing; `upto` beyond the log means the whole log.
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

impl StoreTask {
    /// The document concerned; `None` for `List`.
    pub const fn document(&self) -> Option<&DocumentId> {
        match self {
            Self::Load { document } | Self::Append { document, .. } | Self::Compact { document, .. } => Some(document),
            Self::List => None,
        }
    }

    /// True when it changes what is kept.
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Compact { .. })
    }

    /// Payload bytes, for bounds on what is queued.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Load { .. } | Self::List => 0,
            Self::Append { header, entries, .. } => header.len() + entries.iter().map(Bytes::len).sum::<usize>(),
            Self::Compact { snapshot, .. } => snapshot.len(),
        }
    }
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
    /// Bytes of its log as stored.
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

/// The outcomes of one commit: the caller's number of each task, and how it ended.
pub type Answers = Vec<(u64, Result<StoreDone, StoreError>)>;

/// Why a store failed. The failed task is not durable and must be submitted again or given up.
///
/// Nothing of it was kept, with one exception no store can rule out: when the very last flush of a commit fails, a
/// later reading may find that it took effect after all. Entries are idempotent, so submitting them again is harmless;
/// always continue from the number the store answers.
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
    /// The key of a sealed store cannot be read, is another one, or there is one where there should be none.
    #[error("cannot unseal the store: {reason}")]
    Key {
        /// What is wrong.
        reason: String,
    },
    /// A snapshot was given for a document that was never appended to.
    #[error("document `{document}` is not in the store")]
    Missing {
        /// The document.
        document: DocumentId,
    },
    /// The store has stopped.
    #[error("the store has been closed")]
    Closed,
}

impl StoreError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Missing { .. } | Self::Key { .. } => Fault::Caller,
            _ => Fault::Environment,
        }
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
