//! Deltas: what travels between replicas and into stores. A snapshot is the delta since nothing.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DocumentError;
use crate::{
    id::{ObjectId, ReplicaId},
    time::Hlc,
};

/// A run of one writer's commits: those after `since`, up to and including `upto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The writer.
    pub writer: ReplicaId,
    /// The receiver must have followed the writer at least this far.
    pub since: u64,
    /// The receiver has followed it this far afterwards.
    pub upto: u64,
}

/// Content and records a peer lacks. Applied as one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Changes of content.
    pub content: Option<ContentDelta>,
    /// Changed records, by writer.
    pub records: Vec<RecordsDelta>,
    /// Changed coordination records, by writer.
    pub slots: Vec<SlotsDelta>,
}

impl Delta {
    /// True when it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.content.is_none() && self.records.is_empty() && self.slots.is_empty()
    }

    /// True when all it changes are coordination records.
    pub fn is_slots_only(&self) -> bool {
        self.content.is_none() && self.records.is_empty() && !self.slots.is_empty()
    }

    /// Its encoding.
    ///
    /// # Errors
    /// None in practice: every field has an encoding.
    pub fn encode(&self) -> Result<Bytes, DocumentError> {
        let encoded = postcard::to_stdvec(self);
        encoded
            .map(Bytes::from)
            .map_err(|error| DocumentError::Serialize { path: "delta".to_owned(), reason: error.to_string() })
    }
}

/// A peer's delta on its way into a document, with the bytes it came in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The delta.
    pub delta: Delta,
    /// Its encoding, for the log and for forwarding.
    pub encoded: Bytes,
    /// The caller's mark: where it came from.
    pub source: u64,
    /// The only writer it may bring writes of; `None`: anybody's.
    pub author: Option<ReplicaId>,
}

impl Incoming {
    /// Decodes a delta.
    ///
    /// # Errors
    /// The bytes are not a delta, or more follow it.
    pub fn decode(encoded: Bytes, source: u64, author: Option<ReplicaId>) -> Result<Self, postcard::Error> {
        match postcard::take_from_bytes(&encoded)? {
            (delta, []) => Ok(Self { delta, encoded, source, author }),
            // Bytes that nobody reads would still be stored and forwarded.
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

/// Changes of content: engine updates and the commits they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentDelta {
    /// The commits contained, at least one: updates from elsewhere (a plain Yjs client, for one) count as commits of
    /// the replica that took them in.
    /// An empty one contains none: it says only how far the receiver must have followed a writer before.
    pub spans: Vec<Span>,
    /// Records of these writers must be known up to these numbers before the content is shown: the other half of the
    /// promise that one transaction becomes visible at once.
    pub after: Vec<(ReplicaId, u64)>,
    /// Engine updates, in order.
    pub updates: Vec<Bytes>,
}

/// Changed records of one writer: all of its live records with a number in the span. A record that waits for content
/// travels beside the older one of the same key that is still shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsDelta {
    /// The numbers contained.
    pub span: Span,
    /// The records, by growing number.
    pub records: Vec<Record>,
}

/// Changed coordination records of one writer: all of its live ones with a number in the span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsDelta {
    /// The numbers contained.
    pub span: Span,
    /// The records, by growing number.
    pub records: Vec<SlotRecord>,
}

/// One coordination record: written by one writer only; a higher `seq` replaces a lower one of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Numbers all coordination records of this writer in this document, from 1.
    pub seq: u64,
    /// What it is about.
    pub key: SlotKey,
    /// What it says; `docs/wire.md` has the form for each part.
    pub body: Bytes,
    /// Its [`Seal`](crate::trust::record::Seal), where the room is end to end.
    pub signature: Option<Bytes>,
}

/// What a coordination record is about. The variants' order is part of the wire and storage formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlotKey {
    /// Objects that are finished: [`Closed`](super::Closed).
    Closed,
    /// A part of an object.
    Of(ObjectId, SlotPart),
    /// What its writer may do: [`ShownCredentials`](crate::trust::record::ShownCredentials).
    Credential,
}

impl SlotKey {
    /// The object it is about.
    pub fn object(self) -> Option<ObjectId> {
        match self {
            Self::Closed | Self::Credential => None,
            Self::Of(object, _) => Some(object),
        }
    }
}

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Credential => f.write_str("credential"),
            Self::Of(object, part) => write!(f, "{object}/{}", part.as_str()),
        }
    }
}

/// The part of an object a record is. The variants' order is part of the wire and storage formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlotPart {
    /// What it is and who takes part; its holder's.
    Definition,
    /// A member's or elector's part in it.
    Slot,
    /// What a member hands over on arriving.
    Payload,
    /// An item of a queue; its holder's.
    Item,
    /// An acceptor's part in who holds an item.
    Claim,
    /// What a member of a queue promises never to write below.
    Mark,
}

impl SlotPart {
    pub(super) const FIRST: Self = Self::Definition;
    pub(super) const LAST: Self = Self::Mark;

    /// Its name in paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Slot => "slot",
            Self::Payload => "payload",
            Self::Item => "item",
            Self::Claim => "claim",
            Self::Mark => "mark",
        }
    }
}

/// What a record is about. The numbers are part of the wire and storage formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// A value with several writers; see [`Record::context`].
    Register,
    /// One writer's share of a sum.
    Counter,
    /// State of the agent that writes it.
    Agent,
    /// The writer's own entry in the membership.
    Member,
}

/// One entry of the lattice: written by one writer only; a higher `seq` replaces a lower one.
///
/// Size is bounded by keys times writers, whatever the number of writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Numbers all records of this writer in this document, from 1.
    pub seq: u64,
    /// What it is about.
    pub kind: RecordKind,
    /// Its key.
    pub key: Arc<str>,
    /// When it was written.
    pub hlc: Hlc,
    /// The writer's own content commits at that time: the record is shown once they are there.
    pub fence: u64,
    /// The records of this key the writer had seen (writer, seq), sorted by writer; empty for counters.
    pub context: Vec<(ReplicaId, u64)>,
    /// What it says; `docs/wire.md` has the form for each kind.
    pub body: Bytes,
    /// Its [`Seal`](crate::trust::record::Seal), where the room is end to end.
    pub signature: Option<Bytes>,
}
