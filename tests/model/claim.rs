//! One claim register among three acceptors: the default owner's round 0 and one ballot of each seat above it, and at
//! each of them one more step by whoever had its value chosen.

use std::collections::{BTreeMap, BTreeSet};

use aepoch::{
    coordination::claim::{
        Change, Claim, ClaimBallot, ClaimSlot, ClaimView, accept, promise, propose, propose_first, propose_next,
    },
    id::ReplicaId,
};
use stateright::{Checker, Model, Property};

const SEATS: u16 = 3;
const OWNER: u16 = 0;
const ATTEMPTS: u32 = 9;

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A seat accepts below its promise.
    PromiseBroken,
    /// A proposer goes on from the lowest ballot's value instead of the highest's.
    OldestValue,
    /// Any seat skips the promises at round 0, not the default owner alone.
    OwnersOfTheirOwn,
}

#[derive(Debug, Clone)]
struct Register {
    ballots: u32,
    /// Whether whoever had a value chosen goes on from it without promises.
    steps: bool,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    slots: Vec<ClaimSlot>,
    /// Every promise ever published, with the accept it came with.
    promises: BTreeSet<(u16, ClaimSlot)>,
    /// What was proposed at each ballot.
    proposed: BTreeMap<ClaimBallot, Claim>,
    accepts: BTreeSet<(ClaimBallot, Claim, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    First(u16),
    Promise(u16, ClaimBallot),
    Propose(ClaimBallot, Claim),
    Accept(u16, ClaimBallot),
    Next(ClaimBallot, Change),
}

fn replica(seat: u16) -> ReplicaId {
    ReplicaId::from_bits(u64::from(seat) + 1)
}

fn take(seat: u16) -> Change {
    Change::Take { holder: replica(seat), attempts: ATTEMPTS }
}

impl Register {
    /// Every value some quorum of promises and some change lead to.
    fn values(&self, state: &State, ballot: ClaimBallot) -> BTreeSet<Claim> {
        let promises: Vec<_> = state.promises.iter().filter(|(_, slot)| slot.promised == Some(ballot)).collect();
        let mut values = BTreeSet::new();
        for (at, one) in promises.iter().enumerate() {
            for other in promises[at + 1..].iter().filter(|other| other.0 != one.0) {
                let mut heard = [(one.0, one.1.clone()), (other.0, other.1.clone())];
                if self.fault == Fault::OldestValue && heard.iter().all(|(_, slot)| slot.accepted.is_some()) {
                    heard.iter_mut().max_by_key(|(_, slot)| slot.accepted).unwrap().1.accepted = None;
                }
                let mut view = ClaimView::new(usize::from(SEATS), 1, usize::from(OWNER));
                heard.into_iter().for_each(|(seat, slot)| view.put(usize::from(seat), slot));
                let slot = ClaimSlot { proposal: Some((ballot, None)), ..ClaimSlot::default() };
                // Whoever holds may complete, also with a token that is stale by now.
                let complete = (1..=3).map(|token| Change::Complete { token });
                for change in complete.chain([take(ballot.seat)]) {
                    let proposed = propose(&view, ballot.seat, &slot, change).and_then(|(slot, _)| slot.proposal);
                    values.extend(proposed.and_then(|(_, claim)| claim));
                }
            }
        }
        values
    }

    fn chosen(state: &State) -> Vec<(ClaimBallot, Claim)> {
        let mut count: BTreeMap<(ClaimBallot, Claim), usize> = BTreeMap::new();
        for (ballot, claim, _) in &state.accepts {
            *count.entry((*ballot, *claim)).or_default() += 1;
        }
        count.into_iter().filter(|(_, accepts)| *accepts >= 2).map(|(value, _)| value).collect()
    }

    /// Q3 and Q4: in the order of ballots, the chosen values are one register's.
    fn safe(state: &State) -> bool {
        let chosen = Self::chosen(state);
        let goes_on = |before: Claim, after: Claim| match before {
            Claim::Done { .. } => before == after,
            Claim::Held { holder, token, .. } => match after {
                Claim::Held { holder: next, token: later, .. } => later > token || (later == token && holder == next),
                _ => after.token() >= token,
            },
            _ => after.token() >= before.token(),
        };
        chosen.windows(2).all(|pair| pair[0].0 < pair[1].0 && goes_on(pair[0].1, pair[1].1))
    }

    fn must_be_safe(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }

    fn must_be_caught(self) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        assert!(checker.discovery("safe").is_some(), "the fault shows in no state");
    }
}

impl Model for Register {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            slots: vec![ClaimSlot::default(); usize::from(SEATS)],
            promises: BTreeSet::new(),
            proposed: BTreeMap::new(),
            accepts: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..SEATS).map(Action::First));
        for ballot in
            (1..=self.ballots).map(|round| ClaimBallot { round, seat: u16::try_from(round).unwrap() % SEATS, step: 0 })
        {
            actions.extend((0..SEATS).map(|seat| Action::Promise(seat, ballot)));
            if !state.proposed.contains_key(&ballot) {
                actions.extend(self.values(state, ballot).into_iter().map(|value| Action::Propose(ballot, value)));
            }
        }
        for (ballot, claim) in Self::chosen(state).into_iter().filter(|(ballot, _)| self.steps && ballot.step == 0) {
            if !state.proposed.contains_key(&ClaimBallot { step: 1, ..ballot }) {
                actions.push(Action::Next(ballot, Change::Complete { token: claim.token() }));
                actions.push(Action::Next(ballot, Change::Return { token: claim.token() }));
            }
        }
        actions.extend(state.proposed.keys().flat_map(|ballot| (0..SEATS).map(|seat| Action::Accept(seat, *ballot))));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::First(seat) => {
                let owner = if self.fault == Fault::OwnersOfTheirOwn { seat } else { OWNER };
                let view = ClaimView::new(usize::from(SEATS), 1, usize::from(owner));
                let slot = propose_first(&view, seat, &state.slots[usize::from(seat)], take(seat))?;
                let (ballot, claim) = slot.proposal?;
                next.proposed.entry(ballot).or_insert(claim?);
            }
            Action::Promise(seat, ballot) => {
                let slot = promise(&state.slots[usize::from(seat)], ballot, false, false)?;
                next.promises.insert((seat, slot.clone()));
                next.slots[usize::from(seat)] = slot;
            }
            Action::Propose(ballot, claim) => drop(next.proposed.insert(ballot, claim)),
            Action::Next(ballot, change) => {
                // Whoever proposed it has heard of the accepts, of which there are enough.
                let mut view = ClaimView::new(usize::from(SEATS), 1, usize::from(OWNER));
                let accepted = Some((ballot, state.proposed[&ballot]));
                for seat in 0..2 {
                    view.put(seat, ClaimSlot { promised: Some(ballot), accepted, proposal: None });
                }
                let proposal = Some((ballot, Some(state.proposed[&ballot])));
                let slot = ClaimSlot { proposal, ..ClaimSlot::default() };
                let (ballot, claim) = propose_next(&view, ballot.seat, &slot, change)?.ok()?.proposal?;
                next.proposed.insert(ballot, claim?);
            }
            Action::Accept(seat, ballot) => {
                let mut slot = state.slots[usize::from(seat)].clone();
                if self.fault == Fault::PromiseBroken {
                    slot.promised = None;
                }
                let claim = state.proposed[&ballot];
                next.slots[usize::from(seat)] = accept(&slot, ballot, claim)?;
                next.accepts.insert((ballot, claim, seat));
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let safe = Property::always("safe", |_: &Self, state| Self::safe(state));
        let ends = Property::sometimes("a second holder completes", |_: &Self, state: &State| {
            Self::chosen(state).last().is_some_and(|(_, claim)| matches!(claim, Claim::Done { token: 2 }))
        });
        if self.fault == Fault::None { vec![safe, ends] } else { vec![safe] }
    }
}

#[test]
fn one_holder_per_token_and_one_end() {
    assert_eq!(Register { ballots: 2, steps: false, fault: Fault::None }.must_be_safe(), 83_104);
}

#[test]
fn one_holder_per_token_and_one_end_with_steps_of_one_ballot() {
    assert_eq!(Register { ballots: 1, steps: true, fault: Fault::None }.must_be_safe(), 25_504);
}

#[test]
#[ignore = "nightly: minutes, and 4 GB"]
fn one_holder_per_token_and_one_end_with_steps_of_two_ballots() {
    assert_eq!(Register { ballots: 2, steps: true, fault: Fault::None }.must_be_safe(), 8_629_408);
}

#[test]
#[ignore = "nightly: minutes, and 4 GB"]
fn one_holder_per_token_and_one_end_with_three_ballots() {
    assert_eq!(Register { ballots: 3, steps: false, fault: Fault::None }.must_be_safe(), 7_415_712);
}

#[test]
fn an_accept_below_the_promise_is_caught() {
    Register { ballots: 1, steps: true, fault: Fault::PromiseBroken }.must_be_caught();
}

#[test]
fn going_on_from_an_old_value_is_caught() {
    Register { ballots: 2, steps: false, fault: Fault::OldestValue }.must_be_caught();
}

#[test]
fn several_default_owners_are_caught() {
    Register { ballots: 1, steps: true, fault: Fault::OwnersOfTheirOwn }.must_be_caught();
}
