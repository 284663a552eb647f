//! Why a document refused something.

use super::SignerError;
use crate::{
    engine::EngineError,
    error::Fault,
    id::{AgentId, DocumentId, NameError, ReplicaId},
};

/// Why a document refused something. Unless the variant says otherwise, nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The content engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Bytes could not be decoded.
    #[error("unreadable {what}: {reason}")]
    Unreadable {
        /// What was being read.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A connection sent what another replica wrote.
    #[error("holds writes of {writer}, but the connection belongs to {author}")]
    ForeignWriter {
        /// Who is said to have written it.
        writer: ReplicaId,
        /// Whom the connection may speak for.
        author: ReplicaId,
    },
    /// A delta contradicts itself: its spans or their order are impossible.
    #[error("malformed delta: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The agent's credential does not allow it.
    #[error("`{agent}` has no right to {doing} {what}")]
    Forbidden {
        /// The agent.
        agent: AgentId,
        /// What it has no right to do.
        doing: &'static str,
        /// Of what.
        what: String,
    },
    /// A record breaks the rules for its kind.
    #[error("record `{path}` refused: {reason}")]
    Record {
        /// The record.
        path: String,
        /// What is wrong, with value and limit.
        reason: String,
    },
    /// A record that should be its writer's word is not, or never counts.
    #[error("`{record}` of {writer} refused: {reason}")]
    Sealed {
        /// Who is said to have written it.
        writer: ReplicaId,
        /// Which one.
        record: String,
        /// What is wrong.
        reason: String,
    },
    /// Records have to be signed, and this replica has no key.
    #[error("records of `{document}` are signed end to end, and this replica has nothing to sign with")]
    Unsigned {
        /// The document.
        document: DocumentId,
    },
    /// The signer given is not this replica's.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Something is larger than its limit.
    #[error("{what} of {size} is over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// An addition would leave the range of 64-bit integers.
    #[error("adding {add} to this replica's share {share} of counter `{counter}` leaves the range of 64-bit integers")]
    Overflow {
        /// The counter.
        counter: String,
        /// What this replica has added so far.
        share: i64,
        /// What was to be added.
        add: i64,
    },
    /// A value could not be turned into JSON.
    #[error("cannot write `{path}`: {reason}")]
    Serialize {
        /// Where it was to go.
        path: String,
        /// What the serializer said.
        reason: String,
    },
    /// A stored value is not of the type asked for.
    #[error("cannot read `{path}`: {reason}")]
    Deserialize {
        /// Where it is.
        path: String,
        /// What the deserializer said.
        reason: String,
    },
    /// There is nothing at that path.
    #[error("nothing at `{path}`: a path is `section/name` or `section/name/key`")]
    UnknownPath {
        /// The path given.
        path: String,
    },
    /// Stored entries do not follow each other: one is missing.
    #[error("the stored document lacks an entry before entry {entry}")]
    Incomplete {
        /// Position of the first stored entry that could not take effect.
        entry: usize,
    },
    /// The engine failed while it applied updates: the content may be half changed. Rebuild the document from its
    /// store, without the deltas of `sources`.
    #[error("document must be rebuilt: {reason}")]
    Poisoned {
        /// The marks of all deltas that were being applied.
        sources: Vec<u64>,
        /// What the engine said.
        reason: String,
    },
}

impl DocumentError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            Self::Unreadable { .. }
            | Self::ForeignWriter { .. }
            | Self::Malformed { .. }
            | Self::Record { .. }
            | Self::Sealed { .. }
            | Self::Poisoned { .. } => Fault::Peer,
            Self::Incomplete { .. } => Fault::Environment,
            Self::Name(_)
            | Self::Forbidden { .. }
            | Self::Unsigned { .. }
            | Self::Signer(_)
            | Self::TooLarge { .. }
            | Self::Overflow { .. }
            | Self::Serialize { .. }
            | Self::Deserialize { .. }
            | Self::UnknownPath { .. } => Fault::Caller,
        }
    }

    /// True when the same call may succeed later without any change by the caller: after a resync, that is.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Gap { .. }))
    }
}
