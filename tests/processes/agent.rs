//! The program of one agent: this very test binary, told what to do on its standard input, a line at a time.

use std::{io::BufRead as _, time::Duration};

use aepoch::{
    Agent,
    agent::{
        AgentDocument,
        coordination::{Barrier, BarrierBuilder},
    },
    coordination::kernel::Tier,
    node::Backoff,
};
use serde_json::json;

/// What the scenarios set; without it this is no agent.
pub(crate) const NAME: &str = "AEPOCH_TEST_AGENT";

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("{NAME}_{name}")).ok().filter(|value| !value.is_empty())
}

/// `NAME TOLERATE TIMEOUT_MS MEMBER,MEMBER,..`
fn barrier(document: &AgentDocument, words: &[&str]) -> BarrierBuilder {
    let members: Vec<&str> = words[3].split(',').collect();
    let timeout = Duration::from_millis(words[2].parse().unwrap());
    let barrier = document.barrier(words[0]).members(Tier::ALPHA, members.iter().copied()).at_most(members.len());
    barrier.tolerate(words[1].parse().unwrap()).timeout(Tier::ALPHA, timeout)
}

async fn ended(barrier: &Barrier, name: &str) {
    loop {
        let standing = barrier.standing(0).unwrap();
        if standing.is_final() {
            return println!("{}", json!({ "ended": name, "standing": standing }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn carry_out(document: AgentDocument, line: String) {
    let words: Vec<&str> = line.split(' ').collect();
    let name = words[1];
    match words[0] {
        "open" => {
            barrier(&document, &words[1..]).open().await.unwrap();
            println!("{}", json!({ "opened": name }));
        }
        "arrive" => {
            document.register(&format!("before/{}", document_name())).set(&name).unwrap();
            document.map("written").put(&document_name(), &name.to_owned()).unwrap();
            let barrier = barrier(&document, &words[1..]).open().await.unwrap();
            match barrier.arrive_now().await {
                Ok(_) => println!("{}", json!({ "arrived": name })),
                Err(error) => return println!("{}", json!({ "refused": name, "error": error.to_string() })),
            }
            ended(&barrier, name).await;
        }
        // A barrier that is known by its name only: what an agent finds that has come back.
        "watch" => ended(&document.barrier(name).open().await.unwrap(), name).await,
        "sees" => {
            let (barrier, count) = (document.barrier(name).open().await.unwrap(), words[2].parse().unwrap());
            while barrier.status().unwrap().barrier.tiers[0].arrived.len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            println!("{}", json!({ "sees": name }));
        }
        "written" => {
            let written = document.map::<String>("written").entries().unwrap().len();
            println!("{}", json!({ "written": written }));
        }
        other => panic!("`{other}` is no command"),
    }
}

fn document_name() -> String {
    std::env::var(NAME).unwrap()
}

#[test]
#[ignore = "the program of an agent: scenarios start it"]
fn process() {
    let Ok(name) = std::env::var(NAME) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut backoff = Backoff::default();
    (backoff.first_retry, backoff.base) = (Duration::from_millis(50), Duration::from_millis(100));
    (backoff.cap, backoff.breaker_failures) = (Duration::from_millis(500), u32::MAX);
    runtime.block_on(async move {
        let mut builder = Agent::builder(&name).swarm("band").backoff(backoff).trust_inbound(true);
        if let Some(store) = variable("STORE") {
            builder = builder.store(store);
        }
        for address in variable("DIAL").iter().flat_map(|addresses| addresses.split(',')) {
            builder = builder.connect(&format!("ws://{address}"));
        }
        let agent = builder.open().await.unwrap();
        if let Some(address) = variable("LISTEN") {
            agent.listen(&address).await.unwrap();
        }
        let document = agent.document("stage").await.unwrap();
        // The test runner has begun a line.
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        println!("\n{}", json!({ "ready": name, "wall_s": wall.as_secs() }));
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        while let Some(line) = lines.recv().await {
            tokio::spawn(carry_out(document.clone(), line));
        }
    });
}
