//! Prints what LZ4 gains on JSON-like agent state by size, the measurement behind the threshold in `docs/wire.md`:
//! `cargo test --release --no-default-features --test sync -- --ignored --nocapture compression`.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aepoch::time::Dice;
use serde_json::json;

/// The states of several agents as JSON text, cut to `len` bytes: keys repeat.
fn many_states(len: usize, dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < len {
        let status = ["idle", "planning", "acting", "waiting for review"][dice.below(4) as usize];
        let state = json!({
            "agent": format!("worker-{}", dice.below(1_000)),
            "status": status,
            "task": format!("{:016x}", dice.bits()),
            "position": [dice.below(10_000), dice.below(10_000)],
            "progress": dice.below(1_000) as f64 / 1_000.0,
            "updated": 1_700_000_000_000_u64 + dice.below(1_000_000_000),
        });
        text.push_str(&state.to_string());
    }
    text.truncate(len);
    text.into_bytes()
}

/// One state with notes in plain words, cut to `len` bytes: only words repeat.
fn one_state(len: usize, dice: &mut Dice) -> Vec<u8> {
    const WORDS: [&str; 48] = [
        "the", "of", "plan", "and", "review", "after", "merge", "tests", "pass", "then", "ask", "planner", "for",
        "next", "step", "while", "build", "fails", "on", "module", "retry", "with", "smaller", "batch", "report",
        "result", "to", "stage", "wait", "until", "relay", "answers", "note", "that", "cache", "is", "stale", "before",
        "running", "worker", "again", "keep", "order", "in", "queue", "open", "question", "about",
    ];
    let mut text =
        format!("{{\"agent\":\"worker-{}\",\"task\":\"{:016x}\",\"notes\":\"", dice.below(1_000), dice.bits());
    while text.len() < len {
        text.push_str(WORDS[dice.below(48) as usize]);
        text.push(' ');
    }
    text.truncate(len);
    text.into_bytes()
}

/// Output in percent of input, and the median time of one call each way, in microseconds.
fn measure(len: usize, make: fn(usize, &mut Dice) -> Vec<u8>) -> (f64, f64, f64) {
    let mut dice = Dice::new(1);
    let count = (4_000_000 / len).clamp(5, 2_000);
    let mut timed = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..count {
        let sample = make(len, &mut dice);
        let started = Instant::now();
        let block = lz4_flex::block::compress(&sample);
        timed.0.push(started.elapsed());
        let started = Instant::now();
        black_box(lz4_flex::block::decompress(&block, len).unwrap());
        timed.1.push(started.elapsed());
        bytes += block.len();
    }
    (100.0 * bytes as f64 / (count * len) as f64, median(timed.0), median(timed.1))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

#[test]
#[ignore = "prints a table; run in release mode"]
fn what_compression_gains_by_size() {
    println!("{:>8} | {:^28} | {:^28}", "", "many states", "one state");
    println!(
        "{:>8} | {:>6} {:>10} {:>10} | {:>6} {:>10} {:>10}",
        "bytes", "%", "deflate us", "inflate us", "%", "deflate us", "inflate us"
    );
    for len in [64, 128, 192, 256, 384, 512, 768, 1_024, 2_048, 4_096, 16_384, 65_536, 1_048_576] {
        let (many, deflate, inflate) = measure(len, many_states);
        let (one, deflate_one, inflate_one) = measure(len, one_state);
        println!(
            "{len:>8} | {many:>6.0} {deflate:>10.2} {inflate:>10.2} | {one:>6.0} {deflate_one:>10.2} {inflate_one:>10.2}"
        );
    }
}
