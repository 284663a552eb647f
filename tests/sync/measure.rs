//! Prints what LZ4 gains on JSON-like agent state by size, the measurement behind the threshold in `docs/wire.md`:
//! `cargo test --release --no-default-features --test sync -- --ignored --nocapture compression`.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::{hint::black_box, time::Instant};

use aepoch::time::Dice;
use serde_json::json;

/// The state of a few agents as JSON text, cut to `len` bytes.
fn agent_states(len: usize, dice: &mut Dice) -> Vec<u8> {
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

#[test]
#[ignore = "prints a table; run in release mode"]
fn what_compression_gains_by_size() {
    let mut dice = Dice::new(1);
    println!("{:>8} {:>10} {:>12} {:>12}", "bytes", "LZ4, %", "deflate, us", "inflate, us");
    for len in [64, 128, 192, 256, 384, 512, 768, 1_024, 2_048, 4_096, 16_384, 65_536, 1_048_576] {
        let samples: Vec<Vec<u8>> =
            (0..(4_000_000 / len).clamp(4, 2_000)).map(|_| agent_states(len, &mut dice)).collect();
        let started = Instant::now();
        let blocks: Vec<Vec<u8>> = samples.iter().map(|sample| lz4_flex::block::compress(sample)).collect();
        let deflating = started.elapsed();
        let started = Instant::now();
        for block in &blocks {
            black_box(lz4_flex::block::decompress(block, len).unwrap());
        }
        let inflating = started.elapsed();
        let count = samples.len() as f64;
        let bytes: usize = blocks.iter().map(Vec::len).sum();
        let share = 100.0 * bytes as f64 / (count * len as f64);
        let micros = |elapsed: std::time::Duration| elapsed.as_secs_f64() * 1e6 / count;
        println!("{len:>8} {share:>10.1} {:>12.2} {:>12.2}", micros(deflating), micros(inflating));
    }
}
