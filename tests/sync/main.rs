//! Goal: the session keeps its promises to the node above it and to the memory below it. Method: two sessions back to
//! back, or one session and packets made by hand, under virtual time.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod delivery;
mod hostile;
mod limits;
mod measure;
mod negotiation;
mod roundtrip;
mod samples;
mod timing;
mod vectors;

use aepoch::{
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Capabilities, Encoded, Hello, Lane, Message, Received, Role, Session, SessionError},
    time::Monotonic,
};
use bytes::Bytes;

const START: Monotonic = Monotonic(1_000_000);

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn document(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

fn hello(name: &str, replica: u64, capabilities: Capabilities) -> Hello {
    let identity =
        Identity { agent: agent(name), replica: ReplicaId::from_bits(replica), incarnation: 1_700_000_000_000 };
    Hello::new(identity, Role::Agent, capabilities)
}

/// Two sessions after their handshake.
fn pair(one: Capabilities, two: Capabilities) -> (Session, Session) {
    let mut left = Session::new(hello("left", 1, one), START);
    let mut right = Session::new(hello("right", 2, two), START);
    let (from_left, from_right) = (left.poll_transmit().unwrap(), right.poll_transmit().unwrap());
    assert!(matches!(receive(&mut right, from_left).unwrap()[..], [Received::Ready(_)]));
    assert!(matches!(receive(&mut left, from_right).unwrap()[..], [Received::Ready(_)]));
    (left, right)
}

/// A session after its handshake, for packets made by hand.
fn ready() -> Session {
    pair(Capabilities::LZ4, Capabilities::LZ4).0
}

fn receive(session: &mut Session, packet: impl Into<Bytes>) -> Result<Vec<Received>, SessionError> {
    let mut received = Vec::new();
    session.receive(packet.into(), START, &mut received)?;
    Ok(received)
}

fn messages(received: Vec<Received>) -> Vec<Message> {
    let message = |received| match received {
        Received::Message(message) => Some(message),
        _ => None,
    };
    received.into_iter().filter_map(message).collect()
}

fn encode(message: &Message, lane: Lane) -> Encoded {
    Encoded::new(message, lane).unwrap()
}

const HELLO: u8 = 0;
const MESSAGE: u8 = 1;
const COMPRESSED: u8 = 2;
const CHUNK: u8 = 3;
const PING: u8 = 4;
const PONG: u8 = 5;
const LAST: u8 = 0x80;

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A frame, written out without the library.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &leb128(payload.len()), payload].concat()
}

/// A frame in chunks of at most `piece` bytes, one packet each.
fn chunks(lane: Lane, frame_bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let count = frame_bytes.len().div_ceil(piece);
    let packet = |(index, piece): (usize, &[u8])| {
        let flags = lane as u8 | if index + 1 == count { LAST } else { 0 };
        frame(CHUNK, &[&[flags], piece].concat())
    };
    frame_bytes.chunks(piece).enumerate().map(packet).collect()
}
