//! Two agents and a relay in one process: what one writes, the other reads.
//!
//! Run with `cargo run --example hello_swarm`.

use std::{error::Error, time::Duration};

use aepoch::{Agent, Relay};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A relay that keeps documents in memory, at any free port. `aepoch serve` is the same as a program.
    let relay = Relay::builder().listen("127.0.0.1:0").open().await?;
    let open = |name: &str| Agent::builder(name).swarm("band").connect(&relay.url()).open();
    let (planner, player) = (open("planner").await?, open("player").await?);

    // Reads and writes are local and immediate; they travel by themselves.
    let stage = planner.document("stage").await?;
    stage.register("setlist").set(&vec!["intro", "outro"])?;
    stage.counter("takes").add(1)?;
    stage.map("lights").put("left", &"red")?;
    planner.state().set("status", "planning")?;

    // Content and records in one step: others see both or neither.
    stage.transact(|transaction| {
        transaction.map("lights").put("right", &"blue")?;
        transaction.counter("takes").add(1)
    })?;
    // Durable at the relay from here on, whatever happens to this process.
    stage.flush().await?;

    let theirs = player.document("stage").await?;
    let mut changes = theirs.observe("");
    while theirs.counter("takes").get()? < 2 {
        changes.next().await?;
    }
    theirs.counter("takes").add(1)?;
    println!("setlist: {:?}", theirs.register::<Vec<String>>("setlist").get()?);
    println!("takes:   {}", theirs.counter("takes").get()?);
    for (light, colour) in theirs.map::<String>("lights").entries()? {
        println!("light:   {light} is {colour}");
    }

    // Both replicas hold the same once they have heard of each other's writes.
    while stage.digest()? != theirs.digest()? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("both replicas are equal");
    drop((changes, stage, theirs));
    player.close().await?;
    planner.close().await?;
    relay.shut_down().await?;
    Ok(())
}
