//! Whole barriers over several generations and tiers: outcomes that are overwritten, rosters that change, gates, and
//! replicas that begin again from what is durable.

use aepoch::coordination::kernel::{Arrival, Definition, Gate, Tier};

use crate::{
    barriers::Barriers,
    seats::{definition, seat},
};

/// Strict rules, so many generations beyond the first.
pub(crate) fn strict(members: usize, generations: u64) -> Barriers {
    Barriers::of(definition(&[members], members, 0), generations)
}

/// Three members of which one is cut off while the others decide without it.
pub(crate) fn without(cut_off: usize, generations: u64) -> Barriers {
    let leader = usize::from(cut_off == 0);
    Barriers { ballots: 1, leader, cut_off: Some(cut_off), ..Barriers::of(definition(&[3], 3, 1), generations) }
}

/// Two members: one leaves, the other brings a third replica along.
pub(crate) fn handed_over(generations: u64) -> Barriers {
    fn arrivals(me: usize, generation: u64) -> Arrival {
        let sponsored = if (me, generation) == (1, 0) { vec![seat(2, Tier::ALPHA)] } else { Vec::new() };
        Arrival { leave: (me, generation) == (0, 0), sponsored, ..Arrival::default() }
    }
    Barriers { arrivals, replicas: 3, ..strict(2, generations) }
}

/// As [`without`] the last one, which would have brought a fourth along; the first leaves later.
pub(crate) fn sponsor_left_out(generations: u64) -> Barriers {
    fn arrivals(me: usize, generation: u64) -> Arrival {
        let sponsored = if me == 2 { vec![seat(3, Tier::ALPHA)] } else { Vec::new() };
        Arrival { leave: (me, generation) == (0, 1), sponsored, ..Arrival::default() }
    }
    Barriers { arrivals, ..without(2, generations) }
}

/// One member in each of so many tiers, strict.
pub(crate) fn tiered(tiers: &[usize], gate: Gate, generations: u64) -> Barriers {
    let members = tiers.iter().sum();
    Barriers::of(Definition { gate, ..definition(tiers, members, 0) }, generations)
}

/// The only alpha is cut off while two betas decide without it.
fn alpha_cut_off(generations: u64) -> Barriers {
    let definition = definition(&[1, 2], 3, 1);
    Barriers { ballots: 1, leader: 1, cut_off: Some(0), ..Barriers::of(definition, generations) }
}

#[test]
fn outcomes_that_are_overwritten_are_known_to_all_who_go_on() {
    assert_eq!(strict(3, 3).must_be_safe(), 3_665);
}

#[test]
fn replicas_that_begin_again_from_their_slots_say_the_same() {
    assert_eq!(Barriers { crashes: true, keeps: true, ..strict(3, 1) }.must_be_safe(), 42_712);
}

#[test]
fn one_that_was_cut_off_learns_the_outcome_or_that_it_is_superseded() {
    assert_eq!(without(2, 2).must_be_safe(), 39_059);
    assert_eq!(without(0, 2).must_be_safe(), 44_469);
}

#[test]
fn members_leave_and_join_with_the_outcome() {
    assert_eq!(handed_over(3).must_be_safe(), 799);
    assert_eq!(Barriers { keeps: true, ..handed_over(3) }.must_be_safe(), 23_971);
}

#[test]
fn whom_somebody_left_out_brought_along_does_not_join() {
    assert_eq!(sponsor_left_out(2).must_be_safe(), 24_321);
}

#[test]
fn lower_tiers_wait_for_the_decisions_above_them() {
    assert_eq!(tiered(&[1, 1, 1], Gate::Decided, 0).must_be_safe(), 557);
    assert_eq!(alpha_cut_off(1).must_be_safe(), 27_817);
}

#[test]
fn lower_tiers_wait_for_the_acknowledgements_above_them() {
    assert_eq!(tiered(&[1, 1, 1], Gate::Acked, 0).must_be_safe(), 52_738);
    assert_eq!(Barriers { decliner: Some(0), ..tiered(&[1, 1], Gate::Acked, 2) }.must_be_safe(), 313);
}

#[test]
#[ignore = "nightly: minutes"]
fn gates_hold_over_generations() {
    assert_eq!(tiered(&[1, 1, 1], Gate::Decided, 1).must_be_safe(), 10_521);
    assert_eq!(tiered(&[1, 2], Gate::Acked, 1).must_be_safe(), 437_906);
    assert_eq!(alpha_cut_off(2).must_be_safe(), 98_780);
}
