//! The wire: packets of a hostile peer, before and after the handshake.

use aepoch::{
    document::{Delta, Incoming},
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Address, Capabilities, Hello, Lane, Message, Role, Session, SessionConfig, encode_message},
    time::Monotonic,
};
use bytes::Bytes;

use crate::pieces;

/// Packets of one run; more only repeats the same steps.
const PACKETS_MAX: usize = 64;

fn session(agent: &str, replica: u64) -> Session {
    let identity = Identity {
        agent: AgentId::new(agent).expect("a valid name"),
        replica: ReplicaId::from_bits(replica),
        incarnation: 1,
    };
    let capabilities = Capabilities::LZ4.with(Capabilities::FORWARDING).with(Capabilities::DURABLE);
    Session::new(SessionConfig { identity, role: Role::Agent, capabilities }, Monotonic(0))
}
