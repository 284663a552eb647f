//! A transport inside one process: two ends joined by bounded queues. For tests, and for nodes in the same program.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::{Sink, Stream, StreamExt as _};

use super::{Transport, TransportError, short};
use crate::error::CloseCode;

/// Packets in flight per direction before the sender has to wait.
const PACKETS: usize = 64;

/// One end; see [`memory_pair`].
#[derive(Debug)]
pub struct MemoryTransport {
    outgoing: mpsc::Sender<Result<Bytes, TransportError>>,
    incoming: mpsc::Receiver<Result<Bytes, TransportError>>,
    /// What the other end is still to be told.
    farewell: Option<TransportError>,
}

/// Two ends of a new connection. Dropping one ends the other.
pub fn memory_pair() -> (MemoryTransport, MemoryTransport) {
    let (a_out, b_in) = mpsc::channel(PACKETS);
    let (b_out, a_in) = mpsc::channel(PACKETS);
    let end = |outgoing, incoming| MemoryTransport { outgoing, incoming, farewell: None };
    (end(a_out, a_in), end(b_out, b_in))
}

impl Stream for MemoryTransport {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_next_unpin(cx)
    }
}

impl Sink<Bytes> for MemoryTransport {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.outgoing.poll_ready(cx).map_err(lost)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        self.outgoing.start_send(Ok(packet)).map_err(lost)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.farewell.is_some() {
            ready!(self.outgoing.poll_ready(cx)).map_err(lost)?;
            if let Some(farewell) = self.farewell.take() {
                self.outgoing.start_send(Err(farewell)).map_err(lost)?;
            }
        }
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

impl Transport for MemoryTransport {
    fn explain(&mut self, code: CloseCode, reason: &str) {
        self.farewell = Some(TransportError::Closed { code, reason: short(reason).to_owned() });
    }
}

fn lost(_: mpsc::SendError) -> TransportError {
    TransportError::Lost { reason: "the other end is gone".to_owned() }
}
