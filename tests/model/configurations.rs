//! The sound rules hold at every size tried. The numbers of states are pinned: a change of them is a change of the
//! model, or of a rule, and must be a decision.

use aepoch::coordination::kernel::{Roster, Rules};

use crate::{
    kernel::Kernel,
    seats::{elected, roster},
};

/// Quorums of strict tolerance, with ballots all the same: what `f = 0` would cost if anybody could be left out.
fn strict(members: usize) -> Roster {
    roster(members, 3, 0).with_rules(Rules { ballots: true, ..Rules::tolerating(0, 3) })
}

#[test]
fn majority_of_three_with_two_ballots() {
    assert_eq!(Kernel::of(roster(2, 3, 1), 2).must_be_safe(), 209_288);
}

#[test]
fn refusals_among_three() {
    assert_eq!(Kernel { declines: true, ..Kernel::of(roster(2, 3, 1), 1) }.must_be_safe(), 10_712);
}

#[test]
fn one_echo_with_full_recovery() {
    assert_eq!(Kernel::of(strict(3), 2).must_be_safe(), 205_875);
}

#[test]
fn one_failure_among_four() {
    assert_eq!(Kernel::of(roster(2, 4, 1), 1).must_be_safe(), 27_232);
}

#[test]
fn one_failure_among_five() {
    assert_eq!(Kernel::of(roster(2, 5, 1), 1).must_be_safe(), 217_856);
}

/// Four ballots are what it takes to tell accepts at one ballot from accepts of one value: see `mutants`.
#[test]
fn four_ballots_among_three_electors() {
    assert_eq!(Kernel { echoing: false, ..Kernel::of(elected(3, 1), 4) }.must_be_safe(), 1_725_696);
}

/// B9, with timers that run out one by one.
#[test]
fn nobody_is_left_out_by_too_few_timers() {
    assert_eq!(Kernel { timers: true, ..Kernel::of(roster(2, 3, 1), 1) }.must_be_safe(), 6_471);
}

#[test]
#[ignore = "nightly: minutes"]
fn refusals_among_three_with_two_ballots() {
    assert_eq!(Kernel { declines: true, ..Kernel::of(roster(2, 3, 1), 2) }.must_be_safe(), 559_224);
}

#[test]
#[ignore = "nightly: minutes"]
fn majority_of_five() {
    assert_eq!(Kernel::of(roster(2, 5, 2), 1).must_be_safe(), 595_800);
}

#[test]
#[ignore = "nightly: minutes"]
fn three_members_with_two_ballots() {
    assert_eq!(Kernel::of(roster(3, 3, 1), 2).must_be_safe(), 2_342_367);
}

#[test]
#[ignore = "nightly: minutes"]
fn one_failure_among_four_with_two_ballots() {
    assert_eq!(Kernel::of(roster(2, 4, 1), 2).must_be_safe(), 3_192_176);
}
