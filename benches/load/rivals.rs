//! Our barrier beside those of Redis, etcd and ZooKeeper, which `benches/compare/barriers` measures in the same way.

use std::{path::PathBuf, process::Command};

use crate::{
    Plan,
    coordination::{Arrival, run},
    measure::{Report, Row, at_most},
    members::Tolerate,
    server::{Kind, compare},
};

/// Twice where watching the arrivals beats the published recipe: a rival is measured at its best.
const RIVALS: [(Kind, &str); 5] = [
    (Kind::Redis, "redis"),
    (Kind::Etcd, "etcd"),
    (Kind::EtcdCounted, "etcd-counted"),
    (Kind::Zookeeper, "zookeeper"),
    (Kind::ZookeeperCounted, "zookeeper-counted"),
];

/// What is three times faster takes a third of the time.
const THIRD: f64 = 0.333;

/// Last arrival to slowest release of 10 and 100 members, and 100 that arrive at once; ours and the rivals in turn.
pub(crate) async fn rivals(plan: &Plan, report: &mut Report) {
    let bars = [Kind::Etcd, Kind::EtcdCounted, Kind::Zookeeper, Kind::ZookeeperCounted]
        .map(|kind| at_most("p50 ms", THIRD, Some(kind)));
    let workloads = [
        ("barrier of 10 beside rivals", 10, Arrival::LastAlone, 200, &bars[..]),
        ("barrier of 100 beside rivals", 100, Arrival::LastAlone, 50, &bars[..]),
        ("storm of 100 beside rivals", 100, Arrival::Together, 20, &[]),
    ];
    for (name, members, arrival, count, bars) in workloads {
        let count = if plan.quick { count / 5 } else { count };
        let mut runs: Vec<(Kind, Vec<Row>)> = vec![(Kind::Ours, Vec::new())];
        runs.extend(RIVALS.map(|(kind, _)| (kind, Vec::new())));
        let mut skipped = [false; RIVALS.len()];
        for _ in 0..plan.repeat {
            let mut ours = run(Kind::Ours, members, Tolerate::Nobody, arrival, count).await;
            // The others' processes are not looked into.
            ours.retain(|unit, _| !unit.contains("cpu"));
            runs[0].1.push(ours);
            for (at, (kind, system)) in RIVALS.into_iter().enumerate() {
                if skipped[at] {
                    continue;
                }
                match measure(system, members, arrival, count) {
                    Ok(row) => runs[at + 1].1.push(row),
                    Err(why) => {
                        println!("{} is skipped: {why}", kind.name());
                        skipped[at] = true;
                    }
                }
            }
        }
        report.area(name, &runs, bars);
    }
}

/// One run of a rival, in a process of its own like ours; or why there is none.
fn measure(system: &str, members: usize, arrival: Arrival, rounds: usize) -> Result<Row, String> {
    let program: PathBuf = compare().join("barriers/target/release/barriers");
    if !program.is_file() {
        return Err("benches/compare/barriers is not built, see benches/README.md".to_owned());
    }
    let mut command = Command::new(program);
    command.arg(system).args(["--members", &members.to_string(), "--rounds", &rounds.to_string()]);
    if arrival == Arrival::Together {
        command.arg("--storm");
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    if let Some(why) = row["skipped"].as_str() {
        return Err(why.to_owned());
    }
    let unit = |unit: &'static str| row[unit].as_f64().map(|value| (unit, value)).ok_or(format!("no {unit} in {row}"));
    Ok(Row::from([unit("p50 ms")?, unit("p99 ms")?, unit("max ms")?]))
}
