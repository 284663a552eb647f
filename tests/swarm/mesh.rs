//! Agents that dial each other, without a relay.

use aepoch::{Agent, transport::memory_pair};

use crate::world::{ENGINES, converged, eventually, quick_backoff};

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
