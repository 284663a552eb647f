//! What nodes say to each other. Encoded with postcard; `docs/wire.md` gives the bytes, `tests/vectors` pins them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::SessionError;
use crate::{
    document::{DigestEntry, Frontier, Subscription, Version},
    engine::EngineKind,
    id::{AgentId, DocumentId, Identity, ReplicaId},
    limits,
};

/// Priority of a message on its connection; the scheduler sends higher lanes first, with a minimum share for the
/// lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Handshake, records, coordination, acknowledgements.
    Critical,
    /// Interactive content.
    High,
    /// Everything else.
    Normal,
    /// Snapshots and other bulk.
    Low,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];
}

/// What a node is to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Has its own work; its acknowledgements speak for its own store.
    Agent,
    /// Accepts documents it has never heard of and keeps them durably.
    Relay,
}

/// First message in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest protocol version spoken. The session uses the highest both speak.
    pub versions: (u16, u16),
    /// Who speaks.
    pub identity: Identity,
    /// What it is.
    pub role: Role,
    /// What it can do beyond the base protocol; unknown bits are ignored.
    pub capabilities: Capabilities,
}

/// The protocol versions this build speaks, lowest and highest.
pub const VERSIONS: (u16, u16) = (1, 1);

impl Hello {
    /// An introduction in the protocol versions of this build.
    pub fn new(identity: Identity, role: Role, capabilities: Capabilities) -> Self {
        Self { versions: VERSIONS, identity, role, capabilities }
    }
}

/// A set of optional abilities; a session uses those both sides have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Understands LZ4 frames.
    pub const LZ4: Self = Self(1);
    /// Accepts content and records of writers other than the sender.
    pub const FORWARDING: Self = Self(2);
    /// Acknowledges only what is durable.
    pub const DURABLE: Self = Self(4);

    /// True when every ability of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Whom an application message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// One agent, wherever it is connected.
    Agent(AgentId),
    /// All who have joined a document.
    Document(DocumentId),
    /// Everyone connected.
    All,
}

/// One agent's ephemeral state in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceEntry {
    /// Whose it is.
    pub replica: ReplicaId,
    /// The agent's name.
    pub agent: AgentId,
    /// Grows with every change by that replica; older ones are ignored.
    pub clock: u64,
    /// JSON text; `None` takes the entry away.
    pub state: Option<Bytes>,
    /// How long it stands without renewal, in milliseconds.
    pub ttl_ms: u32,
}

/// Why a peer was refused. The numbers are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The bytes break the protocol.
    Protocol,
    /// No protocol version in common.
    Version,
    /// An update failed the inspection or the ownership check; nothing of it was kept.
    Refused,
    /// The document is held with another engine.
    EngineMismatch,
    /// The peer does not keep this document.
    NoSuchDocument,
    /// A limit was reached.
    Limit,
    /// The peer cannot serve the document now; try again later.
    Unavailable,
}

/// Everything a session carries after its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Takes part in a document, telling what is already here. Answered by `Frontier` and `Delta`.
    Join {
        /// The document.
        document: DocumentId,
        /// The engine its content is held with.
        engine: EngineKind,
        /// What the sender has.
        frontier: Frontier,
        /// What it wants.
        subscription: Subscription,
    },
    /// Takes no further part.
    Leave {
        /// The document.
        document: DocumentId,
    },
    /// What the sender has: the receiver sends what is lacking. Answer to `Join`, and request for resync.
    Frontier {
        /// The document.
        document: DocumentId,
        /// What the sender has.
        frontier: Frontier,
    },
    /// Changes.
    Delta {
        /// The document.
        document: DocumentId,
        /// A [`Delta`](crate::document::Delta), encoded: forwarded and stored as it came.
        delta: Bytes,
    },
    /// What of the receiver's writes is durable at the sender.
    Ack {
        /// The document.
        document: DocumentId,
        /// Entries for the receiver's writers only.
        durable: Version,
    },
    /// Ephemeral states.
    Presence {
        /// The document.
        document: DocumentId,
        /// Changed entries.
        entries: Vec<PresenceEntry>,
    },
    /// An application's message. Delivered at most once, to those connected now.
    App {
        /// Who wrote it.
        from: AgentId,
        /// Whom it is for.
        to: Address,
        /// Its priority all the way.
        lane: Lane,
        /// The application's bytes.
        body: Bytes,
    },
    /// Asks for the digest of the parts below a path (empty: the whole document).
    DigestRequest {
        /// The document.
        document: DocumentId,
        /// The path; empty for the sections.
        path: String,
    },
    /// Answers `DigestRequest`.
    Digest {
        /// The document.
        document: DocumentId,
        /// The path asked for.
        path: String,
        /// Its parts, sorted by path.
        entries: Vec<DigestEntry>,
    },
    /// Something was refused.
    Error {
        /// The document concerned, if one.
        document: Option<DocumentId>,
        /// The kind of refusal.
        code: ErrorCode,
        /// A sentence naming the value and the limit.
        reason: String,
    },
    /// The sender is about to close the connection on purpose.
    Goodbye {
        /// Why.
        reason: String,
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
}

impl Message {
    /// Checks every bound that the message alone can show.
    pub(super) fn check(&self) -> Result<(), SessionError> {
        let bound = |what, size: usize, max: usize| {
            if size > max { Err(SessionError::TooLarge { what, size, max }) } else { Ok(()) }
        };
        match self {
            Self::Join { subscription, frontier, .. } => {
                bound("a subscription (prefixes)", subscription.prefixes.len(), limits::SUBSCRIPTION_PREFIXES)?;
                let longest = subscription.prefixes.iter().map(String::len).max().unwrap_or(0);
                bound("a prefix", longest, limits::KEY_BYTES)?;
                check_frontier(frontier, bound)
            }
            Self::Frontier { frontier, .. } => check_frontier(frontier, bound),
            Self::Presence { entries, .. } => {
                bound("a presence message (entries)", entries.len(), limits::PRESENCE_ENTRIES)?;
                let largest = entries.iter().filter_map(|entry| entry.state.as_ref()).map(Bytes::len).max();
                bound("a presence entry", largest.unwrap_or(0), limits::PRESENCE_BYTES)
            }
            Self::App { body, .. } => bound("an application message", body.len(), limits::APP_MESSAGE_BYTES),
            Self::DigestRequest { path, .. } => bound("a path", path.len(), 2 * limits::KEY_BYTES),
            _ => Ok(()),
        }
    }
}

fn check_frontier(
    frontier: &Frontier,
    bound: impl Fn(&'static str, usize, usize) -> Result<(), SessionError>,
) -> Result<(), SessionError> {
    let writers = frontier.version.content.len().max(frontier.version.records.len());
    bound("a frontier (writers)", writers, limits::DOCUMENT_WRITERS)
}
