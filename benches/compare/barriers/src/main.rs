//! Barriers of systems that people use for them, measured as the load tool measures ours: the same rounds, each member
//! a task with a connection of its own, in one process. `barriers SYSTEM --members N --rounds N [--storm]` prints one
//! row as JSON; a system that is not installed says so in it.
//!
//! Keys of rounds that are over stay: removing them would cost the servers time that nobody asked for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement that cannot go on ends here")]

mod etcd;
mod redis;
#[path = "../../../load/rounds.rs"]
mod rounds;
mod server;
mod zookeeper;

use rounds::{Crew, Member};
use serde_json::{Value, json};
use server::Server;

/// How members learn that all have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipe {
    /// The double barrier as published, its first half: whoever finds all there says that it is ready.
    Ready,
    /// Every member watches the arrivals and counts: one write less behind the last one, n x n events in all.
    Counted,
}

struct Plan {
    members: usize,
    rounds: usize,
    is_storm: bool,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let system = arguments.next().unwrap_or_default();
    let mut plan = Plan { members: 10, rounds: 100, is_storm: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--members" => plan.members = arguments.next().unwrap().parse().unwrap(),
            "--rounds" => plan.rounds = arguments.next().unwrap().parse().unwrap(),
            "--storm" => plan.is_storm = true,
            other => panic!("unknown: {other}; there is --members N, --rounds N, --storm"),
        }
    }
    println!("{}", measure(&system, &plan).await);
}

async fn measure(system: &str, plan: &Plan) -> Value {
    let (name, recipe) = match system {
        "redis" => ("redis", Recipe::Ready),
        "etcd" => ("etcd", Recipe::Ready),
        "etcd-counted" => ("etcd", Recipe::Counted),
        "zookeeper" => ("zookeeper", Recipe::Ready),
        "zookeeper-counted" => ("zookeeper", Recipe::Counted),
        other => panic!("unknown: {other}; there is redis, etcd, etcd-counted, zookeeper, zookeeper-counted"),
    };
    let server = match Server::start(name) {
        Ok(server) => server,
        Err(why) => return json!({ "skipped": why }),
    };
    match name {
        "redis" => rounds_of(redis::members(&server.address, plan.members).await, plan).await,
        "etcd" => rounds_of(etcd::members(&server.address, plan.members, recipe).await, plan).await,
        _ => rounds_of(zookeeper::members(&server.address, plan.members, recipe).await, plan).await,
    }
}

/// A fifth as many rounds go before that do not count: a virtual machine has to compile itself first.
async fn rounds_of<M: Member>(members: Vec<M>, plan: &Plan) -> Value {
    let mut crew = Crew::new(members);
    let mut latencies = Vec::new();
    for _ in 0..plan.rounds + plan.rounds.div_ceil(5) {
        latencies.push(if plan.is_storm { crew.storm().await } else { crew.last_arrival().await });
    }
    latencies.drain(..plan.rounds.div_ceil(5));
    latencies.sort_unstable();
    // The nearest rank, as in the load tool.
    let at = |percent: usize| {
        let index = ((latencies.len() - 1) * percent + 50) / 100;
        latencies[index].as_secs_f64() * 1e3
    };
    json!({ "p50 ms": at(50), "p99 ms": at(99), "max ms": at(100) })
}
