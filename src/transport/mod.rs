//! Transports: ways to move packets between two nodes. Layer 1: knows bytes only.
//!
//! A transport keeps packets whole and in order, and is polled from one task. Which packet goes next is the session's
//! business, so a transport should hold as little as it can.

#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{Sink, Stream};

use crate::{error::CloseCode, limits};

#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
mod ask;
#[cfg(all(feature = "websocket", target_family = "wasm"))]
mod browser;
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
mod dial;
mod memory;
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
pub(crate) mod tls;
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
mod websocket;

#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
pub use ask::Question;
#[cfg(all(feature = "websocket", target_family = "wasm"))]
pub use browser::{Dialer, WebSocketTransport};
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
pub use dial::{Dialer, Endpoint, connect_websocket};

pub use memory::{MemoryTransport, memory_pair};
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
pub use tls::{PinError, SpkiPin, TlsTrust};
#[cfg(feature = "relay")]
pub(crate) use websocket::set_prompt;
#[cfg(all(feature = "websocket", not(target_family = "wasm")))]
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
    #[cfg(all(feature = "websocket", not(target_family = "wasm")))]
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

/// The WebSocket subprotocol both ends agree on. A token of RFC 6455, which browsers insist on: no slash.
#[cfg(feature = "websocket")]
pub(crate) const SUBPROTOCOL: &str = "aepoch.1";

/// What a close frame says, if it says more than "done".
#[cfg(feature = "websocket")]
pub(crate) fn said(code: u16, reason: &str) -> Option<TransportError> {
    (code != 1000).then(|| TransportError::Closed { code: CloseCode(code), reason: reason.to_owned() })
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
