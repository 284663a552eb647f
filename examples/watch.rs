//! Watching a document: changes as patches, who is there right now, and messages.
//!
//! Run with `cargo run --example watch`.

use std::error::Error;

use aepoch::{Agent, Relay, node::Event, sync::Lane};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let relay = Relay::builder().listen("127.0.0.1:0").open().await?;
    let open = |name: &str| Agent::builder(name).swarm("desk").connect(&relay.url()).open();
    let (reader, writer) = (open("reader").await?, open("writer").await?);
    let watched = reader.document("draft").await?;
    let draft = writer.document("draft").await?;

    // Changes arrive as patches: where, what, and by whom. Only paths under the prefix.
    let mut changes = watched.observe("text/");
    draft.text("title").push("Notes")?;
    draft.counter("edits").add(1)?;
    draft.text("title").push(" on relays")?;
    while watched.text("title").get()? != "Notes on relays" {
        if let Some(patch) = changes.next().await? {
            println!("change:   {} {:?}", patch.path, patch.change);
        }
    }

    // Presence is ephemeral: never stored, and gone with the connection.
    let mut events = reader.events();
    draft.set_presence(&json!({ "cursor": 5 }))?;
    let present = loop {
        if let Some(event) = events.next().await?
            && let Event::Presence { entries, .. } = &*event
        {
            break entries.clone();
        }
    };
    for entry in present {
        let state = entry.state.map(|state| String::from_utf8_lossy(&state).into_owned());
        println!("presence: {} {}", entry.agent, state.unwrap_or_else(|| "left".to_owned()));
    }

    // Messages reach those connected now, at most once. What must arrive belongs into the document.
    writer.send(writer.address_of("draft")?, Lane::High, "ready for review")?;
    let (from, body) = loop {
        if let Some(event) = events.next().await?
            && let Event::Message { from, body, .. } = &*event
        {
            break (from.clone(), body.clone());
        }
    };
    println!("message:  {from} says {}", String::from_utf8_lossy(&body));

    drop((changes, watched, draft));
    writer.close().await?;
    reader.close().await?;
    relay.shut_down().await?;
    Ok(())
}
