//! Items of a queue that this agent works on.

use std::fmt;

use serde::de::DeserializeOwned;

use super::{
    Object,
    queue::{Queue, decode},
};
use crate::{
    agent::AgentError,
    coordination::{
        claim::ClaimRefusal,
        participant::ParticipantError,
        queue::{Claimed, Hold, QueueError},
    },
    driver::{JoinHandle, sleep, spawn},
    id::ObjectId,
    node::NodeError,
};

/// An item this agent has claimed. Its lease is renewed for as long as this lives; dropped, the item is given back.
///
/// Renewal keeps others from taking over; it proves nothing to the outside. What the work does elsewhere has to carry
/// [`Task::token`] to a place that refuses lower ones.
pub struct Task<T> {
    hold: Option<Held>,
    token: u64,
    item: ObjectId,
    payload: T,
}

/// The hold itself, apart from what was pushed.
struct Held {
    object: Object,
    claimed: Claimed,
    renewing: JoinHandle<()>,
}

impl<T: DeserializeOwned> Task<T> {
    pub(super) fn new(queue: &Queue<T>, claimed: Claimed, payload: &[u8]) -> Result<Self, AgentError> {
        let (object, every) = (queue.object.clone(), queue.lease / 3);
        let renewed = object.clone();
        let renewing = spawn(async move {
            loop {
                sleep(every).await;
                if renewed.document.open.agent.inner.host.is_stopped() {
                    return;
                }
                let of = (claimed.item, claimed.token);
                match renewed.with(|node, document, now| node.renew(document, renewed.id, of, now)) {
                    Err(error) if !error.is_busy() => return,
                    _ => {}
                }
            }
        });
        let held = Held { object, claimed, renewing };
        match decode(payload) {
            Ok(payload) => Ok(Self { hold: Some(held), token: claimed.token, item: claimed.item, payload }),
            Err(error) => {
                held.give_back(&error.to_string());
                Err(error)
            }
        }
    }
}

impl<T> Task<T> {
    /// Which item it is.
    pub fn item(&self) -> ObjectId {
        self.item
    }

    /// What fences its effects: higher for every later holder of the item. 0 for an advisory claim, which has none.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// What is to be done.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// True while this agent may count on its lease. An observation, out of date as soon as it is made.
    pub fn is_held(&self) -> bool {
        self.hold.as_ref().is_some_and(|held| {
            held.object.with(|node, document, now| {
                let hold = node.hold(document, held.object.id, (held.claimed.item, held.claimed.token));
                matches!(hold, Ok(Hold::Held { until }) if until > now.mono)
            })
        })
    }

    /// Declares the item done, once and for all, and waits until that stands.
    ///
    /// # Errors
    /// `Node`: a stale token is named together with the current one. `Closed`.
    ///
    /// # Cancel safety
    /// Once it is polled the item may be done although the future is dropped.
    pub async fn complete(mut self) -> Result<(), AgentError> {
        let Some(held) = self.hold.take() else { return Ok(()) };
        let of = (held.claimed.item, held.claimed.token);
        let id = held.object.id;
        let begun = held.object.wish(|node, document, now| node.complete(document, id, of, now)).await;
        if let Err(error) = begun {
            held.renewing.abort();
            return Err(error);
        }
        held.ended(Hold::Done).await
    }

    /// Gives the item back as failed, with a reason for whoever looks at it, and waits until others can take it.
    ///
    /// # Errors
    /// As [`Task::complete`].
    ///
    /// # Cancel safety
    /// Once it is polled the item is given back although the future is dropped.
    pub async fn fail(mut self, reason: &str) -> Result<(), AgentError> {
        let Some(held) = self.hold.take() else { return Ok(()) };
        let of = (held.claimed.item, held.claimed.token);
        let id = held.object.id;
        let begun = held.object.wish(|node, document, now| node.fail(document, id, of, reason, now)).await;
        if let Err(error) = begun {
            held.renewing.abort();
            return Err(error);
        }
        held.ended(Hold::Returned).await
    }
}

impl Held {
    /// Waits until the hold has ended, and says whether it ended like that.
    async fn ended(self, wanted: Hold) -> Result<(), AgentError> {
        let (object, of) = (&self.object, (self.claimed.item, self.claimed.token));
        let agent = &object.document.open.agent;
        let hold = agent.wait_for(|node, _| match node.hold(object.document.id(), object.id, of) {
            Ok(Hold::Held { .. }) => None,
            Err(error) if error.is_busy() => None,
            hold => Some(hold),
        });
        let hold = hold.await;
        self.renewing.abort();
        match hold?? {
            hold if hold == wanted => Ok(()),
            Hold::Gone => Err(refused(QueueError::Unknown { item: of.0 })),
            Hold::Lost { current } => Err(refused(ClaimRefusal::Stale { token: of.1, current }.into())),
            // It was done or given back some other way: by an earlier wish, or at a restart.
            _ => Err(refused(ClaimRefusal::Stale { token: of.1, current: of.1 }.into())),
        }
    }

    fn give_back(self, reason: &str) {
        self.renewing.abort();
        let (id, of, reason) = (self.object.id, (self.claimed.item, self.claimed.token), reason.to_owned());
        self.object.do_anyway(move |node, document, now| node.fail(document, id, of, &reason, now));
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(held) = self.hold.take() {
            held.give_back("its task was dropped");
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Task");
        shown.field("item", &self.item).field("token", &self.token).field("payload", &self.payload).finish()
    }
}

fn refused(error: QueueError) -> AgentError {
    NodeError::from(ParticipantError::from(error)).into()
}
