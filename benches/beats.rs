//! How long a write takes to an agent of another process, by the wall clock of one machine. One process hears, any number
//! beat, among them pages (`bindings/wasm/bench/beats.mjs` runs all of them).
//!
//! `cargo bench --bench beats -- beat URL NAME COUNT GAP_MS` writes when it writes; `... -- hear URL COUNT NAME..` prints, as
//! JSON, the microseconds from there until each beat of those named was heard.
#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a measurement reads clocks; microseconds since 1970 fit 64 bits"
)]

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, SystemTime},
};

use aepoch::{
    Agent,
    engine::{Change, Section},
};

fn wall_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["beat", url, name, count, gap] => beat(url, name, count.parse()?, Duration::from_millis(gap.parse()?)).await,
        ["hear", url, count, ref names @ ..] => hear(url, count.parse()?, names).await,
        // As one of all benches it has nothing to say.
        [] => {
            println!("see the head of benches/beats.rs");
            Ok(())
        }
        _ => Err("usage: beat URL NAME COUNT GAP_MS | hear URL COUNT NAME..".into()),
    }
}

async fn beat(url: &str, name: &str, count: usize, gap: Duration) -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder(name).swarm("beats").connect(url).open().await?;
    let stage = agent.document("stage").await?;
    for _ in 0..count {
        tokio::time::sleep(gap).await;
        stage.register(&format!("beat/{name}")).set(&wall_us())?;
    }
    stage.flush().await?;
    Ok(agent.close().await?)
}

async fn hear(url: &str, count: usize, names: &[&str]) -> Result<(), Box<dyn Error>> {
    let agent = Agent::builder("listener").swarm("beats").connect(url).open().await?;
    let stage = agent.document("stage").await?;
    let mut beats = stage.observe("register/beat/");
    println!("listening");
    let mut heard: BTreeMap<&str, Vec<u64>> = names.iter().map(|name| (*name, Vec::new())).collect();
    while heard.values().any(|times| times.len() < count) {
        let Some(patch) = beats.next().await? else { break };
        let now = wall_us();
        let (Section::Register, Change::Put { new: Some(at), .. }) = (patch.path.section, &patch.change) else {
            continue;
        };
        let name = patch.path.name.strip_prefix("beat/").unwrap_or_default();
        if let (Some(times), Some(at)) = (heard.get_mut(name), at.as_u64()) {
            times.push(now.saturating_sub(at));
        }
    }
    println!("{}", serde_json::to_string(&heard)?);
    Ok(agent.close().await?)
}
