//! What survives, and how fast: a relay killed again and again, a start, commits.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    time::{Duration, Instant},
};

use aepoch::{
    document::Frontier,
    id::DocumentId,
    store::{Answers, RedbStore, StoreTask, StoreThread, WriterConfig},
};
use bytes::Bytes;

use crate::{
    Plan,
    client::{Client, News, edits, replica},
    live::compare,
    measure::{Latencies, Report, Row, at_most},
    server::{Kind, Server},
};

/// The relay is killed while a writer is busy, and started again on the same store: what it had acknowledged is there.
pub(crate) async fn kill(plan: &Plan, report: &mut Report) {
    let rounds = if plan.quick { 5 } else { 50 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    let prepared = edits("kill", 1, 60_000);
    let (mut lost, mut acknowledged, mut unacknowledged_kept) = (0_u32, 0_u32, 0_u32);
    for round in 0..rounds {
        let mut server = Server::on_store(path.clone());
        let mut client = Client::connect(&server, "kill", 1).await;
        client.ask(Frontier::default(), &[0]).await;
        let kept = loop {
            let news = client.next().await.unwrap();
            let frontier = news.into_iter().find_map(|news| match news {
                News::Frontier(version) => Some(version),
                _ => None,
            });
            if let Some(version) = frontier {
                break u32::try_from(version.content.get(replica(1))).unwrap();
            }
        };
        lost += acknowledged.saturating_sub(kept);
        unacknowledged_kept += kept.saturating_sub(acknowledged);
        acknowledged = acknowledged.max(kept);
        let mut next = kept as usize;
        let end = Instant::now() + Duration::from_millis(60 + (round * 37) % 200);
        while Instant::now() < end {
            client.send(&prepared[next..next + 5]).await;
            next += 5;
            let until = tokio::time::Instant::now() + Duration::from_millis(3);
            while let Ok(Some(packet)) = tokio::time::timeout_at(until, client.packet()).await {
                for news in client.take(packet).await {
                    if let News::Durable(upto) = news {
                        acknowledged = acknowledged.max(upto);
                    }
                }
            }
        }
        server.kill();
        // What was on its way when it died counts as well.
        while let Some(packet) = client.packet().await {
            for news in client.decode(packet) {
                if let News::Durable(upto) = news {
                    acknowledged = acknowledged.max(upto);
                }
            }
        }
    }
    let row = Row::from([
        ("rounds", rounds as f64),
        ("acknowledged", f64::from(acknowledged)),
        ("lost", f64::from(lost)),
        ("kept beyond", f64::from(unacknowledged_kept)),
    ]);
    report.area("killed under load", &[(Kind::Ours, vec![row])], &[at_most("lost", 0.0, None)]);
}

/// From spawning the relay to its first healthy answer, on a fresh store.
pub(crate) async fn start(plan: &Plan, report: &mut Report) {
    let more = Plan { quick: plan.quick, repeat: plan.repeat * 5 };
    compare(&more, report, "start", &[Kind::Ours], &[at_most("ms", 50.0, None)], |kind| async move {
        let server = Server::start(kind);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Row::from([("ms", server.started.elapsed().as_secs_f64() * 1e3)])
    })
    .await;
}

/// Appends of 200 bytes through the store's thread on disk, by producers that each wait for their last one.
pub(crate) fn store(plan: &Plan, report: &mut Report) {
    let span = Duration::from_secs(if plan.quick { 1 } else { 3 });
    for producers in [1_u64, 16, 64] {
        let rows = (0..plan.repeat).map(|_| appends(producers, span)).collect();
        report.area(&format!("store, {producers} producers"), &[(Kind::Ours, rows)], &[]);
    }
}

fn appends(producers: u64, span: Duration) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let (answered, answers) = mpsc::channel::<Answers>();
    let store = Box::new(RedbStore::open(folder.path().join("store.redb")).unwrap());
    let thread = StoreThread::spawn(store, WriterConfig::default(), move |done| {
        let _ = answered.send(done);
    })
    .unwrap();
    let submit = |producer: u64| {
        let document = DocumentId::new(&format!("document-{producer}")).unwrap();
        let entries = vec![Bytes::from(vec![7; 200])];
        thread.submit(producer, StoreTask::Append { document, header: Bytes::from_static(b"h"), entries });
        Instant::now()
    };
    let start = Instant::now();
    let mut since: Vec<Instant> = (0..producers).map(submit).collect();
    let (mut latencies, mut commits) = (Latencies::default(), 0_u32);
    while start.elapsed() < span {
        commits += 1;
        for (producer, result) in answers.recv().unwrap() {
            result.unwrap();
            latencies.add(since[producer as usize].elapsed());
            since[producer as usize] = submit(producer);
        }
    }
    let appends = latencies.len() as f64;
    let mut row = latencies.into_row();
    row.insert("appends/s", appends / span.as_secs_f64());
    row.insert("flushes/s", f64::from(commits) / span.as_secs_f64());
    row
}
