//! Items by key. Layer 3, pure.

use std::collections::{BTreeMap, BTreeSet};

use super::order::Key;
use crate::id::ObjectId;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// Somebody works on it.
    #[default]
    Held,
    /// Open, but left alone for now: somebody, perhaps this replica, is after it.
    Open,
    /// May be claimed.
    Ready,
    /// Its attempts are used up: in no order.
    Dead,
}

/// All items of a queue that are not finished. Every operation is O(log n).
#[derive(Debug, Default)]
pub(super) struct Line {
    order: BTreeMap<Key, ObjectId>,
    open: BTreeMap<Key, ObjectId>,
    ready: BTreeMap<Key, ObjectId>,
    /// Those of the ready that this replica may claim without promises.
    own: BTreeMap<Key, ObjectId>,
    dead: BTreeSet<ObjectId>,
}

impl Line {
    /// Puts an item into its place, wherever it was before.
    pub(super) fn put(&mut self, key: &Key, item: ObjectId, place: Place, is_own: bool) {
        self.remove(key, item);
        if place == Place::Dead {
            self.dead.insert(item);
            return;
        }
        self.order.insert(key.clone(), item);
        if place != Place::Held {
            self.open.insert(key.clone(), item);
        }
        if place == Place::Ready {
            self.ready.insert(key.clone(), item);
            if is_own {
                self.own.insert(key.clone(), item);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key, item: ObjectId) {
        if self.dead.remove(&item) {
            return;
        }
        self.order.remove(key);
        self.open.remove(key);
        self.ready.remove(key);
        self.own.remove(key);
    }

    /// Every item but the dead.
    pub(super) fn order(&self) -> &BTreeMap<Key, ObjectId> {
        &self.order
    }

    /// Those that nobody holds.
    pub(super) fn open(&self) -> &BTreeMap<Key, ObjectId> {
        &self.open
    }

    /// Those that may be claimed.
    pub(super) fn ready(&self) -> &BTreeMap<Key, ObjectId> {
        &self.ready
    }

    /// Those that may be claimed without promises.
    pub(super) fn own(&self) -> &BTreeMap<Key, ObjectId> {
        &self.own
    }

    /// Those that wait to be requeued or discarded.
    pub(super) fn dead(&self) -> &BTreeSet<ObjectId> {
        &self.dead
    }
}
