//! LZ4 for messages that gain by it. Layer 3, pure. `docs/wire.md` has the measurement behind the threshold.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    error::SessionError,
    frame::{put_varint, take_varint},
};
use crate::limits;

/// Payloads below this many bytes are sent as they are: LZ4 gains a tenth at best on them.
pub(super) const THRESHOLD_BYTES: usize = 256;

/// Blocks up to this size cannot make a sum of length bytes overflow 32 bits.
const UNCHECKED_BYTES: usize = 8 * 1024 * 1024;
/// No encoder makes a run of 0xff this long: a length of `BULK_BYTES` takes a quarter of it, and as literals it would
/// have been compressed.
const LENGTH_RUN_BYTES: usize = 1024 * 1024;

/// The compressed form, when it saves more than a twentieth.
pub(super) fn deflate(payload: &[u8]) -> Option<Bytes> {
    if payload.len() < THRESHOLD_BYTES {
        return None;
    }
    let block = lz4_flex::block::compress(payload);
    let mut deflated = BytesMut::with_capacity(block.len() + 5);
    put_varint(&mut deflated, payload.len());
    deflated.put_slice(&block);
    (deflated.len() < payload.len() - payload.len() / 20).then(|| deflated.freeze())
}

/// The original. What it inflates to is bounded before anything is allocated.
pub(super) fn inflate(mut deflated: &[u8], bytes_max: usize) -> Result<Bytes, SessionError> {
    let size = take_varint(&mut deflated)?;
    let ratio_max = deflated.len().saturating_mul(limits::INFLATE_RATIO);
    let max = bytes_max.min(ratio_max);
    if size > max {
        return Err(SessionError::TooLarge { what: "an inflated message", size, max });
    }
    if deflated.len() > UNCHECKED_BYTES && has_length_run(deflated) {
        return Err(SessionError::protocol(format!("a compressed frame has a length over {LENGTH_RUN_BYTES} bytes")));
    }
    let mut inflated = vec![0; size];
    let written = lz4_flex::block::decompress_into(deflated, &mut inflated)
        .map_err(|error| SessionError::protocol(format!("a compressed frame is damaged: {error}")))?;
    if written != size {
        return Err(SessionError::protocol(format!("a compressed frame declares {size} bytes and holds {written}")));
    }
    Ok(inflated.into())
}

/// The decoder sums length bytes in a `usize`, which on 32-bit targets some 16 million of them overflow.
fn has_length_run(block: &[u8]) -> bool {
    let mut run = 0;
    block.iter().any(|byte| {
        run = if *byte == 0xff { run + 1 } else { 0 };
        run >= LENGTH_RUN_BYTES
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gains_is_compressed_and_comes_back() {
        let text = b"a swarm of agents ".repeat(100);
        let deflated = deflate(&text).unwrap();
        assert!(deflated.len() < text.len() / 4);
        assert_eq!(inflate(&deflated, 10_000).unwrap(), text);
        assert!(deflate(&text[..THRESHOLD_BYTES - 1]).is_none());
    }

    #[test]
    fn what_does_not_gain_a_twentieth_stays_as_it_is() {
        let mut dice = crate::time::Dice::new(1);
        let mut noise: Vec<u8> = (0..1_000).flat_map(|_| dice.bits().to_be_bytes()).collect();
        assert!(deflate(&noise).is_none());
        noise.extend_from_slice(&[0; 300]);
        assert!(deflate(&noise).is_none(), "300 of 8,300 bytes are less than a twentieth");
        noise.extend_from_slice(&[0; 300]);
        assert!(deflate(&noise).is_some());
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let deflated = deflate(&vec![0; 1_000_000]).unwrap();
        let error = inflate(&deflated, 500_000).unwrap_err();
        assert!(matches!(error, SessionError::TooLarge { size: 1_000_000, max: 500_000, .. }));
        let mut lie = BytesMut::new();
        put_varint(&mut lie, 400_000);
        lie.put_slice(&[0; 8]);
        assert!(matches!(inflate(&lie, 500_000), Err(SessionError::TooLarge { max: 2_040, .. })));
    }

    #[test]
    fn a_block_of_another_size_than_declared_is_refused() {
        let deflated = deflate(&[7; 1_000]).unwrap();
        for declared in [999, 1_001] {
            let mut lie = BytesMut::new();
            put_varint(&mut lie, declared);
            lie.put_slice(&deflated[2..]);
            assert!(inflate(&lie, 10_000).is_err(), "{declared} declared");
        }
    }

    #[test]
    fn a_length_that_would_overflow_32_bits_is_refused_unread() {
        let mut lie = BytesMut::new();
        put_varint(&mut lie, limits::BULK_BYTES);
        lie.put_u8(0xf0);
        lie.put_bytes(0xff, UNCHECKED_BYTES);
        let error = inflate(&lie, limits::BULK_BYTES).unwrap_err();
        assert!(error.to_string().contains("a length over"), "{error}");
    }
}
