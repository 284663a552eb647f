//! Acting together: barriers of agents, beside clients that tell each other by plain broadcast.
//!
//! Agents, their stores (in memory) and the light clients of the yardstick are all in this process, which shares the
//! processors with the relay. That is where the time goes with many members: "members cpu ms" against "relay cpu ms",
//! each for one round with all that belongs to it, settling included.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aepoch::Agent;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    Plan, bulk,
    measure::{Bar, Latencies, Report, Row, at_most, medians},
    members::{Tolerate, ours, raw},
    rounds::Crew,
    server::{Kind, Server, cpu_of},
};

/// How the members of a round arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// All but one, and then the last.
    LastAlone,
    Together,
}

async fn one_round(crew: &mut Crew, arrival: Arrival) -> Duration {
    match arrival {
        Arrival::LastAlone => crew.last_arrival().await,
        Arrival::Together => crew.storm().await,
    }
}

/// So many rounds of a crew, after a tenth as many that do not count.
async fn rounds(server: &Server, crew: &mut Crew, arrival: Arrival, count: usize) -> Row {
    for _ in 0..count.div_ceil(10) {
        one_round(crew, arrival).await;
    }
    let (relay, members) = (server.cpu(), cpu_of("self"));
    let mut latencies = Latencies::default();
    for _ in 0..count {
        latencies.add(one_round(crew, arrival).await);
    }
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e3 / count as f64;
    let (relay, members) = (each(server.cpu() - relay), each(cpu_of("self") - members));
    let mut row = latencies.into_row();
    row.extend([("relay cpu ms", relay), ("members cpu ms", members)]);
    row
}

/// One repetition of ours or raw.
pub(crate) async fn run(kind: Kind, members: usize, tolerate: Tolerate, arrival: Arrival, count: usize) -> Row {
    let server = Server::start(kind);
    if kind == Kind::Raw {
        let mut crew = Crew::new(raw(&server, members).await);
        return rounds(&server, &mut crew, arrival, count).await;
    }
    let (members, _agents) = ours(&server, members, tolerate).await;
    let mut crew = Crew::new(members);
    rounds(&server, &mut crew, arrival, count).await
}

/// Raw and ours in turn; ours also as a ratio to the raw of the same repetition.
async fn against_raw(
    plan: &Plan,
    report: &mut Report,
    (members, tolerate, arrival, count): (usize, Tolerate, Arrival, usize),
    bars: &[Bar],
) -> Vec<(Kind, Vec<Row>)> {
    let (mut floor, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        let theirs = run(Kind::Raw, members, tolerate, arrival, count).await;
        let mut row = run(Kind::Ours, members, tolerate, arrival, count).await;
        row.insert("p50 / raw", row["p50 ms"] / theirs["p50 ms"]);
        floor.push(theirs);
        rows.push(row);
    }
    let runs = vec![(Kind::Raw, floor), (Kind::Ours, rows)];
    let what = if arrival == Arrival::Together { "storm" } else { "barrier" };
    report.area(&format!("{what} of {members}{}", tolerate.name()), &runs, bars);
    runs
}

/// From the last arrival to the slowest release, for 10 and 100 members.
pub(crate) async fn barrier(plan: &Plan, report: &mut Report) {
    let bars = [at_most("p50 / raw", 1.3, None)];
    let mut strict = Vec::new();
    for (members, count) in [(10, 300), (100, 100)] {
        let count = if plan.quick { count / 5 } else { count };
        let setting = |tolerate| (members, tolerate, Arrival::LastAlone, count);
        strict.push(against_raw(plan, report, setting(Tolerate::Nobody), &bars).await);
        for tolerate in [Tolerate::One, Tolerate::Minority] {
            against_raw(plan, report, setting(tolerate), &[]).await;
        }
    }
    growth(report, "barrier, 100 members against 10", &strict);
}

/// The same for 1,000, and for 100 again to compare with; few rounds, each takes long.
pub(crate) async fn barrier_of_1000(plan: &Plan, report: &mut Report) {
    let mut strict = Vec::new();
    for (members, count) in [(100, 20), (1_000, 10)] {
        let count = if plan.quick { 3 } else { count };
        let setting = (members, Tolerate::Nobody, Arrival::LastAlone, count);
        strict.push(against_raw(plan, report, setting, &[]).await);
    }
    growth(report, "barrier, 1,000 members against 100", &strict);
}

/// How many times as long more members take than fewer.
fn growth(report: &mut Report, name: &str, runs: &[Vec<(Kind, Vec<Row>)>]) {
    let ratio = |system: usize| {
        let p50 = |runs: &[(Kind, Vec<Row>)]| medians(&runs[system].1)["p50 ms"];
        (runs[0][system].0, vec![Row::from([("p50 ratio", p50(&runs[1]) / p50(&runs[0]))])])
    };
    report.area(name, &[ratio(0), ratio(1)], &[]);
}

/// 100 members arrive at once.
pub(crate) async fn storm(plan: &Plan, report: &mut Report) {
    let count = if plan.quick { 10 } else { 50 };
    let setting = (100, Tolerate::Nobody, Arrival::Together, count);
    against_raw(plan, report, setting, &[at_most("p50 / raw", 2.5, None)]).await;
}

/// A barrier of 10, alone and while its members are sent a document of 50 MB, one after the other, each on the
/// connection that its barrier uses.
pub(crate) async fn urgent(plan: &Plan, report: &mut Report) {
    const ROOM: &str = "load/large";
    let megabytes = if plan.quick { 10 } else { 50 };
    let idle_rounds = if plan.quick { 50 } else { 300 };
    let deltas = bulk::large(ROOM, megabytes);
    let mut rows = Vec::new();
    for _ in 0..plan.repeat {
        let server = Server::start(Kind::Ours);
        let (members, agents) = ours(&server, 10, Tolerate::Nobody).await;
        let mut crew = Crew::new(members);
        let mut idle = Latencies::default();
        for _ in 0..idle_rounds {
            idle.add(crew.last_arrival().await);
        }
        bulk::upload(&server, ROOM, &deltas).await;
        let under_way = Arc::new(AtomicBool::new(true));
        let transfer = fetch_in_turn(agents, deltas.len(), under_way.clone());
        let mut busy = Latencies::default();
        while under_way.load(Ordering::Acquire) {
            busy.add(crew.last_arrival().await);
        }
        transfer.await.unwrap();
        let count = busy.len() as f64;
        let (idle, busy_p50, busy) = (idle.at(0.99), busy.at(0.5), busy.at(0.99));
        rows.push(Row::from([
            ("idle p99 ms", idle),
            ("busy p50 ms", busy_p50),
            ("busy p99 ms", busy),
            ("busy rounds", count),
            ("ratio", busy / idle),
        ]));
    }
    let name = "barrier p99 beside a large document";
    report.area(name, &[(Kind::Ours, rows)], &[at_most("ratio", 2.0, None)]);
}

/// Every agent in turn opens the large document and waits until all of it is there; then `under_way` ends.
fn fetch_in_turn(agents: Vec<Agent>, blobs: usize, under_way: Arc<AtomicBool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut held = Vec::new();
        for agent in agents {
            let document = agent.document("large").await.unwrap();
            // One key for each blob, and one writer: all are there when all of its commits are.
            while document.version().unwrap().content.get(crate::client::replica(3)) < blobs as u64 {
                sleep(Duration::from_millis(5)).await;
            }
            held.push(document);
        }
        under_way.store(false, Ordering::Release);
    })
}
