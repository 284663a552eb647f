//! The store on disk: appends of one commit, durable when it returns. `cargo bench --bench store`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use aepoch::{
    id::DocumentId,
    store::{KeySource, StoreKey, StoreTask, sealed},
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// An entry of 200 bytes for one of 16 documents.
fn append(number: usize) -> StoreTask {
    StoreTask::Append {
        document: DocumentId::new(&format!("bench/{}", number % 16)).unwrap(),
        header: Bytes::from_static(&[0]),
        entries: vec![Bytes::from(vec![7; 200])],
    }
}

fn appends(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("store/append");
    group.sample_size(20);
    let keys = [("", None), (", sealed", Some(KeySource::Given(StoreKey::from_bytes([7; 32]))))];
    for (sealing, key) in keys {
        for count in [1, 100] {
            let path = folder.path().join(format!("{count}{sealing}.redb"));
            let mut store = sealed::open(path, key.as_ref()).unwrap();
            let tasks: Vec<StoreTask> = (0..count).map(append).collect();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{count} in one commit{sealing}"), |bencher| {
                bencher.iter(|| assert!(store.commit(&tasks).iter().all(Result::is_ok)));
            });
        }
    }
}

criterion_group!(benches, appends);
criterion_main!(benches);
