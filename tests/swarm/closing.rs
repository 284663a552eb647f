//! A connection that is closed says why: code and sentence reach the other end, and who is turned away for good does
//! not come straight back.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aepoch::{
    Agent,
    error::CloseCode,
    id::{AgentId, Identity, ReplicaId},
    limits,
    node::{Event, TargetState},
    sync::{Capabilities, Hello, Role, Session},
    time::Monotonic,
    transport::{Transport, TransportError, accept_websocket, connect_websocket, memory_pair},
};
use bytes::Bytes;
use futures_util::SinkExt as _;

use crate::world::{PATIENCE, World, eventually, quick_backoff};

fn hello(name: &str, versions: (u16, u16)) -> Hello {
    let identity = Identity { agent: AgentId::new(name).unwrap(), replica: ReplicaId::from_bits(77), incarnation: 1 };
    Hello { versions, ..Hello::new(identity, Role::Agent, Capabilities::default()) }
}

async fn greet(transport: &mut impl Transport, hello: Hello) {
    let mut session = Session::new(hello, Monotonic(0));
    transport.send(session.poll_transmit().unwrap()).await.unwrap();
}

/// Reads to the end: what the peer said when it closed; `None` when it just went.
async fn told(transport: &mut impl Transport) -> Option<(CloseCode, String)> {
    let reading = async {
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut *transport).poll_next(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(TransportError::Closed { code, reason })) => return Some((code, reason)),
                Some(Err(error)) => panic!("{error}"),
                None => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the other end closes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_says_why_it_hangs_up() {
    let world = World::new().await;
    let junk = Bytes::from_static(&[0xff; 100]);
    let mut stranger = connect_websocket(&world.relay.url()).await.unwrap();
    // More than it will read: what is left unread must not turn the answer into a reset.
    for _ in 0..20 {
        stranger.feed(junk.clone()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    let (code, reason) = told(&mut stranger).await.unwrap();
    assert_eq!(code, CloseCode::PROTOCOL);
    assert!(reason.contains("protocol broken") && reason.len() <= limits::CLOSE_REASON_BYTES, "{reason}");

    let mut newer = connect_websocket(&world.relay.url()).await.unwrap();
    greet(&mut newer, hello("newer", (7, 9))).await;
    assert_eq!(told(&mut newer).await.unwrap().0, CloseCode::VERSION);

    let mut first = connect_websocket(&world.relay.url()).await.unwrap();
    greet(&mut first, hello("twice", (1, 1))).await;
    eventually("the first is up", || world.relay.connections() == 1).await;
    let mut second = connect_websocket(&world.relay.url()).await.unwrap();
    greet(&mut second, hello("twice", (1, 1))).await;
    assert_eq!(told(&mut first).await.unwrap().0, CloseCode::REPLACED);

    let (stopped, last) = tokio::join!(world.relay.shut_down(), told(&mut second));
    stopped.unwrap();
    assert_eq!(last.unwrap(), (CloseCode::GOING_AWAY, "the relay is shutting down".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_says_why_it_hangs_up_on_every_transport() {
    let junk = Bytes::from_static(&[0xff; 100]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let agent = Agent::builder("a").connect(&url).backoff(quick_backoff()).open().await.unwrap();
    let mut server = accept_websocket(listener.accept().await.unwrap().0).await.unwrap();
    server.send(junk.clone()).await.unwrap();
    assert_eq!(told(&mut server).await.unwrap().0, CloseCode::PROTOCOL);

    let (mut ours, theirs) = memory_pair();
    agent.attach(theirs);
    ours.send(junk).await.unwrap();
    let (code, reason) = told(&mut ours).await.unwrap();
    assert_eq!(code, CloseCode::PROTOCOL);
    assert!(reason.contains("protocol broken"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_turned_away_stops_dialling_and_tells_why() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut transport = accept_websocket(stream).await.unwrap();
            greet(&mut transport, hello("stern", (1, 1))).await;
            transport.explain(CloseCode(4499), "go away");
            transport.close().await.unwrap();
            told(&mut transport).await;
        }
    });
    let mut backoff = quick_backoff();
    backoff.breaker_failures = 3;
    let agent = Agent::builder("a").connect(&url).backoff(backoff).open().await.unwrap();
    let mut events = agent.events();
    let reason = loop {
        match events.next().await.unwrap().as_deref() {
            Some(Event::LinkDown { reason, .. }) => break reason.clone(),
            Some(_) => {}
            None => panic!("the agent has closed"),
        }
    };
    assert_eq!(reason, "closed by the peer with 4499: go away");
    eventually("the circuit is open", || agent.status().relays[0].state == TargetState::Open).await;
    assert_eq!(dials.load(Ordering::Relaxed), 3);
    server.abort();
}
