//! The relay: a node that listens, keeps what it is given durably, and serves REST and metrics. Layer 6.
//!
//! A convenience for reach and durability, never needed for convergence. Documents are sharded by name over several
//! nodes, each behind its own lock, so that connections are served on all cores; one store thread commits for all.

pub mod audit;
mod http;
mod metrics;
mod patience;
mod rest;
mod socket;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use audit::{AuditConfig, AuditError, AuditLog, Recorder};
use tokio::sync::Notify;

use crate::{
    driver::{Clock, Host, Keeper, Outside, Traffic, identity_from, shard_of, trace_happening},
    id::{AgentId, Identity, NameError},
    node::{Config, Event, Node, TargetId, Tuning},
    store::{Answers, KeySource, MemoryStore, Store, StoreError, StoreThread, WriterConfig, sealed},
    sync::Role,
};

/// Where a relay listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4433";

/// Why a relay could not start or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A bad name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A fault of this library; please report it.
    #[error("internal fault: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

/// Settings of a relay; [`RelayBuilder::open`] starts it.
#[derive(Debug, Clone)]
pub struct RelayBuilder {
    name: String,
    listen: String,
    store: Option<PathBuf>,
    store_key: Option<KeySource>,
    audit: Option<AuditConfig>,
    shards: usize,
    trust_forwarding: bool,
    connections_max: usize,
    tuning: Tuning,
    commit_linger: Duration,
}

impl RelayBuilder {
    /// The relay's name among the agents; `relay` unless set.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Where to listen: `host:port`; port 0 takes any free one.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// The redb file documents are kept in. Without it they are kept in memory, and an acknowledgement means no more
    /// than that.
    #[must_use]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// Seals the file with the key from this source: without the key neither names nor contents can be read from it.
    /// Without this the file is not sealed. A file that is not sealed is refused with a key, and the other way round.
    #[must_use]
    pub fn store_key(mut self, source: KeySource) -> Self {
        self.store_key = Some(source);
        self
    }

    /// Records there who connected and joined, what was refused, and what became of coordination. While that cannot be
    /// written, no coordination is taken in. Without this nothing is recorded.
    #[must_use]
    pub fn audit(mut self, config: AuditConfig) -> Self {
        self.audit = Some(config);
        self
    }

    /// Nodes the documents are sharded over; the number of cores unless set, at most 64.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards.clamp(1, 64);
        self
    }

    /// Lets every connection bring the writes of others too: needed when agents also form a mesh, or to restore a lost
    /// relay from its agents. Off unless set.
    #[must_use]
    pub fn trust_forwarding(mut self, trust: bool) -> Self {
        self.trust_forwarding = trust;
        self
    }

    /// Connections served at once; further ones are refused with 503. 100,000 unless set.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Sizes and spans of its nodes.
    #[must_use]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// How long a commit may wait for others to share its fsync. An acknowledgement is late by as much under load.
    #[must_use]
    pub fn commit_linger(mut self, linger: Duration) -> Self {
        self.commit_linger = linger;
        self
    }

    /// Opens the store, starts the nodes and listens.
    ///
    /// # Errors
    /// `Name`, `Store`, `Audit`, `Listen`.
    pub async fn open(self) -> Result<Relay, RelayError> {
        let name = AgentId::new(&self.name)?;
        let (path, key) = (self.store.clone(), self.store_key.clone());
        let (audit, hosts) = (self.audit.clone(), HostSlots::default());
        let watched = hosts.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<_, RelayError> {
            let mut store: Box<dyn Store> = match path {
                None => Box::new(MemoryStore::default()),
                Some(path) => sealed::open(&path, key.as_ref())?,
            };
            let identity = identity_from(&mut *store, name.clone())?;
            let audit =
                audit.map(|config| AuditLog::watched(&config, name, close_coordination(watched))).transpose()?;
            Ok((store, identity, audit))
        });
        let (store, identity, audit) = opened.await.map_err(internal)??;
        let listener = tokio::net::TcpListener::bind(&self.listen)
            .await
            .map_err(|source| RelayError::Listen { address: self.listen.clone(), source })?;
        let address = listener.local_addr().map_err(internal)?;
        let shared = Shared::start(&self, store, &identity, audit, hosts)?;
        let stopping = Arc::new(Notify::new());
        let server = http::serve(listener, shared.clone(), stopping.clone());
        Ok(Relay { shared, address, stopping, server: Mutex::new(Some(tokio::spawn(server))) })
    }
}

fn internal(error: impl fmt::Display) -> RelayError {
    RelayError::Internal { reason: error.to_string() }
}

/// The hosts of a relay, for those who are there before them.
type HostSlots = Arc<OnceLock<Vec<Weak<Host>>>>;

/// What cannot be recorded must not happen: no coordination while the audit log fails.
fn close_coordination(hosts: HostSlots) -> audit::Watcher {
    Box::new(move |failure| {
        let reason = failure.map(|failure| format!("the relay cannot write its audit log: {failure}"));
        for host in hosts.get().into_iter().flatten().filter_map(Weak::upgrade) {
            host.with(|node, now| node.close_coordination(reason.clone(), now));
        }
    })
}

/// What the parts of a relay share.
pub(crate) struct Shared {
    pub(crate) hosts: Vec<Arc<Host>>,
    pub(crate) store: Arc<StoreThread>,
    pub(crate) asks: rest::Asks,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) identity: Identity,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_max: usize,
    pub(crate) stopping: AtomicBool,
    pub(crate) clock: Clock,
}

impl Shared {
    fn start(
        builder: &RelayBuilder,
        store: Box<dyn Store>,
        identity: &Identity,
        audit: Option<AuditLog>,
        slots: HostSlots,
    ) -> Result<Arc<Self>, StoreError> {
        let clock = Clock::start();
        let asks = rest::Asks::default();
        let audit = audit.map(Arc::new);
        let recorder = audit.clone().map(|log| Arc::new(Recorder::new(log)));
        let (answered, answered_asks) = (slots.clone(), asks.clone());
        let config = WriterConfig { linger: builder.commit_linger, ..WriterConfig::default() };
        let done = move |answers: Answers| {
            for (id, result) in answers {
                match answered.get().and_then(|hosts| hosts.get(shard_of(id))).and_then(Weak::upgrade) {
                    Some(host) => host.stored(id, result),
                    None => answered_asks.answer(id, result),
                }
            }
        };
        let store = Arc::new(StoreThread::spawn(store, config, Box::new(done))?);
        let hosts: Vec<_> = (0..builder.shards)
            .map(|shard| {
                let config = Config {
                    identity: identity.clone(),
                    role: Role::Relay,
                    // As an elector it promises, and comes back under its number.
                    keeps_identity: true,
                    trust_inbound: builder.trust_forwarding,
                    seed: identity.replica.get() ^ shard as u64,
                    tuning: builder.tuning.clone(),
                };
                let node = Node::new(config, clock.now());
                let log = Log { is_first: shard == 0, recorder: recorder.clone() };
                Host::start(node, Keeper::Thread(store.clone()), shard, Box::new(log), clock)
            })
            .collect();
        // The slot is ours and empty: setting it cannot fail.
        let _ = slots.set(hosts.iter().map(Arc::downgrade).collect());
        if let Some(failure) = audit.as_ref().and_then(|audit| audit.failing()) {
            // Before there was anybody to be told.
            close_coordination(slots)(Some(&failure));
        }
        Ok(Arc::new(Self {
            hosts,
            store,
            asks,
            audit,
            traffic: Arc::default(),
            identity: identity.clone(),
            connections: AtomicU64::new(0),
            connections_max: builder.connections_max,
            stopping: AtomicBool::new(false),
            clock,
        }))
    }
}

/// A relay tells its log what an agent would tell its application, and its audit log what of it is to be kept.
struct Log {
    is_first: bool,
    recorder: Option<Arc<Recorder>>,
}

impl Outside for Log {
    fn dial(&self, _: &Arc<Host>, _: TargetId) {}

    fn event(&self, event: Event) {
        self.recorder.iter().for_each(|recorder| recorder.hear(self.is_first, &event));
        match event {
            Event::LinkUp { link, agent } => tracing::info!(link = link.0, %agent, "connected"),
            Event::LinkDown { link, agent, reason } => tracing::info!(link = link.0, %agent, %reason, "disconnected"),
            Event::Offence { link, document, reason } => {
                tracing::warn!(link = link.0, document = document.map(tracing::field::display), %reason, "refused");
            }
            Event::Coordination { document, object, happening } => trace_happening(&document, object, &happening),
            Event::Quarantined { document, reason } => tracing::error!(%document, %reason, "document quarantined"),
            Event::OpenFailed { document, reason } => tracing::error!(%document, %reason, "document unreadable"),
            Event::StoreFailed { document, reason } => tracing::error!(%document, %reason, "store failed"),
            _ => {}
        }
    }
}

/// A running relay. Dropping it ends it at once; [`Relay::shut_down`] ends it in order.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopping: Arc<Notify>,
    server: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Relay {
    /// Begins the setup of a relay.
    pub fn builder() -> RelayBuilder {
        RelayBuilder {
            name: "relay".to_owned(),
            listen: DEFAULT_LISTEN.to_owned(),
            store: None,
            store_key: None,
            audit: None,
            shards: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(64)),
            trust_forwarding: false,
            connections_max: 100_000,
            tuning: Tuning::default(),
            commit_linger: WriterConfig::default().linger,
        }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What agents connect to.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Connections being served.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Stops accepting, tells clients to come back soon, sends what is queued, makes everything durable.
    ///
    /// # Errors
    /// `Internal` when a task of the relay had failed.
    pub async fn shut_down(&self) -> Result<(), RelayError> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.stopping.notify_waiters();
        for host in &self.shared.hosts {
            host.with(|node, now| node.shut_down("the relay is shutting down", Duration::from_millis(500), now));
        }
        let settled = async {
            while !self.shared.hosts.iter().all(|host| host.with(|node, _| node.is_settled())) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for host in &self.shared.hosts {
                host.close_links("the relay is shutting down");
            }
            while self.shared.hosts.iter().any(|host| host.link_count() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // A client that does not read must not hold the relay up; what it lacks it gets when it comes back.
        let _ = tokio::time::timeout(Duration::from_secs(3), settled).await;
        for host in &self.shared.hosts {
            host.stop();
        }
        let (store, audit) = (self.shared.store.clone(), self.shared.audit.clone());
        let closing = tokio::task::spawn_blocking(move || {
            store.close();
            audit.iter().for_each(|audit| audit.close());
        });
        closing.await.map_err(internal)?;
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.abort();
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for host in &self.shared.hosts {
            host.stop();
            host.close_links("the relay was dropped");
        }
        if let Some(server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).take() {
            server.abort();
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("address", &self.address).finish_non_exhaustive()
    }
}
