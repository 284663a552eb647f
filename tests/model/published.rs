//! Slot versions as states hold them: hashed once, compared by their hash first.

use std::{
    cmp::Ordering,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use aepoch::coordination::kernel::Slot;

/// One version of a slot. A state holds dozens of them and is hashed and compared for every way that leads to it,
/// which took most of the time.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    slot: Arc<Slot>,
    hash: u64,
}

impl Published {
    pub(crate) fn new(slot: Slot) -> Self {
        // The keys of this hasher are fixed, so that runs are alike.
        let mut hasher = DefaultHasher::new();
        slot.hash(&mut hasher);
        Self { slot: Arc::new(slot), hash: hasher.finish() }
    }

    /// As a view takes it.
    pub(crate) fn shared(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
    }
}

impl Default for Published {
    fn default() -> Self {
        Self::new(Slot::default())
    }
}

impl Deref for Published {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Hash for Published {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.slot, &other.slot) || self.slot == other.slot)
    }
}

impl Eq for Published {}

impl Ord for Published {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash).then_with(|| self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Published {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
