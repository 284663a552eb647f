//! Packets as binary messages of a browser's WebSocket. Layer 1.
//!
//! A browser tells neither when a message has left nor when the other side reads slowly: it keeps what it is given. So
//! this end takes packets only while little is waiting there, and looks again in a moment when more is.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, Stream, task::AtomicWaker};
use n0_future::time::{Sleep, sleep};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use super::{SUBPROTOCOL, Transport, TransportError, said, short};
use crate::error::CloseCode;

/// Bytes waiting in the browser above which it is given no more.
const UNSENT_BYTES: u32 = 256 * 1024;

/// How soon it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

/// Opens connections to relays.
#[derive(Debug, Clone)]
pub struct Dialer;

impl Dialer {
    /// Opens a WebSocket. `address` is `ws://host:port` or `wss://host:port`, with or without a path (`/v1/sync` when
    /// absent). Whom to believe at `wss://` is the browser's to know.
    ///
    /// # Errors
    /// `Address` when it cannot be used; `Connect` when nobody answers or the other side refuses: a browser does not
    /// tell which.
    pub async fn websocket(&self, address: &str) -> Result<WebSocketTransport, TransportError> {
        let refuse = |reason: String| TransportError::Address { address: address.to_owned(), reason };
        if let Some((before, _)) = address.split_once('?') {
            // Not repeated: it may be a credential, and errors reach logs.
            let reason = "it has a query: credentials are shown in the first message".to_owned();
            return Err(TransportError::Address { address: before.to_owned(), reason });
        }
        let rest = address.strip_prefix("ws://").or_else(|| address.strip_prefix("wss://"));
        let rest = rest.ok_or_else(|| refuse("it must start with ws:// or wss://".to_owned()))?;
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let url =
            if path.is_empty() { format!("{}/v1/sync", address.trim_end_matches('/')) } else { address.to_owned() };
        let socket = WebSocket::new_with_str(&url, SUBPROTOCOL).map_err(|error| refuse(said_by(&error)))?;
        WebSocketTransport::new(socket).opened(address).await
    }
}

fn said_by(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message()))
}

/// What the browser has told of a socket.
#[derive(Debug, Default)]
struct Told {
    state: Mutex<State>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// The code and reason it was closed with.
    closed: Option<(u16, String)>,
    packets: VecDeque<Result<Bytes, TransportError>>,
}

impl Told {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.reader.wake();
        self.writer.wake();
    }
}

/// The functions a socket calls; it must call none of them once they are gone.
#[derive(Debug)]
struct Listeners {
    socket: WebSocket,
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

/// A WebSocket this page opened.
#[derive(Debug)]
pub struct WebSocketTransport {
    listeners: SendWrapper<Listeners>,
    told: Arc<Told>,
    audience: String,
    farewell: Option<(CloseCode, String)>,
    is_closing: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl WebSocketTransport {
    fn new(socket: WebSocket) -> Self {
        socket.set_binary_type(BinaryType::Arraybuffer);
        let told = Arc::new(Told::default());
        let (opening, hearing, closing) = (told.clone(), told.clone(), told.clone());
        let open = Closure::new(move || opening.tell(|state| state.is_open = true));
        let message = Closure::new(move |event: MessageEvent| {
            let packet = match event.data().dyn_into::<js_sys::ArrayBuffer>() {
                Ok(buffer) => Ok(Bytes::from(js_sys::Uint8Array::new(&buffer).to_vec())),
                Err(_) => Err(TransportError::Unexpected { what: "a text message".to_owned() }),
            };
            hearing.tell(|state| state.packets.push_back(packet));
        });
        let close = Closure::new(move |event: CloseEvent| {
            closing.tell(|state| state.closed = Some((event.code(), event.reason())));
        });
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        // As the browser writes it into `Host`: in lower case, without the port its scheme has anyway.
        let url = socket.url();
        let audience = url.split('/').nth(2).unwrap_or_default().to_owned();
        let listeners = Listeners { socket, _open: open, _message: message, _close: close };
        Self { listeners: SendWrapper::new(listeners), told, audience, farewell: None, is_closing: false, pause: None }
    }

    async fn opened(self, address: &str) -> Result<Self, TransportError> {
        std::future::poll_fn(|cx| {
            self.told.writer.register(cx.waker());
            let state = self.told.state();
            if state.is_open || state.closed.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let closed = self.told.state().closed.clone();
        let Some((code, reason)) = closed else { return Ok(self) };
        let reason = if reason.is_empty() { format!("closed with {code} before it was open") } else { reason };
        Err(TransportError::Connect { address: address.to_owned(), reason })
    }

    /// Where the dialler dialled: host and port as it wrote them.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    fn socket(&self) -> &WebSocket {
        &self.listeners.socket
    }

    /// Ready when no more than `bytes` wait in the browser, or nothing will any more.
    fn poll_unsent(&mut self, bytes: u32, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.socket().buffered_amount() <= bytes || self.told.state().closed.is_some() {
                self.pause = None;
                return Poll::Ready(());
            }
            ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN))).as_mut().poll(cx));
            self.pause = None;
        }
    }
}

impl Stream for WebSocketTransport {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.told.reader.register(cx.waker());
        let mut state = self.told.state();
        if let Some(packet) = state.packets.pop_front() {
            return Poll::Ready(Some(packet));
        }
        match &state.closed {
            None => Poll::Pending,
            // 1005 and 1006 are the browser's own: closed without a word, and cut off.
            Some((1_005, _)) => Poll::Ready(None),
            Some((1_006, _)) => Poll::Ready(Some(Err(TransportError::Lost { reason: "cut off".to_owned() }))),
            Some((code, reason)) => Poll::Ready(said(*code, reason).map(Err)),
        }
    }
}

impl Sink<Bytes> for WebSocketTransport {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.poll_unsent(UNSENT_BYTES, cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, packet: Bytes) -> Result<(), TransportError> {
        // Copied: the browser takes no view into memory that may grow.
        let sent = self.socket().send_with_js_u8_array(&js_sys::Uint8Array::from(&*packet));
        sent.map_err(|error| TransportError::Lost { reason: said_by(&error) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        // What the browser has it sends by itself.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if !self.is_closing {
            self.is_closing = true;
            // Sends what is waiting first.
            let closed = match self.farewell.take() {
                // A browser lets pages say 1000 and 3000 to 4999 only.
                Some((code, reason)) if (3_000..5_000).contains(&code.0) => {
                    self.socket().close_with_code_and_reason(code.0, &reason)
                }
                _ => self.socket().close(),
            };
            closed.map_err(|error| TransportError::Lost { reason: said_by(&error) })?;
        }
        self.told.writer.register(cx.waker());
        if self.told.state().closed.is_some() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Transport for WebSocketTransport {
    fn explain(&mut self, code: CloseCode, reason: &str) {
        self.farewell = Some((code, short(reason).to_owned()));
    }
}
