//! What a relay serves over HTTP: the WebSocket at `/v1/sync`, health, metrics, documents as JSON, and the dashboard.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, FromRequestParts, Path, Query, State, rejection::QueryRejection, ws::WebSocketUpgrade},
    http::{StatusCode, Uri, header, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use rustls::ServerConfig;
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify};

#[cfg(any(feature = "automerge", feature = "yrs"))]
use super::guests;
use super::{
    Shared,
    callers::{self, Called, Callers},
    connections, dashboard,
    exchange::{self, Exchange},
    metrics,
    patience::Patient,
    rest,
    socket::ServerSocket,
    tls::{Caller, PlainListener, TlsListener},
};
use crate::{
    driver::{run_link, wall_ms},
    id::DocumentId,
    sync::Channel,
    transport::{SUBPROTOCOL, websocket_config},
    trust::{credential::Admission, pattern::Right, request::Request},
};

/// Serves until told to stop; with TLS when there is a configuration of it.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<ServerConfig>,
    shared: Arc<Shared>,
    exchange: Option<Arc<Exchange>>,
    callers: Arc<Callers>,
    stopping: Arc<Notify>,
) {
    let router = Router::new()
        .route("/v1/sync", get(sync))
        .route("/health", get(health))
        .route("/metrics", get(scrape))
        .route("/v1/documents", get(documents))
        .route("/v1/documents/{*id}", get(document))
        .route("/v1/history/{*id}", get(history))
        .route("/v1/coordination/{*id}", get(coordination))
        .fallback(nothing_here);
    #[cfg(any(feature = "automerge", feature = "yrs"))]
    let router = router.merge(guests::routes());
    let router = router
        .with_state(shared)
        .merge(dashboard::routes())
        .merge(exchange.map(exchange::routes).unwrap_or_default())
        .layer(middleware::from_fn_with_state(callers, callers::check))
        .into_make_service_with_connect_info::<Caller>();
    let stop = async move { stopping.notified().await };
    let listener = PlainListener(listener);
    let served = match tls {
        None => axum::serve(Patient(listener), router).with_graceful_shutdown(stop).await,
        Some(tls) => {
            let listener = Patient(TlsListener::new(listener, tls));
            axum::serve(listener, router).with_graceful_shutdown(stop).await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "the listener failed");
    }
}

/// The error a client gets as JSON.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

async fn nothing_here() -> Refusal {
    let known = "/, /v1/sync, /yjs/{room}, /hocuspocus, /automerge/{swarm}, /v1/documents, /v1/documents/{id}, /v1/history/{id}, \
        /v1/coordination/{id}, /health, /metrics";
    Refusal(StatusCode::NOT_FOUND, format!("nothing here; there is {known}"))
}

async fn sync(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Extension(called): Extension<Called>,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    if uri.query().is_some() {
        // Not repeated, here or in a log: it may be a credential.
        let reason = "/v1/sync takes no query: a credential is shown in the first message, never in an address";
        return Refusal(StatusCode::BAD_REQUEST, reason.to_owned()).into_response();
    }
    let counted = match connections::admit(&shared, caller.address) {
        Ok(counted) => counted,
        Err(refusal) => return refusal.into_response(),
    };
    let channel = Channel { audience: called.0, binding: caller.binding };
    let config = websocket_config();
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(config.max_write_buffer_size)
        .max_message_size(config.max_message_size.unwrap_or(usize::MAX))
        .max_frame_size(config.max_frame_size.unwrap_or(usize::MAX))
        .on_upgrade(move |socket| async move {
            let shared = counted.shared();
            let (traffic, fairness) = (shared.traffic.clone(), Some(shared.fairness.clone()));
            let socket = ServerSocket::new(socket, caller.binding);
            let ended = run_link(&shared.hosts, socket, None, channel, traffic, fairness).await;
            if ended.is_not_let_in() {
                tracing::info!(reason = %ended.reason, "not let in");
                shared.recorder.iter().for_each(|recorder| recorder.turned_away(&ended.reason));
            }
            tracing::debug!(reason = %ended.reason, "connection ended");
        })
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
        "connections": shared.connections.count(),
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

/// Who asks, when the relay asks for credentials; everybody may read otherwise.
struct Reader(Option<Admission>);

impl FromRequestParts<Arc<Shared>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let Some(authority) = shared.hosts[0].with(|node, _| node.authority().cloned()) else { return Ok(Self(None)) };
        let unauthorized = |reason: String| Refusal(StatusCode::UNAUTHORIZED, reason);
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
        let shown = shown.ok_or_else(|| unauthorized("this relay asks for a credential".to_owned()))?;
        // Checked before anything is routed; an empty name is nobody's audience.
        let called = parts.extensions.get::<Called>().map_or("", |called| &called.0);
        let request = Request { method: "GET", path: parts.uri.path(), audience: called };
        let admitted = request.admit(shown, &authority, wall_ms() / 1_000);
        admitted.map(|admission| Self(Some(admission))).map_err(|error| unauthorized(error.to_string()))
    }
}

/// # Errors
/// 403 unless the reader may read the document.
fn may_read(reader: Option<&Admission>, id: &DocumentId) -> Result<(), Refusal> {
    match reader {
        Some(reader) if !reader.allows(id, Right::Read) => {
            let reason = format!("`{}` has no right to read `{id}`", reader.agent);
            Err(Refusal(StatusCode::FORBIDDEN, reason))
        }
        _ => Ok(()),
    }
}

/// The document a path names, for whoever may read it.
struct Named(DocumentId);

impl FromRequestParts<Arc<Shared>> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let Reader(reader) = Reader::from_request_parts(parts, shared).await?;
        let refuse = |reason: String| Refusal(StatusCode::BAD_REQUEST, reason);
        let Path(id) =
            Path::<String>::from_request_parts(parts, shared).await.map_err(|error| refuse(error.to_string()))?;
        let id = DocumentId::new(&id).map_err(|error| refuse(error.to_string()))?;
        may_read(reader.as_ref(), &id).map(|()| Self(id))
    }
}

async fn documents(State(shared): State<Arc<Shared>>, Reader(reader): Reader) -> Response {
    match rest::list(&shared).await {
        Ok(mut list) => {
            list.retain(|listed| may_read(reader.as_ref(), listed.document()).is_ok());
            Json(list).into_response()
        }
        Err(error) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// The barriers and their kin of a document that agents are connected to.
async fn coordination(State(shared): State<Arc<Shared>>, Named(id): Named) -> Response {
    match rest::explain(&shared, &id) {
        Some(Ok(statuses)) => Json(statuses).into_response(),
        Some(Err(error)) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        None => Refusal(StatusCode::NOT_FOUND, format!("nobody is in document `{id}` now")).into_response(),
    }
}

async fn document(State(shared): State<Arc<Shared>>, Named(id): Named) -> Response {
    match rest::show(&shared, &id).await {
        Ok(Some(shown)) => Json(shown).into_response(),
        Ok(None) => Refusal(StatusCode::NOT_FOUND, format!("no document `{id}`")).into_response(),
        Err(error) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// The changes of a document's content, or what the content was after one of them.
async fn history(
    State(shared): State<Arc<Shared>>,
    Named(id): Named,
    wanted: Result<Query<rest::Wanted>, QueryRejection>,
) -> Response {
    let Query(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Refusal(StatusCode::BAD_REQUEST, error.body_text()).into_response(),
    };
    match rest::past(&shared, &id, wanted).await {
        Ok(Some(Ok(past))) => Json(past).into_response(),
        Ok(Some(Err(error))) => Refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
        Ok(None) => Refusal(StatusCode::NOT_FOUND, format!("no document `{id}`")).into_response(),
        Err(error) => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
