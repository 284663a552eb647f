//! A message encoded once for all its readers.

use bytes::Bytes;

use super::{
    compression::{deflate, inflate},
    error::SessionError,
    frame::{self, Kind},
    message::{Lane, Message},
};
use crate::limits;

/// A message ready for the wire. Clones share its bytes.
#[derive(Debug, Clone)]
pub struct Encoded {
    lane: Lane,
    frame: Bytes,
    compressed: bool,
}

impl Encoded {
    /// Encodes `message` for `lane`; compresses it when that gains.
    ///
    /// # Errors
    /// `TooLarge`, `Protocol` when the message breaks its own bounds.
    pub fn new(message: &Message, lane: Lane) -> Result<Self, SessionError> {
        message.check()?;
        let payload =
            postcard::to_allocvec(message).map_err(|error| SessionError::protocol(format!("not encoded: {error}")))?;
        let max = message_max(lane);
        if payload.len() > max {
            return Err(SessionError::TooLarge { what: "a message", size: payload.len(), max });
        }
        Ok(match deflate(&payload) {
            Some(deflated) => Self { lane, frame: frame::encode(Kind::Compressed, &deflated), compressed: true },
            None => Self { lane, frame: frame::encode(Kind::Message, &payload), compressed: false },
        })
    }

    /// The lane it was encoded for.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Bytes on the wire.
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// The frame for a peer that does, or does not, understand LZ4.
    pub(super) fn frame(&self, lz4: bool) -> Result<Bytes, SessionError> {
        if lz4 || !self.compressed {
            return Ok(self.frame.clone());
        }
        let (_, deflated) = frame::payload_of(&self.frame)?;
        Ok(frame::encode(Kind::Message, &inflate(deflated, message_max(self.lane))?))
    }
}

/// The largest message of a lane.
pub(super) fn message_max(lane: Lane) -> usize {
    if lane == Lane::Low { limits::BULK_BYTES } else { limits::MESSAGE_BYTES }
}
