//! Why a session ended, and why a message was refused. Layer 3, pure.

use std::time::Duration;

use crate::{
    error::{CloseCode, Fault},
    id::AgentId,
    trust::possession::PossessionError,
};

/// Why a message cannot be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message, or a part of it, is larger than its limit.
    #[error("{what} of {size} is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size, in bytes unless `what` says otherwise.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not a message.
    #[error("a message {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

impl MessageError {
    /// Who has to change something: whoever made the message. A session that received it blames its peer.
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }

    /// True when the same message may be accepted later: never.
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl From<MessageError> for SessionError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::TooLarge { what, size, max } => Self::TooLarge { what, size, max },
            MessageError::Malformed { .. } => Self::protocol(error.to_string()),
        }
    }
}

/// Why a session ended.
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
    #[error("{what} of {size} is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size, in bytes unless `what` says otherwise.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The peer was silent, or a message stood still, for too long.
    #[error("nothing heard for {waited:?} during {during}")]
    Timeout {
        /// What the session was doing.
        during: &'static str,
        /// How long it waited.
        waited: Duration,
    },
    /// The peer asks for a credential.
    #[error("the peer asks for a credential, and this agent has none")]
    NoCredential,
    /// Our own credential cannot be shown.
    #[error("the peer asks for a credential, and ours cannot be shown: {reason}")]
    Unfit {
        /// What is wrong with it.
        reason: String,
    },
    /// Something else came before the credential that was asked for.
    #[error("a credential is asked for, and a frame of kind {kind} came instead")]
    Unauthenticated {
        /// What came.
        kind: String,
    },
    /// The peer's credential does not let it in.
    #[error("not let in: {0}")]
    Refused(#[from] PossessionError),
    /// The peer's credential has ended, and it has shown no newer one.
    #[error("the credential of `{agent}` expired at {expires}")]
    Expired {
        /// The agent.
        agent: AgentId,
        /// When, in seconds since 1970.
        expires: u64,
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
            Self::NoCredential | Self::Unfit { .. } => Fault::Caller,
            Self::Refused(error) => error.fault(),
            _ => Fault::Peer,
        }
    }

    /// True when connecting again may help.
    pub const fn is_retryable(&self) -> bool {
        !self.close_code().is_final()
    }

    /// What the peer is told when the connection is closed for this.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Protocol { .. } => CloseCode::PROTOCOL,
            Self::Version { .. } => CloseCode::VERSION,
            Self::TooLarge { .. } => CloseCode::TOO_LARGE,
            Self::Timeout { .. } => CloseCode::TIMEOUT,
            Self::NoCredential
            | Self::Unfit { .. }
            | Self::Unauthenticated { .. }
            | Self::Refused(_)
            | Self::Expired { .. } => CloseCode::UNAUTHENTICATED,
        }
    }
}
