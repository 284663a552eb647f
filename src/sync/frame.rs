//! Frames: how messages lie in packets.
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
            _ => return Err(SessionError::protocol(format!("frame kind {byte} is unknown, the last known is 5"))),
        })
    }
}

/// The longest LEB128 length: five bytes hold 35 bits.
const LENGTH_BYTES: usize = 5;

pub(super) fn encode(kind: Kind, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + LENGTH_BYTES + payload.len());
    put_header(&mut frame, kind, payload.len());
    frame.put_slice(payload);
    frame.freeze()
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

/// Reads a LEB128 number of at most 35 bits off the front of `bytes`.
pub(super) fn take_varint(bytes: &mut Bytes) -> Result<usize, SessionError> {
    let mut value = 0_usize;
    for index in 0..LENGTH_BYTES {
        let Some(byte) = bytes.get(index).copied() else {
            return Err(SessionError::protocol("a length is cut short".to_owned()));
        };
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            let _ = bytes.split_to(index + 1);
            return Ok(value);
        }
    }
    Err(SessionError::protocol(format!("a length is longer than {LENGTH_BYTES} bytes")))
}

/// Takes the first frame off a packet; `None` at its end.
pub(super) fn take(packet: &mut Bytes) -> Result<Option<(Kind, Bytes)>, SessionError> {
    let Some(first) = packet.first().copied() else { return Ok(None) };
    let kind = Kind::from_byte(first)?;
    let _ = packet.split_to(1);
    let len = take_varint(packet)?;
    if len > packet.len() {
        let reason = format!("a frame of {len} bytes is declared, {} are left in its packet", packet.len());
        return Err(SessionError::protocol(reason));
    }
    Ok(Some((kind, packet.split_to(len))))
}

/// The payload of a frame that was encoded here.
pub(super) fn payload_of(frame: &Bytes) -> Result<(Kind, Bytes), SessionError> {
    let mut rest = frame.clone();
    take(&mut rest)?.ok_or_else(|| SessionError::protocol("an empty frame".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let mut packet = encode(Kind::Message, &vec![7; len]);
            let (kind, payload) = take(&mut packet).unwrap().unwrap();
            assert_eq!((kind, payload.len()), (Kind::Message, len));
            assert!(take(&mut packet).unwrap().is_none());
        }
    }

    #[test]
    fn a_declared_length_beyond_the_packet_is_refused() {
        let mut packet = Bytes::from_static(&[1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]);
        assert!(take(&mut packet).unwrap_err().to_string().contains("34359738367 bytes"));
        assert!(take(&mut Bytes::from_static(&[1, 0x80])).is_err());
        assert!(take(&mut Bytes::from_static(&[6, 0])).is_err());
    }
}
