//! Transports: ways to move packets between two nodes. Layer 1: knows bytes only.
//!
//! A transport keeps packets whole and in order, and is polled from one task. Which packet goes next is the session's
//! business, so a transport should hold as little as it can.

use bytes::Bytes;
use futures_util::{Sink, Stream};

mod memory;
#[cfg(feature = "websocket")]
mod websocket;

pub use memory::{MemoryTransport, memory_pair};
#[cfg(feature = "relay")]
pub(crate) use websocket::{SUBPROTOCOL, set_prompt};
#[cfg(feature = "websocket")]
pub use websocket::{WebSocketTransport, accept_websocket, connect_websocket, websocket_config};

/// Why a transport ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be used.
    #[error("cannot use the address `{address}`: {reason}")]
    Address {
        /// The address given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection could not be made.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection broke.
    #[error("connection lost: {reason}")]
    Lost {
        /// What the system said.
        reason: String,
    },
    /// The peer sent what the transport cannot carry.
    #[error("the peer sent {what}")]
    Unexpected {
        /// What it sent.
        what: String,
    },
}

/// Moves packets both ways.
pub trait Transport:
    Stream<Item = Result<Bytes, TransportError>> + Sink<Bytes, Error = TransportError> + Send + Unpin + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Bytes, TransportError>> + Sink<Bytes, Error = TransportError> + Send + Unpin + 'static
{
}
