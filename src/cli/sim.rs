//! `aepoch sim`: many seeded worlds, on all cores, until one breaks a promise. Layer 7.
#![allow(clippy::disallowed_methods, reason = "how long to go on is the one thing here that asks for real time")]

use std::{
    collections::BTreeMap,
    io::Write as _,
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aepoch::{
    engine::EngineKind,
    sim::{Failure as Broken, Plan, run as simulate},
};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    Failure,
    output::{BAD, GOOD, Output},
};

/// What `aepoch sim` is asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aepoch sim                                    200 seeds of yrs
  aepoch sim --seeds 0..2000 --engine automerge
  aepoch sim --seed 42 --trace                  one world, line by line
  aepoch sim --minutes 30                       as many as fit")]
pub(crate) struct SimArgs {
    /// Seeds to run, the last one excluded.
    #[arg(long, value_name = "A..B", default_value = "0..200", value_parser = parse_seeds)]
    seeds: Range<u64>,

    /// Run this one seed.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,

    /// Go on from the first seed for this long, whatever the last one.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,

    /// What is done in each world before it heals.
    #[arg(long, default_value_t = 300)]
    steps: u32,

    /// Agents around the relay.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: u16,

    /// What holds the documents' content: yrs or automerge.
    #[arg(long, default_value = "yrs")]
    engine: EngineKind,

    /// What applications do beside writing.
    #[arg(long, value_enum, default_value_t = Coordination::Mixed)]
    coordination: Coordination,

    /// Worlds at once; one per core unless given.
    #[arg(long, value_name = "JOBS")]
    jobs: Option<usize>,

    /// Print everything that happens; with `--seed`.
    #[arg(long, requires = "seed")]
    trace: bool,
}

/// In which worlds applications coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Coordination {
    /// In those with an odd seed.
    Mixed,
    /// In none.
    Never,
    /// In all.
    Always,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let bound = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}` is not a seed: {error}"));
    let (from, to) = text.split_once("..").ok_or_else(|| format!("`{text}` is not a range such as 0..200"))?;
    let seeds = bound(from)?..bound(to)?;
    if seeds.is_empty() { Err(format!("`{text}` holds no seed")) } else { Ok(seeds) }
}

/// What all worlds together came to.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    events: u64,
    /// By seed, so that the report does not depend on which world ended first.
    broken: BTreeMap<u64, Broken>,
}

/// Runs the worlds asked for; exit code 1 when one broke a promise.
pub(crate) fn run(args: &SimArgs, output: &Output) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let tally = match args.seed {
        Some(seed) => one(args, seed)?,
        None => many(args, output),
    };
    let seconds = started.elapsed().as_secs_f64();
    let steps = tally.seeds * u64::from(args.steps);
    let failures: Vec<&Broken> = tally.broken.values().collect();
    let text = if failures.is_empty() {
        format!("{GOOD}clean{GOOD:#}: {} seeds, {steps} steps, {} events, {seconds:.1} s", tally.seeds, tally.events)
    } else {
        let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
        format!("{}\n{BAD}{} of {} seeds failed{BAD:#}, {seconds:.1} s", all.join("\n"), failures.len(), tally.seeds)
    };
    let value = json!({
        "seeds": tally.seeds, "steps": steps, "events": tally.events, "failures": failures, "seconds": seconds,
    });
    output.answer(text, &value)?;
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

fn plan(args: &SimArgs, seed: u64) -> Plan {
    let mut plan = Plan::new(seed, args.engine);
    plan.steps = args.steps;
    plan.agents = usize::from(args.agents);
    plan.trace = args.trace;
    match args.coordination {
        Coordination::Mixed => {}
        never_or_always => plan.coordination = never_or_always == Coordination::Always,
    }
    plan
}

fn one(args: &SimArgs, seed: u64) -> Result<Tally, Failure> {
    let outcome = simulate(&plan(args, seed));
    let mut lines = std::io::stderr().lock();
    for line in outcome.lines {
        writeln!(lines, "{line}").map_err(|error| Failure::failed(format!("the trace cannot be printed: {error}")))?;
    }
    let broken = outcome.failure.map(|broken| (seed, broken)).into_iter().collect();
    Ok(Tally { seeds: 1, events: outcome.events, broken })
}

fn many(args: &SimArgs, output: &Output) -> Tally {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let until = args.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let end = if until.is_some() { u64::MAX } else { args.seeds.end };
    let next = AtomicU64::new(args.seeds.start);
    let tally = Mutex::new(Tally::default());
    let bar = progress(args, output);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| {
                while until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = simulate(&plan(args, seed));
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.seeds += 1;
                    tally.events += outcome.events;
                    if let Some(broken) = outcome.failure {
                        bar.println(broken.to_string());
                        tally.broken.insert(seed, broken);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// On a terminal only; `indicatif` keeps quiet elsewhere.
fn progress(args: &SimArgs, output: &Output) -> ProgressBar {
    if output.is_json() {
        return ProgressBar::hidden();
    }
    let bar = match args.minutes {
        Some(_) => ProgressBar::no_length(),
        None => ProgressBar::new(args.seeds.end - args.seeds.start),
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {per_sec}, {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
