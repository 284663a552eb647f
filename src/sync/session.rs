//! One connection: from packets to messages and back. Layer 3, pure.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    encoded::{Encoded, decode},
    error::SessionError,
    frame::{self, Kind},
    message::{Capabilities, Hello, Message},
    reassembly::Reassembly,
    scheduler::Scheduler,
};
use crate::{limits, time::Monotonic};

/// A ping goes out after this long without a packet from the peer.
const PING_IDLE: Duration = Duration::from_secs(15);
/// A ping goes out this long after the last, however busy the connection: the round-trip time stays fresh.
const PING_BUSY: Duration = Duration::from_secs(30);
/// A peer silent for this long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// A message of which no piece has come for this long will not be finished. Every lane has its share, so an honest
/// sender always gets on.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Drained bytes are reported in steps of this size.
const REPORT_BYTES: usize = 32 * 1024;

/// What a session hands up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The handshake is done.
    Ready(Hello),
    /// A message.
    Message(Message),
    /// The answer to a ping.
    Pong {
        /// Time since the ping was sent.
        rtt: Duration,
    },
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// Protocol version.
    pub version: u16,
    /// Abilities both have.
    pub capabilities: Capabilities,
}

#[derive(Debug)]
struct Peer {
    hello: Hello,
    agreed: Negotiated,
}

/// What goes before every lane: never more than one frame of each, however many pings come.
#[derive(Debug, Default)]
struct Urgent {
    hello: Option<Bytes>,
    ping: Option<u64>,
    pong: Option<u64>,
}

/// A connection's protocol state, without I/O. Per use: [`receive`](Self::receive) or [`send`](Self::send), then
/// [`poll_transmit`](Self::poll_transmit) while the transport takes packets; [`tick`](Self::tick) at
/// [`next_wake`](Self::next_wake). After an error the session is over: drop it.
#[derive(Debug)]
pub struct Session {
    ours: Hello,
    peer: Option<Peer>,
    urgent: Urgent,
    /// Sent before the handshake was done.
    early: Vec<Encoded>,
    scheduler: Scheduler,
    reassembly: Reassembly,
    started: Monotonic,
    heard: Monotonic,
    /// When the last ping was sent, or the handshake done.
    pinged: Monotonic,
    /// The ping under way.
    awaited: Option<u64>,
    next_token: u64,
    rtt: Option<Duration>,
    unreported: usize,
    /// More than one report's worth has been waiting since the queue was last empty.
    filled: bool,
    /// It has run empty since: the rest is worth a report, small as it is.
    emptied: bool,
    report_bytes: usize,
}

impl Session {
    /// A session that introduces itself with `hello`.
    pub fn new(hello: Hello, now: Monotonic) -> Self {
        // Writing to memory fails for no `Hello`: all its lengths are known.
        let payload = postcard::to_allocvec(&hello).unwrap_or_default();
        Self {
            ours: hello,
            peer: None,
            urgent: Urgent { hello: Some(frame::encode(Kind::Hello, &payload)), ..Urgent::default() },
            early: Vec::new(),
            scheduler: Scheduler::default(),
            reassembly: Reassembly::default(),
            started: now,
            heard: now,
            pinged: now,
            awaited: None,
            next_token: 0,
            rtt: None,
            unreported: 0,
            filled: false,
            emptied: false,
            report_bytes: REPORT_BYTES,
        }
    }

    /// Reports drained bytes in steps of `bytes`, at most the node's `queue_low`: for simulations with small queues.
    #[doc(hidden)]
    #[must_use]
    pub fn reporting_every(mut self, bytes: u64) -> Self {
        self.report_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self
    }

    /// Takes a packet in; what it holds is added to `received`, also what came before an error.
    ///
    /// # Errors
    /// The peer broke the protocol or a limit: close the connection with [`SessionError::close_code`].
    pub fn receive(
        &mut self,
        mut packet: Bytes,
        now: Monotonic,
        received: &mut Vec<Received>,
    ) -> Result<(), SessionError> {
        let max = if self.peer.is_some() { limits::PACKET_BYTES } else { limits::HELLO_BYTES };
        if packet.len() > max {
            let what = if self.peer.is_some() { "a packet" } else { "the first packet" };
            return Err(SessionError::TooLarge { what, size: packet.len(), max });
        }
        if packet.is_empty() {
            return Err(SessionError::protocol("a packet is empty".to_owned()));
        }
        self.heard = now;
        while let Some((kind, payload)) = frame::take(&mut packet)? {
            if self.peer.is_none() && kind != Kind::Hello {
                return Err(SessionError::protocol(format!("a frame of kind {kind:?} came before Hello")));
            }
            if payload.len() > limits::CHUNK_BYTES {
                return Err(SessionError::TooLarge { what: "a frame", size: payload.len(), max: limits::CHUNK_BYTES });
            }
            match kind {
                Kind::Hello => received.push(Received::Ready(self.greeted(&payload, now)?)),
                Kind::Message | Kind::Compressed => {
                    received.push(Received::Message(decode(kind, &payload, self.lz4(), limits::MESSAGE_BYTES)?));
                }
                Kind::Chunk => {
                    received.extend(self.reassembly.chunk(&payload, self.lz4(), now)?.map(Received::Message))
                }
                // The newest only: a peer that pings faster than it reads costs no memory.
                Kind::Ping => self.urgent.pong = Some(token(&payload)?),
                Kind::Pong => received.extend(self.pong(token(&payload)?, now)),
            }
        }
        Ok(())
    }

    fn greeted(&mut self, payload: &[u8], now: Monotonic) -> Result<Hello, SessionError> {
        if self.peer.is_some() {
            return Err(SessionError::protocol("a second Hello".to_owned()));
        }
        // What follows is left to later versions.
        let (theirs, _) = postcard::take_from_bytes::<Hello>(payload)
            .map_err(|error| SessionError::protocol(format!("Hello cannot be read: {error}")))?;
        let version = self.ours.versions.1.min(theirs.versions.1);
        if version < self.ours.versions.0.max(theirs.versions.0) {
            return Err(SessionError::Version { ours: self.ours.versions, theirs: theirs.versions });
        }
        let agreed = Negotiated { version, capabilities: self.ours.capabilities.and(theirs.capabilities) };
        self.peer = Some(Peer { hello: theirs.clone(), agreed });
        self.pinged = now;
        for encoded in std::mem::take(&mut self.early) {
            self.send(encoded);
        }
        Ok(theirs)
    }

    fn pong(&mut self, token: u64, now: Monotonic) -> Option<Received> {
        self.awaited.take_if(|awaited| *awaited == token)?;
        let rtt = now.since(self.pinged);
        self.rtt = Some(rtt);
        Some(Received::Pong { rtt })
    }

    fn lz4(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.agreed.capabilities.has(Capabilities::LZ4))
    }

    /// Queues a message. What is queued before the handshake is done goes out after it.
    pub fn send(&mut self, encoded: Encoded) {
        if self.peer.is_some() {
            let (lane, cost) = (encoded.lane(), encoded.len());
            self.scheduler.push(lane, encoded.frame(self.lz4()), cost);
            self.filled |= self.scheduler.queued() > self.report_bytes;
        } else {
            self.early.push(encoded);
        }
    }

    /// Sends a ping now, unless one is under way or the handshake is not done.
    pub fn ping(&mut self, now: Monotonic) {
        if self.awaited.is_none() && self.peer.is_some() {
            self.send_ping(now);
        }
    }

    fn send_ping(&mut self, now: Monotonic) {
        self.urgent.ping = Some(self.next_token);
        self.awaited = Some(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.pinged = now;
    }

    /// The next packet for the transport, of at most [`limits::CHUNK_BYTES`]; `None` when nothing waits.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(hello) = self.urgent.hello.take() {
            return Some(hello);
        }
        if let Some(packet) = self.urgent.take_pings() {
            return Some(packet);
        }
        let packet = self.scheduler.next_packet()?;
        self.unreported += packet.drained;
        if self.scheduler.queued() == 0 {
            self.emptied |= std::mem::take(&mut self.filled);
        }
        Some(packet.bytes)
    }

    /// When to call [`Session::tick`]; later calls may give an earlier or a later moment.
    pub fn next_wake(&self) -> Option<Monotonic> {
        if self.peer.is_none() {
            return Some(self.started + limits::HELLO_WAIT);
        }
        let stalled = self.reassembly.stalled_since().map(|since| since + STALLED_AFTER);
        [Some(self.heard + DEAD_AFTER), Some(self.ping_due()), stalled].into_iter().flatten().min()
    }

    fn ping_due(&self) -> Monotonic {
        let busy = self.pinged + PING_BUSY;
        // One ping at a time, unless its answer has been lost.
        if self.awaited.is_some() { busy } else { busy.min(self.heard.max(self.pinged) + PING_IDLE) }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// `Timeout`: the peer is dead, took too long over its handshake, or does not finish a message.
    pub fn tick(&mut self, now: Monotonic) -> Result<(), SessionError> {
        let timeout = |during, waited| Err(SessionError::Timeout { during, waited });
        if self.peer.is_none() {
            let late = self.started + limits::HELLO_WAIT <= now;
            return if late { timeout("the handshake", limits::HELLO_WAIT) } else { Ok(()) };
        }
        if self.heard + DEAD_AFTER <= now {
            return timeout("the session", DEAD_AFTER);
        }
        if self.reassembly.stalled_since().is_some_and(|since| since + STALLED_AFTER <= now) {
            return timeout("a message in chunks", STALLED_AFTER);
        }
        if self.ping_due() <= now {
            self.send_ping(now);
        }
        Ok(())
    }

    /// Bytes of queued messages, as [`Encoded::len`] counts them, handed to the transport since the last report. In
    /// steps of at least 32 KiB, or less when a queue that was longer than that has run empty.
    pub fn take_drained(&mut self) -> Option<u64> {
        if !self.has_drained() {
            return None;
        }
        self.emptied = false;
        u64::try_from(std::mem::take(&mut self.unreported)).ok()
    }

    /// True when [`Session::take_drained`] has something to report.
    pub fn has_drained(&self) -> bool {
        self.unreported >= self.report_bytes || (self.emptied && self.unreported > 0)
    }

    /// Bytes waiting to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.scheduler.queued() + self.early.iter().map(Encoded::len).sum::<usize>()
    }

    /// The latest round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// What the peer said of itself.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref().map(|peer| &peer.hello)
    }

    /// What both sides agreed on.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.peer.as_ref().map(|peer| peer.agreed)
    }
}

impl Urgent {
    fn take_pings(&mut self) -> Option<Bytes> {
        if self.ping.is_none() && self.pong.is_none() {
            return None;
        }
        let mut packet = BytesMut::with_capacity(2 * (1 + 1 + 8));
        for (kind, token) in [(Kind::Ping, self.ping.take()), (Kind::Pong, self.pong.take())] {
            if let Some(token) = token {
                frame::put_header(&mut packet, kind, 8);
                packet.put_u64(token);
            }
        }
        Some(packet.freeze())
    }
}

fn token(payload: &[u8]) -> Result<u64, SessionError> {
    let token = payload.try_into().map(u64::from_be_bytes);
    token.map_err(|_| SessionError::protocol(format!("a ping is of {} bytes, it has 8", payload.len())))
}
