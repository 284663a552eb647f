//! What keeps a node's documents.

use std::sync::Arc;

#[cfg(not(target_family = "wasm"))]
use crate::store::StoreThread;
use crate::store::{Store, StoreTask};

/// Where a host's documents are kept.
pub(crate) enum Keeper {
    /// Where answers take a while.
    Later(Arc<dyn Later>),
    /// In memory: handing tasks over would take longer than the store does.
    Here(Box<dyn Store>),
}

/// A store that answers with [`Host::stored`](super::Host::stored).
pub(crate) trait Later: Send + Sync {
    /// Takes a task, and never waits. It may only be noticed with the next [`Later::wake`].
    fn enqueue(&self, id: u64, task: StoreTask);
    /// There are tasks.
    fn wake(&self);
}

#[cfg(not(target_family = "wasm"))]
impl Later for StoreThread {
    fn enqueue(&self, id: u64, task: StoreTask) {
        self.enqueue(id, task);
    }

    fn wake(&self) {
        self.wake();
    }
}

#[cfg(feature = "agent")]
pub(crate) use errands::Errands;

#[cfg(feature = "agent")]
mod errands {
    use std::sync::Arc;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::Later;
    use crate::store::{Answers, AsyncStore, StoreError, StoreTask};

    /// Tasks in one commit at most.
    const TOGETHER: usize = 1_024;

    /// Tasks on their way to an [`AsyncStore`]: what gathers while it is at work goes in one commit.
    pub(crate) struct Errands(UnboundedSender<(u64, StoreTask)>);

    impl Errands {
        pub(crate) fn new() -> (Self, UnboundedReceiver<(u64, StoreTask)>) {
            let (sender, receiver) = unbounded_channel();
            (Self(sender), receiver)
        }

        /// Carries tasks to the store, for as long as whoever gives them lives.
        pub(crate) async fn run(
            mut given: UnboundedReceiver<(u64, StoreTask)>,
            store: Arc<dyn AsyncStore>,
            mut done: impl FnMut(Answers),
        ) {
            let mut gathered = Vec::new();
            while given.recv_many(&mut gathered, TOGETHER).await > 0 {
                let (ids, tasks): (Vec<u64>, Vec<StoreTask>) = gathered.drain(..).unzip();
                let mut answers = store.commit(tasks).await;
                // What a store does not answer it has not kept: it is given it again.
                let unanswered = || Err(StoreError::Write { reason: "the store has not answered".to_owned() });
                answers.resize_with(ids.len(), unanswered);
                done(ids.into_iter().zip(answers).collect());
            }
        }
    }

    impl Later for Errands {
        fn enqueue(&self, id: u64, task: StoreTask) {
            // Once the agent is gone nobody waits for an answer.
            let _ = self.0.send((id, task));
        }

        fn wake(&self) {}
    }
}
