//! The prescan accepts what engines emit and reads from it what yrs itself reads.

use aepoch::engine::{ClockRange, EngineKind, inspect};
use proptest::prelude::*;
use yrs::{IdSet, Update, updates::decoder::Decode};

use crate::{foreign, support::*};

fn ranges(set: &IdSet) -> Vec<ClockRange> {
    let mut found = Vec::new();
    for (client, ranges) in set.iter() {
        let range = |range: &std::ops::Range<u32>| ClockRange {
            writer: client.get(),
            from: range.start.into(),
            to: range.end.into(),
        };
        found.extend(ranges.iter().map(range));
    }
    found
}

fn agrees(update: &[u8]) {
    let info = inspect(EngineKind::Yrs, update).unwrap();
    let decoded = Update::decode_v1(update).unwrap();
    assert_eq!(info.inserts, ranges(&decoded.insertions(true)));
    assert_eq!(info.deletes, ranges(decoded.delete_set()));
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn what_the_engine_emits_is_read_as_yrs_reads_it(history in any_history(30)) {
        let peers = play(EngineKind::Yrs, &history);
        for update in updates(&peers) {
            agrees(&update);
        }
        for peer in &peers {
            agrees(&peer.engine.snapshot());
            for other in &peers {
                let frontier = other.engine.frontier();
                for author in [None, Some(replica(1)), Some(replica(3))] {
                    let delta = peer.engine.delta_since(&frontier, author).unwrap();
                    if !delta.is_empty() {
                        agrees(&delta);
                    }
                }
            }
        }
    }
}

#[test]
fn what_plain_clients_emit_is_read_as_yrs_reads_it() {
    agrees(&foreign::state(&foreign::gallery()));
    agrees(Update::EMPTY_V1);
}

#[test]
fn depth_and_operations_are_counted() {
    let mut peer = Peer::new(EngineKind::Yrs, 1);
    let update = peer.commit(&[put("m", "k", serde_json::json!([[1, 2], { "a": [] }])), write("t", None, "long text")]);
    let info = inspect(EngineKind::Yrs, &update).unwrap();
    assert_eq!((info.depth, info.ops), (3, 2 + 6));
}
