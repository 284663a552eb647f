//! Goal: whoever cannot show a credential does not come in, and whoever can does what it allows and no more. Method: a
//! real relay with a policy, agents of the library, and a bare session that says what it likes. The numbers are those of
//! the list of cases the library owes.

use aepoch::{
    Agent, Relay,
    agent::{AgentBuilder, AgentError, Events},
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Seat, TierPolicy},
        object::{Plan, Purpose},
        queue::ItemRecord,
    },
    document::{Document, DocumentError, Imported, SlotKey, SlotPart, Transaction},
    engine::{EngineKind, Op},
    id::{AgentId, DocumentId, Identity, ObjectId, ReplicaId},
    node::{Event, NodeError},
    sync::{
        Address, Capabilities, Channel, Door, Encoded, ErrorCode, Hello, Lane, Message, PresenceEntry, Received, Role,
        Session,
    },
    tier::Tier,
    time::{Hlc, Moment, Monotonic},
    transport::{TransportError, connect_websocket},
    trust::{
        binding::replica_of,
        dial::{Dial, DialRule},
        pattern::{Grant, Right},
        possession::Holder,
        quota::Quota,
    },
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    founder::{ALL, Founder, grant, key_of, now},
    world::{PATIENCE, eventually, flushed, quick_backoff},
};

/// What every agent here may do in the rooms of the swarm.
fn everything() -> Vec<Grant> {
    vec![grant("test/**", ALL)]
}

async fn relay(founder: &Founder) -> Relay {
    Relay::builder().listen("127.0.0.1:0").shards(2).policy(founder.authority()).open().await.unwrap()
}

fn builder(relay: &Relay, name: &str) -> AgentBuilder {
    Agent::builder(name).swarm("test").connect(&relay.url()).backoff(quick_backoff())
}

async fn agent(relay: &Relay, founder: &Founder, name: &str, grants: &[Grant]) -> Agent {
    builder(relay, name).credential(&founder.issue(name, grants), key_of(name)).open().await.unwrap()
}

/// Why the first connection to end, of those that `events` tells of, did.
async fn why_closed(mut events: Events) -> String {
    let closed = async {
        loop {
            if let Ok(Some(event)) = events.next().await
                && let Event::LinkDown { reason, .. } = &*event
            {
                return reason.clone();
            }
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the connection stays open")
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_with_credentials_share_a_document() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let bob = agent(&relay, &founder, "bob", &everything()).await;
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    of_ada.register("song").set(&"intro").unwrap();
    flushed(&of_ada).await;
    eventually("bob has it", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_who_there_is_is_told_so_and_does_not_wait() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &[grant("test/stage", ALL)]).await;
    let stage = ada.document("stage").await.unwrap();
    let value = "of ada".to_owned();
    let asking = stage.request_consensus("key", &value);
    let refused = tokio::time::timeout(PATIENCE, asking).await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, AgentError::Forbidden { document, .. } if document.as_str() == "test/_swarm"),
        "{refused}"
    );
}

/// Case 14 in the part that concerns relays: nobody sits higher than its credential reaches. Its own agent leaves the seat
/// empty, and what one writes that does not ask itself is refused.
#[tokio::test(flavor = "multi_thread")]
async fn case_14_a_seat_above_the_credentials_tier_stays_empty() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let low = |name: &str| founder.issue_at(Tier::GAMMA, name, &everything(), now() + 600);
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let eve = builder(&relay, "eve").credential(&low("eve"), key_of("eve")).open().await.unwrap();
    let (of_ada, of_eve) = (ada.document("stage").await.unwrap(), eve.document("stage").await.unwrap());
    let begun = tokio::spawn({
        let of_ada = of_ada.clone();
        async move { of_ada.barrier("flash").members(Tier::ALPHA, ["ada", "eve"]).arrive().await }
    });
    let refused = of_eve.barrier("flash").members(Tier::ALPHA, ["ada", "eve"]).arrive();
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap().unwrap_err().to_string();
    assert_eq!(refused, "the seat is in tier alpha, and gamma is as high as the credential reaches");
    eve.close().await.unwrap();

    // The same agent, should it write from that seat nevertheless: its store is gone, so it is seated anew.
    let holder = Holder::new(&low("cyd"), key_of("cyd"), 5);
    let replica = holder.replica();
    let object = ObjectId { holder: replica, number: 1 };
    let seat = Seat { agent: "cyd".parse().unwrap(), replica, tier: Tier::ALPHA };
    let id: DocumentId = of_ada.id().clone();
    let definition = Definition {
        document: id.clone(),
        name: "forged".to_owned(),
        creator: seat.agent.clone(),
        origin: object,
        members: vec![seat],
        electors: Vec::new(),
        tolerate: 0,
        tiers: vec![TierPolicy { tier: Tier::ALPHA, timeout: PATIENCE, min: 1, on_shortfall: OnShortfall::Wait }],
        gate: Gate::Decided,
        fence: false,
    };
    let plan = Plan { definition, purpose: Purpose::Barrier { once: true } };
    let mut document = Document::new(id.clone(), EngineKind::Yrs, replica).unwrap();
    let defined =
        document.write_slots(vec![(SlotKey::Of(object, SlotPart::Definition), plan.encode().into())], 1).unwrap();
    let sat = document.write_slots(vec![(SlotKey::Of(object, SlotPart::Slot), Bytes::from_static(&[0]))], 1).unwrap();
    let item =
        ItemRecord { queue: object, tier: Tier::BETA, deadline_ms: None, stamp: Hlc::default(), payload: Bytes::new() };
    let pushed = document.write_slots(vec![(SlotKey::Of(object, SlotPart::Item), item.encode())], 1).unwrap();
    let mut cyd = Stranger::dial(&relay, showing("cyd", holder)).await;
    cyd.until(|received| matches!(received, Received::Ready(_))).await.unwrap();
    let join = join(&id);
    cyd.session.send(Encoded::new(&join, Lane::Critical).unwrap());
    let mut lower = plan.clone();
    lower.definition.members[0].tier = Tier::GAMMA;
    lower.definition.tiers[0].tier = Tier::GAMMA;
    let mut define = |holder: ReplicaId| {
        let object = ObjectId { holder, number: 1 };
        let key = SlotKey::Of(object, SlotPart::Definition);
        document.write_slots(vec![(key, lower.encode().into())], 1).unwrap()
    };
    let (again, foreign) = (define(replica), define(ada.identity().replica));
    for delta in [defined, sat, pushed, again, foreign] {
        let message = Message::Delta { document: id.clone(), delta: delta.encode().unwrap() };
        cyd.session.send(Encoded::new(&message, Lane::Critical).unwrap());
    }
    for said in [
        "sit in tier alpha: gamma is",
        "push items at tier beta: gamma is",
        // Defined anew, with a lower seat: those who know the first one would believe what is written from the higher.
        "an object is defined once",
        // Another's object, with a lower seat.
        "an object is defined once",
    ] {
        let refusal = cyd.until(|received| matches!(received, Received::Message(Message::Error { .. }))).await.unwrap();
        let Received::Message(Message::Error { code, reason, .. }) = refusal else { panic!() };
        assert_eq!(code, ErrorCode::Forbidden);
        assert!(reason.contains(said), "{reason}");
    }
    begun.abort();
}

/// A connection that says what it likes.
struct Stranger {
    session: Session,
    transport: aepoch::transport::WebSocketTransport,
    received: Vec<Received>,
}

impl Stranger {
    async fn dial(relay: &Relay, session: impl FnOnce(&str) -> Session) -> Self {
        let transport = connect_websocket(&relay.url()).await.unwrap();
        let session = session(transport.audience());
        Self { session, transport, received: Vec::new() }
    }

    async fn pump(&mut self) {
        while let Some(packet) = self.session.poll_transmit() {
            self.transport.send(packet).await.unwrap();
        }
    }

    /// Goes on until `wanted` has come, or the relay has closed; says how it closed.
    async fn until(&mut self, wanted: impl Fn(&Received) -> bool) -> Result<Received, TransportError> {
        let going_on = async {
            loop {
                self.pump().await;
                if let Some(at) = self.received.iter().position(&wanted) {
                    return Ok(self.received.remove(at));
                }
                match self.transport.next().await {
                    Some(Ok(packet)) => self.session.receive(packet, Monotonic(1), &mut self.received).unwrap(),
                    Some(Err(error)) => return Err(error),
                    None => return Err(TransportError::Lost { reason: "closed without a word".to_owned() }),
                }
            }
        };
        tokio::time::timeout(PATIENCE, going_on).await.expect("nothing came")
    }

    async fn closed_with(&mut self) -> (u16, String) {
        match self.until(|_| false).await {
            Err(TransportError::Closed { code, reason }) => (code.0, reason),
            other => panic!("{other:?}"),
        }
    }
}

fn hello(agent: &str, replica: ReplicaId) -> Hello {
    let identity = Identity { agent: agent.parse().unwrap(), replica, incarnation: 1 };
    Hello::new(identity, Role::Agent, Capabilities::LZ4)
}

fn holder(founder: &Founder, agent: &str) -> Holder {
    Holder::new(&founder.issue(agent, &everything()), key_of(agent), 5)
}

fn honest(founder: &Founder, agent: &str, audience: &str) -> Session {
    showing(agent, holder(founder, agent))(audience)
}

/// A session of somebody who calls itself `agent` and shows this, by where it was dialled.
fn showing(agent: &str, holder: Holder) -> impl FnOnce(&str) -> Session {
    let hello = hello(agent, holder.replica());
    move |audience| {
        let channel = Channel { audience: audience.to_owned(), binding: None };
        Session::new(hello, Monotonic(0)).holding(holder).over(channel)
    }
}

/// Joins a document empty-handed.
fn join(document: &DocumentId) -> Message {
    Message::Join {
        document: document.clone(),
        engine: EngineKind::Yrs,
        frontier: Default::default(),
        subscription: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_is_not_let_in() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    // One that has no credential ends by itself, and says so.
    let ada = builder(&relay, "ada").open().await.unwrap();
    assert_eq!(why_not_up(&ada).await, "the peer asks for a credential, and this agent has none");
    // One that goes on as if nothing had been asked is told.
    let mut stranger =
        Stranger::dial(&relay, |_| Session::new(hello("eve", ReplicaId::from_bits(9)), Monotonic(0))).await;
    stranger.pump().await;
    let leave = Message::Leave { document: "test/stage".parse().unwrap() };
    let packet = ready_packet(&leave);
    stranger.transport.send(packet).await.unwrap();
    let closed = loop {
        match stranger.transport.next().await.unwrap() {
            Ok(_) => {}
            Err(TransportError::Closed { code, reason }) => break (code.0, reason),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(closed, (4_401, "a credential is asked for, and a frame of kind Message came instead".to_owned()));
}

async fn why_not_up(agent: &Agent) -> String {
    let reason = || agent.status().relays.iter().find_map(|relay| relay.reason.clone());
    eventually("the dial is given up", || reason().is_some()).await;
    assert!(!agent.status().online);
    reason().unwrap()
}

/// A message as a session sends it that is in the middle of a conversation.
fn ready_packet(message: &Message) -> Bytes {
    let mut session = Session::new(hello("eve", ReplicaId::from_bits(9)), Monotonic(0));
    let mut peer = Session::new(hello("relay", ReplicaId::from_bits(8)), Monotonic(0));
    session.receive(peer.poll_transmit().unwrap(), Monotonic(0), &mut Vec::new()).unwrap();
    session.poll_transmit().unwrap();
    session.send(Encoded::new(message, Lane::Critical).unwrap());
    session.poll_transmit().unwrap()
}

/// Case 24: not in an address, where it would reach logs.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_token_in_the_query_is_refused() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let token = founder.issue("ada", &everything());
    let error = connect_websocket(&format!("{}/v1/sync?token={token}", relay.url())).await.unwrap_err().to_string();
    assert!(error.contains("it has a query") && !error.contains(&token), "{error}");
    // A client that sends it nevertheless.
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let request = format!(
        "GET /v1/sync?token={token} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        relay.address()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let len = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..len]);
    assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains(&token), "{answer}");
}

/// Case 25: a credential without its key is of no use.
#[tokio::test(flavor = "multi_thread")]
async fn case_25_a_stolen_credential_without_its_key_is_refused() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let stolen = Holder::new(&founder.issue("ada", &everything()), key_of("eve"), 5);
    let (code, reason) = Stranger::dial(&relay, showing("ada", stolen)).await.closed_with().await;
    assert_eq!(code, 4_401);
    assert!(reason.contains("not of the credential's key"), "{reason}");
}

/// Case 26: what was shown to one relay is of no use at another, be it passed on as it is or by one in between.
#[tokio::test(flavor = "multi_thread")]
async fn case_26_a_proof_for_one_relay_is_of_no_use_at_another() {
    let founder = Founder::new();
    let (one, other) = (relay(&founder).await, relay(&founder).await);
    // In between: the agent was dialled elsewhere than the relay believes.
    let (code, reason) = Stranger::dial(&other, |_| {
        let of_one = one.url();
        honest(&founder, "ada", of_one.strip_prefix("ws://").unwrap())
    })
    .await
    .closed_with()
    .await;
    assert_eq!(code, 4_401);
    assert!(reason.contains("over this conversation"), "{reason}");
    // Recorded and sent again: the other asks with another number.
    let mut recorded = Vec::new();
    let mut honest_one = Stranger::dial(&one, |audience| honest(&founder, "ada", audience)).await;
    let greeting = honest_one.transport.next().await.unwrap().unwrap();
    honest_one.session.receive(greeting, Monotonic(1), &mut Vec::new()).unwrap();
    while let Some(packet) = honest_one.session.poll_transmit() {
        recorded.push(packet.clone());
        honest_one.transport.send(packet).await.unwrap();
    }
    assert_eq!(recorded.len(), 2, "a Hello and a proof");
    let mut replay = connect_websocket(&one.url()).await.unwrap();
    for packet in recorded {
        replay.send(packet).await.unwrap();
    }
    let closed = loop {
        match replay.next().await.unwrap() {
            Ok(_) => {}
            Err(TransportError::Closed { code, .. }) => break code.0,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(closed, 4_401);
}

/// Case 26, by one in between that names the relay in the request line, where it counts instead of `Host` (RFC 9112).
#[tokio::test(flavor = "multi_thread")]
async fn case_26_a_proof_made_for_host_does_not_count_where_the_request_line_names_the_relay() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (between.local_addr().unwrap(), relay.address());
    let passing_on = tokio::spawn(async move {
        let (mut agent, _) = between.accept().await.unwrap();
        let mut relay = TcpStream::connect(behind).await.unwrap();
        let mut line = [0; "GET /".len()];
        agent.read_exact(&mut line).await.unwrap();
        relay.write_all(format!("GET http://{behind}/").as_bytes()).await.unwrap();
        tokio::io::copy_bidirectional(&mut agent, &mut relay).await
    });
    let transport = connect_websocket(&format!("ws://{address}")).await.unwrap();
    let session = honest(&founder, "ada", transport.audience());
    let mut dialled = Stranger { session, transport, received: Vec::new() };
    let (code, reason) = dialled.closed_with().await;
    assert_eq!(code, 4_401);
    assert!(reason.contains("over this conversation"), "{reason}");
    passing_on.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_under_anothers_name_or_number() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let own = holder(&founder, "eve");
    let victim = replica_of(&key_of("ada").public(), 5);
    for (name, replica, said) in [("ada", own.replica(), "calls itself `ada`"), ("eve", victim, "is not the replica")] {
        let session = |audience: &str| {
            let channel = Channel { audience: audience.to_owned(), binding: None };
            Session::new(hello(name, replica), Monotonic(0)).holding(own.clone()).over(channel)
        };
        let (code, reason) = Stranger::dial(&relay, session).await.closed_with().await;
        assert_eq!(code, 4_401);
        assert!(reason.contains(said), "{reason}");
    }
}

/// Case 30, and its honest counterpart: a newer credential is of the same agent and key.
#[tokio::test(flavor = "multi_thread")]
async fn case_30_a_renewal_by_somebody_else_ends_the_connection() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let mut ada = Stranger::dial(&relay, |audience| honest(&founder, "ada", audience)).await;
    ada.until(|received| matches!(received, Received::Ready(_))).await.unwrap();
    ada.session.show(holder(&founder, "ada").renewed(&founder.issue_until("ada", &everything(), now() + 700))).unwrap();
    ada.pump().await;
    ada.session.show(Holder::new(&founder.issue("bob", &everything()), key_of("bob"), 5)).unwrap();
    let (code, reason) = ada.closed_with().await;
    assert_eq!(code, 4_401);
    assert!(reason.contains("calls itself"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_is_asked_for_anew_and_renewed() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    // It ends within the minute in which it is asked for anew.
    let short = founder.issue_until("ada", &everything(), now() + 40);
    let ada = builder(&relay, "ada").credential(&short, key_of("ada")).open().await.unwrap();
    let mut events = ada.events();
    let asked = async {
        loop {
            if let Ok(Some(event)) = events.next().await
                && matches!(&*event, Event::RenewalAsked { .. })
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is never asked for a newer one");
    assert!(matches!(ada.renew(&founder.issue("bob", &everything())), Err(AgentError::OthersCredential { .. })));
    ada.renew(&founder.issue("ada", &everything())).unwrap();
    let stage = ada.document("stage").await.unwrap();
    stage.counter("takes").add(1).unwrap();
    flushed(&stage).await;
}

/// Case 31, and revocation: nothing further is sent, and the agent is told why.
#[tokio::test(flavor = "multi_thread")]
async fn case_31_a_revoked_agent_is_cut_off_and_stays_out() {
    let mut founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let bob = agent(&relay, &founder, "bob", &everything()).await;
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    of_ada.register("song").set(&"intro").unwrap();
    eventually("bob has it", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
    let events = bob.events();
    let revoked = founder.change(|policy| assert_eq!(policy.revoked.insert("bob".parse().unwrap(), now() + 1), None));
    relay.set_policy(&revoked);
    // From here on nothing of the swarm reaches bob, whatever was queued for it.
    of_ada.register("song").set(&"secret").unwrap();
    flushed(&of_ada).await;
    let reason = why_closed(events).await;
    assert!(reason.contains("4403") && reason.contains("`bob`"), "{reason}");
    eventually("bob is turned away", || bob.status().relays.iter().any(|relay| relay.failures > 1)).await;
    assert_eq!(of_bob.register("song").get().unwrap(), Some("intro".to_owned()));
    // What was issued afterwards counts.
    assert!(ada.status().online);
}

/// What others wrote is taken in where one has the right to write, and where it would be taken further.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_needs_the_right_to_write_and_a_relay_that_takes_what_others_wrote() {
    let founder = Founder::new();
    let elsewhere = DocumentId::new("test/elsewhere").unwrap();
    let mut elsewhere = Document::new(elsewhere, EngineKind::Yrs, ReplicaId::from_bits(77)).unwrap();
    let op = Op::TextInsert { text: "notes".into(), index: None, chars: "loud".to_owned() };
    let plan = |transaction: &mut Transaction<'_>| -> Result<(), DocumentError> {
        transaction.content(op);
        Ok(())
    };
    elsewhere.transact(0, false, plan).unwrap();
    let update = elsewhere.content().snapshot();

    let trusting = Relay::builder().listen("127.0.0.1:0").policy(founder.authority()).trust_forwarding(true);
    let trusting = trusting.open().await.unwrap();
    let ada = agent(&trusting, &founder, "ada", &everything()).await;
    let bob = agent(&trusting, &founder, "bob", &[grant("test/stage", &[Right::Read])]).await;
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    of_ada.register("song").set(&"intro").unwrap();
    eventually("bob reads", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
    assert_eq!(of_bob.import(&update).unwrap_err().to_string(), "`bob` has no right to write content");
    assert_eq!(of_ada.import(&update).unwrap(), Imported { insertions: 4, deletions: 0, writers: 1 });
    flushed(&of_ada).await;
    eventually("bob has it", || of_bob.text("notes").get().unwrap() == "loud").await;

    let relay = relay(&founder).await;
    let cyd = agent(&relay, &founder, "cyd", &everything()).await;
    let of_cyd = cyd.document("stage").await.unwrap();
    of_cyd.register("song").set(&"intro").unwrap();
    flushed(&of_cyd).await;
    let refused = of_cyd.import(&update).unwrap_err();
    assert!(matches!(refused, AgentError::Node(NodeError::OwnOnly { .. })), "{refused}");
    assert_eq!(of_cyd.text("notes").get().unwrap(), "");
}

/// Case 33: a write without the right is refused where it is made, and, should an agent not ask itself, at the relay,
/// which keeps nothing of it and says so.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_who_may_only_read_cannot_write() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let of_ada = ada.document("stage").await.unwrap();
    of_ada.register("song").set(&"intro").unwrap();
    flushed(&of_ada).await;
    let reading = [grant("test/stage", &[Right::Read])];
    let bob = agent(&relay, &founder, "bob", &reading).await;
    let of_bob = bob.document("stage").await.unwrap();
    eventually("bob reads", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
    let refused = of_bob.register("song").set(&"mine").unwrap_err().to_string();
    assert_eq!(refused, "`bob` has no right to write `register/song`");
    let refused = of_bob.map("songs").put("first", &1).unwrap_err().to_string();
    assert_eq!(refused, "`bob` has no right to write content");
    assert_eq!(of_bob.register("song").get().unwrap(), Some("intro".to_owned()), "nothing is left of a refused write");

    // An agent that does not go by its own credential.
    let holder = Holder::new(&founder.issue("cyd", &reading), key_of("cyd"), 5);
    let replica = holder.replica();
    let mut cyd = Stranger::dial(&relay, showing("cyd", holder)).await;
    let mut document = Document::new("test/stage".parse().unwrap(), EngineKind::Yrs, replica).unwrap();
    let ((), commit) =
        document.transact::<_, DocumentError>(1, false, |tx| tx.set_register("song", &"mine".into())).unwrap();
    cyd.until(|received| matches!(received, Received::Ready(_))).await.unwrap();
    let id = document.id().clone();
    let join = join(&id);
    let delta = Message::Delta { document: id.clone(), delta: commit.delta.encode().unwrap() };
    let slots = document.write_slots(vec![(SlotKey::Closed, Bytes::from_static(&[0]))], 1).unwrap();
    let slots = Message::Delta { document: id, delta: slots.encode().unwrap() };
    for message in [join, delta, slots] {
        cyd.session.send(Encoded::new(&message, Lane::Critical).unwrap());
    }
    for said in ["`cyd` has no right to write `register/song`", "`cyd` has no right to coordinate in this document"] {
        let refusal = cyd.until(|received| matches!(received, Received::Message(Message::Error { .. }))).await.unwrap();
        let Received::Message(Message::Error { code, reason, .. }) = refusal else { panic!() };
        assert_eq!((code, reason.as_str()), (ErrorCode::Forbidden, said));
    }
    of_ada.counter("takes").add(1).unwrap();
    flushed(&of_ada).await;
    assert_eq!(of_ada.register("song").get().unwrap(), Some("intro".to_owned()));
    assert_eq!(ada.status().unsynced, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_are_not_granted_are_not_joined_and_a_narrower_policy_is_told() {
    let mut founder = Founder::new();
    let relay = relay(&founder).await;
    // The credential says it may, and the issuer may not give as much: only the relay knows.
    relay.set_policy(&founder.change(|policy| {
        let issuer = policy.issuers.get_mut("issuer").unwrap();
        issuer.rooms = ["test/stage".parse().unwrap(), "test/_swarm".parse().unwrap()].into();
    }));
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let (stage, crew) = (ada.document("stage").await.unwrap(), ada.document("crew").await.unwrap());
    stage.counter("takes").add(1).unwrap();
    flushed(&stage).await;
    crew.counter("takes").add(1).unwrap();
    let refused = tokio::time::timeout(PATIENCE, crew.flush()).await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, AgentError::Forbidden { reason, .. } if reason.contains("no right to read")),
        "{refused}"
    );
    assert!(crew.status().unwrap().stalled.unwrap().contains("no right to read"));
    // A room the agent itself knows to be out of bounds.
    let elsewhere = agent(&relay, &founder, "bob", &[grant("test/stage", ALL)]).await;
    let crew = elsewhere.document("crew").await.unwrap();
    let refused = crew.counter("takes").add(1).unwrap_err();
    assert!(matches!(refused, AgentError::Node(NodeError::Document(DocumentError::Forbidden { .. }))), "{refused}");
}

/// A narrower credential counts at once: the agent is cut off and comes back with what is left.
#[tokio::test(flavor = "multi_thread")]
async fn narrowed_rights_take_effect_on_a_live_connection() {
    let mut founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let bob = agent(&relay, &founder, "bob", &everything()).await;
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    of_ada.register("song").set(&"intro").unwrap();
    eventually("bob has it", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
    relay.set_policy(&founder.change(|policy| {
        policy.issuers.get_mut("issuer").unwrap().rooms = ["test/crew".parse().unwrap()].into();
    }));
    of_ada.register("song").set(&"secret").unwrap();
    let refused = tokio::time::timeout(PATIENCE, of_ada.flush()).await.unwrap().unwrap_err();
    assert!(matches!(refused, AgentError::Forbidden { .. }), "{refused}");
    assert_eq!(of_bob.register("song").get().unwrap(), Some("intro".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_presence_need_the_right_to_be_seen() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let unseen = [grant("test/**", &[Right::Read, Right::Write])];
    let ada = agent(&relay, &founder, "ada", &unseen).await;
    let stage = ada.document("stage").await.unwrap();
    let id = stage.id().clone();
    let refused = stage.set_presence(&"here").unwrap_err().to_string();
    assert_eq!(refused, "`ada` has no right to be seen in this document");
    let refused = ada.send(Address::Document(id.clone()), Lane::High, "hush").unwrap_err().to_string();
    assert_eq!(refused, "`ada` has no right to be seen in this document");

    // An agent that does not go by its own credential.
    let holder = Holder::new(&founder.issue("eve", &unseen), key_of("eve"), 5);
    let replica = holder.replica();
    let mut eve = Stranger::dial(&relay, showing("eve", holder)).await;
    eve.until(|received| matches!(received, Received::Ready(_))).await.unwrap();
    let name: AgentId = "eve".parse().unwrap();
    let entry = PresenceEntry { replica, agent: name.clone(), clock: 1, state: Some("1".into()), ttl_ms: 1_000 };
    let join = join(&id);
    let presence = Message::Presence { document: id.clone(), entries: vec![entry] };
    let message = Message::App { from: name, to: Address::Document(id), lane: Lane::Critical, body: "hush".into() };
    for message in [join, presence, message] {
        eve.session.send(Encoded::new(&message, Lane::Critical).unwrap());
    }
    for _ in 0..2 {
        let refusal = eve.until(|received| matches!(received, Received::Message(Message::Error { .. }))).await.unwrap();
        let Received::Message(Message::Error { code, reason, .. }) = refusal else { panic!() };
        let said = "`eve` has no right to be seen in this document";
        assert_eq!((code, reason.as_str()), (ErrorCode::Forbidden, said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_listen_ask_as_a_relay_does() {
    let founder = Founder::new();
    let one = Agent::builder("one").swarm("test").policy(founder.authority());
    let one = one.credential(&founder.issue("one", &everything()), key_of("one")).open().await.unwrap();
    let address = one.listen("127.0.0.1:0").await.unwrap();
    let dial =
        |name: &str| Agent::builder(name).swarm("test").connect(&format!("ws://{address}")).backoff(quick_backoff());
    let two = dial("two").credential(&founder.issue("two", &everything()), key_of("two")).open().await.unwrap();
    let eve = dial("eve").open().await.unwrap();
    let (of_one, of_two) = (one.document("stage").await.unwrap(), two.document("stage").await.unwrap());
    of_one.register("song").set(&"intro").unwrap();
    eventually("two has it", || of_two.register("song").get().unwrap() == Some("intro".to_owned())).await;
    assert_eq!(why_not_up(&eve).await, "the peer asks for a credential, and this agent has none");
}

/// Case 19 in the part that concerns connections: the verdict takes the verifier's clock, with half a minute of grace.
#[test]
fn a_door_goes_by_the_clock_it_is_given() {
    let founder = Founder::new();
    let judged = |ahead: i64| {
        let wall_ms = now().saturating_add_signed(ahead) * 1_000;
        let door = Door::new(founder.authority(), [3; 32], Moment { mono: Monotonic(0), wall_ms });
        let mut relay = Session::new(hello("relay", ReplicaId::from_bits(8)), Monotonic(0)).asking(door);
        let mut ada = honest(&founder, "ada", "");
        ada.receive(relay.poll_transmit().unwrap(), Monotonic(0), &mut Vec::new()).unwrap();
        let mut received = Vec::new();
        while let Some(packet) = ada.poll_transmit() {
            relay.receive(packet, Monotonic(0), &mut received)?;
        }
        Ok::<_, aepoch::sync::SessionError>(received.len())
    };
    assert_eq!(judged(0), Ok(2), "an admission, and ready");
    assert_eq!(judged(-30), Ok(2));
    assert!(judged(-3_600).unwrap_err().to_string().contains("not valid before"));
    assert!(judged(3_600).unwrap_err().to_string().contains("expired at"));
}

/// What two sessions say to each other, until neither has more.
fn converse(one: &mut Session, other: &mut Session, now: Monotonic) -> [Vec<Received>; 2] {
    let mut received = [Vec::new(), Vec::new()];
    loop {
        let mut moved = false;
        while let Some(packet) = one.poll_transmit() {
            other.receive(packet, now, &mut received[1]).unwrap();
            moved = true;
        }
        while let Some(packet) = other.poll_transmit() {
            one.receive(packet, now, &mut received[0]).unwrap();
            moved = true;
        }
        if !moved {
            return received;
        }
    }
}

fn asking(founder: &Founder, wall_seconds: u64) -> Session {
    let door = Door::new(founder.authority(), [3; 32], Moment { mono: Monotonic(0), wall_ms: wall_seconds * 1_000 });
    Session::new(hello("relay", ReplicaId::from_bits(8)), Monotonic(0)).asking(door)
}

const SECOND: u64 = 1_000_000;

/// Case 23: who says nothing, or only its name, has five seconds.
#[test]
fn case_23_who_does_not_show_a_credential_in_time_is_sent_away() {
    let founder = Founder::new();
    for says_hello in [false, true] {
        let mut relay = asking(&founder, now());
        if says_hello {
            let mut eve = Session::new(hello("eve", ReplicaId::from_bits(9)), Monotonic(0));
            relay.receive(eve.poll_transmit().unwrap(), Monotonic(0), &mut Vec::new()).unwrap();
        }
        assert_eq!(relay.next_wake(), Some(Monotonic(5 * SECOND)));
        relay.tick(Monotonic(5 * SECOND - 1)).unwrap();
        let ended = relay.tick(Monotonic(5 * SECOND)).unwrap_err();
        assert_eq!(ended.close_code().0, 4_508, "{ended}");
    }
}

/// What is sent to somebody who has not come in yet waits, and never leaves if it does not come in.
#[test]
fn nothing_leaves_before_the_peer_is_let_in() {
    let founder = Founder::new();
    let mut relay = asking(&founder, now());
    let mut eve = Session::new(hello("eve", ReplicaId::from_bits(9)), Monotonic(0));
    relay.receive(eve.poll_transmit().unwrap(), Monotonic(0), &mut Vec::new()).unwrap();
    let secret = Message::Leave { document: "test/stage".parse().unwrap() };
    relay.send(Encoded::new(&secret, Lane::Critical).unwrap());
    relay.ping(Monotonic(0));
    assert!(relay.poll_transmit().is_some(), "its Hello");
    assert_eq!(relay.poll_transmit(), None);
    let mut ada = honest(&founder, "ada", "");
    let mut relay = asking(&founder, now());
    relay.send(Encoded::new(&secret, Lane::Critical).unwrap());
    let [of_ada, _] = converse(&mut ada, &mut relay, Monotonic(0));
    assert!(of_ada.contains(&Received::Message(secret)));
}

#[test]
fn a_credential_is_asked_for_anew_a_minute_before_it_ends_and_its_end_is_the_connections() {
    let founder = Founder::new();
    let start = now();
    let mut holder = holder(&founder, "ada").renewed(&founder.issue_until("ada", &everything(), start + 200));
    let mut ada = Session::new(hello("ada", holder.replica()), Monotonic(0)).holding(holder.clone());
    let mut relay = asking(&founder, start);
    converse(&mut ada, &mut relay, Monotonic(0));
    let asked = |relay: &mut Session, ada: &mut Session, second: u64| {
        for second in second - 20..second {
            // Both keep the connection alive.
            relay.ping(Monotonic(second * SECOND));
            converse(ada, relay, Monotonic(second * SECOND));
        }
        relay.tick(Monotonic(second * SECOND)).map(|()| {
            let [of_ada, of_relay] = converse(ada, relay, Monotonic(second * SECOND));
            assert!(!of_relay.iter().any(|received| matches!(received, Received::Ready(_))));
            of_ada.contains(&Received::RenewalAsked)
        })
    };
    assert_eq!(asked(&mut relay, &mut ada, 139), Ok(false));
    assert_eq!(asked(&mut relay, &mut ada, 140), Ok(true));
    assert_eq!(asked(&mut relay, &mut ada, 150), Ok(false), "once is enough");
    holder = holder.renewed(&founder.issue_until("ada", &everything(), start + 400));
    ada.show(holder).unwrap();
    let [_, of_relay] = converse(&mut ada, &mut relay, Monotonic(150 * SECOND));
    assert!(matches!(&of_relay[..], [Received::Admitted(admission)] if admission.expires == start + 400));
    assert_eq!(asked(&mut relay, &mut ada, 300), Ok(false), "the newer one counts");
    assert_eq!(asked(&mut relay, &mut ada, 341), Ok(true));
    assert_eq!(asked(&mut relay, &mut ada, 429), Ok(false));
    let ended = asked(&mut relay, &mut ada, 430).unwrap_err();
    assert_eq!(
        (ended.close_code().0, ended.to_string()),
        (4_401, format!("the credential of `ada` expired at {}", start + 400))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_so_many_connections_and_no_more() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let session = |salt: u64| showing("ada", Holder::new(&founder.issue("ada", &everything()), key_of("ada"), salt));
    let join = join(&"test/stage".parse().unwrap());
    let mut open = Vec::new();
    for salt in 0..10 {
        let mut one = Stranger::dial(&relay, session(salt)).await;
        one.session.send(Encoded::new(&join, Lane::Critical).unwrap());
        one.until(|received| matches!(received, Received::Message(Message::Frontier { .. }))).await.unwrap();
        open.push(one);
    }
    let (code, reason) = Stranger::dial(&relay, session(10)).await.closed_with().await;
    assert_eq!((code, reason.as_str()), (4_429, "`ada` has 10 connections, limit 10"));
    drop(open);
}

async fn metrics(relay: &Relay) -> String {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What a policy lowers holds from the next moment on, and is to be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_lowers_limits() {
    let mut founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let stage = ada.document("stage").await.unwrap();
    stage.register("song").set(&"intro").unwrap();
    flushed(&stage).await;
    assert!(metrics(&relay).await.contains("aepoch_limit{limit=\"updates_per_second\"} 100\n"));
    relay.set_policy(&founder.change(|policy| {
        policy.quotas =
            [(Quota::UpdateBytes, 1_000), (Quota::UpdatesPerSecond, 20), (Quota::AgentConnections, 1)].into();
    }));
    let now = metrics(&relay).await;
    for line in ["updates_per_second\"} 20", "update_bytes\"} 1000", "agent_connections\"} 1"] {
        assert!(now.contains(&format!("aepoch_limit{{limit=\"{line}\n")), "{line}");
    }
    let mut events = ada.events();
    stage.register("song").set(&"x".repeat(1_000)).unwrap();
    let refused = async {
        loop {
            if let Ok(Some(event)) = events.next().await
                && let Event::Refused { code: ErrorCode::Limit, reason, .. } = &*event
            {
                return reason.clone();
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(refused.ends_with("over the limit of 1000"), "{refused}");
    let second = builder(&relay, "ada").credential(&founder.issue("ada", &everything()), key_of("ada"));
    let reason = why_not_up(&second.open().await.unwrap()).await;
    assert!(reason.contains("`ada` has 1 connections, limit 1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_as_many_connections_as_the_policy_says() {
    let mut founder = Founder::new();
    let relay = relay(&founder).await;
    relay.set_policy(&founder.change(|policy| policy.quotas = [(Quota::AddressConnections, 2)].into()));
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let bob = agent(&relay, &founder, "bob", &everything()).await;
    eventually("both are connected", || ada.status().online && bob.status().online).await;
    let third = builder(&relay, "eve").credential(&founder.issue("eve", &everything()), key_of("eve"));
    let third = third.open().await.unwrap();
    let reason = why_not_up(&third).await;
    assert!(reason.contains("2 connections from 127.0.0.1 are open, limit 2"), "{reason}");
    // Whoever goes makes room.
    bob.close().await.unwrap();
    eventually("the next one is connected", || third.status().online).await;
}

/// More than its rate is not refused, and not lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_faster_than_its_rate_loses_time_and_nothing_else() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let ada = agent(&relay, &founder, "ada", &everything()).await;
    let bob = agent(&relay, &founder, "bob", &everything()).await;
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    for song in 0..2_000_u32 {
        of_ada.register(&format!("song-{}", song % 50)).set(&song).unwrap();
        ada.send(Address::Document(of_ada.id().clone()), Lane::High, song.to_be_bytes().to_vec()).unwrap();
    }
    of_ada.counter("done").add(1).unwrap();
    flushed(&of_ada).await;
    eventually("bob has it all", || of_bob.digest().unwrap() == of_ada.digest().unwrap()).await;
    assert!(!metrics(&relay).await.contains("aepoch_throttled_total 0\n"), "it was not slowed down");
}

/// Signed end to end: agents with the policy and a credential each share, an agent that cannot sign is kept out although
/// the relay lets it in.
#[tokio::test(flavor = "multi_thread")]
async fn in_an_end_to_end_room_agents_sign_and_check() {
    let mut founder = Founder::new();
    founder.change(|policy| {
        policy.trust = [DialRule { rooms: "test/**".parse().unwrap(), dial: Dial::EndToEnd }].into();
    });
    let relay = relay(&founder).await;
    let open = async |name: &str| {
        let builder = builder(&relay, name).credential(&founder.issue(name, &everything()), key_of(name));
        builder.policy(founder.authority()).open().await.unwrap()
    };
    let (ada, bob) = (open("ada").await, open("bob").await);
    let (of_ada, of_bob) = (ada.document("stage").await.unwrap(), bob.document("stage").await.unwrap());
    of_ada.register("song").set(&"intro").unwrap();
    flushed(&of_ada).await;
    eventually("bob has it", || of_bob.register("song").get().unwrap() == Some("intro".to_owned())).await;
    let flash = |document: &aepoch::agent::AgentDocument| {
        let flash = document.barrier("flash").members(Tier::ALPHA, ["ada", "bob"]);
        async move { flash.arrive().await }
    };
    let (one, other) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(flash(&of_ada), flash(&of_bob)) }).await.unwrap();
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_complete() && one.standing == other.standing, "{one:?} {other:?}");

    let eve = agent(&relay, &founder, "eve", &everything()).await;
    let of_eve = eve.document("stage").await.unwrap();
    of_eve.register("song").set(&"mine").unwrap();
    let mut events = eve.events();
    of_eve.register("other").set(&"mine").unwrap();
    let refused = async {
        loop {
            if let Ok(Some(event)) = events.next().await
                && let Event::Refused { reason, .. } = &*event
            {
                return reason.clone();
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(refused.contains("sign"), "{refused}");
    assert_eq!(of_ada.register("song").get().unwrap(), Some("intro".to_owned()));
}

/// A stranger that shows credentials without end costs the relay a few signatures, and its own connection.
#[test]
fn credentials_are_verified_so_often_in_a_minute_and_no_more() {
    let founder = Founder::new();
    let (mut ada, mut relay) = (honest(&founder, "ada", ""), asking(&founder, now()));
    converse(&mut ada, &mut relay, Monotonic(0));
    let mut show = |second: u64| {
        ada.show(holder(&founder, "ada")).unwrap();
        relay.receive(ada.poll_transmit().unwrap(), Monotonic(second * SECOND), &mut Vec::new())
    };
    (1..16).for_each(|_| show(1).unwrap());
    (0..16).for_each(|_| show(61).unwrap());
    let ended = show(61).unwrap_err();
    assert_eq!(ended.to_string(), "a number of credentials within a minute of 17 is over the limit of 16");
}

/// Presence, like everything else, in one's own name only.
#[tokio::test(flavor = "multi_thread")]
async fn presence_in_anothers_name_is_refused() {
    let founder = Founder::new();
    let relay = relay(&founder).await;
    let (holder, id) = (holder(&founder, "eve"), "test/stage".parse().unwrap());
    let replica = holder.replica();
    let mut eve = Stranger::dial(&relay, showing("eve", holder)).await;
    eve.until(|received| matches!(received, Received::Ready(_))).await.unwrap();
    let agent = "ada".parse().unwrap();
    let entry = PresenceEntry { replica, agent, clock: 1, state: Some("1".into()), ttl_ms: 1_000 };
    for message in [join(&id), Message::Presence { document: id, entries: vec![entry] }] {
        eve.session.send(Encoded::new(&message, Lane::Critical).unwrap());
    }
    let refusal = eve.until(|received| matches!(received, Received::Message(Message::Error { .. }))).await.unwrap();
    let Received::Message(Message::Error { code, reason, .. }) = refusal else { panic!() };
    assert_eq!(code, ErrorCode::Refused);
    assert!(reason.starts_with("presence of `ada`"), "{reason}");
}
