//! Vocabulary shared by every error type: whose fault it is, and how a peer is told. Layer 0.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who has to change something for the operation to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The caller: a wrong type, an oversize value, a name that does not exist.
    Caller,
    /// The peer: it sent what the protocol forbids.
    Peer,
    /// The surroundings: disk, network, time. Retrying may help.
    Environment,
    /// This library. Please report it.
    Internal,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Peer => "peer",
            Self::Environment => "environment",
            Self::Internal => "internal",
        })
    }
}

/// Why a connection is closed, in the range WebSocket leaves to applications (RFC 6455, section 7.4.2).
/// `docs/wire.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The bytes break the protocol.
    pub const PROTOCOL: Self = Self(4400);
    /// Who the peer is has not been shown, or does not count, or no longer.
    pub const UNAUTHENTICATED: Self = Self(4401);
    /// The policy has changed: this agent takes no part any more. Nothing that was queued is sent.
    pub const REVOKED: Self = Self(4403);
    /// No protocol version in common.
    pub const VERSION: Self = Self(4406);
    /// The same replica has connected once more.
    pub const REPLACED: Self = Self(4409);
    /// Something is over its limit.
    pub const TOO_LARGE: Self = Self(4413);
    /// Inputs had to be refused too often.
    pub const REFUSED: Self = Self(4422);
    /// As many connections as the agent may have.
    pub const TOO_MANY: Self = Self(4429);
    /// A fault of the side that closes.
    pub const INTERNAL: Self = Self(4500);
    /// The side that closes is going away.
    pub const GOING_AWAY: Self = Self(4503);
    /// The agent's rights have changed: come back and join what is left. Nothing that was queued is sent.
    pub const RIGHTS: Self = Self(4505);
    /// The handshake, the peer or a message took too long.
    pub const TIMEOUT: Self = Self(4508);

    /// True when nothing more may be sent before the close.
    pub const fn cuts_off(self) -> bool {
        matches!(self, Self::REVOKED | Self::RIGHTS)
    }

    /// True when connecting again in the same way leads to the same end.
    pub const fn is_final(self) -> bool {
        matches!(self.0, 4400..=4499)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
