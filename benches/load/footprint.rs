//! What things take in memory: overwritten registers, connections, documents.

use std::time::Duration;

use aepoch::{
    document::{Delta, Document, DocumentError, Incoming, Subscription},
    engine::EngineKind,
    id::DocumentId,
};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    Plan,
    client::{Client, edits, replica},
    live::compare,
    measure::{Report, Row, at_most},
    server::{Kind, Server, resident},
};

const WRITERS: u16 = 20;
const REGISTERS: u32 = 1_000;
/// Transactions of one writer between two exchanges with the others.
const TURNS: u32 = 5;

/// 20 writers overwrite 1,000 registers a million times, each in turn, meeting the others every 5,000 writes.
pub(crate) fn registers(plan: &Plan, report: &mut Report) {
    let rounds = if plan.quick { 2 } else { 10 };
    let new = |writer| Document::new(DocumentId::new("registers").unwrap(), EngineKind::Yrs, replica(writer)).unwrap();
    let mut writers: Vec<Document> = (1..=WRITERS).map(new).collect();
    let mut hub = new(0);
    let mut number = 0_u32;
    for writer in &mut writers {
        meet(writer, &hub);
        write_all(writer, &mut hub, &mut number);
    }
    writers.iter_mut().for_each(|writer| meet(writer, &hub));
    let size = |hub: &Document| hub.snapshot().encode().unwrap().len() as f64;
    let (first_bytes, first_held, first_resident) = (size(&hub), hub.records_held(), resident("self") as f64);
    for _ in 0..rounds {
        for writer in &mut writers {
            meet(writer, &hub);
            for _ in 0..TURNS {
                write_all(writer, &mut hub, &mut number);
            }
        }
    }
    writers.iter_mut().for_each(|writer| meet(writer, &hub));
    let (bytes, held, resident) = (size(&hub), hub.records_held(), resident("self") as f64);
    let row = Row::from([
        ("bytes ratio", bytes / first_bytes),
        ("held bytes ratio", held.1 as f64 / first_held.1 as f64),
        ("process memory ratio", resident / first_resident),
        ("document MB", bytes / 1e6),
        ("process MB", resident / 1e6),
        ("writes", f64::from(number)),
    ]);
    let bars = [at_most("bytes ratio", 2.0, None), at_most("process memory ratio", 2.0, None)];
    report.area("registers overwritten", &[(Kind::Ours, vec![row])], &bars);
}

fn write_all(writer: &mut Document, hub: &mut Document, number: &mut u32) {
    let ((), commit) = writer
        .transact(1_700_000_000_000 + u64::from(*number), false, |transaction| {
            for register in 0..REGISTERS {
                *number += 1;
                let value = json!({ "status": "working", "step": *number, "of": "one of many" });
                transaction.set_register(&format!("task-{register:04}"), &value)?;
            }
            Ok::<_, DocumentError>(())
        })
        .unwrap();
    take(hub, commit.delta);
}

fn meet(writer: &mut Document, hub: &Document) {
    let missed = hub.delta_since(&writer.frontier(), None, &Subscription::default()).unwrap();
    take(writer, missed);
}

fn take(document: &mut Document, delta: Delta) {
    let encoded = delta.encode().unwrap();
    let incoming = Incoming { delta, encoded, source: 0, author: None };
    let applied = document.apply(vec![incoming], 1_700_000_000_000, false).unwrap();
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);
}

/// Memory of the relay for each connection that does nothing.
pub(crate) async fn connections(plan: &Plan, report: &mut Report) {
    let count: u16 = if plan.quick { 500 } else { 2_000 };
    let bars = [at_most("KB greeted", 16.0, None)];
    let kinds = [Kind::Raw, Kind::Ours];
    compare(plan, report, "idle connections", &kinds, &bars, |kind| each_connection(kind, count)).await;
}

/// What one of so many connections takes that do nothing.
pub(crate) async fn each_connection(kind: Kind, count: u16) -> Row {
    let server = Server::start(kind);
    let mut clients = vec![Client::join(&server, "idle", 0).await];
    sleep(Duration::from_millis(300)).await;
    let before = server.memory();
    for number in 1..=count {
        clients.push(Client::connect(&server, "idle", number).await);
    }
    sleep(Duration::from_millis(500)).await;
    let greeted = server.memory();
    // The first has joined already, and a room answers one join of each connection.
    for client in clients.iter_mut().skip(1) {
        client.enter(aepoch::document::Frontier::default(), &[0]).await;
    }
    sleep(Duration::from_millis(500)).await;
    let each = |memory: u64| memory.saturating_sub(before) as f64 / 1024.0 / f64::from(count);
    Row::from([("KB greeted", each(greeted)), ("KB joined", each(server.memory()))])
}

/// Memory of the relay for each document of 100 small edits that one client holds open.
pub(crate) async fn documents(plan: &Plan, report: &mut Report) {
    let count = if plan.quick { 100 } else { 500 };
    compare(
        plan,
        report,
        "idle documents",
        &[Kind::Ours, Kind::YWebsocket, Kind::Hocuspocus],
        &[],
        |kind| async move {
            let server = Server::start(kind);
            let _one = Client::join(&server, "idle", 0).await;
            sleep(Duration::from_millis(300)).await;
            let before = server.memory();
            let mut clients = Vec::new();
            for room in 0..count {
                let room = format!("idle-{room}");
                let mut client = Client::join(&server, &room, 1).await;
                client.send(&edits(&room, 1, 100)).await;
                clients.push(client);
            }
            sleep(Duration::from_secs(2)).await;
            Row::from([("KB each", server.memory().saturating_sub(before) as f64 / 1024.0 / f64::from(count))])
        },
    )
    .await;
}
