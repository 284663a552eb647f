//! Barriers.

use super::{Arrived, Object, Passage, settings::tiered_settings, setup::Setup};
use crate::{
    agent::{AgentDocument, AgentError},
    coordination::{
        kernel::{Gate, Seat, Tier},
        object::{Plan, Purpose},
        standing::Standing,
        why::ObjectStatus,
    },
    id::ObjectId,
    node::Arriving,
};

/// The settings of a barrier; [`BarrierBuilder::arrive`] goes through it once.
///
/// ```no_run
/// # async fn example(stage: aepoch::agent::AgentDocument) -> Result<(), aepoch::agent::AgentError> {
/// use aepoch::coordination::kernel::Tier;
/// let flash = stage.barrier("flash-1").members(Tier::ALPHA, ["planner"]).members(Tier::GAMMA, ["w1", "w2", "w3"]);
/// let passage = flash.tolerate(1).arrive().await?;
/// assert!(passage.is_released());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct BarrierBuilder {
    setup: Setup,
    once: bool,
}

tiered_settings!(BarrierBuilder);

impl BarrierBuilder {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        Self { setup: Setup::new(document, name), once: true }
    }

    /// It goes on, generation after generation, until it is cleaned up.
    pub fn cyclic(mut self) -> Self {
        self.once = false;
        self
    }

    /// Whether a release waits until all that the released had written before they arrived is here. On unless set.
    pub fn fence(mut self, fence: bool) -> Self {
        self.setup.fence(fence);
        self
    }

    /// What lower tiers wait for.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.setup.gate(gate);
        self
    }

    /// The barrier, as soon as its definition is here. Without members it is whatever goes by the name.
    ///
    /// # Errors
    /// `NameTaken` says what differs; `TooManyAgents`, `Name`, `Node` for what cannot be; `Closed`.
    ///
    /// # Cancel safety
    /// Nothing is half done when the future is dropped.
    pub async fn open(self) -> Result<Barrier, AgentError> {
        let once = self.once;
        let object = self.setup.open(|_| Purpose::Barrier { once }, |_| {}).await?;
        Ok(Barrier { object })
    }

    /// Opens the barrier, arrives and waits for the release.
    ///
    /// # Errors
    /// As [`BarrierBuilder::open`] and [`Barrier::arrive`].
    ///
    /// # Cancel safety
    /// An arrival is not taken back when the future is dropped.
    pub async fn arrive(self) -> Result<Passage, AgentError> {
        self.open().await?.arrive().await
    }
}

/// A barrier. Cheap to clone.
///
/// **Guarantee.** Whatever any two agents are told of a generation is the same. Who is released is released with
/// everybody that arrived in time, and sees what they wrote before (the fence). **Under partition** a side without
/// `n - tolerate` of those who decide leaves nobody out; with `tolerate` 0 nobody is left out ever, and the barrier
/// blocks until all have come.
#[derive(Debug, Clone)]
pub struct Barrier {
    object: Object,
}

impl Barrier {
    /// Which object of the document it is.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    /// Its definition.
    ///
    /// # Errors
    /// `Node` when it is not known any more.
    pub fn plan(&self) -> Result<std::sync::Arc<Plan>, AgentError> {
        self.object.plan()
    }

    /// Arrives and waits for the release.
    ///
    /// # Errors
    /// `Node` when this agent has no seat in it, has spoken in this generation already, or it is gone; `Closed`.
    ///
    /// # Cancel safety
    /// An arrival is not taken back when the future is dropped.
    pub async fn arrive(&self) -> Result<Passage, AgentError> {
        let arrived = self.arrive_now().await?;
        self.released(arrived).await
    }

    /// Arrives, to wait later with [`Barrier::released`].
    ///
    /// # Errors
    /// As [`Barrier::arrive`].
    pub async fn arrive_now(&self) -> Result<Arrived, AgentError> {
        self.object.arrive(Arriving::default()).await
    }

    /// Arrives for the last time: takes no part in the next generation.
    ///
    /// # Errors
    /// As [`Barrier::arrive`].
    pub async fn arrive_and_leave(&self) -> Result<Arrived, AgentError> {
        self.object.arrive(Arriving { leave: true, ..Arriving::default() }).await
    }

    /// Arrives, and lets another agent of the swarm take part from the next generation on.
    ///
    /// # Errors
    /// As [`Barrier::arrive`]; `Unknown` when the swarm has no such agent.
    pub async fn arrive_with(&self, newcomer: &str, tier: Tier) -> Result<Arrived, AgentError> {
        let sponsored = vec![self.seat_of(newcomer, tier)?];
        self.object.arrive(Arriving { sponsored, ..Arriving::default() }).await
    }

    fn seat_of(&self, agent: &str, tier: Tier) -> Result<Seat, AgentError> {
        self.object.document.seat_of(agent, tier)
    }

    /// Waits for the end of the generation arrived in. A strict barrier (`tolerate` 0) also ends the wait when its time
    /// is up, with `Overdue`; waiting again is fine.
    ///
    /// # Errors
    /// As [`Barrier::arrive`].
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn released(&self, arrived: Arrived) -> Result<Passage, AgentError> {
        self.object.released(arrived).await
    }

    /// Says that this agent will not come. Never taken back in this generation.
    ///
    /// # Errors
    /// As [`Barrier::arrive`].
    pub async fn decline(&self) -> Result<(), AgentError> {
        self.object.wish(|node, document, now| node.decline(document, self.object.id, now)).await.map(drop)
    }

    /// Says that this agent has acted on its release: what lower tiers wait for with [`Gate::Acked`].
    ///
    /// # Errors
    /// As [`Barrier::arrive`].
    pub async fn acknowledge(&self) -> Result<(), AgentError> {
        self.object.wish(|node, document, now| node.acknowledge(document, self.object.id, now)).await.map(drop)
    }

    /// What this agent arrived in last, also when that was before a restart: to wait for it. `None` when it has not
    /// spoken yet, or has no seat.
    ///
    /// # Errors
    /// `Node` when the barrier is not known any more.
    pub fn arrived(&self) -> Result<Option<Arrived>, AgentError> {
        self.object.arrived()
    }

    /// The present generation: for somebody who waits for its end without a seat in it.
    ///
    /// # Errors
    /// `Node` when the barrier is not known any more.
    pub fn present(&self) -> Result<Arrived, AgentError> {
        self.object.present()
    }

    /// Where this agent stands in a generation.
    ///
    /// # Errors
    /// `Node` when the barrier is not known any more.
    pub fn standing(&self, generation: u64) -> Result<Standing, AgentError> {
        self.object.standing(generation)
    }

    /// How it stands and what would unblock it.
    ///
    /// # Errors
    /// As [`Barrier::standing`].
    pub fn status(&self) -> Result<ObjectStatus, AgentError> {
        self.object.status()
    }

    /// Finishes it for everybody, decided or not, and frees what it takes.
    ///
    /// # Errors
    /// As [`Barrier::standing`].
    pub async fn clean_up(&self) -> Result<(), AgentError> {
        self.object.clean_up().await
    }
}

impl AgentDocument {
    /// The seat of an agent of the swarm, in its present incarnation.
    ///
    /// # Errors
    /// `Unknown` when the swarm has no such agent.
    pub(super) fn seat_of(&self, agent: &str, tier: Tier) -> Result<Seat, AgentError> {
        let inner = &self.open.agent.inner;
        let members =
            inner.host.with(|node, _| node.read(&inner.swarm_document, crate::document::Document::members))?;
        let found = members.into_iter().find(|(_, member)| member.agent.as_str() == agent);
        let (replica, member) = found.ok_or_else(|| AgentError::Unknown { agent: agent.to_owned() })?;
        Ok(Seat { agent: member.agent, replica, tier })
    }
}
