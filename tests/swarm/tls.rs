//! TLS between agents and relays: who is believed, who is refused and told why, and certificates that change.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aepoch::{
    Agent, Relay,
    node::Event,
    transport::{Dialer, SpkiPin, TlsTrust, Transport as _, connect_websocket},
};
use rcgen::date_time_ymd;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::{
    authority::{Authority, write_secret},
    world::{PATIENCE, converged, eventually, flushed, quick_backoff},
};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that is none of ours, with all that rustls does unless told otherwise.
fn stranger(authority: &Authority, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    Arc::new(config).into()
}

async fn shake(client: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn refusal(trust: &TlsTrust, address: &str) -> String {
    let dialled = Dialer::new(trust).unwrap().websocket(address).await;
    dialled.map(drop).unwrap_err().to_string()
}

async fn accepted(trust: TlsTrust, relay: &Relay) {
    Dialer::new(&trust).unwrap().websocket(&relay.url()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_converge_through_a_relay_with_tls() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    assert!(relay.url().starts_with("wss://"));
    let agent = |name: &str| Agent::builder(name).swarm("test").connect(&relay.url());
    let a = agent("a").tls_ca(authority.file()).open().await.unwrap();
    let b = agent("b").tls_pin(relay.tls_pin().unwrap()).open().await.unwrap();
    let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    left.register("r").set(&"x".repeat(100_000)).unwrap();
    right.counter("c").add(1).unwrap();
    flushed(&left).await;
    flushed(&right).await;
    converged(&[&left, &right]).await;
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Case 28.
#[tokio::test]
async fn a_client_that_speaks_tls_1_2_is_refused() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    shake(&stranger(&authority, &TLS13), relay.address()).await.unwrap();
    let error = shake(&stranger(&authority, &TLS12), relay.address()).await.unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

/// A ticket would let a client come back without the relay showing its key, and early data be replayed.
#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    let client = stranger(&authority, &TLS13);
    for _ in 0..3 {
        let mut stream = shake(&client, relay.address()).await.unwrap();
        // Tickets come after the handshake: until there is an answer they may be under way.
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// Case 29.
#[tokio::test]
async fn a_relay_with_an_expired_unlisted_or_foreign_certificate_is_refused() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    accepted(authority.trust(), &relay).await;
    let said = refusal(&TlsTrust::default(), &relay.url()).await;
    assert!(said.contains("no authority known here") && said.contains("--tls-ca"), "{said}");
    let other = Authority::new();
    let said = refusal(&other.trust(), &relay.url()).await;
    assert!(said.contains("certificate") && said.contains(&relay.url()), "{said}");
    authority.issue(|wanted| wanted.subject_alt_names.clear());
    assert!(relay.reload_tls().await.unwrap());
    let said = refusal(&authority.trust(), &relay.url()).await;
    assert!(said.contains("not valid for"), "{said}");
    authority.issue(|wanted| wanted.not_after = date_time_ymd(2020, 1, 1));
    assert!(relay.reload_tls().await.unwrap());
    let said = refusal(&authority.trust(), &relay.url()).await;
    assert!(said.contains("expired"), "{said}");
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_and_both_are_named() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    let pin = relay.tls_pin().unwrap();
    accepted(TlsTrust::default().pin(pin), &relay).await;
    accepted(authority.trust().pin(pin), &relay).await;
    let wanted: SpkiPin = "ab".repeat(32).parse().unwrap();
    for trust in [TlsTrust::default().pin(wanted), authority.trust().pin(wanted)] {
        let said = refusal(&trust, &relay.url()).await;
        assert!(said.contains(&pin.to_string()) && said.contains(&wanted.to_string()), "{said}");
    }
    // The pin replaces authorities only where none was named.
    let said = refusal(&Authority::new().trust().pin(pin), &relay.url()).await;
    assert!(said.contains("certificate"), "{said}");
    for other in ["", "ab", &"g".repeat(64), &"ab".repeat(33)] {
        assert!(other.parse::<SpkiPin>().unwrap_err().to_string().contains("64 hexadecimal digits"), "{other}");
    }
}

/// Whoever shows the pinned key's certificate without having the key must fail.
#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let authority = Authority::new();
    let pin = authority.relay().open().await.unwrap().tls_pin().unwrap();
    let shown = CertificateDer::from_pem_file(authority.path("relay.crt")).unwrap();
    authority.issue(|_| {});
    let key = PrivateKeyDer::from_pem_file(authority.path("relay.key")).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let stolen = Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![shown], key)));
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(stolen)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("wss://{}", listener.local_addr().unwrap());
    let thief = async { acceptor.accept(listener.accept().await.unwrap().0).await.map(drop).unwrap_err() };
    let (said, _) = tokio::join!(async { refusal(&TlsTrust::default().pin(pin), &address).await }, async {
        tokio::time::timeout(PATIENCE, thief).await.unwrap()
    });
    assert!(said.contains("BadSignature"), "{said}");
}

#[tokio::test]
async fn calling_with_the_wrong_scheme_says_which_is_right() {
    let authority = Authority::new();
    let (secure, plain) = (authority.relay().open().await.unwrap(), Relay::builder().listen("127.0.0.1:0").open());
    let plain = plain.await.unwrap();
    let said = connect_websocket(&secure.url().replace("wss", "ws")).await.map(drop).unwrap_err().to_string();
    assert!(said.contains("this relay speaks TLS: use wss://"), "{said}");
    let said = refusal(&authority.trust(), &plain.url().replace("ws", "wss")).await;
    assert!(said.contains("does not speak TLS"), "{said}");
    let agent = Agent::builder("a").connect(&secure.url().replace("wss", "ws")).backoff(quick_backoff());
    let agent = agent.open().await.unwrap();
    let trouble = || agent.status().relays[0].reason.clone();
    eventually("an agent says so too", || trouble().is_some_and(|trouble| trouble.contains("use wss://"))).await;
}

/// Both ends of a connection, and only they, have the same 32 bytes.
#[tokio::test]
async fn a_connection_is_bound_to_its_two_ends() {
    let authority = Authority::new();
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let chain = vec![CertificateDer::from_pem_file(authority.path("relay.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(authority.path("relay.key")).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("wss://{}", listener.local_addr().unwrap());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let server = async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            #[allow(clippy::result_large_err, reason = "the library fixes the type of the refusal")]
            let answer = |_: &_, mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
                response.headers_mut().insert("Sec-WebSocket-Protocol", "aepoch.1".parse().unwrap());
                Ok(response)
            };
            let socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
            let connection = socket.get_ref().get_ref().1;
            connection.export_keying_material([0_u8; 32], b"EXPORTER-aepoch-auth", None).unwrap()
        };
        let client = async { Dialer::new(&authority.trust()).unwrap().websocket(&address).await.unwrap() };
        let (theirs, ours) = tokio::join!(server, client);
        assert_eq!(ours.binding(), Some(theirs));
        seen.push(theirs);
    }
    assert_ne!(seen[0], seen[1], "of another connection");
    let plain = Relay::builder().listen("127.0.0.1:0").open().await.unwrap();
    assert_eq!(connect_websocket(&plain.url()).await.unwrap().binding(), None);
}

#[tokio::test]
async fn callers_that_do_not_shake_hands_keep_nobody_waiting_and_are_hung_up_on() {
    let authority = Authority::new();
    let relay = authority.relay().open().await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(relay.address()).await.unwrap());
    }
    accepted(authority.trust(), &relay).await;
    for stream in &silent {
        let read = stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock, "the honest caller came after the silent ones");
    }
    for stream in &mut silent {
        let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("the relay hangs up");
        assert_eq!(ended.unwrap_or(0), 0);
    }
}

/// Case 34.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_under_load_and_no_connection_is_dropped() {
    let authority = Authority::new();
    let relay = authority.relay().tls_reload_every(Duration::from_millis(5)).open().await.unwrap();
    let mut writers = Vec::new();
    for name in ["a", "b", "c"] {
        let agent = Agent::builder(name).swarm("test").connect(&relay.url()).tls_ca(authority.file());
        let agent = agent.open().await.unwrap();
        let document = agent.document("stage").await.unwrap();
        flushed(&document).await;
        let (mut events, writes) = (agent.events(), document.clone());
        let writing = tokio::spawn(async move {
            loop {
                writes.counter("c").add(1).unwrap();
                flushed(&writes).await;
            }
        });
        let losing = tokio::spawn(async move {
            loop {
                if let Ok(Some(event)) = events.next().await
                    && let Event::LinkDown { reason, .. } = &*event
                {
                    return reason.clone();
                }
            }
        });
        writers.push((agent, document, writing, losing));
    }
    let mut pins = vec![relay.tls_pin().unwrap()];
    for _ in 0..10 {
        authority.issue(|_| {});
        eventually("a new certificate is shown", || !pins.contains(&relay.tls_pin().unwrap())).await;
        pins.push(relay.tls_pin().unwrap());
        accepted(authority.trust().pin(relay.tls_pin().unwrap()), &relay).await;
        for (_, document, ..) in &writers {
            let before = document.counter("c").get().unwrap();
            eventually("work goes on", || document.counter("c").get().unwrap() > before).await;
        }
    }
    // A pair that is none, and files that are nothing, leave the last good one in use.
    std::fs::write(authority.path("relay.crt"), "nothing").unwrap();
    let said = relay.reload_tls().await.unwrap_err().to_string();
    assert!(said.contains("relay.crt") && said.contains("no certificate"), "{said}");
    authority.issue(|_| {});
    eventually("what is mended is shown", || !pins.contains(&relay.tls_pin().unwrap())).await;
    let pin = relay.tls_pin().unwrap();
    write_secret(&authority.path("relay.key"), &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let said = relay.reload_tls().await.unwrap_err().to_string();
    assert!(said.contains("relay.crt") && said.contains("relay.key") && said.contains("no pair"), "{said}");
    assert_eq!(relay.tls_pin(), Some(pin));
    accepted(authority.trust().pin(pin), &relay).await;
    for (agent, document, writing, losing) in writers {
        writing.abort();
        flushed(&document).await;
        assert_eq!(agent.status().relays[0].reason, None);
        assert!(!losing.is_finished(), "{:?}", losing.await);
        losing.abort();
    }
}

#[tokio::test]
async fn a_self_signed_relay_keeps_its_pin_and_its_certificate_serves_as_authority() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("relay.redb");
    let builder = || Relay::builder().listen("127.0.0.1:0").store(&store).tls_self_signed();
    let first = builder().host("relay.example").open().await.unwrap();
    let pin = first.tls_pin().unwrap();
    let kept = folder.path().join("copy.crt");
    std::fs::copy(folder.path().join("relay.tls.crt"), &kept).unwrap();
    accepted(TlsTrust::default().authorities(&kept), &first).await;
    let by_name = first.url().replace("127.0.0.1", "localhost");
    Dialer::new(&TlsTrust::default().authorities(&kept)).unwrap().websocket(&by_name).await.unwrap();
    first.shut_down().await.unwrap();
    drop(first);
    let second = builder().open().await.unwrap();
    assert_eq!(second.tls_pin(), Some(pin));
    accepted(TlsTrust::default().authorities(&kept), &second).await;
    second.shut_down().await.unwrap();
    drop(second);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = folder.path().join("relay.tls.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        crate::authority::set_mode(&key, 0o640);
        let said = builder().open().await.unwrap_err().to_string();
        assert!(said.contains("relay.tls.key") && said.contains("mode 640"), "{said}");
    }
}

#[tokio::test]
async fn files_that_are_no_certificate_or_no_secret_are_refused_at_the_start() {
    let authority = Authority::new();
    let said = async || authority.relay().open().await.map(drop).unwrap_err().to_string();
    #[cfg(unix)]
    {
        crate::authority::set_mode(&authority.path("relay.key"), 0o644);
        let said = said().await;
        assert!(said.contains("relay.key") && said.contains("mode 644"), "{said}");
    }
    write_secret(&authority.path("relay.key"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    let told = said().await;
    assert!(told.contains("relay.key") && !told.contains("c2VjcmV0"), "{told}");
    std::fs::write(authority.path("relay.crt"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    assert!(said().await.contains("over the limit of 1048576 bytes"));
    std::fs::remove_file(authority.path("relay.crt")).unwrap();
    assert!(said().await.contains("relay.crt"));
    let missing = TlsTrust::default().authorities(authority.path("relay.crt"));
    let said = Dialer::new(&missing).map(drop).unwrap_err().to_string();
    assert!(said.contains("no authorities from") && said.contains("relay.crt"), "{said}");
    let agent = Agent::builder("a").tls_ca(authority.path("relay.crt")).open().await.map(drop).unwrap_err().to_string();
    assert!(agent.contains("no authorities from"), "{agent}");
}
