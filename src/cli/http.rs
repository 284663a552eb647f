//! Asking a relay's REST interface. Layer 7.
//!
//! Questions of a few lines to a server of ours need no HTTP library: HTTP/1.0 has no chunks and no kept connections.

use std::time::Duration;

use aepoch::transport::{Dialer, Endpoint, TlsTrust};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Failure;

/// The largest answer read: a whole document as JSON, escaped.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// The answer of `GET path` at a relay given as `ws://host:port` or `wss://host:port`; `None` when there is no such
/// thing.
pub(super) async fn get(relay: &str, tls: &TlsTrust, path: &str, timeout: Duration) -> Result<Option<Value>, Failure> {
    let asked = tokio::time::timeout(timeout, exchange(relay, tls, path)).await;
    let answer =
        asked.map_err(|_| Failure::unreachable(format!("{relay} did not answer within {} s", timeout.as_secs())))??;
    let (status, body) = parse(&answer).ok_or_else(|| Failure::failed(format!("{relay} does not speak HTTP")))?;
    match status {
        200 => Ok(Some(serde_json::from_slice(body)?)),
        404 => Ok(None),
        status => {
            let told: Value = serde_json::from_slice(body).unwrap_or_default();
            let reason = told["error"].as_str().unwrap_or("no reason given").to_owned();
            Err(Failure::failed(format!("{relay} answered {status}: {reason}")))
        }
    }
}

async fn exchange(relay: &str, tls: &TlsTrust, path: &str) -> Result<Vec<u8>, Failure> {
    let lost = |error: std::io::Error| Failure::unreachable(format!("cannot reach {relay}: {error}"));
    let mut stream = Dialer::new(tls)?.open(relay).await?;
    let host = Endpoint::read(relay)?.authority;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await.map_err(lost)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}"), Some((200, &b"{}"[..])));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"), Some((404, &b""[..])));
        assert_eq!(parse(b"SSH-2.0\r\n\r\n"), None);
    }
}
