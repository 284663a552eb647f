//! A session driven by hand.

use aepoch::{
    id::DocumentId,
    time::{Moment, Monotonic},
    wires::{Ask, Dialect, Gate, GuestRights, GuestSession, Told, WireError, Word},
};
use bytes::Bytes;

pub(crate) fn document() -> DocumentId {
    DocumentId::new("band/stage").unwrap()
}

pub(crate) fn bytes(hex: &str) -> Bytes {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A gate that lets in whoever comes.
pub(crate) fn open(rights: GuestRights) -> Gate {
    Gate::new(Some(rights), None, Moment::default())
}

pub(crate) struct Stage {
    pub(crate) session: GuestSession,
    pub(crate) now: Monotonic,
}

impl Stage {
    pub(crate) fn new(dialect: impl Dialect + 'static) -> Self {
        Self { session: GuestSession::new(dialect, Monotonic(0)), now: Monotonic(0) }
    }

    /// What a frame asks.
    pub(crate) fn hear(&mut self, frame: &str) -> Result<Vec<Ask>, WireError> {
        let mut asks = Vec::new();
        self.session.receive(&bytes(frame), self.now, &mut asks).map(|()| asks)
    }

    /// The frames a word becomes.
    pub(crate) fn tell(&mut self, word: Word) -> Vec<String> {
        self.session.tell(&Told::new(Some(document()), word), self.now);
        self.sent()
    }

    /// The frames that wait.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_transmit()).map(|frame| hex(&frame)).collect()
    }
}
