//! Each rule, broken: the checker must find where it matters.

use aepoch::coordination::kernel::{Gate, Rules};

use crate::{
    barriers::{Barriers, Fault as BarrierFault},
    claim::{Fault as ClaimFault, Register},
    generations::{handed_over, sponsor_left_out, strict, tiered, without},
    kernel::{Fault, Kernel},
    replicas::{self, Fault as ReplicaFault},
    seats::{elected, roster},
    truncation::{Fault as TruncationFault, Truncation},
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

#[test]
fn an_outcome_taken_for_that_of_another_generation_is_caught() {
    let fault = BarrierFault::GenerationConfused;
    Barriers { fault, ..without(0, 2) }.must_be_caught("released without having arrived");
}

#[test]
fn a_roster_that_keeps_who_left_is_caught() {
    let others = "a roster of others than those who stayed or were brought along";
    Barriers { fault: BarrierFault::LeaverKept, ..handed_over(1) }.must_be_caught(others);
}

#[test]
fn a_roster_with_whom_somebody_left_out_brought_along_is_caught() {
    let others = "a roster of others than those who stayed or were brought along";
    Barriers { fault: BarrierFault::SponsorLeftOut, ..sponsor_left_out(1) }.must_be_caught(others);
}

#[test]
fn going_on_before_everything_is_decided_is_caught() {
    let early = "went on before every tier was resolved";
    Barriers { fault: BarrierFault::EnteredEarly, ballots: 1, ..strict(3, 1) }.must_be_caught(early);
}

#[test]
fn a_release_by_the_own_tier_alone_is_caught() {
    let early = "released before a higher tier was resolved";
    Barriers { fault: BarrierFault::GateIgnored, ..tiered(&[1, 1], Gate::Decided, 0) }.must_be_caught(early);
}

#[test]
fn a_release_before_the_acknowledgements_above_is_caught() {
    let early = "released before a higher tier had acted";
    Barriers { fault: BarrierFault::GateOfDecisions, ..tiered(&[1, 1], Gate::Acked, 0) }.must_be_caught(early);
}

#[test]
fn an_acknowledgement_before_the_release_is_caught() {
    let early = "acknowledged before its release";
    Barriers { fault: BarrierFault::AcknowledgedEarly, ..tiered(&[1, 1], Gate::Acked, 0) }.must_be_caught(early);
}

#[test]
fn a_slot_sent_before_it_is_durable_is_caught() {
    let fault = BarrierFault::SentBeforeDurable;
    Barriers { fault, decliner: Some(0), ..strict(3, 0) }.must_be_caught("two outcomes of one tier");
}

#[test]
fn forgetting_before_the_others_know_is_caught() {
    Truncation::of(TruncationFault::TooEarly).must_be_caught("forgotten before every released member knew");
}

#[test]
fn taking_in_what_is_covered_is_caught() {
    Truncation::of(TruncationFault::CoveredTakenIn).must_be_caught("two outcomes");
}

#[test]
fn beginning_a_forgotten_object_anew_is_caught() {
    Truncation::of(TruncationFault::BegunAnew).must_be_caught("two outcomes");
}

#[test]
fn an_accept_below_the_promise_is_caught() {
    Register { ballots: 1, renews: true, steps: true, fault: ClaimFault::PromiseBroken }.must_be_caught();
}

#[test]
fn going_on_from_an_old_value_is_caught() {
    Register { ballots: 2, renews: true, steps: false, fault: ClaimFault::OldestValue }.must_be_caught();
}

#[test]
fn several_default_owners_are_caught() {
    Register { ballots: 1, renews: true, steps: true, fault: ClaimFault::OwnersOfTheirOwn }.must_be_caught();
}

#[test]
fn a_takeover_with_the_token_of_the_holder_before_is_caught() {
    Register { ballots: 1, renews: true, steps: false, fault: ClaimFault::TokenReused }.must_be_caught();
}

#[test]
fn an_end_with_a_stale_token_is_caught() {
    Register { ballots: 2, renews: true, steps: false, fault: ClaimFault::StaleTokenCompletes }.must_be_caught();
}

#[test]
fn a_takeover_of_what_is_done_is_caught() {
    Register { ballots: 2, renews: true, steps: false, fault: ClaimFault::DoneReopened }.must_be_caught();
}

#[test]
fn acting_without_writing_it_down_is_caught() {
    replicas::model(1, 3, 2, ReplicaFault::NotLatched).must_be_caught();
}

#[test]
fn going_on_without_the_outcome_is_caught() {
    replicas::model(1, 3, 1, ReplicaFault::OutcomeOverwritten).must_be_caught();
}

#[test]
fn a_roster_of_those_seen_is_caught() {
    replicas::model(2, 3, 1, ReplicaFault::RosterOfTheSeen).must_be_caught();
}
