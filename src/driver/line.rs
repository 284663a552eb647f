//! What is spoken on a connection: our own protocol with agents, or that of another library with its clients.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use super::connection::Ended;
use crate::{
    sync::{Encoded, Received, Session, SessionError},
    time::Monotonic,
    trust::{authority::Authority, possession::Holder},
    wires::{Ask, GuestSession, Told, Word},
};

/// What has passed over the connections of one wire, for metrics.
#[derive(Debug, Default)]
pub(crate) struct WireTraffic {
    pub(crate) connections: AtomicU64,
    pub(crate) updates_in: AtomicU64,
    pub(crate) updates_out: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl WireTraffic {
    /// Open connections, updates received and sent, refusals.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [&self.connections, &self.updates_in, &self.updates_out, &self.refused]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// One side of a conversation.
#[derive(Debug)]
pub(crate) enum Line {
    Peer { session: Box<Session>, received: Vec<Received> },
    Guest { session: Box<GuestSession>, asks: Vec<Ask>, traffic: Arc<WireTraffic> },
}

/// What was heard on it.
#[derive(Debug)]
pub(crate) enum Heard {
    Peer(Received),
    Guest(Ask),
}

impl Line {
    pub(crate) fn peer(session: Session) -> Self {
        Self::Peer { session: Box::new(session), received: Vec::new() }
    }

    pub(crate) fn guest(session: GuestSession, traffic: Arc<WireTraffic>) -> Self {
        Self::Guest { session: Box::new(session), asks: Vec::new(), traffic }
    }

    /// Takes a packet in; what it holds is added to `heard`, also what came before an error.
    pub(crate) fn receive(&mut self, packet: Bytes, now: Monotonic, heard: &mut Vec<Heard>) -> Result<(), Ended> {
        match self {
            Self::Peer { session, received } => {
                let result = session.receive(packet, now, received);
                heard.extend(received.drain(..).map(Heard::Peer));
                result.map_err(Ended::from)
            }
            Self::Guest { session, asks, traffic } => {
                let result = session.receive(&packet, now, asks);
                let updates = asks.iter().filter(|ask| matches!(ask, Ask::Update { .. } | Ask::Sync { .. })).count();
                traffic.updates_in.fetch_add(updates as u64, Ordering::Relaxed);
                heard.extend(asks.drain(..).map(Heard::Guest));
                result.map_err(Ended::from)
            }
        }
    }

    /// Queues a message for a peer; guests are told words.
    pub(crate) fn send(&mut self, encoded: Encoded) {
        if let Self::Peer { session, .. } = self {
            session.send(encoded);
        }
    }

    /// Queues a word for a guest; peers are sent messages.
    pub(crate) fn tell(&mut self, told: &Arc<Told>, now: Monotonic) {
        let Self::Guest { session, traffic, .. } = self else { return };
        let count = match told.word() {
            Word::Update(_) | Word::Lacking(_) | Word::Sync(_) => Some(&traffic.updates_out),
            Word::Refused { .. } => Some(&traffic.refused),
            _ => None,
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        session.tell(told, now);
    }

    pub(crate) fn judge_by(&mut self, authority: Authority) {
        match self {
            Self::Peer { session, .. } => session.judge_by(authority),
            Self::Guest { session, .. } => session.judge_by(&authority),
        }
    }

    pub(crate) fn show(&mut self, holder: Holder) -> Result<(), SessionError> {
        match self {
            Self::Peer { session, .. } => session.show(holder),
            Self::Guest { .. } => Ok(()),
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        match self {
            Self::Peer { session, .. } => session.poll_transmit(),
            Self::Guest { session, .. } => session.poll_transmit(),
        }
    }

    pub(crate) fn discard(&mut self) {
        match self {
            Self::Peer { session, .. } => session.discard(),
            Self::Guest { session, .. } => session.discard(),
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        match self {
            Self::Peer { session, .. } => session.queued_bytes(),
            Self::Guest { session, .. } => session.queued_bytes(),
        }
    }

    pub(crate) fn take_drained(&mut self) -> Option<u64> {
        match self {
            Self::Peer { session, .. } => session.take_drained(),
            Self::Guest { session, .. } => session.take_drained(),
        }
    }

    pub(crate) fn has_drained(&self) -> bool {
        match self {
            Self::Peer { session, .. } => session.has_drained(),
            Self::Guest { session, .. } => session.has_drained(),
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Monotonic> {
        match self {
            Self::Peer { session, .. } => session.next_wake(),
            Self::Guest { session, .. } => session.next_wake(),
        }
    }

    pub(crate) fn tick(&mut self, now: Monotonic) -> Result<(), Ended> {
        match self {
            Self::Peer { session, .. } => session.tick(now).map_err(Ended::from),
            Self::Guest { session, .. } => session.tick(now).map_err(Ended::from),
        }
    }
}
