//! Asking a relay's REST interface. Layer 7.

use std::time::Duration;

use aepoch::transport::{Dialer, TlsTrust, TransportError};
use serde_json::Value;

use super::Failure;

/// The largest answer read: a whole document as JSON, escaped.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// The answer of `GET path` at a relay given as `ws://host:port` or `wss://host:port`; `None` when there is no such
/// thing.
pub(super) async fn get(relay: &str, tls: &TlsTrust, path: &str, timeout: Duration) -> Result<Option<Value>, Failure> {
    ask(relay, tls, path, None, timeout).await
}

/// The answer of `POST path` with a form.
pub(super) async fn post(
    relay: &str,
    tls: &TlsTrust,
    path: &str,
    form: &str,
    timeout: Duration,
) -> Result<Option<Value>, Failure> {
    ask(relay, tls, path, Some(form), timeout).await
}

async fn ask(
    relay: &str,
    tls: &TlsTrust,
    path: &str,
    form: Option<&str>,
    timeout: Duration,
) -> Result<Option<Value>, Failure> {
    let dialer = Dialer::new(tls)?;
    let asked = tokio::time::timeout(timeout, dialer.ask(relay, path, form, ANSWER_BYTES)).await;
    let asked =
        asked.map_err(|_| Failure::unreachable(format!("{relay} did not answer within {} s", timeout.as_secs())))?;
    let (status, body) = asked.map_err(|error| match error {
        TransportError::Unexpected { what } => Failure::failed(format!("{relay} sent {what}")),
        error => error.into(),
    })?;
    match status {
        200 => Ok(Some(serde_json::from_slice(&body)?)),
        404 => Ok(None),
        status => {
            let told: Value = serde_json::from_slice(&body).unwrap_or_default();
            let reason = told["error_description"].as_str().or(told["error"].as_str()).unwrap_or("no reason given");
            Err(Failure::failed(format!("{relay} answered {status}: {reason}")))
        }
    }
}
