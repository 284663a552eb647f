//! Accepting connections, with TLS or without: handshakes run beside each other, few enough, and none for long.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    limits,
    relay::patience::Patient,
    transport::{set_prompt, tls},
};

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What somebody who does not speak TLS is told.
const USE_TLS: &str = "{\"error\":\"this relay speaks TLS: use wss:// (https:// for REST)\"}";

/// Accepts connections without TLS, set up for prompt messages.
pub(in crate::relay) struct PlainListener(pub(in crate::relay) TcpListener);

impl Listener for PlainListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        set_prompt(&stream);
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Accepts what has shaken hands.
pub(in crate::relay) struct TlsListener {
    tcp: PlainListener,
    acceptor: TlsAcceptor,
    shaking: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    pub(in crate::relay) fn new(tcp: PlainListener, config: ServerConfig) -> Self {
        Self { tcp, acceptor: Arc::new(config).into(), shaking: JoinSet::new() }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, address) = self.tcp.accept(), if self.shaking.len() < limits::HANDSHAKES => {
                    let shaking = shake(self.acceptor.clone(), stream, address);
                    self.shaking.spawn(async move { timeout(limits::HELLO_WAIT, shaking).await.ok().flatten() });
                }
                Some(shaken) = self.shaking.join_next() => {
                    if let Ok(Some(accepted)) = shaken {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// `None` when it came to nothing.
async fn shake(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
    address: SocketAddr,
) -> Option<(TlsStream<TcpStream>, SocketAddr)> {
    let mut first = [HANDSHAKE];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != HANDSHAKE {
        tracing::debug!(%address, "called without TLS");
        let length = USE_TLS.len();
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let answer = format!("{head}Content-Length: {length}\r\n\r\n{USE_TLS}");
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        // A socket closed with bytes unread is reset, and the reset overtakes the answer.
        tokio::io::copy(&mut stream.take(limits::HELLO_BYTES as u64), &mut tokio::io::sink()).await.ok()?;
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(stream) => Some((stream, address)),
        Err(error) => {
            tracing::debug!(%address, %error, "no TLS handshake");
            None
        }
    }
}

/// What is known of the other end of a connection before it has said anything.
#[derive(Debug, Clone, Copy)]
pub(in crate::relay) struct Caller {
    /// See [`Transport::binding`](crate::transport::Transport::binding).
    pub(in crate::relay) binding: Option<[u8; 32]>,
    /// Where the connection comes from: of a proxy, the proxy's.
    pub(in crate::relay) address: IpAddr,
}

impl Connected<IncomingStream<'_, Patient<PlainListener>>> for Caller {
    fn connect_info(incoming: IncomingStream<'_, Patient<PlainListener>>) -> Self {
        Self { binding: None, address: incoming.remote_addr().ip() }
    }
}

impl Connected<IncomingStream<'_, Patient<TlsListener>>> for Caller {
    fn connect_info(incoming: IncomingStream<'_, Patient<TlsListener>>) -> Self {
        let binding = tls::binding(incoming.io().stream().get_ref().1);
        Self { binding, address: incoming.remote_addr().ip() }
    }
}
