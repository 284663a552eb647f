//! Frames: how messages lie in packets. Layer 3, pure.
//!
//! A packet is one or more frames back to back; a frame is a kind, the LEB128 length of its payload, and the payload.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::error::SessionError;

/// What a frame holds. The numbers are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 0,
    Message = 1,
    Compressed = 2,
    Chunk = 3,
    Ping = 4,
    Pong = 5,
    Proof = 6,
    Renew = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self, SessionError> {
        Ok(match byte {
            0 => Self::Hello,
            1 => Self::Message,
            2 => Self::Compressed,
            3 => Self::Chunk,
            4 => Self::Ping,
            5 => Self::Pong,
            6 => Self::Proof,
            7 => Self::Renew,
            _ => return Err(SessionError::protocol(format!("frame kind {byte} is unknown, the last known is 7"))),
        })
    }
}

/// The longest LEB128 length: 32 bits.
const LENGTH_BYTES: usize = 5;

/// Room for the longest header: a kind and a length.
pub(super) const HEADER_BYTES: usize = 1 + LENGTH_BYTES;

pub(super) fn encode(kind: Kind, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    put_header(&mut frame, kind, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

/// Puts a header before a payload that was written behind a gap of `HEADER_BYTES`, so that a large payload is not
/// copied for the sake of its header.
pub(super) fn encode_behind_gap(kind: Kind, mut gapped: Vec<u8>) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    put_header(&mut header, kind, gapped.len() - HEADER_BYTES);
    let start = HEADER_BYTES - header.len();
    gapped[start..HEADER_BYTES].copy_from_slice(&header);
    Bytes::from(gapped).slice(start..)
}

pub(super) fn put_header(into: &mut BytesMut, kind: Kind, len: usize) {
    into.put_u8(kind as u8);
    put_varint(into, len);
}

pub(super) fn put_varint(into: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        into.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.put_u8(value as u8);
}

/// Reads a LEB128 number of at most 32 bits off the front of `bytes`.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<usize, SessionError> {
    let mut value = 0_u64;
    for index in 0..LENGTH_BYTES {
        let Some((&byte, rest)) = bytes.split_first() else {
            return Err(SessionError::protocol("a length is cut short".to_owned()));
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return u32::try_from(value)
                .ok()
                .and_then(|value| usize::try_from(value).ok())
                .ok_or_else(|| SessionError::protocol(format!("a length of {value} is over the limit of 2^32 - 1")));
        }
    }
    Err(SessionError::protocol(format!("a length is longer than {LENGTH_BYTES} bytes")))
}

/// Reads a kind and a length off the front of `bytes`.
pub(super) fn take_header(bytes: &mut &[u8]) -> Result<(Kind, usize), SessionError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Err(SessionError::protocol("a frame is empty".to_owned()));
    };
    *bytes = rest;
    Ok((Kind::from_byte(first)?, take_varint(bytes)?))
}

/// Takes the first frame off a packet; `None` at its end.
pub(super) fn take(packet: &mut Bytes) -> Result<Option<(Kind, Bytes)>, SessionError> {
    if packet.is_empty() {
        return Ok(None);
    }
    let mut rest = &packet[..];
    let (kind, len) = take_header(&mut rest)?;
    if len > rest.len() {
        let reason = format!("a frame of {len} bytes is declared, {} are left in its packet", rest.len());
        return Err(SessionError::protocol(reason));
    }
    let header = packet.len() - rest.len();
    let _ = packet.split_to(header);
    Ok(Some((kind, packet.split_to(len))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let frame = encode(Kind::Message, &vec![7; len]);
            assert_eq!(encode_behind_gap(Kind::Message, [vec![0; HEADER_BYTES], vec![7; len]].concat()), frame);
            let mut packet = frame;
            let (kind, payload) = take(&mut packet).unwrap().unwrap();
            assert_eq!((kind, payload.len()), (Kind::Message, len));
            assert!(take(&mut packet).unwrap().is_none());
        }
    }

    #[test]
    fn a_declared_length_beyond_the_packet_is_refused() {
        let refusal = |packet: &'static [u8]| take(&mut Bytes::from_static(packet)).unwrap_err().to_string();
        assert!(refusal(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]).contains("4294967295 bytes is declared, 1 are left"));
        assert!(refusal(&[1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]).contains("over the limit of 2^32 - 1"));
        assert!(refusal(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0]).contains("longer than 5 bytes"));
        assert!(refusal(&[1, 0x80]).contains("cut short"));
        assert!(refusal(&[8, 0]).contains("kind 8 is unknown"));
    }
}
