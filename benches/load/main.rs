//! The load tool: every area of `benches/README.md`, the relay in a process of its own beside others, the same clients
//! for all. `cargo bench --bench load -- [AREA..] [--quick] [--repeat N] [--json FILE]`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on ends here; it reads clocks and makes ratios"
)]

mod bulk;
mod client;
mod coordination;
mod footprint;
mod founder;
mod keeping;
mod live;
mod measure;
mod members;
mod raw;
mod repos;
mod rivals;
mod rounds;
mod server;
mod wires;

use measure::Report;

/// How much to measure.
#[derive(Debug)]
struct Plan {
    quick: bool,
    repeat: usize,
}

/// The program under test.
fn binary() -> String {
    std::env::var("AEPOCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_aepoch").to_owned())
}

const AREAS: [&str; 24] = [
    "propagation",
    "admitted",
    "flood",
    "fan-out",
    "max-rate",
    "writers",
    "rooms",
    "resync",
    "wires",
    "wires-rate",
    "wires-resync",
    "repos",
    "urgent",
    "barrier",
    "barrier-1000",
    "storm",
    "barrier-urgent",
    "barrier-rivals",
    "registers",
    "kill",
    "connections",
    "documents",
    "start",
    "store",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut plan, mut json, mut areas) = (Plan { quick: false, repeat: 3 }, None, Vec::new());
    let mut is_raw = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--raw" => is_raw = true,
            // Passed by cargo.
            "--bench" => {}
            "--quick" => (plan.quick, plan.repeat) = (true, 1),
            "--repeat" => plan.repeat = arguments.next().unwrap().parse().unwrap(),
            "--json" => json = arguments.next(),
            area if AREAS.contains(&area) => areas.push(area.to_owned()),
            other => panic!("unknown: {other}; there is {AREAS:?}, --quick, --repeat N, --json FILE"),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if is_raw {
        return runtime.block_on(raw::serve());
    }
    if areas.is_empty() {
        areas = AREAS.map(str::to_owned).to_vec();
    }
    let mut report = Report::default();
    for area in areas {
        runtime.block_on(run(&area, &plan, &mut report));
    }
    report.finish(json.as_deref());
}

async fn run(area: &str, plan: &Plan, report: &mut Report) {
    match area {
        "propagation" => live::propagation(plan, report).await,
        "admitted" => live::admitted(plan, report).await,
        "flood" => live::flood(plan, report).await,
        "fan-out" => live::fan_out(plan, report).await,
        "max-rate" => live::max_rate(plan, report).await,
        "writers" => live::many_writers(plan, report).await,
        "rooms" => live::many_rooms(plan, report).await,
        "resync" => bulk::resync(plan, report).await,
        "wires" => wires::wires(plan, report).await,
        "wires-rate" => wires::rate(plan, report).await,
        "wires-resync" => wires::resync(plan, report).await,
        "repos" => repos::repos(plan, report).await,
        "urgent" => bulk::urgent(plan, report).await,
        "barrier" => coordination::barrier(plan, report).await,
        "barrier-1000" => coordination::barrier_of_1000(plan, report).await,
        "storm" => coordination::storm(plan, report).await,
        "barrier-urgent" => coordination::urgent(plan, report).await,
        "barrier-rivals" => rivals::rivals(plan, report).await,
        "registers" => footprint::registers(plan, report),
        "connections" => footprint::connections(plan, report).await,
        "documents" => footprint::documents(plan, report).await,
        "kill" => keeping::kill(plan, report).await,
        "start" => keeping::start(plan, report).await,
        _ => keeping::store(plan, report),
    }
}
