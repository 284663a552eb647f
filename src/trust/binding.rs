//! Which key a writer's number stands for. Layer 1.

use sha2::{Digest as _, Sha256};

use super::key::PublicKey;
use crate::id::ReplicaId;

/// Keeps the hash from being one of anything else.
const DOMAIN: &[u8] = b"swm/rep/1\0";

/// The number under which the holder of `key` writes: whoever wants to write under it has to find a key and a salt that
/// give it, which takes 2^53 tries. The salt makes another number of the same key: one for each store.
pub fn replica_of(key: &PublicKey, salt: u64) -> ReplicaId {
    let hash = Sha256::new().chain_update(DOMAIN).chain_update(key.as_bytes()).chain_update(salt.to_be_bytes());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    ReplicaId::from_bits(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}
