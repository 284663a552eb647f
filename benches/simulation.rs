//! The simulator: steps of a whole swarm, healing and checks included. `cargo bench --bench simulation`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use aepoch::{
    engine::EngineKind,
    sim::{Plan, run},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    let mut plan = Plan::new(4_711, EngineKind::Yrs);
    plan.steps = 100;
    let mut group = criterion.benchmark_group("simulation");
    group.throughput(Throughput::Elements(u64::from(plan.steps))).sample_size(10);
    group.bench_function("100 steps, 4 agents", |bencher| {
        bencher.iter(|| {
            let outcome = run(&plan);
            assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
            outcome.hash
        });
    });
}

criterion_group!(benches, steps);
criterion_main!(benches);
