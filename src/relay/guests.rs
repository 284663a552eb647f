//! Where clients of other libraries come in: `/yjs/{room}` for y-websocket, `/hocuspocus` for Hocuspocus providers,
//! `/automerge/{swarm}` for automerge-repo.
//!
//! A pass comes as `token` in the query, since that is all most of these clients can be told, as a bearer token in the
//! `Authorization` header, or as the first subprotocol; in Hocuspocus' frames, it comes with each document. None of these
//! is logged.
//!
//! Whatever is wrong is told on the connection itself, with a close code: a provider that is refused its upgrade learns
//! nothing, and tries for ever.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts, Path, State, ws::WebSocketUpgrade},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{SinkExt as _, StreamExt as _};

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
    wires::{Entry, Gate, GuestSession},
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

/// What a client may have brought a pass in.
struct Offered {
    query: Option<String>,
    headers: HeaderMap,
}

impl Offered {
    /// The pass, if it looks like one: anything else is as good as none where there are no passes, and a subprotocol may
    /// be the name of one.
    fn pass(&self) -> Option<&str> {
        let query = self.query.as_deref().into_iter().flat_map(|query| query.split('&'));
        let query = query.filter_map(|pair| pair.strip_prefix("token=")).next();
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = || header(header::AUTHORIZATION)?.strip_prefix("Bearer ");
        let is_token = |protocol: &&str| protocol.split('.').count() == 3;
        query.or_else(bearer).or_else(|| self.subprotocol().filter(is_token))
    }

    /// The first one offered.
    fn subprotocol(&self) -> Option<&str> {
        let offered = self.headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
        offered.split(',').next().map(str::trim)
    }
}

impl<S: Sync> FromRequestParts<S> for Offered {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { query: parts.uri.query().map(str::to_owned), headers: parts.headers.clone() })
    }
}

#[cfg(feature = "yrs")]
async fn yjs(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(room): Path<String>,
    offered: Offered,
    upgrade: WebSocketUpgrade,
) -> Response {
    serve(shared, &caller, offered, upgrade, DocumentId::new(&room).map(Entrance::Yjs))
}

#[cfg(feature = "yrs")]
async fn hocuspocus(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    offered: Offered,
    upgrade: WebSocketUpgrade,
) -> Response {
    serve(shared, &caller, offered, upgrade, Ok(Entrance::Hocuspocus))
}

#[cfg(feature = "automerge")]
async fn automerge(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    swarm: Option<Path<String>>,
    offered: Offered,
    upgrade: WebSocketUpgrade,
) -> Response {
    let swarm = swarm.map_or_else(|| UNNAMED_SWARM.to_owned(), |Path(swarm)| swarm);
    serve(shared, &caller, offered, upgrade, DocumentId::new(&swarm).map(|_| Entrance::Automerge(swarm)))
}

/// Accepts the connection; serves it, or says why not.
fn serve(
    shared: Arc<Shared>,
    caller: &Caller,
    offered: Offered,
    upgrade: WebSocketUpgrade,
    entrance: Result<Entrance, NameError>,
) -> Response {
    let counted = match connections::admit(&shared, caller.address) {
        Ok(counted) => counted,
        Err(refusal) => return refusal.into_response(),
    };
    let binding = caller.binding;
    let upgrade = sized(upgrade, &offered);
    // No more of it stays for as long as the connection lasts: headers hold on to the buffer they were read from.
    let pass = offered.pass().map(str::to_owned);
    drop(offered);
    upgrade.on_upgrade(move |socket| async move {
        let socket = ServerSocket::new(socket, binding);
        let shared = counted.shared();
        let authority = shared.hosts[0].with(|node, _| node.authority().cloned());
        let gate = Gate::new(shared.guests, authority, shared.clock.now());
        let let_in = match &entrance {
            // It is asked document by document, unless there is nobody it would let in.
            #[cfg(feature = "yrs")]
            Ok(Entrance::Hocuspocus) => gate.may_let_in().map(|()| None),
            Ok(_) => gate.admit(pass.as_deref(), shared.clock.mono()).map(Some),
            Err(_) => Ok(None),
        };
        drop(pass);
        match (let_in, entrance) {
            (_, Err(error)) => turn_away(socket, CloseCode::PROTOCOL, &format!("no room: {error}")).await,
            (Err(error), Ok(entrance)) => {
                shared.recorder.iter().for_each(|recorder| recorder.turned_away(&error.to_string()));
                let socket = said_on(socket, &entrance, &error.to_string()).await;
                turn_away(socket, CloseCode::UNAUTHENTICATED, &error.to_string()).await;
            }
            (Ok(entry), Ok(entrance)) => run(shared, socket, entrance, gate, entry).await,
        }
    })
}

/// With room for a whole update in one frame, either way. A subprotocol that is offered is agreed to, whatever it is:
/// providers put tokens there, and browsers insist on an answer.
fn sized(upgrade: WebSocketUpgrade, offered: &Offered) -> WebSocketUpgrade {
    let config = websocket_config();
    let upgrade = upgrade
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(limits::GUEST_FRAME_BYTES)
        .max_frame_size(limits::GUEST_FRAME_BYTES);
    match offered.subprotocol() {
        Some(first) => upgrade.protocols([first.to_owned()]),
        None => upgrade,
    }
}

async fn run(shared: &Shared, socket: ServerSocket, entrance: Entrance, gate: Gate, entry: Option<Entry>) {
    let now = shared.clock.mono();
    let end = entry.as_ref().and_then(|entry| gate.end(entry));
    let Some(identity) = identity(entry.as_ref().and_then(Entry::subject)) else {
        return turn_away(socket, CloseCode::INTERNAL, "no randomness").await;
    };
    let session = match entrance {
        #[cfg(feature = "yrs")]
        Entrance::Yjs(room) => GuestSession::new(Yjs::new(room), now),
        #[cfg(feature = "yrs")]
        Entrance::Hocuspocus => GuestSession::new(Hocuspocus::new(gate, now), now),
        #[cfg(feature = "automerge")]
        Entrance::Automerge(swarm) => {
            let Identity { agent, replica, .. } = &shared.identity;
            GuestSession::new(AutomergeRepo::new(format!("{agent}-{replica}"), swarm, now), now)
        }
    };
    let session = session.until(end);
    let wire = session.wire();
    let (traffic, fairness) = (shared.traffic.clone(), Some(shared.fairness.clone()));
    let counts = shared.wires[wire as usize].clone();
    let ended = run_guest(&shared.hosts, socket, session, (identity, entry), (traffic, counts), fairness).await;
    tracing::debug!(wire = wire.name(), reason = %ended.reason, "guest gone");
}

/// The name on the pass, or one that nobody else has, and a number that nobody else has, for as long as the connection
/// lasts.
fn identity(subject: Option<&AgentId>) -> Option<Identity> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).ok()?;
    let replica = ReplicaId::from_bits(u64::from_le_bytes(random));
    let agent = match subject {
        Some(subject) => subject.clone(),
        None => AgentId::new(&format!("guest-{replica}")).ok()?,
    };
    Some(Identity { agent, replica, incarnation: 0 })
}

/// Says on the wire itself why a client is turned away, where the wire has a word for it and close codes mean nothing.
async fn said_on(mut socket: ServerSocket, entrance: &Entrance, reason: &str) -> ServerSocket {
    #[cfg(feature = "automerge")]
    if let Entrance::Automerge(_) = entrance {
        // A courtesy: the client may be gone.
        let _ = tokio::time::timeout(limits::HELLO_WAIT, socket.send(AutomergeRepo::farewell(reason))).await;
    }
    let _ = (&mut socket, entrance, reason);
    socket
}

async fn turn_away(mut socket: ServerSocket, code: CloseCode, reason: &str) {
    tracing::info!(%code, reason, "guest turned away");
    socket.explain(code, reason);
    // Read to its end: a socket dropped with bytes unread is reset, and the reset overtakes what the client was told.
    let closing = async {
        if socket.close().await.is_ok() {
            while socket.next().await.is_some_and(|packet| packet.is_ok()) {}
        }
    };
    // A courtesy: the client may be gone.
    let _ = tokio::time::timeout(limits::HELLO_WAIT, closing).await;
}
