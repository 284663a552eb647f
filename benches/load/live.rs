//! Edits on their way while everybody is connected: one at a time, to many readers, from many writers, in many rooms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

use crate::{
    Plan,
    client::{Client, Edit, News, edits, edits_for},
    measure::{Latencies, Limit, Report, Row, at_least, at_most, medians},
    server::{Kind, Server},
};

const EVERYONE: [Kind; 4] = [Kind::Raw, Kind::Ours, Kind::YWebsocket, Kind::Hocuspocus];

/// A number that no writer has.
const READER: u16 = u16::MAX;

/// When which edit was sent, in nanoseconds since `base`; one row per writer.
struct Sent {
    base: Instant,
    times: Vec<Vec<AtomicU64>>,
}

impl Sent {
    fn new(writers: usize, edits: usize) -> Arc<Self> {
        let row = || (0..edits).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { base: Instant::now(), times: (0..writers).map(|_| row()).collect() })
    }

    fn note(&self, writer: u16, edits: &[Edit]) {
        let now = u64::try_from(self.base.elapsed().as_nanos()).unwrap();
        for edit in edits {
            self.times[usize::from(writer)][edit.number as usize].store(now, Ordering::Relaxed);
        }
    }

    fn latency(&self, writer: u16, number: u32, now: Duration) -> Duration {
        let sent = self.times[usize::from(writer)][number as usize].load(Ordering::Relaxed);
        now.saturating_sub(Duration::from_nanos(sent))
    }
}

/// What a reader has seen of every writer but itself: a shared batch comes back to its writers, and some servers send
/// every edit back.
struct Seen {
    me: u16,
    sent: Arc<Sent>,
    upto: Vec<u32>,
    latencies: Latencies,
}

impl Seen {
    fn new(me: u16, sent: &Arc<Sent>) -> Self {
        Self { me, sent: sent.clone(), upto: vec![0; sent.times.len()], latencies: Latencies::default() }
    }

    fn take(&mut self, news: &[News]) {
        let now = self.sent.base.elapsed();
        // Whoever floods is none of those whose edits count.
        let (me, writers) = (self.me, self.upto.len());
        let counts = |writer: u16| writer != me && usize::from(writer) < writers;
        for news in news {
            match *news {
                News::Edit(writer, number) if counts(writer) => {
                    self.latencies.add(self.sent.latency(writer, number, now))
                }
                News::Upto(writer, upto) if counts(writer) => {
                    for number in self.upto[usize::from(writer)]..upto {
                        self.latencies.add(self.sent.latency(writer, number, now));
                    }
                    let seen = &mut self.upto[usize::from(writer)];
                    *seen = upto.max(*seen);
                }
                _ => {}
            }
        }
    }
}

/// Sends `edits` evenly at `rate` per second, and reads what others send, until `expected` edits of theirs have come
/// or `patience` after the last of its own is over.
async fn take_part(
    mut client: Client,
    writer: u16,
    edits: &[Edit],
    rate: f64,
    expected: usize,
    sent: Arc<Sent>,
) -> Latencies {
    let mut seen = Seen::new(writer, &sent);
    let start = tokio::time::Instant::now();
    let due = |index: usize| start + Duration::from_secs_f64(index as f64 / rate);
    let patience = Duration::from_secs(5);
    let (mut next, mut until) = (0, tokio::time::Instant::now() + Duration::from_secs(600));
    loop {
        if next == edits.len() && seen.latencies.len() >= expected {
            break;
        }
        tokio::select! {
            biased;
            () = sleep_until(due(next)), if next < edits.len() => {
                let now = tokio::time::Instant::now();
                let first = next;
                while next < edits.len() && due(next) <= now {
                    next += 1;
                }
                sent.note(writer, &edits[first..next]);
                client.send(&edits[first..next]).await;
                if next == edits.len() {
                    until = tokio::time::Instant::now() + patience;
                }
            }
            packet = client.packet() => {
                let Some(packet) = packet else { break };
                let news = client.take(packet).await;
                seen.take(&news);
            }
            () = sleep_until(until) => break,
        }
    }
    client.close().await;
    seen.latencies
}

/// Reads until `expected` edits have come; gives up when `quiet` passes without any.
async fn read(mut client: Client, expected: usize, quiet: Duration, sent: Arc<Sent>) -> Latencies {
    let mut seen = Seen::new(READER, &sent);
    while seen.latencies.len() < expected {
        let Ok(Some(packet)) = tokio::time::timeout(quiet, client.packet()).await else { break };
        let news = client.take(packet).await;
        seen.take(&news);
    }
    client.close().await;
    seen.latencies
}

/// Runs every available system in turn, `plan.repeat` times, and reports.
pub(crate) async fn compare<F: Future<Output = Row>>(
    plan: &Plan,
    report: &mut Report,
    name: &str,
    kinds: &[Kind],
    bars: &[crate::measure::Bar],
    mut run: impl FnMut(Kind) -> F,
) {
    let mut runs: Vec<(Kind, Vec<Row>)> = Vec::new();
    for kind in kinds {
        if kind.is_available() {
            runs.push((*kind, Vec::new()));
        } else {
            println!("{} is skipped: no node, or `npm ci` has not run in benches/compare", kind.name());
        }
    }
    for _ in 0..plan.repeat {
        for (kind, rows) in &mut runs {
            rows.push(run(*kind).await);
        }
    }
    report.area(name, &runs, bars);
}

/// Two clients, one edit of 100 bytes at a time, 15 to 25 ms apart.
pub(crate) async fn propagation(plan: &Plan, report: &mut Report) {
    let count = if plan.quick { 100 } else { 300 };
    let bars = [
        at_most("p50 ms", 1.5, Some(Kind::Raw)),
        at_most("p99 ms", 1.5, Some(Kind::Raw)),
        at_most("p50 ms", 0.6, Some(Kind::YWebsocket)),
        at_most("p99 ms", 0.6, Some(Kind::YWebsocket)),
    ];
    let prepared = edits("propagation", 1, count);
    compare(plan, report, "propagation", &EVERYONE, &bars, |kind| ping(kind, prepared.clone())).await;
}

/// Two clients, the one sending and the other reading.
pub(crate) async fn ping(kind: Kind, edits: Arc<Vec<Edit>>) -> Row {
    let server = Server::start(kind);
    let mut writer = Client::join(&server, "propagation", 1).await;
    let mut reader = Client::join(&server, "propagation", 2).await;
    sleep(Duration::from_millis(300)).await;
    let sent = Sent::new(2, edits.len());
    let mut seen = Seen::new(READER, &sent);
    for edit in edits.iter() {
        sent.note(1, std::slice::from_ref(edit));
        writer.send(std::slice::from_ref(edit)).await;
        while seen.latencies.len() <= edit.number as usize {
            let news = reader.next().await.unwrap();
            seen.take(&news);
        }
        // Acknowledgements are read as well, off the measured path.
        let pause = Duration::from_micros(15_000 + u64::from(edit.number) * 7_919 % 10_000);
        let until = tokio::time::Instant::now() + pause;
        while let Ok(Some(packet)) = tokio::time::timeout_at(until, writer.packet()).await {
            writer.take(packet).await;
        }
    }
    seen.latencies.into_row()
}

/// One writer at `rate`, `readers` readers, for `span`.
async fn fan(
    server: &Server,
    edits: &Arc<Vec<Edit>>,
    rate: f64,
    readers: u16,
    quiet: Duration,
) -> (Latencies, Duration) {
    let room = "fan";
    let writer = Client::join(server, room, 0).await;
    let sent = Sent::new(1, edits.len());
    let mut tasks = Vec::new();
    for reader in 0..readers {
        let client = Client::join(server, room, 100 + reader).await;
        tasks.push(tokio::spawn(read(client, edits.len(), quiet, sent.clone())));
    }
    sleep(Duration::from_millis(300)).await;
    let before = server.cpu();
    let edits = edits.clone();
    tokio::spawn(async move { take_part(writer, 0, &edits, rate, 0, sent).await }).await.unwrap();
    let mut all = Latencies::default();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    (all, server.cpu() - before)
}

/// One writer at 200 edits per second to 100 readers.
pub(crate) async fn fan_out(plan: &Plan, report: &mut Report) {
    let seconds = if plan.quick { 3 } else { 10 };
    let prepared = edits("fan", 0, 200 * seconds);
    let bars = [at_most("cpu s", 1.2, Some(Kind::Raw)), at_most("p99 ms", 1.5, Some(Kind::Raw))];
    compare(plan, report, "fan-out", &EVERYONE, &bars, |kind| spread(kind, prepared.clone())).await;
}

pub(crate) async fn spread(kind: Kind, edits: Arc<Vec<Edit>>) -> Row {
    let server = Server::start(kind);
    let (latencies, cpu) = fan(&server, &edits, 200.0, 100, Duration::from_secs(3)).await;
    let delivered = latencies.len() as f64 / (edits.len() * 100) as f64;
    let mut row = latencies.into_row();
    row.insert("cpu s", cpu.as_secs_f64());
    row.insert("delivered", delivered);
    row
}

/// The same two loads on a relay that asks nobody and on one that asks for credentials.
pub(crate) async fn admitted(plan: &Plan, report: &mut Report) {
    let kinds = [Kind::Ours, Kind::Admitted];
    let count = if plan.quick { 100 } else { 300 };
    let prepared = kinds.map(|kind| edits_for(kind, "propagation", 1, count));
    let bars = [at_most("p50 ms", 1.1, Some(Kind::Ours))];
    let of = |kind| usize::from(kind == Kind::Admitted);
    compare(plan, report, "propagation, admitted", &kinds, &bars, |kind| ping(kind, prepared[of(kind)].clone())).await;
    let seconds = if plan.quick { 3 } else { 10 };
    let prepared = kinds.map(|kind| edits_for(kind, "fan", 0, 200 * seconds));
    let bars = [at_most("cpu s", 1.1, Some(Kind::Ours))];
    compare(plan, report, "fan-out, admitted", &kinds, &bars, |kind| spread(kind, prepared[of(kind)].clone())).await;
}

/// 99 writers at 2 edits per second, all reading all, with and without one more in the same room that sends without
/// pause. The relay asks for credentials, and keeps to its rates.
pub(crate) async fn flood(plan: &Plan, report: &mut Report) {
    let (writers, rate) = (99_u16, 2.0);
    let seconds = if plan.quick { 5 } else { 20 };
    let prepared: Vec<_> = (0..writers).map(|writer| edits_for(Kind::Admitted, "crowd", writer, 2 * seconds)).collect();
    let flooding = edits_for(Kind::Admitted, "crowd", 99, 20_000);
    let mut rows = Vec::new();
    for is_flooded in [false, true] {
        let mut runs = Vec::new();
        for _ in 0..plan.repeat {
            let server = Server::start_with(Kind::Admitted, &[]);
            let flooder = Client::join(&server, "crowd", 99).await;
            let stop = Arc::new(AtomicBool::new(false));
            let task = is_flooded.then(|| tokio::spawn(send_without_pause(flooder, flooding.clone(), stop.clone())));
            sleep(Duration::from_secs(1)).await;
            let before = server.memory() as f64;
            let mut row = crowd(&server, vec![("crowd".to_owned(), prepared.clone())], rate).await;
            row.insert("memory grown", server.memory() as f64 / before);
            stop.store(true, Ordering::Relaxed);
            if let Some(task) = task {
                row.insert("floods sent", task.await.unwrap() as f64);
            }
            runs.push(row);
        }
        rows.push(medians(&runs));
    }
    let [calm, flooded] = &rows[..] else { return };
    println!("\n### one that floods among 100\n\n| | without | with |\n|-|-|-|");
    for (unit, value) in flooded {
        println!("| {unit} | {:.3} | {value:.3} |", calm.get(unit).copied().unwrap_or(0.0));
    }
    report.value("flood", "p99 ms", flooded["p99 ms"] / calm["p99 ms"], " x without it", &Limit::AtMost(2.0));
    let grown = flooded["memory grown"] / calm["memory grown"];
    report.value("flood", "memory", grown, " x without it", &Limit::AtMost(1.1));
}

/// As fast as the socket takes them, over and over; reads what comes meanwhile. Returns how many went out.
async fn send_without_pause(mut client: Client, edits: Arc<Vec<Edit>>, stop: Arc<AtomicBool>) -> usize {
    let mut sent = 0;
    for edit in edits.iter() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if tokio::time::timeout(Duration::from_secs(30), client.send(std::slice::from_ref(edit))).await.is_err() {
            break;
        }
        sent += 1;
        while let Ok(Some(packet)) = tokio::time::timeout(Duration::ZERO, client.packet()).await {
            client.take(packet).await;
        }
    }
    client.close().await;
    sent
}

/// The highest rate of one writer at which 100 readers get everything with a p99 below 100 ms.
pub(crate) async fn max_rate(plan: &Plan, report: &mut Report) {
    let bars = [at_least("edits/s", 1.5, Some(Kind::Raw))];
    let kinds = if plan.quick { &EVERYONE[..2] } else { &EVERYONE[..3] };
    compare(plan, report, "highest rate", kinds, &bars, highest_rate).await;
}

pub(crate) async fn highest_rate(kind: Kind) -> Row {
    let seconds = 3;
    let (mut best, mut p99) = (0.0, 0.0);
    let mut rate = 200.0_f64;
    while rate < 50_000.0 {
        let count = (rate * f64::from(seconds)) as u32;
        let edits = tokio::task::spawn_blocking(move || edits("fan", 0, count)).await.unwrap();
        let server = Server::start(kind);
        let (mut latencies, _) = fan(&server, &edits, rate, 100, Duration::from_secs(1)).await;
        let all = latencies.len() == edits.len() * 100;
        let at = latencies.at(0.99);
        if !all || at >= 100.0 {
            break;
        }
        (best, p99) = (rate, at);
        rate = (rate * 1.25).round();
    }
    Row::from([("edits/s", best), ("p99 ms", p99)])
}

/// 50 writers at 20 edits per second in one room; all read all.
pub(crate) async fn many_writers(plan: &Plan, report: &mut Report) {
    let (writers, rate) = (50_u16, 20.0);
    let seconds = if plan.quick { 3 } else { 10 };
    let prepared: Vec<_> = (0..writers).map(|writer| edits("crowd", writer, 20 * seconds)).collect();
    let bars = [at_most("cpu s", 1.0, Some(Kind::Raw))];
    compare(plan, report, "50 writers", &EVERYONE, &bars, |kind| {
        let prepared = prepared.clone();
        async move {
            let server = Server::start(kind);
            let rooms = vec![("crowd".to_owned(), prepared)];
            crowd(&server, rooms, rate).await
        }
    })
    .await;
}

/// 200 rooms of two clients, each with 5 edits per second.
pub(crate) async fn many_rooms(plan: &Plan, report: &mut Report) {
    let seconds = if plan.quick { 3 } else { 10 };
    let rooms: Vec<_> = (0..200)
        .map(|room| {
            let room = format!("room-{room}");
            let both = vec![edits(&room, 0, 5 * seconds), edits(&room, 1, 5 * seconds)];
            (room, both)
        })
        .collect();
    compare(plan, report, "200 rooms", &EVERYONE, &[], |kind| {
        let rooms = rooms.clone();
        async move { crowd(&Server::start(kind), rooms, 5.0).await }
    })
    .await;
}

type Room = (String, Vec<Arc<Vec<Edit>>>);

/// In every room every client writes at `rate` and reads the others.
pub(crate) async fn crowd(server: &Server, rooms: Vec<Room>, rate: f64) -> Row {
    let mut clients = Vec::new();
    for (room, writers) in rooms {
        let expected: usize = writers[1..].iter().map(|edits| edits.len()).sum();
        let sent = Sent::new(writers.len(), writers[0].len());
        for (writer, edits) in writers.into_iter().enumerate() {
            let writer = u16::try_from(writer).unwrap();
            clients.push((Client::join(server, &room, writer).await, writer, edits, expected, sent.clone()));
        }
    }
    sleep(Duration::from_millis(300)).await;
    let before = server.cpu();
    let total: usize = clients.iter().map(|(_, _, _, expected, _)| expected).sum();
    let mut tasks = Vec::new();
    for (index, (client, writer, edits, expected, sent)) in clients.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            // Spread over one interval, as clients that know nothing of each other would be.
            sleep(Duration::from_secs_f64((index as f64 * 0.618_034).fract() / rate)).await;
            take_part(client, writer, &edits, rate, expected, sent).await
        }));
    }
    let mut all = Latencies::default();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let cpu = server.cpu() - before;
    let delivered = all.len() as f64 / total as f64;
    let mut row = all.into_row();
    row.insert("cpu s", cpu.as_secs_f64());
    row.insert("delivered", delivered);
    row.insert("memory MB", server.memory() as f64 / 1e6);
    row
}
