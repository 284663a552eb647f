//! One question over HTTP, to a relay or for the keys of an issuer. Layer 1.
//!
//! Questions of a few lines need no HTTP library: HTTP/1.0 has no chunks and no kept connections.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Dialer, Endpoint, TransportError};

/// A question over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The path.
    pub path: &'a str,
    /// What `Authorization` says, if anything.
    pub authorization: Option<&'a str>,
    /// With a form it is a `POST`, else a `GET`.
    pub form: Option<&'a str>,
}

impl Dialer {
    /// Status and body of the answer, at an address as [`Dialer::open`] takes it. Waits for as long as it takes;
    /// redirects are not followed.
    ///
    /// # Errors
    /// As [`Dialer::open`]; `Lost` when the connection breaks, `Unexpected` when the answer is no HTTP or is longer than
    /// `bytes_max`.
    pub async fn ask(
        &self,
        address: &str,
        question: &Question<'_>,
        bytes_max: u64,
    ) -> Result<(u16, Vec<u8>), TransportError> {
        let Question { path, authorization, form } = question;
        let lost = |error: std::io::Error| TransportError::Lost { reason: error.to_string() };
        let host = Endpoint::read(address)?.authority;
        let mut stream = self.open(address).await?;
        let method = if form.is_some() { "POST" } else { "GET" };
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n");
        if let Some(shown) = authorization {
            request += &format!("Authorization: {shown}\r\n");
        }
        if let Some(form) = form {
            let length = form.len();
            request += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n");
        }
        request += "\r\n";
        request += form.unwrap_or_default();
        stream.write_all(request.as_bytes()).await.map_err(lost)?;
        let mut answer = Vec::new();
        stream.take(bytes_max.saturating_add(1)).read_to_end(&mut answer).await.map_err(lost)?;
        if answer.len() as u64 > bytes_max {
            return Err(TransportError::Unexpected {
                what: format!("more than {bytes_max} bytes in answer to {path}"),
            });
        }
        let (status, body) = parse(&answer).ok_or_else(|| TransportError::Unexpected { what: "no HTTP".to_owned() })?;
        Ok((status, body.to_owned()))
    }
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
