//! Asking a relay's REST interface. Layer 7.

use std::time::Duration;

use aepoch::{
    transport::{Dialer, Endpoint, Question, TlsTrust, TransportError},
    trust::request::Request,
};
use serde_json::Value;

use super::{Failure, credential::CredentialArgs, trust::files};

/// The largest answer read: a whole document as JSON, escaped.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// Whom to believe at a relay, and who to be there.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    pub(super) tls: TlsTrust,
    pub(super) credential: CredentialArgs,
}

/// The answer of `GET path` at a relay given as `ws://host:port` or `wss://host:port`; `None` when there is no such
/// thing.
pub(super) async fn get(relay: &str, access: &Access, path: &str, timeout: Duration) -> Result<Option<Value>, Failure> {
    let audience = Endpoint::read(relay)?.authority;
    let request = Request { method: "GET", path, audience: &audience };
    let shown = access.credential.holder()?.map(|holder| request.authorization(&holder, files::now()).to_string());
    ask(relay, &access.tls, &Question { path, authorization: shown.as_deref(), form: None }, timeout).await
}

/// The answer of `POST path` with a form.
pub(super) async fn post(
    relay: &str,
    tls: &TlsTrust,
    path: &str,
    form: &str,
    timeout: Duration,
) -> Result<Option<Value>, Failure> {
    ask(relay, tls, &Question { path, authorization: None, form: Some(form) }, timeout).await
}

async fn ask(
    relay: &str,
    tls: &TlsTrust,
    question: &Question<'_>,
    timeout: Duration,
) -> Result<Option<Value>, Failure> {
    let dialer = Dialer::new(tls)?;
    let asked = tokio::time::timeout(timeout, dialer.ask(relay, question, ANSWER_BYTES)).await;
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
