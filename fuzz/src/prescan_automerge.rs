//! The prescan of automerge changes and documents. Mutations break the checksum, so each input runs once as it is and
//! once with its checksums mended: an attacker computes them too.

use aepoch::engine::EngineKind;
use sha2::{Digest as _, Sha256};

use crate::content;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Magic and checksum stand before what the checksum covers.
const COVERED_FROM: usize = 8;

/// Inspects `data` and its mended form: it must not panic, and must say the same each time.
pub fn fuzz_one(data: &[u8]) -> String {
    let raw = content::inspect_twice(EngineKind::Automerge, data);
    let mended = content::inspect_twice(EngineKind::Automerge, &mend(data));
    format!("{raw}; mended: {mended}")
}

/// What automerge writes for our operations: changes and whole documents.
pub fn seeds() -> Vec<Vec<u8>> {
    content::updates(EngineKind::Automerge)
}

/// `data` with the checksum of every chunk recomputed.
pub(crate) fn mend(data: &[u8]) -> Vec<u8> {
    let mut mended = data.to_vec();
    let mut at = 0;
    while let Some(end) = chunk_end(&mended, at) {
        let hash = Sha256::digest(&mended[at + COVERED_FROM..end]);
        mended[at + 4..at + COVERED_FROM].copy_from_slice(&hash[..4]);
        at = end;
    }
    mended
}

/// Where the chunk at `at` ends: magic, checksum, kind, LEB128 length, contents.
fn chunk_end(data: &[u8], at: usize) -> Option<usize> {
    let chunk = data.get(at..)?;
    if !chunk.starts_with(&MAGIC) {
        return None;
    }
    let mut length = 0usize;
    for (position, byte) in chunk.get(COVERED_FROM + 1..)?.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            let end = at + COVERED_FROM + 2 + position + length;
            return (end <= data.len()).then_some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mended_change_is_accepted_again() {
        for update in seeds() {
            let mut broken = update.clone();
            broken[4] ^= 1;
            assert!(content::inspect_twice(EngineKind::Automerge, &broken).starts_with("refused"));
            assert_eq!(mend(&broken), update);
        }
    }
}
