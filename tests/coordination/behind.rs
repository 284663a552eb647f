//! Replicas far behind: whom they believe about generations they have not seen, and where they end up.

use std::sync::Arc;

use aepoch::{
    coordination::{
        barrier::{BarrierError, Progress, TieredBarrier},
        kernel::{Arrival, BitSet, Definition, Gate, Latched, Malformed, RosterChange, Seat, Slot, Tier, TierOutcome},
    },
    id::ReplicaId,
    time::{Dice, Monotonic},
};

use crate::swarm::{definition, seat};

const NOW: Monotonic = Monotonic(0);

fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bits(number as u64 + 1)
}

fn joined(number: usize) -> Seat {
    seat(number, Tier::ALPHA)
}

fn change(removed: &[usize], added: &[usize]) -> RosterChange {
    let added = added.iter().copied().map(joined).collect();
    RosterChange { removed: removed.iter().copied().collect(), added }
}

/// A slot of a generation whose roster is that of the definition without `removed`, and with `added`. The one before
/// had the definition's.
fn slot(generation: u64, removed: &[usize], added: &[usize]) -> Slot {
    let previous_change = Some(RosterChange::default());
    let change = change(removed, added);
    Slot { generation, change, previous: Some(BitSet::full(2)), previous_change, ..Slot::default() }
}

fn reader(number: usize, members: usize, tolerate: u32) -> TieredBarrier {
    TieredBarrier::new(Arc::new(definition(&[members], tolerate)), replica(number), None).unwrap()
}

fn poll(barrier: &mut TieredBarrier) {
    while barrier.poll(NOW, &mut Dice::new(1), |_| false).is_some() {
        barrier.persisted();
    }
}

#[test]
fn a_roster_is_believed_from_members_of_a_known_generation_only() {
    let mut reader = reader(9, 3, 1);
    // A stranger, who gives itself and the reader a seat.
    reader.hear(replica(7), slot(5, &[0, 1, 2], &[7, 9]), NOW).unwrap();
    poll(&mut reader);
    assert_eq!((reader.generation(), reader.seat()), (0, None));
    reader.hear(replica(1), slot(2, &[0], &[9]), NOW).unwrap();
    poll(&mut reader);
    assert_eq!((reader.generation(), reader.seat()), (2, Some(2)));
}

#[test]
fn a_reader_far_behind_follows_those_who_left_to_those_who_came_after() {
    let mut reader = reader(9, 3, 1);
    // In generation 4 nobody is left of the definition; the way there is through 1, who has left with generation 2.
    let after = |slot: Slot, before: RosterChange| Slot { previous_change: Some(before), ..slot };
    let fourth = after(slot(4, &[0, 1, 2], &[6, 9]), change(&[0, 1, 2], &[5, 6]));
    reader.hear(replica(6), fourth, NOW).unwrap();
    let third = after(slot(3, &[0, 1, 2], &[5, 6]), change(&[0, 2], &[5]));
    reader.hear(replica(5), third, NOW).unwrap();
    poll(&mut reader);
    assert_eq!(reader.generation(), 0);
    reader.hear(replica(1), slot(2, &[0, 2], &[5]), NOW).unwrap();
    poll(&mut reader);
    assert_eq!((reader.generation(), reader.seat()), (4, Some(1)));
    // What it passed through it has not learned; how the last one before ended is in the slots of those who are there.
    assert_eq!(reader.progress(2, NOW), Progress::Superseded { generation: 4 });
    let released = Progress::Released { outcomes: vec![(Tier::ALPHA, TierOutcome::Complete)] };
    assert_eq!(reader.progress(3, NOW), released);
}

/// It stayed where it was for ever: it had the outcome, so that it was not superseded, but not the arrivals that say
/// who is in the next roster.
#[test]
fn one_that_knows_an_outcome_but_not_the_roster_after_it_goes_on_and_keeps_the_outcome() {
    let mut left_behind = reader(4, 5, 2);
    left_behind.arrive(Arrival::default(), NOW).unwrap();
    left_behind.persisted();
    let latched = Latched { tiers: BitSet::full(1), released: BitSet::full(5) };
    left_behind.hear(replica(0), Slot { latched, ..Slot::default() }, NOW).unwrap();
    poll(&mut left_behind);
    let released = Progress::Released { outcomes: vec![(Tier::ALPHA, TierOutcome::Complete)] };
    assert_eq!(left_behind.progress(0, NOW), released);
    left_behind.hear(replica(0), slot(2, &[4], &[]), NOW).unwrap();
    poll(&mut left_behind);
    assert_eq!(left_behind.generation(), 2);
    assert_eq!(left_behind.progress(0, NOW), released);
    let arrived = left_behind.arrive(Arrival::default(), NOW);
    assert_eq!(arrived, Err(BarrierError::NoSeat { replica: replica(4), generation: 2 }));
}

#[test]
fn numbers_nobody_comes_to_are_refused_and_not_counted_on_from() {
    let mut reader = reader(0, 3, 1);
    let last = slot(u64::MAX, &[], &[]);
    for from in [1, 7] {
        let refused = reader.hear(replica(from), last.clone(), NOW);
        assert_eq!(refused, Err(Malformed::Generation { generation: u64::MAX }), "{from}");
        let crowd = slot(1, &[], &(10..4_200).collect::<Vec<_>>());
        let refused = reader.hear(replica(from), crowd, NOW);
        assert!(matches!(refused, Err(Malformed::TooMany { count: 4_193, .. })), "{from}: {refused:?}");
        let removed = slot(1, &[3], &[]);
        assert!(matches!(reader.hear(replica(from), removed, NOW), Err(Malformed::Stray { seat: 3, .. })), "{from}");
    }
}

/// Found by the simulator: as an elector it knew the outcome, but not that the alphas had acted on it.
#[test]
fn an_elector_that_starts_again_does_not_say_that_a_lower_tier_was_let_through() {
    let elector = seat(9, Tier::ALPHA);
    let definition = Definition { gate: Gate::Acked, electors: vec![elector], ..definition(&[1, 1], 0) };
    let gone_on = Slot { generation: 1, previous: Some(BitSet::full(2)), ..Slot::default() };
    let told = |number: usize| {
        let barrier = TieredBarrier::new(Arc::new(definition.clone()), replica(number), Some(gone_on.clone())).unwrap();
        barrier.progress(0, NOW)
    };
    assert_eq!(told(9), Progress::Superseded { generation: 1 });
    // A member has not gone on before it was let through.
    assert!(matches!(told(1), Progress::Released { .. }));
}
