//! Two agents that only want to work.

use aepoch::{Agent, agent::AgentDocument, engine::EngineKind, id::DocumentId};

use crate::relay::{PATIENCE, Relay};

/// One that writes and one that reads, in a document attackers join as well.
pub(crate) struct Honest {
    _agents: [Agent; 2],
    pub(crate) writer: AgentDocument,
    pub(crate) reader: AgentDocument,
    turn: u64,
}

impl Honest {
    pub(crate) async fn new(relay: &Relay) -> Self {
        Self::with(relay, EngineKind::Yrs).await
    }

    pub(crate) async fn with(relay: &Relay, engine: EngineKind) -> Self {
        let agent = |name: &str| Agent::builder(name).swarm("test").connect(&relay.url).engine(engine).open();
        let agents = [agent("writer").await.unwrap(), agent("reader").await.unwrap()];
        let writer = agents[0].document("stage").await.unwrap();
        let reader = agents[1].document("stage").await.unwrap();
        let mut honest = Self { _agents: agents, writer, reader, turn: 0 };
        honest.go_on().await;
        honest
    }

    pub(crate) fn id(&self) -> &DocumentId {
        self.writer.id()
    }

    /// One writes content and a record, the relay keeps them, the other reads them.
    pub(crate) async fn go_on(&mut self) {
        self.turn += 1;
        let turn = self.turn;
        self.writer.map("work").put("turn", &turn).unwrap();
        self.writer.register("turn").set(&turn).unwrap();
        tokio::time::timeout(PATIENCE, self.writer.flush()).await.expect("kept by the relay").unwrap();
        let reader = &self.reader;
        eventually("the other reads it", || {
            reader.map::<u64>("work").get("turn").unwrap() == Some(turn)
                && reader.register::<u64>("turn").get().unwrap() == Some(turn)
        })
        .await;
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came true: {what}");
}
