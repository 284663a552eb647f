//! Each rule of the kernel, broken: the checker must find where it matters.

use aepoch::coordination::kernel::Rules;

use crate::{
    kernel::{Fault, Kernel},
    seats::{elected, roster},
};

fn rules(echoes: usize, recovery: usize, accepts: usize) -> Rules {
    Rules { echoes, recovery, accepts, ballots: true }
}

#[test]
fn one_echo_with_majority_recovery_is_caught() {
    Kernel::of(roster(1, 3, 1).with_rules(rules(1, 2, 2)), 1).must_be_caught();
}

#[test]
fn two_echoes_with_majority_recovery_among_five_are_caught() {
    Kernel::of(roster(1, 5, 1).with_rules(rules(2, 3, 3)), 1).must_be_caught();
}

#[test]
fn amnesia_is_caught() {
    Kernel { fault: Fault::Amnesia, ..Kernel::of(roster(1, 3, 1), 1) }.must_be_caught();
}

#[test]
fn an_echo_after_a_promise_is_caught() {
    Kernel { fault: Fault::EchoAfterPromise, ..Kernel::of(roster(1, 3, 1), 1) }.must_be_caught();
}

#[test]
fn a_proposer_that_ignores_echoes_is_caught() {
    Kernel { fault: Fault::EchoesIgnored, ..Kernel::of(roster(1, 3, 1), 1) }.must_be_caught();
}

#[test]
fn accepts_added_up_across_ballots_are_caught() {
    let fault = Fault::AcceptsAcrossBallots;
    Kernel { fault, echoing: false, ..Kernel::of(elected(3, 1), 4) }.must_be_caught();
}

#[test]
fn a_promise_while_the_own_timer_runs_is_caught() {
    Kernel { fault: Fault::TimerIgnored, timers: true, ..Kernel::of(roster(2, 3, 1), 1) }.must_be_caught();
}
