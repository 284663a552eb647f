//! LZ4 for frames that gain by it. `docs/wire.md` has the measurement behind the threshold.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    error::SessionError,
    frame::{put_varint, take_varint},
};
use crate::limits;

/// Payloads below this many bytes are sent as they are: LZ4 gains a few percent on them at best.
pub(super) const THRESHOLD_BYTES: usize = 512;

/// The compressed form, when it saves at least a twentieth.
pub(super) fn deflate(payload: &[u8]) -> Option<Bytes> {
    if payload.len() < THRESHOLD_BYTES {
        return None;
    }
    let block = lz4_flex::block::compress(payload);
    if block.len() + block.len() / 20 >= payload.len() {
        return None;
    }
    let mut deflated = BytesMut::with_capacity(block.len() + 5);
    put_varint(&mut deflated, payload.len());
    deflated.put_slice(&block);
    Some(deflated.freeze())
}

/// The original. What it inflates to is bounded before anything is allocated.
pub(super) fn inflate(mut deflated: Bytes, bytes_max: usize) -> Result<Bytes, SessionError> {
    let size = take_varint(&mut deflated)?;
    if size > bytes_max {
        return Err(SessionError::TooLarge { what: "an inflated message", size, max: bytes_max });
    }
    let ratio_max = deflated.len().saturating_mul(limits::INFLATE_RATIO);
    if size > ratio_max {
        return Err(SessionError::TooLarge { what: "an inflated message", size, max: ratio_max });
    }
    let inflated = lz4_flex::block::decompress(&deflated, size)
        .map_err(|error| SessionError::protocol(format!("a compressed frame is damaged: {error}")))?;
    if inflated.len() != size {
        let reason = format!("a compressed frame declares {size} bytes and holds {}", inflated.len());
        return Err(SessionError::protocol(reason));
    }
    Ok(inflated.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gains_is_compressed_and_comes_back() {
        let text = b"a swarm of agents ".repeat(100);
        let deflated = deflate(&text).unwrap();
        assert!(deflated.len() < text.len() / 4);
        assert_eq!(inflate(deflated, 10_000).unwrap(), text);
        assert!(deflate(&text[..THRESHOLD_BYTES - 1]).is_none());
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let deflated = deflate(&vec![0; 1_000_000]).unwrap();
        let error = inflate(deflated, 500_000).unwrap_err();
        assert!(matches!(error, SessionError::TooLarge { size: 1_000_000, max: 500_000, .. }));
        let mut lie = BytesMut::new();
        put_varint(&mut lie, 400_000);
        lie.put_slice(&[0; 8]);
        assert!(matches!(inflate(lie.freeze(), 500_000), Err(SessionError::TooLarge { max: 2_040, .. })));
    }
}
