//! Decisions.

use serde::{Serialize, de::DeserializeOwned};

use super::{Object, settings::tiered_settings, setup::Setup};
use crate::{
    agent::{AgentDocument, AgentError, to_json},
    coordination::{kernel::Tier, object::Purpose, why::ObjectStatus},
    id::ObjectId,
    node::Arriving,
};

/// The settings of a decision.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct DecisionBuilder {
    setup: Setup,
}

tiered_settings!(DecisionBuilder);

impl DecisionBuilder {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        let mut setup = Setup::new(document, name);
        setup.tolerate_minority();
        setup.fence(false);
        Self { setup }
    }

    /// The decision, as soon as its definition is here. The first member's proposal wins unless it is left out, two
    /// message delays after it was made; then the next one's that made any.
    ///
    /// # Errors
    /// As [`BarrierBuilder::open`](super::BarrierBuilder::open).
    pub async fn open(self) -> Result<Decision, AgentError> {
        let tiers = self.setup.clone();
        let shape = |definition: &mut crate::coordination::kernel::Definition| {
            for (at, seat) in definition.members.iter_mut().enumerate() {
                seat.tier = if at == 0 { Tier::ALPHA } else { Tier::BETA };
            }
            tiers.set_tiers(definition);
        };
        let object = self.setup.open(|_| Purpose::Decision, shape).await?;
        Ok(Decision { object })
    }
}

/// A decision. Cheap to clone.
///
/// **Guarantee.** Whatever anybody is told to be decided is the same value, one that a member proposed. **Under
/// partition** it is made where `n - tolerate` of those who decide are connected, and nowhere else.
#[derive(Debug, Clone)]
pub struct Decision {
    object: Object,
}

impl Decision {
    /// Which object of the document it is.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    /// Proposes a value. Once: a second proposal of this agent is refused.
    ///
    /// # Errors
    /// `Encode`; `Node` when this agent is no member, has proposed already, or the value is over
    /// [`limits::PAYLOAD_BYTES`](crate::limits::PAYLOAD_BYTES).
    pub async fn propose(&self, value: &impl Serialize) -> Result<(), AgentError> {
        let payload = Some(to_json(value)?);
        self.object.arrive(Arriving { payload, ..Arriving::default() }).await.map(|_| ())
    }

    /// Says that this agent proposes nothing, so that nobody waits for it.
    ///
    /// # Errors
    /// As [`Decision::propose`].
    pub async fn abstain(&self) -> Result<(), AgentError> {
        self.object.wish(|node, document, now| node.decline(document, self.object.id, now)).await.map(drop)
    }

    /// Waits for what is decided: `None` when it is decided that nobody has proposed anything.
    ///
    /// # Errors
    /// `Encode` when the value is of another type; `Node` when the decision is not known any more; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn decided<T: DeserializeOwned>(&self) -> Result<Option<T>, AgentError> {
        let (document, id) = (self.object.document.id(), self.object.id);
        let wait = self.object.document.open.agent.wait_for(|node, _| {
            match node.meeting(document, id, |meeting, _| meeting.decided().map(|value| value.cloned())) {
                Ok(decided) => decided.map(Ok),
                Err(error) if error.is_busy() => None,
                Err(error) => Some(Err(error)),
            }
        });
        let decoded = wait.await??.map(|value| serde_json::from_slice(&value)).transpose();
        decoded.map_err(|error| AgentError::Encode { reason: error.to_string() })
    }

    /// How it stands and what would unblock it.
    ///
    /// # Errors
    /// `Node` when the decision is not known any more.
    pub fn status(&self) -> Result<ObjectStatus, AgentError> {
        self.object.status()
    }

    /// Finishes it for everybody and frees what it takes.
    ///
    /// # Errors
    /// As [`Decision::status`].
    pub async fn clean_up(&self) -> Result<(), AgentError> {
        self.object.clean_up().await
    }
}
