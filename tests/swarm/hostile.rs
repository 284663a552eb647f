//! A peer that sends what would abort, bloat or mislead an engine is told why it is refused; nobody else notices.

use std::pin::Pin;

use aepoch::{
    document::{ContentDelta, Delta, Frontier, Record, RecordKind, RecordsDelta, Span, Subscription},
    engine::EngineKind,
    error::CloseCode,
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Capabilities, Encoded, Hello, Lane, Message, PresenceEntry, Received, Role, Session},
    time::{Hlc, Monotonic},
    transport::{Transport, TransportError, WebSocketTransport, connect_websocket},
};
use bytes::Bytes;

use crate::world::{PATIENCE, World, converged, eventually, flushed};

/// A connection that speaks the protocol and says what it likes.
struct Attacker {
    transport: WebSocketTransport,
    session: Session,
    inbox: Vec<Message>,
    me: ReplicaId,
    closed: Option<CloseCode>,
}

impl Attacker {
    async fn connect(world: &World) -> Self {
        let mut transport = connect_websocket(&world.relay.url()).await.unwrap();
        let me = ReplicaId::from_bits(0x0bad_cafe);
        let identity = Identity { agent: AgentId::new("mallory").unwrap(), replica: me, incarnation: 1 };
        let mut session = Session::new(Hello::new(identity, Role::Agent, Capabilities::LZ4), Monotonic(0));
        send(&mut transport, session.poll_transmit().unwrap()).await.unwrap();
        let mut received = Vec::new();
        while received.is_empty() {
            let packet = receive(&mut transport).await.unwrap().unwrap();
            session.receive(packet, Monotonic(0), &mut received).unwrap();
        }
        Self { transport, session, inbox: Vec::new(), me, closed: None }
    }

    async fn say(&mut self, message: &Message, lane: Lane) -> Result<(), TransportError> {
        self.session.send(Encoded::new(message, lane).unwrap());
        while let Some(packet) = self.session.poll_transmit() {
            send(&mut self.transport, packet).await?;
        }
        Ok(())
    }

    async fn join(&mut self, document: &DocumentId, engine: EngineKind) {
        let join = Message::Join {
            document: document.clone(),
            engine,
            frontier: Frontier::default(),
            subscription: Subscription::default(),
        };
        self.say(&join, Lane::Critical).await.unwrap();
    }

    /// The reason of the next refusal; `None` when the connection was closed instead.
    async fn refusal(&mut self) -> Option<String> {
        let waiting = async {
            loop {
                while !self.inbox.is_empty() {
                    if let Message::Error { reason, .. } = self.inbox.remove(0) {
                        return Some(reason);
                    }
                }
                let packet = match receive(&mut self.transport).await {
                    Some(Ok(packet)) => packet,
                    Some(Err(TransportError::Closed { code, .. })) => {
                        self.closed = Some(code);
                        return None;
                    }
                    _ => return None,
                };
                let mut received = Vec::new();
                self.session.receive(packet, Monotonic(0), &mut received).unwrap();
                self.inbox.extend(received.into_iter().filter_map(|one| match one {
                    Received::Message(message) => Some(message),
                    _ => None,
                }));
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("a refusal")
    }

    fn delta(&self, document: &DocumentId, writer: ReplicaId, update: Vec<u8>) -> Message {
        let content = ContentDelta {
            spans: vec![Span { writer, since: 0, upto: 1 }],
            after: Vec::new(),
            updates: vec![Bytes::from(update)],
        };
        let delta = Delta { content: Some(content), ..Delta::default() };
        Message::Delta { document: document.clone(), delta: delta.encode().unwrap() }
    }
}

async fn send(transport: &mut WebSocketTransport, packet: Bytes) -> Result<(), TransportError> {
    use futures_util::SinkExt as _;
    transport.send(packet).await
}

async fn receive(transport: &mut impl Transport) -> Option<Result<Bytes, TransportError>> {
    std::future::poll_fn(|cx| Pin::new(&mut *transport).poll_next(cx)).await
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// yrs updates that would abort, bloat or mislead it, by what they do.
fn yrs_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut nested = hex("010101000801016101");
    for _ in 0..100_000 {
        nested.extend([0x75, 0x01]);
    }
    nested.extend([0x7e, 0x00]);
    let mut twice = hex("0201090504010174017801090004010174");
    twice.push(0x0a);
    twice.extend([0x41; 10]);
    twice.push(0);
    vec![
        ("values nested 100,000 deep", nested),
        ("a client listed twice", twice),
        ("a garbage block over a victim's clocks", hex("0101070000ffffffff0700")),
        ("a deletion of what nobody has written", hex("00014d0100ffffffff0f")),
        ("invalid UTF-8", hex("0101ca0100c4010a010b0620746865e56500")),
        ("millions of clients declared", hex("80808020")),
        ("a map of millions of entries declared", hex("01010100080101610176ffffff2f")),
        ("not an update", vec![0xff; 64]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_updates_are_refused_and_the_honest_go_on() {
    for engine in [EngineKind::Yrs, EngineKind::Automerge] {
        let world = World::new().await;
        let (a, b) = (world.agent_with("a", engine).await, world.agent_with("b", engine).await);
        let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
        left.map("m").put("k", &0).unwrap();
        flushed(&left).await;
        for (n, (what, update)) in (1_u64..).zip(yrs_seeds()) {
            let mut attacker = Attacker::connect(&world).await;
            attacker.join(left.id(), engine).await;
            let delta = attacker.delta(left.id(), attacker.me, update);
            // The connection may be gone before all of it is sent: that is a refusal too, but none of these is.
            attacker.say(&delta, Lane::Low).await.unwrap();
            let reason = attacker.refusal().await.unwrap_or_else(|| panic!("{what} on {engine}: closed unexplained"));
            assert!(reason.len() > 10, "{what} on {engine}: `{reason}` explains nothing");
            left.map("m").put("k", &n).unwrap();
            right.register("r").set(&n).unwrap();
            flushed(&left).await;
            flushed(&right).await;
        }
        converged(&[&left, &right]).await;
        assert_eq!(right.map::<u64>("m").get("k").unwrap(), Some(8), "the victim's writes survive on {engine}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_in_anothers_name() {
    let world = World::new().await;
    let a = world.agent("a").await;
    let document = a.document("stage").await.unwrap();
    document.register("r").set(&1).unwrap();
    flushed(&document).await;
    let victim = a.identity().replica;
    let mut attacker = Attacker::connect(&world).await;
    attacker.join(document.id(), EngineKind::Yrs).await;
    let spoofed = attacker.delta(document.id(), victim, hex("0000"));
    attacker.say(&spoofed, Lane::High).await.unwrap();
    assert!(attacker.refusal().await.unwrap().contains(&victim.to_string()));
    let record = Record {
        seq: 2,
        kind: RecordKind::Register,
        key: "r".into(),
        hlc: Hlc(u64::MAX),
        fence: 0,
        context: Vec::new(),
        body: Bytes::from_static(b"junk"),
        signature: None,
    };
    let span = Span { writer: victim, since: 1, upto: 2 };
    let delta = Delta { records: vec![RecordsDelta { span, records: vec![record] }], ..Delta::default() };
    let message = Message::Delta { document: document.id().clone(), delta: delta.encode().unwrap() };
    attacker.say(&message, Lane::Critical).await.unwrap();
    assert!(attacker.refusal().await.unwrap().contains(&victim.to_string()));
    let entry = PresenceEntry {
        replica: victim,
        agent: a.name().clone(),
        clock: u64::MAX,
        state: Some(Bytes::from_static(b"{}")),
        ttl_ms: 1,
    };
    let presence = Message::Presence { document: document.id().clone(), entries: vec![entry] };
    attacker.say(&presence, Lane::Normal).await.unwrap();
    assert!(attacker.refusal().await.unwrap().contains("presence"));
    assert_eq!(attacker.refusal().await, None, "three strikes close the connection");
    assert_eq!(attacker.closed, Some(CloseCode::REFUSED));
    document.register("r").set(&2).unwrap();
    flushed(&document).await;
    assert_eq!(document.verify().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_break_the_protocol_end_their_own_connection_only() {
    let world = World::new().await;
    let a = world.agent("a").await;
    let document = a.document("stage").await.unwrap();
    let packets: [Vec<u8>; 6] = [
        vec![0xff; 100],
        vec![1, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0, 4, 1, 2, 3, 4],
        vec![2, 6, 0xff, 0xff, 0xff, 0x7f, 1, 2],
        vec![3, 2, 0x7f, 0],
        vec![0; 60_000],
    ];
    for (n, packet) in packets.into_iter().enumerate() {
        let mut transport = connect_websocket(&world.relay.url()).await.unwrap();
        send(&mut transport, Bytes::from(packet)).await.unwrap();
        let ended = async { while let Some(Ok(_)) = receive(&mut transport).await {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the relay hangs up");
        document.register("n").set(&n).unwrap();
        flushed(&document).await;
    }
    eventually("only the honest agent is left", || world.relay.connections() == 1).await;
}
