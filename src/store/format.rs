//! The rows of the store file: keys, bodies and checksums. Layer 1; pure. `docs/storage.md` shows them table by table.
//!
//! Every row carries the SHA-256 of its table, key and body, so a row that was altered, or that turns up under another
//! key, is told from a good one. Rows of the log and of snapshots say everything about themselves; the table of
//! documents is an index that can be rebuilt from them.

use ::redb::TableDefinition;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The format this build writes, and the newest it reads.
pub(super) const FORMAT: u64 = 1;

pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// `format` -> the format's number.
pub(super) const META: &str = "meta";
/// Document name -> [`Index`].
pub(super) const DOCUMENTS: &str = "documents";
/// Document name and number of the first entry -> [`Batch`].
pub(super) const LOG: &str = "log";
/// Document name and number of the piece -> [`Piece`].
pub(super) const SNAPSHOTS: &str = "snapshots";
/// Name -> the note.
pub(super) const NOTES: &str = "notes";

pub(super) const FORMAT_KEY: &[u8] = b"format";

/// A piece with its key, checksum and page header fits a 256 KiB page; redb rounds pages up to powers of two.
pub(super) const PIECE_BYTES: usize = 255 * 1024;
/// Entries of one commit share a row until it reaches this size; a larger entry has a row of its own.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;

const SUM_BYTES: usize = 32;

/// What the table of documents says of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) header: Bytes,
    /// Number of the last entry ever appended.
    pub(super) last: u64,
    /// Number of the last entry the snapshot replaced; the log starts after it.
    pub(super) upto: u64,
    pub(super) snapshot_bytes: Option<u64>,
    /// Rows in the log.
    pub(super) batches: u64,
    /// Their size, checksums included.
    pub(super) log_bytes: u64,
}

/// A row of the log: what one commit appended to one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) header: Bytes,
    pub(super) entries: Vec<Bytes>,
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) header: Bytes,
    pub(super) upto: u64,
    /// Pieces of the whole snapshot.
    pub(super) pieces: u64,
    pub(super) bytes: Bytes,
}

pub(super) const fn table(name: &'static str) -> Definition {
    TableDefinition::new(name)
}

/// The key of row `number` of a document. Names never contain a zero byte, so documents do not interleave.
pub(super) fn row_key(document: &str, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(document.len() + 9);
    key.extend_from_slice(document.as_bytes());
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Takes a key of [`row_key`] apart; `None` when it is not one.
pub(super) fn split_key(key: &[u8]) -> Option<(&[u8], u64)> {
    let (front, number) = key.split_last_chunk::<8>()?;
    let (zero, document) = front.split_last()?;
    (*zero == 0 && !document.contains(&0)).then(|| (document, u64::from_be_bytes(*number)))
}

/// Puts a checksum before a body.
pub(super) fn seal(table: &str, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(SUM_BYTES + body.len());
    row.extend_from_slice(&checksum(table, key, body));
    row.extend_from_slice(body);
    row
}

/// Encodes a body and puts its checksum before it.
pub(super) fn seal_value<T: Serialize>(table: &str, key: &[u8], value: &T) -> Result<Vec<u8>, postcard::Error> {
    Ok(seal(table, key, &postcard::to_stdvec(value)?))
}

/// The body of a row whose checksum holds.
pub(super) fn unseal<'r>(table: &str, key: &[u8], row: &'r [u8]) -> Option<&'r [u8]> {
    let (sum, body) = row.split_first_chunk::<SUM_BYTES>()?;
    (*sum == checksum(table, key, body)).then_some(body)
}

/// Decodes the body of a row whose checksum holds.
pub(super) fn unseal_value<T: for<'de> Deserialize<'de>>(table: &str, key: &[u8], row: &[u8]) -> Option<T> {
    postcard::from_bytes(unseal(table, key, row)?).ok()
}

fn checksum(table: &str, key: &[u8], body: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = Sha256::new();
    // Lengths first: without them, bytes could move between the table's name, the key and the body unnoticed.
    sum.update((table.len() as u64).to_le_bytes());
    sum.update((key.len() as u64).to_le_bytes());
    sum.update(table.as_bytes());
    sum.update(key);
    sum.update(body);
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_refused_under_another_key_or_table_or_with_one_bit_changed() {
        let row = seal(LOG, b"stage", b"body");
        assert_eq!(unseal(LOG, b"stage", &row), Some(&b"body"[..]));
        assert_eq!(unseal(LOG, b"stages", &row), None);
        assert_eq!(unseal(NOTES, b"stage", &row), None);
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(LOG, b"stage", &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn keys_sort_by_document_and_then_by_number() {
        let keys = [row_key("a", 1), row_key("a", 256), row_key("a-b", 0), row_key("a/b", 2)];
        assert!(keys.is_sorted());
        assert_eq!(split_key(&keys[1]), Some((&b"a"[..], 256)));
        assert_eq!(split_key(b"short"), None);
    }

    #[test]
    fn the_format_is_pinned() {
        // A change here changes what every existing store file means: raise FORMAT and say so in docs/storage.md.
        let batch = Batch { header: Bytes::from_static(b"yrs"), entries: vec![Bytes::from_static(b"one")] };
        let row = seal_value(LOG, &row_key("stage", 1), &batch).unwrap();
        let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f924a82420b8bdcd8182eac015f9b919382cef3adbf206952aa329bb78e28af50379727301036f6e65");
    }
}
