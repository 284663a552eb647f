//! Content engines: yrs and automerge behind one trait. Layer 1: uses the leaf modules only.
//!
//! An engine holds *content*: named containers (map, list, text) that merge. It never sees bytes that [`inspect`] has
//! not passed. What the engines cannot do equally is declared in [`Capabilities`], never imitated.
//!
//! Containers are addressed by name, and a nested container is one whose name has a parent's name and `/` in front
//! (`posts/42/comments`). Two replicas that create the same container at once therefore always share it, on both
//! engines; see `docs/decisions/`.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{error::Fault, id::ReplicaId, limits};

mod admission;
#[cfg(feature = "automerge")]
mod automerge;
mod conversation;
mod guard;
mod inspect;
mod patch;
#[cfg(feature = "yrs")]
mod yrs;

pub use admission::Admission;
pub use conversation::{Conversation, PeerMessage};
pub use guard::guarded;
#[cfg(all(feature = "automerge", feature = "guests"))]
pub use inspect::automerge::read_message;
#[cfg(feature = "yrs")]
pub(crate) use inspect::yrs::lib0;
pub use inspect::{ClockRange, UpdateInfo, inspect};
pub use patch::{Change, Origin, Patch, Path, Section, Segment};
#[cfg(feature = "yrs")]
pub use yrs::{frontier_of_vector, merged, vector_of_frontier};

/// A value: the JSON data model. Integers of 64 bits keep their exact value on both engines.
pub type Value = serde_json::Value;

/// Which engine holds a document's content. Chosen when the document is created, the same at every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// yrs: small and fast, the Yjs family.
    #[default]
    Yrs,
    /// automerge: keeps all history and who wrote it.
    Automerge,
}

impl EngineKind {
    /// What this engine can do beyond the common ground.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Yrs => Capabilities { history: false, exposes_conflicts: false, attributes_deletes: false },
            Self::Automerge => Capabilities { history: true, exposes_conflicts: true, attributes_deletes: true },
        }
    }

    /// How many numbers a document of this engine may have been written under, replicas' and others'. On yrs others never
    /// take the room that is for replicas.
    pub const fn most_writers(self) -> usize {
        match self {
            Self::Yrs => limits::DOCUMENT_CLIENTS + limits::DOCUMENT_WRITERS,
            Self::Automerge => limits::DOCUMENT_WRITERS,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yrs => "yrs",
            Self::Automerge => "automerge",
        })
    }
}

impl std::str::FromStr for EngineKind {
    type Err = EngineError;
    fn from_str(name: &str) -> Result<Self, EngineError> {
        match name {
            "yrs" => Ok(Self::Yrs),
            "automerge" => Ok(Self::Automerge),
            _ => Err(EngineError::UnknownEngine { name: name.chars().take(40).collect() }),
        }
    }
}

/// Where the engines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Past changes can be listed with their writer.
    pub history: bool,
    /// The losers of concurrent writes to one map key stay readable.
    pub exposes_conflicts: bool,
    /// A deletion names its writer.
    pub attributes_deletes: bool,
}

/// What kind of container a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerKind {
    /// Keys to values; a key's concurrent writers are settled by the engine.
    Map,
    /// A sequence of values.
    List,
    /// Characters with formatting. Positions count Unicode scalar values on both engines.
    Text,
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::List => "list",
            Self::Text => "text",
        })
    }
}

/// A container of a document's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// Its kind.
    pub kind: ContainerKind,
    /// Its name; `/` separates the levels of nesting.
    pub name: Arc<str>,
}

/// One planned change. A list of these is checked as a whole before the engine opens a transaction: yrs cannot roll
/// back, so this is the only honest atomicity.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Sets a key of a map.
    MapPut {
        /// Name of the map.
        map: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// The new value; replaces the old one as a whole.
        value: Value,
    },
    /// Removes a key of a map; no effect when absent.
    MapRemove {
        /// Name of the map.
        map: Arc<str>,
        /// The key.
        key: Arc<str>,
    },
    /// Inserts values into a list.
    ListInsert {
        /// Name of the list.
        list: Arc<str>,
        /// Position, or `None` for the end.
        index: Option<usize>,
        /// The values.
        values: Vec<Value>,
    },
    /// Removes a run of values from a list.
    ListRemove {
        /// Name of the list.
        list: Arc<str>,
        /// The run.
        range: Range<usize>,
    },
    /// Inserts characters into a text.
    TextInsert {
        /// Name of the text.
        text: Arc<str>,
        /// Position in Unicode scalar values, or `None` for the end.
        index: Option<usize>,
        /// The characters.
        chars: String,
    },
    /// Removes a run of characters.
    TextRemove {
        /// Name of the text.
        text: Arc<str>,
        /// The run, in Unicode scalar values.
        range: Range<usize>,
    },
    /// Sets or (with `Value::Null`) clears one formatting attribute on a run of characters.
    TextFormat {
        /// Name of the text.
        text: Arc<str>,
        /// The run, in Unicode scalar values.
        range: Range<usize>,
        /// The attribute, for example `bold`.
        attribute: Arc<str>,
        /// Its value.
        value: Value,
    },
}

impl Op {
    /// The container this operation changes.
    pub fn container(&self) -> Container {
        let (kind, name) = match self {
            Self::MapPut { map, .. } | Self::MapRemove { map, .. } => (ContainerKind::Map, map),
            Self::ListInsert { list, .. } | Self::ListRemove { list, .. } => (ContainerKind::List, list),
            Self::TextInsert { text, .. } | Self::TextRemove { text, .. } | Self::TextFormat { text, .. } => {
                (ContainerKind::Text, text)
            }
        };
        Container { kind, name: name.clone() }
    }
}

/// A run of characters with the same formatting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSpan {
    /// The characters.
    pub text: String,
    /// The attributes in force, sorted by name.
    pub attributes: std::collections::BTreeMap<String, Value>,
}

/// What a local transaction produced.
#[derive(Debug, Default)]
pub struct EngineCommit {
    /// The update to send to peers; empty when nothing changed.
    pub update: Bytes,
    /// What changed, in order; empty unless asked for.
    pub patches: Vec<(Path, Change)>,
}

/// What applying peers' updates did.
#[derive(Debug, Default)]
pub struct Applied {
    /// The visible content changed.
    pub changed: bool,
    /// Updates wait for others that have not arrived; see [`Engine::pending`].
    pub pending: bool,
    /// What changed, in order; empty unless asked for.
    pub patches: Vec<(Path, Change)>,
}

/// What taking in an update of somebody who follows no commits did; see [`Engine::absorb`].
#[derive(Debug, Default)]
pub struct Absorbed {
    /// Exactly what was new, as an update of its own; empty when nothing was.
    pub update: Bytes,
    /// Some of it builds on what is not here, and was left out.
    pub incomplete: bool,
    /// What changed, in order; empty unless asked for.
    pub patches: Vec<(Path, Change)>,
}

/// How a peer's frontier stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both hold the same.
    Equal,
    /// The peer lacks something and has nothing new.
    PeerBehind,
    /// The peer has something new and lacks nothing.
    PeerAhead,
    /// Both lack something.
    Diverged,
}

/// One past change, where the engine keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who wrote it, when the actor is one of ours.
    pub writer: Option<ReplicaId>,
    /// Position in that writer's sequence.
    pub seq: u64,
    /// The engine's name for the change.
    pub id: String,
    /// Operations in it.
    pub ops: u64,
    /// Claimed wall time in milliseconds since 1970; zero when unknown.
    pub wall_ms: i64,
}

/// Why an engine refused.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A peer's bytes failed the inspection; nothing was applied.
    #[error("update refused: {reason}")]
    Refused {
        /// What is wrong, with value and limit.
        reason: String,
    },
    /// A peer's update starts beyond what we know of its writer; nothing was applied. A resync mends it.
    #[error("update of writer {writer} starts at {from}, known up to {known}: resync required")]
    Gap {
        /// The writer (client id).
        writer: u64,
        /// Where the update starts.
        from: u64,
        /// What is known.
        known: u64,
    },
    /// An update was being applied when the engine failed or panicked: the content may be half changed. Rebuild it.
    #[error("content must be rebuilt: {reason}")]
    Poisoned {
        /// What the engine said.
        reason: String,
    },
    /// A stored snapshot or a frontier could not be read.
    #[error("unreadable {what}: {reason}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What the engine said.
        reason: String,
    },
    /// The name is in use for another kind of container.
    #[error("`{name}` is a {found}, not a {expected}")]
    WrongType {
        /// The container.
        name: String,
        /// The kind asked for.
        expected: ContainerKind,
        /// The kind it is.
        found: ContainerKind,
    },
    /// A position beyond the end.
    #[error("position {index} is beyond the {len} elements of `{name}`")]
    OutOfRange {
        /// The container.
        name: String,
        /// The position given.
        index: usize,
        /// Elements there at that point of the transaction.
        len: usize,
    },
    /// Something is larger than its limit.
    #[error("{what} of {size} is over the limit of {max}")]
    TooLarge {
        /// What is too large, with its name.
        what: String,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The engine cannot do this; see [`Capabilities`].
    #[error("{engine} cannot {what}")]
    Unsupported {
        /// The engine.
        engine: EngineKind,
        /// What was asked for.
        what: &'static str,
    },
    /// The engine was left out of this build.
    #[error("this build has no {engine} engine: enable the cargo feature `{engine}`")]
    NotCompiled {
        /// The engine.
        engine: EngineKind,
    },
    /// No engine of that name.
    #[error("no engine `{name}`: choose `yrs` or `automerge`")]
    UnknownEngine {
        /// The name given.
        name: String,
    },
}

impl EngineError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } | Self::Gap { .. } | Self::Poisoned { .. } => Fault::Peer,
            Self::Corrupt { .. } => Fault::Environment,
            _ => Fault::Caller,
        }
    }
}

/// The content of one document.
///
/// Deterministic: the same calls give the same bytes. The replica id is given, never drawn.
pub trait Engine: Send + fmt::Debug {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Applies all of `ops`, or none of them. With `watch`, reports what changed.
    ///
    /// # Errors
    /// `WrongType`, `OutOfRange`, `TooLarge`: nothing was changed.
    fn transact(&mut self, ops: &[Op], watch: bool) -> Result<EngineCommit, EngineError>;

    /// An update of nothing but this replica's own deletions, for its store: engines that do not attribute deletions
    /// ([`Capabilities::attributes_deletes`]) must be told again, with [`Engine::adopt`]. Empty when there are none.
    fn own_deletes(&self) -> Bytes {
        Bytes::new()
    }

    /// Takes the deletions in a loaded update, applied before, for this replica's own.
    ///
    /// # Errors
    /// `Refused` when the update cannot be read.
    fn adopt(&mut self, _update: &Bytes) -> Result<(), EngineError> {
        Ok(())
    }

    /// The first clock not yet known of a writer (numbered as in [`UpdateInfo`]); zero when nothing is known.
    fn known(&self, writer: u64) -> u64;

    /// How many writers have inserted something.
    fn known_writers(&self) -> usize {
        0
    }

    /// True when the change of that hash is here. Engines without hashes answer `false`.
    fn has_change(&self, hash: &[u8; 32]) -> bool;

    /// Merges peers' updates. The caller has inspected them and runs this under [`guarded`].
    ///
    /// # Errors
    /// Any error leaves the content in doubt: rebuild it from the store.
    fn apply(&mut self, updates: &[Bytes], watch: bool) -> Result<Applied, EngineError>;

    /// Takes in an update of a client that speaks of content alone, as far as what it builds on is here, and says what
    /// of it was new: clients repeat themselves, and what they repeat is neither kept nor passed on. The caller has
    /// inspected it and runs this under [`guarded`].
    ///
    /// # Errors
    /// `Unsupported`; any other leaves the content in doubt: rebuild it from the store.
    fn absorb(&mut self, update: &Bytes, watch: bool) -> Result<Absorbed, EngineError> {
        let _ = (update, watch);
        Err(EngineError::Unsupported { engine: self.kind(), what: "take in updates of plain Yjs clients" })
    }

    /// One turn of a conversation in the engine's own sync protocol: what was heard, whose changes have been absorbed as far
    /// as they could be, and, if it may speak, what there is to say. `None`: nothing. Up to
    /// linear in the document at first, later in what is new.
    ///
    /// # Errors
    /// `Refused`: it is no message; `Unsupported`.
    fn converse(
        &mut self,
        talk: &mut Conversation,
        heard: Option<&PeerMessage>,
        may_speak: bool,
    ) -> Result<Option<Bytes>, EngineError> {
        let _ = (talk, heard, may_speak);
        Err(EngineError::Unsupported { engine: self.kind(), what: "converse in automerge's sync protocol" })
    }

    /// True when an inspected update would change nothing.
    fn is_known(&self, info: &UpdateInfo) -> bool {
        info.inserts.iter().all(|range| range.to <= self.known(range.writer)) && info.deletes.is_empty()
    }

    /// What this replica has, for [`Engine::delta_since`] at a peer. Includes deletions.
    fn frontier(&self) -> Bytes;

    /// How a peer's frontier stands to ours.
    ///
    /// # Errors
    /// `Corrupt` when the frontier cannot be read.
    fn compare(&self, frontier: &[u8]) -> Result<Relation, EngineError>;

    /// What a peer with `frontier` lacks; everything for an empty frontier. With `author`, only that writer's own
    /// insertions and deletions: another's deletion may be half of a replacement whose other half the peer lacks. Empty when nothing is lacking.
    ///
    /// # Errors
    /// `Corrupt` when the frontier cannot be read.
    fn delta_since(&self, frontier: &[u8], author: Option<ReplicaId>) -> Result<Bytes, EngineError>;

    /// Everything, in the form that loads fastest. Goes through [`inspect`] and [`Engine::apply`] like any update.
    fn snapshot(&self) -> Bytes;

    /// Bytes held for updates whose dependencies are missing.
    fn pending(&self) -> usize;

    /// Forgets what is pending; the visible content is unchanged.
    ///
    /// # Errors
    /// `Poisoned` when the content had to be reloaded and could not.
    fn drop_pending(&mut self) -> Result<(), EngineError>;

    /// The containers present, sorted by name.
    fn containers(&self) -> Vec<Container>;

    /// The value of one key of a map.
    ///
    /// # Errors
    /// `WrongType` when the name is in use for another kind.
    fn map_get(&self, map: &str, key: &str) -> Result<Option<Value>, EngineError>;

    /// The entries of a map, sorted by key.
    ///
    /// # Errors
    /// `WrongType`.
    fn map_entries(&self, map: &str) -> Result<Vec<(Arc<str>, Value)>, EngineError>;

    /// The values of a list.
    ///
    /// # Errors
    /// `WrongType`.
    fn list_values(&self, list: &str) -> Result<Vec<Value>, EngineError>;

    /// The length of a container: keys, values or Unicode scalar values. Zero when absent.
    ///
    /// # Errors
    /// `WrongType`.
    fn len(&self, container: &Container) -> Result<usize, EngineError>;

    /// The characters of a text with their formatting, in runs.
    ///
    /// # Errors
    /// `WrongType`.
    fn text_spans(&self, text: &str) -> Result<Vec<TextSpan>, EngineError>;

    /// Past changes, each after those it builds on.
    ///
    /// # Errors
    /// `Unsupported` where the engine keeps none.
    fn history(&self) -> Result<Vec<HistoryEntry>, EngineError>;

    /// The content as it was after the first `changes` of [`Engine::history`]: content of its own, to be read.
    ///
    /// # Errors
    /// `Unsupported` where the engine keeps no history, `OutOfRange` when it has fewer changes.
    fn past(&self, changes: usize) -> Result<Box<dyn Engine>, EngineError>;
}

/// What another program has saved as an update that [`inspect`] passes: automerge compresses what it saves, which is not
/// taken from peers. For files the user names, not for what comes from elsewhere: the engine reads it first.
///
/// # Errors
/// `TooLarge` before and after; `Refused` when it cannot be read.
pub fn plain(kind: EngineKind, saved: &Bytes) -> Result<Bytes, EngineError> {
    let bounded = |bytes: Bytes| {
        let (size, max) = (bytes.len(), limits::DOCUMENT_BYTES);
        if size > max { Err(EngineError::TooLarge { what: "import".to_owned(), size, max }) } else { Ok(bytes) }
    };
    let saved = bounded(saved.clone())?;
    match kind {
        #[cfg(feature = "automerge")]
        EngineKind::Automerge => bounded(automerge::uncompressed(&saved)?),
        _ => Ok(saved),
    }
}

/// Creates empty content written under `replica`.
///
/// # Errors
/// `NotCompiled` when the build lacks the engine.
pub fn create(kind: EngineKind, replica: ReplicaId) -> Result<Box<dyn Engine>, EngineError> {
    match kind {
        #[cfg(feature = "yrs")]
        EngineKind::Yrs => Ok(Box::new(yrs::YrsEngine::new(replica))),
        #[cfg(feature = "automerge")]
        EngineKind::Automerge => Ok(Box::new(automerge::AutomergeEngine::new(replica))),
        #[allow(unreachable_patterns, reason = "reachable only in builds without that engine")]
        engine => {
            let _ = replica;
            Err(EngineError::NotCompiled { engine })
        }
    }
}
