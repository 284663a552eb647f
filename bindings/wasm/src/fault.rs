//! Errors on their way to JavaScript, and waits that can be given up.

use std::fmt::Display;

use aepoch::{agent::AgentError, node::NodeError};
use js_sys::{Error, Promise, Reflect};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// An error of the module: an `Error` with a `code`.
pub(crate) fn fault(code: &str, reason: &str) -> JsValue {
    let error = Error::new(reason);
    // A fresh object takes any property.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// The same for what the agent says.
pub(crate) fn refused(error: impl Into<AgentError>) -> JsValue {
    let error = error.into();
    let code = match &error {
        AgentError::Name(_) => "Name",
        AgentError::Store(_) | AgentError::NoStore { .. } => "Store",
        AgentError::Node(NodeError::Busy { .. }) => "Busy",
        AgentError::Node(NodeError::NameTaken { .. }) | AgentError::NameTaken { .. } => "NameTaken",
        AgentError::Document(_) | AgentError::Node(NodeError::Document(_)) => "Document",
        AgentError::Node(_) => "Node",
        AgentError::NoAnswer { .. } => "NoAnswer",
        AgentError::Transport(_) => "Transport",
        AgentError::Encode { .. } => "Encode",
        AgentError::TooManyAgents { .. } => "TooManyAgents",
        AgentError::Unknown { .. } => "Unknown",
        AgentError::WrongPhase { .. } => "WrongPhase",
        AgentError::NoOption { .. } => "NoOption",
        AgentError::Forbidden { .. } => "Forbidden",
        AgentError::Credential(_) => "Credential",
        AgentError::OthersCredential { .. } => "OthersCredential",
        AgentError::Closed => "Closed",
        _ => "Internal",
    };
    fault(code, &error.to_string())
}

/// A bad argument.
pub(crate) fn argument(error: impl Display) -> JsValue {
    fault("Encode", &error.to_string())
}

/// JSON text of a value.
pub(crate) fn to_json(value: &(impl Serialize + ?Sized)) -> Result<String, JsValue> {
    serde_json::to_string(value).map_err(argument)
}

/// A value from JSON text.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, JsValue> {
    serde_json::from_str(text).map_err(argument)
}

/// Waits for `wait`, or until `abort` is settled; giving up undoes nothing else.
pub(crate) async fn unless<T>(
    abort: Option<Promise>,
    wait: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, JsValue> {
    let Some(abort) = abort else { return wait.await.map_err(refused) };
    let mut wait = std::pin::pin!(wait);
    let mut abort = JsFuture::from(abort);
    std::future::poll_fn(|cx| {
        use std::{pin::Pin, task::Poll};
        if let Poll::Ready(done) = wait.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(refused));
        }
        match Pin::new(&mut abort).poll(cx) {
            Poll::Ready(_) => Poll::Ready(Err(fault("Aborted", "the wait was given up"))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
