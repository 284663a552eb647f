//! Acting together: barriers, epochs, polls, decisions and queues of a document.
//!
//! An object (one of these) has a name within its document. Whoever is listed first among its members begins it, so that
//! one agent seals who takes part; the others wait for its definition to come. `begin()` makes the caller that one.

mod barrier;
mod decision;
mod epoch;
mod poll;
mod queue;
mod settings;
mod setup;
mod synchronizer;
mod task;

use std::{sync::Arc, time::Duration};

pub use barrier::{Barrier, BarrierBuilder};
pub use decision::{Decision, DecisionBuilder};
pub use epoch::{Epoch, EpochBuilder, Phase};
pub use poll::{PollBuilder, PollHandle};
pub use queue::{Peek, Push, Queue, QueueBuilder};
use serde::{Serialize, de::DeserializeOwned};
pub use synchronizer::{AgentSynchronizer, Doing, SyncReport, SynchronizedAgent};
pub use task::Task;

use super::{AgentDocument, AgentError};
use crate::{
    coordination::{
        kernel::Own,
        meeting::Meeting,
        object::Plan,
        standing::{Outcome, Standing},
        why::ObjectStatus,
    },
    id::{DocumentId, ObjectId},
    node::{Arriving, Node, NodeError},
    time::Moment,
};

/// How an agent got through one generation of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// Which generation, from 0.
    pub generation: u64,
    /// Where it stands: the same at every agent of its tier, unless it is `Overdue`.
    pub standing: Standing,
    /// How long this agent waited, from its arrival on.
    pub waited: Duration,
}

impl Passage {
    /// What was decided, when it was.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.standing {
            Standing::Released(outcome) | Standing::Late(outcome) | Standing::Broken(outcome) => Some(outcome),
            Standing::Waiting | Standing::Overdue { .. } | Standing::Superseded { .. } | Standing::Closed => None,
        }
    }

    /// True when this agent may go on.
    pub fn is_released(&self) -> bool {
        matches!(self.standing, Standing::Released(_))
    }

    /// True when it may go on and nobody is missing.
    pub fn is_complete(&self) -> bool {
        matches!(&self.standing, Standing::Released(outcome) if outcome.is_complete())
    }
}

/// An arrival: what to wait for. Arriving and waiting are apart, so that work can be done in between.
#[derive(Debug, Clone, Copy)]
#[must_use = "arriving only says that one is here: wait with `released`"]
pub struct Arrived {
    /// The generation arrived in.
    pub generation: u64,
    at: Moment,
}

/// An object of a document, as its handles share it.
#[derive(Debug, Clone)]
struct Object {
    document: AgentDocument,
    id: ObjectId,
}

impl Object {
    fn with<R>(&self, act: impl FnOnce(&mut Node, &DocumentId, Moment) -> R) -> R {
        self.document.open.agent.inner.host.with(|node, now| act(node, self.document.id(), now))
    }

    /// Looks at the document, waiting while it is being loaded or worked on, like any read.
    fn look<R>(
        &self,
        mut look: impl FnMut(&mut Node, &DocumentId, Moment) -> Result<R, NodeError>,
    ) -> Result<R, NodeError> {
        self.document.look(|node, now| look(node, self.document.id(), now))
    }

    /// Tries until the document is back and this replica's record before is durable.
    async fn wish<R>(
        &self,
        wish: impl Fn(&mut Node, &DocumentId, Moment) -> Result<R, NodeError>,
    ) -> Result<(R, Moment), AgentError> {
        let agent = &self.document.open.agent;
        let tried = agent.wait_for(|node, now| match wish(node, self.document.id(), now) {
            Err(error) if error.is_busy() => None,
            tried => Some(tried.map(|result| (result, now))),
        });
        Ok(tried.await??)
    }

    /// Does something now, or once the document is back; for those who cannot wait. What is refused stays undone.
    fn do_anyway(
        &self,
        wish: impl Fn(&mut Node, &DocumentId, Moment) -> Result<(), NodeError> + Send + Sync + 'static,
    ) {
        if self.with(&wish).is_err_and(|error| error.is_busy()) {
            let object = self.clone();
            let runtime = self.document.open.agent.inner.host.runtime().clone();
            runtime.spawn(async move { object.wish(wish).await.map(|_| ()) });
        }
    }

    async fn arrive(&self, arriving: Arriving) -> Result<Arrived, AgentError> {
        let arrive =
            |node: &mut Node, document: &DocumentId, now| node.arrive(document, self.id, arriving.clone(), now);
        let (generation, at) = self.wish(arrive).await?;
        Ok(Arrived { generation, at })
    }

    /// Waits for the end of a generation. With a strict definition also for the observation that its time is up:
    /// nothing else would ever come of an agent that is gone.
    async fn released(&self, arrived: Arrived) -> Result<Passage, AgentError> {
        let strict = self.plan()?.definition.is_strict();
        let wait = self.document.open.agent.wait_for(|node, now| {
            match node.standing(self.document.id(), self.id, arrived.generation, now) {
                Ok(standing) => {
                    let ends = standing.is_final() || strict && matches!(standing, Standing::Overdue { .. });
                    ends.then_some(Ok((standing, now)))
                }
                Err(error) if error.is_busy() => None,
                Err(error) => Some(Err(error)),
            }
        });
        let (standing, now) = wait.await??;
        let waited = now.mono.since(arrived.at.mono);
        Ok(Passage { generation: arrived.generation, standing, waited })
    }

    /// The generation whose end this agent has to wait for: the present one when it has spoken in it, else the one
    /// before. From its record, so that what was said before a restart counts.
    fn arrived(&self) -> Result<Option<Arrived>, AgentError> {
        let last = |meeting: &Meeting| {
            let barrier = meeting.barrier();
            let seat = barrier.seat()?;
            let spoken = barrier.view().current(seat).is_some_and(|slot| slot.own != Own::Unset);
            if spoken { Some(barrier.generation()) } else { barrier.generation().checked_sub(1) }
        };
        Ok(self.look(|node, document, now| {
            let last = node.meeting(document, self.id, |meeting, _| last(meeting))?;
            Ok::<_, NodeError>(last.map(|generation| Arrived { generation, at: now }))
        })?)
    }

    /// The present generation, for somebody who only looks on.
    fn present(&self) -> Result<Arrived, AgentError> {
        Ok(self.look(|node, document, now| {
            let generation = node.meeting(document, self.id, |meeting, _| meeting.barrier().generation())?;
            Ok::<_, NodeError>(Arrived { generation, at: now })
        })?)
    }

    fn standing(&self, generation: u64) -> Result<Standing, AgentError> {
        Ok(self.look(|node, document, now| node.standing(document, self.id, generation, now))?)
    }

    fn plan(&self) -> Result<Arc<Plan>, AgentError> {
        Ok(self.look(|node, document, _| node.meeting(document, self.id, |meeting, _| meeting.plan().clone()))?)
    }

    fn status(&self) -> Result<ObjectStatus, AgentError> {
        let swarm = &self.document.open.agent.inner.swarm_document;
        Ok(self.look(|node, document, now| {
            let around = node.surroundings(swarm);
            node.meeting(document, self.id, |meeting, content| ObjectStatus::of(meeting, content, &around, now.mono))
        })?)
    }

    async fn clean_up(&self) -> Result<(), AgentError> {
        self.wish(|node, document, now| node.clean_up(document, self.id, now)).await.map(|_| ())
    }
}

impl AgentDocument {
    /// A barrier: members wait for each other, higher tiers first.
    pub fn barrier(&self, name: &str) -> BarrierBuilder {
        BarrierBuilder::new(self, name)
    }

    /// An epoch: members go through named phases together.
    pub fn epoch(&self, name: &str) -> EpochBuilder {
        EpochBuilder::new(self, name)
    }

    /// A poll: members vote, weight decides.
    pub fn poll(&self, name: &str) -> PollBuilder {
        PollBuilder::new(self, name)
    }

    /// A decision: exactly one of the values proposed becomes everybody's.
    pub fn decision(&self, name: &str) -> DecisionBuilder {
        DecisionBuilder::new(self, name)
    }

    /// Proposes a value to all members of the swarm and waits for what they decide: this value or another's, the same
    /// for everybody. Begun by the first of the members, in the order of their names.
    ///
    /// Peers are asked first who there is and whether it has begun, so an agent that was given a relay waits until it
    /// is connected. Agents that come in that very moment, or on the other side of a partition, may decide among
    /// themselves: where that matters, name the members to [`AgentDocument::decision`]. Who comes later, or asks
    /// again, is told what was decided, until the decision is finished: a second after all who decided know of it.
    ///
    /// # Errors
    /// As [`DecisionBuilder::open`] and [`Decision::decided`].
    ///
    /// # Cancel safety
    /// Once it has been proposed, the value may be decided although the future is dropped.
    pub async fn request_consensus<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<Option<T>, AgentError> {
        let decision = self.decision(name).everybody().open().await?;
        match decision.propose(value).await {
            Err(AgentError::Node(NodeError::Participant(why))) if why.is_seatless() || why.is_repeated() => {}
            proposed => proposed?,
        }
        decision.decided().await
    }

    /// Why this document's barriers, epochs, polls and decisions stand as they do: one entry for each that is not
    /// finished, with what would unblock it.
    ///
    /// # Errors
    /// The document cannot be reached.
    pub fn explain(&self) -> Result<Vec<ObjectStatus>, AgentError> {
        let inner = &self.open.agent.inner;
        Ok(self.look(|node, now| node.explain(self.id(), &inner.swarm_document, now))?)
    }

    /// Finishes whatever goes by a name, for everybody, and frees what it takes; false when nothing does.
    ///
    /// # Errors
    /// The document cannot be reached.
    pub async fn clean_up(&self, name: &str) -> Result<bool, AgentError> {
        let Some(id) = self.find(name)? else { return Ok(false) };
        Object { document: self.clone(), id }.clean_up().await?;
        Ok(true)
    }

    /// The object of a name, if its definition is here.
    fn find(&self, name: &str) -> Result<Option<ObjectId>, AgentError> {
        Ok(self.look(|node, _| node.find(self.id(), name))?)
    }

    fn look<R>(&self, mut look: impl FnMut(&mut Node, Moment) -> Result<R, NodeError>) -> Result<R, NodeError> {
        let looked = self.open.agent.inner.host.wait_for(|node, now| match look(node, now) {
            Err(NodeError::Busy { .. }) => None,
            looked => Some(looked),
        });
        looked.unwrap_or_else(|| Err(NodeError::Busy { document: self.id().clone() }))
    }
}

impl NodeError {
    /// True when trying again shortly may do.
    fn is_busy(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Participant(error) => error.is_writing(),
            _ => false,
        }
    }
}
