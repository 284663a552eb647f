//! What a relay serves over HTTP: the WebSocket at `/v1/sync`, health, metrics, documents as JSON.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, State, ws::WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt as _,
};
use serde_json::json;
use tokio::sync::Notify;

use super::{Shared, metrics, patience::Patient, rest, socket::ServerSocket};
use crate::{
    driver::run_link,
    id::DocumentId,
    transport::{SUBPROTOCOL, set_prompt, websocket_config},
};

pub(super) async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>, stopping: Arc<Notify>) {
    let listener = listener.tap_io(|stream| set_prompt(stream));
    let router = Router::new()
        .route("/v1/sync", get(sync))
        .route("/health", get(health))
        .route("/metrics", get(scrape))
        .route("/v1/documents", get(documents))
        .route("/v1/documents/{*id}", get(document))
        .route("/v1/coordination/{*id}", get(coordination))
        .fallback(nothing_here)
        .with_state(shared);
    let served =
        axum::serve(Patient(listener), router).with_graceful_shutdown(async move { stopping.notified().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the listener failed");
    }
}

/// The error a client gets as JSON.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

async fn nothing_here() -> Refusal {
    let known = "/v1/sync, /v1/documents, /v1/documents/{id}, /v1/coordination/{id}, /health, /metrics";
    Refusal(StatusCode::NOT_FOUND, format!("nothing here; there is {known}"))
}

async fn sync(State(shared): State<Arc<Shared>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if shared.stopping.load(Ordering::Relaxed) {
        return Refusal(StatusCode::SERVICE_UNAVAILABLE, "the relay is shutting down".to_owned()).into_response();
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        // Browsers send it; until origins can be allowed, a page must not reach a relay on the user's machine.
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        return Refusal(StatusCode::FORBIDDEN, format!("origin {origin} is not allowed")).into_response();
    }
    let open = shared.connections.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(shared.clone());
    if open >= shared.connections_max as u64 {
        let reason = format!("{open} connections are open, limit {}", shared.connections_max);
        return Refusal(StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
    }
    let config = websocket_config();
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(config.max_write_buffer_size)
        .max_message_size(config.max_message_size.unwrap_or(usize::MAX))
        .max_frame_size(config.max_frame_size.unwrap_or(usize::MAX))
        .on_upgrade(move |socket| async move {
            let shared = &counted.0;
            let traffic = shared.traffic.clone();
            let ended = run_link(&shared.hosts, ServerSocket::new(socket), None, traffic).await;
            tracing::debug!(reason = %ended.reason, "connection ended");
        })
}

/// One open connection.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let audit = shared.audit.as_ref().and_then(|audit| audit.failing());
    let audit = audit.map(|reason| format!("the audit log cannot be written, coordination is refused: {reason}"));
    let failing = shared.hosts.iter().find_map(|host| host.with(|node, _| node.store_error())).or(audit);
    let stopping = shared.stopping.load(Ordering::Relaxed);
    let status = if failing.is_some() || stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "status": if stopping { "stopping" } else if failing.is_some() { "failing" } else { "ok" },
        "reason": failing,
        "relay": shared.identity.agent,
        "version": env!("CARGO_PKG_VERSION"),
        "connections": shared.connections.load(Ordering::Relaxed),
        "uptime_seconds": shared.clock.mono().0 / 1_000_000,
    });
    (status, Json(body)).into_response()
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::encode(&shared) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn documents(State(shared): State<Arc<Shared>>) -> Response {
    match rest::list(&shared).await {
        Ok(list) => Json(list).into_response(),
        Err(error) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// The barriers and their kin of a document that agents are connected to.
async fn coordination(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let id = match DocumentId::new(&id) {
        Ok(id) => id,
        Err(error) => return Refusal(StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match rest::explain(&shared, &id) {
        Some(Ok(statuses)) => Json(statuses).into_response(),
        Some(Err(error)) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        None => Refusal(StatusCode::NOT_FOUND, format!("nobody is in document `{id}` now")).into_response(),
    }
}

async fn document(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let id = match DocumentId::new(&id) {
        Ok(id) => id,
        Err(error) => return Refusal(StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match rest::show(&shared, &id).await {
        Ok(Some(shown)) => Json(shown).into_response(),
        Ok(None) => Refusal(StatusCode::NOT_FOUND, format!("no document `{id}`")).into_response(),
        Err(error) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
