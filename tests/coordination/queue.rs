//! Queues: one order whatever comes first, and sealed buckets that never change.

use std::collections::BTreeMap;

use aepoch::{
    coordination::{
        kernel::Tier,
        queue::{Buckets, Head, Key, head, low_mark},
    },
    id::ReplicaId,
    time::Hlc,
};
use proptest::prelude::*;

const BUCKETS: Buckets = Buckets { span_ms: 100 };

fn writer(number: u64) -> ReplicaId {
    ReplicaId::from_bits(number + 1)
}

fn stamp(ms: u64) -> Hlc {
    Hlc(ms << 16)
}

#[test]
fn buckets_come_before_tiers_tiers_before_deadlines_and_deadlines_before_stamps() {
    let key = |ms, tier, deadline| BUCKETS.key(stamp(ms), Tier(tier), deadline, writer(0), 0);
    let order = [
        key(99, 2, None),
        key(150, 0, Some(900)),
        key(120, 0, None),
        key(130, 0, None),
        key(101, 1, Some(1)),
        key(200, 0, Some(0)),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert!(order[1].overdue(901) && !order[1].overdue(900) && !order[2].overdue(u64::MAX));
}

#[test]
fn a_head_is_tentative_until_everybody_has_promised_to_write_nothing_below() {
    let item = BUCKETS.key(stamp(150), Tier::ALPHA, None, writer(0), 1);
    let roster = [writer(0), writer(1)];
    let mut marks = BTreeMap::from([(writer(0), stamp(500))]);
    assert_eq!(head([&item], |_| true, BUCKETS.sealed_below(roster, &marks)), Some(Head::Tentative(&item)));
    marks.insert(writer(1), stamp(199));
    assert_eq!(head([&item], |_| true, BUCKETS.sealed_below(roster, &marks)), Some(Head::Tentative(&item)));
    marks.insert(writer(1), stamp(200));
    assert_eq!(head([&item], |_| true, BUCKETS.sealed_below(roster, &marks)), Some(Head::Sealed(&item)));
    assert_eq!(head([&item], |_| false, 9), None);
}

#[test]
fn a_low_mark_never_falls_and_never_passes_what_is_still_being_written() {
    assert_eq!(low_mark(stamp(1), stamp(9), None), stamp(9));
    assert_eq!(low_mark(stamp(1), stamp(9), Some(stamp(4))), stamp(4));
    assert_eq!(low_mark(stamp(5), stamp(3), None), stamp(5));
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Tick(u64),
    Push(usize, u8),
    Mark(usize),
    Hear(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..80_u64).prop_map(Event::Tick),
        (0..3_usize, 0..3_u8).prop_map(|(who, tier)| Event::Push(who, tier)),
        (0..3_usize).prop_map(Event::Mark),
        (0..3_usize).prop_map(Event::Hear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Q2, with a reader that hears each writer's records in order but any writer late: what it takes from sealed
    /// buckets is the beginning of the order a single process that has everything would take.
    #[test]
    fn what_is_taken_from_sealed_buckets_is_what_one_process_would_take(
        events in prop::collection::vec(event(), 0..120)
    ) {
        let mut clock = 1_000;
        let mut written: [Vec<(Option<Key>, Hlc)>; 3] = Default::default();
        let mut heard = [0; 3];
        let (mut items, mut marks, mut taken) = (Vec::new(), BTreeMap::new(), Vec::new());
        for event in events {
            match event {
                Event::Tick(ms) => clock += ms,
                Event::Push(who, tier) => {
                    let key = BUCKETS.key(stamp(clock), Tier(tier), None, writer(who as u64), written[who].len() as u64);
                    written[who].push((Some(key), Hlc::default()));
                }
                Event::Mark(who) => written[who].push((None, low_mark(Hlc::default(), stamp(clock), None))),
                Event::Hear(who) => {
                    for (item, mark) in &written[who][heard[who]..] {
                        items.extend(item.clone());
                        let known: &mut Hlc = marks.entry(writer(who as u64)).or_default();
                        *known = (*known).max(*mark);
                    }
                    heard[who] = written[who].len();
                }
            }
            let sealed = BUCKETS.sealed_below((0..3).map(writer), &marks);
            while let Some(Head::Sealed(key)) = head(&items, |key| !taken.contains(key), sealed) {
                taken.push(key.clone());
            }
        }
        let mut all: Vec<Key> = written.iter().flatten().filter_map(|(key, _)| key.clone()).collect();
        all.sort();
        prop_assert!(all.starts_with(&taken), "{:?} is no beginning of {:?}", taken, all);
    }
}
