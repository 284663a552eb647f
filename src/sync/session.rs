//! One connection: from packets to messages and back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{
    compression::inflate,
    encoded::{Encoded, message_max},
    error::SessionError,
    frame::{self, Kind},
    message::{Capabilities, Hello, Lane, Message},
    scheduler::{LAST, Scheduler},
};
use crate::{limits, time::Monotonic};

/// A ping goes out after this long without a packet from the peer.
const PING_AFTER: Duration = Duration::from_secs(15);
/// A peer silent for this long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// Drained bytes are reported in steps of this size.
const REPORT_BYTES: u64 = 32 * 1024;

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

#[derive(Debug)]
struct Ping {
    token: u64,
    sent: Monotonic,
}

/// A connection's protocol state, without I/O. Per use: [`receive`](Self::receive) or [`send`](Self::send), then
/// [`poll_transmit`](Self::poll_transmit) while the transport takes packets; [`tick`](Self::tick) at
/// [`next_wake`](Self::next_wake).
#[derive(Debug)]
pub struct Session {
    ours: Hello,
    hello: Option<Bytes>,
    peer: Option<Peer>,
    /// Sent before the handshake was done.
    early: Vec<Encoded>,
    scheduler: Scheduler,
    partial: [BytesMut; Lane::ALL.len()],
    /// Pings and pongs go before everything.
    urgent: BytesMut,
    started: Monotonic,
    heard: Monotonic,
    ping: Option<Ping>,
    next_token: u64,
    rtt: Option<Duration>,
    unreported: u64,
    report_bytes: u64,
}

impl Session {
    /// A session that introduces itself with `hello`.
    pub fn new(hello: Hello, now: Monotonic) -> Self {
        let payload = postcard::to_allocvec(&hello).unwrap_or_default();
        Self {
            ours: hello,
            hello: Some(frame::encode(Kind::Hello, &payload)),
            peer: None,
            early: Vec::new(),
            scheduler: Scheduler::default(),
            partial: Default::default(),
            urgent: BytesMut::new(),
            started: now,
            heard: now,
            ping: None,
            next_token: 0,
            rtt: None,
            unreported: 0,
            report_bytes: REPORT_BYTES,
        }
    }

    /// Reports drained bytes in steps of `bytes`, at most the node's `queue_low`: for simulations with small queues.
    #[doc(hidden)]
    #[must_use]
    pub fn reporting_every(mut self, bytes: u64) -> Self {
        self.report_bytes = bytes;
        self
    }

    /// Takes a packet in; what it holds is added to `received`.
    ///
    /// # Errors
    /// The peer broke the protocol or a limit: close the connection with [`SessionError::close_code`].
    pub fn receive(
        &mut self,
        mut packet: Bytes,
        now: Monotonic,
        received: &mut Vec<Received>,
    ) -> Result<(), SessionError> {
        self.heard = now;
        if self.peer.is_none() && packet.len() > limits::HELLO_BYTES {
            let (size, max) = (packet.len(), limits::HELLO_BYTES);
            return Err(SessionError::TooLarge { what: "the first packet", size, max });
        }
        while let Some((kind, payload)) = frame::take(&mut packet)? {
            if self.peer.is_none() {
                if kind != Kind::Hello {
                    return Err(SessionError::protocol(format!("a frame of kind {kind:?} came before Hello")));
                }
                received.push(Received::Ready(self.greeted(&payload)?));
                continue;
            }
            match kind {
                Kind::Hello => return Err(SessionError::protocol("a second Hello".to_owned())),
                Kind::Message | Kind::Compressed => {
                    // Whole frames are small; what is larger comes in chunks.
                    received.push(Received::Message(decode(kind, payload, limits::MESSAGE_BYTES)?));
                }
                Kind::Chunk => received.extend(self.chunk(payload)?.map(Received::Message)),
                Kind::Ping => self.urgent.extend_from_slice(&frame::encode(Kind::Pong, token(&payload)?)),
                Kind::Pong => received.extend(self.pong(token(&payload)?, now)),
            }
        }
        Ok(())
    }

    fn greeted(&mut self, payload: &[u8]) -> Result<Hello, SessionError> {
        let theirs: Hello = postcard::from_bytes(payload)
            .map_err(|error| SessionError::protocol(format!("Hello cannot be read: {error}")))?;
        let highest = self.ours.versions.1.min(theirs.versions.1);
        let lowest = self.ours.versions.0.max(theirs.versions.0);
        if lowest > highest {
            return Err(SessionError::Version { ours: self.ours.versions, theirs: theirs.versions });
        }
        let capabilities = self.ours.capabilities.and(theirs.capabilities);
        let agreed = Negotiated { version: highest, capabilities };
        self.peer = Some(Peer { hello: theirs.clone(), agreed });
        for encoded in std::mem::take(&mut self.early) {
            self.send(encoded);
        }
        Ok(theirs)
    }

    fn chunk(&mut self, payload: Bytes) -> Result<Option<Message>, SessionError> {
        let Some((flags, piece)) = payload.split_first() else {
            return Err(SessionError::protocol("an empty chunk".to_owned()));
        };
        let lane = usize::from(flags & !LAST);
        let Some(partial) = self.partial.get_mut(lane) else {
            return Err(SessionError::protocol(format!("a chunk of lane {lane}, the last is 3")));
        };
        let max = message_max(Lane::ALL[lane]);
        // A compressed frame is no larger than its message; the rest is the frame's own header.
        let size = partial.len() + piece.len();
        if size > max + 16 {
            return Err(SessionError::TooLarge { what: "a message in chunks", size, max });
        }
        partial.extend_from_slice(piece);
        if flags & LAST == 0 {
            return Ok(None);
        }
        let mut whole = std::mem::take(partial).freeze();
        match frame::take(&mut whole)? {
            Some((kind @ (Kind::Message | Kind::Compressed), inner)) if whole.is_empty() => {
                decode(kind, inner, max).map(Some)
            }
            _ => Err(SessionError::protocol("chunks do not make up one message".to_owned())),
        }
    }

    fn pong(&mut self, token: &[u8], now: Monotonic) -> Option<Received> {
        let ping = self.ping.take_if(|ping| ping.token.to_be_bytes() == token)?;
        let rtt = now.since(ping.sent);
        self.rtt = Some(rtt);
        Some(Received::Pong { rtt })
    }

    /// Queues a message. What is queued before the handshake is done goes out after it.
    pub fn send(&mut self, encoded: Encoded) {
        let Some(peer) = &self.peer else { return self.early.push(encoded) };
        let lz4 = peer.agreed.capabilities.has(Capabilities::LZ4);
        // It was encoded here: it can be inflated here.
        if let Ok(frame) = encoded.frame(lz4) {
            self.scheduler.push(encoded.lane(), frame);
        }
    }

    /// Sends a ping now, unless one is under way.
    pub fn ping(&mut self, now: Monotonic) {
        if self.ping.is_none() && self.peer.is_some() {
            let token = self.next_token;
            self.next_token += 1;
            self.urgent.extend_from_slice(&frame::encode(Kind::Ping, &token.to_be_bytes()));
            self.ping = Some(Ping { token, sent: now });
        }
    }

    /// The next packet for the transport; `None` when nothing waits.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        if !self.urgent.is_empty() {
            return Some(self.urgent.split().freeze());
        }
        let (packet, bytes) = self.scheduler.next_packet()?;
        self.unreported += bytes as u64;
        Some(packet)
    }

    /// When to call [`Session::tick`].
    pub fn next_wake(&self) -> Option<Monotonic> {
        Some(match (&self.peer, &self.ping) {
            (None, _) => self.started + limits::HELLO_WAIT,
            (Some(_), Some(_)) => self.heard + DEAD_AFTER,
            (Some(_), None) => self.heard + PING_AFTER,
        })
    }

    /// Time has passed.
    ///
    /// # Errors
    /// `Timeout`: the peer is dead, or took too long over its handshake.
    pub fn tick(&mut self, now: Monotonic) -> Result<(), SessionError> {
        if self.peer.is_none() {
            if self.started + limits::HELLO_WAIT <= now {
                return Err(SessionError::Timeout { during: "the handshake", waited: limits::HELLO_WAIT });
            }
        } else if self.heard + DEAD_AFTER <= now {
            return Err(SessionError::Timeout { during: "the session", waited: DEAD_AFTER });
        } else if self.heard + PING_AFTER <= now {
            self.ping(now);
        }
        Ok(())
    }

    /// Bytes of queued messages handed to the transport since the last report, in steps of at least 32 KiB.
    pub fn take_drained(&mut self) -> Option<u64> {
        self.has_drained().then(|| std::mem::take(&mut self.unreported))
    }

    /// True when [`Session::take_drained`] has something to report.
    pub fn has_drained(&self) -> bool {
        self.unreported >= self.report_bytes
    }

    /// Bytes waiting to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.scheduler.queued()
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

fn token(payload: &Bytes) -> Result<&[u8], SessionError> {
    match payload.len() {
        8 => Ok(payload),
        len => Err(SessionError::protocol(format!("a ping of {len} bytes, it has 8"))),
    }
}

fn decode(kind: Kind, payload: Bytes, bytes_max: usize) -> Result<Message, SessionError> {
    let payload = if kind == Kind::Compressed { inflate(payload, bytes_max)? } else { payload };
    if payload.len() > bytes_max {
        return Err(SessionError::TooLarge { what: "a message", size: payload.len(), max: bytes_max });
    }
    let message = match postcard::take_from_bytes::<Message>(&payload) {
        Ok((message, [])) => message,
        Ok((_, rest)) => return Err(SessionError::protocol(format!("{} bytes follow a message", rest.len()))),
        Err(error) => return Err(SessionError::protocol(format!("a message cannot be read: {error}"))),
    };
    message.check()?;
    Ok(message)
}
