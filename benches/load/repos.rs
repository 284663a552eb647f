//! Clients of automerge-repo: the same loads on our relay and on the server that library comes with. Readers keep no
//! document: they say that they have what they were told of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use automerge::{
    AutoCommit, ROOT,
    sync::{ChunkList, Have, Message, MessageVersion, State, SyncDoc as _},
    transaction::Transactable as _,
};
use futures_util::{SinkExt as _, StreamExt as _};
use minicbor::{Decoder, Encoder};
use tokio::{net::TcpStream, time::sleep};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message as Packet};

use crate::{
    Plan,
    client::marked,
    live::compare,
    measure::{Latencies, Report, Row, at_least, at_most},
    server::{Kind, Server},
};

const BOTH: [Kind; 2] = [Kind::OursAutomerge, Kind::AutomergeRepo];
const READERS: usize = 100;
const PER_SECOND: u32 = 200;
/// The document, as automerge-repo calls it.
const DOCUMENT: &str = "4NMNnkMhL8jXrdJ9jamS58PAVdXu";

pub(crate) async fn repos(plan: &Plan, report: &mut Report) {
    let count = if plan.quick { 100 } else { 300 };
    let bars = [at_most("p50 ms", 10.0, None)];
    compare(plan, report, "repos: propagation", &BOTH, &bars, |kind| ping(kind, count)).await;

    let seconds = if plan.quick { 3 } else { 10 };
    let bars = [at_least("delivered", 1.0, None)];
    compare(plan, report, "repos: 100 readers, 200 edits/s", &BOTH, &bars, |kind| spread(kind, seconds)).await;
}

/// A connection of a client.
struct Repo {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    name: String,
}

impl Repo {
    async fn connect(server: &Server, name: &str) -> Self {
        let url = format!("{}/{}", server.url, server.kind.path("band"));
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut repo = Self { socket, name: name.to_owned() };
        let mut join = Encoder::new(Vec::new());
        join.map(4).unwrap().str("type").unwrap().str("join").unwrap().str("senderId").unwrap().str(name).unwrap();
        join.str("peerMetadata").unwrap().map(0).unwrap();
        join.str("supportedProtocolVersions").unwrap().array(1).unwrap().str("1").unwrap();
        repo.socket.send(Packet::binary(join.into_writer())).await.unwrap();
        repo.socket.next().await.unwrap().unwrap();
        repo
    }

    async fn say(&mut self, message: Message) {
        let mut frame = Encoder::new(Vec::new());
        frame.map(5).unwrap();
        for (key, value) in
            [("type", "sync"), ("senderId", &*self.name), ("targetId", "server"), ("documentId", DOCUMENT)]
        {
            frame.str(key).unwrap().str(value).unwrap();
        }
        frame.str("data").unwrap().bytes(&message.encode()).unwrap();
        self.socket.send(Packet::binary(frame.into_writer())).await.unwrap();
    }

    /// The next message about the document; `None` when the connection has ended. Cancel-safe.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let Packet::Binary(frame) = self.socket.next().await?.ok()? else { continue };
            if let Some(data) = data(&frame) {
                return Some(data);
            }
        }
    }

    /// Says that it has all it was told of.
    async fn agree(&mut self, message: &[u8]) {
        let Message { heads, .. } = Message::decode(message).unwrap();
        let have = vec![Have { last_sync: heads.clone(), ..Have::default() }];
        let (need, changes, version) = (Vec::new(), ChunkList::empty(), MessageVersion::V1);
        self.say(Message { heads, need, have, changes, flags: None, version }).await;
    }
}

/// The sync message in a frame, if it is one.
fn data(frame: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(frame);
    let mut is_sync = false;
    let mut data = None;
    for _ in 0..decoder.map().ok()?? {
        match decoder.str().ok()? {
            "type" => is_sync = decoder.str().ok()? == "sync",
            "data" => data = Some(decoder.bytes().ok()?.to_vec()),
            _ => decoder.skip().ok()?,
        }
    }
    data.filter(|_| is_sync)
}

/// A client that writes.
struct Writer {
    repo: Repo,
    document: AutoCommit,
    state: State,
}

impl Writer {
    async fn start(server: &Server) -> Self {
        let mut document = AutoCommit::new();
        document.put(ROOT, "begun", true).unwrap();
        let mut writer = Self { repo: Repo::connect(server, "writer").await, document, state: State::new() };
        writer.speak().await;
        writer
    }

    async fn speak(&mut self) {
        if let Some(message) = self.document.sync().generate_sync_message(&mut self.state) {
            // Whole documents are not what is measured.
            self.repo.say(Message { flags: None, ..message }).await;
        }
    }

    async fn write(&mut self, number: u32) {
        let value = format!("@@01{number:07} {:0>48}", u64::from(number) * 2_654_435_761);
        self.document.put(ROOT, format!("key-{:04}", number % 1_000), value).unwrap();
        self.speak().await;
    }

    async fn hear(&mut self, message: &[u8]) {
        let message = Message { flags: None, ..Message::decode(message).unwrap() };
        self.document.sync().receive_sync_message(&mut self.state, message).unwrap();
        self.speak().await;
    }

    /// Goes on with the conversation for a while.
    async fn listen(&mut self, span: Duration) {
        let until = tokio::time::Instant::now() + span;
        while let Ok(Some(message)) = tokio::time::timeout_at(until, self.repo.next()).await {
            self.hear(&message).await;
        }
    }
}

/// A reader that has begun: it has nothing, and is told all there is.
async fn reader(server: &Server, name: &str) -> Repo {
    let mut reader = Repo::connect(server, name).await;
    let message = AutoCommit::new().sync().generate_sync_message(&mut State::new()).unwrap();
    reader.say(Message { flags: None, ..message }).await;
    reader
}

/// Two clients, one edit at a time.
async fn ping(kind: Kind, count: u32) -> Row {
    let server = Server::start(kind);
    let mut writer = Writer::start(&server).await;
    writer.listen(Duration::from_millis(300)).await;
    let mut reader = reader(&server, "reader").await;
    let settled = tokio::time::Instant::now() + Duration::from_millis(500);
    while let Ok(Some(message)) = tokio::time::timeout_at(settled, reader.next()).await {
        reader.agree(&message).await;
    }
    let mut latencies = Latencies::default();
    for number in 0..count {
        let start = Instant::now();
        writer.write(number).await;
        loop {
            let message = reader.next().await.unwrap();
            let found = marked(&message).contains(&number);
            if found {
                latencies.add(start.elapsed());
            }
            reader.agree(&message).await;
            if found {
                break;
            }
        }
        // Longer than that server waits before it tells of a change again.
        writer.listen(Duration::from_millis(15 + u64::from(number) * 7_919 % 10)).await;
    }
    latencies.into_row()
}

/// One writer, a hundred readers.
async fn spread(kind: Kind, seconds: u32) -> Row {
    let server = Server::start(kind);
    let mut writer = Writer::start(&server).await;
    writer.listen(Duration::from_millis(300)).await;
    let edits = PER_SECOND * seconds;
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..edits).map(|_| AtomicU64::new(0)).collect());
    let (base, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let mut readers = Vec::new();
    for n in 0..READERS {
        let mut reader = reader(&server, &format!("reader-{n}")).await;
        let (sent, is_over) = (sent.clone(), is_over.clone());
        readers.push(tokio::spawn(async move {
            let mut seen = vec![false; sent.len()];
            let mut latencies = Latencies::default();
            loop {
                let message = tokio::time::timeout(Duration::from_secs(5), reader.next());
                let message = match message.await {
                    Ok(Some(message)) => message,
                    Err(_) if !is_over.load(Ordering::Relaxed) => continue,
                    _ => return latencies,
                };
                let now = base.elapsed();
                for number in marked(&message) {
                    if !std::mem::replace(&mut seen[number as usize], true) {
                        let sent = Duration::from_nanos(sent[number as usize].load(Ordering::Relaxed));
                        latencies.add(now.saturating_sub(sent));
                    }
                }
                if latencies.len() == sent.len() {
                    return latencies;
                }
                reader.agree(&message).await;
            }
        }));
    }
    sleep(Duration::from_secs(1)).await;
    let (cpu, start) = (server.cpu(), tokio::time::Instant::now());
    for number in 0..edits {
        writer
            .listen((start + Duration::from_secs(1) / PER_SECOND * number).duration_since(tokio::time::Instant::now()))
            .await;
        sent[number as usize].store(u64::try_from(base.elapsed().as_nanos()).unwrap(), Ordering::Relaxed);
        writer.write(number).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let listening = tokio::spawn(async move { writer.listen(Duration::from_secs(600)).await });
    let mut all = Latencies::default();
    for reader in readers {
        all.extend(reader.await.unwrap());
    }
    listening.abort();
    let cpu = server.cpu().saturating_sub(cpu).as_secs_f64();
    let part = all.len() as f64 / (READERS * edits as usize) as f64;
    let mut row = all.into_row();
    row.extend([("cpu s", cpu), ("delivered", part)]);
    row
}
