//! Agents: the public, asynchronous face of the library. Layer 6.
//!
//! An [`Agent`] is one node under tokio, or in a browser. Its documents are replicas in this process: reads and writes are
//! local, and travel when there is a connection. It needs no server; with a relay or with peers it converges with them.

mod builder;
pub mod coordination;
mod document;
mod error;
mod events;
mod status;
mod surroundings;

#[cfg(not(target_family = "wasm"))]
use std::net::SocketAddr;
use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Notify, broadcast};

pub use builder::AgentBuilder;
use builder::Keeping;
pub use document::{AgentDocument, DocumentRef, Observation};
pub use error::AgentError;
use events::Patches;
pub use events::{Events, Missed};
pub use status::{AgentStatus, RelayStatus};
use surroundings::Surroundings;
#[cfg(not(target_family = "wasm"))]
use surroundings::channel_of;

use crate::{
    document::{Access as _, AgentState, Document, Member, Subscription},
    driver::{Clock, Errands, Host, Keeper, Traffic, run_link, spawn, timeout},
    engine::EngineKind,
    id::{AgentId, DocumentId, Identity},
    node::{Event, Node, NodeError, TargetId},
    store::Answers,
    sync::{Address, Channel, Lane},
    time::Moment,
    transport::{Dialer, Transport},
    trust::{authority::Authority, credential::Admission, pattern::Right},
};
#[cfg(not(target_family = "wasm"))]
use crate::{
    store::{Store, StoreError, StoreThread, WriterConfig},
    transport::TransportError,
};

/// The document of a swarm that holds its members and their states.
const SWARM_DOCUMENT: &str = "_swarm";

struct Inner {
    identity: Identity,
    swarm: String,
    swarm_document: DocumentId,
    engine: EngineKind,
    relays: Vec<String>,
    host: Arc<Host>,
    /// The thread of its store, when that is on a disk.
    #[cfg(not(target_family = "wasm"))]
    store: Option<Arc<StoreThread>>,
    events: broadcast::Sender<Arc<Event>>,
    progress: Arc<Notify>,
    last_ack: Arc<Mutex<Option<u64>>>,
    traffic: Arc<Traffic>,
    watchers: Mutex<BTreeMap<DocumentId, u32>>,
}

/// One member of a swarm. Cheap to clone; the last clone (and document) to go closes it.
///
/// ```no_run
/// # async fn example() -> Result<(), aepoch::agent::AgentError> {
/// use aepoch::Agent;
/// let agent = Agent::builder("planner-1").swarm("band").connect("ws://127.0.0.1:4433").open().await?;
/// let stage = agent.document("stage").await?;
/// stage.register("setlist").set(&["intro", "outro"])?;
/// stage.counter("takes").add(1)?;
/// stage.flush().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

impl Agent {
    /// Begins the setup of an agent; see [`AgentBuilder`].
    pub fn builder(name: &str) -> AgentBuilder {
        AgentBuilder::new(name)
    }

    async fn start(
        builder: AgentBuilder,
        dialer: Dialer,
        identity: Identity,
        node: Node,
        clock: Clock,
        keeping: Keeping,
    ) -> Result<Self, AgentError> {
        let (events, _) = broadcast::channel(events::EVENTS_KEPT);
        let (progress, last_ack, traffic) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)), Arc::default());
        let host_slot: Arc<std::sync::OnceLock<std::sync::Weak<Host>>> = Arc::default();
        let (answered, kept) = (host_slot.clone(), progress.clone());
        let done = move |answers: Answers| {
            if let Some(host) = answered.get().and_then(std::sync::Weak::upgrade) {
                for (id, result) in answers {
                    host.stored(id, result);
                }
            }
            // Where a relay was named there is no event of it.
            kept.notify_waiters();
        };
        #[cfg(not(target_family = "wasm"))]
        let mut store = None;
        let keeper = match keeping {
            Keeping::Here(store) => Keeper::Here(store),
            #[cfg(not(target_family = "wasm"))]
            Keeping::OnThread(kept) => Keeper::Later(store.insert(Arc::new(on_thread(kept, done)?)).clone()),
            Keeping::Later(store) => {
                let (errands, given) = Errands::new();
                spawn(Errands::run(given, store, done));
                Keeper::Later(Arc::new(errands))
            }
        };
        let outside = Surroundings {
            relays: builder.relays.clone(),
            dialer,
            events: events.clone(),
            progress: progress.clone(),
            last_ack: last_ack.clone(),
            traffic: Arc::clone(&traffic),
        };
        let swarm_document = DocumentId::new(&format!("{}/{SWARM_DOCUMENT}", builder.swarm))?;
        let host = Host::start(node, keeper, 0, Box::new(outside), clock);
        // The slot is ours and empty: setting it cannot fail.
        let _ = host_slot.set(Arc::downgrade(&host));
        let agent = Self {
            inner: Arc::new(Inner {
                identity,
                swarm: builder.swarm,
                swarm_document,
                engine: builder.engine,
                relays: builder.relays,
                host,
                #[cfg(not(target_family = "wasm"))]
                store,
                events,
                progress,
                last_ack,
                traffic,
                watchers: Mutex::default(),
            }),
        };
        agent.enter_swarm(builder.onlooker).await?;
        agent.inner.host.with(|node, now| {
            for target in 0..agent.inner.relays.len() {
                node.add_target(TargetId(u32::try_from(target).unwrap_or(u32::MAX)), now);
            }
        });
        Ok(agent)
    }

    /// Opens the swarm's document for good and enters this agent among the members, unless it only looks on.
    async fn enter_swarm(&self, onlooker: bool) -> Result<(), AgentError> {
        let id = &self.inner.swarm_document;
        self.open_id(id.clone(), EngineKind::Yrs, Subscription::default()).await?;
        // The application's handles come and go; this one stays as long as the agent.
        self.inner.host.with(|node, now| node.open(id, EngineKind::Yrs, Subscription::default(), now))?;
        // Whoever sets something up waits for members to become known.
        self.inner.host.with(|node, _| node.watch(id, true));
        *self.inner.watchers.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_insert(0) += 1;
        let is_seen = |document: &Document| document.confines().is_none_or(|own| own.allows(Right::Presence));
        if onlooker || !self.inner.host.with(|node, _| node.read(id, is_seen))? {
            return Ok(());
        }
        let member = Member {
            agent: self.name().clone(),
            incarnation: self.inner.identity.incarnation,
            role: "agent".to_owned(),
            joined_ms: crate::driver::wall_ms(),
            addresses: Vec::new(),
        };
        DocumentRef::new(&self.inner.host, id.clone()).write(|tx| tx.enter(&member))
    }

    /// The agent's name.
    pub fn name(&self) -> &AgentId {
        &self.inner.identity.agent
    }

    /// Who this agent is: its name, its writer id, its incarnation.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Opens a document of the swarm, from the store or empty. What peers have of it arrives by itself.
    ///
    /// # Errors
    /// `Name`, `Node` (kept with another engine, unreadable), `Closed`.
    pub async fn document(&self, name: &str) -> Result<AgentDocument, AgentError> {
        self.open_document(name, self.inner.engine, Subscription::default()).await
    }

    /// Opens a document with an engine of choice. All replicas of a document use the same engine.
    ///
    /// # Errors
    /// As [`Agent::document`].
    pub async fn document_with(&self, name: &str, engine: EngineKind) -> Result<AgentDocument, AgentError> {
        self.open_document(name, engine, Subscription::default()).await
    }

    /// Opens a document of which this replica wants only the records under some paths (`register/jobs`,
    /// `agent/planner-1`), and all content. Such a replica vouches for its own writes only.
    ///
    /// # Errors
    /// As [`Agent::document`].
    pub async fn document_part(&self, name: &str, prefixes: &[&str]) -> Result<AgentDocument, AgentError> {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        self.open_document(name, self.inner.engine, Subscription { prefixes }).await
    }

    async fn open_document(
        &self,
        name: &str,
        engine: EngineKind,
        subscription: Subscription,
    ) -> Result<AgentDocument, AgentError> {
        let id = DocumentId::new(&format!("{}/{name}", self.inner.swarm))?;
        self.open_id(id, engine, subscription).await
    }

    async fn open_id(
        &self,
        id: DocumentId,
        engine: EngineKind,
        subscription: Subscription,
    ) -> Result<AgentDocument, AgentError> {
        let host = &self.inner.host;
        if host.is_stopped() {
            return Err(AgentError::Closed);
        }
        host.with(|node, now| node.open(&id, engine, subscription, now))?;
        // From here on the handle counts: dropping it, or this future, closes the document again.
        let document = AgentDocument::new(self.clone(), id.clone());
        loop {
            let progress = self.inner.progress.notified();
            let mut progress = pin!(progress);
            progress.as_mut().enable();
            match host.with(|node, _| node.read(&id, |document| document.engine_kind())) {
                Ok(held) if held == engine => return Ok(document),
                Ok(held) => return Err(NodeError::EngineMismatch { document: id, held, asked: engine }.into()),
                Err(NodeError::Busy { .. }) => progress.await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// This agent's own state (status, position, progress): registers only it writes, seen by the whole swarm.
    pub fn state(&self) -> AgentState<DocumentRef> {
        let document = DocumentRef::new(&self.inner.host, self.inner.swarm_document.clone());
        AgentState::new(document, self.name().clone())
    }

    /// The swarm's own document: members, and every agent's state.
    ///
    /// # Errors
    /// As [`Agent::document`].
    pub async fn swarm(&self) -> Result<AgentDocument, AgentError> {
        self.open_id(self.inner.swarm_document.clone(), EngineKind::Yrs, Subscription::default()).await
    }

    /// Sends a message to one agent, to those in a document, or to all. At most once, to those connected now; what
    /// must arrive belongs into a document.
    ///
    /// # Errors
    /// `Node` when the message is over [`limits::APP_MESSAGE_BYTES`](crate::limits::APP_MESSAGE_BYTES).
    pub fn send(&self, to: Address, lane: Lane, body: impl Into<Bytes>) -> Result<(), AgentError> {
        let body = body.into();
        Ok(self.inner.host.with(|node, _| node.send_message(to, lane, body))?)
    }

    /// The address of all who have opened a document of this swarm.
    ///
    /// # Errors
    /// `Name`.
    pub fn address_of(&self, document: &str) -> Result<Address, AgentError> {
        Ok(Address::Document(DocumentId::new(&format!("{}/{document}", self.inner.swarm))?))
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events::new(self.inner.events.subscribe())
    }

    /// How things stand: online, what is not yet durable and why.
    pub fn status(&self) -> AgentStatus {
        status::status_of(&self.inner)
    }

    /// Waits until all local writes of all documents are durable: at a relay when one was named, else in the store.
    /// Waits as long as that takes; bound it with `tokio::time::timeout` and see [`Agent::status`] for the reason.
    ///
    /// # Errors
    /// `Closed`, `Forbidden`.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn flush(&self) -> Result<(), AgentError> {
        let flushed = self.wait_for(|node, _| {
            let mut behind = node.documents().map(|status| status.document).filter(|id| !node.is_synced(id)).peekable();
            if behind.peek().is_none() {
                return Some(Ok(()));
            }
            let refused = behind.find_map(|document| Some((node.forbidden(&document)?, document)));
            refused.map(|(reason, document)| Err(AgentError::Forbidden { document, reason }))
        });
        flushed.await?
    }

    /// Waits until `act` gives something, trying again whenever something has happened.
    async fn wait_for<R>(&self, mut act: impl FnMut(&mut Node, Moment) -> Option<R>) -> Result<R, AgentError> {
        loop {
            let progress = self.inner.progress.notified();
            let mut progress = pin!(progress);
            progress.as_mut().enable();
            if let Some(result) = self.inner.host.with(&mut act) {
                return Ok(result);
            }
            if self.inner.host.is_stopped() {
                return Err(AgentError::Closed);
            }
            progress.await;
        }
    }

    /// Accepts connections of other agents at `address` (port 0: any free one); returns the address in use.
    ///
    /// # Errors
    /// `Transport` when the address cannot be used.
    #[cfg(not(target_family = "wasm"))]
    pub async fn listen(&self, address: &str) -> Result<SocketAddr, AgentError> {
        let refuse =
            |error: std::io::Error| TransportError::Address { address: address.to_owned(), reason: error.to_string() };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(refuse)?;
        let bound = listener.local_addr().map_err(refuse)?;
        let (host, traffic) = (Arc::downgrade(&self.inner.host), self.inner.traffic.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(host) = host.upgrade().filter(|host| !host.is_stopped()) else { return };
                let traffic = traffic.clone();
                tokio::spawn(async move {
                    let accepted = crate::transport::accept_websocket(stream);
                    match tokio::time::timeout(crate::limits::HELLO_WAIT, accepted).await {
                        Ok(Ok(transport)) => {
                            let channel = channel_of(&transport);
                            run_link(&[host], transport, None, channel, traffic, None).await;
                        }
                        Ok(Err(error)) => tracing::debug!(%error, "a connection was not accepted"),
                        Err(_) => tracing::debug!("a connection took too long over its handshake"),
                    }
                });
            }
        });
        Ok(bound)
    }

    /// Runs a connection over any transport, for example one end of [`crate::transport::memory_pair`].
    pub fn attach(&self, transport: impl Transport) {
        let (host, traffic) = (self.inner.host.clone(), self.inner.traffic.clone());
        spawn(async move {
            run_link(&[host], transport, None, Channel::default(), traffic, None).await;
        });
    }

    /// Ends every connection at once, as a lost network would; connections to relays are dialled again.
    pub fn disconnect(&self) {
        self.inner.host.close_links("disconnected by the application");
    }

    /// Takes the agent off the network (`false`) or back on: work goes on locally meanwhile.
    pub fn set_online(&self, online: bool) {
        self.inner.host.with(|node, now| {
            for target in 0..self.inner.relays.len() {
                let target = TargetId(u32::try_from(target).unwrap_or(u32::MAX));
                if online {
                    node.add_target(target, now);
                } else {
                    node.pause_target(target);
                }
            }
        });
        if !online {
            self.inner.host.close_links("taken offline by the application");
        }
    }

    /// Shows a newer credential of the same agent and key, at every connection and from now on; dials again where the
    /// older one had been turned away. [`Event::RenewalAsked`] says when it is time, a minute before the older one ends.
    ///
    /// # Errors
    /// `Credential`, `OthersCredential`: the older one stays.
    pub fn renew(&self, presented: &str) -> Result<(), AgentError> {
        let (claimed, agent) = (Admission::claimed(presented)?.agent, self.name().clone());
        if claimed != agent {
            return Err(AgentError::OthersCredential { claimed, agent });
        }
        self.inner.host.with(|node, now| {
            node.renew_credential(presented, now)?;
            node.retry_targets(now);
            Ok(())
        })
    }

    /// Judges agents that dial this one by a newer policy, also those who are connected.
    pub fn set_policy(&self, authority: Authority) {
        self.inner.host.with(|node, now| node.set_authority(authority, now));
    }

    /// Says goodbye, lets what is queued leave, and makes everything durable in the store.
    ///
    /// # Errors
    /// None today; kept for stores that can refuse to close.
    pub async fn close(&self) -> Result<(), AgentError> {
        self.inner.host.stop();
        self.inner.host.with(|node, now| node.shut_down("closed", Duration::ZERO, now));
        self.wait_settled().await;
        self.inner.host.close_links("closed");
        #[cfg(not(target_family = "wasm"))]
        if let Some(store) = self.inner.store.clone() {
            let closing = crate::driver::spawn_blocking(move || store.close());
            closing.await.map_err(|error| AgentError::Internal { reason: error.to_string() })?;
        }
        self.inner.progress.notify_waiters();
        Ok(())
    }

    /// Waits until all that is here is durable in the store: nothing to wait for in one in memory. Connections play no
    /// part in it, see [`Agent::flush`] for that. While the store fails this waits; [`Event::StoreFailed`] says why.
    ///
    /// # Errors
    /// `Closed`, while something is not durable yet.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn persisted(&self) -> Result<(), AgentError> {
        self.wait_for(|node, _| node.is_settled().then_some(())).await
    }

    async fn wait_settled(&self) {
        loop {
            let progress = timeout(Duration::from_millis(20), self.inner.progress.notified());
            if self.inner.host.with(|node, _| node.is_settled()) {
                return;
            }
            let _ = progress.await;
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.host.stop();
        self.host.close_links("the agent was dropped");
    }
}

/// Starts the thread of a store. What an agent writes leaves only once it is durable here, so its commits wait for
/// nobody, and little between two of them.
#[cfg(not(target_family = "wasm"))]
fn on_thread(store: Box<dyn Store>, done: impl FnMut(Answers) + Send + 'static) -> Result<StoreThread, StoreError> {
    let config = WriterConfig { linger: Duration::from_millis(4), gather: Duration::ZERO, ..Default::default() };
    StoreThread::spawn(store, config, done)
}

fn to_json(value: &impl Serialize) -> Result<Bytes, AgentError> {
    let json = serde_json::to_vec(value).map_err(|error| AgentError::Encode { reason: error.to_string() })?;
    Ok(json.into())
}
