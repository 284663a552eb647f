//! How long a client may take over an HTTP request, and over reading the answer. Layer 6.
//!
//! A connection that says nothing, or says its request byte by byte, would hold a socket and its buffers for ever. What
//! became a WebSocket is the session's business, which has deadlines of its own.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::limits;

/// Accepts connections and bounds how long each may take.
pub(super) struct Patient<L>(pub(super) L);

impl<L: Listener> Listener for Patient<L> {
    type Io = Bounded<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.0.accept().await;
        (Bounded::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// What a connection is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is coming; so many line ends in a row have come since it began.
    Asking(Option<u8>),
    /// The request is here; the answer is being made.
    Answering,
    /// The answer is going out, or has gone.
    Answered,
    /// It is a WebSocket.
    Open,
}

/// A connection with deadlines.
pub(super) struct Bounded<S> {
    stream: S,
    phase: Phase,
    /// Gone once it is a WebSocket: most connections are, and for long.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    fn new(stream: S) -> Self {
        Self { stream, phase: Phase::Asking(None), timer: Some(Box::pin(sleep(limits::HELLO_WAIT))) }
    }

    fn wait(&mut self, span: Duration) {
        self.timer = Some(Box::pin(sleep(span)));
    }

    fn check_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_late = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if is_late { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn heard(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Answered && !bytes.is_empty() {
            self.phase = Phase::Asking(None);
            self.wait(limits::HELLO_WAIT);
        }
        let Phase::Asking(mut line_ends) = self.phase else { return };
        for byte in bytes {
            line_ends = match byte {
                // Empty lines before a request are none of it.
                b'\n' => line_ends.map(|count| count + 1),
                b'\r' => line_ends,
                _ => Some(0),
            };
            if line_ends == Some(2) {
                (self.phase, self.timer) = (Phase::Answering, None);
                return;
            }
        }
        self.phase = Phase::Asking(line_ends);
    }

    fn said(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        match self.phase {
            Phase::Open => {}
            Phase::Answering if bytes.starts_with(b"HTTP/1.1 101") => (self.phase, self.timer) = (Phase::Open, None),
            _ => {
                self.phase = Phase::Answered;
                self.wait(limits::ANSWER_WAIT);
                // Whoever waits for the next request did so before this deadline was set. It is not due yet.
                let _ = self.check_time(cx);
            }
        }
    }

    /// The client takes nothing just now.
    fn stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.phase != Phase::Open && self.timer.is_none() {
            self.wait(limits::ANSWER_WAIT);
        }
        self.check_time(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.phase == Phase::Open {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        if this.phase != Phase::Answering {
            this.check_time(cx)?;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.heard(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                this.said(&bytes[..written], cx);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => this.stalled(cx).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            failed => failed,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(written)) => {
                // An answer begins with its status line, in whichever buffer comes first.
                let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
                this.said(&first[..written.min(first.len())], cx);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => this.stalled(cx).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            failed => failed,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
