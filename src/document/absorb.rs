//! Taking in what clients bring that follow no commits: plain Yjs clients know blocks and deletions, and nothing of
//! versions.
//!
//! What of their updates is new counts as a commit of the replica that takes it in (see [`ContentDelta::spans`]), so that
//! everything behind it - logs, peers, acknowledgements - is as with any other commit.

use bytes::Bytes;

use super::{ContentDelta, Delta, Document, DocumentError, Incoming, Span, merge::check_limit};
use crate::{
    engine::{self, Conversation, EngineError, Patch, PeerMessage, UpdateInfo, guarded},
    id::ReplicaId,
    limits,
};

/// An update of a client, on its way into a document.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The engine's encoding.
    pub update: Bytes,
    /// The caller's mark: where it came from.
    pub source: u64,
    /// It may change something.
    pub may_write: bool,
}

/// What became of one client's update.
#[derive(Debug)]
pub enum Absorption {
    /// It is part of the document, as that commit of ours; nothing was new in it where there is none.
    Landed(Option<Incoming>),
    /// It builds, in part at least, on what is not here: its client has to send it again, with that. What did not is part
    /// of the document, as that commit of ours.
    Incomplete(Option<Incoming>),
    /// Nothing of it was kept.
    Refused(DocumentError),
    /// It would change something, and may not.
    Forbidden,
}

impl Document {
    /// Takes in an update of a client. `natives` says which writers follow commits, besides those who have written here:
    /// under their numbers nobody else inserts anything.
    ///
    /// # Errors
    /// `Poisoned`: the engine failed half-way, and the document must be rebuilt.
    pub fn absorb(
        &mut self,
        foreign: &Foreign,
        natives: impl Fn(ReplicaId) -> bool,
        watch: bool,
        patches: &mut Vec<Patch>,
    ) -> Result<Absorption, DocumentError> {
        self.check_sound()?;
        let info = match self.examine_foreign(foreign, natives) {
            Ok(info) => info,
            Err(error) => return Ok(Absorption::Refused(error)),
        };
        if self.engine.is_known(&info) {
            return Ok(Absorption::Landed(None));
        }
        if !foreign.may_write {
            return Ok(Absorption::Forbidden);
        }
        let engine = &mut self.engine;
        let absorbed = guarded(|| engine.absorb(&foreign.update, watch)).map_err(|error| {
            let reason = error.to_string();
            self.poisoned = Some(reason.clone());
            DocumentError::Poisoned { sources: vec![foreign.source], reason }
        })?;
        let patch = |(path, change)| Patch { path, change, writer: None, origin: engine::Origin::Remote };
        patches.extend(absorbed.patches.into_iter().map(patch));
        let landed = if absorbed.update.is_empty() { None } else { Some(self.adopt(absorbed.update, foreign.source)?) };
        Ok(if absorbed.incomplete { Absorption::Incomplete(landed) } else { Absorption::Landed(landed) })
    }

    /// One turn of a conversation in the engine's own sync protocol; see [`Engine::converse`](engine::Engine::converse).
    ///
    /// # Errors
    /// `Engine`: it is no message, or the engine has no such protocol.
    pub fn converse(
        &mut self,
        talk: &mut Conversation,
        heard: Option<&PeerMessage>,
        may_speak: bool,
    ) -> Result<Option<Bytes>, DocumentError> {
        self.check_sound()?;
        Ok(self.engine.converse(talk, heard, may_speak)?)
    }

    /// Inspects an update, and looks whose numbers it inserts under.
    fn examine_foreign(
        &self,
        foreign: &Foreign,
        natives: impl Fn(ReplicaId) -> bool,
    ) -> Result<UpdateInfo, DocumentError> {
        let info = engine::inspect(self.engine.kind(), &foreign.update)?;
        for range in &info.inserts {
            let writer = ReplicaId::from_bits(range.writer);
            if range.to > self.engine.known(range.writer) && (self.is_native(writer) || natives(writer)) {
                let reason = format!("inserts under the number of the agent {writer}, whose own it is");
                return Err(EngineError::Refused { reason }.into());
            }
        }
        let known = self.engine.known_writers();
        let new = info.inserts.iter().filter(|range| self.engine.known(range.writer) == 0).count();
        check_limit("writers of the document's content", known + new, limits::DOCUMENT_CLIENTS)?;
        Ok(info)
    }

    /// Somebody who follows commits has written here under that number.
    fn is_native(&self, writer: ReplicaId) -> bool {
        let version = &self.version;
        writer == self.replica
            || [&version.content, &version.records, &version.slots].iter().any(|seen| seen.get(writer) > 0)
    }

    /// Makes what is in the engine already a commit of ours.
    fn adopt(&mut self, update: Bytes, source: u64) -> Result<Incoming, DocumentError> {
        let writer = self.replica;
        let since = self.version.content.get(writer);
        let spans = vec![Span { writer, since, upto: since + 1 }];
        let content = ContentDelta { spans, after: Vec::new(), updates: vec![update] };
        let delta = Delta { content: Some(content), ..Delta::default() };
        self.version.raise(&delta);
        for slot in self.lattice.releasable(writer, since + 1) {
            self.lattice.release(writer, &slot, since + 1);
        }
        let encoded = delta.encode()?;
        Ok(Incoming { delta, encoded, source, author: None })
    }
}
