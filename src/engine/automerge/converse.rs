//! automerge's own sync protocol, for peers that speak nothing else: the library keeps track of what a peer has, and is
//! given no changes. Layer 1.

use std::collections::BTreeSet;

use automerge::{
    ChangeHash,
    sync::{Message, SyncDoc as _},
};
use bytes::Bytes;

use super::{
    super::{Conversation, EngineError, PeerMessage},
    AutomergeEngine,
    merge::poisoned,
};
use crate::{
    engine::inspect::automerge::{Chunk, read},
    limits,
};

impl AutomergeEngine {
    /// Takes a message in, whose changes have been.
    pub(super) fn listen(&mut self, talk: &mut Conversation, heard: &PeerMessage) -> Result<(), EngineError> {
        let PeerMessage { changes, rest } = heard;
        let message = Message::decode(rest).map_err(|error| EngineError::Refused { reason: error.to_string() })?;
        let (sent, is_empty) = (talk.state.last_sent_heads.clone(), message.heads.is_empty());
        self.document.receive_sync_message(&mut talk.state, message).map_err(poisoned)?;
        if !changes.is_empty() && !is_empty {
            // The library has not seen them: without this it would not tell that they have come.
            talk.state.last_sent_heads = sent;
        }
        talk.has_met = true;
        self.hold(talk, changes)
    }

    /// What there is to say.
    pub(super) fn speak(&mut self, talk: &mut Conversation) -> Result<Option<Bytes>, EngineError> {
        if talk.state.needs_reset {
            // To ask for everything by flag would say that we read whole documents, compressed, which we do not.
            talk.state.their_capabilities = None;
        }
        let Some(mut message) = self.document.generate_sync_message(&mut talk.state) else { return Ok(None) };
        message.flags = None;
        self.ask_for_missing(talk, &mut message)?;
        let said = std::mem::replace(&mut talk.said, message.encode().into());
        // Of a peer whose changes are refused both sides would go on asking each other for what they will not get.
        Ok(Some(talk.said.clone()).filter(|says| *says != said))
    }

    /// Keeps what of `changes` could not be taken in.
    fn hold(&self, talk: &mut Conversation, changes: &Bytes) -> Result<(), EngineError> {
        if !talk.may_write || changes.is_empty() {
            return Ok(());
        }
        let mut held = Vec::new();
        for chunk in read(changes)?.0 {
            if let Chunk::Change(facts) = chunk
                && !self.knows(&facts.hash)
            {
                held.extend_from_slice(facts.bytes);
            }
        }
        talk.held = held.into();
        if talk.held.len() > limits::GUEST_FRAME_BYTES {
            talk.forget();
        }
        Ok(())
    }

    /// Has the peer send what held changes wait for, and not these again.
    fn ask_for_missing(&self, talk: &Conversation, message: &mut Message) -> Result<(), EngineError> {
        if talk.held.is_empty() {
            return Ok(());
        }
        let (mut held, mut missing) = (BTreeSet::new(), BTreeSet::new());
        for chunk in read(&talk.held)?.0 {
            if let Chunk::Change(facts) = chunk {
                held.insert(facts.hash);
                missing.extend(facts.deps.iter().filter(|dep| !self.knows(dep)).copied());
            }
        }
        missing.extend(message.need.iter().map(|hash| hash.0));
        message.need = missing.difference(&held).copied().map(ChangeHash).collect();
        // As automerge does it: who gives filters as well is sent what these lack, and not what it asks for alone.
        let theirs = talk.state.their_heads.as_deref().unwrap_or_default();
        if !message.need.iter().all(|hash| theirs.contains(hash)) {
            message.have.clear();
        }
        Ok(())
    }
}
