//! Which key a replica id belongs to: the id is derived from the key, so it proves itself. Layer 1.

use sha2::{Digest as _, Sha256};

use super::key::PublicKey;
use crate::id::ReplicaId;

/// Keeps this hash from being one of anything else.
const DOMAIN: &[u8] = b"swm/rep/1\0";

/// The replica id of a key. The salt tells the incarnations of one agent apart: one whose log was lost must not write
/// under its old id again. The first 8 bytes of SHA-256, cut to 53 bits: finding another key for an id that is in use
/// takes 2^53 tries.
pub fn replica_of(key: &PublicKey, salt: u64) -> ReplicaId {
    let salted = Sha256::new().chain_update(DOMAIN).chain_update(key.as_bytes()).chain_update(salt.to_be_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&salted.finalize()[..8]);
    ReplicaId::from_bits(u64::from_be_bytes(first))
}
