//! What is remembered of a peer that speaks the engine's own sync protocol, message by message. Layer 1.

use std::collections::BTreeSet;

use bytes::Bytes;

/// A message of a peer that speaks automerge's sync protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMessage {
    /// Its changes, as an update; to be inspected as any other.
    pub changes: Bytes,
    /// The message without them.
    pub rest: Bytes,
}

/// The engine's part in a conversation with one peer; see [`Engine::converse`](super::Engine::converse).
#[derive(Debug)]
#[cfg_attr(
    not(all(feature = "automerge", feature = "guests")),
    allow(dead_code, reason = "no other engine has such a protocol")
)]
pub struct Conversation {
    pub(super) may_write: bool,
    /// Changes the peer sent that build on what has not come yet: it does not send them twice.
    pub(super) held: Bytes,
    /// Their hashes, and those of what they build on.
    pub(super) held_hashes: [BTreeSet<[u8; 32]>; 2],
    /// A hash of what was said last, if that brought no changes.
    pub(super) said: Option<[u8; 32]>,
    /// It is known what the peer has: from then on a turn costs what is new.
    pub(super) has_met: bool,
    #[cfg(all(feature = "automerge", feature = "guests"))]
    pub(super) state: ::automerge::sync::State,
}

impl Conversation {
    /// With a peer whose changes are taken in, or are not.
    pub fn new(may_write: bool) -> Self {
        Self {
            may_write,
            held: Bytes::new(),
            held_hashes: Default::default(),
            said: None,
            has_met: false,
            #[cfg(all(feature = "automerge", feature = "guests"))]
            state: if may_write { ::automerge::sync::State::new() } else { ::automerge::sync::State::new_read_only() },
        }
    }

    /// True when the next turn may cost as much as the whole document.
    pub fn is_costly(&self) -> bool {
        !self.has_met
    }

    /// Changes that were held back, and then these: what may have become complete.
    pub fn complete(&mut self, changes: Bytes) -> Bytes {
        if self.held.is_empty() || changes.is_empty() {
            return changes;
        }
        self.held_hashes = Default::default();
        [std::mem::take(&mut self.held), changes].concat().into()
    }

    /// Something the peer has sent was lost: it has to send it again.
    pub fn forget(&mut self) {
        self.held = Bytes::new();
        self.held_hashes = Default::default();
        self.has_met = false;
        #[cfg(all(feature = "automerge", feature = "guests"))]
        {
            self.state.needs_reset = true;
        }
    }
}
