//! What an application is told of a queue. Layer 3, pure.

use serde::Serialize;

use super::state::{Item, Queue};
use crate::{
    coordination::{claim::Claim, kernel::Tier},
    id::{AgentId, ObjectId, ReplicaId},
    time::{Hlc, Monotonic},
};

/// An item that a claim has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub item: ObjectId,
    /// What fences its holder's effects; 0 for an advisory claim, which is not fenced.
    pub token: u64,
    /// The holder may count on it until then, unless it renews: by this node's clock, from before it asked.
    pub until: Monotonic,
}

/// How a hold of this replica's application stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It holds the item.
    Held {
        /// It may count on it until then.
        until: Monotonic,
    },
    /// It has completed the item.
    Done,
    /// The item went back.
    Returned,
    /// Somebody else has it, had it since, or has finished it.
    Lost {
        /// The newest token known; 0 for advisory claims.
        current: u64,
    },
    /// The item is finished and dropped, and it is not known here by whom.
    Gone,
}

/// Who works on an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "occupation")]
pub enum Occupation {
    /// Nobody.
    Open,
    /// Somebody, with a lease that runs as far as known here.
    Held {
        /// Who.
        holder: AgentId,
        /// Its token; 0 for an advisory claim.
        token: u64,
    },
    /// Its last holder's lease is over, as far as known here.
    Expired {
        /// Who held it.
        holder: AgentId,
        /// Its token.
        token: u64,
    },
    /// Its attempts are used up.
    Dead {
        /// The last holder's token.
        token: u64,
    },
}

/// One item as this replica sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemView {
    /// Which.
    pub item: ObjectId,
    /// Its priority.
    pub tier: Tier,
    /// When it should be done, in wall milliseconds.
    pub deadline_ms: Option<u64>,
    /// When it was pushed.
    pub stamp: Hlc,
    /// The agent that pushed it.
    pub pusher: Option<AgentId>,
    /// Nothing can come before it any more but what is here.
    pub sealed: bool,
    /// Who works on it.
    pub occupation: Occupation,
    /// How many holders it has had since it was pushed or requeued.
    pub attempts: u64,
    /// Why the last one gave it back that said so.
    pub failure: Option<String>,
}

/// The first item that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peeked {
    /// Every replica with these items and marks says so, and every later one.
    Sealed(ItemView),
    /// First of those here; another may still come before it.
    Tentative(ItemView),
}

/// How a queue stands at one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// Items that nobody holds.
    pub open: usize,
    /// Items that somebody holds.
    pub held: usize,
    /// Items whose attempts are used up.
    pub dead: usize,
    /// Claims of this replica's application that wait for an item.
    pub waiting: usize,
    /// The first bucket that is not sealed.
    pub sealed_below: u64,
    /// Members whose low mark holds sealing up: nobody has heard enough of them. Empty when no item waits for it.
    pub unsealed_by: Vec<AgentId>,
}

impl Queue {
    /// How a hold stands. O(log n).
    pub fn hold(&self, id: ObjectId, token: u64) -> Hold {
        let claim = match (self.items.get(&id), self.finished.get(&id)) {
            (Some(item), _) if token == 0 => return self.advisory_hold(item),
            (Some(item), _) => item.claim(),
            (None, Some(claim)) => *claim,
            (None, None) => return Hold::Gone,
        };
        match claim {
            Claim::Done { token: done } if done == token => Hold::Done,
            Claim::Held { holder, token: held, .. } if held == token && holder == self.replica => {
                match self.items.get(&id).and_then(|item| item.mine.as_ref()) {
                    Some(mine) => Hold::Held { until: mine.until },
                    None => Hold::Returned,
                }
            }
            Claim::Returned { token: returned } if returned == token => Hold::Returned,
            other => Hold::Lost { current: other.token() },
        }
    }

    fn advisory_hold(&self, item: &Item) -> Hold {
        let (Some(mine), Some(own)) = (&item.mine, item.register.intended()) else { return Hold::Returned };
        let key = |intent: &super::Intent, replica: ReplicaId| (intent.stamp, replica);
        let own = key(&own, self.replica);
        let others =
            item.intents.iter().filter_map(|(seat, (intent, _))| Some(key(intent, self.seats.replica(*seat)?)));
        if others.min().is_some_and(|lowest| lowest < own) {
            return Hold::Lost { current: 0 };
        }
        Hold::Held { until: mine.until }
    }

    /// The first item that nobody holds. O(log n).
    pub fn peek(&self, now: Monotonic) -> Option<Peeked> {
        let (_, id) = self.line.open().first_key_value()?;
        let view = self.item(*id, now)?;
        Some(if view.sealed { Peeked::Sealed(view) } else { Peeked::Tentative(view) })
    }

    /// One item; `None` when it is not here, or finished.
    pub fn item(&self, id: ObjectId, now: Monotonic) -> Option<ItemView> {
        let item = self.items.get(&id)?;
        let claim = item.claim();
        let name = |replica: ReplicaId| self.seats.agent(replica).cloned();
        let intent = item.intents.iter().find(|(_, (_, ends))| *ends > now);
        let intent = intent.and_then(|(seat, _)| self.seats.replica(*seat));
        let advisory = intent.or_else(|| item.register.intended().map(|_| self.replica)).and_then(name);
        let occupation = match (claim, advisory) {
            (Claim::Held { holder, token, .. }, _) => {
                let holder = name(holder)?;
                if item.register.lease_ends().is_some_and(|ends| ends > now) {
                    Occupation::Held { holder, token }
                } else {
                    Occupation::Expired { holder, token }
                }
            }
            (_, Some(holder)) => Occupation::Held { holder, token: 0 },
            (claim, None) if claim.is_dead(self.rules.attempts) => Occupation::Dead { token: claim.token() },
            _ => Occupation::Open,
        };
        Some(ItemView {
            item: id,
            tier: item.key.tier(),
            deadline_ms: item.key.deadline_ms(),
            stamp: item.key.hlc(),
            pusher: name(id.holder),
            sealed: item.key.bucket() < self.sealed_below,
            occupation,
            attempts: claim.attempt(self.rules.attempts),
            failure: item.failure.as_ref().map(|failure| failure.reason.clone()),
        })
    }

    /// All items in order, then the dead ones.
    pub fn views(&self, now: Monotonic) -> impl Iterator<Item = ItemView> {
        self.line.order().values().chain(self.line.dead()).filter_map(move |id| self.item(*id, now))
    }

    /// How it stands. O(members).
    pub fn status(&self) -> QueueStatus {
        let (order, open) = (self.line.order(), self.line.open().len());
        let waits = order.last_key_value().is_some_and(|(key, _)| key.bucket() >= self.sealed_below);
        let behind = |member: &&ReplicaId| {
            let mark = self.marks.get(member).copied().unwrap_or_default();
            self.buckets().of(mark) <= self.sealed_below
        };
        let behind = self.seats.members().iter().filter(|_| waits).filter(behind);
        QueueStatus {
            open,
            held: order.len() - open,
            dead: self.line.dead().len(),
            waiting: self.seekers.len(),
            sealed_below: self.sealed_below,
            unsealed_by: behind.filter_map(|member| self.seats.agent(*member).cloned()).collect(),
        }
    }
}
