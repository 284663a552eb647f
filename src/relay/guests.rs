//! Where clients of other libraries come in: `/yjs/{room}` for y-websocket, `/hocuspocus` for Hocuspocus providers,
//! `/automerge/{swarm}` for automerge-repo.
//!
//! Whatever is wrong is told on the connection itself, with a close code: a provider that is refused its upgrade learns
//! nothing, and tries for ever.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Path, State, ws::WebSocketUpgrade},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::SinkExt as _;

use super::{Shared, connections, socket::ServerSocket, tls::Caller};
#[cfg(feature = "automerge")]
use crate::wires::AutomergeRepo;
#[cfg(feature = "yrs")]
use crate::wires::{Hocuspocus, Yjs};
use crate::{
    driver::run_guest,
    error::CloseCode,
    id::{AgentId, DocumentId, Identity, NameError, ReplicaId},
    limits,
    transport::{Transport as _, websocket_config},
    wires::{GuestRights, GuestSession},
};

/// The swarm of automerge-repo's documents where the address names none.
#[cfg(feature = "automerge")]
const UNNAMED_SWARM: &str = "automerge";

pub(super) fn routes() -> Router<Arc<Shared>> {
    let router = Router::new();
    #[cfg(feature = "yrs")]
    let router = router.route("/yjs/{*room}", get(yjs)).route("/hocuspocus", get(hocuspocus));
    #[cfg(feature = "automerge")]
    let router = router.route("/automerge", get(automerge)).route("/automerge/{*swarm}", get(automerge));
    router
}

/// Where a client came in.
enum Entrance {
    /// The address names the room.
    #[cfg(feature = "yrs")]
    Yjs(DocumentId),
    /// Rooms are named in the frames.
    #[cfg(feature = "yrs")]
    Hocuspocus,
    /// So they are, and the address names the swarm.
    #[cfg(feature = "automerge")]
    Automerge(String),
}

/// A query is not looked at, and not logged: providers put tokens there.
#[cfg(feature = "yrs")]
async fn yjs(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(room): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    serve(shared, &caller, &headers, upgrade, DocumentId::new(&room).map(Entrance::Yjs))
}

#[cfg(feature = "yrs")]
async fn hocuspocus(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    serve(shared, &caller, &headers, upgrade, Ok(Entrance::Hocuspocus))
}

#[cfg(feature = "automerge")]
async fn automerge(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    swarm: Option<Path<String>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let swarm = swarm.map_or_else(|| UNNAMED_SWARM.to_owned(), |Path(swarm)| swarm);
    serve(shared, &caller, &headers, upgrade, DocumentId::new(&swarm).map(|_| Entrance::Automerge(swarm)))
}

/// Accepts the connection; serves it, or says why not.
fn serve(
    shared: Arc<Shared>,
    caller: &Caller,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    entrance: Result<Entrance, NameError>,
) -> Response {
    let counted = match connections::admit(&shared, caller.address) {
        Ok(counted) => counted,
        Err(refusal) => return refusal.into_response(),
    };
    let binding = caller.binding;
    sized(upgrade, headers).on_upgrade(move |socket| async move {
        let socket = ServerSocket::new(socket, binding);
        let shared = counted.shared();
        match (shared.guests, entrance) {
            (None, entrance) => {
                let reason = "this relay takes no guests: it was not started with --guests read or write";
                let socket = said_on(socket, &entrance, reason).await;
                turn_away(socket, CloseCode::UNAUTHENTICATED, reason).await;
            }
            (_, Err(error)) => turn_away(socket, CloseCode::PROTOCOL, &format!("no room: {error}")).await,
            (Some(rights), Ok(entrance)) => run(shared, socket, entrance, rights).await,
        }
    })
}

/// With room for a whole update in one frame, either way. A subprotocol that is offered is agreed to, whatever it is:
/// providers put tokens there, and browsers insist on an answer.
fn sized(upgrade: WebSocketUpgrade, headers: &HeaderMap) -> WebSocketUpgrade {
    let config = websocket_config();
    let upgrade = upgrade
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(limits::GUEST_FRAME_BYTES)
        .max_frame_size(limits::GUEST_FRAME_BYTES);
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    match offered.and_then(|offered| offered.split(',').next()) {
        Some(first) => upgrade.protocols([first.trim().to_owned()]),
        None => upgrade,
    }
}

async fn run(shared: &Shared, socket: ServerSocket, entrance: Entrance, rights: GuestRights) {
    let now = shared.clock.mono();
    let Some(identity) = identity() else { return turn_away(socket, CloseCode::INTERNAL, "no randomness").await };
    let session = match entrance {
        #[cfg(feature = "yrs")]
        Entrance::Yjs(room) => GuestSession::new(Yjs::new(room), now),
        #[cfg(feature = "yrs")]
        Entrance::Hocuspocus => GuestSession::new(Hocuspocus::new(rights, now), now),
        #[cfg(feature = "automerge")]
        Entrance::Automerge(swarm) => {
            let Identity { agent, replica, .. } = &shared.identity;
            GuestSession::new(AutomergeRepo::new(format!("{agent}-{replica}"), swarm, now), now)
        }
    };
    let wire = session.wire();
    let (traffic, fairness) = (shared.traffic.clone(), Some(shared.fairness.clone()));
    let counts = shared.wires[wire as usize].clone();
    let ended = run_guest(&shared.hosts, socket, session, (identity, rights), (traffic, counts), fairness).await;
    tracing::debug!(wire = wire.name(), reason = %ended.reason, "guest gone");
}

/// A name and a number nobody else has, for as long as the connection lasts.
fn identity() -> Option<Identity> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).ok()?;
    let replica = ReplicaId::from_bits(u64::from_le_bytes(random));
    let agent = AgentId::new(&format!("guest-{replica}")).ok()?;
    Some(Identity { agent, replica, incarnation: 0 })
}

/// Says on the wire itself why a client is turned away, where the wire has a word for it and close codes mean nothing.
async fn said_on(mut socket: ServerSocket, entrance: &Result<Entrance, NameError>, reason: &str) -> ServerSocket {
    #[cfg(feature = "automerge")]
    if let Ok(Entrance::Automerge(_)) = entrance {
        // A courtesy: the client may be gone.
        let _ = tokio::time::timeout(limits::HELLO_WAIT, socket.send(AutomergeRepo::farewell(reason))).await;
    }
    let _ = (&mut socket, entrance, reason);
    socket
}

async fn turn_away(mut socket: ServerSocket, code: CloseCode, reason: &str) {
    tracing::info!(%code, reason, "guest turned away");
    socket.explain(code, reason);
    // A courtesy: the client may be gone.
    let _ = tokio::time::timeout(limits::HELLO_WAIT, socket.close()).await;
}
