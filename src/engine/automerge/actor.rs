//! Who writes: actors of replicas, actors of containers, and the numbers both get in [`UpdateInfo`]. Layer 1.
//!
//! [`UpdateInfo`]: super::super::UpdateInfo

use automerge::ActorId;
use sha2::{Digest, Sha256};

use crate::{id::ReplicaId, limits};

/// Bytes in an actor. Other programs use 16.
pub(in crate::engine) const ACTOR_BYTES: usize = 64;

/// Containers in one document. Each has an actor of its own, for which automerge keeps a place in every clock.
pub(in crate::engine) const CONTAINERS: usize = 8_192;

/// Actors in one document: writers and containers.
pub(in crate::engine) const ACTORS: usize = limits::DOCUMENT_WRITERS + CONTAINERS;

/// The first half of the actor of a container's creation; the other half is a hash of its kind and name.
const CREATOR_TAG: [u8; 8] = *b"aepoch\0\x01";

/// The actor of a replica.
pub(super) fn actor_of(replica: ReplicaId) -> ActorId {
    ActorId::from(replica.get().to_be_bytes())
}

/// The actor that creates the container of this kind and name.
pub(super) fn creator_of(kind: u8, name: &str) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update([kind]);
    hasher.update(name.as_bytes());
    let hash = hasher.finalize();
    let mut actor = [0; 16];
    actor[..8].copy_from_slice(&CREATOR_TAG);
    actor[8..].copy_from_slice(&hash[..8]);
    actor
}

/// True when the actor may only ever have created a container.
pub(in crate::engine) fn is_creator(actor: &[u8]) -> bool {
    actor.len() == 16 && actor.starts_with(&CREATOR_TAG)
}

/// The replica an actor belongs to, when it is one of ours.
pub(super) fn replica_of(actor: &[u8]) -> Option<ReplicaId> {
    let id = u64::from_be_bytes(actor.try_into().ok()?);
    (1..=ReplicaId::MAX).contains(&id).then(|| ReplicaId::from_bits(id))
}

/// The number of a writer: its replica id, or for another program's actor a hash above all of these.
pub(in crate::engine) fn writer_of(actor: &[u8]) -> u64 {
    match replica_of(actor) {
        Some(replica) => replica.get(),
        None => {
            let hash: [u8; 32] = Sha256::digest(actor).into();
            let [a, b, c, d, e, f, g, h, ..] = hash;
            (1 << 63) | u64::from_be_bytes([a, b, c, d, e, f, g, h])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_never_get_the_number_of_a_replica() {
        let replica = ReplicaId::from_bits(77);
        assert_eq!(writer_of(actor_of(replica).to_bytes()), 77);
        for actor in [&[0_u8; 8][..], &[0xff; 8], &[0, 77], &[7; 16], &creator_of(0, "jobs")] {
            assert!(writer_of(actor) > ReplicaId::MAX, "{actor:?}");
        }
    }
}
