//! Updates that would abort, bloat or mislead an engine, and writes in the names of others. Case numbers are those of the
//! threat model.

use aepoch::{
    document::{Delta, Record, RecordKind, RecordsDelta, Span},
    engine::{self, EngineKind, Op},
    error::CloseCode,
    id::ReplicaId,
    limits,
    sync::{Lane, Message, PresenceEntry},
    time::Hlc,
};
use bytes::Bytes;

use crate::{
    attacker::{Attacker, commit, hex},
    honest::{Honest, eventually},
    relay::Relay,
};

/// yrs updates that would abort, bloat or mislead it, by what they do, with the number of their case.
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
        ("39: values nested 100,000 deep", nested),
        ("a client listed twice", twice),
        ("37: a garbage block over a victim's clocks", hex("0101070000ffffffff0700")),
        ("38: a deletion of what nobody has written", hex("00014d0100ffffffff0f")),
        ("45: invalid UTF-8", hex("0101ca0100c4010a010b0620746865e56500")),
        ("46: millions of clients declared", hex("80808020")),
        ("46: a map of millions of entries declared", hex("01010100080101610176ffffff2f")),
        ("46: 2^31 blocks declared", hex("018080808008c5b6ea0b00")),
        ("44: a clock of 2^31", hex("0101c5b6ea0b8080808008040101610278790a00")),
        ("not an update", vec![0xff; 64]),
    ]
}

/// Cases 37, 38, 39, 44, 45, 46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_updates_are_refused_and_the_honest_go_on() {
    for engine in [EngineKind::Yrs, EngineKind::Automerge] {
        let relay = Relay::serve(&[]);
        let mut honest = Honest::with(&relay, engine).await;
        for (what, update) in yrs_seeds() {
            let mut attacker = Attacker::connect(&relay).await;
            attacker.join(honest.id(), engine).await;
            let delta = attacker.delta(honest.id(), attacker.me, update);
            attacker.say(&delta, Lane::Low).await.unwrap();
            let reason = attacker.refusal().await.unwrap_or_else(|| panic!("{what} on {engine}: closed unexplained"));
            assert!(reason.len() > 10, "{what} on {engine}: `{reason}` explains nothing");
            honest.go_on().await;
        }
        assert!(relay.metric("aepoch_refused_total") >= yrs_seeds().len() as u64);
        assert_eq!(relay.metric("aepoch_quarantines_total"), 0, "none of them reached the engine");
    }
}

/// Case 42.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_in_anothers_name() {
    let relay = Relay::serve(&[]);
    let a = relay.agent("a").await;
    let document = a.document("stage").await.unwrap();
    document.register("r").set(&1).unwrap();
    document.flush().await.unwrap();
    let victim = a.identity().replica;
    let mut attacker = Attacker::connect(&relay).await;
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
    document.flush().await.unwrap();
    assert_eq!(document.verify().await.unwrap(), None);
}

/// Case 40: updates that wait for what never comes. Kept, they would take 120 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_that_wait_for_ever_are_kept_within_bounds() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let mut attacker = Attacker::connect(&relay).await;
    attacker.join(honest.id(), EngineKind::Yrs).await;
    let flat = relay.flat();
    for n in 0..2_000 {
        let span = Span { writer: attacker.me, since: 2 * n + 1, upto: 2 * n + 2 };
        attacker.say(&commit(honest.id(), span, vec![7; 60_000]), Lane::High).await.unwrap();
    }
    honest.go_on().await;
    // The relay has taken all of them in, and is asked for nothing it would have to remember.
    eventually("all deltas taken in", || relay.metric("aepoch_deltas_received_total") >= 2_000).await;
    honest.go_on().await;
    flat.check("2,000 updates of 60 kB that wait");
}

/// Case 41: a connection that may bring the writes of others brings those of too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_client_ids_ends_at_the_bound() {
    let relay = Relay::serve(&["--trust-forwarding"]);
    let mut honest = Honest::new(&relay).await;
    let mut attacker = Attacker::connect(&relay).await;
    attacker.join(honest.id(), EngineKind::Yrs).await;
    let flat = relay.flat();
    for client in 1..=limits::DOCUMENT_WRITERS as u64 + 100 {
        let writer = ReplicaId::from_bits(client);
        let put = Op::MapPut { map: "m".into(), key: "k".into(), value: client.into() };
        let update = engine::create(EngineKind::Yrs, writer).unwrap().transact(&[put], false).unwrap().update;
        let delta = commit(honest.id(), Span { writer, since: 0, upto: 1 }, update);
        if attacker.say(&delta, Lane::High).await.is_err() {
            break;
        }
    }
    let mut reasons = Vec::new();
    while let Some(reason) = attacker.refusal().await {
        reasons.push(reason);
    }
    assert_eq!(attacker.closed, Some(CloseCode::REFUSED), "{reasons:?}");
    let limit = limits::DOCUMENT_WRITERS.to_string();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason.contains(&limit)), "{reasons:?}");
    honest.go_on().await;
    flat.check("4,096 client ids");
}
