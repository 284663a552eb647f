//! The relay: a node that listens, keeps what it is given durably, and serves REST and metrics. Layer 6.
//!
//! A convenience for reach and durability, never needed for convergence. Documents are sharded by name over several
//! nodes, each behind its own lock, so that connections are served on all cores; one store thread commits for all.

pub mod audit;
mod callers;
mod connections;
mod dashboard;
mod exchange;
#[cfg(any(feature = "automerge", feature = "yrs"))]
mod guests;
mod http;
mod metrics;
mod patience;
mod rest;
mod socket;
mod tls;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use audit::{AuditConfig, AuditError, AuditLog, Recorder};
use callers::Callers;
use connections::Connections;
use exchange::Exchange;
pub use exchange::ExchangeError;
pub use tls::TlsError;
use tls::{Certificate, TlsSource};
use tokio::sync::Notify;

use crate::{
    driver::{Clock, Fairness, Host, Keeper, Outside, Traffic, WireTraffic, identity_from, shard_of, trace_happening},
    id::{AgentId, Identity, NameError},
    limits::Rates,
    node::{Config, Event, Node, TargetId, Tuning},
    store::{Answers, KeySource, MemoryStore, Store, StoreError, StoreThread, WriterConfig, sealed},
    sync::Role,
    transport::SpkiPin,
    trust::{
        authority::Authority,
        quota::{Quota, Quotas, lowered},
    },
    wires::{GuestRights, WireKind},
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
    /// There is no certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Tokens cannot be exchanged.
    #[error("no tokens can be exchanged: {0}")]
    Exchange(#[from] ExchangeError),
    /// No name of a host.
    #[error("`{host}` is no host: a name or an address, with a port when no other counts")]
    Host {
        /// What was given.
        host: String,
    },
    /// No origin that can be allowed.
    #[error("`{origin}` is no origin: scheme://host or scheme://host:port, and nothing after it")]
    Origin {
        /// What was given.
        origin: String,
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
    hosts: Vec<String>,
    origins: Vec<String>,
    tls: Option<TlsSource>,
    tls_reload: Duration,
    exchange: Option<PathBuf>,
    store: Option<PathBuf>,
    store_key: Option<KeySource>,
    audit: Option<AuditConfig>,
    shards: usize,
    trust_forwarding: bool,
    authority: Option<Authority>,
    rates: Option<Rates>,
    guests: Option<Guests>,
    connections_max: usize,
    tuning: Tuning,
    commit_linger: Duration,
}

/// What clients of other libraries may do at a relay without a pass. With a policy, a [pass](crate::trust::pass) says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// None may connect.
    None,
    /// They may read every document, and be seen in it.
    Read,
    /// They may change the content of every document as well.
    Write,
}

impl Guests {
    fn rights(self) -> Option<GuestRights> {
        match self {
            Self::None => None,
            Self::Read => Some(GuestRights::Read),
            Self::Write => Some(GuestRights::Write),
        }
    }
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

    /// A name the relay may be called by (`relay.example`, or `relay.example:4433` for that port alone), besides
    /// addresses, `localhost` and the name it listens on. May be called several times. Calls under other names are
    /// refused: a page that lets its own name resolve to the relay's address must not reach it.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_owned());
        self
    }

    /// Lets web pages of an origin (`https://app.example`) connect. May be called several times; without it none can but
    /// the relay's own. What is no browser sends no origin and may connect anyway.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// Serves with TLS 1.3 and nothing without it: `certificate` is a file of certificates, the relay's own first, `key`
    /// one with its private key, which nobody else may read; both are PEM. They are looked at again while the relay
    /// runs: a new pair that is good takes the old one's place, and no connection is dropped for it.
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(TlsSource::Files { certificate: certificate.into(), key: key.into() });
        self
    }

    /// As [`RelayBuilder::tls`], with a certificate of its own making for this machine and the names given with
    /// [`RelayBuilder::host`]. Clients have to be told its pin ([`Relay::tls_pin`]), which stays the same as long as the
    /// key does: it is kept beside the store.
    #[must_use]
    pub fn tls_self_signed(mut self) -> Self {
        self.tls = Some(TlsSource::SelfSigned);
        self
    }

    /// How often the files of the certificate are looked at; every 5 seconds unless set.
    #[must_use]
    pub fn tls_reload_every(mut self, interval: Duration) -> Self {
        self.tls_reload = interval;
        self
    }

    /// Gives credentials for tokens of other issuers, at `/v1/token`, as a file of JSON says (`docs/security.md`).
    #[must_use]
    pub fn exchange(mut self, path: impl Into<PathBuf>) -> Self {
        self.exchange = Some(path.into());
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

    /// Lets nobody in without a credential that the policy admits. Without it everybody comes in.
    #[must_use]
    pub fn policy(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// How fast one connection may bring things: [`Rates::ADMITTED`] with a policy, [`Rates::OPEN`] without, unless set.
    /// A connection that is faster is read later; nothing is refused.
    #[must_use]
    pub fn rates(mut self, rates: Rates) -> Self {
        self.rates = Some(rates);
        self
    }

    /// What clients of other libraries (`/yjs/{room}`, `/hocuspocus`, `/automerge/{swarm}`) may do; unless set, nothing with a
    /// policy, and everything a document's content is without one.
    #[must_use]
    pub fn guests(mut self, guests: Guests) -> Self {
        self.guests = Some(guests);
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
    /// `Name`, `Host`, `Origin`, `Tls`, `Exchange`, `Store`, `Audit`, `Listen`.
    pub async fn open(self) -> Result<Relay, RelayError> {
        let name = AgentId::new(&self.name)?;
        let callers = Arc::new(Callers::new(&self.hosts, &self.origins, &self.listen, self.tls.is_some())?);
        let (path, key, tls, names) = (self.store.clone(), self.store_key.clone(), self.tls.clone(), callers.names());
        let (exchange, swarm) = (self.exchange.clone(), self.authority.as_ref().map(Authority::swarm));
        let (audit, hosts) = (self.audit.clone(), HostSlots::default());
        let watched = hosts.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<_, RelayError> {
            let exchange = exchange.map(|path| Exchange::open(&path, swarm, Clock::start())).transpose()?;
            let certificate = tls.map(|tls| tls.open(path.as_deref(), names)).transpose()?;
            let mut store: Box<dyn Store> = match path {
                None => Box::new(MemoryStore::default()),
                Some(path) => sealed::open(&path, key.as_ref())?,
            };
            let identity = identity_from(&mut *store, name.clone())?;
            let audit =
                audit.map(|config| AuditLog::watched(&config, name, close_coordination(watched))).transpose()?;
            Ok((store, identity, certificate, exchange, audit))
        });
        let (store, identity, certificate, exchange, audit) = opened.await.map_err(internal)??;
        let listener = tokio::net::TcpListener::bind(&self.listen)
            .await
            .map_err(|source| RelayError::Listen { address: self.listen.clone(), source })?;
        let address = listener.local_addr().map_err(internal)?;
        let shared = Shared::start(&self, store, &identity, audit, hosts)?;
        let stopping = Arc::new(Notify::new());
        let tls = certificate.clone().map(tls::configuration).transpose().map_err(internal)?;
        if let Some(certificate) = &certificate {
            tokio::spawn(Certificate::keep_current(Arc::downgrade(certificate), self.tls_reload));
        }
        let server = http::serve(listener, tls, shared.clone(), exchange, callers, stopping.clone());
        let server = Mutex::new(Some(tokio::spawn(server)));
        Ok(Relay { shared, address, certificate, stopping, rates: self.rates, server })
    }
}

/// The rates that were set, or else those of a relay that asks for credentials or does not, as low as the policy has them.
fn rates_in_force(set: Option<Rates>, authority: Option<&Authority>) -> Rates {
    let Some(authority) = authority else { return set.unwrap_or(Rates::OPEN) };
    let (most, quotas) = (set.unwrap_or(Rates::ADMITTED), &authority.policy().quotas);
    Rates {
        updates_per_second: lowered(quotas, Quota::UpdatesPerSecond, most.updates_per_second),
        bytes_per_second: lowered(quotas, Quota::BytesPerSecond, most.bytes_per_second),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
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
    recorder: Option<Arc<Recorder>>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) fairness: Arc<Fairness>,
    pub(crate) identity: Identity,
    pub(crate) connections: Connections,
    /// What clients of other libraries may do; `None`: nothing.
    #[cfg_attr(
        not(any(feature = "automerge", feature = "yrs")),
        allow(dead_code, reason = "their wires need the engine")
    )]
    pub(crate) guests: Option<GuestRights>,
    /// What passed over each of their wires.
    pub(crate) wires: [Arc<WireTraffic>; WireKind::ALL.len()],
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
                    authority: builder.authority.clone(),
                    holder: None,
                    signing: None,
                    seed: identity.replica.get() ^ shard as u64,
                    tuning: builder.tuning.clone(),
                };
                let node = Node::new(config, clock.now());
                let log = Log { is_first: shard == 0, recorder: recorder.clone() };
                Host::start(node, Keeper::Later(store.clone()), shard, Box::new(log), clock)
            })
            .collect();
        // The slot is ours and empty: setting it cannot fail.
        let _ = slots.set(hosts.iter().map(Arc::downgrade).collect());
        if let Some(failure) = audit.as_ref().and_then(|audit| audit.failing()) {
            // Before there was anybody to be told.
            close_coordination(slots)(Some(&failure));
        }
        let unless_set = if builder.authority.is_some() { Guests::None } else { Guests::Write };
        let guests = builder.guests.unwrap_or(unless_set);
        Ok(Arc::new(Self {
            hosts,
            store,
            asks,
            audit,
            recorder,
            traffic: Arc::default(),
            fairness: Fairness::new(rates_in_force(builder.rates, builder.authority.as_ref()), cores()),
            identity: identity.clone(),
            connections: Connections::default(),
            guests: guests.rights(),
            wires: Default::default(),
            connections_max: builder.connections_max,
            stopping: AtomicBool::new(false),
            clock,
        }))
    }
}

impl Shared {
    /// What the policy in force lowers.
    pub(crate) fn quotas(&self) -> Quotas {
        let authority = self.hosts[0].with(|node, _| node.authority().cloned());
        authority.map(|authority| authority.policy().quotas.clone()).unwrap_or_default()
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
            // Every shard has every connection: one of them tells.
            Event::LinkUp { link, agent, .. } if self.is_first => tracing::info!(link = link.0, %agent, "connected"),
            Event::LinkDown { link, agent, reason } if self.is_first => {
                tracing::info!(link = link.0, %agent, %reason, "disconnected");
            }
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
    certificate: Option<Arc<Certificate>>,
    stopping: Arc<Notify>,
    rates: Option<Rates>,
    server: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Relay {
    /// Begins the setup of a relay.
    pub fn builder() -> RelayBuilder {
        RelayBuilder {
            name: "relay".to_owned(),
            listen: DEFAULT_LISTEN.to_owned(),
            hosts: Vec::new(),
            origins: Vec::new(),
            tls: None,
            tls_reload: tls::RELOAD_EVERY,
            exchange: None,
            store: None,
            store_key: None,
            audit: None,
            shards: cores().min(64),
            trust_forwarding: false,
            authority: None,
            rates: None,
            guests: None,
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
        let scheme = if self.certificate.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}", self.address)
    }

    /// The pin of the certificate it shows now, for [`AgentBuilder::tls_pin`](crate::agent::AgentBuilder::tls_pin);
    /// none without TLS.
    pub fn tls_pin(&self) -> Option<SpkiPin> {
        self.certificate.as_ref().map(|certificate| certificate.pin())
    }

    /// Looks at the files of the certificate at once; true when a new one is in use from here on.
    ///
    /// # Errors
    /// `Tls` when they cannot be used: the old one stays.
    pub async fn reload_tls(&self) -> Result<bool, RelayError> {
        let Some(certificate) = self.certificate.clone() else { return Ok(false) };
        Ok(tokio::task::spawn_blocking(move || certificate.reload()).await.map_err(internal)??)
    }

    /// Connections being served.
    pub fn connections(&self) -> u64 {
        self.shared.connections.count()
    }

    /// Judges everybody by a newer policy from now on: who is connected and takes no part any more is cut off before
    /// this returns.
    pub fn set_policy(&self, authority: &Authority) {
        for host in &self.shared.hosts {
            host.with(|node, now| node.set_authority(authority.clone(), now));
        }
        let current = authority.current();
        self.shared.recorder.iter().for_each(|recorder| recorder.judged_by(&current.hash, current.policy.version));
        self.shared.fairness.set_rates(rates_in_force(self.rates, Some(authority)));
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
