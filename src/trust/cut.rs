//! Cuts: what of a stolen key's records survives. Layer 1.
//!
//! A cut names the records that survive, not a time or a number. A replica may have seen any part of what a writer wrote,
//! because states are merged and not logs; told which records stay, each keeps the same ones. Nothing that a thief stamps
//! back can be among them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{key::PublicKey, record::RecordId};

/// Of all that the key has signed outside of closed circles (see [`Plane`](super::record::Plane)), only these records
/// count, in whatever room. The key writes no more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Records that survive.
    pub survivors: BTreeSet<RecordId>,
}

/// All cuts of a chain of versions. A cut is never taken back: of two of one key, what survives both does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts(BTreeMap<PublicKey, BTreeSet<RecordId>>);

impl Cuts {
    /// Adds a version's cuts.
    pub fn join(&mut self, cuts: &BTreeMap<PublicKey, Cut>) {
        for (key, cut) in cuts {
            match self.0.get_mut(key) {
                Some(survivors) => survivors.retain(|id| cut.survivors.contains(id)),
                None => drop(self.0.insert(*key, cut.survivors.clone())),
            }
        }
    }

    /// True when the key's record is cut off.
    pub fn excludes(&self, key: &PublicKey, id: &RecordId) -> bool {
        self.0.get(key).is_some_and(|survivors| !survivors.contains(id))
    }

    /// True when there is a cut of the key.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.0.contains_key(key)
    }

    /// True when nothing is cut.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
