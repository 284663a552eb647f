//! A relay and agents for one test.

use std::{path::PathBuf, time::Duration};

use aepoch::{
    Agent, Relay,
    agent::{AgentBuilder, AgentDocument},
    engine::EngineKind,
    node::{Backoff, Tuning},
};

/// Both engines: what is shared must not depend on the choice.
pub(crate) const ENGINES: [EngineKind; 2] = [EngineKind::Yrs, EngineKind::Automerge];

/// Far longer than anything here takes: a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn quick_backoff() -> Backoff {
    let mut backoff = Backoff::default();
    backoff.first_retry = Duration::from_millis(5);
    backoff.base = Duration::from_millis(10);
    backoff.cap = Duration::from_millis(50);
    backoff.breaker_failures = u32::MAX;
    backoff
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) relay: Relay,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::tuned(Tuning::default()).await
    }

    pub(crate) async fn tuned(tuning: Tuning) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("relay.redb");
        let relay = Relay::builder().listen("127.0.0.1:0").store(store).shards(2).tuning(tuning).open().await.unwrap();
        Self { folder, relay }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn builder(&self, name: &str) -> AgentBuilder {
        Agent::builder(name).swarm("test").connect(&self.relay.url()).backoff(quick_backoff())
    }

    pub(crate) async fn agent(&self, name: &str) -> Agent {
        self.builder(name).open().await.unwrap()
    }

    pub(crate) async fn agent_with(&self, name: &str, engine: EngineKind) -> Agent {
        self.builder(name).engine(engine).open().await.unwrap()
    }

    /// Stops the relay in order and starts it again on the same port and store.
    pub(crate) async fn restart_relay(&mut self) {
        self.relay.shut_down().await.unwrap();
        self.start_relay().await;
    }

    /// Starts a relay that was shut down, on the same port and store.
    pub(crate) async fn start_relay(&mut self) {
        let address = self.relay.address().to_string();
        let builder = Relay::builder().listen(&address).store(self.path("relay.redb")).shards(2);
        self.relay = builder.open().await.unwrap();
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came true: {what}");
}

/// Waits until all replicas have the same digest.
pub(crate) async fn converged(documents: &[&AgentDocument]) {
    eventually("equal digests", || {
        let digests: Vec<_> = documents.iter().map(|document| document.digest().unwrap()).collect();
        digests.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
}

/// Waits for everything local to be durable.
pub(crate) async fn flushed(document: &AgentDocument) {
    let flush = tokio::time::timeout(PATIENCE, document.flush());
    match flush.await {
        Ok(flushed) => flushed.unwrap(),
        Err(_) => panic!("flush does not end: {:?}", document.status()),
    }
}
