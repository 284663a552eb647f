//! Transports: ways to move packets between two nodes. Layer 1: knows bytes only.
//!
//! A transport keeps packets whole and in order, and is polled from one task. Which packet goes next is the session's
//! business, so a transport should hold as little as it can.

#[cfg(feature = "websocket")]
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{Sink, Stream};

use crate::{error::CloseCode, limits};

#[cfg(feature = "websocket")]
mod ask;
#[cfg(feature = "websocket")]
mod dial;
mod memory;
#[cfg(feature = "websocket")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(feature = "websocket")]
pub use ask::Question;
#[cfg(feature = "websocket")]
pub use dial::{Dialer, Endpoint, connect_websocket};

pub use memory::{MemoryTransport, memory_pair};
#[cfg(feature = "websocket")]
pub use tls::{PinError, SpkiPin, TlsTrust};
#[cfg(feature = "relay")]
pub(crate) use websocket::{SUBPROTOCOL, said, set_prompt};
#[cfg(feature = "websocket")]
pub use websocket::{WebSocketTransport, accept_websocket, websocket_config};

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
    /// The file of authorities cannot be used.
    #[cfg(feature = "websocket")]
    #[error("no authorities from `{}`: {reason}", path.display())]
    Authorities {
        /// The file; empty for those built in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke.
    #[error("connection lost: {reason}")]
    Lost {
        /// What the system said.
        reason: String,
    },
    /// The peer closed the connection and said why.
    #[error("closed by the peer with {code}: {reason}")]
    Closed {
        /// What it is to us.
        code: CloseCode,
        /// The peer's sentence; may be empty.
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
    /// What the peer is to be told when this end is closed: it gets [`TransportError::Closed`], with the reason cut to
    /// [`limits::CLOSE_REASON_BYTES`]. Call it before closing. An end that closes without it just ends.
    fn explain(&mut self, code: CloseCode, reason: &str);

    /// 32 bytes that only the two ends of this very connection know and that are the same at both: a proof that is
    /// bound to them is worth nothing on another connection (RFC 5705). None without TLS.
    fn binding(&self) -> Option<[u8; 32]> {
        None
    }
}

/// As much of a reason as a close frame holds.
pub(crate) fn short(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(limits::CLOSE_REASON_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let long = format!("{}é", "x".repeat(limits::CLOSE_REASON_BYTES - 1));
        assert_eq!(short(&long), &long[..limits::CLOSE_REASON_BYTES - 1]);
        assert_eq!(short(&long[1..]), &long[1..]);
    }
}
