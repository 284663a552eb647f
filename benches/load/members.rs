//! Members of barriers: agents, and the yardstick's light clients.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aepoch::{
    Agent,
    agent::{
        AgentError,
        coordination::{Arrived, Barrier, BarrierBuilder},
    },
    coordination::kernel::Tier,
    node::NodeError,
};
use bytes::Bytes;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::{Client, Edit, News},
    rounds::Member,
    server::Server,
};

/// How many may be unreachable without holding up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tolerate {
    Nobody,
    One,
    Minority,
}

impl Tolerate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::One => ", tolerate 1",
            Self::Minority => ", tolerate a minority",
        }
    }

    fn set(self, barrier: BarrierBuilder) -> BarrierBuilder {
        match self {
            Self::Nobody => barrier,
            Self::One => barrier.tolerate(1),
            Self::Minority => barrier.tolerate_minority(),
        }
    }
}

/// An agent with its own connection and a store in memory, at a cyclic barrier with the fence on.
pub(crate) struct Ours {
    barrier: Barrier,
    members: usize,
    arrived: Option<Arrived>,
    /// Arrivals of all members since the first round.
    arrivals: Arc<AtomicU64>,
}

/// So many agents at one barrier, and their handles.
pub(crate) async fn ours(server: &Server, members: usize, tolerate: Tolerate) -> (Vec<Ours>, Vec<Agent>) {
    let names: Vec<String> = (0..members).map(|number| format!("member-{number:04}")).collect();
    let mut agents = Vec::new();
    let mut documents = Vec::new();
    for name in &names {
        let agent = Agent::builder(name).swarm("load").connect(&server.url).open().await.unwrap();
        documents.push(agent.document("stage").await.unwrap());
        agents.push(agent);
    }
    let listed = documents[0].barrier("flash").members(Tier::ALPHA, names.iter().map(String::as_str));
    // Long enough that nobody is ever left out: a round then ends with all or not at all.
    let listed = listed.cyclic().fence(true).at_most(members).timeout(Tier::ALPHA, Duration::from_secs(3_600));
    let first = tolerate.set(listed).open().await.unwrap();
    let mut opening = JoinSet::new();
    for document in documents.drain(1..) {
        // Whatever goes by the name: comparing the members with those of the definition takes n x n at each.
        opening.spawn(async move { document.barrier("flash").open().await.unwrap() });
    }
    let mut barriers = vec![first];
    barriers.extend(opening.join_all().await);
    let arrivals = Arc::new(AtomicU64::new(0));
    let member = |barrier| Ours { barrier, members, arrived: None, arrivals: arrivals.clone() };
    (barriers.into_iter().map(member).collect(), agents)
}

impl Member for Ours {
    async fn arrive(&mut self, round: u64) {
        let arrived = self.barrier.arrive_now().await.unwrap();
        assert_eq!(arrived.generation, round);
        self.arrived = Some(arrived);
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    async fn settled(&mut self, round: u64) {
        let members = self.members as u64;
        // A status says of each who is missing: it is asked for when the others have arrived and few are.
        while self.arrivals.load(Ordering::Relaxed) + 1 < (round + 1) * members {
            sleep(Duration::from_millis(1)).await;
        }
        let mut wait = Duration::from_micros(500 + 100 * members);
        loop {
            sleep(wait).await;
            match self.barrier.status().map(|status| status.barrier) {
                Ok(status) => {
                    let arrived: usize = status.tiers.iter().map(|tier| tier.arrived.len()).sum();
                    if status.generation == round && arrived + 1 >= self.members {
                        return;
                    }
                }
                // Much came at once and is being applied elsewhere.
                Err(AgentError::Node(NodeError::Busy { .. })) => {}
                Err(error) => panic!("{error}"),
            }
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    async fn released(&mut self, _round: u64) {
        let passage = self.barrier.released(self.arrived.take().unwrap()).await.unwrap();
        assert!(passage.is_complete(), "{passage:?}");
    }
}

/// A light client that tells all others of its arrival and counts theirs.
pub(crate) struct Raw {
    client: Client,
    number: usize,
    members: usize,
    /// Arrivals by round, its own included.
    heard: BTreeMap<u64, usize>,
}

pub(crate) async fn raw(server: &Server, members: usize) -> Vec<Raw> {
    let mut all = Vec::new();
    for number in 0..members {
        let client = Client::join(server, "flash", u16::try_from(number).unwrap()).await;
        all.push(Raw { client, number, members, heard: BTreeMap::new() });
    }
    // A handshake answered is not yet a place in the room, and what is sent before is lost.
    sleep(Duration::from_millis(300)).await;
    all
}

impl Raw {
    async fn hear(&mut self, round: u64, wanted: usize) {
        while self.heard.get(&round).copied().unwrap_or(0) < wanted {
            for news in self.client.next().await.unwrap() {
                if let News::Edit(_, round) = news {
                    *self.heard.entry(u64::from(round)).or_default() += 1;
                }
            }
        }
    }
}

impl Member for Raw {
    async fn prepare(&mut self, round: u64) {
        self.heard = self.heard.split_off(&round);
    }

    async fn arrive(&mut self, round: u64) {
        // As long as an edit of the other areas. Only two digits for the writer, and nobody reads them here.
        let mark = format!("@@{:02}{round:07}{:0>89}", self.number % 100, 0);
        let edit = Edit { number: 0, delta: Bytes::from(mark), update: Bytes::new() };
        self.client.send(std::slice::from_ref(&edit)).await;
        *self.heard.entry(round).or_default() += 1;
    }

    async fn settled(&mut self, round: u64) {
        self.hear(round, self.members - 1).await;
    }

    async fn released(&mut self, round: u64) {
        self.hear(round, self.members).await;
    }
}
