//! A message encoded once for all its readers, and read back. Layer 3, pure.

use bytes::Bytes;

use super::{
    compression::{deflate, inflate},
    error::{MessageError, SessionError},
    frame::{self, HEADER_BYTES, Kind},
    message::{Lane, Message},
};
use crate::limits;

/// A message ready for the wire. Clones share its bytes.
///
/// Both forms are kept, the compressed one beside the plain one, so that a reader without LZ4 costs no more than one
/// with it. A session drops the form it does not need as soon as it knows its peer.
#[derive(Debug, Clone)]
pub struct Encoded {
    lane: Lane,
    plain: Bytes,
    compressed: Option<Bytes>,
}

impl Encoded {
    /// Encodes `message` for `lane`; compresses it when that gains.
    ///
    /// # Errors
    /// [`MessageError`]: the message, or a part of it, is over its limit. Retrying does not help.
    pub fn new(message: &Message, lane: Lane) -> Result<Self, MessageError> {
        message.check()?;
        let mut gapped = Vec::with_capacity(HEADER_BYTES + message.size_hint());
        gapped.resize(HEADER_BYTES, 0);
        let gapped = postcard::to_extend(message, gapped)
            .map_err(|error| MessageError::Malformed { reason: format!("cannot be written: {error}") })?;
        let payload = &gapped[HEADER_BYTES..];
        let max = message_max(lane);
        if payload.len() > max {
            return Err(MessageError::TooLarge { what: "a message", size: payload.len(), max });
        }
        let compressed = deflate(payload).map(|deflated| frame::encode(Kind::Compressed, &deflated));
        Ok(Self { lane, plain: frame::encode_behind_gap(Kind::Message, gapped), compressed })
    }

    /// The lane it was encoded for.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Bytes on the wire, chunk headers aside, to a peer that understands LZ4. Sessions count in this measure whatever
    /// their peer understands; see [`Session::take_drained`](super::Session::take_drained).
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.compressed.as_ref().unwrap_or(&self.plain).len()
    }

    /// The frame for a peer that does, or does not, understand LZ4.
    pub(super) fn frame(self, lz4: bool) -> Bytes {
        match self.compressed {
            Some(compressed) if lz4 => compressed,
            _ => self.plain,
        }
    }
}

/// The largest message of a lane.
pub(super) fn message_max(lane: Lane) -> usize {
    if lane == Lane::Low { limits::BULK_BYTES } else { limits::MESSAGE_BYTES }
}

/// The message in a whole frame, or in one that came in chunks, from a peer with which LZ4 was agreed or not.
pub(super) fn decode(kind: Kind, payload: &Bytes, lz4: bool, bytes_max: usize) -> Result<Message, SessionError> {
    let message = match kind {
        Kind::Compressed if lz4 => Message::decode(&inflate(payload, bytes_max)?),
        Kind::Compressed => return Err(SessionError::protocol("a compressed frame, without LZ4 agreed".to_owned())),
        _ => Message::decode(payload),
    };
    Ok(message?)
}
