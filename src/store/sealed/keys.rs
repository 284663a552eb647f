//! The keys inside a sealed store, all of them from its master key. Layer 1; pure.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    cipher::{self, KEY_BYTES, Kind, Place, Secret},
    key::StoreKey,
    store::Entropy,
};
use crate::{id::DocumentId, store::StoreError};

/// Name of the note that holds the master key; a store is sealed when it is there.
pub(in crate::store) const MASTER_NOTE: &str = "sealed/master";

const MASTER: Place<'static> = Place { kind: Kind::Master, name: "", number: 0 };

/// What the master key gives.
pub(super) struct Keys {
    master: Secret,
    names: Secret,
    documents: Secret,
    notes: Secret,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Keys of a new store.
    ///
    /// # Errors
    /// `Write` when there is no randomness.
    pub(super) fn draw(entropy: &mut Entropy) -> Result<Self, StoreError> {
        Ok(Self::from_master(secret(entropy)?))
    }

    /// Opens the note with the master key; `None` when this is not the key that sealed it.
    pub(super) fn open(key: &StoreKey, note: &[u8]) -> Option<Self> {
        cipher::unseal_secret(key.secret(), MASTER, note).map(Self::from_master)
    }

    /// The note with the master key, for the holder of `key`.
    ///
    /// # Errors
    /// `Write` when there is no randomness.
    pub(super) fn seal_for(&self, key: &StoreKey, entropy: &mut Entropy) -> Result<Bytes, StoreError> {
        cipher::seal(key.secret(), entropy, MASTER, &self.master[..])
    }

    fn from_master(master: Secret) -> Self {
        let derived = |purpose: &[u8]| Zeroizing::new(code(&master, &[b"aepoch store key 1: ", purpose]));
        Self { names: derived(b"names"), documents: derived(b"documents"), notes: derived(b"notes"), master }
    }

    /// What a document is called on disk: 64 hexadecimal digits.
    pub(super) fn disk_name(&self, document: &DocumentId) -> Result<DocumentId, StoreError> {
        let name = hex(&code(&self.names, &[b"document ", document.as_str().as_bytes()]));
        DocumentId::new(&name).map_err(|error| StoreError::Key { reason: error.to_string() })
    }

    /// What a note is called on disk.
    pub(super) fn note_name(&self, note: &str) -> String {
        format!("sealed/note/{}", hex(&code(&self.names, &[b"note ", note.as_bytes()])))
    }

    /// The key that seals the keys of documents.
    pub(super) const fn documents(&self) -> &Secret {
        &self.documents
    }

    /// The key that seals notes.
    pub(super) const fn notes(&self) -> &Secret {
        &self.notes
    }
}

/// 32 bytes of randomness.
///
/// # Errors
/// `Write` when there is none.
pub(super) fn secret(entropy: &mut Entropy) -> Result<Secret, StoreError> {
    let mut secret = Secret::new([0; KEY_BYTES]);
    entropy(&mut secret[..])?;
    Ok(secret)
}

/// True for what [`Keys::disk_name`] can give.
pub(super) fn is_disk_name(document: &DocumentId) -> bool {
    let name = document.as_str().as_bytes();
    name.len() == 2 * KEY_BYTES && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// HMAC-SHA256 of the parts, one after the other.
fn code(key: &Secret, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let block: [u8; 64] = {
        let mut block = [0; 64];
        block[..KEY_BYTES].copy_from_slice(&key[..]);
        block
    };
    let block = Zeroizing::new(block);
    // HMAC fills a shorter key with zeros to one block of the hash (RFC 2104), so this is the key itself.
    let mut code = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        code.update(part);
    }
    code.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_hmac_sha256() {
        // RFC 4231, case 1, with its key of 20 bytes filled to 32, which HMAC does itself.
        let mut key = Secret::new([0; KEY_BYTES]);
        key[..20].fill(0x0b);
        assert_eq!(
            hex(&code(&key, &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn names_on_disk_tell_nothing_and_differ_between_stores() {
        let (one, other) = (Keys::from_master(Secret::new([1; 32])), Keys::from_master(Secret::new([2; 32])));
        let document = DocumentId::new("band/stage").unwrap();
        let name = one.disk_name(&document).unwrap();
        assert!(is_disk_name(&name) && !is_disk_name(&document));
        assert_ne!(name, other.disk_name(&document).unwrap());
        assert_ne!(one.note_name("identity"), other.note_name("identity"));
        assert_eq!(format!("{one:?}"), "Keys(..)");
    }
}
