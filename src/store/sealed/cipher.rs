//! One sealed piece: what it is bound to, and how it is closed and opened. Layer 1; pure.

use bytes::Bytes;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

use super::store::Entropy;
use crate::store::StoreError;

pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 24;
/// What sealing adds: the nonce before and the tag behind.
pub(super) const OVERHEAD_BYTES: usize = NONCE_BYTES + 16;

/// First in everything a piece is bound to: no piece of another program, or of a later format, opens here.
const DOMAIN: &[u8] = b"aepoch store seal 1";

/// Which key of a document sealed a piece. Keys of documents are not replaced in this format, so it is always the
/// first; a format that replaces them must not open its pieces here.
const KEY_EPOCH: u64 = 1;

/// 32 secret bytes, wiped when dropped.
pub(super) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The store's master key, under the caller's key.
    Master = 1,
    /// A document's key, under the store's.
    DocumentKey = 2,
    /// A document's name and header, under its key as all below but notes.
    Header = 3,
    /// An entry of its log.
    Entry = 4,
    /// Its snapshot.
    Snapshot = 5,
    /// A note beside the documents.
    Note = 6,
}

/// Where a piece belongs: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) kind: Kind,
    /// The document's or the note's name on disk; empty for the master key.
    pub(super) name: &'p str,
    /// Of an entry, its own; of a snapshot, that of the last entry it contains; otherwise zero.
    pub(super) number: u64,
}

impl Place<'_> {
    /// Everything but the name, which comes last, is of fixed length: no two places give the same bytes.
    fn bound(&self) -> Vec<u8> {
        let mut bound = Vec::with_capacity(DOMAIN.len() + 17 + self.name.len());
        bound.extend_from_slice(DOMAIN);
        bound.push(self.kind as u8);
        bound.extend_from_slice(&KEY_EPOCH.to_le_bytes());
        bound.extend_from_slice(&self.number.to_le_bytes());
        bound.extend_from_slice(self.name.as_bytes());
        bound
    }
}

/// Seals `plain` for its place: nonce, then ciphertext with its tag.
///
/// # Errors
/// `Write` when there is no randomness.
pub(super) fn seal(key: &Secret, entropy: &mut Entropy, place: Place<'_>, plain: &[u8]) -> Result<Bytes, StoreError> {
    let mut nonce = [0; NONCE_BYTES];
    entropy(&mut nonce)?;
    let payload = Payload { msg: plain, aad: &place.bound() };
    let body = XChaCha20Poly1305::new((&**key).into()).encrypt(&XNonce::from(nonce), payload);
    // It fails only beyond 256 GiB, far above what any store is given.
    let body = body.map_err(|_| StoreError::Write { reason: format!("{} bytes are too many to seal", plain.len()) })?;
    let mut sealed = Vec::with_capacity(NONCE_BYTES + body.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&body);
    Ok(sealed.into())
}

/// Opens a piece; `None` when it was altered, belongs elsewhere or to another key.
pub(super) fn unseal(key: &Secret, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload { msg: body, aad: &place.bound() };
    XChaCha20Poly1305::new((&**key).into()).decrypt(&XNonce::from(*nonce), payload).ok()
}

/// As [`unseal`], for 32 secret bytes.
pub(super) fn unseal_secret(key: &Secret, place: Place<'_>, sealed: &[u8]) -> Option<Secret> {
    let plain = Zeroizing::new(unseal(key, place, sealed)?);
    Some(Zeroizing::new(plain.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> Entropy {
        let mut next = 0;
        Box::new(move |out| {
            for byte in out {
                *byte = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        })
    }

    const PLACE: Place<'static> = Place { kind: Kind::Entry, name: "stage", number: 7 };

    #[test]
    fn a_piece_opens_only_in_its_place_and_whole() {
        let key = Secret::new([1; KEY_BYTES]);
        let sealed = seal(&key, &mut counting(), PLACE, b"take five").unwrap();
        assert_eq!(unseal(&key, PLACE, &sealed).as_deref(), Some(&b"take five"[..]));
        for place in [
            Place { kind: Kind::Snapshot, ..PLACE },
            Place { name: "stages", ..PLACE },
            Place { name: "", ..PLACE },
            Place { number: 8, ..PLACE },
        ] {
            assert_eq!(unseal(&key, place, &sealed), None, "{place:?}");
        }
        assert_eq!(unseal(&Secret::new([2; KEY_BYTES]), PLACE, &sealed), None);
        for length in 0..sealed.len() {
            assert_eq!(unseal(&key, PLACE, &sealed[..length]), None, "{length} bytes");
        }
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&key, PLACE, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn the_format_is_pinned() {
        // A change here changes what every sealed store means: raise the number in DOMAIN and say so in
        // docs/storage.md.
        let sealed = seal(&Secret::new([1; KEY_BYTES]), &mut counting(), PLACE, b"take five").unwrap();
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "000102030405060708090a0b0c0d0e0f10111213141516170cb1b0e0bdf7befe866817324337cd41cf08d0732d8c7896e1"
        );
    }

    #[test]
    fn without_randomness_nothing_is_sealed() {
        let mut broken: Entropy = Box::new(|_| Err(StoreError::Write { reason: "no randomness".to_owned() }));
        assert!(seal(&Secret::new([1; KEY_BYTES]), &mut broken, PLACE, b"take five").is_err());
    }
}
