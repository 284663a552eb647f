//! The simulator itself, on a few seeds: clean worlds stay clean, equal plans give equal runs, and worlds with a fault
//! built in are caught. `aepoch sim` runs many more.

use aepoch::{
    engine::EngineKind,
    sim::{Plan, Sabotage, run},
};

fn all_clean(engine: EngineKind, seeds: impl Iterator<Item = u64>) {
    let failures: Vec<String> =
        seeds.filter_map(|seed| run(&Plan::new(seed, engine)).failure).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn twenty_seeds_of_yrs_break_no_promise() {
    all_clean(EngineKind::Yrs, 100..120);
}

#[test]
fn twenty_seeds_of_automerge_break_no_promise() {
    let clean = |seed| {
        let mut plan = Plan::new(seed, EngineKind::Automerge);
        plan.steps = 120;
        run(&plan).failure
    };
    let failures: Vec<String> = (0..20).filter_map(clean).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn seeds_that_once_failed_stay_clean() {
    let plans: Vec<Plan> = include_str!("seeds.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let engine = words[0].trim_end_matches('+');
            let mut plan = Plan::new(words[1].parse().unwrap(), engine.parse().unwrap());
            plan.coordination = words[0].ends_with('+');
            plan.steps = words[2].parse().unwrap();
            plan
        })
        .collect();
    assert!(plans.len() >= 10, "{} seeds read", plans.len());
    let failures: Vec<String> =
        plans.iter().filter_map(|plan| run(plan).failure).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Such seeds say nothing if it does not happen in them.
#[test]
fn engines_fail_where_they_are_to() {
    for engine in [EngineKind::Yrs, EngineKind::Automerge] {
        let quarantines = |seed| run(&Plan::new(seed, engine)).counters.quarantines;
        assert!(quarantines(46) > 0 && quarantines(31) > 0, "{engine}");
        assert_eq!(quarantines(45), 0, "{engine}");
    }
}

#[test]
fn equal_plans_give_equal_runs() {
    for engine in [EngineKind::Yrs, EngineKind::Automerge] {
        let mut plan = Plan::new(11, engine);
        plan.steps = 150;
        let (first, second) = (run(&plan), run(&plan));
        assert_eq!((first.hash, first.events, first.micros), (second.hash, second.events, second.micros), "{engine}");
        plan.trace = true;
        let traced = run(&plan);
        assert_eq!((traced.hash, traced.lines.is_empty()), (first.hash, false), "{engine}: watching changes nothing");
        plan.trace = false;
        plan.seed = 12;
        assert_ne!(run(&plan).hash, first.hash, "{engine}");
    }
}

/// Seeds of `0..seeds` on which a fault is noticed; the same seeds are clean without it.
fn caught(sabotage: Sabotage, seeds: u64) -> Vec<String> {
    let mut noticed = Vec::new();
    for seed in 0..seeds {
        let mut plan = Plan::new(seed, EngineKind::Yrs);
        plan.sabotage = Some(sabotage);
        if let Some(failure) = run(&plan).failure {
            all_clean(EngineKind::Yrs, seed..=seed);
            noticed.push(failure.what);
        }
    }
    noticed
}

/// As [`caught`], where applications coordinate: a complaint that begins with one of these letters.
fn caught_coordinating(sabotage: Sabotage, seeds: u64, letters: &str) {
    let mut noticed = Vec::new();
    for seed in 0..seeds {
        let mut plan = Plan::new(seed, EngineKind::Yrs);
        (plan.sabotage, plan.coordination) = (Some(sabotage), true);
        noticed.extend(run(&plan).failure.map(|failure| failure.what));
        if noticed.last().is_some_and(|what| what.contains(letters)) {
            return;
        }
    }
    panic!("{sabotage:?}: {noticed:?}");
}

#[test]
fn coordination_keeps_its_promises_on_both_engines() {
    for engine in [EngineKind::Yrs, EngineKind::Automerge] {
        let clean = |seed| {
            let mut plan = Plan::new(seed, engine);
            (plan.steps, plan.coordination) = (150, true);
            run(&plan).failure
        };
        let failures: Vec<String> = (0..20).filter_map(clean).map(|failure| failure.to_string()).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[test]
fn a_slot_that_counts_before_it_is_durable_is_caught() {
    caught_coordinating(Sabotage::CountBeforeDurable, 60, "coordination records");
}

#[test]
fn an_older_disk_under_the_same_number_is_caught() {
    caught_coordinating(Sabotage::Amnesia, 100, "coordination records");
}

#[test]
fn a_release_without_its_content_is_caught() {
    caught_coordinating(Sabotage::IgnoreFence, 60, "F6: ");
}

#[test]
fn a_lower_tier_that_does_not_wait_is_caught() {
    caught_coordinating(Sabotage::IgnoreGate, 60, "B5: ");
}

#[test]
fn a_hasty_timer_is_caught() {
    caught_coordinating(Sabotage::HastyTimers, 60, "B9: ");
}

#[test]
fn a_forged_outcome_is_caught() {
    caught_coordinating(Sabotage::ForgeOutcome, 30, "B3: ");
}

#[test]
fn a_finished_object_nobody_hears_of_is_caught() {
    caught_coordinating(Sabotage::ForgetClosed, 10, "which is finished");
}

#[test]
fn an_answer_that_only_echoes_is_caught() {
    caught_coordinating(Sabotage::EchoVersions, 60, "has heard of");
}

#[test]
fn an_acknowledgement_before_the_disk_has_it_is_caught() {
    let noticed = caught(Sabotage::AckBeforeSync, 30);
    assert!(noticed.iter().any(|what| what.contains("lost acknowledged writes")), "{noticed:?}");
}

#[test]
fn a_forgotten_catch_up_is_caught() {
    assert!(!caught(Sabotage::ForgetCatchUp, 30).is_empty());
}

#[test]
fn deltas_applied_over_a_gap_are_caught() {
    assert!(!caught(Sabotage::IgnoreGaps, 5).is_empty());
}
