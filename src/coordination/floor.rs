//! Forgetting what is finished, without tombstones and without time-to-live. Layer 3, pure.
//!
//! Every member publishes one growing number: the oldest document epoch it still needs. What is below everybody's
//! number is dropped, and ignored when it comes again, from however stale a replica. So a finished barrier costs
//! nothing, and nothing that was dropped can come back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;

/// The floors of a document's members under one configuration, as a join-semilattice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Floors {
    base: u64,
    of: BTreeMap<ReplicaId, u64>,
}

impl Floors {
    /// The floors of a roster whose members all begin at `base`: where the configuration was decided. A joiner that
    /// began lower would pull the minimum back.
    pub fn new(base: u64, roster: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self { base, of: roster.into_iter().map(|member| (member, base)).collect() }
    }

    /// A member needs nothing below `floor` any more. Lower numbers and others' are ignored; true when it grew.
    pub fn raise(&mut self, member: ReplicaId, floor: u64) -> bool {
        match self.of.get_mut(&member) {
            Some(known) if *known < floor => {
                *known = floor;
                true
            }
            _ => false,
        }
    }

    /// What is below this is dropped, and ignored on receipt. Never falls. A dead member holds it back until a
    /// configuration without it is decided.
    pub fn floor(&self) -> u64 {
        self.of.values().copied().min().unwrap_or(self.base).max(self.base)
    }

    /// The least upper bound of two views of one configuration.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.base = joined.base.max(other.base);
        for (member, floor) in &other.of {
            joined.raise(*member, *floor);
        }
        joined
    }

    /// The floors of the next configuration: its members begin at the floor reached, those that stay where they are.
    #[must_use]
    pub fn reconfigured(&self, roster: impl IntoIterator<Item = ReplicaId>) -> Self {
        let base = self.floor();
        let mut next = Self::new(base, roster);
        for (member, floor) in &self.of {
            next.raise(*member, *floor);
        }
        next
    }

    /// Keeps what is at the floor or above. `epoch` gives the document epoch of an entry. O(entries).
    pub fn restrict<K: Ord, V>(&self, entries: &mut BTreeMap<K, V>, epoch: impl Fn(&K, &V) -> u64) {
        let floor = self.floor();
        entries.retain(|key, value| epoch(key, value) >= floor);
    }
}
