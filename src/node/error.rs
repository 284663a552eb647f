//! Why a node refuses a command.

use crate::{
    coordination::{object::PlanError, participant::ParticipantError},
    document::DocumentError,
    engine::EngineKind,
    id::{AgentId, DocumentId},
};

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The document is not open here.
    #[error("document `{document}` is not open")]
    NotOpen {
        /// The document.
        document: DocumentId,
    },
    /// The document is being loaded or worked on; it will be back.
    #[error("document `{document}` is being loaded or worked on")]
    Busy {
        /// The document.
        document: DocumentId,
    },
    /// The document cannot be read.
    #[error("document `{document}` cannot be read: {reason}")]
    Unreadable {
        /// The document.
        document: DocumentId,
        /// Why.
        reason: String,
    },
    /// The document is open with another engine.
    #[error("document `{document}` is held with {held}, not {asked}")]
    EngineMismatch {
        /// The document.
        document: DocumentId,
        /// Its engine.
        held: EngineKind,
        /// The engine asked for.
        asked: EngineKind,
    },
    /// Something is over its limit.
    #[error("{what} of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The document refused.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A peer would take it for what others wrote.
    #[error(
        "`{document}` is kept by a peer that takes from this agent only what it wrote itself, and an import holds what \
         others wrote: have the relay trust it (`aepoch serve --trust-forwarding`), or import into the relay's store"
    )]
    OwnOnly {
        /// The document.
        document: DocumentId,
    },
    /// A plan for a barrier or another object cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Another object has that name.
    #[error("`{name}` is taken by an object that {creator} began, and differs in {}", differences.join("; "))]
    NameTaken {
        /// The name.
        name: String,
        /// Who began the other one.
        creator: AgentId,
        /// In what they differ.
        differences: Vec<String>,
    },
    /// The participant refused.
    #[error(transparent)]
    Participant(#[from] ParticipantError),
}
