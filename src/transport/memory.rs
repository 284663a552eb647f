//! A transport inside one process: two ends joined by bounded queues. For tests, and for nodes in the same program.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::{Sink, Stream, StreamExt as _};

use super::TransportError;

/// Packets in flight per direction before the sender has to wait.
const PACKETS: usize = 64;

/// One end; see [`memory_pair`].
#[derive(Debug)]
pub struct MemoryTransport {
    outgoing: mpsc::Sender<Bytes>,
    incoming: mpsc::Receiver<Bytes>,
}

/// Two ends of a new connection. Dropping one ends the other.
pub fn memory_pair() -> (MemoryTransport, MemoryTransport) {
    let (a_out, b_in) = mpsc::channel(PACKETS);
    let (b_out, a_in) = mpsc::channel(PACKETS);
    (MemoryTransport { outgoing: a_out, incoming: a_in }, MemoryTransport { outgoing: b_out, incoming: b_in })
}

impl Stream for MemoryTransport {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_next_unpin(cx).map(|packet| packet.map(Ok))
    }
}

impl Sink<Bytes> for MemoryTransport {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.outgoing.poll_ready(cx).map_err(lost)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        self.outgoing.start_send(packet).map_err(lost)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

fn lost(_: mpsc::SendError) -> TransportError {
    TransportError::Lost { reason: "the other end is gone".to_owned() }
}
