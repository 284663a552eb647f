//! Changes that wait for others. Layer 1.
//!
//! automerge has a queue of its own, which it searches as a whole for every change that arrives and which is emptied
//! only by saving and loading. This one keeps automerge's empty.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// What a waiting change costs beside its bytes.
const WAITING_BYTES: usize = 128;

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    missing: BTreeSet<[u8; 32]>,
}

/// Changes by hash, and by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<[u8; 32], Waiting>,
    waited_for: BTreeMap<[u8; 32], Vec<[u8; 32]>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn contains(&self, hash: &[u8; 32]) -> bool {
        self.waiting.contains_key(hash)
    }

    /// Bytes held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps a change until all of `missing` has arrived. The bytes are copied: they would otherwise keep the whole
    /// update they came in.
    pub(super) fn hold(&mut self, hash: [u8; 32], bytes: &[u8], missing: BTreeSet<[u8; 32]>) {
        self.bytes += cost(bytes, missing.len());
        for dep in &missing {
            self.waited_for.entry(*dep).or_default().push(hash);
        }
        self.waiting.insert(hash, Waiting { bytes: Bytes::copy_from_slice(bytes), missing });
    }

    /// Tells that a change has arrived; gives those that waited for nothing else.
    pub(super) fn wake(&mut self, hash: &[u8; 32]) -> Vec<([u8; 32], Bytes)> {
        let mut woken = Vec::new();
        for waiter in self.waited_for.remove(hash).unwrap_or_default() {
            let Some(waiting) = self.waiting.get_mut(&waiter) else { continue };
            waiting.missing.remove(hash);
            self.bytes -= size_of::<[u8; 32]>();
            if waiting.missing.is_empty()
                && let Some(ready) = self.waiting.remove(&waiter)
            {
                self.bytes -= cost(&ready.bytes, 0);
                woken.push((waiter, ready.bytes));
            }
        }
        woken
    }
}

const fn cost(bytes: &[u8], missing: usize) -> usize {
    bytes.len() + WAITING_BYTES + missing * size_of::<[u8; 32]>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_woken_by_the_last_it_waited_for_and_leaves_no_bytes_behind() {
        let mut queue = Queue::default();
        queue.hold([1; 32], b"one", BTreeSet::from([[8; 32], [9; 32]]));
        queue.hold([2; 32], b"two", BTreeSet::from([[9; 32]]));
        assert!(queue.wake(&[7; 32]).is_empty());
        assert_eq!(queue.wake(&[9; 32]), [([2; 32], Bytes::from_static(b"two"))]);
        assert!(queue.contains(&[1; 32]));
        assert_eq!(queue.wake(&[8; 32]).len(), 1);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }
}
