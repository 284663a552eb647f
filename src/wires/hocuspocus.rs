//! The wire of Hocuspocus providers (4.x): many documents on one connection, each authenticated by itself. Layer 3, pure.
//!
//! A frame begins with the name of its document, behind which a provider may have put a zero character and a session of its
//! own; then as in [`super::yjs`], with more kinds: `2` auth (`0` and a token; answered with `2` and what is allowed, or
//! `1` and a reason), `4` as `0`, `5` something for the others in the document, `7` done with the document, `8` an update of
//! the client is durable (`1`) or was not taken (`0`). A frame of the single byte `9` is a ping, `10` its answer.
//!
//! Where there are passes, the token is one. All of a connection are for the same subject: who else shares the socket of
//! a page would be taken for it by others.
//!
//! What comes before a document is authenticated waits, bounded. Updates that come before sync step 1 are left out: the
//! answer to the step that follows brings them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{
    error::WireError,
    form::{Writer, read_awareness, shared, write_awareness},
    gate::{Entry as LetIn, Gate},
    session::Dialect,
    word::{Ask, Told, WireKind, Word},
    yjs::{read_sync, write_word},
};
use crate::{
    engine::lib0::Reader,
    id::{AgentId, DocumentId},
    limits,
    time::Monotonic,
    trust::authority::Authority,
};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const SYNC_REPLY: u64 = 4;
const STATELESS: u64 = 5;
const CLOSE: u64 = 7;
const SYNC_STATUS: u64 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const TOKEN: u64 = 0;
const DENIED: u64 = 1;
const AUTHENTICATED: u64 = 2;

/// A document of the connection.
#[derive(Debug)]
struct Entry {
    /// What the provider calls it: its name, and perhaps a session.
    key: String,
    /// Since when it waits to be authenticated; `None` once it is.
    waits_since: Option<Monotonic>,
    /// What let it in.
    let_in: Option<LetIn>,
    /// What came before.
    early: VecDeque<Bytes>,
    has_joined: bool,
}

/// The wire, for any number of documents.
#[derive(Debug)]
pub struct Hocuspocus {
    gate: Gate,
    started: Monotonic,
    documents: BTreeMap<DocumentId, Entry>,
    /// Some document was authenticated.
    is_known: bool,
    early_frames: usize,
    early_bytes: usize,
    /// Passes that did not count.
    denied: usize,
}

impl Hocuspocus {
    /// For clients that this gate lets in.
    pub fn new(gate: Gate, now: Monotonic) -> Self {
        Self {
            gate,
            started: now,
            documents: BTreeMap::new(),
            is_known: false,
            early_frames: 0,
            early_bytes: 0,
            denied: 0,
        }
    }

    fn take(
        &mut self,
        frame: &Bytes,
        now: Monotonic,
        asks: &mut Vec<Ask>,
        answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError> {
        let mut reader = Reader::new(frame);
        let key = reader.name(KEY_BYTES, "a document's name")?;
        let name = key.split('\0').next().unwrap_or_default();
        let deny = |reason: String| to(key).var(AUTH).var(DENIED).bytes(reason.as_bytes()).done();
        let document = match DocumentId::new(name) {
            Ok(document) => document,
            Err(error) => {
                answers.push(deny(error.to_string()));
                return Ok(());
            }
        };
        let kind = reader.var("the kind of a message")?;
        let open = self.documents.len();
        let waiting = self.documents.values().filter(|entry| entry.waits_since.is_some()).count();
        if !self.documents.contains_key(&document) {
            if kind == CLOSE {
                return Ok(());
            }
            if waiting >= limits::GUEST_EARLY_DOCUMENTS || open >= limits::LINK_DOCUMENTS {
                let (what, size) = ("documents on one connection", open);
                return Err(WireError::TooLarge { what, size, max: limits::LINK_DOCUMENTS.min(open) });
            }
        }
        let entry = self.documents.entry(document.clone()).or_insert_with(|| Entry {
            key: key.to_owned(),
            waits_since: Some(now),
            let_in: None,
            early: VecDeque::new(),
            has_joined: false,
        });
        if entry.key != key {
            answers.push(deny(format!("`{document}` has another session on this connection: use another connection")));
            return Ok(());
        }
        match kind {
            AUTH => self.authenticate(&document, &mut reader, now, asks, answers),
            CLOSE => {
                self.forget(&document);
                asks.push(Ask::Leave { document });
                Ok(())
            }
            _ if entry.waits_since.is_some() => {
                self.early_frames += 1;
                self.early_bytes += frame.len();
                let bounds = [
                    ("frames before authentication", self.early_frames, limits::GUEST_EARLY_FRAMES),
                    ("bytes before authentication", self.early_bytes, limits::GUEST_EARLY_BYTES),
                ];
                if let Some((what, size, max)) = bounds.into_iter().find(|(_, size, max)| size > max) {
                    return Err(WireError::TooLarge { what, size, max });
                }
                entry.early.push_back(frame.clone());
                Ok(())
            }
            kind => {
                if let Some(ask) = read(kind, &mut reader, frame, &document, entry.has_joined)? {
                    entry.has_joined |= matches!(ask, Ask::Join { .. });
                    asks.push(ask);
                }
                Ok(())
            }
        }
    }

    fn authenticate(
        &mut self,
        document: &DocumentId,
        reader: &mut Reader<'_>,
        now: Monotonic,
        asks: &mut Vec<Ask>,
        answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError> {
        let kind = reader.var("the kind of an auth message")?;
        if kind != TOKEN {
            return Err(WireError::Malformed { reason: format!("auth message {kind} is unknown") });
        }
        // What follows the token is the provider's version.
        let let_in = self.admit(document, reader.string("a token")?, now);
        let Some(entry) = self.documents.get_mut(document) else { return Ok(()) };
        let (let_in, scope) = match let_in {
            Ok(let_in) => let_in,
            Err(reason) => {
                answers.push(to(&entry.key).var(AUTH).var(DENIED).bytes(reason.as_bytes()).done());
                asks.push(Ask::Leave { document: document.clone() });
                self.forget(document);
                return self.count_denied();
            }
        };
        answers.push(to(&entry.key).var(AUTH).var(AUTHENTICATED).bytes(scope.as_bytes()).done());
        asks.push(Ask::Enter { document: document.clone(), entry: let_in.clone() });
        entry.let_in = Some(let_in);
        self.is_known = true;
        entry.waits_since = None;
        for frame in std::mem::take(&mut entry.early) {
            self.early_frames -= 1;
            self.early_bytes -= frame.len();
            self.take(&frame, now, asks, answers)?;
        }
        Ok(())
    }

    /// What lets the client into the document, and what it is told of that; else why not.
    fn admit(&self, document: &DocumentId, token: &str, now: Monotonic) -> Result<(LetIn, &'static str), String> {
        let let_in = self.gate.admit(Some(token), now).map_err(|error| error.to_string())?;
        let known =
            self.documents.iter().filter(|(other, _)| *other != document).find_map(|(_, entry)| entry.let_in.as_ref());
        if let Some(subject) = known.map(LetIn::subject).filter(|subject| *subject != let_in.subject()) {
            let name =
                |subject: Option<&AgentId>| subject.map_or("nobody".to_owned(), |subject| format!("`{subject}`"));
            let (shown, known) = (name(let_in.subject()), name(subject));
            return Err(format!("the pass is for {shown}, this connection is {known}'s: use another connection"));
        }
        let Some(rights) = let_in.rights(document) else {
            return Err(format!("the pass grants no right to read `{document}`"));
        };
        Ok((let_in, if rights.may_write() { "read-write" } else { "readonly" }))
    }

    /// Each costs the check of a signature.
    fn count_denied(&mut self) -> Result<(), WireError> {
        self.denied += 1;
        let (what, size, max) = ("refused passes on one connection", self.denied, limits::GUEST_DENIED);
        if size > max { Err(WireError::TooLarge { what, size, max }) } else { Ok(()) }
    }

    fn forget(&mut self, document: &DocumentId) {
        if let Some(entry) = self.documents.remove(document) {
            self.early_frames -= entry.early.len();
            self.early_bytes -= entry.early.iter().map(Bytes::len).sum::<usize>();
        }
    }
}

/// A document's name, a zero and a session.
const KEY_BYTES: usize = limits::NAME_SEGMENTS * (limits::NAME_SEGMENT_BYTES + 1) + 256;

/// A frame to a document.
fn to(key: &str) -> Writer {
    Writer::default().bytes(key.as_bytes())
}

/// Reads a message of a document that is authenticated; `None` for what asks for nothing.
fn read(
    kind: u64,
    reader: &mut Reader<'_>,
    frame: &Bytes,
    document: &DocumentId,
    has_joined: bool,
) -> Result<Option<Ask>, WireError> {
    let document = document.clone();
    let ask = match kind {
        SYNC | SYNC_REPLY => {
            let ask = read_sync(reader, frame, &document, true)?;
            let is_early = !has_joined && matches!(ask, Ask::Update { .. });
            return Ok(Some(ask).filter(|_| !is_early));
        }
        _ if !has_joined => return Ok(None),
        AWARENESS => {
            let states = read_awareness(reader.buffer("an awareness update")?)?;
            Ask::Presence { document, states }
        }
        QUERY_AWARENESS => Ask::QueryPresence { document },
        STATELESS => Ask::Say { document, body: shared(frame, reader.string("a stateless message")?.as_bytes()) },
        _ => return Ok(None),
    };
    Ok(Some(ask))
}

/// The frame for a word to a document, but for [`Word::Kept`], of which one frame says "one more".
fn write(key: &str, word: &Word) -> Bytes {
    match word {
        Word::Kept(_) => to(key).var(SYNC_STATUS).var(1).done(),
        Word::Refused { is_forbidden: true, .. } => to(key).var(SYNC_STATUS).var(0).done(),
        Word::Refused { reason, .. } => to(key).var(AUTH).var(DENIED).bytes(reason.as_bytes()).done(),
        Word::Said(body) => to(key).var(STATELESS).bytes(body).done(),
        Word::Presence(states) => to(key).var(AWARENESS).bytes(&write_awareness(states)).done(),
        word => write_word(to(key), word),
    }
}

impl Dialect for Hocuspocus {
    fn wire(&self) -> WireKind {
        WireKind::Hocuspocus
    }

    fn hear(
        &mut self,
        frame: &Bytes,
        now: Monotonic,
        asks: &mut Vec<Ask>,
        answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError> {
        match frame[..] {
            [PING] => answers.push(Bytes::from_static(&[PONG])),
            [PONG] => {}
            _ => self.take(frame, now, asks, answers)?,
        }
        Ok(())
    }

    fn frames(&mut self, told: &Told) -> Vec<Bytes> {
        let Some(document) = told.document() else { return Vec::new() };
        let Some(entry) = self.documents.get(document) else { return Vec::new() };
        let frame = if entry.key == document.as_str() {
            told.frame(WireKind::Hocuspocus, |told| write(document.as_str(), told.word()))
        } else {
            write(&entry.key, told.word())
        };
        let count = if let Word::Kept(count) = told.word() { *count } else { 1 };
        (0..count).map(|_| frame.clone()).collect()
    }

    fn heartbeat(&self) -> Option<Bytes> {
        Some(Bytes::from_static(&[PING]))
    }

    fn probe(&self) -> Option<Bytes> {
        self.heartbeat()
    }

    fn deadline(&self) -> Option<Monotonic> {
        let waiting = self.documents.values().filter_map(|entry| entry.waits_since);
        let since = waiting.chain((!self.is_known).then_some(self.started)).min()?;
        Some(since + limits::GUEST_AUTH_WAIT)
    }

    fn judge_by(&mut self, authority: &Authority) {
        self.gate.judge_by(authority.clone());
    }

    fn end(&self) -> Option<Monotonic> {
        self.documents.values().filter_map(|entry| self.gate.end(entry.let_in.as_ref()?)).min()
    }
}
