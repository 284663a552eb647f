//! Connections: two sessions and the streams between them. A stream keeps its order and loses nothing until it
//! breaks; then it loses everything from some packet on, and its ends may learn of it long after each other.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{id::LinkId, node::TargetId, sync::Session, time::Dice};

/// Bytes under way in one direction before the sender has to wait: a socket's buffer.
const WINDOW: usize = 2 * 1024;

/// Bytes per second of a connection that nothing slows down.
const FAST: u64 = 4_000_000;

/// Something on its way.
#[derive(Debug)]
pub(super) enum Item {
    Packet(Bytes),
    /// The sender has closed the connection.
    Fin,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    flying: VecDeque<(u64, Item)>,
    bytes: usize,
    last: u64,
    /// An arrival is on the agenda.
    pub(super) armed: bool,
    /// Nothing more gets through.
    broken: bool,
}

impl Pipe {
    pub(super) fn has_room(&self) -> bool {
        self.bytes < WINDOW
    }

    /// Sends an item. Returns when it arrives if an arrival must be put on the agenda.
    pub(super) fn push(&mut self, item: Item, now: u64, weather: &Weather, dice: &mut Dice) -> Option<u64> {
        if self.broken {
            return None;
        }
        let bytes = match &item {
            Item::Packet(packet) => packet.len(),
            Item::Fin => 0,
        };
        let transfer = bytes as u64 * 1_000_000 / weather.bytes_per_second;
        let arrives = self.last.max(now + weather.delay(dice)) + transfer;
        self.last = arrives;
        self.bytes += bytes;
        self.flying.push_back((arrives, item));
        (!std::mem::replace(&mut self.armed, true)).then_some(arrives)
    }

    /// The next item, when it has arrived.
    pub(super) fn pop(&mut self, now: u64) -> Option<Item> {
        if self.flying.front().is_none_or(|(arrives, _)| *arrives > now) {
            return None;
        }
        let (_, item) = self.flying.pop_front()?;
        if let Item::Packet(packet) = &item {
            self.bytes -= packet.len();
        }
        Some(item)
    }

    /// When the next item arrives.
    pub(super) fn next(&self) -> Option<u64> {
        self.flying.front().map(|(arrives, _)| *arrives)
    }

    /// Breaks at some packet under way: those before it still arrive.
    pub(super) fn cut(&mut self, dice: &mut Dice) {
        self.broken = true;
        let survive = dice.below(self.flying.len() as u64 + 1);
        self.flying.truncate(usize::try_from(survive).unwrap_or(0));
    }
}

/// What a connection is like.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    latency: u64,
    jitter: u64,
    pub(super) bytes_per_second: u64,
    /// One in a hundred packets takes ten times as long, one in a thousand a hundred times.
    tails: bool,
}

impl Weather {
    pub(super) fn draw(tails: bool, dice: &mut Dice) -> Self {
        let latency = [100, 1_000, 10_000, 60_000][usize::try_from(dice.below(4)).unwrap_or(0)];
        Self { latency, jitter: 1 + latency / 2, bytes_per_second: FAST, tails }
    }

    /// No more long delays, and all the bandwidth there is.
    pub(super) fn calm(&mut self) {
        self.tails = false;
        self.bytes_per_second = FAST;
    }

    fn delay(&self, dice: &mut Dice) -> u64 {
        let usual = self.latency + dice.below(self.jitter);
        match dice.below(1_000) {
            0 if self.tails => usual * 100,
            1..=10 if self.tails => usual * 10,
            _ => usual,
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) link: LinkId,
    pub(super) target: Option<TargetId>,
    pub(super) session: Session,
    /// The handshake is done.
    pub(super) ready: bool,
    /// This end does not know of an end.
    pub(super) open: bool,
    /// It is to close once everything queued has left.
    pub(super) closing: bool,
    /// When the session's timer is on the agenda.
    pub(super) timer: Option<u64>,
    /// From here to the other end.
    pub(super) pipe: Pipe,
}

impl End {
    pub(super) fn new(host: usize, link: LinkId, target: Option<TargetId>, session: Session) -> Self {
        Self {
            host,
            link,
            target,
            session,
            ready: false,
            open: true,
            closing: false,
            timer: None,
            pipe: Pipe::default(),
        }
    }
}

/// A connection: the dialling end first.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    pub(super) weather: Weather,
}

impl Connection {
    /// Something under way comes so late that it was sent while the connection was slow.
    pub(super) fn lags(&self, now: u64) -> bool {
        self.ends.iter().any(|end| end.pipe.last > now + 1_000_000)
    }

    /// Nothing gets through any more, though an end may not know it.
    pub(super) fn is_broken(&self) -> bool {
        self.ends.iter().any(|end| end.pipe.broken) && self.ends.iter().any(|end| end.open)
    }
}
