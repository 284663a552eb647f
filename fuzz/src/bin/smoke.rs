//! Fuzzing on stable Rust, without coverage: mutates each target's seeds for a time, from a fixed seed.
//!
//! Usage: `smoke TARGET [SECONDS] [SEED]`, or `smoke TARGET --input FILE` to run one input again. Inputs that lead to
//! an outcome not seen before become parents too. The input at work stands in a file, so that one which aborts the
//! process can be run again.
#![allow(clippy::disallowed_methods, reason = "it runs for a time and watches for hangs; the targets do neither")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aepoch::time::Dice;
use aepoch_fuzz::{TARGETS, Target, mutation::mutate};

/// What tokio gives its workers: recursion that fits a larger stack would still abort an agent.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// An input that takes longer is a hang.
const INPUT_MAX: Duration = Duration::from_secs(10);
/// Parents kept for one outcome; more would drown the rare outcomes.
const PARENTS_PER_OUTCOME: usize = 8;
const SEED: u64 = 1;
const OUTCOMES_SHOWN: usize = 8;
/// Of a failure's text; two documents that differ can fill many screens.
const FAILURE_CHARS: usize = 1_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let target = arguments.first().and_then(|name| TARGETS.iter().find(|target| target.name == name));
    let Some(target) = target else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: smoke TARGET [SECONDS] [SEED] | smoke TARGET --input FILE; targets: {}", names.join(" "));
        return ExitCode::from(2);
    };
    if let [_, flag, file] = arguments.as_slice()
        && flag == "--input"
    {
        let data = fs::read(file).unwrap_or_else(|error| panic!("cannot read {file}: {error}"));
        return on_small_stack(target, move |target| println!("{}: {}", target.name, (target.fuzz_one)(&data)));
    }
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    let seconds = number(1).unwrap_or(60);
    let seed = number(2).unwrap_or(SEED);
    on_small_stack(target, move |target| run(target, Duration::from_secs(seconds), seed))
}

/// Runs `work` where recursion shows; a panic in it is a failure.
fn on_small_stack(target: &'static Target, work: impl FnOnce(&Target) + Send + 'static) -> ExitCode {
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || work(target));
    match thread.expect("a thread to run on").join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a message");
            let text: String = text.chars().take(FAILURE_CHARS).collect();
            eprintln!("{}: FAILED: {text}", target.name);
            eprintln!("run it again: smoke {} --input {}", target.name, at_work(target).display());
            ExitCode::FAILURE
        }
    }
}

fn at_work(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name)
}

fn run(target: &Target, time: Duration, seed: u64) {
    let file = at_work(target);
    fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a writable folder for artifacts");
    // A panic is reported once, at the end, with the input that caused it; those the library catches are none.
    aepoch_fuzz::quiet();
    let (mut dice, mut runs) = (Dice::new(seed), 0);
    let done = watch(&file);
    let mut at_work = fs::File::create(&file).expect("a writable folder for artifacts");
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut parents: Vec<Vec<u8>> = Vec::new();
    let seeds = (target.seeds)();
    let mut queue: Vec<Vec<u8>> = seeds.iter().rev().cloned().collect();
    let start = Instant::now();
    while start.elapsed() < time || !queue.is_empty() {
        let data = queue.pop().unwrap_or_else(|| {
            // Half from the seeds: most parents found on the way were refused early, and so are their children.
            let parent = pick(&mut dice, if runs % 2 == 0 { &seeds } else { &parents });
            let other = pick(&mut dice, &parents);
            mutate(&mut dice, parent, other)
        });
        keep(&mut at_work, &data).expect("a writable folder for artifacts");
        let seen = outcomes.entry((target.fuzz_one)(&data)).or_default();
        *seen += 1;
        if *seen <= PARENTS_PER_OUTCOME as u64 {
            parents.push(data);
        }
        runs += 1;
        done.store(runs, Ordering::Relaxed);
    }
    fs::remove_file(&file).expect("the file just written");
    println!("{}: {runs} inputs, {} outcomes, seed {seed}; most often:", target.name, outcomes.len());
    let mut outcomes: Vec<(u64, String)> = outcomes.into_iter().map(|(outcome, count)| (count, outcome)).collect();
    outcomes.sort_unstable_by(|a, b| b.cmp(a));
    for (count, outcome) in outcomes.into_iter().take(OUTCOMES_SHOWN) {
        println!("    {count:>9}  {outcome}");
    }
}

fn pick<'a>(dice: &mut Dice, from: &'a [Vec<u8>]) -> &'a [u8] {
    &from[dice.below(from.len() as u64) as usize]
}

/// Writes over the file in place. Emptying it first makes some file systems flush, which costs more than the run.
fn keep(file: &mut fs::File, data: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(data)?;
    file.set_len(data.len() as u64)
}

/// Ends the process when one input takes too long. Returns the counter that shows progress.
fn watch(file: &Path) -> Arc<AtomicU64> {
    let done = Arc::new(AtomicU64::new(0));
    let (seen, file) = (done.clone(), file.display().to_string());
    thread::spawn(move || {
        let mut last = u64::MAX;
        loop {
            let now = seen.load(Ordering::Relaxed);
            if now == last {
                eprintln!("FAILED: an input took longer than {INPUT_MAX:?}; it is in {file}");
                std::process::exit(1);
            }
            last = now;
            thread::sleep(INPUT_MAX);
        }
    });
    done
}
