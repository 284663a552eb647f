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
pub(crate) enum Fault {
    None,
    /// A seat accepts below its promise.
    PromiseBroken,
    /// A proposer goes on from the lowest ballot's value instead of the highest's.
    OldestValue,
    /// Any seat skips the promises at round 0, not the default owner alone.
    OwnersOfTheirOwn,
    /// Who takes over goes on with the token of the holder before.
    TokenReused,
    /// A holder completes although its token is stale.
    StaleTokenCompletes,
    /// What is done is taken again.
    DoneReopened,
}

#[derive(Debug, Clone)]
pub(crate) struct Register {
    pub(crate) ballots: u32,
    /// Whether holders also renew and give back; otherwise they only complete.
    pub(crate) renews: bool,
    /// Whether whoever had a value chosen goes on from it without promises.
    pub(crate) steps: bool,
    pub(crate) fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    slots: Vec<ClaimSlot>,
    /// Every promise ever published, with the accept it came with.
    promises: BTreeSet<(u16, ClaimSlot)>,
    /// What was proposed at each ballot.
    proposed: BTreeMap<ClaimBallot, Claim>,
    accepts: BTreeSet<(ClaimBallot, Claim, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
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

/// Tokens whose holder may know of it.
fn holds(state: &State) -> BTreeSet<u64> {
    let chosen = Register::chosen(state).into_iter().map(|(_, claim)| claim);
    chosen.filter(|claim| matches!(claim, Claim::Held { .. })).map(Claim::token).collect()
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
                // Whoever knows that it holds may end it or hold on, also with a token that is stale by now.
                let holds = holds(state).into_iter().flat_map(|token| {
                    let changes = [Change::Complete { token }, Change::Return { token }, Change::Renew { token }];
                    changes.into_iter().take(if self.renews { 3 } else { 1 })
                });
                for change in holds.chain([take(ballot.seat)]) {
                    let proposed = propose(&view, ballot.seat, &slot, change).and_then(|(slot, _)| slot.proposal);
                    values.extend(proposed.and_then(|(_, claim)| claim));
                }
                let newest = [one, other].into_iter().filter_map(|(_, slot)| slot.accepted).max();
                values.extend(newest.and_then(|(_, claim)| self.wrong(claim, ballot.seat)));
            }
        }
        values
    }

    /// What a wrong rule makes of a value.
    fn wrong(&self, claim: Claim, seat: u16) -> Option<Claim> {
        let held = |token| Claim::Held { holder: replica(seat), token, renewal: 0 };
        match (self.fault, claim) {
            (Fault::TokenReused, Claim::Held { token, .. }) => Some(held(token)),
            (Fault::StaleTokenCompletes, Claim::Held { token, .. }) if token > 1 => {
                Some(Claim::Done { token: token - 1 })
            }
            (Fault::DoneReopened, Claim::Done { token }) => Some(held(token + 1)),
            _ => None,
        }
    }

    fn chosen(state: &State) -> Vec<(ClaimBallot, Claim)> {
        let mut count: BTreeMap<(ClaimBallot, Claim), usize> = BTreeMap::new();
        for (ballot, claim, _) in &state.accepts {
            *count.entry((*ballot, *claim)).or_default() += 1;
        }
        count.into_iter().filter(|(_, accepts)| *accepts >= 2).map(|(value, _)| value).collect()
    }

    /// Q3 and Q4: in the order of ballots, the chosen values are one register's. Tokens grow strictly, each is one
    /// holder's, and the end comes once, from the one that holds.
    fn safe(state: &State) -> bool {
        let chosen = Self::chosen(state);
        let goes_on = |before: Claim, after: Claim| match (before, after) {
            (Claim::Done { .. } | Claim::Discarded { .. }, _) => before == after,
            // Nobody discards here.
            (_, Claim::Discarded { .. }) => false,
            (Claim::Held { token, .. }, Claim::Done { token: last } | Claim::Returned { token: last }) => last == token,
            (Claim::Held { holder, token, renewal }, Claim::Held { holder: next, token: later, renewal: renewed }) => {
                later > token || (later == token && holder == next && renewed >= renewal)
            }
            (Claim::Returned { token }, Claim::Held { token: later, .. }) => later > token,
            (Claim::Returned { .. }, _) => before == after,
            (Claim::Free, _) | (Claim::Held { .. }, Claim::Free) => false,
        };
        let begins = chosen.first().is_none_or(|(_, claim)| matches!(claim, Claim::Held { .. }));
        begins && chosen.windows(2).all(|pair| pair[0].0 < pair[1].0 && goes_on(pair[0].1, pair[1].1))
    }

    pub(crate) fn must_be_safe(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }

    pub(crate) fn must_be_caught(self) {
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
        let first = |round| ClaimBallot { round, seat: u16::try_from(round).unwrap() % SEATS, step: 0 };
        for ballot in (1..=self.ballots).map(first) {
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
            Action::Propose(ballot, claim) => drop(next.proposed.insert(ballot, claim)),
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
    assert_eq!(Register { ballots: 2, renews: true, steps: false, fault: Fault::None }.must_be_safe(), 81_496);
}

#[test]
fn one_holder_per_token_and_one_end_with_steps_of_one_ballot() {
    assert_eq!(Register { ballots: 1, renews: true, steps: true, fault: Fault::None }.must_be_safe(), 25_344);
}

#[test]
#[ignore = "nightly: minutes, and 4 GB"]
fn one_holder_per_token_and_one_end_with_steps_of_two_ballots() {
    assert_eq!(Register { ballots: 2, renews: false, steps: true, fault: Fault::None }.must_be_safe(), 5_592_352);
}

#[test]
#[ignore = "nightly: minutes, and 2 GB"]
fn one_holder_per_token_and_one_end_with_three_ballots() {
    assert_eq!(Register { ballots: 3, renews: false, steps: false, fault: Fault::None }.must_be_safe(), 2_571_064);
}
