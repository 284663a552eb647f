//! automerge's own sync protocol, for peers that speak nothing else: the library keeps track of what a peer has, and is
//! given no changes. Layer 1.

use std::collections::BTreeSet;

use automerge::{
    ChangeHash,
    sync::{Message, SyncDoc as _},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

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
        self.ask_for_missing(talk, &mut message);
        let brings_nothing = message.changes.is_empty();
        let says = message.encode();
        let said = brings_nothing.then(|| Sha256::digest(&says).into());
        if said.is_some() && talk.said == said {
            // Of a peer whose changes are refused both sides would go on asking each other for what they will not get.
            return Ok(None);
        }
        talk.said = said;
        Ok(Some(says.into()))
    }

    /// Keeps what of `changes` could not be taken in.
    fn hold(&self, talk: &mut Conversation, changes: &Bytes) -> Result<(), EngineError> {
        if !talk.may_write || changes.is_empty() {
            return Ok(());
        }
        let mut held = Vec::new();
        let [mut hashes, mut deps] = <[BTreeSet<[u8; 32]>; 2]>::default();
        for chunk in read(changes)?.0 {
            if let Chunk::Change(facts) = chunk
                && !self.knows(&facts.hash)
            {
                held.extend_from_slice(facts.bytes);
                hashes.insert(facts.hash);
                deps.extend(facts.deps);
            }
        }
        if held.len() > limits::GUEST_HELD_BYTES {
            talk.forget();
        } else {
            (talk.held, talk.held_hashes) = (held.into(), [hashes, deps]);
        }
        Ok(())
    }

    /// Has the peer send what held changes wait for, and not these again.
    fn ask_for_missing(&self, talk: &Conversation, message: &mut Message) {
        let [held, deps] = &talk.held_hashes;
        if held.is_empty() {
            return;
        }
        let missing = deps.iter().filter(|dep| !self.knows(dep)).copied();
        let needed: BTreeSet<_> = missing.chain(message.need.iter().map(|hash| hash.0)).collect();
        message.need = needed.difference(held).copied().map(ChangeHash).collect();
        // As automerge does it: who gives filters as well is sent what these lack, and not what it asks for alone.
        let theirs = talk.state.their_heads.as_deref().unwrap_or_default();
        if !message.need.iter().all(|hash| theirs.contains(hash)) {
            message.have.clear();
        }
    }
}
