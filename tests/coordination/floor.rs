//! Floors: a lattice, with what they drop gone for good.

use std::collections::BTreeMap;

use aepoch::{coordination::floor::Floors, id::ReplicaId};
use proptest::prelude::*;

fn member(number: u64) -> ReplicaId {
    ReplicaId::from_bits(number + 1)
}

/// Floors and the records they leave: by name, the epoch, and the newest number.
#[derive(Debug, Clone, PartialEq)]
struct Replica {
    floors: Floors,
    records: BTreeMap<(u64, u8), u8>,
}

impl Replica {
    fn join(&self, other: &Self) -> Self {
        let mut records = self.records.clone();
        for (key, seq) in &other.records {
            let known = records.entry(*key).or_default();
            *known = (*known).max(*seq);
        }
        let floors = self.floors.join(&other.floors);
        floors.restrict(&mut records, |(epoch, _), _| *epoch);
        Self { floors, records }
    }
}

fn replica() -> impl Strategy<Value = Replica> {
    let records = prop::collection::btree_map((0..6_u64, 0..2_u8), 0..4_u8, 0..8);
    (prop::collection::vec(0..6_u64, 3), records).prop_map(|(raised, records)| {
        let mut floors = Floors::new(1, (0..3).map(member));
        for (number, floor) in raised.into_iter().enumerate() {
            floors.raise(member(number as u64), floor);
        }
        let mut replica = Replica { floors, records };
        replica.floors.restrict(&mut replica.records, |(epoch, _), _| *epoch);
        replica
    })
}

#[test]
fn the_floor_is_the_slowest_members_until_it_is_configured_away() {
    let mut floors = Floors::new(2, (0..2).map(member));
    assert!(floors.raise(member(0), 9));
    assert!(!floors.raise(member(0), 3));
    assert!(!floors.raise(member(7), 50));
    assert_eq!(floors.floor(), 2);
    let next = floors.reconfigured([member(0), member(5)]);
    assert_eq!(next.floor(), 2);
    let mut later = next.clone();
    later.raise(member(5), 20);
    assert_eq!(later.floor(), 9);
    assert_eq!(Floors::new(4, []).floor(), 4);
    let mut records = BTreeMap::from([("below", 8), ("at", 9), ("above", 10)]);
    later.restrict(&mut records, |_, epoch| *epoch);
    assert_eq!(records.into_keys().collect::<Vec<_>>(), ["above", "at"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joining_and_dropping_is_associative_commutative_and_idempotent(a in replica(), b in replica(), c in replica()) {
        prop_assert_eq!(a.join(&b), b.join(&a));
        prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
        prop_assert_eq!(a.join(&a), a.clone());
        // Nothing below a floor once reached comes back, from however stale a replica.
        let floor = a.join(&b).floors.floor();
        prop_assert!(a.join(&b).join(&c).records.keys().all(|(epoch, _)| *epoch >= floor));
        prop_assert!(a.join(&b).floors.floor() >= a.floors.floor().max(b.floors.floor()));
    }
}
