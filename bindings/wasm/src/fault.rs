//! Errors on their way to JavaScript, and waits that can be given up.

use std::{fmt::Display, pin::Pin, task::Poll};

use aepoch::{agent::AgentError, node::NodeError};
use js_sys::{Error, Promise, Reflect};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

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

/// What JavaScript waits for. Boxed: all of them share one piece of code, and a handle can be freed meanwhile.
pub(crate) fn promise<T: IntoAnswer>(work: impl Future<Output = Result<T, JsValue>> + 'static) -> Promise {
    let work: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>> =
        Box::pin(async move { work.await.map(T::into_answer) });
    future_to_promise(work)
}

/// What a promise can be kept with.
pub(crate) trait IntoAnswer {
    fn into_answer(self) -> JsValue;
}

impl IntoAnswer for () {
    fn into_answer(self) -> JsValue {
        JsValue::UNDEFINED
    }
}

impl<T: IntoAnswer> IntoAnswer for Option<T> {
    fn into_answer(self) -> JsValue {
        self.map_or(JsValue::UNDEFINED, T::into_answer)
    }
}

macro_rules! answers {
    ($($kind:ty),*) => {
        $(impl IntoAnswer for $kind {
            fn into_answer(self) -> JsValue {
                self.into()
            }
        })*
    };
}

answers!(
    bool,
    f64,
    String,
    crate::agent::RawAgent,
    crate::document::Document,
    crate::coordination::RawBarrier,
    crate::coordination::RawEpoch,
    crate::coordination::RawPoll,
    crate::coordination::RawDecision,
    crate::queue::RawQueue,
    crate::queue::RawClaim
);

/// Waits for `wait`, or until `abort` is settled; giving up undoes nothing else.
pub(crate) async fn unless<T>(
    abort: Option<Promise>,
    wait: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, JsValue> {
    let Some(abort) = abort else { return wait.await.map_err(refused) };
    let mut wait = std::pin::pin!(wait);
    let mut abort = JsFuture::from(abort);
    std::future::poll_fn(|cx| {
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
