//! The prescan of yrs updates: linear, without recursion, and truthful about what it read.

use aepoch::engine::{EngineKind, inspect};

use crate::content;

/// Inspects `data` twice: it must not panic, and must say the same both times.
pub fn fuzz_one(data: &[u8]) -> String {
    content::inspect_twice(EngineKind::Yrs, data)
}

/// What yrs writes for our operations, and inputs that once erased, wrapped or aborted.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = content::updates(EngineKind::Yrs);
    seeds.extend(hostile());
    debug_assert!(inspect(EngineKind::Yrs, &seeds[0]).is_ok(), "seeds start with an update of ours");
    seeds
}

/// Known attacks; `docs/wire.md` says what each one did.
pub(crate) fn hostile() -> Vec<Vec<u8>> {
    let mut nested = vec![1, 1, 1, 0, 8, 1, 1, 0x61, 1];
    nested.extend([0x75, 0x01].repeat(500));
    nested.extend([0x7e, 0x00]);
    let mut twice = vec![2, 1, 9, 5, 4, 1, 1, 0x74, 1, 0x78, 1, 9, 0, 4, 1, 1, 0x74, 0x0a];
    twice.extend([0x41; 10]);
    twice.push(0);
    vec![
        // A garbage block under a victim's id: its later writes vanish.
        vec![0x01, 0x01, 0x07, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00],
        // A delete set for what has not been written yet.
        vec![0x00, 0x01, 0x4d, 0x01, 0x00, 0xff, 0xff, 0xff, 0xff, 0x0f],
        // Text that is not UTF-8.
        vec![1, 1, 0xca, 1, 0, 0xc4, 1, 1, 0x0a, 1, 0x0b, 6, 0x20, 0x74, 0x68, 0x65, 0xe5, 0x65, 0],
        // A value nested deeper than a stack is long, and one writer listed twice with overlapping clocks.
        nested,
        twice,
        // 2^26 writers declared in four bytes.
        vec![0x80, 0x80, 0x80, 0x20],
        // Text between neighbours in two containers, and text on both sides of one half of a character.
        vec![1, 1, 9, 0, 0xc4, 7, 7, 7, 0, 6, 0x68, 0xc3, 0xa9, 0x6c, 0x6c, 0x6f, 0],
        vec![1, 1, 9, 0, 0xc4, 7, 7, 7, 7, 6, 0x68, 0xc3, 0xa9, 0x6c, 0x6c, 0x6f, 0],
        // A subdocument as Yjs writes it, and one whose option Yjs would call.
        vec![1, 1, 9, 0, 0x29, 1, 1, 0x6d, 1, 0x6b, 1, 0x67, 118, 1, 4, 0x6d, 0x65, 0x74, 0x61, 125, 1, 0],
        [&[1, 1, 9, 0, 9, 1, 1, 0x6c, 1, 0x67, 118, 1, 8][..], b"gcFilter", &[120, 0]].concat(),
    ]
}
