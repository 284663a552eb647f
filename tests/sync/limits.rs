//! Goal: every bound of a message holds on its way out and on its way in. Method: for each bound, a message at it and
//! one beyond it.

use aepoch::{
    document::{DigestEntry, Frontier, Seen, Subscription, Version},
    engine::EngineKind,
    error::Fault,
    id::ReplicaId,
    limits,
    sync::{Address, Encoded, ErrorCode, Lane, Message, MessageError, PresenceEntry, SessionError},
};
use bytes::Bytes;

use super::{MESSAGE, agent, chunks, document, frame, ready, receive};

fn seen(count: usize) -> Seen {
    (1..=count as u64).map(|writer| (ReplicaId::from_bits(writer), 1)).collect()
}

fn join(writers: usize, prefixes: Vec<String>) -> Message {
    let version = Version { content: seen(writers), ..Version::default() };
    let frontier = Frontier { version, engine: Bytes::new() };
    let subscription = Subscription { prefixes };
    Message::Join { document: document("a"), engine: EngineKind::Yrs, frontier, subscription }
}

fn presence(count: usize, bytes: usize, ttl_ms: u32) -> Message {
    let state = Some(vec![b'1'; bytes].into());
    let entry = PresenceEntry { replica: ReplicaId::from_bits(1), agent: agent("a"), clock: 1, state, ttl_ms };
    Message::Presence { document: document("a"), entries: vec![entry; count] }
}

fn digest(path: usize, below: usize) -> Message {
    let entries = vec![DigestEntry { path: "p".repeat(below), hash: [0; 32] }];
    Message::Digest { document: document("a"), question: 1, path: "p".repeat(path), entries }
}

/// Messages at a bound, each with one beyond it and what the refusal says.
fn bounds() -> Vec<(Message, Message, &'static str)> {
    let reason = |len| "r".repeat(len);
    let error = |len| Message::Error { document: None, code: ErrorCode::Limit, reason: reason(len) };
    let goodbye = |len| Message::Goodbye { reason: reason(len), retry_after_ms: 0 };
    let app = |len| {
        let body = vec![0; len].into();
        Message::App { from: agent("a"), to: Address::All, lane: Lane::High, body }
    };
    let ack = |writers| {
        let durable = Version { slots: seen(writers), ..Version::default() };
        Message::Ack { document: document("a"), durable }
    };
    let answer = |writers| {
        let version = Version { records: seen(writers), ..Version::default() };
        Message::Version { document: document("a"), question: 1, version }
    };
    let request = |len| Message::DigestRequest { document: document("a"), question: 1, path: "p".repeat(len) };
    let prefixes = |count, len| vec!["p".repeat(len); count];
    let ttl = limits::PRESENCE_TTL_MAX.as_millis() as u32;
    vec![
        (join(4_096, vec![]), join(4_097, vec![]), "a frontier (writers) of 4097 is over the limit of 4096"),
        (join(1, prefixes(64, 1)), join(1, prefixes(65, 1)), "a subscription (prefixes) of 65 is over the limit of 64"),
        (join(1, prefixes(1, 2_048)), join(1, prefixes(1, 2_049)), "a prefix of 2049 is over the limit of 2048"),
        (ack(4_096), ack(4_097), "an acknowledgement (writers) of 4097 is over the limit of 4096"),
        (answer(4_096), answer(4_097), "a version (writers) of 4097 is over the limit of 4096"),
        (presence(10_000, 1, 0), presence(10_001, 1, 0), "a presence message (entries) of 10001 is over"),
        (presence(1, 4_096, 0), presence(1, 4_097, 0), "a presence entry of 4097 is over the limit of 4096"),
        (presence(1, 1, ttl), presence(1, 1, ttl + 1), "the time-to-live of presence (ms) of 300001 is over"),
        (app(262_144), app(262_145), "an application message of 262145 is over the limit of 262144"),
        (request(2_048), request(2_049), "a path of 2049 is over the limit of 2048"),
        (digest(2_048, 1), digest(2_049, 1), "a path of 2049 is over the limit of 2048"),
        (digest(1, 2_048), digest(1, 2_049), "a path of 2049 is over the limit of 2048"),
        (error(4_096), error(4_097), "a reason of 4097 is over the limit of 4096"),
        (goodbye(4_096), goodbye(4_097), "a reason of 4097 is over the limit of 4096"),
    ]
}

#[test]
fn what_is_beyond_a_bound_is_not_encoded() {
    for (within, beyond, refusal) in bounds() {
        assert!(Encoded::new(&within, Lane::Normal).is_ok(), "{refusal}");
        let error = Encoded::new(&beyond, Lane::Normal).unwrap_err();
        assert!(error.to_string().starts_with(refusal), "{error}");
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Caller, false));
    }
}

#[test]
fn what_is_beyond_a_bound_is_refused_from_a_peer() {
    let arrives = |message: &Message| {
        let whole = frame(MESSAGE, &postcard::to_allocvec(message).unwrap());
        let mut session = ready();
        let packets = chunks(Lane::Normal, &whole, 16_000);
        packets.into_iter().try_for_each(|packet| receive(&mut session, packet).map(|_| ()))
    };
    for (within, beyond, refusal) in bounds() {
        assert_eq!(arrives(&within), Ok(()), "{refusal}");
        let error = arrives(&beyond).unwrap_err();
        assert_eq!((error.fault(), error.is_retryable()), (Fault::Peer, false), "{refusal}");
    }
}

#[test]
fn a_message_is_as_large_as_its_lane_allows() {
    let delta = |len| Message::Delta { document: document("a"), delta: vec![0; len].into() };
    // One byte each for the variant and the name's length, one for the name, four for the delta's length.
    let largest = limits::MESSAGE_BYTES - 7;
    for lane in [Lane::Critical, Lane::High, Lane::Normal] {
        assert!(Encoded::new(&delta(largest), lane).is_ok());
        let error = Encoded::new(&delta(largest + 1), lane).unwrap_err();
        let (size, max) = (limits::MESSAGE_BYTES + 1, limits::MESSAGE_BYTES);
        assert_eq!(error, MessageError::TooLarge { what: "a message", size, max });
    }
    assert!(Encoded::new(&delta(limits::DOCUMENT_BYTES), Lane::Low).is_ok());
    assert!(Encoded::new(&delta(limits::BULK_BYTES), Lane::Low).is_err());
}

#[test]
fn packets_and_frames_are_bounded() {
    let full: Vec<u8> = std::iter::repeat_n(frame(super::PING, &[0; 8]), limits::PACKET_BYTES / 10).flatten().collect();
    assert!(receive(&mut ready(), full.clone()).is_ok());
    let (size, max) = (limits::PACKET_BYTES + 4, limits::PACKET_BYTES);
    let error = receive(&mut ready(), [&full[..], &[0; 10]].concat()).unwrap_err();
    assert_eq!(error, SessionError::TooLarge { what: "a packet", size, max });
    assert_eq!(error.close_code().0, 4_413);
    let error = receive(&mut ready(), frame(MESSAGE, &vec![0; limits::CHUNK_BYTES + 1])).unwrap_err();
    let (size, max) = (limits::CHUNK_BYTES + 1, limits::CHUNK_BYTES);
    assert_eq!(error, SessionError::TooLarge { what: "a frame", size, max });
}
