//! Content engines: what it costs to merge a peer's updates, one call each or all in one.
//! `cargo bench --bench engine`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use std::hint::black_box;

use aepoch::{
    engine::{Engine, EngineKind, Op, create, inspect},
    id::ReplicaId,
};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

const UPDATES: u32 = 1_000;

/// What one writer sent: about 100 bytes under one of 100 keys, again and again.
fn updates(kind: EngineKind) -> Vec<Bytes> {
    let mut writer = create(kind, ReplicaId::from_bits(1)).unwrap();
    let mut update = |number| {
        let key = format!("key-{:02}", number % 100).into();
        let value = json!(format!("{:0>64}", u64::from(number) * 2_654_435_761));
        writer.transact(&[Op::MapPut { map: "edits".into(), key, value }], false).unwrap().update
    };
    (0..UPDATES).map(&mut update).collect()
}

fn reader(kind: EngineKind) -> Box<dyn Engine> {
    create(kind, ReplicaId::from_bits(2)).unwrap()
}

fn merging(criterion: &mut Criterion) {
    for kind in [EngineKind::Yrs, EngineKind::Automerge] {
        let updates = updates(kind);
        let mut group = criterion.benchmark_group(format!("engine/{kind}"));
        group.throughput(Throughput::Elements(u64::from(UPDATES))).sample_size(20);
        group.bench_function("inspect", |bencher| {
            bencher.iter(|| updates.iter().for_each(|update| drop(black_box(inspect(kind, update).unwrap()))));
        });
        group.bench_function("apply, one by one", |bencher| {
            let one_by_one = |engine: &mut Box<dyn Engine>| {
                updates.iter().for_each(|update| drop(engine.apply(std::slice::from_ref(update), false).unwrap()));
            };
            bencher.iter_batched_ref(|| reader(kind), one_by_one, BatchSize::LargeInput);
        });
        group.bench_function("apply, one batch", |bencher| {
            let batch = |engine: &mut Box<dyn Engine>| engine.apply(&updates, false).unwrap();
            bencher.iter_batched_ref(|| reader(kind), batch, BatchSize::LargeInput);
        });
        group.finish();
    }
}

criterion_group!(benches, merging);
criterion_main!(benches);
