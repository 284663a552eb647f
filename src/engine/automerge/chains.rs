//! Every writer's changes in order: what is known of whom, and of which change a number speaks. Layer 1.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ActorId;

use super::actor::{actor_of, is_creator, replica_of, writer_of};
use crate::id::ReplicaId;

/// One change of a writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) hash: [u8; 32],
    /// Counter of its last operation.
    pub(super) max_op: u64,
}

/// Changes by writer and number; containers have none.
#[derive(Debug, Default)]
pub(super) struct Chains {
    by_actor: BTreeMap<ActorId, Vec<Link>>,
    others: BTreeMap<u64, ActorId>,
    creators: BTreeSet<ActorId>,
}

impl Chains {
    /// Appends a writer's next change, or a container's only one.
    pub(super) fn push(&mut self, actor: &ActorId, link: Link) {
        if is_creator(actor.to_bytes()) {
            self.creators.insert(actor.clone());
            return;
        }
        if let Some(chain) = self.by_actor.get_mut(actor) {
            chain.push(link);
            return;
        }
        if replica_of(actor.to_bytes()).is_none() {
            self.others.insert(writer_of(actor.to_bytes()), actor.clone());
        }
        self.by_actor.insert(actor.clone(), vec![link]);
    }

    /// The changes of an actor.
    pub(super) fn of(&self, actor: &ActorId) -> &[Link] {
        self.by_actor.get(actor).map_or(&[], Vec::as_slice)
    }

    /// How many changes of a writer are known, by the number peers know it under.
    pub(super) fn known(&self, writer: u64) -> u64 {
        let chain = match self.others.get(&writer) {
            Some(actor) => self.of(actor),
            None if (1..=ReplicaId::MAX).contains(&writer) => self.of(&actor_of(ReplicaId::from_bits(writer))),
            None => &[],
        };
        chain.len() as u64
    }

    /// True when some change of this actor is known.
    pub(super) fn has_actor(&self, actor: &ActorId) -> bool {
        self.by_actor.contains_key(actor) || self.creators.contains(actor)
    }

    /// Writers, containers not counted.
    pub(super) fn writers(&self) -> usize {
        self.by_actor.len()
    }

    /// All writers with their changes, sorted by actor.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ActorId, &[Link])> {
        self.by_actor.iter().map(|(actor, chain)| (actor, chain.as_slice()))
    }
}
