//! The wire of y-websocket (y-protocols 1.0): sync, awareness and auth messages, one to a frame. Layer 3, pure.
//!
//! A frame is the kind of its message and the message: `0` sync (`0` step 1: a state vector; `1` step 2 and `2` update: an
//! update in version 1 of the encoding), `1` awareness, `2` auth (`0` and a reason: refused), `3` query awareness. What
//! follows the message in its frame is ignored, and so are messages of other kinds, as y-websocket's own server does.

use bytes::Bytes;

use super::{
    error::WireError,
    form::{Writer, read_awareness, shared, write_awareness},
    session::Dialect,
    word::{Ask, Told, WireKind, Word},
};
use crate::{
    engine::{EngineKind, frontier_of_vector, lib0::Reader, vector_of_frontier},
    id::DocumentId,
    time::Monotonic,
};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const STEP_1: u64 = 0;
const STEP_2: u64 = 1;
const UPDATE: u64 = 2;
const DENIED: u64 = 0;

/// No blocks, no deletions.
pub(super) const EMPTY_UPDATE: [u8; 2] = [0, 0];

/// The wire, for one room.
#[derive(Debug)]
pub struct Yjs {
    document: DocumentId,
    has_joined: bool,
}

impl Yjs {
    /// For the document that the address names.
    pub fn new(document: DocumentId) -> Self {
        Self { document, has_joined: false }
    }
}

impl Dialect for Yjs {
    fn wire(&self) -> WireKind {
        WireKind::Yjs
    }

    fn hear(
        &mut self,
        frame: &Bytes,
        _now: Monotonic,
        asks: &mut Vec<Ask>,
        _answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError> {
        let mut reader = Reader::new(frame);
        match reader.var("the kind of a message")? {
            SYNC => {
                let ask = read_sync(&mut reader, frame, &self.document, false)?;
                self.has_joined |= matches!(ask, Ask::Join { .. });
                if !self.has_joined {
                    let reason = "an update came before sync step 1".to_owned();
                    return Err(WireError::Malformed { reason });
                }
                asks.push(ask);
            }
            AWARENESS => {
                let states = read_awareness(reader.buffer("an awareness update")?)?;
                // Before it has joined there is nobody to tell; it will say it again.
                if self.has_joined {
                    asks.push(Ask::Presence { document: self.document.clone(), states });
                }
            }
            QUERY_AWARENESS if self.has_joined => {
                asks.push(Ask::QueryPresence { document: self.document.clone() });
            }
            _ => {}
        }
        Ok(())
    }

    fn frames(&mut self, told: &Told) -> Vec<Bytes> {
        match told.word() {
            Word::Kept(_) | Word::Said(_) => Vec::new(),
            word => vec![told.frame(WireKind::Yjs, |_| write_word(Writer::with_capacity(told.cost()), word))],
        }
    }

    fn heartbeat(&self) -> Option<Bytes> {
        Some(Writer::default().var(AWARENESS).bytes(&write_awareness(&[])).done())
    }

    fn probe(&self) -> Option<Bytes> {
        Some(Writer::default().var(QUERY_AWARENESS).done())
    }

    fn deadline(&self) -> Option<Monotonic> {
        None
    }
}

/// Reads a sync message behind its kind.
pub(super) fn read_sync(
    reader: &mut Reader<'_>,
    frame: &Bytes,
    document: &DocumentId,
    counts: bool,
) -> Result<Ask, WireError> {
    let document = document.clone();
    match reader.var("the kind of a sync message")? {
        STEP_1 => {
            let vector = reader.buffer("a state vector")?;
            let frontier =
                frontier_of_vector(vector).map_err(|error| WireError::Malformed { reason: error.to_string() })?;
            Ok(Ask::Join { document, engine: EngineKind::Yrs, frontier, counts })
        }
        STEP_2 | UPDATE => Ok(Ask::Update { document, update: shared(frame, reader.buffer("an update")?) }),
        kind => Err(WireError::Malformed { reason: format!("sync message {kind} is unknown") }),
    }
}

/// Writes a word behind what is there already.
pub(super) fn write_word(writer: Writer, word: &Word) -> Bytes {
    let sync = |kind: u64, bytes: &[u8]| (SYNC, kind, bytes.to_vec());
    let (message, kind, bytes) = match word {
        Word::Lacking(update) if update.is_empty() => sync(STEP_2, &EMPTY_UPDATE),
        Word::Lacking(update) => return writer.var(SYNC).var(STEP_2).bytes(update).done(),
        Word::Update(update) => return writer.var(SYNC).var(UPDATE).bytes(update).done(),
        // Ours, so it can be read; nothing at all would be asked for everything.
        Word::Frontier(frontier) => sync(STEP_1, &vector_of_frontier(frontier).unwrap_or(Bytes::from_static(&[0]))),
        Word::Refused { reason, .. } => (AUTH, DENIED, reason.clone().into_bytes()),
        Word::Presence(states) => return writer.var(AWARENESS).bytes(&write_awareness(states)).done(),
        Word::Kept(_) | Word::Said(_) | Word::Sync(_) | Word::Unavailable => return writer.done(),
    };
    writer.var(message).var(kind).bytes(&bytes).done()
}
