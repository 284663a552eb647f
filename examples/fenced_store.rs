//! A queue whose work has effects elsewhere: a store that checks fencing tokens keeps out a holder that was replaced.
//!
//! A lease only says who may begin. A worker that pauses (a collection, a sleeping laptop, a cut cable) does not notice
//! that its lease ran out; what it then writes is stopped by the token, where the effect lands, or not at all.
//!
//! Run with `cargo run --example fenced_store`.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aepoch::{Agent, Relay, coordination::queue::Claiming, id::ObjectId};

/// Something outside: a database, a bucket, a robot's arm. It keeps the highest token it has seen of each item.
#[derive(Debug, Clone, Default)]
struct FencedStore {
    written: Arc<Mutex<BTreeMap<ObjectId, (u64, String)>>>,
}

impl FencedStore {
    /// Writes, unless a later holder of the item has written before.
    fn write(&self, item: ObjectId, token: u64, value: &str) -> Result<(), String> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&item) {
            Some((newest, _)) if *newest > token => Err(format!("token {token} is stale, {newest} has written")),
            _ => {
                written.insert(item, (token, value.to_owned()));
                Ok(())
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let relay = Relay::builder().listen("127.0.0.1:0").open().await?;
    let mut agents = Vec::new();
    for name in ["planner", "slow", "quick"] {
        agents.push(Agent::builder(name).swarm("band").connect(&relay.url()).open().await?);
    }
    let mut queues = Vec::new();
    for agent in &agents {
        let stage = agent.document("stage").await?;
        let jobs = stage.queue::<String>("jobs").members(["planner", "slow", "quick"]);
        queues.push(tokio::spawn(jobs.tolerate(1).lease(Duration::from_secs(1)).open()));
    }
    let (planner, slow, quick) = (queues.remove(0).await??, queues.remove(0).await??, queues.remove(0).await??);
    let store = FencedStore::default();

    planner.push(&"tune the guitars".to_owned()).await?;
    let paused = slow.claim(Claiming::Exclusive).await?;
    println!("slow:  works on `{}` with token {}", paused.payload(), paused.token());

    // It is cut off: nobody hears its renewals, and it does not hear that nobody does.
    agents[1].set_online(false);
    let task = quick.claim(Claiming::Exclusive).await?;
    println!("quick: the lease is over, works on `{}` with token {}", task.payload(), task.token());
    store.write(task.item(), task.token(), "tuned by quick")?;

    // It goes on where it was. The store knows better.
    let refused = store.write(paused.item(), paused.token(), "tuned by slow");
    println!("slow:  {}", refused.expect_err("a later holder has written"));
    task.complete().await?;

    agents[1].set_online(true);
    let stale = paused.complete().await.expect_err("its token is not the current one");
    println!("slow:  {stale}");
    println!("store: {:?}", store.written.lock().unwrap_or_else(PoisonError::into_inner).values());

    for agent in agents {
        agent.close().await?;
    }
    relay.shut_down().await?;
    Ok(())
}
