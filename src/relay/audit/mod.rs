//! The relay's audit log: a folder of segments that only grows. Layer 6.
//!
//! Whoever has something to record hands it over and goes on; a thread numbers, binds, signs and writes what waits and
//! flushes it together. While that fails, [`AuditLog::is_failing`], and the relay takes in no coordination: what cannot
//! be recorded must not happen. What waited is recorded once the disk is well again.
//!
//! - `folder`: segments as files, and what a crash may have left of the last one;
//! - `key`: what checkpoints are signed with;
//! - `writer`: the thread;
//! - `events`: what of a node's events is recorded;
//! - `read`: verifying and reading a log that a relay may be writing.

mod events;
mod folder;
mod key;
pub mod read;
mod writer;

use std::{io, path::PathBuf};

pub(super) use events::Recorder;
pub(super) use writer::Watcher;
pub use writer::{AuditLog, Ticket};

use crate::{audit::verify::Finding, error::Fault};

/// Where an audit log is kept.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    folder: PathBuf,
    key: PathBuf,
}

impl AuditConfig {
    /// In this folder, made when there is none. Checkpoints are signed with the key in the file of the same name with
    /// `.key` behind it, made when there is none: beside the folder, so that a copy of the log does not hold the key.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let mut key = folder.clone().into_os_string();
        key.push(".key");
        Self { folder, key: key.into() }
    }

    /// Signs with the key in this file instead.
    #[must_use]
    pub fn key(mut self, file: impl Into<PathBuf>) -> Self {
        self.key = file.into();
        self
    }
}

/// Why an audit log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file of it cannot be used.
    #[error("audit log: {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The key cannot be used. What was read is not said.
    #[error("audit log: the key file {path}: {reason}")]
    Key {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Another process writes it.
    #[error("audit log: {path} is in use by another process")]
    InUse {
        /// The folder.
        path: String,
    },
    /// It is not as it was written. Put the folder away and begin a new one.
    #[error("audit log: {0}; see `aepoch audit verify`")]
    Damaged(#[from] Finding),
    /// It cannot be written just now; it is tried again.
    #[error("the audit log cannot be written: {reason}")]
    Failing {
        /// What the system said.
        reason: String,
    },
    /// So much waits to be written that nothing more is taken.
    #[error("{waiting} audit events wait to be written, limit {max}", max = crate::limits::AUDIT_QUEUE_EVENTS)]
    Full {
        /// Events.
        waiting: usize,
    },
}

impl AuditError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Key { .. } | Self::InUse { .. } => Fault::Caller,
            _ => Fault::Environment,
        }
    }

    /// True when the same may work later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::InUse { .. } | Self::Failing { .. } | Self::Full { .. })
    }

    fn io(path: &std::path::Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}
