//! What guests ask of a node, and what they are told. Layer 3, pure.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::gate::Entry;
use crate::{
    engine::{EngineKind, PeerMessage},
    id::DocumentId,
};

/// What a guest may do with the documents it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRights {
    /// See them, and be seen in them.
    Read,
    /// Change their content as well.
    Write,
}

impl GuestRights {
    /// True when content may be changed.
    pub const fn may_write(self) -> bool {
        matches!(self, Self::Write)
    }
}

/// The wires there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WireKind {
    /// y-websocket.
    Yjs,
    /// Hocuspocus.
    Hocuspocus,
    /// automerge-repo.
    Automerge,
}

impl WireKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Yjs, Self::Hocuspocus, Self::Automerge];

    /// Its name, in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yjs => "yjs",
            Self::Hocuspocus => "hocuspocus",
            Self::Automerge => "automerge",
        }
    }
}

/// What a guest asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To be let into a document, by what counts for this one from now on. It has been judged.
    Enter {
        /// The document.
        document: DocumentId,
        /// What lets it in.
        entry: Entry,
    },
    /// To take part in a document, or, taking part, what it lacks: [`Word::Lacking`] follows.
    Join {
        /// The document.
        document: DocumentId,
        /// The engine of its content.
        engine: EngineKind,
        /// What it has: the engine's own frontier.
        frontier: Bytes,
        /// It wants to hear of every update when it is durable: [`Word::Kept`].
        counts: bool,
    },
    /// To take an update of content in.
    Update {
        /// The document.
        document: DocumentId,
        /// The engine's encoding.
        update: Bytes,
    },
    /// To take a message of the engine's own sync protocol in, and so to take part: [`Word::Sync`] follows, when there is
    /// something to say.
    Sync {
        /// The document.
        document: DocumentId,
        /// The engine of its content.
        engine: EngineKind,
        /// The message.
        message: PeerMessage,
        /// It has nothing of the document: [`Word::Unavailable`] follows when there is nothing here either.
        wants: bool,
    },
    /// To show states of its own, or take them away.
    Presence {
        /// The document.
        document: DocumentId,
        /// The states.
        states: Vec<Awareness>,
    },
    /// Who is there: [`Word::Presence`] follows.
    QueryPresence {
        /// The document.
        document: DocumentId,
    },
    /// To tell the other guests in a document something that is not kept.
    Say {
        /// The document.
        document: DocumentId,
        /// What.
        body: Bytes,
    },
    /// To take no part in a document any more.
    Leave {
        /// The document.
        document: DocumentId,
    },
}

impl Ask {
    /// The document it is about.
    pub fn document(&self) -> &DocumentId {
        match self {
            Self::Enter { document, .. }
            | Self::Join { document, .. }
            | Self::Update { document, .. }
            | Self::Sync { document, .. }
            | Self::Presence { document, .. }
            | Self::QueryPresence { document }
            | Self::Say { document, .. }
            | Self::Leave { document } => document,
        }
    }
}

/// The ephemeral state of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awareness {
    /// The client.
    pub client: u64,
    /// Grows with every change of that client; older ones are ignored.
    pub clock: u64,
    /// JSON text; `None` takes the state away.
    pub state: Option<Bytes>,
}

/// What a guest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// What it lacks, as an update; empty when that is nothing. The answer to [`Ask::Join`].
    Lacking(Bytes),
    /// A change, as an update.
    Update(Bytes),
    /// What is here, as the engine's own frontier: an update of what is lacking is expected.
    Frontier(Bytes),
    /// A message of the engine's own sync protocol. What of the guest's own it says is here is durable.
    Sync(Bytes),
    /// Nothing is known of a document it wants.
    Unavailable,
    /// That many more of its updates are durable.
    Kept(u64),
    /// Something it asked for was refused.
    Refused {
        /// It lacks the right; else it broke a rule or a limit.
        is_forbidden: bool,
        /// Why, for people.
        reason: String,
    },
    /// States of others.
    Presence(Vec<Awareness>),
    /// What another guest said.
    Said(Bytes),
}

impl Word {
    /// Bytes it counts for while it waits to be sent, about.
    fn cost(&self) -> usize {
        const FRAME: usize = 16;
        FRAME
            + match self {
                Self::Lacking(bytes)
                | Self::Update(bytes)
                | Self::Frontier(bytes)
                | Self::Sync(bytes)
                | Self::Said(bytes) => bytes.len(),
                Self::Kept(_) | Self::Unavailable => 0,
                Self::Refused { reason, .. } => reason.len(),
                Self::Presence(states) => {
                    states.iter().map(|state| FRAME + state.state.as_ref().map_or(4, Bytes::len)).sum()
                }
            }
    }
}

/// A word to any number of guests in a document. Each wire encodes it once, whoever it is for.
#[derive(Debug)]
pub struct Told {
    document: Option<DocumentId>,
    word: Word,
    cost: usize,
    frames: [OnceLock<Bytes>; WireKind::ALL.len()],
}

impl Told {
    /// A word about a document, or about a connection.
    pub fn new(document: Option<DocumentId>, word: Word) -> Arc<Self> {
        let cost = word.cost();
        Arc::new(Self { document, word, cost, frames: Default::default() })
    }

    /// The document it is about.
    pub fn document(&self) -> Option<&DocumentId> {
        self.document.as_ref()
    }

    /// The word.
    pub fn word(&self) -> &Word {
        &self.word
    }

    /// Bytes it counts for while it waits to be sent.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Its bytes on a wire, made by whoever needs them first.
    pub fn frame(&self, wire: WireKind, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.frames[wire as usize].get_or_init(|| encode(self)).clone()
    }
}
