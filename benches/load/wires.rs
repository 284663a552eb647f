//! Clients of other libraries: the same loads on our relay as those clients find it, and on the servers they come with.

use std::sync::Arc;

use crate::{
    Plan, bulk,
    client::edits,
    footprint,
    live::{compare, crowd, highest_rate, ping, spread},
    measure::{Report, at_least, at_most},
    server::{Kind, Server},
};

const BOTH: [Kind; 4] = [Kind::OursYjs, Kind::YWebsocket, Kind::OursHocuspocus, Kind::Hocuspocus];

pub(crate) async fn wires(plan: &Plan, report: &mut Report) {
    let count = if plan.quick { 100 } else { 300 };
    let prepared = edits("propagation", 1, count);
    let bars = [at_most("p50 ms", 0.6, Some(Kind::YWebsocket))];
    compare(plan, report, "wires: propagation", &BOTH, &bars, |kind| ping(kind, prepared.clone())).await;

    let seconds = if plan.quick { 3 } else { 10 };
    let prepared = edits("fan", 0, 200 * seconds);
    let bars = [at_most("cpu s", 0.5, Some(Kind::YWebsocket))];
    compare(plan, report, "wires: fan-out", &BOTH, &bars, |kind| spread(kind, prepared.clone())).await;

    let prepared: Vec<_> = (0..50).map(|writer| edits("crowd", writer, 20 * seconds)).collect();
    compare(plan, report, "wires: 50 writers", &BOTH, &bars, |kind| {
        let rooms = vec![("crowd".to_owned(), prepared.iter().map(Arc::clone).collect())];
        async move { crowd(&Server::start(kind), rooms, 20.0).await }
    })
    .await;

    rate(plan, report).await;
    resync(plan, report).await;

    let connections = if plan.quick { 500 } else { 2_000 };
    let bars = [at_most("KB joined", 16.0, None)];
    compare(plan, report, "wires: idle connections", &BOTH, &bars, |kind| {
        footprint::each_connection(kind, connections)
    })
    .await;
}

/// As fast as one can write and all others still follow.
pub(crate) async fn rate(plan: &Plan, report: &mut Report) {
    let bars = [at_least("edits/s", 1.0, Some(Kind::Hocuspocus)), at_least("edits/s", 8.0, Some(Kind::YWebsocket))];
    compare(plan, report, "wires: highest rate", &BOTH, &bars, highest_rate).await;
}

/// Somebody comes back who missed 10,000 edits.
pub(crate) async fn resync(plan: &Plan, report: &mut Report) {
    let bars = [at_most("ms", 0.5, Some(Kind::YWebsocket))];
    bulk::resync_of(plan, report, "wires: resync", (&BOTH, &bars), 10_000).await;
}
