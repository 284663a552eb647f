//! What peers may not send: nothing of a refused delta is kept.

use aepoch::{
    document::{ContentDelta, Delta, DocumentError, Incoming, Record, RecordKind, RecordsDelta, Span},
    id::ReplicaId,
    limits,
    time::Hlc,
};
use bytes::Bytes;

use crate::peer::{Peer, decoded, kinds};

const WRITER: u64 = 9;

fn record(seq: u64, kind: RecordKind, key: &str, body: &[u8]) -> Record {
    Record {
        seq,
        kind,
        key: key.into(),
        hlc: Hlc(1 << 16),
        fence: 0,
        context: Vec::new(),
        body: Bytes::copy_from_slice(body),
        signature: None,
    }
}

/// A register's body: version 1, the JSON text.
fn body(json: &str) -> Vec<u8> {
    let mut body = vec![1, 0];
    body.extend(postcard::to_stdvec(json).unwrap());
    body
}

fn run(since: u64, upto: u64, records: Vec<Record>) -> Delta {
    let span = Span { writer: ReplicaId::from_bits(WRITER), since, upto };
    Delta { records: vec![RecordsDelta { span, records }], ..Delta::default() }
}

fn refusal(peer: &Peer, delta: &Delta) -> DocumentError {
    let before = peer.snapshot();
    let mut applied = peer.try_receive(&[delta.encode().unwrap()]).unwrap();
    assert_eq!((applied.landed.len(), applied.known, applied.refused.len()), (0, 0, 1), "{delta:?}");
    assert_eq!(peer.snapshot(), before);
    applied.refused.remove(0).1
}

#[test]
fn a_connection_may_only_send_its_own_replicas_writes() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        let deltas = [
            a.write(|tx| tx.register("song").set(&1)),
            a.write(|tx| tx.map("files").put("a", &1)),
            // Lies about its writer: the update inside is still from `a`.
            {
                let mut delta = decoded(&a.write(|tx| tx.map("other").put("a", &1)));
                delta.content.as_mut().unwrap().spans = vec![Span { writer: b.replica(), since: 0, upto: 1 }];
                delta.encode().unwrap()
            },
        ];
        for delta in &deltas {
            let incoming = Incoming::decode(delta.clone(), 5, Some(b.replica())).unwrap();
            let applied = c.document.borrow_mut().apply(vec![incoming], 1_000, false).unwrap();
            assert_eq!(applied.refused.len(), 1, "{delta:?}");
            assert_eq!(applied.refused[0].0, 5);
        }
        assert!(c.document.borrow().version().is_empty());
        let incoming = Incoming::decode(deltas[0].clone(), 5, Some(a.replica())).unwrap();
        let applied = c.document.borrow_mut().apply(vec![incoming], 1_000, false).unwrap();
        assert_eq!(applied.landed.len(), 1);
    }
}

#[test]
fn a_refused_delta_does_not_take_its_neighbours_along() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let good = a.write(|tx| tx.map("files").put("a", &1));
        let mut bad = decoded(&good);
        bad.content.as_mut().unwrap().spans[0].writer = ReplicaId::from_bits(WRITER);
        bad.content.as_mut().unwrap().updates = vec![Bytes::from_static(&[1, 2, 3])];
        let applied = b.try_receive(&[bad.encode().unwrap(), good]).unwrap();
        assert_eq!((applied.landed.len(), applied.refused.len()), (1, 1));
        assert_eq!(applied.refused[0].0, 1);
        assert_eq!(a.render(), b.render());
    }
}

#[test]
fn records_that_break_their_rules_are_refused() {
    let peer = Peer::new(kinds()[0], 1);
    let good = body("1");
    let long_key = "k".repeat(limits::KEY_BYTES + 1);
    let deep = format!("{}{}", "[".repeat(limits::VALUE_DEPTH + 1), "]".repeat(limits::VALUE_DEPTH + 1));
    let large = body(&format!("\"{}\"", "x".repeat(limits::VALUE_BYTES + 30)));
    let mut unsorted = record(1, RecordKind::Register, "k", &good);
    unsorted.context = vec![(ReplicaId::from_bits(3), 1), (ReplicaId::from_bits(2), 1)];
    let mut signed = record(1, RecordKind::Register, "k", &good);
    signed.signature = Some(vec![0; limits::SEAL_BYTES + 1].into());
    let wrong = [
        record(1, RecordKind::Register, "", &good),
        record(1, RecordKind::Register, &long_key, &good),
        record(1, RecordKind::Register, "k", &body("{")),
        record(1, RecordKind::Register, "k", &body(&deep)),
        record(1, RecordKind::Register, "k", &large),
        record(1, RecordKind::Register, "k", &[1]),
        record(1, RecordKind::Register, "k", &[1, 7]),
        record(1, RecordKind::Register, "k", &[good.as_slice(), &[0]].concat()),
        record(1, RecordKind::Counter, "k", &[]),
        record(1, RecordKind::Counter, "k", &[2, 2]),
        record(1, RecordKind::Agent, "k", &good),
        record(1, RecordKind::Agent, "Planner/k", &good),
        record(1, RecordKind::Agent, "planner/", &good),
        record(1, RecordKind::Member, "planner", &good),
        record(
            1,
            RecordKind::Member,
            "planner",
            &body(r#"{"agent":"other","incarnation":1,"role":"","joined_ms":0,"addresses":[]}"#),
        ),
        unsorted,
        signed,
    ];
    for record in wrong {
        let error = refusal(&peer, &run(0, 1, vec![record]));
        assert!(matches!(error, DocumentError::Record { .. }), "{error}");
    }
    let fine = run(0, 1, vec![record(1, RecordKind::Register, "k", &good)]);
    assert_eq!(peer.receive(&[fine.encode().unwrap()]).landed.len(), 1);
}

#[test]
fn impossible_spans_are_refused() {
    let peer = Peer::new(kinds()[0], 1);
    let one = |seq| record(seq, RecordKind::Register, &format!("k{seq}"), &body("1"));
    let writer = ReplicaId::from_bits(WRITER);
    let content = |spans: Vec<Span>, after: Vec<(ReplicaId, u64)>| Delta {
        content: Some(ContentDelta { spans, after, updates: Vec::new() }),
        ..Delta::default()
    };
    let span = Span { writer, since: 0, upto: 1 };
    let wrong = [
        run(0, 0, Vec::new()),
        run(2, 1, Vec::new()),
        run(0, u64::MAX, Vec::new()),
        run(0, 1, vec![one(2)]),
        run(1, 2, vec![one(1)]),
        run(0, 2, vec![one(2), one(1)]),
        Delta { records: [run(0, 1, vec![]).records, run(1, 2, vec![]).records].concat(), ..Delta::default() },
        content(vec![span, span], Vec::new()),
        content(Vec::new(), Vec::new()),
        content(vec![span], vec![(writer, 1), (writer, 1)]),
    ];
    for delta in wrong {
        let error = refusal(&peer, &delta);
        assert!(matches!(error, DocumentError::Malformed { .. }), "{error}");
    }
}

#[test]
fn one_number_with_two_contents_counts_as_the_lower_hash_everywhere_and_is_evidence() {
    for kind in kinds() {
        let versions: Vec<Bytes> = ["1", "2", "3"]
            .iter()
            .map(|json| run(0, 1, vec![record(1, RecordKind::Register, "k", &body(json))]).encode().unwrap())
            .collect();
        let mut shown = Vec::new();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let peer = Peer::new(kind, 1);
            for index in order {
                peer.receive(&[versions[index].clone()]);
            }
            let (evidence, count) =
                (peer.document.borrow().equivocations().0.to_vec(), peer.document.borrow().equivocations().1);
            assert_eq!(count, 2);
            assert_eq!(evidence.len(), 2);
            assert_eq!(evidence[0].writer.get(), WRITER);
            assert_ne!(evidence[0].kept, evidence[0].other);
            // Hearing it again proves nothing new.
            peer.receive(&[versions[order[0]].clone()]);
            shown.push(peer.at("register/k"));
        }
        assert!(shown[0].is_some());
        assert!(shown.iter().all(|value| *value == shown[0]), "{shown:?}");
    }
}

#[test]
fn one_number_in_two_places_is_evidence_too_and_both_stay() {
    let peer = Peer::new(kinds()[0], 1);
    for key in ["a", "b"] {
        let delta = run(0, 1, vec![record(1, RecordKind::Register, key, &body("1"))]);
        peer.receive(&[delta.encode().unwrap()]);
    }
    assert_eq!(peer.document.borrow().equivocations().1, 1);
    assert!(peer.at("register/a").is_some() && peer.at("register/b").is_some());
    // The pair travels on, so other replicas hold it as well.
    let other = Peer::new(kinds()[0], 2);
    peer.sync_to(&other);
    assert_eq!(other.render(), peer.render());
    assert_eq!(other.document.borrow().equivocations().1, 1);
}

#[test]
fn writers_who_claim_to_have_seen_everything_cannot_make_values_vanish() {
    let claim = |writer: u64, others: &[u64]| {
        let mut record = record(1, RecordKind::Register, "k", &body(&writer.to_string()));
        record.context = others.iter().map(|other| (ReplicaId::from_bits(*other), 1_000)).collect();
        let span = Span { writer: ReplicaId::from_bits(writer), since: 0, upto: 1 };
        Delta { records: vec![RecordsDelta { span, records: vec![record] }], ..Delta::default() }.encode().unwrap()
    };
    // Two that claim to have seen each other, beside an honest one; then a circle of three.
    for claims in
        [[claim(10, &[11]), claim(11, &[10]), claim(12, &[])], [claim(10, &[11]), claim(11, &[12]), claim(12, &[10])]]
    {
        let peer = Peer::new(kinds()[0], 1);
        peer.receive(&claims);
        assert_eq!(peer.register::<u64>("k").values().unwrap().len(), 3);
        peer.register("k").set(&1).unwrap();
        assert_eq!(peer.register("k").get().unwrap(), Some(1));
    }
}

#[test]
fn a_record_whose_content_never_comes_costs_a_bounded_amount() {
    for (count, value) in [(1_500, "1".to_owned()), (20, format!("\"{}\"", "x".repeat(50_000)))] {
        let peer = Peer::new(kinds()[0], 1);
        for seq in 1..=count {
            let mut record = record(seq, RecordKind::Register, "k", &body(&value));
            record.fence = seq;
            peer.receive(&[run(seq - 1, seq, vec![record]).encode().unwrap()]);
        }
        let (records, bytes) = peer.document.borrow().records_held();
        assert!(records <= 1_024 && bytes <= limits::PENDING_BYTES, "{records} records of {bytes} bytes");
        assert_eq!(peer.at("register/k"), None);
        // The newest is the one that is kept.
        let first = peer.document.borrow().snapshot().records[0].records[0].seq;
        assert!(first > 1 && peer.document.borrow().snapshot().records[0].records.last().unwrap().seq == count);
    }
}

#[test]
fn bytes_after_a_delta_are_not_carried_along() {
    let delta = run(0, 1, Vec::new()).encode().unwrap();
    assert!(Incoming::decode(delta.clone(), 0, None).is_ok());
    assert!(Incoming::decode([&delta[..], &[0]].concat().into(), 0, None).is_err());
    assert!(Incoming::decode(delta.slice(..delta.len() - 1), 0, None).is_err());
}

#[test]
fn local_values_over_a_limit_are_refused_with_value_and_limit() {
    for kind in kinds() {
        let peer = Peer::new(kind, 1);
        let error = peer.register("k").set(&"x".repeat(limits::VALUE_BYTES)).unwrap_err();
        assert_eq!(error.to_string(), "value of `register/k` of 131074 is over the limit of 131072");
        assert!(peer.register("").set(&1).is_err());
        assert!(peer.register(&"k".repeat(limits::KEY_BYTES + 1)).set(&1).is_err());
        let error = peer.list::<u64>("jobs").insert(3, &[1]).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
        peer.list("jobs").push(&1).unwrap();
        assert!(peer.map("jobs").put("a", &1).is_err());
        assert!(peer.register::<String>("none").get().unwrap().is_none());
        peer.register("k").set(&1).unwrap();
        let error = peer.register::<String>("k").get().unwrap_err();
        assert!(matches!(error, DocumentError::Deserialize { .. }));
    }
}
