//! The pages a relay serves: the dashboard where it was built, or else a word on how to build it. The tests hold either
//! way; what is particular to a dashboard that was built is checked on whatever the page names.

use aepoch::Relay;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::founder::Founder;

struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }
}

async fn ask(relay: &Relay, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: answer.split_off(end + 4) }
}

async fn relay() -> Relay {
    Relay::builder().listen("127.0.0.1:0").shards(1).open().await.unwrap()
}

/// What is between `start` and the next quote, everywhere.
fn quoted<'p>(page: &'p str, start: &str) -> Vec<&'p str> {
    page.split(start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_page_and_all_it_names_are_served_under_a_strict_policy() {
    let relay = relay().await;
    let page = ask(&relay, "GET", "/", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.to_ascii_lowercase().starts_with("<!doctype html>"), "{text}");
    let named: Vec<_> =
        quoted(&text, "src=\"").into_iter().chain(quoted(&text, "href=\"")).filter(|path| *path != "#main").collect();
    assert!(!named.is_empty(), "{text}");
    for path in named {
        let answer = ask(&relay, "GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        if path.starts_with("/assets/") {
            assert!(answer.header("cache-control").ends_with("immutable"), "{}", answer.head);
            let kinds = ["text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml"];
            assert!(kinds.contains(&answer.header("content-type")), "{path}: {}", answer.head);
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    let policy = ask(&relay, "GET", "/", "").await.header("content-security-policy").to_owned();
    for rule in ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let relay = relay().await;
    let page = ask(&relay, "GET", "/", "").await;
    assert_eq!(page.header("cache-control"), "no-cache");
    let known = format!("If-None-Match: {}\r\n", page.header("etag"));
    let again = ask(&relay, "GET", "/", &known).await;
    assert_eq!((again.status, again.body.len()), (304, 0), "{}", again.head);
    let other = ask(&relay, "GET", "/", "If-None-Match: \"other\"\r\n").await;
    assert_eq!((other.status, other.body), (200, page.body));
    assert_eq!(ask(&relay, "HEAD", "/", "").await.body.len(), 0);
    assert_eq!(ask(&relay, "POST", "/", "").await.status, 405);
}

#[tokio::test]
async fn the_page_is_public_where_all_it_shows_takes_a_credential() {
    let founder = Founder::new();
    let relay = Relay::builder().listen("127.0.0.1:0").shards(1).policy(founder.authority()).open().await.unwrap();
    assert_eq!(ask(&relay, "GET", "/", "").await.status, 200);
    assert_eq!(ask(&relay, "GET", "/v1/documents", "").await.status, 401);
}

#[tokio::test]
async fn no_path_leads_out_of_the_dashboard() {
    let relay = relay().await;
    for path in ["/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/Cargo.toml", "//etc/passwd", "/assets/"] {
        let answer = ask(&relay, "GET", path, "").await;
        assert_eq!(answer.status, 404, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
}
