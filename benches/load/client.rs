//! Light clients, one per system, alike in everything but the protocol. Writers send edits made beforehand by a real
//! document; readers find out which edits a message carries, and apply nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aepoch::{
    document::{Document, Frontier, Span, Subscription, Version},
    engine::{EngineKind, Op},
    id::{DocumentId, Identity, ReplicaId},
    sync::{Capabilities, Channel, Encoded, Hello, Lane, Message, Received, Role, Session},
    time::Monotonic,
    transport::websocket_config,
    trust::binding::replica_of,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message as Packet, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    founder,
    server::{Kind, Server},
};

/// How long a server may take to answer before a run is given up.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Before every edit's writer and number, in its value.
const MARK: &[u8] = b"@@";
const MARKED: usize = 2 + 2 + 7;

/// One edit of one writer, made beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) number: u32,
    /// As it travels between our replicas.
    pub(crate) delta: Bytes,
    /// As it travels between Yjs peers.
    pub(crate) update: Bytes,
}

pub(crate) fn replica(writer: u16) -> ReplicaId {
    ReplicaId::from_bits(1_000_000 + u64::from(writer))
}

/// Like [`replica`], and another for every numbered room: one agent does not write from two places at once.
fn replica_in(room: &str, writer: u16) -> ReplicaId {
    let number: u64 = room.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    ReplicaId::from_bits(replica(writer).get() + number * 10_000)
}

/// The replica of a client of this kind of relay. With credentials it follows from a key: the first salt that makes one
/// from which the writer can be read.
fn replica_for(kind: Kind, room: &str, writer: u16) -> (ReplicaId, u64) {
    if kind != Kind::Admitted {
        return (replica_in(room, writer), 0);
    }
    let key = founder::key(writer).public();
    let mut salts = (0..).map(|salt| (replica_of(&key, salt), salt));
    salts.find(|(replica, _)| writer_of(*replica) == writer).unwrap()
}

fn writer_of(replica: ReplicaId) -> u16 {
    u16::try_from(replica.get() % 10_000).unwrap()
}

/// `count` edits of about 100 bytes, each putting a value under one of 1,000 keys of a map.
pub(crate) fn edits(room: &str, writer: u16, count: u32) -> Arc<Vec<Edit>> {
    edits_for(Kind::Ours, room, writer, count)
}

/// The same, as a client of this kind of relay writes them.
pub(crate) fn edits_for(kind: Kind, room: &str, writer: u16, count: u32) -> Arc<Vec<Edit>> {
    let id = DocumentId::new(room).unwrap();
    let mut document = Document::new(id, EngineKind::Yrs, replica_for(kind, room, writer).0).unwrap();
    Arc::new((0..count).map(|number| edit(&mut document, writer, number)).collect())
}

fn edit(document: &mut Document, writer: u16, number: u32) -> Edit {
    let key = format!("key-{:04}", (u32::from(writer) * 37 + number) % 1_000);
    let value = json!(format!("@@{writer:02}{number:07} {:0>48}", u64::from(number) * 2_654_435_761));
    put(document, number, &key, value)
}

pub(crate) fn put(document: &mut Document, number: u32, key: &str, value: serde_json::Value) -> Edit {
    let op = Op::MapPut { map: "edits".into(), key: key.into(), value };
    let ((), commit) = document
        .transact(1_700_000_000_000 + u64::from(number), false, |transaction| {
            transaction.content(op);
            Ok::<_, aepoch::document::DocumentError>(())
        })
        .unwrap();
    let update = commit.delta.content.as_ref().unwrap().updates[0].clone();
    Edit { number, delta: commit.delta.encode().unwrap(), update }
}

/// What a client learnt from one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Exactly this edit of this writer.
    Edit(u16, u32),
    /// All edits of this writer below this number.
    Upto(u16, u32),
    /// That much of our own is durable.
    Durable(u32),
    /// What the relay has of everyone.
    Frontier(Version),
    /// A missing part has come, of this many bytes.
    State,
    /// An application message.
    App(Bytes),
}

/// A connection to a server.
pub(crate) struct Client {
    kind: Kind,
    room: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    replica: ReplicaId,
    session: Session,
    base: Instant,
    pub(crate) bytes_in: u64,
}

impl Client {
    /// Connects, greets and joins the room empty-handed.
    pub(crate) async fn join(server: &Server, room: &str, writer: u16) -> Self {
        let mut client = Self::connect(server, room, writer).await;
        client.enter(Frontier::default(), &[0]).await;
        client
    }

    /// Connects and greets.
    pub(crate) async fn connect(server: &Server, room: &str, writer: u16) -> Self {
        let kind = server.kind;
        let path = kind.path(room);
        let mut request = format!("{}/{path}", server.url).into_client_request().unwrap();
        if kind.is_ours() {
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("aepoch.1"));
        }
        let config = websocket_config().max_message_size(None).max_frame_size(None);
        let connected = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
        let (agent, (replica, salt)) = (founder::name(writer), replica_for(kind, room, writer));
        let identity = Identity { agent, replica, incarnation: 1 };
        let hello = Hello::new(identity, Role::Agent, Capabilities::LZ4.with(Capabilities::FORWARDING));
        let base = Instant::now();
        let mut session = Session::new(hello, Monotonic(0));
        if kind == Kind::Admitted {
            let channel = Channel { audience: server.address().to_owned(), binding: None };
            session = session.holding(founder::holder(writer, salt)).over(channel);
        }
        let (room, socket) = (room.to_owned(), connected.unwrap().0);
        let mut client = Self { kind, room, replica, socket, session, base, bytes_in: 0 };
        if kind.is_ours() {
            client.transmit().await;
            while client.session.peer().is_none() {
                client.next().await.unwrap();
            }
        }
        client
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.base.elapsed().as_micros()).unwrap())
    }

    /// Takes part in the room, telling what is here already: `frontier` to ours, `state_vector` to Yjs servers.
    /// Returns once the server has answered.
    pub(crate) async fn enter(&mut self, frontier: Frontier, state_vector: &[u8]) {
        if self.kind == Kind::Raw {
            return;
        }
        self.ask(frontier, state_vector).await;
        let answer = async {
            loop {
                let news = self.next().await.unwrap();
                if news.iter().any(|news| matches!(news, News::Frontier(_) | News::State)) {
                    return;
                }
            }
        };
        if tokio::time::timeout(ANSWER_WAIT, answer).await.is_err() {
            panic!("{} has not answered a join of {} within {ANSWER_WAIT:?}", self.kind.name(), self.room);
        }
    }

    pub(crate) async fn ask(&mut self, frontier: Frontier, state_vector: &[u8]) {
        let mut step = BytesMut::new();
        match self.kind {
            Kind::Raw => return,
            Kind::Ours | Kind::Admitted => {
                let document = DocumentId::new(&self.room).unwrap();
                let subscription = Subscription::default();
                let join = Message::Join { document, engine: EngineKind::Yrs, frontier, subscription };
                self.queue(&join, Lane::Critical);
                return self.transmit().await;
            }
            Kind::Hocuspocus | Kind::OursHocuspocus => {
                // Type 2 (auth), kind 0 (token), an empty token.
                self.put_name(&mut step);
                step.put_slice(&[2, 0, 0]);
                self.socket.send(Packet::Binary(step.split().freeze())).await.unwrap();
                self.put_name(&mut step);
            }
            Kind::YWebsocket | Kind::OursYjs => {}
            rival => panic!("{} takes no part in documents", rival.name()),
        }
        step.put_slice(&[0, 0]);
        put_bytes(&mut step, state_vector);
        self.socket.send(Packet::Binary(step.freeze())).await.unwrap();
    }

    /// Takes part in another document too, empty-handed. Ours only.
    pub(crate) async fn join_also(&mut self, room: &str) {
        let document = DocumentId::new(room).unwrap();
        let (frontier, subscription) = (Frontier::default(), Subscription::default());
        self.queue(&Message::Join { document, engine: EngineKind::Yrs, frontier, subscription }, Lane::Critical);
        self.transmit().await;
    }

    pub(crate) async fn leave(&mut self, room: &str) {
        self.queue(&Message::Leave { document: DocumentId::new(room).unwrap() }, Lane::Critical);
        self.transmit().await;
    }

    fn put_name(&self, out: &mut BytesMut) {
        put_bytes(out, self.room.as_bytes());
    }

    pub(crate) fn queue(&mut self, message: &Message, lane: Lane) {
        self.session.send(Encoded::new(message, lane).unwrap());
    }

    /// Hands everything queued to the socket. Ours only.
    pub(crate) async fn transmit(&mut self) {
        while let Some(packet) = self.session.poll_transmit() {
            self.socket.feed(Packet::Binary(packet)).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    /// Sends edits.
    pub(crate) async fn send(&mut self, edits: &[Edit]) {
        for edit in edits {
            let mut frame = BytesMut::new();
            match self.kind {
                Kind::Ours | Kind::Admitted => {
                    let document = DocumentId::new(&self.room).unwrap();
                    self.queue(&Message::Delta { document, delta: edit.delta.clone() }, Lane::High);
                    continue;
                }
                Kind::Raw => frame.put_slice(&edit.delta),
                Kind::YWebsocket | Kind::OursYjs | Kind::Hocuspocus | Kind::OursHocuspocus => {
                    if self.kind.is_hocuspocus() {
                        self.put_name(&mut frame);
                    }
                    frame.put_slice(&[0, 2]);
                    put_bytes(&mut frame, &edit.update);
                }
                rival => panic!("{} takes no part in documents", rival.name()),
            }
            self.socket.feed(Packet::Binary(frame.freeze())).await.unwrap();
        }
        if self.kind.is_ours() {
            self.transmit().await;
        } else {
            self.socket.flush().await.unwrap();
        }
    }

    /// Waits for the next packet and says what it brought; `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Vec<News>> {
        let packet = self.packet().await?;
        Some(self.take(packet).await)
    }

    /// The next packet. Cancel-safe.
    pub(crate) async fn packet(&mut self) -> Option<Bytes> {
        loop {
            match self.socket.next().await?.ok()? {
                Packet::Binary(packet) => return Some(packet),
                Packet::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// What a packet brought; answers what asks for an answer.
    pub(crate) async fn take(&mut self, packet: Bytes) -> Vec<News> {
        let news = self.decode(packet);
        if self.kind.is_ours() {
            self.transmit().await;
        }
        news
    }

    pub(crate) fn decode(&mut self, packet: Bytes) -> Vec<News> {
        self.bytes_in += packet.len() as u64;
        let mut news = Vec::new();
        if !self.kind.is_ours() {
            marks(&packet, &mut news);
            let after_name = if self.kind.is_hocuspocus() { self.room.len() + 1 } else { 0 };
            // Type 0 (sync), step 2: the state.
            if self.kind != Kind::Raw && packet.get(after_name..after_name + 2) == Some(&[0, 1]) {
                news.push(News::State);
            }
            return news;
        }
        let mut received = Vec::new();
        let now = self.now();
        self.session.receive(packet, now, &mut received).unwrap();
        for received in received {
            match received {
                Received::Message(Message::Delta { delta, .. }) => {
                    spans(&delta, &mut news);
                    if delta.len() > 1_000_000 {
                        // An agent works on what is large outside of its connection; giving it back takes milliseconds.
                        tokio::task::spawn_blocking(move || drop(delta));
                    }
                }
                Received::Message(Message::Ack { durable, .. }) => {
                    news.push(News::Durable(u32::try_from(durable.content.get(self.replica)).unwrap()));
                }
                Received::Message(Message::Frontier { frontier, .. }) => news.push(News::Frontier(frontier.version)),
                Received::Message(Message::App { body, .. }) => news.push(News::App(body)),
                Received::Message(Message::Error { reason, .. }) => panic!("the relay refused: {reason}"),
                _ => {}
            }
        }
        news
    }

    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    let mut len = bytes.len();
    while len > 127 {
        out.put_u8(u8::try_from(len & 127).unwrap() | 128);
        len >>= 7;
    }
    out.put_u8(u8::try_from(len).unwrap());
    out.put_slice(bytes);
}

/// The numbers of the edits a plain message carries, whoever made them.
pub(crate) fn marked(packet: &[u8]) -> Vec<u32> {
    let mut news = Vec::new();
    marks(packet, &mut news);
    let numbers = news.iter().filter_map(|news| if let News::Edit(_, number) = news { Some(*number) } else { None });
    numbers.collect()
}

/// The edits a plain message carries, by their marks.
fn marks(packet: &[u8], news: &mut Vec<News>) {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&packet[from..], MARK) {
        let at = from + found;
        if at + MARKED > packet.len() {
            return;
        }
        let digits =
            |from: usize, to: usize| std::str::from_utf8(&packet[at + from..at + to]).ok()?.parse::<u32>().ok();
        if let (Some(writer), Some(number)) = (digits(2, 4), digits(4, MARKED)) {
            news.push(News::Edit(u16::try_from(writer).unwrap(), number));
        }
        from = at + MARKED;
    }
}

/// The edits one of our deltas carries: commit `n` of a writer is its edit `n - 1`.
fn spans(delta: &Bytes, news: &mut Vec<News>) {
    // Its beginning says which; the rest of a large document would be copied for nothing.
    let (has_content, rest) = postcard::take_from_bytes::<bool>(delta).unwrap();
    let spans: Vec<Span> = if has_content { postcard::take_from_bytes(rest).unwrap().0 } else { Vec::new() };
    news.push(News::State);
    for span in spans {
        news.push(News::Upto(writer_of(span.writer), u32::try_from(span.upto).unwrap()));
    }
}
