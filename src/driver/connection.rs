//! One connection as a task: packets through a session, messages to the node or nodes behind it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep_until},
};

use super::clock::Clock;
use crate::{
    error::CloseCode,
    sync::{Encoded, Hello, Message, Received, Session, SessionError},
    transport::{Transport, TransportError},
};

/// What a node asks of a connection.
#[derive(Debug)]
pub(crate) enum Command {
    /// Queue a message.
    Send(Encoded),
    /// Send what is queued, then close and say why.
    Close(CloseCode, String),
}

/// What a connection tells its node.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The handshake is done.
    Ready(Hello),
    /// A message has come.
    Message(Message),
    /// That many more bytes have been handed to the transport.
    Drained(u64),
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

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Self::ours(error.close_code(), error.to_string())
    }
}

/// Packets read in one go before others get their turn.
const PACKETS_PER_TURN: usize = 32;

/// How long closing may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Bytes through one connection, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// A session on a transport.
pub(crate) struct Connection<T> {
    transport: T,
    session: Session,
    commands: mpsc::UnboundedReceiver<Command>,
    clock: Clock,
    traffic: Arc<Traffic>,
    packet: Option<Bytes>,
    dirty: bool,
    timer: Option<Pin<Box<Sleep>>>,
    received: Vec<Received>,
    closing: Option<Ended>,
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(
        transport: T,
        session: Session,
        commands: mpsc::UnboundedReceiver<Command>,
        clock: Clock,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            transport,
            session,
            commands,
            clock,
            traffic,
            packet: None,
            dirty: false,
            timer: None,
            received: Vec::new(),
            closing: None,
        }
    }

    /// Runs until either side ends it; returns why. `deliver` gets what happens, in order.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; what was delivered stays delivered.
    pub(crate) async fn run(mut self, mut deliver: impl FnMut(Notice)) -> Ended {
        loop {
            let ended = poll_fn(|cx| self.poll_turn(cx)).await;
            for received in self.received.drain(..) {
                match received {
                    Received::Ready(hello) => deliver(Notice::Ready(hello)),
                    Received::Message(message) => deliver(Notice::Message(message)),
                    Received::Pong { .. } => {}
                }
            }
            if let Some(bytes) = self.session.take_drained() {
                deliver(Notice::Drained(bytes));
            }
            if let Some(ended) = ended {
                if let (true, Some(code)) = (ended.ours, ended.code) {
                    self.transport.explain(code, &ended.reason);
                }
                // The peer may be gone or may not read: closing is a courtesy with a deadline.
                let _ = tokio::time::timeout(GOODBYE_WAIT, part(&mut self.transport)).await;
                return ended;
            }
        }
    }

    /// Moves what can be moved. Ready when something was received or drained, or the connection has ended.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        if let Err(ended) = self.take_commands(cx) {
            return Poll::Ready(Some(ended));
        }
        match self.write(cx) {
            Err(error) => return Poll::Ready(Some(error.into())),
            Ok(true) if self.closing.is_some() => return Poll::Ready(self.closing.take()),
            Ok(_) => {}
        }
        if let Err(ended) = self.read(cx) {
            return Poll::Ready(Some(ended));
        }
        if !self.received.is_empty() || self.session.has_drained() {
            // Answers to what was received go out with the next turn.
            return Poll::Ready(None);
        }
        if let Err(ended) = self.keep_time(cx) {
            return Poll::Ready(Some(ended));
        }
        Poll::Pending
    }

    fn take_commands(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        while let Poll::Ready(command) = self.commands.poll_recv(cx) {
            match command {
                Some(Command::Send(encoded)) => self.session.send(encoded),
                Some(Command::Close(code, reason)) => {
                    self.closing = Some(Ended::ours(code, reason));
                    break;
                }
                None => return Err(Ended::ours(CloseCode::GOING_AWAY, "the node has stopped".to_owned())),
            }
        }
        Ok(())
    }

    /// Writes while the transport takes packets; true when all is written and flushed.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        loop {
            if self.packet.is_none() {
                self.packet = self.session.poll_transmit();
            }
            if self.packet.is_none() {
                break;
            }
            match Pin::new(&mut self.transport).poll_ready(cx)? {
                Poll::Pending => return Ok(false),
                Poll::Ready(()) => {
                    if let Some(packet) = self.packet.take() {
                        self.traffic.bytes_out.fetch_add(packet.len() as u64, Ordering::Relaxed);
                        Pin::new(&mut self.transport).start_send(packet)?;
                        self.dirty = true;
                    }
                }
            }
        }
        if self.dirty && Pin::new(&mut self.transport).poll_flush(cx)?.is_ready() {
            self.dirty = false;
        }
        Ok(!self.dirty)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        for _ in 0..PACKETS_PER_TURN {
            match Pin::new(&mut self.transport).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => return Err(Ended::lost("closed by the peer")),
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(Some(Ok(packet))) => {
                    self.traffic.bytes_in.fetch_add(packet.len() as u64, Ordering::Relaxed);
                    self.session.receive(packet, self.clock.mono(), &mut self.received)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Ticks the session when it is time. The timer may fire early, when the session's wish has moved on since it was
    /// set: cheaper than setting it anew for every packet.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        while let Some(at) = self.session.next_wake() {
            let at = self.clock.instant(at);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.session.tick(self.clock.mono())?;
            if let Some(next) = self.session.next_wake() {
                timer.as_mut().reset(self.clock.instant(next));
            }
            // A tick may have queued a ping.
            self.write(cx)?;
        }
        Ok(())
    }
}

/// Closes a transport and reads to its end: a socket dropped with bytes unread is reset, and the reset overtakes what
/// the peer was told.
async fn part(transport: &mut impl Transport) {
    if transport.close().await.is_ok() {
        while poll_fn(|cx| Pin::new(&mut *transport).poll_next(cx)).await.is_some_and(|packet| packet.is_ok()) {}
    }
}

impl<T> std::fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("session", &self.session).finish_non_exhaustive()
    }
}
