//! Epochs.

use std::time::Duration;

use super::{Arrived, Object, Passage, settings::tiered_settings, setup::Setup};
use crate::{
    agent::{AgentDocument, AgentError},
    coordination::{
        epoch::{Phases, Position, frontier, laggards},
        kernel::{Own, Tier},
        meeting::Meeting,
        object::Purpose,
        standing::Standing,
        why::ObjectStatus,
    },
    id::{AgentId, ObjectId},
    node::{Arriving, NodeError},
};

/// How long a phase may take, unless set.
const WINDOW: Duration = Duration::from_secs(60);

/// The settings of an epoch.
///
/// ```no_run
/// # async fn example(stage: aepoch::agent::AgentDocument) -> Result<(), aepoch::agent::AgentError> {
/// let epoch = stage.epoch("rehearsal").everybody().phases(["collect", "plan", "act"]).open().await?;
/// epoch.finish("collect").await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct EpochBuilder {
    setup: Setup,
    phases: Vec<String>,
}

tiered_settings!(EpochBuilder);

impl EpochBuilder {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        let mut setup = Setup::new(document, name);
        setup.timeout_of_all(WINDOW);
        Self { setup, phases: Vec::new() }
    }

    /// The names of its phases, in order.
    pub fn phases<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.phases = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// How long a phase is waited for before it may be decided that laggards are left out; 60 s unless set.
    pub fn window(mut self, window: Duration) -> Self {
        self.setup.timeout_of_all(window);
        self
    }

    /// The epoch, as soon as its definition is here.
    ///
    /// # Errors
    /// As [`BarrierBuilder::open`](super::BarrierBuilder::open).
    pub async fn open(self) -> Result<Epoch, AgentError> {
        let phases = self.phases;
        let object = self.setup.open(|_| Purpose::Epoch { phases: phases.clone() }, |_| {}).await?;
        let plan = object.plan()?;
        let Purpose::Epoch { phases } = &plan.purpose else {
            let differences = vec![format!("purpose: an epoch here, {:?} there", plan.purpose)];
            return Err(AgentError::NameTaken { name: plan.definition.name.clone(), differences });
        };
        let phases = Phases::new(phases.clone()).map_err(crate::coordination::object::PlanError::from);
        Ok(Epoch { phases: phases.map_err(NodeError::from)?, object })
    }
}

/// An epoch: the members go through its phases together, and begin anew after the last. Cheap to clone.
///
/// **Guarantee.** A phase is over when every member has finished it or was left out by decision; nobody is ever told
/// more than that. **Under partition** it stands still on a side without enough of those who decide.
#[derive(Debug, Clone)]
pub struct Epoch {
    object: Object,
    phases: Phases,
}

/// One phase of the present epoch.
#[derive(Debug)]
pub struct Phase {
    epoch: Epoch,
    at: Position,
}

impl Epoch {
    /// Which object of the document it is.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    fn look<R>(&self, mut look: impl FnMut(&Meeting) -> R) -> Result<R, AgentError> {
        let looked =
            self.object.look(|node, document, _| node.meeting(document, self.object.id, |meeting, _| look(meeting)));
        Ok(looked?)
    }

    /// The phase this agent has to finish next.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more.
    pub fn position(&self) -> Result<Position, AgentError> {
        let generation = self.look(|meeting| {
            let barrier = meeting.barrier();
            let spoken = barrier.seat().and_then(|seat| barrier.view().current(seat));
            let spoken = spoken.is_some_and(|slot| slot.own != Own::Unset);
            barrier.generation() + u64::from(spoken)
        })?;
        Ok(self.phases.position(generation))
    }

    /// Finishes a phase and waits until it is over.
    ///
    /// # Errors
    /// `WrongPhase` when it is another one's turn; otherwise as [`Barrier::arrive`](super::Barrier::arrive).
    ///
    /// # Cancel safety
    /// What is finished stays finished when the future is dropped.
    pub async fn finish(&self, phase: &str) -> Result<Passage, AgentError> {
        let arrived = self.finish_now(phase).await?;
        self.over(arrived).await
    }

    /// Finishes a phase, to wait later with [`Epoch::over`].
    ///
    /// # Errors
    /// As [`Epoch::finish`].
    pub async fn finish_now(&self, phase: &str) -> Result<Arrived, AgentError> {
        self.finish_with(phase, Arriving::default()).await
    }

    /// Finishes a phase for the last time: takes no part from the next one on.
    ///
    /// # Errors
    /// As [`Epoch::finish`].
    pub async fn finish_and_leave(&self, phase: &str) -> Result<Arrived, AgentError> {
        self.finish_with(phase, Arriving { leave: true, ..Arriving::default() }).await
    }

    /// Finishes a phase, and lets another agent of the swarm take part from the next one on.
    ///
    /// # Errors
    /// As [`Epoch::finish`]; `Unknown` when the swarm has no such agent.
    pub async fn finish_bringing(&self, phase: &str, newcomer: &str, tier: Tier) -> Result<Arrived, AgentError> {
        let sponsored = vec![self.object.document.seat_of(newcomer, tier)?];
        self.finish_with(phase, Arriving { sponsored, ..Arriving::default() }).await
    }

    async fn finish_with(&self, phase: &str, arriving: Arriving) -> Result<Arrived, AgentError> {
        let position = self.position()?;
        let current = self.phases.name(position).unwrap_or_default();
        if current != phase {
            return Err(AgentError::WrongPhase { asked: phase.to_owned(), current: current.to_owned() });
        }
        self.object.arrive(arriving).await
    }

    /// Waits until a phase that this agent has finished is over.
    ///
    /// # Errors
    /// As [`Barrier::released`](super::Barrier::released).
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn over(&self, arrived: Arrived) -> Result<Passage, AgentError> {
        self.object.released(arrived).await
    }

    /// What this agent arrived in last, also when that was before a restart: to wait for it. `None` when it has not
    /// spoken yet, or has no seat.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more.
    pub fn arrived(&self) -> Result<Option<Arrived>, AgentError> {
        self.object.arrived()
    }

    /// The present generation: for somebody who waits for its end without a seat in it.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more.
    pub fn present(&self) -> Result<Arrived, AgentError> {
        self.object.present()
    }

    /// A phase of the epoch this agent is in.
    ///
    /// # Errors
    /// `WrongPhase` when there is none of that name.
    pub fn phase(&self, name: &str) -> Result<Phase, AgentError> {
        let position = self.position()?;
        let found = self.phases.find(position.epoch, name);
        let current = self.phases.name(position).unwrap_or_default().to_owned();
        let at = found.ok_or(AgentError::WrongPhase { asked: name.to_owned(), current })?;
        Ok(Phase { epoch: self.clone(), at })
    }

    /// Where this agent stands in a generation of the underlying barrier.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more.
    pub fn standing(&self, generation: u64) -> Result<Standing, AgentError> {
        self.object.standing(generation)
    }

    /// The name and place of the phase that a generation is.
    pub fn phase_of(&self, generation: u64) -> (Position, &str) {
        let at = self.phases.position(generation);
        (at, self.phases.name(at).unwrap_or_default())
    }

    /// How many phases everybody is known to have finished, counted from the first epoch on. Never falls, never ahead
    /// of the truth.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more.
    pub fn frontier(&self) -> Result<u64, AgentError> {
        self.look(|meeting| frontier(meeting.barrier()))
    }

    /// Members not known to have finished the current phase.
    ///
    /// # Errors
    /// As [`Epoch::frontier`].
    pub fn laggards(&self) -> Result<Vec<AgentId>, AgentError> {
        self.look(|meeting| {
            let barrier = meeting.barrier();
            let seats = barrier.view().roster().seats();
            laggards(barrier).iter().map(|seat| seats[seat].agent.clone()).collect()
        })
    }

    /// How it stands and what would unblock it.
    ///
    /// # Errors
    /// As [`Epoch::frontier`].
    pub fn status(&self) -> Result<ObjectStatus, AgentError> {
        self.object.status()
    }

    /// Finishes it for everybody and frees what it takes.
    ///
    /// # Errors
    /// As [`Epoch::frontier`].
    pub async fn clean_up(&self) -> Result<(), AgentError> {
        self.object.clean_up().await
    }
}

impl Phase {
    /// Its epoch and its place in it.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Waits until everybody is in this phase or beyond: until the one before it is over.
    ///
    /// # Errors
    /// `Node` when the epoch is not known any more; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn entered(&self) -> Result<(), AgentError> {
        let generation = self.epoch.phases.generation(self.at).unwrap_or(u64::MAX);
        let object = &self.epoch.object;
        let wait = object.document.open.agent.wait_for(|node, _| {
            match node.meeting(object.document.id(), object.id, |meeting, _| frontier(meeting.barrier())) {
                Ok(frontier) => (frontier >= generation).then_some(Ok(())),
                Err(error) if error.is_busy() => None,
                Err(error) => Some(Err(error)),
            }
        });
        Ok(wait.await??)
    }
}
