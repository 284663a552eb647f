//! "Why does it wait?" is answered with the true cause, whatever it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aepoch::{
    Agent,
    agent::{
        AgentDocument,
        coordination::{AgentSynchronizer, BarrierBuilder, Doing, Passage, SynchronizedAgent},
    },
    coordination::kernel::Tier,
};

use crate::world::{PATIENCE, World, eventually, quick_backoff};

/// Whatever keeps the first object of a document, in one text.
fn why(document: &AgentDocument) -> String {
    document.explain().unwrap().first().map(|status| status.why.join("\n")).unwrap_or_default()
}

async fn answered(document: &AgentDocument, cause: &str) {
    eventually(&format!("`{cause}` in the answer"), || why(document).contains(cause)).await;
}

/// Three agents that dial each other; the first has opened a barrier of all three.
async fn mesh(timeout: Duration) -> (Vec<Agent>, Vec<AgentDocument>) {
    let (mut agents, mut documents, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let mut builder = Agent::builder(name).swarm("test").trust_inbound(true).backoff(quick_backoff());
        for address in &addresses {
            builder = builder.connect(&format!("ws://{address}"));
        }
        let agent = builder.open().await.unwrap();
        addresses.push(agent.listen("127.0.0.1:0").await.unwrap());
        documents.push(agent.document("stage").await.unwrap());
        agents.push(agent);
    }
    for document in &documents {
        barrier(document, timeout).open().await.unwrap();
    }
    (agents, documents)
}

fn barrier(document: &AgentDocument, timeout: Duration) -> BarrierBuilder {
    document.barrier("flash").members(Tier::ALPHA, ["a", "b", "c"]).tolerate(1).timeout(Tier::ALPHA, timeout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_alpha_is_named_and_gates_the_others() {
    let world = World::new().await;
    let (alpha, worker) = (world.agent("a1").await, world.agent("w1").await);
    let (first, second) = (alpha.document("stage").await.unwrap(), worker.document("stage").await.unwrap());
    let builder =
        |document: &AgentDocument| document.barrier("flash").members(Tier::ALPHA, ["a1"]).members(Tier::GAMMA, ["w1"]);
    builder(&first).open().await.unwrap();
    let _ = builder(&second).open().await.unwrap().arrive_now().await.unwrap();
    answered(&second, "alpha: a1 has not arrived").await;
    answered(&second, "gamma: alpha comes first").await;
    answered(&second, "nobody is ever left out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_that_is_missing_because_a_link_is_down_is_explained_by_the_link() {
    let (agents, documents) = mesh(PATIENCE).await;
    // The last one has dialled the others.
    agents[2].set_online(false);
    eventually("its links are gone", || !agents[2].status().online).await;
    let _ = barrier(&documents[2], PATIENCE).open().await.unwrap().arrive_now().await.unwrap();
    answered(&documents[2], "c has arrived, but 1 of 2 echoes are here; missing: a, b").await;
    answered(&documents[2], "the link to a is down: ").await;
    agents[2].set_online(true);
    eventually("its links are back", || !why(&documents[2]).contains("the link to")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_still_runs_is_the_reason_while_it_runs() {
    let (_agents, documents) = mesh(PATIENCE).await;
    for document in &documents[..2] {
        let _ = barrier(document, PATIENCE).open().await.unwrap().arrive_now().await.unwrap();
    }
    answered(&documents[0], "c has not arrived").await;
    answered(&documents[0], "nobody is left out for another").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minority_side_of_a_partition_knows_that_it_is_one() {
    let (agents, documents) = mesh(Duration::from_millis(100)).await;
    agents[2].set_online(false);
    eventually("its links are gone", || !agents[2].status().online).await;
    let _ = barrier(&documents[2], Duration::from_millis(100)).open().await.unwrap().arrive_now().await.unwrap();
    answered(&documents[2], "this side reaches 1 of the 3 who decide, and 2 are needed").await;
    answered(&documents[2], "1 of 2 promises; missing (unreachable, or waiting): a, b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_came_back_without_its_log_has_lost_its_seat() {
    let world = World::new().await;
    let (first, second) = (world.agent("a").await, world.agent("b").await);
    let document = first.document("stage").await.unwrap();
    let builder = |document: &AgentDocument| document.barrier("flash").members(Tier::ALPHA, ["a", "b"]);
    let _ = builder(&document).open().await.unwrap().arrive_now().await.unwrap();
    second.close().await.unwrap();
    let again = world.agent("b").await;
    answered(&document, "b came back as a new incarnation").await;
    let theirs = again.document("stage").await.unwrap();
    let barrier = tokio::time::timeout(PATIENCE, theirs.barrier("flash").open()).await.unwrap().unwrap();
    let error = barrier.arrive_now().await.unwrap_err().to_string();
    assert!(error.contains("has no seat in generation 0"), "{error}");
}

/// Keeps what it is told.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<String>>,
}

impl Listener {
    fn note(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }
}

impl SynchronizedAgent for Listener {
    fn on_arrive<'a>(&'a self, operation: &'a str) -> Doing<'a> {
        Box::pin(async move { self.note(format!("arrive {operation}")) })
    }
    fn on_release<'a>(&'a self, operation: &'a str, passage: &'a Passage) -> Doing<'a> {
        Box::pin(async move { self.note(format!("release {operation} {}", passage.generation)) })
    }
    fn on_phase<'a>(&'a self, operation: &'a str, phase: &'a str) -> Doing<'a> {
        Box::pin(async move { self.note(format!("phase {operation} {phase}")) })
    }
    fn on_late<'a>(&'a self, operation: &'a str, _: &'a Passage) -> Doing<'a> {
        Box::pin(async move { self.note(format!("late {operation}")) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronizer_runs_many_agents_through_many_operations_and_tells_each_what_happened() {
    let world = World::new().await;
    let (mut here, mut there, mut listeners) = (AgentSynchronizer::new(), AgentSynchronizer::new(), BTreeMap::new());
    for (number, name) in ["a1", "w1", "w2"].into_iter().enumerate() {
        let document = world.agent(name).await.document("stage").await.unwrap();
        let listener = Arc::new(Listener::default());
        listeners.insert(name, listener.clone());
        if number == 1 {
            there = there.with(document, listener);
        } else {
            here = here.with(document, listener);
        }
    }
    let run = |side: AgentSynchronizer| async move {
        let operations = ["one", "two"].map(|name| {
            let side = side.clone();
            async move { side.sync_alpha_agents(name, &["a1"], &["w1", "w2"], PATIENCE).await.unwrap() }
        });
        let [one, two] = operations;
        let (one, two) = tokio::join!(one, two);
        let show = side.sync_with_epoch("show", &["a1", "w1", "w2"], &["collect", "act"], PATIENCE).await.unwrap();
        (one, two, show)
    };
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(run(here.clone()), run(there.clone())) });
    let ((one, two, show), (theirs, ..)) = both.await.unwrap();
    assert!(one.is_complete() && two.is_complete() && show.is_complete() && theirs.is_complete());
    assert_eq!((one.passages.len(), theirs.passages.len(), one.participation()), (2, 1, (3, 3)));
    let mut heard = listeners["w1"].heard.lock().unwrap().clone();
    heard.sort();
    let told = ["arrive one", "arrive two", "phase show act", "phase show collect", "release one 0", "release show 0"];
    assert_eq!(heard[..6], told);
    assert!(here.status("show").unwrap().is_some());
    assert!(here.cleanup("show").await.unwrap());
    eventually("the show is gone everywhere", || there.status("show").unwrap().is_none()).await;
}
