//! The records of items and of claims. Layer 3, pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    coordination::{claim::ClaimSlot, kernel::Tier},
    id::ObjectId,
    limits,
    time::Hlc,
};

/// What the pusher of an item publishes, once. postcard in this order of fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The queue it is in.
    pub queue: ObjectId,
    /// Its priority: 0 comes first within its bucket.
    pub tier: Tier,
    /// When it should be done: wall milliseconds. Orders items of one tier; nothing else follows from it.
    pub deadline_ms: Option<u64>,
    /// When it was pushed. Never below what its pusher has promised with its low mark.
    pub stamp: Hlc,
    /// What is to be done, at most [`limits::PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// What one seat publishes about one item. postcard in this order of fields.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// Its part in the item's register.
    pub slot: ClaimSlot,
    /// Its advisory claim.
    pub intent: Option<Intent>,
    /// Why it gave the item back, the last time.
    pub failure: Option<Failure>,
}

/// An advisory claim. Of several, the lowest stamp wins, then the lowest replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Intent {
    /// When it was written.
    pub stamp: Hlc,
    /// Counts its renewals: it holds for a lease after each, by the clock of whoever sees it.
    pub renewal: u64,
    /// The item is done.
    pub done: bool,
}

/// A holder's reason for giving an item back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The holder's token.
    pub token: u64,
    /// A sentence, at most [`limits::FAILURE_BYTES`].
    pub reason: String,
}

/// Why a record says nothing: the writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It cannot be read.
    #[error("unreadable record: {0}")]
    Unreadable(String),
    /// Something is over its limit.
    #[error("{what} of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
}

impl ItemRecord {
    /// The bytes of its record.
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("every field has an encoding").into()
    }

    /// Reads and checks the bytes of a record.
    ///
    /// # Errors
    /// [`RecordError`]: the writer's fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let item: Self = decode(bytes)?;
        within("payload", item.payload.len(), limits::PAYLOAD_BYTES)?;
        Ok(item)
    }
}

impl ClaimRecord {
    /// The bytes of its record.
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("every field has an encoding").into()
    }

    /// Reads the bytes of a record; its slot is checked where the seats are known.
    ///
    /// # Errors
    /// [`RecordError`]: the writer's fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = decode(bytes)?;
        within("reason", record.failure.as_ref().map_or(0, |failure| failure.reason.len()), limits::FAILURE_BYTES)?;
        Ok(record)
    }
}

/// The bytes of a low mark's record.
pub(super) fn encode_mark(mark: Hlc) -> Bytes {
    postcard::to_stdvec(&mark).expect("a number has an encoding").into()
}

/// Reads a low mark.
pub(super) fn decode_mark(bytes: &[u8]) -> Result<Hlc, RecordError> {
    decode(bytes)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(RecordError::Unreadable(format!("{} bytes follow it", rest.len()))),
        Err(error) => Err(RecordError::Unreadable(error.to_string())),
    }
}

fn within(what: &'static str, size: usize, max: usize) -> Result<(), RecordError> {
    if size > max { Err(RecordError::TooLarge { what, size, max }) } else { Ok(()) }
}
