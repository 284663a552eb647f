//! Why a session ended.

use std::time::Duration;

use crate::error::Fault;

/// Why a session ended, or a message could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer's bytes break the protocol.
    #[error("protocol broken: {reason}")]
    Protocol {
        /// What is wrong, with value and limit.
        reason: String,
    },
    /// No protocol version in common.
    #[error("no protocol version in common: we speak {ours:?}, the peer {theirs:?}")]
    Version {
        /// Lowest and highest we speak.
        ours: (u16, u16),
        /// Lowest and highest the peer speaks.
        theirs: (u16, u16),
    },
    /// Something is larger than its limit.
    #[error("{what} of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The peer was silent for too long.
    #[error("nothing heard for {waited:?} during {during}")]
    Timeout {
        /// What the session was doing.
        during: &'static str,
        /// How long it waited.
        waited: Duration,
    },
}

impl SessionError {
    pub(super) fn protocol(reason: String) -> Self {
        Self::Protocol { reason }
    }

    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Timeout { .. } => Fault::Environment,
            _ => Fault::Peer,
        }
    }

    /// True when connecting again may help.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// The WebSocket close code. 44xx is final, 45xx means "come back later".
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Protocol { .. } => 4400,
            Self::Version { .. } => 4406,
            Self::TooLarge { .. } => 4413,
            Self::Timeout { .. } => 4508,
        }
    }
}
