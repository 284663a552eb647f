//! Goal: every message comes out as it went in. Method: messages drawn at random, sent over two sessions, compressed
//! or not, whole or in chunks.

use aepoch::{
    document::{DigestEntry, Frontier, Subscription, Version},
    engine::EngineKind,
    id::{AgentId, DocumentId, ReplicaId},
    sync::{Address, Capabilities, ErrorCode, Lane, Message, PresenceEntry},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{encode, messages, pair, receive};

fn name() -> impl Strategy<Value = String> {
    vec(prop::sample::select(b"abcxyz0189._-".to_vec()), 1..=64).prop_map(|name| String::from_utf8(name).unwrap())
}

fn agent() -> impl Strategy<Value = AgentId> {
    name().prop_map(|name| AgentId::new(&name).unwrap())
}

fn document() -> impl Strategy<Value = DocumentId> {
    vec(name(), 1..=8).prop_map(|segments| DocumentId::new(&segments.join("/")).unwrap())
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    any::<u64>().prop_map(ReplicaId::from_bits)
}

/// Mostly short, sometimes long enough for chunks; noise or repetitive.
fn blob(longest: usize) -> impl Strategy<Value = Bytes> {
    let noise = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let long = (vec(any::<u8>(), 1..50), 0..longest)
        .prop_map(|(pattern, len)| pattern.into_iter().cycle().take(len).collect::<Vec<u8>>().into());
    let incompressible = (any::<u64>(), 0..longest).prop_map(|(seed, len)| {
        let mut dice = aepoch::time::Dice::new(seed);
        (0..len).map(|_| dice.bits() as u8).collect::<Vec<u8>>().into()
    });
    prop_oneof![6 => noise, 1 => long, 1 => incompressible]
}

fn version() -> impl Strategy<Value = Version> {
    let seen = || vec((replica(), 1..u64::MAX), 0..20);
    (seen(), seen(), seen()).prop_map(|(content, records, slots)| Version {
        content: content.into_iter().collect(),
        records: records.into_iter().collect(),
        slots: slots.into_iter().collect(),
    })
}

fn frontier() -> impl Strategy<Value = Frontier> {
    (version(), blob(40_000)).prop_map(|(version, engine)| Frontier { version, engine })
}

fn lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(Lane::ALL.to_vec())
}

fn entry() -> impl Strategy<Value = PresenceEntry> {
    (replica(), agent(), any::<u64>(), prop::option::of(blob(4_096)), 0..=300_000_u32)
        .prop_map(|(replica, agent, clock, state, ttl_ms)| PresenceEntry { replica, agent, clock, state, ttl_ms })
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![agent().prop_map(Address::Agent), document().prop_map(Address::Document), Just(Address::All)]
}

fn code() -> impl Strategy<Value = ErrorCode> {
    prop::sample::select(vec![
        ErrorCode::Protocol,
        ErrorCode::Version,
        ErrorCode::Refused,
        ErrorCode::EngineMismatch,
        ErrorCode::NoSuchDocument,
        ErrorCode::Limit,
        ErrorCode::Unavailable,
    ])
}

fn about_documents() -> impl Strategy<Value = Message> {
    let engine = prop::sample::select(vec![EngineKind::Yrs, EngineKind::Automerge]);
    let subscription = vec(".{0,40}", 0..=64).prop_map(|prefixes| Subscription { prefixes });
    prop_oneof![
        (document(), engine, frontier(), subscription).prop_map(|(document, engine, frontier, subscription)| {
            Message::Join { document, engine, frontier, subscription }
        }),
        document().prop_map(|document| Message::Leave { document }),
        (document(), frontier()).prop_map(|(document, frontier)| Message::Frontier { document, frontier }),
        (document(), blob(300_000)).prop_map(|(document, delta)| Message::Delta { document, delta }),
        (document(), version()).prop_map(|(document, durable)| Message::Ack { document, durable }),
        (document(), any::<u64>()).prop_map(|(document, question)| Message::VersionRequest { document, question }),
        (document(), any::<u64>(), version()).prop_map(|(document, question, version)| Message::Version {
            document,
            question,
            version
        }),
    ]
}

fn about_the_rest() -> impl Strategy<Value = Message> {
    let line = (".{0,60}", any::<[u8; 32]>()).prop_map(|(path, hash)| DigestEntry { path, hash });
    prop_oneof![
        (document(), vec(entry(), 0..20)).prop_map(|(document, entries)| Message::Presence { document, entries }),
        (agent(), address(), lane(), blob(200_000)).prop_map(|(from, to, lane, body)| Message::App {
            from,
            to,
            lane,
            body
        }),
        (document(), any::<u64>(), ".{0,200}").prop_map(|(document, question, path)| Message::DigestRequest {
            document,
            question,
            path
        }),
        (document(), any::<u64>(), ".{0,200}", vec(line, 0..50))
            .prop_map(|(document, question, path, entries)| Message::Digest { document, question, path, entries }),
        (prop::option::of(document()), code(), ".{0,200}").prop_map(|(document, code, reason)| Message::Error {
            document,
            code,
            reason
        }),
        (".{0,200}", any::<u32>()).prop_map(|(reason, retry_after_ms)| Message::Goodbye { reason, retry_after_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_comes_out_as_it_went_in(
        message in prop_oneof![about_documents(), about_the_rest()],
        lane in lane(),
        lz4: bool,
    ) {
        let capabilities = if lz4 { Capabilities::LZ4 } else { Capabilities::default() };
        let (mut sender, mut receiver) = pair(Capabilities::LZ4, capabilities);
        sender.send(encode(&message, lane));
        let mut received = Vec::new();
        while let Some(packet) = sender.poll_transmit() {
            prop_assert!(packet.len() <= aepoch::limits::CHUNK_BYTES);
            received.extend(messages(receive(&mut receiver, packet).unwrap()));
        }
        prop_assert_eq!(received, [message]);
    }
}
