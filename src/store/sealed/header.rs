//! What a sealed document begins with: its key, and under it its name and its header. Layer 1; pure.

use std::fmt;

use bytes::Bytes;

use super::{
    cipher::{self, KEY_BYTES, Kind, OVERHEAD_BYTES, Place, Secret},
    keys::{Keys, secret},
    store::Entropy,
};
use crate::{
    id::DocumentId,
    store::{StoreError, StoredDocument},
};

/// Bytes of the document's key, sealed.
const SEALED_KEY_BYTES: usize = KEY_BYTES + OVERHEAD_BYTES;

/// A document whose key is open.
pub(super) struct Opened {
    /// Its name on disk.
    pub(super) disk: DocumentId,
    /// Its name.
    pub(super) name: DocumentId,
    /// The header as the caller gave it.
    pub(super) header: Bytes,
    key: Secret,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Opened {
    /// A new document, with a key of its own; and the header its store is to keep.
    ///
    /// # Errors
    /// `Write` when there is no randomness.
    pub(super) fn create(
        keys: &Keys,
        entropy: &mut Entropy,
        disk: DocumentId,
        name: &DocumentId,
        header: &Bytes,
    ) -> Result<(Self, Bytes), StoreError> {
        let opened = Self { disk, name: name.clone(), header: header.clone(), key: secret(entropy)? };
        let mut sealed = Vec::new();
        sealed.extend(cipher::seal(keys.documents(), entropy, opened.place(Kind::DocumentKey, 0), &opened.key[..])?);
        // Names hold no zero byte.
        let plain = [name.as_str().as_bytes(), b"\0", header].concat();
        sealed.extend(opened.seal(entropy, Kind::Header, 0, &plain)?);
        Ok((opened, sealed.into()))
    }

    /// Opens the header kept under the name `disk`; `None` when it was altered, or is of another document or store.
    pub(super) fn open(keys: &Keys, disk: &DocumentId, sealed: &[u8]) -> Option<Self> {
        let (sealed_key, sealed_header) = sealed.split_at_checked(SEALED_KEY_BYTES)?;
        let place = |kind| Place { kind, name: disk.as_str(), number: 0 };
        let key = cipher::unseal_secret(keys.documents(), place(Kind::DocumentKey), sealed_key)?;
        let plain = cipher::unseal(&key, place(Kind::Header), sealed_header)?;
        let end = plain.iter().position(|byte| *byte == 0)?;
        let name = DocumentId::new(std::str::from_utf8(&plain[..end]).ok()?).ok()?;
        let header = Bytes::from(plain).slice(end + 1..);
        Some(Self { disk: disk.clone(), name, header, key })
    }

    /// Seals a part of this document.
    ///
    /// # Errors
    /// `Write` when there is no randomness.
    pub(super) fn seal(
        &self,
        entropy: &mut Entropy,
        kind: Kind,
        number: u64,
        plain: &[u8],
    ) -> Result<Bytes, StoreError> {
        cipher::seal(&self.key, entropy, self.place(kind, number), plain)
    }

    /// Opens everything read of this document, or says which part does not open.
    pub(super) fn unseal(&self, stored: &StoredDocument) -> Result<StoredDocument, String> {
        let upto = stored.last.saturating_sub(stored.entries.len() as u64);
        if upto > 0 && stored.snapshot.is_none() {
            return Err(format!("its log begins at entry {} and nothing holds the entries before", upto + 1));
        }
        let open = |kind, number, sealed: &[u8]| cipher::unseal(&self.key, self.place(kind, number), sealed);
        let snapshot = match &stored.snapshot {
            Some(sealed) => {
                let plain = open(Kind::Snapshot, upto, sealed);
                Some(plain.ok_or_else(|| format!("its snapshot up to entry {upto} does not open: {FOREIGN}"))?.into())
            }
            None => None,
        };
        let mut entries = Vec::with_capacity(stored.entries.len());
        for (number, sealed) in (upto + 1..).zip(&stored.entries) {
            let plain = open(Kind::Entry, number, sealed);
            entries.push(plain.ok_or_else(|| format!("entry {number} does not open: {FOREIGN}"))?.into());
        }
        Ok(StoredDocument { header: self.header.clone(), snapshot, entries, last: stored.last })
    }

    fn place(&self, kind: Kind, number: u64) -> Place<'_> {
        Place { kind, name: self.disk.as_str(), number }
    }
}

/// Why a piece does not open; the cipher cannot tell these apart.
pub(super) const FOREIGN: &str = "it was altered, or belongs elsewhere";
