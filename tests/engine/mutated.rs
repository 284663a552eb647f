//! Valid updates with bytes changed at random: none aborts, hangs or panics past the guard, and what an engine took in
//! it can still show, save and load. Stack overflows and hangs would end the test run itself.

use aepoch::engine::{EngineError, EngineKind, inspect};
use bytes::Bytes;
use serde_json::json;

use crate::{foreign, support::*};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

fn corpus() -> Vec<Bytes> {
    let mut writer = Peer::new(EngineKind::Yrs, 5);
    writer.commit(&[put("m", "k", json!({ "a": [1, 2.5, null], "b": "text" })), push("l", &[json!(1), json!([true])])]);
    writer.commit(&[write("t", None, "hello 🦀 world")]);
    writer.commit(&[
        erase("t", 2..7),
        remove("m", "k"),
        aepoch::engine::Op::TextFormat { text: "t".into(), range: 1..4, attribute: "bold".into(), value: json!(true) },
    ]);
    let mut corpus = writer.log.clone();
    corpus.push(writer.engine.snapshot());
    corpus.push(foreign::state(&foreign::gallery()));
    corpus
}

fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => bytes[at] = [0, 1, 5, 7, 0x7f, 0x80, 0xff, 0x84, 0xc4][dice.roll(9)],
            3 => bytes.insert(at, dice.roll(256) as u8),
            4 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {
                let from = dice.roll(bytes.len());
                bytes[at] = bytes[from];
            }
        }
    }
    bytes
}

#[test]
fn twenty_thousand_mutations_leave_every_engine_sound_or_known_to_be_not() {
    let corpus = corpus();
    let base = corpus[corpus.len() - 2].clone();
    let mut dice = Dice(42);
    let (mut taken, mut refused, mut poisoned) = (0, 0, 0);
    for round in 0..20_000 {
        let bytes = mutate(&corpus[dice.roll(corpus.len())], &mut dice);
        if inspect(EngineKind::Yrs, &bytes).is_err() {
            refused += 1;
            continue;
        }
        let mut target = Peer::new(EngineKind::Yrs, 1);
        if round % 2 == 0 {
            target.hear(std::slice::from_ref(&base));
        }
        target.engine.transact(&[], true).unwrap();
        match receive(target.engine.as_mut(), &bytes, None) {
            Ok(_) => {
                taken += 1;
                assert_eq!(target.reload(2).content(), target.content());
                target.commit(&[put("own", "k", json!(1))]);
            }
            Err(EngineError::Poisoned { .. }) => {
                poisoned += 1;
                assert!(matches!(target.engine.map_get("m", "k"), Err(EngineError::Poisoned { .. })));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 500 && refused > 5_000, "{taken} taken, {refused} refused, {poisoned} poisoned");
    // A handful fail only once the engine looks a parent up; panics would show as many more.
    assert!(poisoned < 100, "{poisoned} poisoned");
}
