//! How a command fails: a sentence for the user and an exit code for scripts. Layer 7.

use std::process::ExitCode;

use aepoch::{
    agent::AgentError,
    document::DocumentError,
    engine::EngineError,
    id::NameError,
    node::NodeError,
    relay::{RelayError, audit::AuditError},
    store::StoreError,
    transport::TransportError,
};

use super::output::Output;

/// Exit code of what is not decided, or not begun, in time.
pub(super) const UNDECIDED: u8 = 7;

/// A failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// A check failed, or something went wrong on the way.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Nobody answered, or not in time.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// What was waited for has not come in time: the others are missing, not the relay.
    pub(crate) fn undecided(message: impl Into<String>) -> Self {
        Self { code: UNDECIDED, message: message.into() }
    }

    /// The same failure, with one more thing to know.
    pub(crate) fn with(mut self, more: impl std::fmt::Display) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// Says it and gives the exit code.
    pub(super) fn report(self, output: &Output) -> ExitCode {
        output.error(&self.message, self.code);
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Name(error) => error.into(),
            AgentError::TooManyAgents { .. }
            | AgentError::NoOption { .. }
            | AgentError::Node(NodeError::Plan(_) | NodeError::TooLarge { .. }) => Self::usage(error.to_string()),
            AgentError::Transport(error) => error.into(),
            AgentError::NoAnswer { .. } => Self::unreachable(error.to_string()),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Address { .. } => Self::usage(error.to_string()),
            TransportError::Authorities { .. } => Self::failed(error.to_string()),
            error => Self::unreachable(error.to_string()),
        }
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Name(_) | RelayError::Host { .. } | RelayError::Origin { .. } => Self::usage(error.to_string()),
            error => Self::failed(error.to_string()),
        }
    }
}

macro_rules! failed_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        }
    )*};
}
failed_from!(AuditError, DocumentError, EngineError, StoreError, std::io::Error, serde_json::Error);
