//! The server's end of a WebSocket as a transport.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};

use crate::{
    error::CloseCode,
    transport::{Transport, TransportError, said, short},
};

/// A WebSocket a client opened. A packet without a byte is a ping; its answer is one too.
pub(super) struct ServerSocket {
    socket: WebSocket,
    /// An answer to a ping is owed: others are nothing anybody asked for.
    pinged: bool,
    /// The close frame that is still to go out.
    farewell: Option<CloseFrame>,
    binding: Option<[u8; 32]>,
}

impl ServerSocket {
    pub(super) fn new(socket: WebSocket, binding: Option<[u8; 32]>) -> Self {
        Self { socket, pinged: false, farewell: None, binding }
    }
}

impl Stream for ServerSocket {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(packet))) => Some(Ok(packet)),
                Some(Ok(Message::Text(_))) => {
                    Some(Err(TransportError::Unexpected { what: "a text message".to_owned() }))
                }
                Some(Ok(Message::Pong(_))) if std::mem::take(&mut self.pinged) => Some(Ok(Bytes::new())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    frame.and_then(|frame| said(frame.code, frame.reason.as_str())).map(Err)
                }
                None => None,
                Some(Err(error)) => Some(Err(lost(&error))),
            });
        }
    }
}

impl Sink<Bytes> for ServerSocket {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.socket.poll_ready_unpin(cx).map_err(|error| lost(&error))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        let message = if packet.is_empty() { Message::Ping(packet) } else { Message::Binary(packet) };
        self.pinged |= matches!(message, Message::Ping(_));
        self.socket.start_send_unpin(message).map_err(|error| lost(&error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.socket.poll_flush_unpin(cx).map_err(|error| lost(&error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.farewell.is_some() {
            ready!(self.as_mut().poll_ready(cx))?;
            let farewell = self.farewell.take();
            self.socket.start_send_unpin(Message::Close(farewell)).map_err(|error| lost(&error))?;
        }
        self.socket.poll_close_unpin(cx).map_err(|error| lost(&error))
    }
}

impl Transport for ServerSocket {
    fn explain(&mut self, code: CloseCode, reason: &str) {
        self.farewell = Some(CloseFrame { code: code.0, reason: short(reason).into() });
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }
}

fn lost(error: &axum::Error) -> TransportError {
    TransportError::Lost { reason: error.to_string() }
}
