//! Messages in pieces, on their way in. Layer 3, pure.
//!
//! One message per lane is under way at most. Its first piece declares its length, which is checked at once; memory
//! grows with what really arrives, never beyond what was declared.

use bytes::Bytes;

use super::{
    encoded::{decode, message_max},
    error::SessionError,
    frame::{self, Kind},
    message::{Lane, Message},
};
use crate::time::Monotonic;

/// Set in a chunk's first byte when it is the last of its message; the bits below name the lane.
pub(super) const LAST: u8 = 0x80;

#[derive(Debug)]
struct Partial {
    kind: Kind,
    payload: Vec<u8>,
    declared: usize,
    progressed: Monotonic,
}

/// The messages under way, one per lane.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    lanes: [Option<Partial>; Lane::ALL.len()],
}

impl Reassembly {
    /// Takes the payload of a chunk frame; gives the message of which it was the last piece.
    pub(super) fn chunk(&mut self, chunk: &[u8], lz4: bool, now: Monotonic) -> Result<Option<Message>, SessionError> {
        let Some((flags, piece)) = chunk.split_first() else {
            return Err(SessionError::protocol("a chunk names no lane".to_owned()));
        };
        if piece.is_empty() {
            return Err(SessionError::protocol("a chunk is empty".to_owned()));
        }
        let number = usize::from(flags & !LAST);
        let (Some(lane), Some(under_way)) = (Lane::ALL.get(number), self.lanes.get_mut(number)) else {
            return Err(SessionError::protocol(format!("a chunk is of lane {number}, the last is 3")));
        };
        let bytes_max = message_max(*lane);
        let mut partial = match under_way.take() {
            Some(partial) => partial.append(piece, now)?,
            None => Partial::begin(piece, bytes_max, now)?,
        };
        match (partial.payload.len() == partial.declared, flags & LAST != 0) {
            (true, true) => {
                let payload = Bytes::from(std::mem::take(&mut partial.payload));
                decode(partial.kind, &payload, lz4, bytes_max).map(Some)
            }
            (false, false) => {
                *under_way = Some(partial);
                Ok(None)
            }
            (_, last) => {
                let (have, declared) = (partial.payload.len(), partial.declared);
                let mark = if last { "marked" } else { "not marked" };
                Err(SessionError::protocol(format!(
                    "{have} of {declared} bytes have come and the chunk is {mark} last"
                )))
            }
        }
    }

    /// When the message that has stood still the longest last moved.
    pub(super) fn stalled_since(&self) -> Option<Monotonic> {
        self.lanes.iter().flatten().map(|partial| partial.progressed).min()
    }
}

impl Partial {
    fn begin(mut piece: &[u8], bytes_max: usize, now: Monotonic) -> Result<Self, SessionError> {
        let (kind, declared) = frame::take_header(&mut piece)?;
        if !matches!(kind, Kind::Message | Kind::Compressed) {
            return Err(SessionError::protocol(format!("a frame of kind {kind:?} came in chunks")));
        }
        // A compressed payload is smaller than its message, or it would have gone as it was.
        if declared > bytes_max {
            return Err(SessionError::TooLarge { what: "a message in chunks", size: declared, max: bytes_max });
        }
        Self { kind, payload: Vec::new(), declared, progressed: now }.append(piece, now)
    }

    fn append(mut self, piece: &[u8], now: Monotonic) -> Result<Self, SessionError> {
        let needed = self.payload.len() + piece.len();
        if needed > self.declared {
            let declared = self.declared;
            return Err(SessionError::protocol(format!("{needed} bytes have come of a message of {declared}")));
        }
        if needed > self.payload.capacity() {
            // Doubling, as a vector does by itself, but never past the end of the message.
            let capacity = needed.saturating_mul(2).min(self.declared);
            self.payload.reserve_exact(capacity - self.payload.len());
        }
        self.payload.extend_from_slice(piece);
        self.progressed = now;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::DocumentId, limits};

    const NOW: Monotonic = Monotonic(0);

    #[test]
    fn memory_grows_with_what_arrives_not_with_what_is_declared() {
        let mut reassembly = Reassembly::default();
        let mut chunk = vec![Lane::Low as u8, Kind::Message as u8];
        chunk.extend_from_slice(&[0xff, 0xff, 0xff, 0x1f]);
        chunk.extend_from_slice(&[0; 1_000]);
        assert_eq!(reassembly.chunk(&chunk, true, NOW), Ok(None));
        let held = || reassembly.lanes[Lane::Low as usize].as_ref().map(|partial| partial.payload.capacity());
        assert!(held().unwrap() <= 2_000, "{:?} bytes held for 1000 that came", held());
    }

    #[test]
    fn a_declared_length_over_the_lane_is_refused_with_the_first_piece() {
        let chunk = [Lane::High as u8, Kind::Message as u8, 0x81, 0x80, 0x80, 0x04, 0];
        let error = Reassembly::default().chunk(&chunk, true, NOW).unwrap_err();
        let expected = SessionError::TooLarge {
            what: "a message in chunks",
            size: 8 * 1024 * 1024 + 1,
            max: limits::MESSAGE_BYTES,
        };
        assert_eq!(error, expected);
    }

    #[test]
    fn pieces_that_do_not_make_up_one_message_are_refused() {
        let refusal = |chunks: &[&[u8]]| {
            let mut reassembly = Reassembly::default();
            let refused = chunks.iter().find_map(|chunk| reassembly.chunk(chunk, true, NOW).err());
            refused.expect("one of them is refused").to_string()
        };
        assert!(refusal(&[&[]]).contains("names no lane"));
        assert!(refusal(&[&[0]]).contains("a chunk is empty"));
        assert!(refusal(&[&[4, 1, 1, 0]]).contains("of lane 4"));
        assert!(refusal(&[&[0, 3, 9, 0]]).contains("kind Chunk came in chunks"));
        assert!(refusal(&[&[0x80, 1, 9, 0]]).contains("1 of 9 bytes have come and the chunk is marked last"));
        assert!(refusal(&[&[0, 1, 2, 0, 0]]).contains("2 of 2 bytes have come and the chunk is not marked last"));
        assert!(refusal(&[&[0, 1, 3, 0], &[0x80, 0, 0, 0]]).contains("4 bytes have come of a message of 3"));
        assert!(refusal(&[&[0, 1, 0xff]]).contains("cut short"));
    }

    #[test]
    fn lanes_do_not_disturb_each_other() {
        let message = |name| Message::Leave { document: DocumentId::new(name).unwrap() };
        let frame = |name| crate::sync::Encoded::new(&message(name), Lane::High).unwrap().frame(false);
        let (one, two) = (frame("one"), frame("two"));
        let mut reassembly = Reassembly::default();
        let mut give = |lane: u8, piece: &[u8]| reassembly.chunk(&[&[lane], piece].concat(), true, NOW).unwrap();
        assert_eq!(give(0, &one[..4]), None);
        assert_eq!(give(3, &two[..3]), None);
        assert_eq!(give(0x80, &one[4..]), Some(message("one")));
        assert_eq!(give(0x83, &two[3..]), Some(message("two")));
    }
}
