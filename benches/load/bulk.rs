//! Much at once: what was missed, and a whole document beside what is urgent.

use std::time::{Duration, Instant};

use aepoch::{
    document::{Document, Frontier},
    engine::{EngineKind, Op},
    id::{AgentId, DocumentId},
    sync::{Address, Lane, Message},
    time::Dice,
};
use serde_json::{Value, json};

use crate::{
    Plan,
    client::{Client, Edit, News, put, replica},
    live::compare,
    measure::{Bar, Latencies, Report, Row, at_most},
    server::{Kind, Server},
};

/// An agent's state of about 1 KB, as JSON: a goal, a plan, tools, notes; every word drawn from `dice`.
fn agent_state(dice: &mut Dice, number: u32) -> Value {
    const WORDS: [&str; 32] = [
        "fetch", "invoice", "stage", "planner", "retry", "index", "summary", "cluster", "review", "customer", "light",
        "draft", "error", "deploy", "window", "vector", "batch", "merge", "report", "session", "token", "search",
        "budget", "label", "queue", "sensor", "policy", "export", "region", "schema", "patch", "audit",
    ];
    let mut words = |count: u64| {
        let words: Vec<&str> = (0..count).map(|_| WORDS[dice.below(32) as usize]).collect();
        words.join(" ")
    };
    let steps: Vec<Value> = (0..4)
        .map(|step| json!({ "step": step, "tool": words(1), "input": words(8), "status": words(1), "note": words(6) }))
        .collect();
    let goal = words(10);
    let id = format!("{:016x}{:016x}", dice.bits(), dice.bits());
    json!({
        "id": id, "revision": number, "goal": goal, "plan": steps,
        "confidence": dice.below(1_000) as f64 / 1_000.0, "updated_ms": 1_700_000_000_000_u64 + u64::from(number) * 731,
    })
}

/// One writer fills 1,000 keys with 1 KB each; a reader has that, and misses 10,000 overwrites.
pub(crate) async fn resync(plan: &Plan, report: &mut Report) {
    let kinds = [Kind::Ours, Kind::YWebsocket, Kind::Hocuspocus];
    let bars = [at_most("bytes / state", 0.6, None), at_most("ms", 0.5, Some(Kind::YWebsocket))];
    let missed = if plan.quick { 2_000 } else { 10_000 };
    resync_of(plan, report, "resync", (&kinds, &bars), missed).await;
}

pub(crate) async fn resync_of(
    plan: &Plan,
    report: &mut Report,
    name: &str,
    (kinds, bars): (&[Kind], &[Bar]),
    missed: u32,
) {
    let keys = 1_000;
    let mut dice = Dice::new(7);
    let mut document = Document::new(DocumentId::new("missed").unwrap(), EngineKind::Yrs, replica(1)).unwrap();
    let mut edits: Vec<Edit> = Vec::new();
    let mut had = Frontier::default();
    for number in 0..keys + missed {
        if number == keys {
            had = document.frontier();
        }
        let key = if number < keys { number } else { dice.below(u64::from(keys)) as u32 };
        edits.push(put(&mut document, number, &format!("agent-{key:04}"), agent_state(&mut dice, number)));
    }
    let state = document.snapshot().encode().unwrap().len();
    // One writer: a state vector of one entry. Its clock is the number of keys, one unit for each write.
    let vector = state_vector(replica(1).get(), u64::from(keys));
    compare(plan, report, name, kinds, bars, |kind| {
        let (edits, had, vector) = (edits.clone(), had.clone(), vector.clone());
        async move {
            let server = Server::start(kind);
            let mut writer = Client::join(&server, "missed", 1).await;
            for (index, some) in edits.chunks(100).enumerate() {
                writer.send(some).await;
                // What a server answers is read, and it is given time.
                let wanted = u32::try_from(index * 100 + some.len()).unwrap();
                if kind == Kind::Ours {
                    while !writer.next().await.unwrap().contains(&News::Durable(wanted)) {}
                }
            }
            if kind != Kind::Ours {
                // Answered when everything before it has been taken in.
                writer.enter(Frontier::default(), &state_vector(replica(1).get(), edits.len() as u64)).await;
            }
            let mut reader = Client::connect(&server, "missed", 2).await;
            let before = reader.bytes_in;
            let start = Instant::now();
            reader.ask(had, &vector).await;
            loop {
                let news = reader.next().await.unwrap();
                let all = news.iter().any(|news| match news {
                    News::Upto(1, upto) => *upto as usize == edits.len(),
                    News::State => kind != Kind::Ours,
                    _ => false,
                });
                if all {
                    break;
                }
            }
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            let bytes = (reader.bytes_in - before) as f64;
            Row::from([("ms", elapsed), ("bytes / state", bytes / state as f64), ("state MB", state as f64 / 1e6)])
        }
    })
    .await;
}

/// A Yjs state vector with one entry.
fn state_vector(client: u64, clock: u64) -> Vec<u8> {
    let mut vector = vec![1];
    for mut number in [client, clock] {
        while number > 127 {
            vector.push((number & 127) as u8 | 128);
            number >>= 7;
        }
        vector.push(number as u8);
    }
    vector
}

/// The commits of a document of so many megabytes of hexadecimal noise, 50,000 bytes under each key.
pub(crate) fn large(room: &str, megabytes: u32) -> Vec<bytes::Bytes> {
    let mut document = Document::new(DocumentId::new(room).unwrap(), EngineKind::Yrs, replica(3)).unwrap();
    let mut dice = Dice::new(11);
    let mut deltas = Vec::new();
    for number in 0..megabytes * 20 {
        let blob: String = (0..50_000 / 16).map(|_| format!("{:016x}", dice.bits())).collect();
        let op = Op::MapPut { map: "blobs".into(), key: format!("blob-{number}").into(), value: json!(blob) };
        let ((), commit) = document
            .transact(1, false, |transaction| {
                transaction.content(op);
                Ok::<_, aepoch::document::DocumentError>(())
            })
            .unwrap();
        deltas.push(commit.delta.encode().unwrap());
    }
    deltas
}

/// Two agents echo a message on the most urgent lane, first alone, then while one of them is sent a document of 50 MB
/// over the same connection, again and again.
pub(crate) async fn urgent(plan: &Plan, report: &mut Report) {
    let deltas = large("large", if plan.quick { 10 } else { 50 });
    let name = "urgent p99 beside a large document";
    compare(plan, report, name, &[Kind::Ours], &[at_most("ratio", 3.0, None)], |kind| {
        let deltas = deltas.clone();
        async move {
            let server = Server::start(kind);
            upload(&server, "large", &deltas).await;
            let mut idle = echo(&server, 0, 500).await;
            let mut busy = echo(&server, deltas.len(), 500).await;
            let (idle, busy_p50, busy) = (idle.at(0.99), busy.at(0.5), busy.at(0.99));
            Row::from([("idle p99 ms", idle), ("busy p50 ms", busy_p50), ("busy p99 ms", busy), ("ratio", busy / idle)])
        }
    })
    .await;
}

/// Hands the commits of [`large`] to the relay, until it has all of them on its disk.
pub(crate) async fn upload(server: &Server, room: &str, deltas: &[bytes::Bytes]) {
    let mut writer = Client::join(server, room, 3).await;
    for (index, some) in deltas.chunks(20).enumerate() {
        for delta in some {
            let document = DocumentId::new(room).unwrap();
            writer.queue(&Message::Delta { document, delta: delta.clone() }, Lane::Low);
        }
        writer.transmit().await;
        let wanted = u32::try_from(index * 20 + some.len()).unwrap();
        while !writer.next().await.unwrap().contains(&News::Durable(wanted)) {}
    }
    writer.close().await;
}

/// Round trips from one client to another and back, 2 ms apart. With `transfer`, the other is sent the large document
/// (of so many commits) over and over meanwhile.
async fn echo(server: &Server, transfer: usize, count: usize) -> Latencies {
    let app = |from: u16, body: &'static [u8]| Message::App {
        from: AgentId::new(&format!("load-{from}")).unwrap(),
        to: Address::Document(DocumentId::new("ping").unwrap()),
        lane: Lane::Critical,
        body: bytes::Bytes::from_static(body),
    };
    let mut caller = Client::join(server, "ping", 4).await;
    let mut other = Client::join(server, "ping", 5).await;
    let (call, answer) = (app(4, b"call"), app(5, b"echo"));
    let echoing = tokio::spawn(async move {
        let mut is_idle = transfer > 0;
        loop {
            if std::mem::take(&mut is_idle) {
                other.join_also("large").await;
            }
            let Some(news) = other.next().await else { return };
            for news in news {
                match news {
                    News::App(_) => {
                        other.queue(&answer, Lane::Critical);
                        other.transmit().await;
                    }
                    News::Upto(3, upto) if upto as usize >= transfer => {
                        other.leave("large").await;
                        is_idle = true;
                    }
                    _ => {}
                }
            }
        }
    });
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let start = Instant::now();
        caller.queue(&call, Lane::Critical);
        caller.transmit().await;
        while !caller.next().await.unwrap().iter().any(|news| matches!(news, News::App(_))) {}
        latencies.add(start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    echoing.abort();
    latencies
}
