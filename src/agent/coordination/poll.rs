//! Polls.

use super::{Object, settings::tiered_settings, setup::Setup};
use crate::{
    agent::{AgentDocument, AgentError},
    coordination::{object::Purpose, poll::PollOutcome, why::ObjectStatus},
    id::ObjectId,
};

/// The settings of a poll.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PollBuilder {
    setup: Setup,
    options: Vec<String>,
    threshold: Option<u64>,
    weights: Vec<(String, u32)>,
    closable: bool,
}

tiered_settings!(PollBuilder);

impl PollBuilder {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        let setup = Setup::new(document, name);
        Self { setup, options: Vec::new(), threshold: None, weights: Vec::new(), closable: false }
    }

    /// What is voted for.
    pub fn options<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.options = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// The weight of a member's vote; 1 unless set.
    pub fn weight(mut self, agent: &str, weight: u32) -> Self {
        self.weights.push((agent.to_owned(), weight));
        self
    }

    /// The weight that approves: more than half of all, which is also what is taken unless set.
    pub fn threshold(mut self, weight: u64) -> Self {
        self.threshold = Some(weight);
        self
    }

    /// Close it when its time is up: only votes that are agreed on then count, and whoever is left out abstains. It takes
    /// `tolerate` above 0 for anybody to be left out.
    pub fn closable(mut self) -> Self {
        self.closable = true;
        self
    }

    /// The poll, as soon as its definition is here.
    ///
    /// # Errors
    /// As [`BarrierBuilder::open`](super::BarrierBuilder::open).
    pub async fn open(mut self) -> Result<PollHandle, AgentError> {
        self.setup.fence(false);
        let Self { setup, options, threshold, weights, closable } = self;
        let purpose = |seats: &[crate::coordination::kernel::Seat]| {
            let weight =
                |agent: &str| weights.iter().rev().find(|(name, _)| name == agent).map_or(1, |(_, weight)| *weight);
            let weights: Vec<u32> = seats.iter().map(|seat| weight(seat.agent.as_str())).collect();
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let threshold = threshold.unwrap_or(total / 2 + 1);
            Purpose::Poll { options: options.clone(), weights, threshold, closable }
        };
        let object = setup.open(purpose, |_| {}).await?;
        Ok(PollHandle { object })
    }
}

/// A poll. Cheap to clone.
///
/// **Guarantee.** At most one option is ever approved, and what is approved stays so. **Under partition** each side
/// counts the votes it has: it may stay pending, for ever if too few vote.
#[derive(Debug, Clone)]
pub struct PollHandle {
    object: Object,
}

impl PollHandle {
    /// Which object of the document it is.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    /// Votes. Never taken back.
    ///
    /// # Errors
    /// `NoOption` when there is none of that name; `Node` when this agent has voted already or is no member.
    pub async fn vote(&self, option: &str) -> Result<(), AgentError> {
        let plan = self.object.plan()?;
        let Purpose::Poll { options, .. } = &plan.purpose else {
            return Err(AgentError::NoOption { option: option.to_owned(), options: Vec::new() });
        };
        let found = options.iter().position(|known| known == option);
        let number = found.and_then(|number| u32::try_from(number).ok());
        let number =
            number.ok_or_else(|| AgentError::NoOption { option: option.to_owned(), options: options.clone() })?;
        self.object.wish(|node, document, now| node.vote(document, self.object.id, number, now)).await.map(drop)
    }

    /// How it stands.
    ///
    /// # Errors
    /// `Node` when the poll is not known any more.
    pub fn outcome(&self) -> Result<PollOutcome, AgentError> {
        let looked = self
            .object
            .look(|node, document, _| node.meeting(document, self.object.id, |meeting, _| meeting.poll_outcome()));
        Ok(looked?.unwrap_or(PollOutcome::Pending))
    }

    /// Waits for the end: the approved option, or `None` when none can be approved any more.
    ///
    /// # Errors
    /// As [`PollHandle::outcome`]; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn decided(&self) -> Result<Option<String>, AgentError> {
        let (document, id) = (self.object.document.id(), self.object.id);
        let wait = self.object.document.open.agent.wait_for(|node, _| {
            match node.meeting(document, id, |meeting, _| (meeting.poll_outcome(), meeting.plan().clone())) {
                Ok((Some(PollOutcome::Approved(option)), plan)) => Some(Ok(plan.option(option).map(str::to_owned))),
                Ok((Some(PollOutcome::Failed), _)) => Some(Ok(None)),
                Ok(_) => None,
                Err(error) if error.is_busy() => None,
                Err(error) => Some(Err(error)),
            }
        });
        Ok(wait.await??)
    }

    /// How it stands and what would unblock it.
    ///
    /// # Errors
    /// As [`PollHandle::outcome`].
    pub fn status(&self) -> Result<ObjectStatus, AgentError> {
        self.object.status()
    }

    /// Finishes it for everybody and frees what it takes.
    ///
    /// # Errors
    /// As [`PollHandle::outcome`].
    pub async fn clean_up(&self) -> Result<(), AgentError> {
        self.object.clean_up().await
    }
}
