//! What can go wrong with an agent.

use std::{path::PathBuf, time::Duration};

use crate::{
    document::DocumentError,
    id::{AgentId, DocumentId, NameError},
    node::NodeError,
    store::StoreError,
    transport::TransportError,
    trust::credential::CredentialError,
};

/// Why an agent could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A bad name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path was given, but the build has no store for it.
    #[error("this build cannot open {}: enable the cargo feature `redb`", path.display())]
    NoStore {
        /// The path.
        path: PathBuf,
    },
    /// The node refused.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The document refused.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A peer did not answer.
    #[error("no {what} from the peer within {waited:?}")]
    NoAnswer {
        /// What was asked for.
        what: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// An address could not be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A value could not be encoded.
    #[error("value cannot be encoded: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// Another object has that name.
    #[error("`{name}` is taken by an object that differs in {}", differences.join("; "))]
    NameTaken {
        /// The name.
        name: String,
        /// In what they differ.
        differences: Vec<String>,
    },
    /// More agents than an operation may have.
    #[error("{count} agents in `{name}` are over the limit of {max}: raise it with `at_most`")]
    TooManyAgents {
        /// The operation.
        name: String,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The swarm has no such agent.
    #[error("the swarm has no agent `{agent}`")]
    Unknown {
        /// The name.
        agent: String,
    },
    /// Another phase's turn, or no phase of the epoch.
    #[error("phase `{asked}` cannot be finished: `{current}` comes next")]
    WrongPhase {
        /// The phase asked for.
        asked: String,
        /// The one to finish next.
        current: String,
    },
    /// No option of the poll.
    #[error("no option `{option}`; there are {}", options.join(", "))]
    NoOption {
        /// What was asked for.
        option: String,
        /// The options there are.
        options: Vec<String>,
    },
    /// A peer does not take this agent's writes. They stay in its replica, and are offered again on the next connection.
    #[error("writes to `{document}` are refused: {reason}")]
    Forbidden {
        /// The document.
        document: DocumentId,
        /// The peer's sentence.
        reason: String,
    },
    /// The credential cannot be read.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The credential is of another agent.
    #[error("the credential is for `{claimed}`, this is `{agent}`")]
    OthersCredential {
        /// Whose it is.
        claimed: AgentId,
        /// Who wants to show it.
        agent: AgentId,
    },
    /// The agent has been closed.
    #[error("the agent has been closed")]
    Closed,
    /// A fault of this library; please report it.
    #[error("internal fault: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}
