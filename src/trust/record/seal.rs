//! What a record carries besides what it says, where its room is end to end. Layer 1.

use serde::{Deserialize, Serialize};

use super::{Preimage, RecordId};
use crate::{
    tier::Tier,
    time::Hlc,
    trust::{key::PrivateKey, policy::PolicyHash},
};

/// Why bytes are no seal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// They cannot be read.
    #[error("unreadable seal: {0}")]
    Unreadable(String),
    /// Bytes follow it.
    #[error("{0} bytes follow the seal")]
    Trailing(usize),
}

/// The signature of a record with those parts of its preimage that the record lacks. postcard in this order of fields:
/// 32 bytes, a varint, 32 bytes, a byte, 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The writer's record before.
    pub previous: RecordId,
    /// When it was sealed.
    pub hlc: Hlc,
    /// The policy its writer had in force.
    pub policy: PolicyHash,
    /// The tier its writer acts at.
    pub tier: Tier,
    /// Ed25519 over the preimage.
    pub signature: [u8; 64],
}

/// Halves: serde has no arrays of 64.
#[derive(Serialize, Deserialize)]
struct Wire {
    previous: [u8; 32],
    hlc: Hlc,
    policy: [u8; 32],
    tier: Tier,
    signature: ([u8; 32], [u8; 32]),
}

impl Seal {
    /// Signs a preimage.
    pub fn sign(preimage: &Preimage, key: &PrivateKey) -> Self {
        let Preimage { previous, hlc, policy, tier, .. } = *preimage;
        Self { previous, hlc, policy, tier, signature: key.sign(&preimage.encode()) }
    }

    /// Its bytes: at most [`limits::SEAL_BYTES`](crate::limits::SEAL_BYTES).
    pub fn encode(&self) -> Vec<u8> {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        first.copy_from_slice(&self.signature[..32]);
        second.copy_from_slice(&self.signature[32..]);
        let wire = Wire {
            previous: *self.previous.as_bytes(),
            hlc: self.hlc,
            policy: *self.policy.as_bytes(),
            tier: self.tier,
            signature: (first, second),
        };
        postcard::to_stdvec(&wire).expect("every field has an encoding")
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`SealError`]; retrying does not help.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let (wire, rest): (Wire, _) =
            postcard::take_from_bytes(bytes).map_err(|error| SealError::Unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(SealError::Trailing(rest.len()));
        }
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&wire.signature.0);
        signature[32..].copy_from_slice(&wire.signature.1);
        Ok(Self {
            previous: RecordId::from_bytes(wire.previous),
            hlc: wire.hlc,
            policy: PolicyHash::from_bytes(wire.policy),
            tier: wire.tier,
            signature,
        })
    }
}
