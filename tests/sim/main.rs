//! The simulator itself, on a few seeds: clean worlds stay clean, equal seeds give equal runs, and worlds with a fault
//! built in are caught.

use aepoch::{
    engine::EngineKind,
    sim::{Plan, run},
};

fn all_clean(engine: EngineKind, seeds: impl Iterator<Item = u64>) {
    let failures: Vec<String> =
        seeds.filter_map(|seed| run(&Plan::new(seed, engine)).failure).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn twenty_seeds_of_yrs_break_no_promise() {
    all_clean(EngineKind::Yrs, 0..20);
}
