//! What a replica has, in a form a peer can compute the difference to. Layer 1.
//!
//! Heads alone say nothing to a peer that does not know them yet. So a frontier also counts every writer's changes:
//! these are known without gaps, so the counts and the heads name the exact set. Containers' creations are not
//! counted; each is a head or below one.

use std::collections::BTreeMap;

use automerge::{ActorId, ChangeHash};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    super::{EngineError, Relation},
    AutomergeEngine,
    actor::{ACTOR_BYTES, ACTORS, actor_of, replica_of},
};
use crate::id::ReplicaId;

/// Bytes of the largest frontier a document within its limits has.
const FRONTIER_BYTES: usize = ACTORS * (32 + ACTOR_BYTES + 16);

/// The encoded form: postcard. Empty bytes stand for nothing at all.
#[derive(Debug, Serialize, Deserialize)]
struct Encoded {
    heads: Vec<[u8; 32]>,
    replicas: Vec<(ReplicaId, u64)>,
    others: Vec<(Bytes, u64)>,
}

/// A peer's frontier.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    heads: Vec<[u8; 32]>,
    counts: BTreeMap<ActorId, u64>,
}

impl Frontier {
    /// The frontier of an engine.
    pub(super) fn encode(engine: &AutomergeEngine) -> Bytes {
        let heads: Vec<_> = engine.document.get_heads().into_iter().map(|head| head.0).collect();
        if heads.is_empty() {
            return Bytes::new();
        }
        let mut encoded = Encoded { heads, replicas: Vec::new(), others: Vec::new() };
        for (actor, chain) in engine.chains.iter() {
            let count = chain.len() as u64;
            match replica_of(actor.to_bytes()) {
                Some(replica) => encoded.replicas.push((replica, count)),
                None => encoded.others.push((Bytes::copy_from_slice(actor.to_bytes()), count)),
            }
        }
        // Encoding plain vectors into a growing one cannot fail.
        postcard::to_stdvec(&encoded).map(Bytes::from).unwrap_or_default()
    }

    /// Reads a peer's frontier.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let corrupt = |reason: String| Err(EngineError::Corrupt { what: "frontier", reason });
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > FRONTIER_BYTES {
            return corrupt(format!("{} bytes, limit {FRONTIER_BYTES}", bytes.len()));
        }
        let encoded = match postcard::take_from_bytes::<Encoded>(bytes) {
            Ok((encoded, [])) => encoded,
            Ok((_, rest)) => return corrupt(format!("{} bytes left over", rest.len())),
            Err(error) => return corrupt(error.to_string()),
        };
        let replicas = encoded.replicas.into_iter().map(|(replica, count)| (actor_of(replica), count));
        let others = encoded.others.into_iter().map(|(actor, count)| (ActorId::from(actor.as_ref()), count));
        Ok(Self { heads: encoded.heads, counts: replicas.chain(others).collect() })
    }

    /// True when it names nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.counts.is_empty()
    }

    /// Known changes such that the peer has exactly these and what they build on, of what we have.
    pub(super) fn common(&self, engine: &AutomergeEngine) -> Vec<ChangeHash> {
        let heads = self.heads.iter().filter(|head| engine.knows(head)).copied();
        let counted = self.counts.iter().filter_map(|(actor, count)| {
            let chain = engine.chains.of(actor);
            let last = usize::try_from(*count).unwrap_or(usize::MAX).min(chain.len());
            chain.get(last.checked_sub(1)?).map(|link| link.hash)
        });
        let mut common: Vec<_> = heads.chain(counted).map(ChangeHash).collect();
        common.sort_unstable();
        common.dedup();
        common
    }

    /// How the peer stands to us.
    pub(super) fn relation(&self, engine: &AutomergeEngine) -> Relation {
        let ours: Vec<_> = engine.document.get_heads().into_iter().map(|head| head.0).collect();
        let news = self.heads.iter().any(|head| !engine.knows(head))
            || self.counts.iter().any(|(actor, count)| *count > engine.chains.of(actor).len() as u64);
        let counted =
            |actor: &ActorId, chain: usize| self.counts.get(actor).is_some_and(|count| *count >= chain as u64);
        // With every writer's changes there, only creations nothing builds on yet may be lacking, and these are heads.
        let lacks = engine.chains.iter().any(|(actor, chain)| !counted(actor, chain.len()))
            || ours.iter().any(|head| engine.is_creation(head) && !self.heads.contains(head));
        match (news, lacks) {
            (false, false) => Relation::Equal,
            (false, true) => Relation::PeerBehind,
            (true, false) => Relation::PeerAhead,
            (true, true) => Relation::Diverged,
        }
    }
}
