//! Taking in what clients bring that follow no commits. Layer 1.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    super::{
        Absorbed, EngineError,
        inspect::automerge::{Chunk, read},
    },
    AutomergeEngine,
};

impl AutomergeEngine {
    /// Takes in changes as far as what they build on is here or comes with them.
    pub(super) fn take_in(&mut self, update: &Bytes, watch: bool) -> Result<Absorbed, EngineError> {
        // What peers brought that waits goes on waiting, and nothing is added to it.
        let waiting = std::mem::take(&mut self.queue);
        let sorted = self.sort(update);
        let incomplete = !std::mem::replace(&mut self.queue, waiting).is_empty();
        let mut ready = sorted?;
        let mut done = ready.iter().map(|(hash, _)| *hash).collect();
        for (hash, _) in ready.clone() {
            self.wake(hash, &mut ready, &mut done);
        }
        let patches = self.integrate(&ready, watch)?;
        let update = ready.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
        Ok(Absorbed { update: update.into(), incomplete, patches })
    }

    /// Changes of an update that can be applied, in an order in which they can; the others are left in the queue.
    fn sort(&mut self, update: &Bytes) -> Result<Vec<([u8; 32], Bytes)>, EngineError> {
        let (mut ready, mut done) = (Vec::new(), BTreeSet::new());
        for chunk in read(update)?.0 {
            match chunk {
                Chunk::Change(facts) => {
                    self.settle(facts.hash, &facts.deps, &update.slice_ref(facts.bytes), &mut ready, &mut done);
                }
                Chunk::Document(facts) if facts.heads.iter().all(|head| self.knows(head)) => {}
                Chunk::Document(facts) => {
                    for bytes in self.changes_in(facts.bytes)? {
                        self.receive(&bytes, &mut ready, &mut done)?;
                    }
                }
            }
        }
        Ok(ready)
    }
}
