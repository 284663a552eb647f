//! What observers receive: one patch type for content and records.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ContainerKind, Value};
use crate::id::ReplicaId;

/// Which part of a document a path leads into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// A map of the content.
    Map,
    /// A list of the content.
    List,
    /// A text of the content.
    Text,
    /// A register.
    Register,
    /// A counter.
    Counter,
    /// The state of one agent; the name is the agent's.
    Agent,
    /// Membership; the name is the agent's.
    Member,
    /// Barriers, queues and their kin; the name is an object's.
    Coordination,
}

impl Section {
    /// All sections, in the order of their names in paths.
    pub const ALL: [Self; 8] = [
        Self::Map,
        Self::List,
        Self::Text,
        Self::Register,
        Self::Counter,
        Self::Agent,
        Self::Member,
        Self::Coordination,
    ];

    /// The first segment of a path in this section.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::List => "list",
            Self::Text => "text",
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Agent => "agent",
            Self::Member => "member",
            Self::Coordination => "coordination",
        }
    }
}

impl From<ContainerKind> for Section {
    fn from(kind: ContainerKind) -> Self {
        match kind {
            ContainerKind::Map => Self::Map,
            ContainerKind::List => Self::List,
            ContainerKind::Text => Self::Text,
        }
    }
}

/// The last step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Segment {
    /// A key of a map or of an agent's state.
    Key(Arc<str>),
    /// A position in a list or text.
    Index(usize),
}

/// The place of a value in a document, written `section/name` or `section/name/key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The part of the document.
    pub section: Section,
    /// Container, register, counter or agent.
    pub name: Arc<str>,
    /// Key or position within it, if any.
    pub within: Option<Segment>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.section.as_str(), self.name)?;
        match &self.within {
            None => Ok(()),
            Some(Segment::Key(key)) => write!(f, "/{key}"),
            Some(Segment::Index(index)) => write!(f, "/{index}"),
        }
    }
}

/// How a value changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// A key, register or counter went from one value to another; `None` is absence.
    Put {
        /// The value before.
        old: Option<Value>,
        /// The value now.
        new: Option<Value>,
    },
    /// A run of a list or text, starting at the path's index, was replaced.
    Splice {
        /// Elements (Unicode scalar values) removed.
        removed: usize,
        /// Values now there; for a text, one string (empty for none).
        inserted: Vec<Value>,
    },
    /// Formatting of a run of a text, starting at the path's index, changed.
    Format {
        /// Unicode scalar values covered.
        len: usize,
    },
}

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This replica.
    Local,
    /// A peer.
    Remote,
}

/// One change of a document, as delivered to observers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// What changed.
    pub path: Path,
    /// How.
    pub change: Change,
    /// Who wrote it, where known: a delta that merges several writers' content does not say.
    pub writer: Option<ReplicaId>,
    /// Where it came from.
    pub origin: Origin,
}
