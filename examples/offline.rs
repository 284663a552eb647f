//! An agent works without a network, ends, starts again from its store, and then meets the others.
//!
//! Run with `cargo run --example offline`.

use std::{error::Error, path::Path, time::Duration};

use aepoch::{Agent, Relay, agent::AgentError};

async fn open(store: &Path, relay: &Relay) -> Result<Agent, AgentError> {
    Agent::builder("scout").swarm("survey").store(store).connect(&relay.url()).open().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("aepoch-offline-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let store = folder.join("scout.redb");
    let relay = Relay::builder().listen("127.0.0.1:0").open().await?;

    // Offline: everything works on the agent's own replica, and is kept in its store.
    let scout = open(&store, &relay).await?;
    scout.set_online(false);
    while scout.status().online {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let map = scout.document("map").await?;
    for tile in 0..100 {
        map.map("tiles").put(&tile.to_string(), &"seen")?;
        map.counter("steps").add(1)?;
    }
    let status = scout.status();
    println!("offline: {} writes wait, because: {}", status.unsynced, status.stalled.unwrap_or_default());
    drop(map);
    scout.close().await?;

    // Meanwhile somebody else writes to the same document.
    let base = Agent::builder("base").swarm("survey").connect(&relay.url()).open().await?;
    let plan = base.document("map").await?;
    plan.register("goal").set(&"the ridge")?;
    plan.flush().await?;

    // Back, as the same writer, from the same store. Only what each side lacks travels.
    let scout = open(&store, &relay).await?;
    let map = scout.document("map").await?;
    scout.flush().await?;
    while map.register::<String>("goal").get()?.is_none() || plan.counter("steps").get()? < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = scout.status();
    println!("back:    {} writes wait; {} bytes sent, {} received", status.unsynced, status.bytes_out, status.bytes_in);
    println!("scout knows the goal: {:?}", map.register::<String>("goal").get()?);
    println!("base knows {} tiles, {} steps", plan.map::<String>("tiles").len()?, plan.counter("steps").get()?);

    drop((map, plan));
    scout.close().await?;
    base.close().await?;
    relay.shut_down().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
