//! One of every message, with every field in use: what the golden vectors pin and what mutations start from.

use aepoch::{
    document::{DigestEntry, Frontier, Subscription, Version},
    engine::EngineKind,
    id::ReplicaId,
    sync::{Address, ErrorCode, Lane, Message, PresenceEntry},
};
use bytes::Bytes;

use super::{agent, document};

fn replica(bits: u64) -> ReplicaId {
    ReplicaId::from_bits(bits)
}

pub(crate) fn version() -> Version {
    Version {
        content: [(replica(7), 300), (replica(ReplicaId::MAX), 1)].into_iter().collect(),
        records: [(replica(7), 12)].into_iter().collect(),
        slots: [(replica(9), 3)].into_iter().collect(),
    }
}

pub(crate) fn frontier() -> Frontier {
    Frontier { version: version(), engine: Bytes::from_static(&[1, 7, 0xac, 2]) }
}

/// Every variant with a name for its vector.
pub(crate) fn all() -> Vec<(&'static str, Message)> {
    let stage = || document("band/stage");
    let reason = || "a value of 200000 bytes is over the limit of 131072".to_owned();
    let present = PresenceEntry {
        replica: replica(7),
        agent: agent("planner-1"),
        clock: 300,
        state: Some(Bytes::from_static(br#"{"cursor":[3,4]}"#)),
        ttl_ms: 30_000,
    };
    let gone = PresenceEntry { replica: replica(8), agent: agent("w2"), clock: 2, state: None, ttl_ms: 0 };
    let everything = Subscription::default();
    let some = Subscription { prefixes: vec!["register/jobs".to_owned(), "agent/".to_owned()] };
    vec![
        (
            "join",
            Message::Join { document: stage(), engine: EngineKind::Yrs, frontier: frontier(), subscription: some },
        ),
        (
            "join_of_nothing",
            Message::Join {
                document: document("a"),
                engine: EngineKind::Automerge,
                frontier: Frontier::default(),
                subscription: everything,
            },
        ),
        ("leave", Message::Leave { document: stage() }),
        ("frontier", Message::Frontier { document: stage(), frontier: frontier() }),
        ("delta", Message::Delta { document: stage(), delta: Bytes::from_static(&[0, 1, 2, 0xff]) }),
        ("ack", Message::Ack { document: stage(), durable: version() }),
        ("presence", Message::Presence { document: stage(), entries: vec![present, gone] }),
        (
            "app_to_agent",
            Message::App {
                from: agent("planner-1"),
                to: Address::Agent(agent("w2")),
                lane: Lane::Critical,
                body: Bytes::from_static(b"go"),
            },
        ),
        (
            "app_to_document",
            Message::App {
                from: agent("planner-1"),
                to: Address::Document(stage()),
                lane: Lane::High,
                body: Bytes::from_static(b"go"),
            },
        ),
        (
            "app_to_all",
            Message::App { from: agent("planner-1"), to: Address::All, lane: Lane::Low, body: Bytes::new() },
        ),
        ("digest_request", Message::DigestRequest { document: stage(), question: 300, path: "map/setlist".to_owned() }),
        (
            "digest",
            Message::Digest {
                document: stage(),
                question: 300,
                path: "map/setlist".to_owned(),
                entries: vec![DigestEntry { path: "map/setlist/1".to_owned(), hash: [0xd1; 32] }],
            },
        ),
        ("error", Message::Error { document: Some(stage()), code: ErrorCode::Limit, reason: reason() }),
        (
            "error_without_document",
            Message::Error { document: None, code: ErrorCode::Unavailable, reason: "busy".to_owned() },
        ),
        ("goodbye", Message::Goodbye { reason: "restarting".to_owned(), retry_after_ms: 1_500 }),
        ("version_request", Message::VersionRequest { document: stage(), question: 300 }),
        ("version", Message::Version { document: stage(), question: 300, version: version() }),
    ]
}
