//! Queues of work.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Object, settings::deciding_settings, setup::Setup, task::Task};
use crate::{
    agent::{AgentDocument, AgentError, to_json},
    coordination::{
        kernel::Tier,
        object::{Purpose, QueueRules},
        queue::{Claimed, Claiming, ItemView, Peeked, QueueStatus},
    },
    id::ObjectId,
    node::Pushing,
};

/// How long a claim holds without renewal, unless set.
const LEASE: Duration = Duration::from_secs(30);
/// How often an item may fail before it is dead, unless set.
const ATTEMPTS: u32 = 5;
/// How far priority reaches, unless set.
const BUCKET: Duration = Duration::from_secs(1);

/// The settings of a queue of `T`.
///
/// ```no_run
/// # async fn example(stage: aepoch::agent::AgentDocument) -> Result<(), aepoch::agent::AgentError> {
/// use aepoch::coordination::{kernel::Tier, queue::Claiming};
/// let jobs = stage.queue::<String>("jobs").members(["planner", "w1", "w2"]).tolerate(1).open().await?;
/// jobs.push(&"tune the guitars".to_owned()).tier(Tier::BETA).await?;
/// let task = jobs.claim(Claiming::Exclusive).await?;
/// println!("{} with token {}", task.payload(), task.token());
/// task.complete().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct QueueBuilder<T> {
    setup: Setup,
    rules: QueueRules,
    of: PhantomData<fn() -> T>,
}

deciding_settings!(QueueBuilder<T>);

impl<T> QueueBuilder<T> {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        let mut setup = Setup::new(document, name);
        setup.fence(false);
        let rules = QueueRules { span_ms: millis(BUCKET), lease: LEASE, attempts: ATTEMPTS };
        Self { setup, rules, of: PhantomData }
    }

    /// Who pushes and claims. They must be known to the swarm before it begins. Unless set: whoever is in the swarm
    /// when it begins; a queue that exists is then taken as it is.
    pub fn members<'a>(mut self, agents: impl IntoIterator<Item = &'a str>) -> Self {
        self.setup.members(Tier::ALPHA, agents);
        self
    }

    /// How long a claim holds without renewal; 30 s unless set. Tasks renew theirs three times as often.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.rules.lease = lease;
        self
    }

    /// How many holders an item may have before it is dead; 5 unless set.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.rules.attempts = attempts;
        self
    }

    /// Items pushed within this span of each other are ordered by tier and deadline; 1 s unless set. Earlier spans
    /// come first whatever their tiers.
    pub fn bucket(mut self, span: Duration) -> Self {
        self.rules.span_ms = millis(span);
        self
    }

    /// The queue, as soon as its definition is here.
    ///
    /// # Errors
    /// `NameTaken` says what differs; `TooManyAgents`, `Name`, `Node` for what cannot be; `Closed`.
    ///
    /// # Cancel safety
    /// Nothing is half done when the future is dropped.
    pub async fn open(mut self) -> Result<Queue<T>, AgentError> {
        self.setup.everybody_unless_named();
        let rules = self.rules;
        let object = self.setup.open(|_| Purpose::Queue(rules.clone()), |_| {}).await?;
        let plan = object.plan()?;
        let Purpose::Queue(rules) = &plan.purpose else {
            let differences = vec![format!("purpose: a queue here, a {} there", plan.purpose.kind())];
            return Err(AgentError::NameTaken { name: plan.definition.name.clone(), differences });
        };
        Ok(Queue { object, lease: rules.lease, of: PhantomData })
    }
}

/// A queue of `T`, as JSON. Cheap to clone.
///
/// **Guarantee.** All agents see the same items in the same order. An exclusive claim has one holder per token, tokens
/// grow with every holder, and one holder completes. **Under partition** a side with fewer than `n - tolerate` of those
/// who decide takes no item over from a holder that is gone; a holder that is cut off may work on after it was replaced,
/// so effects elsewhere have to check the token (`examples/fenced_store.rs`).
pub struct Queue<T> {
    pub(super) object: Object,
    pub(super) lease: Duration,
    of: PhantomData<fn() -> T>,
}

impl<T> Queue<T> {
    /// Which object of the document it is.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    /// Pushes what is to be done: awaiting it returns the item's number once it is durable here.
    pub fn push(&self, payload: &T) -> Push<'_>
    where
        T: Serialize,
    {
        Push { object: &self.object, payload: to_json(payload), tier: Tier::ALPHA, deadline_ms: None }
    }

    /// Waits for an item and takes it.
    ///
    /// # Errors
    /// `Node` when this agent is no member or the queue is gone; `Encode` when the item is no `T`: it is given back
    /// then, as a failed attempt. `Closed`.
    ///
    /// # Cancel safety
    /// An item that was taken while the future was dropped goes back at once.
    pub async fn claim(&self, claiming: Claiming) -> Result<Task<T>, AgentError>
    where
        T: DeserializeOwned,
    {
        let id = self.object.id;
        let ticket = self.object.wish(|node, document, now| node.claim(document, id, claiming, now)).await?.0;
        let waiting = Waiting { object: &self.object, ticket };
        let agent = &self.object.document.open.agent;
        let claimed = agent.wait_for(|node, now| match node.claimed(waiting.object.document.id(), id, ticket, now) {
            Ok(claimed) => claimed.map(Ok),
            Err(error) if error.is_busy() => None,
            Err(error) => Some(Err(error)),
        });
        let (claimed, payload): (Claimed, Bytes) = claimed.await??;
        Task::new(self, claimed, &payload)
    }

    /// The first item that nobody holds.
    ///
    /// # Errors
    /// `Node` when the queue is gone; `Encode` when the item is no `T`.
    pub fn peek(&self) -> Result<Option<Peek<T>>, AgentError>
    where
        T: DeserializeOwned,
    {
        let peeked = self.object.look(|node, document, now| node.peek(document, self.object.id, now))?;
        let peek = |(peeked, payload): (Peeked, Bytes)| {
            let sealed = matches!(peeked, Peeked::Sealed(_));
            let (Peeked::Sealed(view) | Peeked::Tentative(view)) = peeked;
            Ok(Peek { view, payload: decode(&payload)?, sealed })
        };
        peeked.map(peek).transpose()
    }

    /// All items in order, then the dead ones. O(items).
    ///
    /// # Errors
    /// `Node` when the queue is gone.
    pub fn items(&self) -> Result<Vec<ItemView>, AgentError> {
        Ok(self.object.look(|node, document, now| node.items(document, self.object.id, now))?)
    }

    /// How it stands here: counts, and who holds sealing up.
    ///
    /// # Errors
    /// As [`Queue::items`].
    pub fn status(&self) -> Result<QueueStatus, AgentError> {
        Ok(self.object.look(|node, document, _| node.queue_status(document, self.object.id))?)
    }

    /// Begins to offer a dead item again, with all attempts before it.
    ///
    /// # Errors
    /// `Node` when it is not dead or not known, or this agent is no member.
    pub async fn requeue(&self, item: ObjectId) -> Result<(), AgentError> {
        self.object.wish(|node, document, now| node.requeue(document, self.object.id, item, now)).await.map(|_| ())
    }

    /// Begins to give an item up for good.
    ///
    /// # Errors
    /// `Node` when somebody holds it or it is not known, or this agent is no member.
    pub async fn discard(&self, item: ObjectId) -> Result<(), AgentError> {
        self.object.wish(|node, document, now| node.discard(document, self.object.id, item, now)).await.map(|_| ())
    }

    /// Finishes the queue with all its items for everybody, and frees what it takes.
    ///
    /// # Errors
    /// As [`Queue::items`].
    pub async fn clean_up(&self) -> Result<(), AgentError> {
        self.object.clean_up().await
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), lease: self.lease, of: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.object.id).finish()
    }
}

/// The first item of a queue that nobody holds.
#[derive(Debug, Clone)]
pub struct Peek<T> {
    /// What is known of it.
    pub view: ItemView,
    /// What is to be done.
    pub payload: T,
    /// Nothing can come before it any more; else another item may still be on its way.
    pub sealed: bool,
}

/// An item about to be pushed: await it.
#[must_use = "nothing is pushed until it is awaited"]
pub struct Push<'a> {
    object: &'a Object,
    payload: Result<Bytes, AgentError>,
    tier: Tier,
    deadline_ms: Option<u64>,
}

impl Push<'_> {
    /// Its priority; alpha unless set.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// When it should be done: earlier ones come first within their tier. Nothing happens when it passes.
    pub fn deadline(mut self, at: SystemTime) -> Self {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.deadline_ms = Some(millis(since));
        self
    }
}

impl fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("tier", &self.tier).field("deadline_ms", &self.deadline_ms).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Push<'a> {
    type Output = Result<ObjectId, AgentError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    /// Pushes. Fails with `Encode`, or `Node` when the payload is over
    /// [`limits::PAYLOAD_BYTES`](crate::limits::PAYLOAD_BYTES) or this agent is no member. Once it is polled the item is
    /// pushed although the future is dropped.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { object, payload, tier, deadline_ms } = self;
            let payload = payload?;
            let push = object.wish(|node, document, now| {
                let pushing = Pushing { tier, deadline_ms, payload: payload.clone() };
                let item = node.push(document, object.id, pushing, now)?;
                Ok((item, node.slots_written(document)))
            });
            let ((item, upto), _) = push.await?;
            let agent = &object.document.open.agent;
            agent.wait_for(|node, _| (node.slots_kept(object.document.id()) >= upto).then_some(())).await?;
            Ok(item)
        })
    }
}

/// A claim that waits; dropped, it waits no longer.
struct Waiting<'a> {
    object: &'a Object,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (id, ticket) = (self.object.id, self.ticket);
        self.object.do_anyway(move |node, document, now| node.unclaim(document, id, ticket, now));
    }
}

pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, AgentError> {
    serde_json::from_slice(payload).map_err(|error| AgentError::Encode { reason: error.to_string() })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl AgentDocument {
    /// A queue of work: members push items, and claim them one by one.
    pub fn queue<T>(&self, name: &str) -> QueueBuilder<T> {
        QueueBuilder::new(self, name)
    }
}
