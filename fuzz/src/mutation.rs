//! Mutations for runs without coverage guidance, drawn from the library's pinned generator: a seed replays a run.

use aepoch::time::Dice;

/// Larger inputs only cost time: every length field is reached below this.
const BYTES_MAX: usize = 64 * 1024;

/// Numbers at which decoders go wrong, as LEB128.
const EDGES: [&[u8]; 8] = [
    &[0x00],
    &[0x7f],
    &[0x80, 0x01],
    &[0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// An input derived from `parent`, with parts of `other` at times.
pub fn mutate(dice: &mut Dice, parent: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = parent.to_vec();
    // Mostly one or two changes: more of them rarely pass the first check.
    let changes = 1 + dice.below(2) + if dice.chance(10) { dice.below(16) } else { 0 };
    for _ in 0..changes {
        change(dice, &mut data, other);
    }
    data.truncate(BYTES_MAX);
    data
}

fn change(dice: &mut Dice, data: &mut Vec<u8>, other: &[u8]) {
    let at = place(dice, data.len());
    match dice.below(9) {
        kind @ 0..3 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = match kind {
                    0 => *byte ^ (1 << dice.below(8)),
                    1 => dice.below(256) as u8,
                    _ => byte.wrapping_add(if dice.chance(50) { 1 } else { 255 }),
                };
            }
        }
        3 => {
            let run = run(dice, data, at);
            data.drain(at..at + run);
        }
        4 => {
            let run = run(dice, data, at);
            let copy = data[at..at + run].to_vec();
            let target = place(dice, data.len());
            let times = 1 + if dice.chance(5) { dice.below(1_000) } else { 0 };
            let copies = copy.repeat(times as usize);
            data.splice(target..target, copies.into_iter().take(BYTES_MAX));
        }
        5 => {
            let edge = EDGES[dice.below(EDGES.len() as u64) as usize];
            let replaced = if dice.chance(50) { edge.len().min(data.len() - at) } else { 0 };
            data.splice(at..at + replaced, edge.iter().copied());
        }
        6 => {
            let from = place(dice, other.len());
            let run = run(dice, other, from);
            data.splice(at..at, other[from..from + run].iter().copied());
        }
        7 => data.truncate(at),
        _ => {
            let bytes: Vec<u8> = (0..dice.below(8)).map(|_| dice.below(256) as u8).collect();
            data.splice(at..at, bytes);
        }
    }
}

fn place(dice: &mut Dice, length: usize) -> usize {
    dice.below(length as u64 + 1) as usize
}

/// A length that fits after `at`; short ones are more frequent.
fn run(dice: &mut Dice, data: &[u8], at: usize) -> usize {
    let left = data.len() - at;
    let limit = if dice.chance(75) { left.min(16) } else { left };
    place(dice, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mutations() {
        let run = |seed| {
            let mut dice = Dice::new(seed);
            let mut data = b"something to start from".to_vec();
            for _ in 0..2_000 {
                data = mutate(&mut dice, &data, b"something else");
                assert!(data.len() <= BYTES_MAX);
            }
            data
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
