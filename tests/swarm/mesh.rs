//! Agents that dial each other, without a relay.

use aepoch::{Agent, transport::memory_pair};

use crate::world::{ENGINES, PATIENCE, converged, eventually, quick_backoff};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_agents_converges_without_a_relay() {
    for engine in ENGINES {
        let builder = |name: &str| Agent::builder(name).engine(engine).trust_inbound(true).backoff(quick_backoff());
        let a = builder("a").open().await.unwrap();
        let at_a = a.listen("127.0.0.1:0").await.unwrap();
        let b = builder("b").connect(&format!("ws://{at_a}")).open().await.unwrap();
        let at_b = b.listen("127.0.0.1:0").await.unwrap();
        let c = builder("c").connect(&format!("ws://{at_b}")).open().await.unwrap();
        let (first, middle, last) =
            (a.document("d").await.unwrap(), b.document("d").await.unwrap(), c.document("d").await.unwrap());
        first.map("m").put("from", &"a").unwrap();
        last.text("t").push("from c").unwrap();
        middle.counter("n").add(5).unwrap();
        first.register("r").set(&1).unwrap();
        eventually("a has what c wrote", || first.text("t").get().unwrap() == "from c").await;
        eventually("c has what a wrote", || last.register::<u32>("r").get().unwrap() == Some(1)).await;
        converged(&[&first, &middle, &last]).await;
        assert_eq!(last.counter("n").get().unwrap(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_in_one_process_need_no_socket() {
    let a = Agent::builder("a").open().await.unwrap();
    let b = Agent::builder("b").trust_inbound(true).open().await.unwrap();
    let (left, right) = (a.document("d").await.unwrap(), b.document("d").await.unwrap());
    let (one, other) = memory_pair();
    a.attach(one);
    b.attach(other);
    left.register("r").set(&1).unwrap();
    right.register("s").set(&2).unwrap();
    converged(&[&left, &right]).await;
    assert_eq!(left.register::<u32>("s").get().unwrap(), Some(2));
}

/// Each of the two takes of the third only what that wrote itself, and they do not hear of each other: what the third
/// holds, neither of them ever will.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dialled_two_that_do_not_hear_of_each_other_begins_with_both() {
    let mut dialled = Vec::new();
    let mut third = Agent::builder("a0").swarm("test").backoff(quick_backoff());
    for name in ["a1", "a2"] {
        let agent = Agent::builder(name).swarm("test").open().await.unwrap();
        third = third.connect(&format!("ws://{}", agent.listen("127.0.0.1:0").await.unwrap()));
        let document = agent.document("stage").await.unwrap();
        dialled.push((agent, document));
    }
    let third = third.open().await.unwrap();
    let document = third.document("stage").await.unwrap();
    for (number, (_, of_dialled)) in dialled.iter().enumerate() {
        of_dialled.map("wrote").put(&number.to_string(), &number).unwrap();
    }
    eventually("both are connected", || third.status().peers.len() == 2).await;
    tokio::time::timeout(PATIENCE, document.catch_up()).await.expect("it has caught up").unwrap();
    let wrote = [0, 1].map(|number| document.map::<usize>("wrote").get(&number.to_string()).unwrap());
    assert_eq!(wrote, [Some(0), Some(1)]);
    let begun = tokio::time::timeout(PATIENCE, document.decision("all").everybody().open()).await;
    let begun = begun.expect("it has heard of all").unwrap();
    let all: Vec<_> = begun.status().unwrap().barrier.tiers.into_iter().flat_map(|tier| tier.members).collect();
    assert_eq!(all.iter().map(|agent| agent.as_str()).collect::<Vec<_>>(), ["a0", "a1", "a2"]);
}
