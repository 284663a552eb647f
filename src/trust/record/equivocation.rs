//! Proof that a writer used one number twice: for whoever was not there. Layer 1.

use super::{Preimage, Seal};

/// A record's preimage with its signature: what it says is behind a hash, that it was signed is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// What was signed.
    pub preimage: Preimage,
    /// By [`Preimage::key`].
    pub signature: [u8; 64],
}

impl SignedRecord {
    /// Of a record's preimage and its seal.
    pub fn new(preimage: Preimage, seal: &Seal) -> Self {
        Self { preimage, signature: seal.signature }
    }

    fn is_signed(&self) -> bool {
        self.preimage.key.verify(&self.preimage.encode(), &self.signature)
    }
}

/// Why two records prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// They are one record, however often it was signed.
    #[error("both are one record")]
    Same,
    /// Not one number of one writer in one room.
    #[error("they are not one number of one writer in one room")]
    Apart,
    /// One of them is not signed by the key it names.
    #[error("a signature is not that of the writer's key")]
    Signature,
}

/// Two records with one number: their writer is broken or dishonest. The first, with the lower id, is the value
/// everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EquivocationProof {
    first: SignedRecord,
    second: SignedRecord,
}

impl EquivocationProof {
    /// Checks that two records contradict each other. The order given does not matter.
    ///
    /// # Errors
    /// [`ProofError`] says why they do not.
    pub fn new(one: SignedRecord, other: SignedRecord) -> Result<Self, ProofError> {
        let numbered = |record: &SignedRecord| {
            let Preimage { swarm, room, key, incarnation, seq, kind, .. } = record.preimage;
            (swarm, room, key, incarnation, seq, kind.is_coordination())
        };
        if numbered(&one) != numbered(&other) {
            return Err(ProofError::Apart);
        }
        let (first, second) = if one.preimage.id() <= other.preimage.id() { (one, other) } else { (other, one) };
        if first.preimage == second.preimage {
            return Err(ProofError::Same);
        }
        if !first.is_signed() || !second.is_signed() {
            return Err(ProofError::Signature);
        }
        Ok(Self { first, second })
    }

    /// The record that counts.
    pub fn first(&self) -> &SignedRecord {
        &self.first
    }

    /// The other one.
    pub fn second(&self) -> &SignedRecord {
        &self.second
    }
}
