//! One connection: packets through a session, messages to the node or nodes behind it.
//!
//! Reading and timers are a task's. Sending is whoever's has something to send: a node that fans a change out to a
//! hundred idle connections writes to their sockets itself, instead of waking a hundred tasks that would each write
//! once. What a socket does not take at once is left to the connection's task.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::SemaphorePermit;

use super::{
    clock::Clock,
    fairness::{Fairness, Share, TURN},
    line::{Heard, Line},
    runtime::{Sleep, sleep_until, timeout, unconstrained},
};
use crate::{
    error::CloseCode,
    limits,
    sync::{Encoded, Hello, Message, Received, SessionError},
    time::Monotonic,
    transport::{Transport, TransportError},
    trust::{authority::Authority, credential::Admission, possession::Holder},
    wires::{Ask, Told, WireError},
};

/// What a node asks of a connection.
#[derive(Debug)]
pub(crate) enum Command {
    /// Queue a message.
    Send(Encoded),
    /// Queue a word for a guest.
    Tell(Arc<Told>),
    /// Send what is queued, then close and say why.
    Close(CloseCode, String),
    /// Show a newer credential.
    Show(Box<Holder>),
    /// Judge the peer's credentials by a newer policy.
    Judge(Authority),
}

/// What a connection tells its node.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The handshake is done.
    Ready(Hello),
    /// A message has come.
    Message(Message),
    /// A guest asks for something.
    Asked(Ask),
    /// That many more bytes have been handed to the transport.
    Drained(u64),
    /// The peer has shown who it is: before it is ready, and with every newer credential.
    Admitted(Box<Admission>),
    /// The peer asks for a newer credential.
    RenewalAsked,
}

/// Why a connection ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: String,
    /// Of the side that closed it; none when it broke, or was closed without a word.
    code: Option<CloseCode>,
    /// This side closes, so that the peer has to be told.
    ours: bool,
}

impl Ended {
    fn ours(code: CloseCode, reason: String) -> Self {
        Self { reason, code: Some(code), ours: true }
    }

    pub(crate) fn lost(reason: &str) -> Self {
        Self { reason: reason.to_owned(), code: None, ours: false }
    }

    /// This side was not shown who the peer is.
    pub(crate) fn is_not_let_in(&self) -> bool {
        self.ours && self.code == Some(CloseCode::UNAUTHENTICATED)
    }

    /// The same again would end the same.
    pub(crate) fn is_final(&self) -> bool {
        self.code.is_some_and(CloseCode::is_final)
    }
}

impl From<TransportError> for Ended {
    fn from(error: TransportError) -> Self {
        let reason = error.to_string();
        match error {
            TransportError::Unexpected { .. } => Self::ours(CloseCode::PROTOCOL, reason),
            TransportError::Closed { code, .. } => Self { reason, code: Some(code), ours: false },
            _ => Self::lost(&reason),
        }
    }
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Self {
        Self::ours(error.close_code(), error.to_string())
    }
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Self::ours(error.close_code(), error.to_string())
    }
}

/// Packets read, or sent, in one go before others get their turn.
const PACKETS_PER_TURN: usize = 32;
/// Packets sent in one go on behalf of whoever queued them: what is longer is the connection's own business.
const PACKETS_AT_ONCE: usize = 2;
/// How long closing may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Bytes through one connection, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// The sending end of a connection, shared by its task and the nodes behind it.
pub(crate) trait Outlet: Send + Sync {
    /// Queues a command, and never waits. True when nothing was queued before: whoever hears that sees to it that the
    /// connection is flushed or woken.
    fn queue(&self, command: Command) -> bool;
    /// Sends what is queued, as far as the transport takes it now; the rest is left to the connection's task.
    fn flush(&self);
    /// Leaves what is queued to the connection's task.
    fn wake(&self);
}

/// What of a connection is used from more than one thread.
struct Shared<T> {
    commands: Mutex<VecDeque<Command>>,
    wire: Mutex<Wire<T>>,
    task: AtomicWaker,
}

impl<T> Shared<T> {
    /// Both locks guard state that is whole between any two statements.
    fn wire(&self) -> MutexGuard<'_, Wire<T>> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commands(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transport> Outlet for Shared<T> {
    fn queue(&self, command: Command) -> bool {
        let mut commands = self.commands();
        commands.push_back(command);
        commands.len() == 1
    }

    fn flush(&self) {
        let mut wire = match self.wire.try_lock() {
            Ok(wire) => wire,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Someone is at it, who may have looked at the queue before this was in it.
            Err(TryLockError::WouldBlock) => return self.task.wake(),
        };
        // The caller's task has a budget for its own I/O, which this is not; and nobody waits here to be woken, so
        // what is left undone goes to the task, which waits.
        let sending = poll_fn(|cx| Poll::Ready(wire.send(&self.commands, PACKETS_AT_ONCE, cx)));
        let sent = pin!(unconstrained(sending)).poll(&mut Context::from_waker(Waker::noop()));
        let is_done = matches!(sent, Poll::Ready(Sent::All)) && !wire.line.has_drained();
        drop(wire);
        if !is_done {
            self.task.wake();
        }
    }

    fn wake(&self) {
        self.task.wake();
    }
}

/// How far a connection got with sending.
enum Sent {
    /// Everything is with the system.
    All,
    /// The transport takes no more for now.
    Part,
    /// The connection is over, and why.
    Ended(Ended),
}

/// A session on a transport.
struct Wire<T> {
    transport: T,
    line: Line,
    clock: Clock,
    traffic: Arc<Traffic>,
    packet: Option<Bytes>,
    dirty: bool,
    /// Bytes read since they were last counted.
    read: u64,
    closing: Option<Ended>,
    /// A failed or closed transport is not written to again.
    ended: Option<Ended>,
}

impl<T: Transport> Wire<T> {
    /// Sends while the transport takes packets, `packets_max` of them at most. What is queued meanwhile counts from
    /// the next packet on: a critical message does not wait for a large one to be through.
    fn send(&mut self, commands: &Mutex<VecDeque<Command>>, packets_max: usize, cx: &mut Context<'_>) -> Sent {
        if let Some(ended) = &self.ended {
            return Sent::Ended(ended.clone());
        }
        for _ in 0..packets_max {
            self.take(std::mem::take(&mut *commands.lock().unwrap_or_else(PoisonError::into_inner)));
            let queued = self.line.queued_bytes();
            if queued > limits::QUEUE_BYTES {
                let reason = format!("{queued} bytes wait to be read, limit {}", limits::QUEUE_BYTES);
                return self.end(Ended::ours(CloseCode::TIMEOUT, reason));
            }
            match self.write_packet(cx) {
                Ok(Poll::Ready(true)) => {}
                Ok(Poll::Ready(false)) => return self.flush(cx),
                Ok(Poll::Pending) => return Sent::Part,
                Err(error) => return self.end(error.into()),
            }
        }
        match self.flush(cx) {
            // There may be more to send.
            Sent::All => {
                cx.waker().wake_by_ref();
                Sent::Part
            }
            sent => sent,
        }
    }

    fn end(&mut self, ended: Ended) -> Sent {
        self.ended = Some(ended.clone());
        Sent::Ended(ended)
    }

    /// Tells the peer why this side closes.
    fn explain(&mut self, ended: &Ended) {
        if let (true, Some(code)) = (ended.ours, ended.code) {
            self.transport.explain(code, &ended.reason);
        }
        self.ended.get_or_insert_with(|| ended.clone());
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Sent {
        if self.dirty {
            match Pin::new(&mut self.transport).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.dirty = false,
                Poll::Ready(Err(error)) => return self.end(error.into()),
                Poll::Pending => return Sent::Part,
            }
        }
        match self.closing.take_if(|_| self.packet.is_none() && self.line.queued_bytes() == 0) {
            Some(ended) => self.end(ended),
            None => Sent::All,
        }
    }

    /// Hands one packet to the transport; false when there is none.
    fn write_packet(&mut self, cx: &mut Context<'_>) -> Result<Poll<bool>, TransportError> {
        if self.packet.is_none() {
            self.packet = self.line.poll_transmit();
        }
        if self.packet.is_none() {
            return Ok(Poll::Ready(false));
        }
        if Pin::new(&mut self.transport).poll_ready(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if let Some(packet) = self.packet.take() {
            self.traffic.bytes_out.fetch_add(packet.len() as u64, Ordering::Relaxed);
            Pin::new(&mut self.transport).start_send(packet)?;
            self.dirty = true;
        }
        Ok(Poll::Ready(true))
    }

    fn take(&mut self, commands: VecDeque<Command>) {
        for command in commands {
            match command {
                // Also when it is closing already, with something queued.
                Command::Close(code, reason) if code.cuts_off() => {
                    self.line.discard();
                    self.packet = None;
                    self.closing = Some(Ended::ours(code, reason));
                }
                // What comes after a close is for nobody.
                _ if self.closing.is_some() => {}
                Command::Send(encoded) => self.line.send(encoded),
                Command::Tell(told) => self.line.tell(&told, self.clock.mono()),
                Command::Close(code, reason) => self.closing = Some(Ended::ours(code, reason)),
                Command::Judge(authority) => self.line.judge_by(authority),
                Command::Show(holder) => {
                    if let Err(error) = self.line.show(*holder) {
                        self.closing = Some(error.into());
                    }
                }
            }
        }
    }

    fn read(&mut self, heard: &mut Vec<Heard>, cx: &mut Context<'_>) -> Result<(), Ended> {
        for _ in 0..PACKETS_PER_TURN {
            match Pin::new(&mut self.transport).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => return Err(Ended::lost("closed by the peer")),
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(Some(Ok(packet))) => {
                    self.traffic.bytes_in.fetch_add(packet.len() as u64, Ordering::Relaxed);
                    self.read += packet.len() as u64;
                    self.line.receive(packet, self.clock.mono(), heard)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

/// A connection as its task sees it.
pub(crate) struct Connection<T> {
    shared: Arc<Shared<T>>,
    clock: Clock,
    timer: Option<Pin<Box<Sleep>>>,
    share: Option<Share>,
    heard: Vec<Heard>,
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(transport: T, line: Line, clock: Clock, traffic: Arc<Traffic>) -> Self {
        let wire =
            Wire { transport, line, clock, traffic, packet: None, dirty: false, read: 0, closing: None, ended: None };
        let shared = Shared { commands: Mutex::default(), wire: Mutex::new(wire), task: AtomicWaker::new() };
        Self { shared: Arc::new(shared), clock, timer: None, share: None, heard: Vec::new() }
    }

    /// Takes no more than its share.
    pub(crate) fn sharing(mut self, fairness: Option<Arc<Fairness>>) -> Self {
        self.share = fairness.map(|fairness| Share::new(fairness, self.clock.mono()));
        self
    }

    /// Where others send through this connection.
    pub(crate) fn outlet(&self) -> Arc<dyn Outlet> {
        self.shared.clone()
    }

    /// Runs until either side ends it; returns why. `deliver` gets what happens, in order.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; what was delivered stays delivered.
    pub(crate) async fn run(mut self, mut deliver: impl FnMut(Notice)) -> Ended {
        loop {
            let (ended, drained) = poll_fn(|cx| self.poll_turn(cx)).await;
            self.hand_over(&mut deliver).await;
            if let Some(bytes) = drained {
                deliver(Notice::Drained(bytes));
            }
            if let Some(ended) = ended {
                self.shared.wire().explain(&ended);
                // The peer may be gone or may not read: closing is a courtesy with a deadline.
                let _ = timeout(GOODBYE_WAIT, part(&self.shared)).await;
                return ended;
            }
        }
    }

    /// Hands over what was received, in turns.
    async fn hand_over(&mut self, deliver: &mut impl FnMut(Notice)) {
        if self.heard.is_empty() {
            return;
        }
        let fairness = self.share.as_ref().map(|share| share.fairness.clone());
        let mut turn = Turn::begin(fairness.as_deref(), self.clock).await;
        let mut updates = 0;
        // Not under the lock of the wire: whoever hears this may have something to send.
        for heard in std::mem::take(&mut self.heard) {
            updates += u64::from(is_update(&heard));
            if let Some(notice) = notice(heard) {
                turn = turn.go_on().await;
                deliver(notice);
            }
        }
        drop(turn);
        if let Some(share) = &mut self.share {
            share.charge(updates, 0, self.clock.mono());
        }
    }

    /// Moves what can be moved. Ready when something was received or drained, or the connection has ended.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<(Option<Ended>, Option<u64>)> {
        self.shared.task.register(cx.waker());
        let mut wire = self.shared.wire();
        if let Sent::Ended(ended) = wire.send(&self.shared.commands, PACKETS_PER_TURN, cx) {
            return Poll::Ready((Some(ended), wire.line.take_drained()));
        }
        let read = std::mem::take(&mut wire.read);
        let may_read = self.share.as_mut().is_none_or(|share| share.may_read(read, self.clock, cx));
        let queued = wire.line.queued_bytes();
        if may_read && let Err(ended) = wire.read(&mut self.heard, cx) {
            return Poll::Ready((Some(ended), None));
        }
        let drained = wire.line.take_drained();
        if !self.heard.is_empty() || drained.is_some() || wire.line.queued_bytes() > queued {
            // Answers to what was received go out with the next turn.
            return Poll::Ready((None, drained));
        }
        if let Err(error) = keep_time(&mut wire, &mut self.timer, cx) {
            return Poll::Ready((Some(error), None));
        }
        Poll::Pending
    }
}

/// Whatever a node has to take in counts against its bringer's rate.
fn is_update(heard: &Heard) -> bool {
    match heard {
        Heard::Peer(Received::Message(message)) => {
            matches!(message, Message::Delta { .. } | Message::Presence { .. } | Message::App { .. })
        }
        Heard::Peer(_) | Heard::Guest(Ask::Leave { .. }) => false,
        Heard::Guest(_) => true,
    }
}

fn notice(heard: Heard) -> Option<Notice> {
    let received = match heard {
        Heard::Guest(ask) => return Some(Notice::Asked(ask)),
        Heard::Peer(received) => received,
    };
    Some(match received {
        Received::Ready(hello) => Notice::Ready(hello),
        Received::Message(message) => Notice::Message(message),
        Received::Admitted(admission) => Notice::Admitted(admission),
        Received::RenewalAsked => Notice::RenewalAsked,
        Received::Pong { .. } => return None,
    })
}

/// A connection's turn, if it has to take turns.
struct Turn<'f> {
    fairness: Option<(&'f Fairness, SemaphorePermit<'f>)>,
    clock: Clock,
    until: Monotonic,
}

impl<'f> Turn<'f> {
    async fn begin(fairness: Option<&'f Fairness>, clock: Clock) -> Self {
        let permit = match fairness {
            Some(fairness) => fairness.turn().await.map(|permit| (fairness, permit)),
            None => None,
        };
        Self { fairness: permit, clock, until: clock.mono() + TURN }
    }

    /// Goes to the end of the row when its time is up.
    async fn go_on(self) -> Self {
        match self.fairness {
            Some((fairness, permit)) if self.clock.mono() >= self.until => {
                fairness.turns_cut.fetch_add(1, Ordering::Relaxed);
                drop(permit);
                Self::begin(Some(fairness), self.clock).await
            }
            fairness => Self { fairness, ..self },
        }
    }
}

/// Ticks the session when it is time. The timer may fire early, when the session's wish has moved on since it was set:
/// cheaper than setting it anew for every packet.
fn keep_time<T: Transport>(
    wire: &mut Wire<T>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Result<(), Ended> {
    while let Some(at) = wire.line.next_wake() {
        let at = wire.clock.instant(at);
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        wire.line.tick(wire.clock.mono())?;
        if let Some(next) = wire.line.next_wake() {
            timer.as_mut().reset(wire.clock.instant(next));
        }
        // A tick may have queued a ping, which the next turn sends.
        cx.waker().wake_by_ref();
    }
    Ok(())
}

/// Closes a transport and reads to its end: a socket dropped with bytes unread is reset, and the reset overtakes what
/// the peer was told.
async fn part<T: Transport>(shared: &Shared<T>) {
    let closed = poll_fn(|cx| Pin::new(&mut shared.wire().transport).poll_close(cx)).await;
    if closed.is_ok() {
        while poll_fn(|cx| Pin::new(&mut shared.wire().transport).poll_next(cx))
            .await
            .is_some_and(|packet| packet.is_ok())
        {}
    }
}

impl<T> std::fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("line", &self.shared.wire().line).finish_non_exhaustive()
    }
}
