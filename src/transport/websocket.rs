//! Packets as binary WebSocket messages (RFC 6455), subprotocol `aepoch.1` at `/v1/sync`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::{HeaderMap, HeaderValue},
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{SUBPROTOCOL, Transport, TransportError, said, short, tls};
use crate::{error::CloseCode, limits};

/// Buffers sized for many idle connections: reads of 4 KiB, writes passed on at once, messages of one packet.
pub fn websocket_config() -> WebSocketConfig {
    let packet = limits::PACKET_BYTES;
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * packet)
        .max_message_size(Some(packet))
        .max_frame_size(Some(packet))
}

/// Bytes not yet sent above which a socket takes no more.
const UNSENT_BYTES: u32 = 32 * 1024;

/// Sets a socket up for messages that must not wait for others: small packets leave at once, and the system takes
/// little more than the network does. It would hold megabytes otherwise, which nothing urgent can overtake. A socket
/// that refuses an option still works.
pub(crate) fn set_prompt(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// A WebSocket this process opened.
#[derive(Debug)]
pub struct WebSocketTransport {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Host and port as the dialler wrote them.
    audience: String,
    /// The close frame that is still to go out.
    farewell: Option<CloseFrame>,
}

impl WebSocketTransport {
    pub(super) fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, audience: String) -> Self {
        Self { socket, audience, farewell: None }
    }

    /// Where the dialler dialled: host and port as it wrote them.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}

/// Accepts a WebSocket on a connection another agent opened.
///
/// # Errors
/// `Connect` when the other side does not speak WebSocket.
pub async fn accept_websocket(stream: TcpStream) -> Result<WebSocketTransport, TransportError> {
    let refuse = |reason: String| TransportError::Connect { address: "an incoming connection".to_owned(), reason };
    set_prompt(&stream);
    let mut audience = String::new();
    #[allow(clippy::result_large_err, reason = "the library fixes the type of the refusal")]
    let answer = |request: &Request, mut response: Response| {
        audience = audience_of(request.headers());
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    let stream = MaybeTlsStream::Plain(stream);
    let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, answer, Some(websocket_config()))
        .await
        .map_err(|error| refuse(error.to_string()))?;
    Ok(WebSocketTransport::new(socket, audience))
}

/// What a request says where it was sent: host and port as the dialler wrote them.
pub(crate) fn audience_of(headers: &HeaderMap) -> String {
    let host = headers.get("Host").and_then(|host| host.to_str().ok());
    host.unwrap_or_default().to_owned()
}

impl Stream for WebSocketTransport {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(packet))) => Some(Ok(packet)),
                Some(Ok(Message::Close(frame))) => {
                    frame.and_then(|frame| said(u16::from(frame.code), frame.reason.as_str())).map(Err)
                }
                Some(Ok(Message::Text(_))) => {
                    Some(Err(TransportError::Unexpected { what: "a text message".to_owned() }))
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Some(Err(lost(&error))),
                None => None,
            });
        }
    }
}

impl Sink<Bytes> for WebSocketTransport {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.socket.poll_ready_unpin(cx).map_err(|error| lost(&error))
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        self.socket.start_send_unpin(Message::Binary(packet)).map_err(|error| lost(&error))
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

impl Transport for WebSocketTransport {
    fn explain(&mut self, code: CloseCode, reason: &str) {
        self.farewell = Some(CloseFrame { code: code.0.into(), reason: short(reason).into() });
    }

    fn binding(&self) -> Option<[u8; 32]> {
        match self.socket.get_ref() {
            MaybeTlsStream::Rustls(stream) => tls::binding(stream.get_ref().1),
            _ => None,
        }
    }
}

fn lost(error: &tokio_tungstenite::tungstenite::Error) -> TransportError {
    TransportError::Lost { reason: error.to_string() }
}
