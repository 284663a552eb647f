//! Why the session of a guest ended. Layer 3, pure.

use std::time::Duration;

use crate::error::{CloseCode, Fault};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The client's bytes are not what its protocol has.
    #[error("malformed frame: {reason}")]
    Malformed {
        /// What is wrong, with value and limit.
        reason: String,
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
    /// The client was silent for too long.
    #[error("nothing heard for {waited:?}")]
    Timeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The client did not say who it is in time.
    #[error("not authenticated within {waited:?}")]
    Unauthenticated {
        /// How long it was waited for.
        waited: Duration,
    },
    /// What let the client in has come to its end.
    #[error("the pass has expired: come back with a newer one")]
    Expired,
}

impl WireError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Timeout { .. } | Self::Expired => Fault::Environment,
            _ => Fault::Peer,
        }
    }

    /// True when connecting again may help.
    pub const fn is_retryable(&self) -> bool {
        !self.close_code().is_final()
    }

    /// What the client is told when the connection is closed for this.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Malformed { .. } => CloseCode::PROTOCOL,
            Self::TooLarge { .. } => CloseCode::TOO_LARGE,
            Self::Timeout { .. } => CloseCode::TIMEOUT,
            Self::Unauthenticated { .. } => CloseCode::UNAUTHENTICATED,
            Self::Expired => CloseCode::RIGHTS,
        }
    }
}
