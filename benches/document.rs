//! Documents: writing, merging, frontiers, deltas, digests. `cargo bench --bench document`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use std::hint::black_box;

use aepoch::{
    document::{Delta, Document, DocumentError, Frontier, Incoming, Subscription},
    engine::EngineKind,
    id::{DocumentId, ReplicaId},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

const KEYS: u64 = 1_000;
const WALL_MS: u64 = 1_700_000_000_000;

fn document(replica: u64) -> Document {
    let id = DocumentId::new("bench/document").unwrap();
    Document::new(id, EngineKind::Yrs, ReplicaId::from_bits(replica)).unwrap()
}

/// Writes one register; with `number`, its value differs from the last.
fn set(document: &mut Document, number: u64) -> Delta {
    let key = format!("task-{:04}", number % KEYS);
    let value = json!({ "status": "working", "step": number, "of": "one of many" });
    let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.set_register(&key, &value);
    document.transact::<_, DocumentError>(WALL_MS + number, false, plan).unwrap().1.delta
}

/// Puts one value into a map of the content.
fn put(document: &mut Document, number: u64) -> Delta {
    let (key, value) = (format!("key-{:04}", number % KEYS), format!("{:0>64}", number * 2_654_435_761));
    let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.map("edits").put(&key, &value);
    document.transact(WALL_MS + number, false, plan).unwrap().1.delta
}

fn incoming(delta: Delta) -> Incoming {
    let encoded = delta.encode().unwrap();
    Incoming { delta, encoded, source: 0, author: None }
}

/// A document of 1,000 registers and 1,000 keys of content.
fn filled() -> Document {
    let mut document = document(1);
    for number in 0..KEYS {
        set(&mut document, number);
        put(&mut document, number);
    }
    document
}

fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("document/transact");
    for (name, write) in [("register", set as fn(&mut Document, u64) -> Delta), ("map", put)] {
        let (mut document, mut number) = (filled(), KEYS);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                write(&mut document, number)
            });
        });
    }
}

fn merging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("document/apply");
    group.throughput(Throughput::Elements(KEYS)).sample_size(20);
    for (name, write) in [("registers", set as fn(&mut Document, u64) -> Delta), ("map", put)] {
        let mut writer = document(1);
        let deltas: Vec<Delta> = (0..KEYS).map(|number| write(&mut writer, number)).collect();
        let fresh = || (document(2), deltas.iter().cloned().map(incoming).collect::<Vec<_>>());
        group.bench_function(format!("{name}, one by one"), |bencher| {
            let one_by_one = |(mut document, deltas): (Document, Vec<Incoming>)| {
                for delta in deltas {
                    document.apply(vec![delta], WALL_MS, false).unwrap();
                }
                document
            };
            bencher.iter_batched(fresh, one_by_one, BatchSize::LargeInput);
        });
        group.bench_function(format!("{name}, one batch"), |bencher| {
            let batch = |(mut document, deltas): (Document, Vec<Incoming>)| {
                document.apply(deltas, WALL_MS, false).unwrap();
                document
            };
            bencher.iter_batched(fresh, batch, BatchSize::LargeInput);
        });
    }
}

fn catching_up(criterion: &mut Criterion) {
    let mut document = filled();
    let since = document.frontier();
    let everything = Subscription::default();
    for number in 0..10 {
        set(&mut document, number);
        put(&mut document, number);
    }
    criterion.bench_function("document/frontier", |bencher| bencher.iter(|| black_box(document.frontier())));
    for (name, since) in [("ten writes of each kind", since), ("everything", Frontier::default())] {
        criterion.bench_function(&format!("document/delta, {name}"), |bencher| {
            bencher.iter(|| document.delta_since(black_box(&since), None, &everything).unwrap());
        });
    }
    let delta = document.snapshot();
    let encoded = delta.encode().unwrap();
    let mut group = criterion.benchmark_group("document/snapshot");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&delta).encode().unwrap()));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Incoming::decode(black_box(encoded.clone()), 0, None).unwrap());
    });
}

fn digests(criterion: &mut Criterion) {
    let document = filled();
    let mut group = criterion.benchmark_group("document/digest");
    group.throughput(Throughput::Elements(2 * KEYS));
    group.bench_function("root", |bencher| bencher.iter(|| document.root_digest().unwrap()));
    group.bench_function("registers", |bencher| bencher.iter(|| document.digest("register").unwrap()));
}

criterion_group!(benches, writing, merging, catching_up, digests);
criterion_main!(benches);
