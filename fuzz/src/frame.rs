//! The wire: packets of a hostile peer, before and after the handshake.

use std::time::Duration;

use aepoch::{
    document::{Frontier, Incoming, Subscription, Version},
    engine::EngineKind,
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Address, Capabilities, Encoded, ErrorCode, Hello, Lane, Message, PresenceEntry, Received, Role, Session},
    time::Monotonic,
};
use bytes::Bytes;

use crate::pieces;

/// First byte of an input that is sent before any handshake.
const STRANGER: u8 = 0;
/// Packets of one run; more only repeats the same steps.
const PACKETS_MAX: usize = 64;
/// Packets a session may want to send in answer to one; each ping has its pong, and a packet holds many.
const ANSWERS_MAX: usize = 64;
const NOW: Monotonic = Monotonic(0);

fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("a valid name")
}

fn session(name: &str, replica: u64) -> Session {
    let identity = Identity { agent: agent(name), replica: ReplicaId::from_bits(replica), incarnation: 1 };
    let capabilities = Capabilities::LZ4.with(Capabilities::FORWARDING).with(Capabilities::DURABLE);
    Session::new(Hello::new(identity, Role::Agent, capabilities), NOW)
}

/// Two sessions that have greeted each other.
fn connected() -> (Session, Session) {
    let (mut ours, mut theirs) = (session("ours", 7), session("theirs", 9));
    let mut received = Vec::new();
    while let Some(packet) = ours.poll_transmit() {
        theirs.receive(packet, NOW, &mut received).expect("our own handshake");
    }
    while let Some(packet) = theirs.poll_transmit() {
        ours.receive(packet, NOW, &mut received).expect("our own handshake");
    }
    assert_eq!(received.len(), 2, "both are ready");
    (ours, theirs)
}

/// Sends the pieces of `data` as packets; a message that is accepted must survive being sent on.
pub fn fuzz_one(data: &[u8]) -> String {
    let Some((&mode, packets)) = data.split_first() else { return "nothing sent".to_owned() };
    let mut ours = if mode == STRANGER { session("ours", 7) } else { connected().0 };
    let mut outcome = String::from("nothing received");
    for packet in pieces::split(packets).into_iter().take(PACKETS_MAX) {
        let mut received = Vec::new();
        let answer = ours.receive(Bytes::copy_from_slice(packet), NOW, &mut received);
        let answers = std::iter::from_fn(|| ours.poll_transmit()).take(ANSWERS_MAX).count();
        assert!(answers < ANSWERS_MAX, "one packet made a session answer without end");
        for received in received {
            outcome = accepted(received);
        }
        if let Err(error) = answer {
            return format!("{outcome}, closed with {} for {:?}", error.close_code(), error.fault());
        }
    }
    ours.tick(NOW + Duration::from_secs(1)).expect("no deadline is due");
    outcome
}

fn accepted(received: Received) -> String {
    match received {
        Received::Ready(_) => "ready".to_owned(),
        Received::Pong { .. } => "pong".to_owned(),
        Received::Admitted(_) => "admitted".to_owned(),
        Received::RenewalAsked => "asked for a newer credential".to_owned(),
        Received::Message(message) => {
            if let Message::Delta { delta, .. } = &message {
                // What the document does next with it; an error is an answer too.
                let _ = Incoming::decode(delta.clone(), 0, None);
            }
            let name: String = format!("{message:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
            send_on(message);
            name
        }
    }
}

/// A relay forwards what it accepted: it must fit the encoding and mean the same at the next peer.
fn send_on(message: Message) {
    let (mut ours, mut theirs) = connected();
    ours.send(Encoded::new(&message, Lane::Low).expect("an accepted message can be sent on"));
    let mut received = Vec::new();
    while let Some(packet) = ours.poll_transmit() {
        theirs.receive(packet, NOW, &mut received).expect("an accepted message is accepted again");
    }
    assert_eq!(received, [Received::Message(message)], "a message changed on its way");
}

fn messages() -> Vec<Message> {
    let document = DocumentId::new("band/stage").expect("a valid name");
    let replica = ReplicaId::from_bits(9);
    let mut version = Version::default();
    version.content.raise(replica, 3);
    version.records.raise(replica, 300);
    let frontier = Frontier { version: version.clone(), engine: Bytes::from_static(b"opaque") };
    let entry = PresenceEntry {
        replica,
        agent: agent("theirs"),
        clock: 4,
        state: Some(Bytes::from_static(b"{\"typing\":true}")),
        ttl_ms: 30_000,
    };
    let large = Bytes::from(vec![0x61; 40_000]);
    vec![
        Message::Join {
            document: document.clone(),
            engine: EngineKind::Yrs,
            frontier: frontier.clone(),
            subscription: Subscription { prefixes: vec!["register/".to_owned()] },
        },
        Message::Leave { document: document.clone() },
        Message::Frontier { document: document.clone(), frontier },
        Message::Delta { document: document.clone(), delta: Bytes::from_static(&[0, 0]) },
        Message::Delta { document: document.clone(), delta: large },
        Message::Ack { document: document.clone(), durable: version.clone() },
        Message::Presence { document: document.clone(), entries: vec![entry] },
        Message::App {
            from: agent("theirs"),
            to: Address::Document(document.clone()),
            lane: Lane::High,
            body: Bytes::from_static(b"hello"),
        },
        Message::DigestRequest { document: document.clone(), question: 300, path: "register".to_owned() },
        Message::Digest { document: document.clone(), question: 300, path: String::new(), entries: Vec::new() },
        Message::VersionRequest { document: document.clone(), question: 300 },
        Message::Version { document: document.clone(), question: 300, version },
        Message::Error { document: Some(document), code: ErrorCode::Limit, reason: "too much".to_owned() },
        Message::Goodbye { reason: "restart".to_owned(), retry_after_ms: 500 },
    ]
}

/// The packets of an honest peer: its handshake, every kind of message on every lane, a ping.
pub fn seeds() -> Vec<Vec<u8>> {
    let hello: Vec<Bytes> = std::iter::from_fn({
        let mut theirs = session("theirs", 9);
        move || theirs.poll_transmit()
    })
    .collect();
    let mut seeds = vec![with_mode(STRANGER, &hello)];
    for (at, message) in messages().iter().enumerate() {
        let (_, mut theirs) = connected();
        theirs.ping(NOW);
        theirs.send(Encoded::new(message, Lane::ALL[at % Lane::ALL.len()]).expect("a message within its bounds"));
        let packets: Vec<Bytes> = std::iter::from_fn(|| theirs.poll_transmit()).collect();
        seeds.push(with_mode(1, &packets));
    }
    // All in one, so that a mutation can mix the chunks of several messages.
    let (_, mut theirs) = connected();
    for (at, message) in messages().iter().enumerate() {
        theirs.send(Encoded::new(message, Lane::ALL[at % Lane::ALL.len()]).expect("a message within its bounds"));
    }
    let packets: Vec<Bytes> = std::iter::from_fn(|| theirs.poll_transmit()).collect();
    seeds.push(with_mode(1, &packets));
    seeds
}

fn with_mode(mode: u8, packets: &[Bytes]) -> Vec<u8> {
    let mut data = vec![mode];
    data.extend(pieces::join(packets));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_message_reaches_its_end() {
        let outcomes: Vec<String> = seeds().iter().map(|seed| fuzz_one(seed)).collect();
        let kinds = ["ready", "Join", "Leave", "Frontier", "Delta", "Delta", "Ack", "Presence", "App"];
        assert_eq!(outcomes[..kinds.len()], kinds);
        assert!(outcomes.iter().all(|outcome| !outcome.contains("closed")), "{outcomes:?}");
    }
}
