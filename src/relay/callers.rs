//! Under which names a relay may be called, and by pages of which origins: the checks of `Host` and `Origin`.
//!
//! A web page may open WebSockets to any address its reader can reach, so its origin has to be on a list, or the relay's
//! own: that of the dashboard. And it may let its own name resolve to that address (DNS rebinding), after which the browser
//! takes the relay for the page's own server; then only the name it calls gives it away, which is why `Host` is checked
//! first. Programs send no `Origin`, and no browser leaves out `Host`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri, Version, header,
        uri::{Authority, PathAndQuery},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{RelayError, http::Refusal};

/// Characters of a foreign value that a refusal repeats.
const SHOWN_CHARS: usize = 80;

/// A name a relay is called by.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    /// In lower case, without brackets or a dot at the end.
    host: String,
    /// `None` for any.
    port: Option<u16>,
}

impl Name {
    /// Reads `host` or `host:port`.
    fn read(text: &[u8]) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let has_odd_port = authority.port_u16().is_none() && authority.as_str().rsplit(']').next()?.contains(':');
        if host.is_empty() || has_odd_port || authority.as_str().contains('@') {
            return None;
        }
        Some(Self { host, port: authority.port_u16() })
    }
}

/// Who may call: the names and origins a relay accepts.
#[derive(Debug)]
pub(super) struct Callers {
    names: Vec<Name>,
    /// As browsers spell them.
    origins: Vec<String>,
    /// What browsers call it with: `https` with TLS, `http` without.
    scheme: &'static str,
    /// The port of a name without one.
    default_port: u16,
}

impl Callers {
    /// `listen` is what the relay was told to listen on: a name there is one of its names.
    pub(super) fn new(names: &[String], origins: &[String], listen: &str, tls: bool) -> Result<Self, RelayError> {
        let name = |name: &String| Name::read(name.as_bytes()).ok_or_else(|| RelayError::Host { host: name.clone() });
        let mut names = names.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        names.extend(Name::read(listen.as_bytes()).map(|listen| Name { port: None, ..listen }));
        let spelled =
            |origin: &String| read_origin(origin).ok_or_else(|| RelayError::Origin { origin: origin.clone() });
        let origins = origins.iter().map(spelled).collect::<Result<_, _>>()?;
        let (scheme, default_port) = if tls { ("https", 443) } else { ("http", 80) };
        Ok(Self { names, origins, scheme, default_port })
    }

    /// The names, without ports: those a certificate has to be for.
    pub(super) fn names(&self) -> Vec<String> {
        let is_any = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        self.names.iter().filter(|name| !is_any(&name.host)).map(|name| name.host.clone()).collect()
    }

    fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Called, Refusal> {
        let called = self.check_name(version, uri, headers)?;
        let called = String::from_utf8_lossy(called).into_owned();
        headers.get_all(header::ORIGIN).iter().try_for_each(|origin| self.check_origin(origin, &called))?;
        Ok(Called(called))
    }

    fn check_name<'r>(&self, version: Version, uri: &'r Uri, headers: &'r HeaderMap) -> Result<&'r [u8], Refusal> {
        let mut given = headers.get_all(header::HOST).iter();
        // A name in the request line counts instead of the header (RFC 9112, section 3.2.2).
        let called = match (uri.authority(), given.next(), given.next()) {
            (Some(authority), ..) => authority.as_str().as_bytes(),
            (None, Some(host), None) => host.as_bytes(),
            // No browser speaks 1.0; some health checks do, without a name.
            (None, None, None) if version == Version::HTTP_10 => return Ok(&[]),
            (None, None, _) => {
                return Err(refuse(StatusCode::BAD_REQUEST, "a request needs a `Host` header".to_owned()));
            }
            (None, ..) => return Err(refuse(StatusCode::BAD_REQUEST, "`Host` stands twice in the request".to_owned())),
        };
        let name = Name::read(called).ok_or_else(|| {
            refuse(StatusCode::BAD_REQUEST, format!("`Host: {}` is no name of a host", shown(called)))
        })?;
        let port = name.port.unwrap_or(self.default_port);
        let is_ours = |ours: &Name| ours.host == name.host && ours.port.is_none_or(|ours| ours == port);
        if name.host == "localhost" || name.host.parse::<IpAddr>().is_ok() || self.names.iter().any(is_ours) {
            return Ok(called);
        }
        let host = shown(called);
        // "Directed at a server that is unable to answer for it" (RFC 9110, section 15.5.20). 403 would say that the
        // caller may not: it may, under another name.
        let reason = format!("`{host}` is not a name of this relay; --host {host} makes it one");
        Err(refuse(StatusCode::MISDIRECTED_REQUEST, reason))
    }

    /// `called` has been checked: a page of that name is one that this relay served.
    fn check_origin(&self, origin: &HeaderValue, called: &str) -> Result<(), Refusal> {
        // With the scheme: whoever is on the way can serve a page as `http` in the name of a relay with TLS.
        let own = read_origin(&format!("{}://{called}", self.scheme));
        if self.origins.iter().chain(&own).any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            return Ok(());
        }
        let shown = shown(origin.as_bytes());
        let reason = match &*shown {
            // Of files, sandboxed frames and redirects: it names nobody.
            "null" => "origin `null` is never allowed: it may be any page's".to_owned(),
            _ => format!("origin `{shown}` is not allowed; --allow-origin {shown} allows it"),
        };
        Err(refuse(StatusCode::FORBIDDEN, reason))
    }
}

/// The name that was checked, as the caller wrote it: what it signs for, and the only one to compare that with.
#[derive(Debug, Clone)]
pub(super) struct Called(pub(super) String);

/// Lets through what comes under one of the relay's names, and from no page that is not allowed.
pub(super) async fn check(State(callers): State<Arc<Callers>>, mut request: Request, next: Next) -> Response {
    match callers.check(request.version(), request.uri(), request.headers()) {
        Ok(called) => {
            request.extensions_mut().insert(called);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn refuse(status: StatusCode, reason: String) -> Refusal {
    Refusal(status, reason)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect()
}

/// An origin as browsers spell it: in lower case, without the port its scheme has anyway (RFC 6454, section 6.2).
fn read_origin(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let uri = Uri::try_from(&*lower).ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_bare = uri.path_and_query().is_none_or(|rest| rest == &PathAndQuery::from_static("/"));
    if !is_bare || lower.ends_with('/') || Name::read(authority.as_str().as_bytes()).is_none() {
        return None;
    }
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Some(lower.strip_suffix(default).unwrap_or(&lower).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_spell_it() {
        for (given, kept) in [
            ("https://App.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ] {
            assert_eq!(read_origin(given).as_deref(), Some(kept));
        }
        for other in [
            "null",
            "*",
            "",
            "app.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://a:x",
        ] {
            assert_eq!(read_origin(other), None, "{other}");
        }
    }

    #[test]
    fn with_tls_the_relays_own_origin_is_https_and_nothing_else() {
        let callers = Callers::new(&["relay.example".to_owned()], &[], "127.0.0.1:4433", true).unwrap();
        let check = |host: &'static str, origin: &'static str| {
            let headers = [(header::HOST, host), (header::ORIGIN, origin)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let checked = callers.check(Version::HTTP_11, &Uri::from_static("/"), &HeaderMap::from_iter(headers));
            checked.map(|called| called.0).map_err(|refusal| refusal.0)
        };
        for (host, origin) in [
            ("relay.example", "https://relay.example"),
            ("relay.example:443", "https://relay.example"),
            ("localhost:4433", "https://localhost:4433"),
        ] {
            assert_eq!(check(host, origin).as_deref(), Ok(host), "{origin}");
        }
        for (host, origin) in [
            ("relay.example", "http://relay.example"),
            ("localhost:4433", "http://localhost:4433"),
            ("relay.example:80", "http://relay.example"),
            ("relay.example", "https://relay.example:4433"),
        ] {
            assert_eq!(check(host, origin), Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn a_name_is_read_with_or_without_a_port() {
        let name = |host: &str, port| Some(Name { host: host.to_owned(), port });
        assert_eq!(Name::read(b"Relay.Example."), name("relay.example", None));
        assert_eq!(Name::read(b"[::1]:4433"), name("::1", Some(4433)));
        for other in ["", ":80", "user@relay", "relay/path", "relay:", "relay:70000", "[::1]:x", "a b"] {
            assert_eq!(Name::read(other.as_bytes()), None, "{other}");
        }
    }
}
