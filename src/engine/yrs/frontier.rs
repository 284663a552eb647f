//! What a replica has: the clock of every writer and a digest of what is deleted. Layer 1, pure.
//!
//! A state vector alone ignores deletions, so two replicas could compare equal and show different content.
//!
//! Encoding: the number of writers, then writer and clock of each by growing writer (all lib0 integers), then 16 bytes:
//! the start of the SHA-256 of the deleted ranges in the version 1 encoding by growing writer. Nothing at all: no
//! bytes. Equal content has equal bytes.

use std::{cmp::Ordering, collections::BTreeMap};

use ::yrs::{
    ClientID, IdSet, StateVector,
    encoding::write::Write,
    updates::encoder::{Encode, Encoder, EncoderV1},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::engine::{
    EngineError, EngineKind, Relation,
    inspect::yrs::lib0::{Flaw, Reader},
};

const DIGEST_BYTES: usize = 16;

/// The start of a digest of deletions.
pub(super) type DeletesDigest = [u8; DIGEST_BYTES];

/// Of somebody who does not say what it knows to be deleted: the digest of nothing there is.
pub(super) const UNKNOWN_DELETES: DeletesDigest = [0; DIGEST_BYTES];

/// Clocks by writer, and deletions by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frontier {
    pub(super) clocks: BTreeMap<u64, u64>,
    pub(super) deletes: DeletesDigest,
}

/// Digests deleted ranges.
pub(super) fn digest(deletes: &IdSet) -> DeletesDigest {
    let hash = Sha256::digest(deletes.encode_v1());
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&hash[..DIGEST_BYTES]);
    digest
}

/// Reads how many writers there are, and the clock of each, in the order they are written.
pub(super) fn writers(reader: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, Flaw> {
    let count = reader.count(2, "writers")?;
    let most = EngineKind::Yrs.most_writers();
    if count > most {
        return Err(Flaw(format!("{count} writers, limit {most}")));
    }
    (0..count).map(|_| reader.id("a writer's clock")).collect()
}

/// The bytes of a frontier; none of one that knows no writer.
pub(super) fn encode(clocks: &BTreeMap<u64, u64>, deletes: &DeletesDigest) -> Bytes {
    if clocks.is_empty() {
        return Bytes::new();
    }
    let mut encoder = EncoderV1::new();
    encoder.write_var(clocks.len() as u64);
    for (writer, clock) in clocks {
        encoder.write_var(*writer);
        encoder.write_var(*clock);
    }
    encoder.write_all(deletes);
    encoder.to_vec().into()
}

impl Frontier {
    /// Reads a peer's frontier.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        if bytes.is_empty() {
            return Ok(Self { clocks: BTreeMap::new(), deletes: digest(&IdSet::new()) });
        }
        Self::read(bytes).map_err(|flaw| EngineError::Corrupt { what: "frontier", reason: flaw.0 })
    }

    fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(bytes);
        let mut clocks = BTreeMap::new();
        for (writer, clock) in writers(&mut reader)? {
            if clock == 0 || clocks.last_key_value().is_some_and(|(last, _)| *last >= writer) {
                return Err(Flaw(format!("writer {writer} with clock {clock} is out of order or empty")));
            }
            clocks.insert(writer, clock);
        }
        let mut deletes = [0; DIGEST_BYTES];
        deletes.copy_from_slice(reader.take(DIGEST_BYTES, "the digest of deletions")?);
        reader.end("frontier")?;
        Ok(Self { clocks, deletes })
    }

    /// The clock known of a writer.
    pub(super) fn clock(&self, writer: u64) -> u64 {
        self.clocks.get(&writer).copied().unwrap_or(0)
    }

    /// How `peer` stands to this.
    ///
    /// Digests have no order. A side without deletions cannot have new ones; otherwise, where the digests differ, each
    /// side may hold deletions the other lacks, and the answer is `Diverged`.
    pub(super) fn relation(&self, peer: &Self) -> Relation {
        let none = digest(&IdSet::new());
        let same = self.deletes == peer.deletes;
        let peer_may_be_ahead = peer.exceeds(self) || (!same && peer.deletes != none);
        let peer_may_be_behind = self.exceeds(peer) || (!same && self.deletes != none);
        match (peer_may_be_behind, peer_may_be_ahead) {
            (false, false) => Relation::Equal,
            (true, false) => Relation::PeerBehind,
            (false, true) => Relation::PeerAhead,
            (true, true) => Relation::Diverged,
        }
    }

    fn exceeds(&self, other: &Self) -> bool {
        self.clocks.iter().any(|(writer, clock)| clock.cmp(&other.clock(*writer)) == Ordering::Greater)
    }

    /// As yrs wants it. Clocks fit: they are below [`crate::limits::CLOCK_MAX`].
    pub(super) fn state_vector(&self) -> StateVector {
        self.clocks.iter().map(|(writer, clock)| (ClientID::new(*writer), *clock as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(clocks: &[(u64, u64)], deletes: u8) -> Frontier {
        Frontier { clocks: clocks.iter().copied().collect(), deletes: [deletes; DIGEST_BYTES] }
    }

    fn encoded(frontier: &Frontier) -> Bytes {
        encode(&frontier.clocks, &frontier.deletes)
    }

    #[test]
    fn frontiers_survive_encoding() {
        let ours = frontier(&[(1, 5), (1 << 52, 7)], 9);
        assert_eq!(Frontier::decode(&encoded(&ours)).unwrap(), ours);
        assert!(encoded(&Frontier::decode(&[]).unwrap()).is_empty());
    }

    #[test]
    fn malformed_frontiers_are_refused() {
        let good = encoded(&frontier(&[(3, 5), (7, 1)], 9));
        for len in 1..good.len() {
            assert!(Frontier::decode(&good[..len]).is_err(), "prefix of {len}");
        }
        assert!(Frontier::decode(&[&good[..], &[0]].concat()).is_err());
        let digest = [0; DIGEST_BYTES];
        for head in [&[2, 7, 1, 3, 5][..], &[2, 3, 1, 3, 5], &[1, 0, 1], &[1, 3, 0], &[1, 3, 0x80, 0x80, 0x80, 0x80, 8]]
        {
            assert!(Frontier::decode(&[head, &digest].concat()).is_err(), "{head:?}");
        }
        assert!(Frontier::decode(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }

    #[test]
    fn relations_follow_clocks_and_deletions() {
        let none = Frontier::decode(&[]).unwrap();
        let (low, high) = (frontier(&[(1, 5)], 9), frontier(&[(1, 6)], 9));
        assert_eq!(low.relation(&low), Relation::Equal);
        assert_eq!(high.relation(&low), Relation::PeerBehind);
        assert_eq!(low.relation(&high), Relation::PeerAhead);
        assert_eq!(low.relation(&frontier(&[(2, 1)], 9)), Relation::Diverged);
        assert_eq!(low.relation(&frontier(&[(1, 5)], 8)), Relation::Diverged);
        assert_eq!(low.relation(&none), Relation::PeerBehind);
        assert_eq!(none.relation(&low), Relation::PeerAhead);
    }
}
