//! The wire of automerge-repo (2.5, protocol version 1): many documents on one connection, each in automerge's own sync
//! protocol. Layer 3, pure.
//!
//! A client begins with `join`, answered with `peer`. Then `sync` and `request` (which is answered with `doc-unavailable`
//! when nothing is here), both ways, and `ephemeral`, which goes on to the others in the document under the name of who
//! said it first. Subscriptions to other peers' heads are not served: a client sees the relay's own, under the name of its
//! storage, and these are durable.
//!
//! Such clients say nothing while nothing happens; they are probed with pings of the WebSocket (empty frames here).

mod message;

use bytes::Bytes;
use message::{Field, Message, write};

use super::{
    error::WireError,
    repo_id::{RepoId, RepoIdError},
    session::Dialect,
    word::{Ask, Told, WireKind, Word},
};
use crate::{
    engine::{EngineKind, read_message},
    id::DocumentId,
    limits,
    time::Monotonic,
};

/// The only version there is.
const VERSION: &str = "1";

/// The wire, for one connection.
#[derive(Debug)]
pub struct AutomergeRepo {
    /// What the relay calls itself and its storage.
    relay: String,
    /// The swarm whose documents these are.
    swarm: String,
    /// Until when the client has to have joined; then what it calls itself.
    client: Result<String, Monotonic>,
}

impl AutomergeRepo {
    /// On the documents of a swarm. The relay's name has to be its own, and the same for as long as it keeps its store.
    pub fn new(relay: String, swarm: String, now: Monotonic) -> Self {
        Self { relay, swarm, client: Err(now + limits::GUEST_AUTH_WAIT) }
    }

    /// What is said to a client that is turned away before it could join.
    pub fn farewell(reason: &str) -> Bytes {
        write(&[
            ("type", Field::Text("error")),
            ("senderId", Field::Text("")),
            ("targetId", Field::Text("")),
            ("message", Field::Text(reason)),
        ])
    }

    fn join(&mut self, message: &Message<'_>, answers: &mut Vec<Bytes>) -> Result<(), WireError> {
        self.client = Ok(message.sender.to_owned());
        if let Some(versions) = message.versions.as_ref().filter(|versions| !versions.contains(&VERSION)) {
            let versions = versions.iter().map(|version| version.escape_debug().to_string()).collect::<Vec<_>>();
            let reason = format!("protocol versions {}: here it is {VERSION}", versions.join(", "));
            answers.push(self.message("error", &[("message", Field::Text(&reason))]));
            return Err(WireError::Malformed { reason });
        }
        let fields = [("selectedProtocolVersion", Field::Text(VERSION)), ("peerMetadata", Field::Storage(&self.relay))];
        answers.push(self.message("peer", &fields));
        Ok(())
    }

    /// A message of the relay's to the client.
    fn message(&self, kind: &str, fields: &[(&str, Field<'_>)]) -> Bytes {
        let client = self.client.as_deref().unwrap_or_default();
        let mut all = vec![
            ("type", Field::Text(kind)),
            ("senderId", Field::Text(&self.relay)),
            ("targetId", Field::Text(client)),
        ];
        all.extend(fields.iter().map(|(name, field)| (*name, *field)));
        write(&all)
    }

    fn document(&self, message: &Message<'_>) -> Result<DocumentId, WireError> {
        let malformed = |reason: String| WireError::Malformed { reason };
        let id: RepoId = message.document.parse().map_err(|error: RepoIdError| malformed(error.to_string()))?;
        id.document(&self.swarm).map_err(|error| malformed(error.to_string()))
    }
}

impl Dialect for AutomergeRepo {
    fn wire(&self) -> WireKind {
        WireKind::Automerge
    }

    fn hear(
        &mut self,
        frame: &Bytes,
        _now: Monotonic,
        asks: &mut Vec<Ask>,
        answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError> {
        // The answer to a probe.
        if frame.is_empty() {
            return Ok(());
        }
        let message = Message::read(frame)?;
        match message.kind {
            "join" => self.join(&message, answers),
            kind if self.client.is_err() => {
                Err(WireError::Malformed { reason: format!("`{}` came before `join`", kind.escape_debug()) })
            }
            "sync" | "request" => {
                let document = self.document(&message)?;
                let wants = message.kind == "request";
                let message =
                    read_message(message.data).map_err(|error| WireError::Malformed { reason: error.to_string() })?;
                asks.push(Ask::Sync { document, engine: EngineKind::Automerge, message, wants });
                Ok(())
            }
            "ephemeral" => {
                let document = self.document(&message)?;
                let body = write(&[
                    ("senderId", Field::Text(message.sender)),
                    ("sessionId", Field::Text(message.session)),
                    ("count", Field::Number(message.count)),
                    ("data", Field::Data(message.data)),
                ]);
                asks.push(Ask::Say { document, body });
                Ok(())
            }
            // `doc-unavailable`, `leave`, other peers' heads, and what later versions may say.
            _ => Ok(()),
        }
    }

    fn frames(&mut self, told: &Told) -> Vec<Bytes> {
        let id = told.document().and_then(RepoId::of).map(|id| id.to_string());
        let frame = match (told.word(), &id) {
            (Word::Sync(data), Some(id)) => {
                self.message("sync", &[("documentId", Field::Text(id)), ("data", Field::Data(data))])
            }
            (Word::Unavailable, Some(id)) => self.message("doc-unavailable", &[("documentId", Field::Text(id))]),
            (Word::Said(body), Some(id)) => {
                // Written above.
                let Ok(said) = Message::read(body) else { return Vec::new() };
                write(&[
                    ("type", Field::Text("ephemeral")),
                    ("senderId", Field::Text(said.sender)),
                    ("targetId", Field::Text(self.client.as_deref().unwrap_or_default())),
                    ("documentId", Field::Text(id)),
                    ("sessionId", Field::Text(said.session)),
                    ("count", Field::Number(said.count)),
                    ("data", Field::Data(said.data)),
                ])
            }
            (Word::Refused { reason, .. }, _) => self.message("error", &[("message", Field::Text(reason))]),
            _ => return Vec::new(),
        };
        vec![frame]
    }

    fn heartbeat(&self) -> Option<Bytes> {
        None
    }

    fn probe(&self) -> Option<Bytes> {
        Some(Bytes::new())
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.client.as_ref().err().copied()
    }
}
