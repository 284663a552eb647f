//! What nodes say to each other. Layer 3, pure.
//!
//! Encoded with postcard; `docs/wire.md` gives the bytes, `tests/vectors` pins them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{bounded, error::MessageError};
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

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
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
    /// A number nobody has used before: the speaker lets nobody in who does not sign it with the key of a credential.
    pub challenge: Option<[u8; 32]>,
}

/// The protocol versions this build speaks, lowest and highest.
pub const VERSIONS: (u16, u16) = (1, 1);

impl Hello {
    /// An introduction in the protocol versions of this build.
    pub fn new(identity: Identity, role: Role, capabilities: Capabilities) -> Self {
        Self { versions: VERSIONS, identity, role, capabilities, challenge: None }
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

    /// Knows what binds a credential's proof to this encrypted connection.
    pub const BINDS: Self = Self(8);

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
    /// The credential does not allow it; nothing of it was kept.
    Forbidden,
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
        #[serde(deserialize_with = "bounded::frontier")]
        frontier: Frontier,
        /// What it wants.
        #[serde(deserialize_with = "bounded::subscription")]
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
        #[serde(deserialize_with = "bounded::frontier")]
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
        #[serde(deserialize_with = "bounded::version")]
        durable: Version,
    },
    /// Ephemeral states.
    Presence {
        /// The document.
        document: DocumentId,
        /// Changed entries.
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::PRESENCE_ENTRIES }>")]
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
        /// A number of the asker's choice, which comes back with the answer.
        question: u64,
        /// The path; empty for the sections.
        path: String,
    },
    /// Answers `DigestRequest`.
    Digest {
        /// The document.
        document: DocumentId,
        /// The number that came with the question.
        question: u64,
        /// The path asked for.
        path: String,
        /// Its parts, sorted by path.
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::DOCUMENT_RECORDS }>")]
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
    /// Asks what the receiver has.
    VersionRequest {
        /// The document.
        document: DocumentId,
        /// A number of the asker's choice, which comes back with the answer.
        question: u64,
    },
    /// Answers `VersionRequest`: what the sender has of all whose writes it passes on, and of the asker's own.
    Version {
        /// The document.
        document: DocumentId,
        /// The number that came with the question.
        question: u64,
        /// What the sender has.
        #[serde(deserialize_with = "bounded::version")]
        version: Version,
    },
}

impl Message {
    /// Its place in the enum, which is its first byte.
    const DELTA: u32 = 3;

    /// Reads a message; its bounds hold. A large delta is a part of `payload`, not a copy; what is small is copied, so
    /// that it does not keep a whole packet alive.
    pub(super) fn decode(payload: &Bytes) -> Result<Self, MessageError> {
        if payload.len() > limits::CHUNK_BYTES
            && let Ok(((Self::DELTA, document, delta), [])) =
                postcard::take_from_bytes::<(u32, DocumentId, &[u8])>(payload)
        {
            return Ok(Self::Delta { document, delta: payload.slice_ref(delta) });
        }
        let message = match postcard::take_from_bytes::<Self>(payload) {
            Ok((message, [])) => message,
            Ok((_, rest)) => {
                return Err(MessageError::Malformed { reason: format!("is followed by {} bytes", rest.len()) });
            }
            Err(error) => return Err(MessageError::Malformed { reason: format!("cannot be read: {error}") }),
        };
        message.check()?;
        Ok(message)
    }

    /// About how many bytes it takes, so that large messages are written without growing.
    pub(super) fn size_hint(&self) -> usize {
        const REST: usize = 128;
        match self {
            Self::Delta { document, delta } => REST + document.as_str().len() + delta.len(),
            Self::App { body, .. } => REST + body.len(),
            _ => REST,
        }
    }

    /// Checks every bound that the message alone can show.
    ///
    /// # Errors
    /// `TooLarge` names the part, its size and the limit.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Join { subscription, frontier, .. } => {
                let prefixes = &subscription.prefixes;
                bound("a subscription (prefixes)", prefixes.len(), limits::SUBSCRIPTION_PREFIXES)?;
                prefixes.iter().try_for_each(|prefix| bound("a prefix", prefix.len(), limits::PATH_BYTES))?;
                check_version("a frontier (writers)", &frontier.version)
            }
            Self::Frontier { frontier, .. } => check_version("a frontier (writers)", &frontier.version),
            Self::Ack { durable, .. } => check_version("an acknowledgement (writers)", durable),
            Self::Presence { entries, .. } => {
                bound("a presence message (entries)", entries.len(), limits::PRESENCE_ENTRIES)?;
                entries.iter().try_for_each(PresenceEntry::check)
            }
            Self::App { body, .. } => bound("an application message", body.len(), limits::APP_MESSAGE_BYTES),
            Self::DigestRequest { path, .. } => bound("a path", path.len(), limits::PATH_BYTES),
            Self::Digest { path, entries, .. } => {
                bound("a path", path.len(), limits::PATH_BYTES)?;
                bound("a digest (entries)", entries.len(), limits::DIGEST_LINES)?;
                entries.iter().try_for_each(|entry| bound("a path", entry.path.len(), limits::PATH_BYTES))
            }
            Self::Error { reason, .. } | Self::Goodbye { reason, .. } => {
                bound("a reason", reason.len(), limits::REASON_BYTES)
            }
            Self::Version { version, .. } => check_version("a version (writers)", version),
            Self::Leave { .. } | Self::Delta { .. } | Self::VersionRequest { .. } => Ok(()),
        }
    }
}

impl PresenceEntry {
    /// Bytes of its state.
    pub fn size(&self) -> usize {
        self.state.as_ref().map_or(0, Bytes::len)
    }

    fn check(&self) -> Result<(), MessageError> {
        bound("a presence entry", self.size(), limits::PRESENCE_BYTES)?;
        let max = usize::try_from(limits::PRESENCE_TTL_MAX.as_millis()).unwrap_or(usize::MAX);
        bound("the time-to-live of presence (ms)", usize::try_from(self.ttl_ms).unwrap_or(usize::MAX), max)
    }
}

fn check_version(what: &'static str, version: &Version) -> Result<(), MessageError> {
    let writers = version.content.len().max(version.records.len()).max(version.slots.len());
    bound(what, writers, limits::DOCUMENT_WRITERS)
}

fn bound(what: &'static str, size: usize, max: usize) -> Result<(), MessageError> {
    if size > max { Err(MessageError::TooLarge { what, size, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_delta_is_a_part_of_what_it_came_in_and_a_small_one_is_not() {
        for (len, shared) in [(100, false), (100_000, true)] {
            let message = Message::Delta { document: DocumentId::new("a").unwrap(), delta: vec![1; len].into() };
            let payload = Bytes::from(postcard::to_allocvec(&message).unwrap());
            let decoded = Message::decode(&payload).unwrap();
            assert_eq!(decoded, message);
            let Message::Delta { delta, .. } = decoded else { panic!("{decoded:?} is no delta") };
            assert_eq!(payload.as_ptr_range().contains(&delta.as_ptr()), shared);
        }
    }
}
