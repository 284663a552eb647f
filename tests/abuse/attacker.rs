//! A connection that speaks the protocol and says what it likes.

use std::pin::Pin;

use aepoch::{
    document::{ContentDelta, Delta, Frontier, Span, Subscription},
    engine::EngineKind,
    error::CloseCode,
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Capabilities, Encoded, Hello, Lane, Message, Received, Role, Session},
    time::Monotonic,
    transport::{Transport, TransportError, WebSocketTransport, connect_websocket},
};
use bytes::Bytes;

use crate::relay::{PATIENCE, Relay};

/// A connection that speaks the protocol and says what it likes.
pub(crate) struct Attacker {
    pub(crate) transport: WebSocketTransport,
    session: Session,
    inbox: Vec<Message>,
    pub(crate) me: ReplicaId,
    pub(crate) closed: Option<CloseCode>,
}

impl Attacker {
    pub(crate) async fn connect(relay: &Relay) -> Self {
        Self::connect_as(relay, ReplicaId::from_bits(0x0bad_cafe)).await
    }

    pub(crate) async fn connect_as(relay: &Relay, me: ReplicaId) -> Self {
        let mut transport = connect_websocket(&relay.url).await.unwrap();
        let identity = Identity { agent: AgentId::new("mallory").unwrap(), replica: me, incarnation: 1 };
        let mut session = Session::new(
            Hello::new(identity, Role::Agent, Capabilities::LZ4.with(Capabilities::FORWARDING)),
            Monotonic(0),
        );
        send(&mut transport, session.poll_transmit().unwrap()).await.unwrap();
        let mut received = Vec::new();
        while received.is_empty() {
            let packet = receive(&mut transport).await.unwrap().unwrap();
            session.receive(packet, Monotonic(0), &mut received).unwrap();
        }
        Self { transport, session, inbox: Vec::new(), me, closed: None }
    }

    pub(crate) async fn say(&mut self, message: &Message, lane: Lane) -> Result<(), TransportError> {
        self.session.send(Encoded::new(message, lane).unwrap());
        self.transmit().await
    }

    async fn transmit(&mut self) -> Result<(), TransportError> {
        while let Some(packet) = self.session.poll_transmit() {
            send(&mut self.transport, packet).await?;
        }
        Ok(())
    }

    pub(crate) async fn join(&mut self, document: &DocumentId, engine: EngineKind) {
        let join = Message::Join {
            document: document.clone(),
            engine,
            frontier: Frontier::default(),
            subscription: Subscription::default(),
        };
        self.say(&join, Lane::Critical).await.unwrap();
    }

    /// Says something that comes to nothing: who is silent for long is taken for dead.
    pub(crate) async fn is_alive(&mut self, document: &DocumentId) {
        let nobody = Message::Presence { document: document.clone(), entries: Vec::new() };
        self.say(&nobody, Lane::Normal).await.unwrap();
    }

    /// The next message; `None` when the connection was closed instead. Pings are answered: who reads is alive.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        let waiting = async {
            while self.inbox.is_empty() {
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
                // The reason of a connection that is gone is still to be read.
                let _ = self.transmit().await;
            }
            Some(self.inbox.remove(0))
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("something from the relay")
    }

    /// The reason of the next refusal; `None` when the connection was closed instead.
    pub(crate) async fn refusal(&mut self) -> Option<String> {
        loop {
            if let Message::Error { reason, .. } = self.hear().await? {
                return Some(reason);
            }
        }
    }

    /// Sends a packet as it is, and waits for the relay to hang up. It may do so before all is sent.
    pub(crate) async fn hung_up_on(mut self, packets: impl IntoIterator<Item = Vec<u8>>) -> Option<CloseCode> {
        for packet in packets {
            if send(&mut self.transport, packet.into()).await.is_err() {
                break;
            }
        }
        while self.hear().await.is_some() {}
        self.closed
    }

    /// A first commit.
    pub(crate) fn delta(&self, document: &DocumentId, writer: ReplicaId, update: Vec<u8>) -> Message {
        commit(document, Span { writer, since: 0, upto: 1 }, update)
    }
}

/// An update that counts as these commits.
pub(crate) fn commit(document: &DocumentId, span: Span, update: impl Into<Bytes>) -> Message {
    let content = ContentDelta { spans: vec![span], after: Vec::new(), updates: vec![update.into()] };
    let delta = Delta { content: Some(content), ..Delta::default() };
    Message::Delta { document: document.clone(), delta: delta.encode().unwrap() }
}

pub(crate) async fn send(transport: &mut WebSocketTransport, packet: Bytes) -> Result<(), TransportError> {
    use futures_util::SinkExt as _;
    transport.send(packet).await
}

pub(crate) async fn receive(transport: &mut impl Transport) -> Option<Result<Bytes, TransportError>> {
    std::future::poll_fn(|cx| Pin::new(&mut *transport).poll_next(cx)).await
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
