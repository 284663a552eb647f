//! What the Yjs family's frames are made of (lib0): integers of seven bits a byte, lengths before bytes. Layer 3, pure.

use bytes::Bytes;

use super::{error::WireError, word::Awareness};
use crate::{
    engine::lib0::{self, Flaw, Reader},
    id::ReplicaId,
    limits,
};

impl From<Flaw> for WireError {
    fn from(flaw: Flaw) -> Self {
        Self::Malformed { reason: flaw.0 }
    }
}

/// Writes a frame.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// With room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// An unsigned integer.
    pub(super) fn var(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// A length and that many bytes; also a string.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut writer = self.var(bytes.len() as u64);
        writer.0.extend_from_slice(bytes);
        writer
    }

    /// The frame.
    pub(super) fn done(self) -> Bytes {
        self.0.into()
    }

    fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// The part of `frame` that `part` is: shares its memory, where it is large enough that holding on to the frame is worth it.
pub(super) fn shared(frame: &Bytes, part: &[u8]) -> Bytes {
    frame.slice_ref(part)
}

/// The states in an awareness update.
pub(super) fn read_awareness(update: &[u8]) -> Result<Vec<Awareness>, Flaw> {
    let mut reader = Reader::new(update);
    let count = reader.count(3, "awareness states")?;
    if count > limits::PRESENCE_ENTRIES {
        return Err(Flaw(format!("{count} awareness states, limit {}", limits::PRESENCE_ENTRIES)));
    }
    let mut states = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let client = reader.var("a client")?;
        if client > ReplicaId::MAX {
            return Err(Flaw(format!("client {client} is over {}", ReplicaId::MAX)));
        }
        let clock = reader.var("a clock")?;
        let state = reader.string("an awareness state")?;
        // One that is larger is refused as it is.
        if state.len() <= limits::PRESENCE_BYTES {
            lib0::json(state, "an awareness state")?;
        }
        let state = (state != "null").then(|| Bytes::copy_from_slice(state.as_bytes()));
        states.push(Awareness { client, clock, state });
    }
    reader.end("awareness update")?;
    Ok(states)
}

/// An awareness update with these states.
pub(super) fn write_awareness(states: &[Awareness]) -> Vec<u8> {
    let mut writer = Writer::default().var(states.len() as u64);
    for state in states {
        writer = writer.var(state.client).var(state.clock);
        writer = writer.bytes(state.state.as_deref().unwrap_or(b"null"));
    }
    writer.into_vec()
}
