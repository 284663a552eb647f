//! Opening connections to addresses: TCP for `ws://`, TLS on it for `wss://`. Layer 1.

use std::{io, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    MaybeTlsStream, client_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest as _,
        http::{HeaderValue, Uri},
    },
};

use super::{
    SUBPROTOCOL, TransportError,
    tls::{self, TlsTrust},
    websocket::{WebSocketTransport, audience_of, set_prompt, websocket_config},
};
use crate::limits;

/// Opens connections to relays, and knows whom to believe there. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    tls: TlsConnector,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// True for `wss://`.
    pub is_tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// 80 or 443 unless given.
    pub port: u16,
    /// As the address has it: what a request says in `Host`.
    pub authority: String,
    /// `/v1/sync` unless given.
    pub path: String,
}

impl Endpoint {
    /// Reads `ws://host:port` or `wss://host:port`, with or without a path.
    ///
    /// # Errors
    /// `Address`.
    pub fn read(address: &str) -> Result<Self, TransportError> {
        let refuse = |reason: &str| TransportError::Address { address: address.to_owned(), reason: reason.to_owned() };
        let uri = Uri::try_from(address).map_err(|error| refuse(&error.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(refuse("it must start with ws:// or wss://")),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| refuse("it must name a host and nothing before it"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refuse("it must name a host"));
        }
        let after_host = authority.as_str().rsplit(']').next().unwrap_or_default();
        if authority.port_u16().is_none() && after_host.contains(':') {
            return Err(refuse("the port must be a number up to 65535"));
        }
        let path = uri.path_and_query().map(|path| path.as_str()).filter(|path| *path != "/");
        Ok(Self {
            is_tls,
            host,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.unwrap_or("/v1/sync").to_owned(),
        })
    }
}

impl Dialer {
    /// Reads the authorities of `trust`; what changes in their file later does not count.
    ///
    /// # Errors
    /// `Authorities`.
    pub fn new(trust: &TlsTrust) -> Result<Self, TransportError> {
        Ok(Self { tls: Arc::new(trust.configure()?).into() })
    }

    /// Opens the stream that leads to `address`.
    ///
    /// # Errors
    /// `Address` when it cannot be parsed; `Connect` when nobody answers, or not whom we believe. The latter may pass.
    pub async fn open(&self, address: &str) -> Result<MaybeTlsStream<TcpStream>, TransportError> {
        self.reach(address, &Endpoint::read(address)?).await
    }

    async fn reach(&self, address: &str, at: &Endpoint) -> Result<MaybeTlsStream<TcpStream>, TransportError> {
        let failed = |reason: String| TransportError::Connect { address: address.to_owned(), reason };
        let stream = TcpStream::connect((&*at.host, at.port)).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        set_prompt(&stream);
        if !at.is_tls {
            return Ok(MaybeTlsStream::Plain(stream));
        }
        let name = ServerName::try_from(at.host.clone()).map_err(|error| failed(error.to_string()))?;
        let stream = self.tls.connect(name, stream).await;
        stream.map(MaybeTlsStream::Rustls).map_err(|error| failed(tls::explain(&error)))
    }

    /// Opens a WebSocket. `address` is `ws://host:port` or `wss://host:port`, with or without a path (`/v1/sync` when
    /// absent).
    ///
    /// # Errors
    /// As [`Dialer::open`]; `Connect` also when the other side refuses.
    pub async fn websocket(&self, address: &str) -> Result<WebSocketTransport, TransportError> {
        if let Some((before, _)) = address.split_once('?') {
            // Not repeated: it may be a credential, and errors reach logs.
            let reason = "it has a query: credentials are shown in the first message".to_owned();
            return Err(TransportError::Address { address: before.to_owned(), reason });
        }
        let endpoint = Endpoint::read(address)?;
        let scheme = if endpoint.is_tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}", endpoint.authority, endpoint.path);
        let refuse = |reason: String| TransportError::Address { address: address.to_owned(), reason };
        let mut request = url.into_client_request().map_err(|error| refuse(error.to_string()))?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let audience = audience_of(request.headers());
        let stream = self.reach(address, &endpoint).await?;
        let shaken = client_async_with_config(request, stream, Some(websocket_config())).await;
        let (socket, _) =
            shaken.map_err(|error| TransportError::Connect { address: address.to_owned(), reason: refusal(&error) })?;
        Ok(WebSocketTransport::new(socket, audience))
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

/// Connects to a relay as [`Dialer::websocket`] does, believing the authorities that browsers believe.
///
/// # Errors
/// As there.
pub async fn connect_websocket(address: &str) -> Result<WebSocketTransport, TransportError> {
    Dialer::new(&TlsTrust::default())?.websocket(address).await
}

/// Why the other side is no WebSocket; in its own words, where it has any.
fn refusal(error: &Error) -> String {
    let told = match error {
        Error::Http(response) => response.body().as_deref().and_then(|body| serde_json::from_slice(body).ok()),
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return "it hung up during the handshake".to_owned();
        }
        _ => None,
    };
    let told: serde_json::Value = told.unwrap_or_default();
    match told["error"].as_str() {
        Some(reason) => format!("{error}: {}", &reason[..reason.floor_char_boundary(limits::REASON_BYTES)]),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_a_host_a_port_and_a_path() {
        let read = |address: &str| {
            let endpoint = Endpoint::read(address).unwrap();
            (endpoint.is_tls, endpoint.host, endpoint.port, endpoint.authority, endpoint.path)
        };
        let endpoint = |is_tls, host: &str, port, authority: &str, path: &str| {
            (is_tls, host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(read("ws://127.0.0.1:4433"), endpoint(false, "127.0.0.1", 4433, "127.0.0.1:4433", "/v1/sync"));
        assert_eq!(read("wss://[::1]:1/"), endpoint(true, "::1", 1, "[::1]:1", "/v1/sync"));
        assert_eq!(read("wss://relay.example/a/b"), endpoint(true, "relay.example", 443, "relay.example", "/a/b"));
        for other in ["", "relay", "http://relay", "ws://", "ws://u@relay", "ws://relay:x", "ws://:80"] {
            assert!(matches!(Endpoint::read(other), Err(TransportError::Address { .. })), "{other}");
        }
    }
}
