//! How an agent stands.

use std::sync::{PoisonError, atomic::Ordering};

use serde::Serialize;

use super::Inner;
use crate::{id::AgentId, node::TargetState};

/// A relay this agent was told to connect to.
#[derive(Debug, Clone, Serialize)]
pub struct RelayStatus {
    /// Its address.
    pub address: String,
    /// What the connection is doing.
    pub state: TargetState,
    /// Failed dials in a row.
    pub failures: u32,
    /// Connections in a row that it closed for good, as it does when it admits us no longer; trying goes on.
    pub turned_away: u32,
    /// Why the last connection or dial ended; `None` as long as none has.
    pub reason: Option<String>,
}

/// How an agent stands right now.
#[derive(Debug, Clone, Serialize)]
pub struct AgentStatus {
    /// At least one connection is ready.
    pub online: bool,
    /// The agents and relays at the other ends.
    pub peers: Vec<AgentId>,
    /// The relays to keep connections to.
    pub relays: Vec<RelayStatus>,
    /// Local commits not yet durable where they should be: at a relay when one was named, else in the store.
    pub unsynced: u64,
    /// Wall time of the last acknowledgement, in milliseconds since 1970.
    pub last_ack_ms: Option<u64>,
    /// Why something is unsynced, in one sentence.
    pub stalled: Option<String>,
    /// Bytes received since the start, over all connections.
    pub bytes_in: u64,
    /// Bytes sent since the start.
    pub bytes_out: u64,
}

pub(super) fn status_of(inner: &Inner) -> AgentStatus {
    let node = inner.host.with(|node, _| node.status());
    let relays = node.targets.iter().filter_map(|known| {
        let address = inner.relays.get(known.target.0 as usize)?.clone();
        let (state, failures, turned_away) = (known.state, known.failures, known.turned_away);
        Some(RelayStatus { address, state, failures, turned_away, reason: known.reason.clone() })
    });
    AgentStatus {
        online: node.online,
        relays: relays.collect(),
        peers: node.peers,
        unsynced: node.unsynced,
        last_ack_ms: *inner.last_ack.lock().unwrap_or_else(PoisonError::into_inner),
        stalled: node.stalled,
        bytes_in: inner.traffic.bytes_in.load(Ordering::Relaxed),
        bytes_out: inner.traffic.bytes_out.load(Ordering::Relaxed),
    }
}
