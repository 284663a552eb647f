//! Vocabulary shared by every error type: whose fault it is. Layer 0.

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
