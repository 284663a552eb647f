//! The high-level face: agents that exist already take part in flash operations without being rewritten.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::Serialize;

use super::Passage;
use crate::{
    agent::{AgentDocument, AgentError},
    coordination::{kernel::Tier, standing::Standing, why::ObjectStatus},
    driver::JoinSet,
    id::AgentId,
};

/// What an agent does on being told something; awaited before its operation goes on.
pub type Doing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// An agent that takes part in operations of an [`AgentSynchronizer`]. Every method does nothing unless written.
pub trait SynchronizedAgent: Send + Sync + 'static {
    /// It is about to arrive: what it writes here is seen by all who are released.
    fn on_arrive<'a>(&'a self, operation: &'a str) -> Doing<'a> {
        let _ = operation;
        Box::pin(std::future::ready(()))
    }

    /// It is released.
    fn on_release<'a>(&'a self, operation: &'a str, passage: &'a Passage) -> Doing<'a> {
        let _ = (operation, passage);
        Box::pin(std::future::ready(()))
    }

    /// A phase has begun: the work of the phase, finished when this returns.
    fn on_phase<'a>(&'a self, operation: &'a str, phase: &'a str) -> Doing<'a> {
        let _ = (operation, phase);
        Box::pin(std::future::ready(()))
    }

    /// It came too late, or the others have gone on.
    fn on_late<'a>(&'a self, operation: &'a str, passage: &'a Passage) -> Doing<'a> {
        let _ = (operation, passage);
        Box::pin(std::future::ready(()))
    }

    /// The operation is broken, or its time is up and nobody may be left out.
    fn on_broken<'a>(&'a self, operation: &'a str, passage: &'a Passage) -> Doing<'a> {
        let _ = (operation, passage);
        Box::pin(std::future::ready(()))
    }
}

/// What became of an operation for the agents of this synchronizer.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    /// Its name.
    pub operation: String,
    /// How each agent got through: for an epoch, through each of its phases, in order.
    pub passages: BTreeMap<AgentId, Vec<Passage>>,
}

impl SyncReport {
    /// True when every agent here was released every time, with nobody missing.
    pub fn is_complete(&self) -> bool {
        self.passages.values().flatten().all(Passage::is_complete)
    }

    /// The longest any agent here waited at one barrier.
    pub fn waited(&self) -> Duration {
        self.passages.values().flatten().map(|passage| passage.waited).max().unwrap_or_default()
    }

    /// Members that took part and all members, over the last outcome any agent here knows.
    pub fn participation(&self) -> (usize, usize) {
        let last = self.passages.values().filter_map(|passages| passages.last()?.outcome());
        let widest = last.max_by_key(|outcome| outcome.tiers.len());
        widest.map_or((0, 0), |outcome| {
            let released = outcome.released().count();
            (released, released + outcome.missing().count())
        })
    }
}

type Member = (AgentDocument, Arc<dyn SynchronizedAgent>);

/// Flash operations for the agents of one process: any number of agents, any number of operations at once. Every process
/// of a swarm has its own; they meet in the document.
///
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct AgentSynchronizer {
    members: Vec<Member>,
}

impl AgentSynchronizer {
    /// A synchronizer without agents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent: its document, and what it does.
    #[must_use]
    pub fn with(mut self, document: AgentDocument, agent: Arc<dyn SynchronizedAgent>) -> Self {
        self.members.push((document, agent));
        self
    }

    /// Lets the agents of this process that are named arrive at a barrier: `alpha` is released first, then `regular`.
    /// Any minority may be missing once the time is up: `timeout` for alphas, twice that for the others.
    ///
    /// # Errors
    /// As [`BarrierBuilder::arrive`](super::BarrierBuilder::arrive): the first of any agent here; the others go on.
    ///
    /// # Cancel safety
    /// Arrivals are not taken back when the future is dropped.
    pub async fn sync_alpha_agents(
        &self,
        operation: &str,
        alpha: &[&str],
        regular: &[&str],
        timeout: Duration,
    ) -> Result<SyncReport, AgentError> {
        let mut tasks = JoinSet::new();
        for (document, agent) in self.named(alpha.iter().chain(regular)) {
            let tiers = document.barrier(operation).members(Tier::ALPHA, alpha.iter().copied());
            let tiers = tiers.members(Tier::BETA, regular.iter().copied()).at_most(alpha.len() + regular.len());
            let builder = tiers.tolerate_minority().timeout(Tier::ALPHA, timeout).timeout(Tier::BETA, timeout * 2);
            let operation = operation.to_owned();
            tasks.spawn(async move {
                let barrier = builder.open().await?;
                agent.on_arrive(&operation).await;
                let passage = barrier.arrive().await?;
                told(&*agent, &operation, &passage).await;
                Ok((document.open.agent.name().clone(), vec![passage]))
            });
        }
        collect(operation, tasks).await
    }

    /// Lets the agents of this process that are named go through the phases of an epoch: each does a phase's work
    /// ([`SynchronizedAgent::on_phase`]), then waits for the others. Any minority may be left out when a phase takes
    /// longer than `window`; an agent that was goes no further.
    ///
    /// # Errors
    /// As [`Epoch::finish`](super::Epoch::finish).
    ///
    /// # Cancel safety
    /// What is finished stays finished when the future is dropped.
    pub async fn sync_with_epoch(
        &self,
        operation: &str,
        agents: &[&str],
        phases: &[&str],
        window: Duration,
    ) -> Result<SyncReport, AgentError> {
        let mut tasks = JoinSet::new();
        for (document, agent) in self.named(agents) {
            let builder = document.epoch(operation).members(Tier::ALPHA, agents.iter().copied()).at_most(agents.len());
            let builder = builder.phases(phases.iter().copied()).window(window).tolerate_minority();
            let (operation, phases) = (operation.to_owned(), phases.iter().map(|name| (*name).to_owned()));
            let phases: Vec<String> = phases.collect();
            tasks.spawn(async move {
                let epoch = builder.open().await?;
                let mut passages = Vec::new();
                for phase in &phases {
                    agent.on_phase(&operation, phase).await;
                    let passage = epoch.finish(phase).await?;
                    told(&*agent, &operation, &passage).await;
                    let goes_on = passage.is_released();
                    passages.push(passage);
                    if !goes_on {
                        break;
                    }
                }
                Ok((document.open.agent.name().clone(), passages))
            });
        }
        collect(operation, tasks).await
    }

    /// How an operation stands and what would unblock it; `None` when none goes by that name, or it is finished.
    ///
    /// # Errors
    /// The document cannot be reached.
    pub fn status(&self, operation: &str) -> Result<Option<ObjectStatus>, AgentError> {
        let Some((document, _)) = self.members.first() else { return Ok(None) };
        Ok(document.explain()?.into_iter().find(|status| status.barrier.name == operation))
    }

    /// Finishes an operation for everybody and frees what it takes; false when none goes by that name.
    ///
    /// # Errors
    /// The document cannot be reached.
    pub async fn cleanup(&self, operation: &str) -> Result<bool, AgentError> {
        match self.members.first() {
            Some((document, _)) => document.clean_up(operation).await,
            None => Ok(false),
        }
    }

    /// The members among these.
    fn named<'a>(&self, names: impl IntoIterator<Item = &'a &'a str>) -> Vec<Member> {
        let names: Vec<&str> = names.into_iter().copied().collect();
        let here = self.members.iter().filter(|(document, _)| names.contains(&document.open.agent.name().as_str()));
        here.cloned().collect()
    }
}

impl fmt::Debug for AgentSynchronizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSynchronizer").field("members", &self.members.len()).finish()
    }
}

async fn told(agent: &dyn SynchronizedAgent, operation: &str, passage: &Passage) {
    match passage.standing {
        Standing::Released(_) => agent.on_release(operation, passage).await,
        Standing::Late(_) | Standing::Superseded { .. } | Standing::Closed => agent.on_late(operation, passage).await,
        Standing::Broken(_) | Standing::Overdue { .. } | Standing::Waiting => {
            agent.on_broken(operation, passage).await;
        }
    }
}

async fn collect(
    operation: &str,
    mut tasks: JoinSet<Result<(AgentId, Vec<Passage>), AgentError>>,
) -> Result<SyncReport, AgentError> {
    let mut report = SyncReport { operation: operation.to_owned(), passages: BTreeMap::new() };
    let mut failed = None;
    while let Some(joined) = tasks.join_next().await {
        match joined.map_err(|error| AgentError::Internal { reason: error.to_string() }) {
            Ok(Ok((name, passages))) => {
                report.passages.insert(name, passages);
            }
            Ok(Err(error)) | Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(report), Err)
}
