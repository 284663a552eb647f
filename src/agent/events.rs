//! What an application hears: events of its agent, patches of a document.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{engine::Patch, id::DocumentId, node::Event};

/// Events kept for a slow listener before it misses some.
pub(super) const EVENTS_KEPT: usize = 4_096;

/// A listener was too slow: this many events are gone. State is not: read it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} events were missed: read the state anew")]
pub struct Missed {
    /// Events gone.
    pub count: u64,
}

/// The events of an agent, from the moment of [`Agent::events`](super::Agent::events) on.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Arc<Event>>,
}

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Event>>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` when the agent has closed.
    ///
    /// # Errors
    /// [`Missed`] when this listener was too slow; listening goes on afterwards.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Missed> {
        match self.receiver.recv().await {
            Ok(event) => Ok(Some(event)),
            Err(RecvError::Closed) => Ok(None),
            Err(RecvError::Lagged(count)) => Err(Missed { count }),
        }
    }
}

/// The changes of a document whose paths start with a prefix.
#[derive(Debug)]
pub(super) struct Patches {
    events: Events,
    document: DocumentId,
    prefix: String,
    queue: std::collections::VecDeque<Patch>,
}

impl Patches {
    pub(super) fn new(events: Events, document: DocumentId, prefix: String) -> Self {
        Self { events, document, prefix, queue: Default::default() }
    }

    /// The next change; `None` when the agent has closed.
    pub(super) async fn next(&mut self) -> Result<Option<Patch>, Missed> {
        Ok(if self.gather().await? { self.queue.pop_front() } else { None })
    }

    /// The changes that came together; `None` when the agent has closed.
    pub(super) async fn next_together(&mut self) -> Result<Option<Vec<Patch>>, Missed> {
        Ok(if self.gather().await? { Some(self.queue.drain(..).collect()) } else { None })
    }

    /// Waits until there is something in the queue; false when the agent has closed. Loses nothing when dropped.
    async fn gather(&mut self) -> Result<bool, Missed> {
        loop {
            if !self.queue.is_empty() {
                return Ok(true);
            }
            let Some(event) = self.events.next().await? else { return Ok(false) };
            if let Event::Changed { document, patches } = &*event
                && *document == self.document
            {
                let wanted = |patch: &&Patch| patch.path.to_string().starts_with(&self.prefix);
                self.queue.extend(patches.iter().filter(wanted).cloned());
            }
        }
    }
}
