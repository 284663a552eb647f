//! How an agent is set up.

#[cfg(not(target_family = "wasm"))]
use std::path::PathBuf;
use std::{sync::Arc, time::Duration};

use super::{Agent, AgentError};
#[cfg(feature = "redb")]
use crate::store::{KeySource, sealed};
#[cfg(not(target_family = "wasm"))]
use crate::transport::{SpkiPin, TlsTrust};
use crate::{
    driver::{Clock, identity_from, identity_of_key},
    engine::EngineKind,
    id::{AgentId, Identity},
    node::{Backoff, Config, Node, Tuning},
    store::{AsyncStore, IDENTITY_NOTE, LOSS_NOTE, MemoryStore, SALT_NOTE, Store, StoreError},
    sync::Role,
    transport::Dialer,
    trust::{authority::Authority, credential::Admission, key::PrivateKey, possession::Holder},
};

/// Settings of an agent; [`AgentBuilder::open`] starts it.
#[derive(Debug, Clone)]
pub struct AgentBuilder {
    pub(super) name: String,
    pub(super) swarm: String,
    pub(super) engine: EngineKind,
    pub(super) relays: Vec<String>,
    #[cfg(not(target_family = "wasm"))]
    tls: TlsTrust,
    kept: Kept,
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
            #[cfg(not(target_family = "wasm"))]
            tls: TlsTrust::default(),
            kept: Kept::InMemory,
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
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls = self.tls.authorities(path);
        self
    }

    /// Of relays at `wss://`, believes the one whose key has this pin, whatever its certificate says otherwise. Beside
    /// [`AgentBuilder::tls_ca`] both must agree.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn tls_pin(mut self, pin: SpkiPin) -> Self {
        self.tls = self.tls.pin(pin);
        self
    }

    /// Keeps documents and this agent's identity in a redb file, so that work done offline survives a restart.
    /// Without it they live in memory only.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.kept = Kept::InFile(path.into());
        self
    }

    /// Keeps them in a store of the application's that answers later: in a browser, its database.
    #[must_use]
    pub fn store_by(mut self, store: Arc<dyn AsyncStore>) -> Self {
        self.kept = Kept::By(store);
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
        if let Some((presented, _)) = &self.credential {
            let claimed = Admission::claimed(presented)?.agent;
            if claimed != agent {
                return Err(AgentError::OthersCredential { claimed, agent });
            }
        }
        #[cfg(not(target_family = "wasm"))]
        let dialer = {
            let tls = self.tls.clone();
            blocking(move || Ok(Dialer::new(&tls)?)).await?
        };
        #[cfg(target_family = "wasm")]
        let dialer = Dialer;
        let (keeping, identity, holder) = self.keep(agent).await?;
        let seed = identity.replica.get() ^ identity.incarnation;
        let config = Config {
            identity: identity.clone(),
            role: Role::Agent,
            keeps_identity: !matches!(keeping, Keeping::Here(_)),
            trust_inbound: self.trust_inbound,
            authority: self.authority.clone(),
            holder,
            signing: None,
            seed,
            tuning: self.tuning.clone(),
        };
        let clock = Clock::start();
        let node = Node::new(config, clock.now());
        Agent::start(self, dialer, identity, node, clock, keeping).await
    }

    /// Opens the store, and reads or draws who this agent is.
    async fn keep(&self, agent: AgentId) -> Result<(Keeping, Identity, Option<Holder>), AgentError> {
        let credential = self.credential.clone();
        match self.kept.clone() {
            Kept::InMemory => {
                let mut store = MemoryStore::default();
                let (identity, holder) = identify(&mut store, agent, credential)?;
                Ok((Keeping::Here(Box::new(store)), identity, holder))
            }
            #[cfg(not(target_family = "wasm"))]
            Kept::InFile(path) => {
                #[cfg(feature = "redb")]
                let key = self.store_key.clone();
                blocking(move || -> Result<_, AgentError> {
                    #[cfg(feature = "redb")]
                    {
                        let mut store = sealed::open(&path, key.as_ref())?;
                        let (identity, holder) = identify(&mut *store, agent, credential)?;
                        Ok((Keeping::OnThread(store), identity, holder))
                    }
                    #[cfg(not(feature = "redb"))]
                    Err(AgentError::NoStore { path })
                })
                .await
            }
            Kept::By(store) => {
                // Read, changed in memory, and kept before it is used.
                let mut notes = MemoryStore::default();
                for name in [IDENTITY_NOTE, SALT_NOTE, LOSS_NOTE] {
                    if let Some(note) = store.note(name).await? {
                        notes.set_note(name, note)?;
                    }
                }
                let before = notes.clone();
                let (identity, holder) = identify(&mut notes, agent, credential)?;
                for name in [SALT_NOTE, IDENTITY_NOTE, LOSS_NOTE] {
                    match notes.note(name)? {
                        Some(note) if before.note(name)?.as_ref() != Some(&note) => store.set_note(name, note).await?,
                        _ => {}
                    }
                }
                Ok((Keeping::Later(store), identity, holder))
            }
        }
    }
}

/// Where documents are to be kept.
#[derive(Debug, Clone)]
enum Kept {
    InMemory,
    #[cfg(not(target_family = "wasm"))]
    InFile(PathBuf),
    By(Arc<dyn AsyncStore>),
}

/// The store of an agent that starts.
pub(super) enum Keeping {
    /// In memory.
    Here(Box<dyn Store>),
    /// On a thread that waits for the disk.
    #[cfg(not(target_family = "wasm"))]
    #[cfg_attr(not(feature = "redb"), allow(dead_code, reason = "files are redb's"))]
    OnThread(Box<dyn Store>),
    /// Somewhere that answers later.
    Later(Arc<dyn AsyncStore>),
}

/// Who an agent is, and what it shows of that.
fn identify(
    store: &mut dyn Store,
    agent: AgentId,
    credential: Option<(String, PrivateKey)>,
) -> Result<(Identity, Option<Holder>), StoreError> {
    let Some((presented, key)) = credential else {
        return Ok((identity_from(store, agent)?, None));
    };
    let (identity, salt) = identity_of_key(store, agent, &key.public())?;
    Ok((identity, Some(Holder::new(&presented, key, salt))))
}

/// Runs what waits for a disk.
#[cfg(not(target_family = "wasm"))]
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, AgentError> + Send + 'static,
) -> Result<R, AgentError> {
    let done = crate::driver::spawn_blocking(work).await;
    done.map_err(|error| AgentError::Internal { reason: error.to_string() })?
}
