//! Existing agents join flash operations: an alpha-first barrier, an epoch, several operations at once, status and
//! clean-up. Run with `cargo run --example synchronizer`.

use std::{sync::Arc, time::Duration};

use aepoch::{
    Agent, Relay,
    agent::{
        AgentDocument,
        coordination::{AgentSynchronizer, Doing, Passage, SynchronizedAgent},
    },
};

/// An agent as it was before: it knows nothing of barriers, only what to do when.
struct Musician {
    name: &'static str,
    stage: AgentDocument,
}

impl SynchronizedAgent for Musician {
    fn on_arrive<'a>(&'a self, operation: &'a str) -> Doing<'a> {
        Box::pin(async move {
            // Seen by everybody who is released: no waiting, no asking again.
            self.stage.register(&format!("{operation}/{}", self.name)).set(&"tuned").expect("the stage is open");
        })
    }

    fn on_release<'a>(&'a self, operation: &'a str, passage: &'a Passage) -> Doing<'a> {
        Box::pin(async move { println!("{} {operation}: on after {:?}", self.name, passage.waited) })
    }

    fn on_phase<'a>(&'a self, operation: &'a str, phase: &'a str) -> Doing<'a> {
        Box::pin(async move { println!("{} {operation}: {phase}", self.name) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let relay = Relay::builder().listen("127.0.0.1:0").open().await?;
    let names = ["lead", "bass", "drums", "keys"];
    let mut band = AgentSynchronizer::new();
    for name in names {
        let agent = Agent::builder(name).swarm("band").connect(&relay.url()).open().await?;
        let stage = agent.document("stage").await?;
        band = band.with(stage.clone(), Arc::new(Musician { name, stage }));
    }
    let wait = Duration::from_secs(15);
    // Several operations at once: the lead goes on first in both.
    let (intro, outro) = tokio::join!(
        band.sync_alpha_agents("intro", &["lead"], &["bass", "drums", "keys"], wait),
        band.sync_alpha_agents("outro", &["lead"], &["keys"], wait),
    );
    let (took_part, all) = intro?.participation();
    println!("intro: {took_part} of {all} took part; outro complete: {}", outro?.is_complete());
    let show = band.sync_with_epoch("show", &names, &["collect", "plan", "act"], Duration::from_secs(60)).await?;
    println!("show: complete: {}, longest wait {:?}", show.is_complete(), show.waited());
    let status = band.status("show")?.ok_or("the show is known until it is cleaned up")?;
    println!("show: {} in generation {}", status.kind, status.barrier.generation);
    println!("cleaned up: {}", band.cleanup("show").await?);
    relay.shut_down().await?;
    Ok(())
}
