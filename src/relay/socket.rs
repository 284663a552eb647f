//! The server's end of a WebSocket as a transport.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};

use crate::transport::TransportError;

/// A WebSocket a client opened.
pub(super) struct ServerSocket(pub(super) WebSocket);

impl Stream for ServerSocket {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.0.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(packet))) => Some(Ok(packet)),
                Some(Ok(Message::Text(_))) => {
                    Some(Err(TransportError::Unexpected { what: "a text message".to_owned() }))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) | None => None,
                Some(Err(error)) => Some(Err(lost(&error))),
            });
        }
    }
}

impl Sink<Bytes> for ServerSocket {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.poll_ready_unpin(cx).map_err(|error| lost(&error))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        self.0.start_send_unpin(Message::Binary(packet)).map_err(|error| lost(&error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.poll_flush_unpin(cx).map_err(|error| lost(&error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.poll_close_unpin(cx).map_err(|error| lost(&error))
    }
}

fn lost(error: &axum::Error) -> TransportError {
    TransportError::Lost { reason: error.to_string() }
}
