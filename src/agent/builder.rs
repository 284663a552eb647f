//! How an agent is set up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Agent, AgentError};
#[cfg(feature = "redb")]
use crate::store::{KeySource, sealed};
use crate::{
    driver::{Clock, Keeper, identity_from, identity_of_key},
    engine::EngineKind,
    id::AgentId,
    node::{Backoff, Config, Node, Tuning},
    store::{MemoryStore, Store, StoreThread, WriterConfig},
    sync::Role,
    transport::{Dialer, SpkiPin, TlsTrust},
    trust::{authority::Authority, credential::Admission, key::PrivateKey, possession::Holder},
};

/// Settings of an agent; [`AgentBuilder::open`] starts it.
#[derive(Debug, Clone)]
pub struct AgentBuilder {
    pub(super) name: String,
    pub(super) swarm: String,
    pub(super) engine: EngineKind,
    pub(super) relays: Vec<String>,
    tls: TlsTrust,
    pub(super) store: Option<PathBuf>,
    #[cfg(feature = "redb")]
    pub(super) store_key: Option<KeySource>,
    pub(super) trust_inbound: bool,
    pub(super) credential: Option<(String, PrivateKey)>,
    pub(super) authority: Option<Authority>,
    pub(super) onlooker: bool,
    pub(super) tuning: Tuning,
}

impl AgentBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            swarm: "default".to_owned(),
            engine: EngineKind::default(),
            relays: Vec::new(),
            tls: TlsTrust::default(),
            store: None,
            #[cfg(feature = "redb")]
            store_key: None,
            trust_inbound: false,
            credential: None,
            authority: None,
            onlooker: false,
            tuning: Tuning::default(),
        }
    }

    /// The swarm this agent belongs to; documents of different swarms are apart. `default` unless set.
    #[must_use]
    pub fn swarm(mut self, swarm: &str) -> Self {
        swarm.clone_into(&mut self.swarm);
        self
    }

    /// Keeps a connection to a relay or to a listening agent (`ws://host:port`, or `wss://host:port` with TLS). May be
    /// called several times; without it the agent works alone.
    #[must_use]
    pub fn connect(mut self, address: &str) -> Self {
        self.relays.push(address.to_owned());
        self
    }

    /// Of relays at `wss://`, believes those with a certificate of the authorities in this file (PEM); a relay's own
    /// self-signed certificate will do. Read when the agent opens. Unless set: the authorities browsers believe.
    #[must_use]
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls = self.tls.authorities(path);
        self
    }

    /// Of relays at `wss://`, believes the one whose key has this pin, whatever its certificate says otherwise. Beside
    /// [`AgentBuilder::tls_ca`] both must agree.
    #[must_use]
    pub fn tls_pin(mut self, pin: SpkiPin) -> Self {
        self.tls = self.tls.pin(pin);
        self
    }

    /// Keeps documents and this agent's identity in a redb file, so that work done offline survives a restart.
    /// Without it they live in memory only.
    #[must_use]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// Seals the file with the key from this source: without the key neither names nor contents can be read from it.
    /// Without this the file is not sealed. A file that is not sealed is refused with a key, and the other way round.
    #[cfg(feature = "redb")]
    #[must_use]
    pub fn store_key(mut self, source: KeySource) -> Self {
        self.store_key = Some(source);
        self
    }

    /// The engine of documents this agent creates; yrs unless set.
    #[must_use]
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }

    /// Lets agents that dial this one bring others' writes too, so that a mesh converges without a relay. Off unless
    /// set: whoever dials speaks for itself only.
    #[must_use]
    pub fn trust_inbound(mut self, trust: bool) -> Self {
        self.trust_inbound = trust;
        self
    }

    /// What this agent shows to relays and agents that ask who it is: a credential (a token, or a chain of them) and the
    /// key it is bound to. Its name has to be the one in the credential. What the credential does not allow is refused
    /// here already. [`Agent::renew`] takes a newer one.
    ///
    /// The number this agent writes under follows from the key: a store that was used with another key, or without one,
    /// gets a new number.
    #[must_use]
    pub fn credential(mut self, presented: &str, key: PrivateKey) -> Self {
        self.credential = Some((presented.to_owned(), key));
        self
    }

    /// The swarm's policy. Agents that dial this one come in only with a credential that it admits; and in rooms whose
    /// dial says end to end, records of others are checked by it and ours are signed with the key of
    /// [`credential`](Self::credential). Without a policy such rooms take nothing of this agent.
    #[must_use]
    pub fn policy(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Takes part in documents without being a member of the swarm: nobody lists it, waits for it or gives it a seat.
    #[must_use]
    pub fn onlooker(mut self, onlooker: bool) -> Self {
        self.onlooker = onlooker;
        self
    }

    /// How lost connections are redialled.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.tuning.backoff = backoff;
        self
    }

    /// How changes are batched under load: at most `changes` of them, or what comes within `tick`.
    #[must_use]
    pub fn batch(mut self, changes: usize, tick: Duration) -> Self {
        self.tuning.tick_changes = changes.max(1);
        self.tuning.tick = tick;
        self
    }

    /// Starts the agent. Does not wait for connections: an agent without any works on its own replica.
    ///
    /// # Errors
    /// `Name` for a bad name or swarm, `Store` and `Transport` when a file cannot be used, `Credential` and
    /// `OthersCredential` for a credential that is none, or of another agent.
    pub async fn open(self) -> Result<Agent, AgentError> {
        let agent = AgentId::new(&self.name)?;
        let tls = self.tls.clone();
        let path = self.store.clone();
        #[cfg(feature = "redb")]
        let key = self.store_key.clone();
        let credential = self.credential.clone();
        if let Some((presented, _)) = &credential {
            let claimed = Admission::claimed(presented)?.agent;
            if claimed != agent {
                return Err(AgentError::OthersCredential { claimed, agent });
            }
        }
        let opened = tokio::task::spawn_blocking(move || -> Result<_, AgentError> {
            let mut store: Box<dyn Store> = match path {
                None => Box::new(MemoryStore::default()),
                #[cfg(feature = "redb")]
                Some(path) => sealed::open(&path, key.as_ref())?,
                #[cfg(not(feature = "redb"))]
                Some(path) => return Err(AgentError::NoStore { path }),
            };
            let dialer = Dialer::new(&tls)?;
            let Some((presented, key)) = credential else {
                let identity = identity_from(&mut *store, agent)?;
                return Ok((store, identity, None, dialer));
            };
            let (identity, salt) = identity_of_key(&mut *store, agent, &key.public())?;
            Ok((store, identity, Some(Holder::new(&presented, key, salt)), dialer))
        });
        let (store, identity, holder, dialer) =
            opened.await.map_err(|error| AgentError::Internal { reason: error.to_string() })??;
        let seed = identity.replica.get() ^ identity.incarnation;
        let config = Config {
            identity: identity.clone(),
            role: Role::Agent,
            keeps_identity: self.store.is_some(),
            trust_inbound: self.trust_inbound,
            authority: self.authority.clone(),
            holder,
            signing: None,
            seed,
            tuning: self.tuning.clone(),
        };
        let clock = Clock::start();
        let node = Node::new(config, clock.now());
        // What an agent writes leaves only once it is durable here, so its commits wait for nobody, and little between
        // two of them.
        let config = WriterConfig { linger: Duration::from_millis(4), gather: Duration::ZERO, ..Default::default() };
        let is_on_disk = self.store.is_some();
        let keep = |done| {
            if is_on_disk {
                return Ok(Keeper::Thread(Arc::new(StoreThread::spawn(store, config, done)?)));
            }
            Ok(Keeper::Here(store))
        };
        Agent::start(self, dialer, identity, node, clock, keep).await
    }
}
