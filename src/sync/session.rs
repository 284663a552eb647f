//! One connection: from packets to messages and back. Layer 3, pure.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    door::{Channel, Door, Threshold},
    encoded::{Encoded, decode},
    error::SessionError,
    frame::{self, Kind},
    message::{Capabilities, Hello, Message},
    reassembly::Reassembly,
    scheduler::Scheduler,
};
use crate::{
    limits,
    time::Monotonic,
    trust::{
        authority::Authority,
        credential::Admission,
        possession::{Holder, Proof},
    },
};

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
    /// The peer has shown who it is: before [`Received::Ready`], and with every newer credential.
    Admitted(Box<Admission>),
    /// The handshake is done.
    Ready(Hello),
    /// A message.
    Message(Message),
    /// The answer to a ping.
    Pong {
        /// Time since the ping was sent.
        rtt: Duration,
    },
    /// The peer asks for a newer credential: ours ends soon. [`Session::show`] answers.
    RenewalAsked,
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
    proof: Option<Bytes>,
    renew: bool,
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
    threshold: Threshold,
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
        let mut session = Self {
            ours: hello,
            peer: None,
            threshold: Threshold::default(),
            urgent: Urgent::default(),
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
        };
        session.introduce();
        session
    }

    fn introduce(&mut self) {
        // Writing to memory fails for no `Hello`: all its lengths are known.
        let payload = postcard::to_allocvec(&self.ours).unwrap_or_default();
        self.threshold.said(&payload);
        self.urgent.hello = Some(frame::encode(Kind::Hello, &payload));
    }

    /// Lets nobody in who does not show a credential; before anything is sent.
    #[must_use]
    pub fn asking(mut self, door: Door) -> Self {
        self.ours.challenge = Some(self.threshold.ask(door));
        self.introduce();
        self
    }

    /// Shows this when asked who we are.
    #[must_use]
    pub fn holding(mut self, holder: Holder) -> Self {
        self.threshold.hold(holder);
        self
    }

    /// What the connection is: both ends have to say the same for a credential to count.
    #[must_use]
    pub fn over(mut self, channel: Channel) -> Self {
        if channel.binding.is_some() {
            self.ours.capabilities = self.ours.capabilities.with(Capabilities::BINDS);
            self.introduce();
        }
        self.threshold.set_channel(channel);
        self
    }

    /// Judges newer credentials by a newer policy.
    pub fn judge_by(&mut self, authority: Authority) {
        self.threshold.judge_by(authority);
    }

    /// Shows a newer credential, if the peer asks for credentials.
    ///
    /// # Errors
    /// `Unfit`: the credential cannot be read; the session goes on.
    pub fn show(&mut self, holder: Holder) -> Result<(), SessionError> {
        self.threshold.hold(holder);
        if self.peer.is_some() { self.answer() } else { Ok(()) }
    }

    fn answer(&mut self) -> Result<(), SessionError> {
        if let Some(proof) = self.threshold.answer()? {
            let payload = postcard::to_allocvec(&proof).unwrap_or_default();
            if payload.len() > limits::PROOF_BYTES {
                let reason = format!("{} bytes are over the limit of {}", payload.len(), limits::PROOF_BYTES);
                return Err(SessionError::Unfit { reason });
            }
            self.urgent.proof = Some(frame::encode(Kind::Proof, &payload));
        }
        Ok(())
    }

    /// True when both sides have said who they are, as far as either asks.
    fn is_ready(&self) -> bool {
        self.peer.is_some() && !self.threshold.is_shut()
    }

    /// What the peer's credential allows, when this side asks for one.
    pub fn admitted(&self) -> Option<&Admission> {
        self.threshold.admitted()
    }

    /// Forgets what is queued.
    pub fn discard(&mut self) {
        self.early.clear();
        self.scheduler = Scheduler::default();
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
        let max = if self.is_ready() { limits::PACKET_BYTES } else { limits::HELLO_BYTES };
        if packet.len() > max {
            let what = if self.is_ready() { "a packet" } else { "a packet before the handshake is done" };
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
            if self.threshold.is_shut() && !matches!(kind, Kind::Hello | Kind::Proof) {
                return Err(SessionError::Unauthenticated { kind: format!("{kind:?}") });
            }
            if payload.len() > limits::CHUNK_BYTES {
                return Err(SessionError::TooLarge { what: "a frame", size: payload.len(), max: limits::CHUNK_BYTES });
            }
            match kind {
                Kind::Hello => self.greeted(&payload, now, received)?,
                Kind::Proof => self.shown(&payload, now, received)?,
                Kind::Renew => received.push(Received::RenewalAsked),
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

    fn greeted(&mut self, payload: &[u8], now: Monotonic, received: &mut Vec<Received>) -> Result<(), SessionError> {
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
        self.threshold.heard(payload, &theirs, agreed.capabilities.has(Capabilities::BINDS));
        self.peer = Some(Peer { hello: theirs, agreed });
        self.answer()?;
        if self.is_ready() {
            self.begin(now, received);
        }
        Ok(())
    }

    fn shown(&mut self, payload: &[u8], now: Monotonic, received: &mut Vec<Received>) -> Result<(), SessionError> {
        let proof = postcard::from_bytes::<Proof>(payload)
            .map_err(|error| SessionError::protocol(format!("a proof cannot be read: {error}")))?;
        let Some(peer) = &self.peer else { return Ok(()) };
        let was_ready = self.is_ready();
        let admission = self.threshold.shown(&proof, &peer.hello, now)?;
        received.push(Received::Admitted(Box::new(admission)));
        if !was_ready {
            self.begin(now, received);
        }
        Ok(())
    }

    /// The handshake is done.
    fn begin(&mut self, now: Monotonic, received: &mut Vec<Received>) {
        self.pinged = now;
        for encoded in std::mem::take(&mut self.early) {
            self.send(encoded);
        }
        received.extend(self.peer().cloned().map(Received::Ready));
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
        if self.is_ready() {
            let (lane, cost) = (encoded.lane(), encoded.len());
            self.scheduler.push(lane, encoded.frame(self.lz4()), cost);
            self.filled |= self.scheduler.queued() > self.report_bytes;
        } else {
            self.early.push(encoded);
        }
    }

    /// Sends a ping now, unless one is under way or the handshake is not done.
    pub fn ping(&mut self, now: Monotonic) {
        if self.awaited.is_none() && self.is_ready() {
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
        if let Some(proof) = self.urgent.proof.take() {
            return Some(proof);
        }
        if std::mem::take(&mut self.urgent.renew) {
            return Some(frame::encode(Kind::Renew, &[]));
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
        if !self.is_ready() {
            return Some(self.started + limits::HELLO_WAIT);
        }
        let stalled = self.reassembly.stalled_since().map(|since| since + STALLED_AFTER);
        let credential = self.threshold.next_wake();
        [Some(self.heard + DEAD_AFTER), Some(self.ping_due()), stalled, credential].into_iter().flatten().min()
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
        if !self.is_ready() {
            let late = self.started + limits::HELLO_WAIT <= now;
            return if late { timeout("the handshake", limits::HELLO_WAIT) } else { Ok(()) };
        }
        if self.heard + DEAD_AFTER <= now {
            return timeout("the session", DEAD_AFTER);
        }
        if self.reassembly.stalled_since().is_some_and(|since| since + STALLED_AFTER <= now) {
            return timeout("a message in chunks", STALLED_AFTER);
        }
        self.urgent.renew |= self.threshold.tick(now)?;
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
