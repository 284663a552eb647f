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
    engine::{
        Absorbed,
        inspect::automerge::{Chunk, read},
    },
    limits,
};

impl AutomergeEngine {
    /// Takes in changes as far as what they build on is here or comes with them.
    pub(super) fn take_in(&mut self, update: &Bytes, watch: bool) -> Result<Absorbed, EngineError> {
        // What peers brought that waits goes on waiting, and nothing is added to it.
        let waiting = std::mem::take(&mut self.queue);
        let sorted = self.sort(update);
        let incomplete = !std::mem::replace(&mut self.queue, waiting).is_empty();
        let mut ready = sorted?;
        let mut done = ready.iter().map(|(hash, _)| *hash).collect();
        for (hash, _) in ready.clone() {
            self.wake(hash, &mut ready, &mut done);
        }
        let patches = self.integrate(&ready, watch)?;
        let update = ready.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
        Ok(Absorbed { update: update.into(), incomplete, patches })
    }

    /// Changes of an update that can be applied, in an order in which they can; the others are left in the queue.
    fn sort(&mut self, update: &Bytes) -> Result<Vec<([u8; 32], Bytes)>, EngineError> {
        let (mut ready, mut done) = (Vec::new(), BTreeSet::new());
        for chunk in read(update)?.0 {
            match chunk {
                Chunk::Change(facts) => {
                    self.settle(facts.hash, &facts.deps, &update.slice_ref(facts.bytes), &mut ready, &mut done);
                }
                Chunk::Document(facts) if facts.heads.iter().all(|head| self.knows(head)) => {}
                Chunk::Document(facts) => {
                    for bytes in self.changes_in(facts.bytes)? {
                        self.receive(&bytes, &mut ready, &mut done)?;
                    }
                }
            }
        }
        Ok(ready)
    }

    pub(super) fn answer(
        &mut self,
        talk: &mut Conversation,
        heard: Option<&PeerMessage>,
    ) -> Result<Option<Bytes>, EngineError> {
        if let Some(PeerMessage { changes, rest }) = heard {
            let message = Message::decode(rest).map_err(|error| EngineError::Refused { reason: error.to_string() })?;
            let (sent, is_empty) = (talk.state.last_sent_heads.clone(), message.heads.is_empty());
            self.document.receive_sync_message(&mut talk.state, message).map_err(poisoned)?;
            if !changes.is_empty() && !is_empty {
                // The library has not seen them: without this it would not tell that they have come.
                talk.state.last_sent_heads = sent;
            }
            self.hold(talk, changes)?;
        }
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
