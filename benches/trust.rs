//! Signed records: what a signature costs, what a chain saves, what an end-to-end barrier of 100 costs each member.
//! `cargo bench --bench trust`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Duration,
};

use aepoch::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Own, Seat, Slot, Tier, TierPolicy},
        object::{Plan, Purpose, encode_slot},
        seating::Seats,
    },
    document::{Delta, Document, Incoming, Signer, Signing, SlotKey, SlotPart},
    engine::EngineKind,
    id::{DocumentId, ObjectId, ReplicaId},
    time::Hlc,
    trust::{
        binding::replica_of,
        credential::Claims,
        dial::{Dial, DialRule},
        key::PrivateKey,
        policy::{Issuer, Lives, Roots, SwarmPolicy},
        record::{Kind, NO_SEAT, Preimage, RecordId, Seal, SignatureCache, Signed, SignedRun, room_hash},
        succession::{InForce, SignedPolicy, Versions},
    },
};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

const NOW: u64 = 1_800_000_000_000;
const WRITERS: u64 = 100;
const EACH: u64 = 10;
const MEMBERS: u64 = 100;

fn key(seed: u64) -> PrivateKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    PrivateKey::from_seed(&bytes)
}

fn policy(dial: Dial) -> SwarmPolicy {
    let rooms = BTreeSet::from(["**".parse().unwrap()]);
    let issuer = Issuer { key: key(2_000).public(), max_tier: Tier::ALPHA, rooms };
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([key(1_000).public()]) },
        issuers: BTreeMap::from([("issuer".to_owned(), issuer)]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::from([DialRule { rooms: "**".parse().unwrap(), dial }]),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

/// A writer's records: their preimages with their seals, one naming the other.
fn chain(writer: u64) -> Vec<(Preimage, Seal)> {
    let key = key(writer);
    let policy = policy(Dial::EndToEnd).hash();
    let mut previous = RecordId::NONE;
    let mut records = Vec::new();
    for seq in 1..=EACH {
        let preimage = Preimage {
            kind: Kind::Register,
            swarm: policy,
            room: room_hash(&room()),
            definition: [0; 32],
            generation: 0,
            seat: NO_SEAT,
            key: key.public(),
            incarnation: 1,
            seq,
            previous,
            hlc: Hlc(seq),
            tier: Tier::BETA,
            policy,
            body_len: 300,
            body_hash: [7; 32],
        };
        previous = preimage.id();
        let seal = Seal::sign(&preimage, &key);
        records.push((preimage, seal));
    }
    records
}

fn runs(criterion: &mut Criterion) {
    let writers: Vec<_> = (1..=WRITERS).map(chain).collect();
    let form = |records: &[(Preimage, Seal)]| -> Vec<Signed> {
        records.iter().map(|(preimage, seal)| Signed::new(preimage.clone(), seal)).collect()
    };
    let mut group = criterion.benchmark_group("trust/1,000 records of 100 writers");
    group.throughput(Throughput::Elements(WRITERS * EACH)).sample_size(10);
    group.bench_function("each by its signature", |bencher| {
        bencher.iter(|| {
            let mut cache = SignatureCache::default();
            let records = writers.iter().flat_map(|records| form(records));
            let proven: usize = records.map(|record| SignedRun(&[record]).proven(&mut cache)).sum();
            assert_eq!(black_box(proven), 1_000);
        });
    });
    group.bench_function("by the last of each chain", |bencher| {
        bencher.iter(|| {
            let mut cache = SignatureCache::default();
            let proven: usize = writers.iter().map(|records| SignedRun(&form(records)).proven(&mut cache)).sum();
            assert_eq!(black_box(proven), 1_000);
        });
    });
    group.finish();
    let (preimage, seal) = &writers[0][0];
    let own = key(1);
    criterion.bench_function("trust/sign", |bencher| bencher.iter(|| Seal::sign(black_box(preimage), &own)));
    criterion.bench_function("trust/verify", |bencher| {
        let bytes = preimage.encode();
        bencher.iter(|| assert!(preimage.key.verify(black_box(&bytes), &seal.signature)));
    });
}

fn room() -> DocumentId {
    DocumentId::new("bench/trust").unwrap()
}

fn writer(seed: u64) -> ReplicaId {
    replica_of(&key(seed).public(), 1)
}

fn authority(seed: u64, dial: Dial) -> Arc<Signing> {
    let policy = policy(dial);
    let swarm = policy.hash();
    let mut signed = SignedPolicy::unsigned(policy);
    signed.sign(&key(1_000));
    let in_force: InForce = Versions { versions: vec![signed] }.in_force(&swarm).unwrap();
    let now = NOW / 1_000;
    let claims = json!({
        "iss": "issuer", "sub": format!("agent-{seed}"), "aud": swarm, "iat": now, "nbf": now, "exp": now + 900,
        "jti": "1", "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": key(seed).public() } },
        "swm": { "tier": "beta", "rooms": [{ "p": "**", "a": ["write", "coordinate"] }], "inc": 1 },
    });
    let claims: Claims = serde_json::from_value(claims).unwrap();
    let credential = claims.sign("issuer", &key(2_000)).unwrap();
    let signer = Signer::new(writer(seed), key(seed), 1, credential, Tier::BETA).unwrap();
    Arc::new(Signing { swarm, in_force: Arc::new(in_force), signer: Some(signer), seating: &Seats })
}

fn replica(seed: u64, dial: Dial) -> (Document, Delta) {
    let mut document = Document::new(room(), EngineKind::Yrs, writer(seed)).unwrap();
    document.set_signing(&authority(seed, dial)).unwrap();
    let shown = document.uphold(NOW).unwrap().delta;
    (document, shown)
}

fn plan() -> Plan {
    let seat =
        |seed: u64| Seat { agent: format!("agent-{seed}").parse().unwrap(), replica: writer(seed), tier: Tier::BETA };
    let tier =
        TierPolicy { tier: Tier::BETA, timeout: Duration::from_secs(15), min: 1, on_shortfall: OnShortfall::Wait };
    Plan {
        definition: Definition {
            document: room(),
            name: "chorus".to_owned(),
            creator: "agent-1".parse().unwrap(),
            origin: ObjectId { holder: writer(1), number: 1 },
            members: (1..=MEMBERS).map(seat).collect(),
            electors: Vec::new(),
            tolerate: 0,
            tiers: vec![tier],
            gate: Gate::Decided,
            fence: false,
        },
        purpose: Purpose::Barrier { once: false },
    }
}

fn incoming(delta: &Delta) -> Incoming {
    Incoming::decode(delta.encode().unwrap(), 0, None).unwrap()
}

fn arrival(document: &mut Document, plan: &Plan) -> Delta {
    let slot = Slot { own: Own::Arrived(Default::default()), ..Slot::default() };
    let body = encode_slot(plan.fingerprint(), &slot).into();
    document.write_slots(vec![(SlotKey::Of(plan.object(), SlotPart::Slot), body)], NOW).unwrap()
}

/// What a member's document does in one generation of a strict barrier: it writes its own arrival and takes in those of
/// the 99 others, each in a delta of its own. One core; nodes verify on all they have.
fn barrier(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trust/barrier of 100, one member");
    group.sample_size(10);
    for dial in [Dial::Relay, Dial::EndToEnd] {
        let plan = plan();
        let mut members: Vec<(Document, Delta)> = (1..=MEMBERS).map(|seed| replica(seed, dial)).collect();
        let key = SlotKey::Of(plan.object(), SlotPart::Definition);
        let defined = members[0].0.write_slots(vec![(key, plan.encode().into())], NOW).unwrap();
        let first_shown = members[0].1.clone();
        let mut stored: Vec<Bytes> = members.iter().map(|(_, shown)| shown.encode().unwrap()).collect();
        stored.push(defined.encode().unwrap());
        let mut arrivals = Vec::new();
        for (document, _) in &mut members[1..] {
            document.apply(vec![incoming(&first_shown), incoming(&defined)], NOW, false).unwrap();
            arrivals.push(incoming(&arrival(document, &plan)));
        }
        let bytes: usize = arrivals.iter().map(|one| one.encoded.len()).sum();
        println!("{dial}: {} bytes for an arrival", bytes / arrivals.len());
        let authority = authority(1, dial);
        let fresh = || {
            let mut document =
                Document::load_sealed(room(), EngineKind::Yrs, writer(1), None, &stored, &authority).unwrap();
            // Whoever takes part knows the others: a first arrival costs their credentials as well, see below.
            if dial == Dial::EndToEnd {
                document.signatures_of(&arrivals, NOW);
            }
            document
        };
        group.bench_function(format!("{dial}"), |bencher| {
            bencher.iter_batched(
                fresh,
                |mut document| {
                    arrival(&mut document, &plan);
                    for one in &arrivals {
                        let applied = document.apply(vec![one.clone()], NOW, false).unwrap();
                        assert_eq!(applied.landed.len(), 1);
                    }
                    document
                },
                BatchSize::LargeInput,
            );
        });
        if dial == Dial::EndToEnd {
            let load = || Document::load_sealed(room(), EngineKind::Yrs, writer(1), None, &stored, &authority).unwrap();
            group.bench_function("meeting 99 others for the first time", |bencher| {
                bencher.iter_batched(
                    load,
                    |mut document| {
                        assert_eq!(document.signatures_of(&arrivals, NOW).len(), arrivals.len());
                        document
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, runs, barrier);
criterion_main!(benches);
