//! Under which names, and from which pages, a relay can be called. Requests are written out byte by byte: no client
//! library sends these.

use aepoch::{Relay, relay::RelayBuilder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Every route, one that does not exist, and what each answers to whoever may call.
const ROUTES: [(&str, u16); 7] = [
    ("/", 200),
    ("/v1/sync", 101),
    ("/health", 200),
    ("/metrics", 200),
    ("/v1/documents", 200),
    ("/v1/coordination/test/stage", 404),
    ("/nowhere", 404),
];

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: aepoch.1\r\n";

async fn relay(set: impl FnOnce(RelayBuilder) -> RelayBuilder) -> Relay {
    set(Relay::builder().listen("127.0.0.1:0").shards(1)).open().await.unwrap()
}

/// Status and body of a request with these headers.
async fn ask(relay: &Relay, line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let upgrade = if line.contains("/v1/sync") { UPGRADE } else { "Connection: close\r\n" };
    stream.write_all(format!("{line}\r\n{headers}{upgrade}\r\n").as_bytes()).await.unwrap();
    // Until the head is whole; a refusal comes with its length, and the connection may stay open after it.
    let mut answer = Vec::new();
    let head = loop {
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
        }
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "hung up on {line}, {headers}");
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while answer.len() < head.len() + 4 + length {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "cut short: {head}");
    }
    (status, String::from_utf8_lossy(&answer).into_owned())
}

/// Case 27.
#[tokio::test]
async fn pages_connect_from_allowed_origins_only_and_never_from_null() {
    let relay = relay(|relay| relay.allow_origin("https://App.example:443").allow_origin("http://[::1]:3000")).await;
    for (route, status) in ROUTES {
        let line = format!("GET {route} HTTP/1.1");
        for origin in ["https://app.example", "http://[::1]:3000"] {
            let (got, _) = ask(&relay, &line, &format!("Host: localhost\r\nOrigin: {origin}\r\n")).await;
            assert_eq!(got, status, "{origin} asks for {route}");
        }
        assert_eq!(ask(&relay, &line, "Host: localhost\r\n").await.0, status, "a program asks for {route}");
        for origin in [
            "null",
            "",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.example",
            "http://[::1]",
        ] {
            let (got, body) = ask(&relay, &line, &format!("Host: localhost\r\nOrigin: {origin}\r\n")).await;
            assert_eq!(got, 403, "`{origin}` asks for {route}");
            assert!(body.contains(&format!("`{origin}`")), "{body}");
            assert_eq!(body.contains("--allow-origin"), origin != "null", "{body}");
        }
        let both = "Host: localhost\r\nOrigin: https://app.example\r\nOrigin: https://evil.example\r\n";
        assert_eq!(ask(&relay, &line, both).await.0, 403, "two origins ask for {route}");
    }
}

/// A page whose own name resolves to the relay's address is of the relay's origin, and sends none.
#[tokio::test]
async fn a_name_that_is_not_the_relays_is_refused_on_every_route() {
    let relay = relay(|relay| relay.host("relay.example").host("Other.example:4433")).await;
    for (route, status) in ROUTES {
        let line = format!("GET {route} HTTP/1.1");
        let names = ["127.0.0.1", "192.168.1.9:80", "[::1]:4433", "localhost:1", "LOCALHOST", "relay.example"];
        for name in names.into_iter().chain(["relay.example:99", "Relay.Example.", "other.example:4433"]) {
            assert_eq!(ask(&relay, &line, &format!("Host: {name}\r\n")).await.0, status, "{name} for {route}");
        }
        let names = ["evil.example", "relay.example.evil.example", "localhost.evil.example", "127.0.0.1.evil.example"];
        for name in names.into_iter().chain(["other.example", "other.example:4434", "xrelay.example", "0x7f000001"]) {
            let (got, body) = ask(&relay, &line, &format!("Host: {name}\r\n")).await;
            assert_eq!(got, 421, "{name} for {route}");
            assert!(body.contains(&format!("`{name}`")) && body.contains(&format!("--host {name}")), "{body}");
        }
        for headers in
            ["", "Host: \r\n", "Host: a b\r\n", "Host: u@localhost\r\n", "Host: localhost\r\nHost: evil.example\r\n"]
        {
            assert_eq!(ask(&relay, &line, headers).await.0, 400, "{headers:?} for {route}");
        }
        let whole = format!("GET http://evil.example{route} HTTP/1.1");
        assert_eq!(ask(&relay, &whole, "Host: localhost\r\n").await.0, 421, "{whole}");
    }
    assert_eq!(ask(&relay, "GET /health HTTP/1.0", "").await.0, 200, "a health check without a name");
}

/// The dashboard's origin is the name it was called by. A page of any other name has not come from this relay.
#[tokio::test]
async fn the_relays_own_page_connects_under_every_name_of_the_relay_and_no_other_page_does() {
    let relay = relay(|relay| relay.host("relay.example")).await;
    for (route, status) in ROUTES {
        let line = format!("GET {route} HTTP/1.1");
        for (host, origin) in [
            ("localhost:4433", "http://localhost:4433"),
            ("127.0.0.1:4433", "http://127.0.0.1:4433"),
            ("[::1]:4433", "http://[::1]:4433"),
            ("Relay.Example", "http://relay.example"),
            ("relay.example:80", "http://relay.example"),
        ] {
            let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n");
            assert_eq!(ask(&relay, &line, &headers).await.0, status, "{origin} asks {host} for {route}");
        }
        for (host, origin, refused) in [
            ("localhost:4433", "http://localhost:3000", 403),
            ("localhost:4433", "http://localhost", 403),
            ("localhost:4433", "https://localhost:4433", 403),
            ("localhost:4433", "http://127.0.0.1:4433", 403),
            ("127.0.0.1:4433", "http://relay.example", 403),
            ("relay.example", "http://relay.example/", 403),
            ("localhost:4433", "null", 403),
            // Its own name resolves to the relay's address now.
            ("evil.example:4433", "http://evil.example:4433", 421),
        ] {
            let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n");
            assert_eq!(ask(&relay, &line, &headers).await.0, refused, "{origin} asks {host} for {route}");
        }
        let both = "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: https://evil.example\r\n";
        assert_eq!(ask(&relay, &line, both).await.0, 403, "two origins ask for {route}");
    }
}

#[tokio::test]
async fn names_and_origins_that_cannot_be_are_refused_at_the_start() {
    for (relay, said) in [
        (Relay::builder().allow_origin("null"), "`null` is no origin"),
        (Relay::builder().allow_origin("https://app.example/"), "nothing after it"),
        (Relay::builder().host("http://relay"), "`http://relay` is no host"),
    ] {
        let error = relay.listen("127.0.0.1:0").open().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
