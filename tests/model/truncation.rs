//! Forgetting a finished object, and a stale replica that comes back with its records.
//!
//! Records are numbered by their writer. Who has forgotten the object keeps the numbers only, as a version vector: a
//! record it covers is ignored, and so is a new one of an object whose definition it covers and does not have.

use std::sync::Arc;

use aepoch::{
    coordination::kernel::{Arrival, BitSet, Roster, Slot, View, Wanted, arrive, step},
    document::Seen,
};
use stateright::{Checker, Model, Property};

use crate::{published::Published, seats::roster, truth::replica};

const TIER: usize = 0;
const LEADER: usize = 0;
/// Who is not heard until somebody has forgotten, and hears of the leader only.
const STALE: usize = 2;

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A replica forgets as soon as it knows the outcome itself.
    TooEarly,
    /// Records that are covered are taken in again.
    CoveredTakenIn,
    /// A new record of a forgotten object begins it anew.
    BegunAnew,
}

#[derive(Debug, Clone)]
pub(crate) struct Truncation {
    roster: Arc<Roster>,
    /// Whether the stale one hears after the ballot has begun.
    pub(crate) hears: bool,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Replica {
    forgotten: bool,
    /// The newest record of each writer, with its number.
    records: Vec<(u64, Published)>,
    /// The version vector, by writer.
    seen: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    replicas: Vec<Replica>,
    led: bool,
    /// Who has made the outcome durable.
    knows: BitSet,
    outcome: Option<BitSet>,
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Arrive(usize),
    Hear(usize, usize),
    Lead,
    Forget(usize),
}

fn vector(seen: &[u64]) -> Seen {
    seen.iter().enumerate().map(|(writer, upto)| (replica(writer), *upto)).collect()
}

impl Truncation {
    pub(crate) fn of(fault: Fault) -> Self {
        Self { roster: Arc::new(roster(3, 3, 1)), hears: false, fault }
    }

    fn view(&self, replica: &Replica) -> View {
        let mut view = View::new(Arc::clone(&self.roster));
        for (seat, (_, slot)) in replica.records.iter().enumerate() {
            view.put(seat, slot.shared());
        }
        view
    }

    fn write(state: &mut State, me: usize, slot: Slot) {
        if slot.latched.tiers.contains(TIER) {
            let released = slot.latched.released.clone();
            if *state.outcome.get_or_insert_with(|| released.clone()) != released {
                state.wrong = Some("two outcomes");
            }
            state.knows.insert(me);
        }
        let own = &mut state.replicas[me];
        own.seen[me] += 1;
        own.records[me] = (own.seen[me], Published::new(slot));
    }

    fn act(&self, state: &mut State, me: usize, lead: bool) -> Option<()> {
        if state.replicas[me].forgotten {
            return None;
        }
        let expired = if lead || me != LEADER { BitSet::full(1) } else { BitSet::new() };
        let wanted = Wanted { expired, lead: if lead { BitSet::full(1) } else { BitSet::new() } };
        let own = &state.replicas[me];
        let slot = step(&self.view(own), me, &own.records[me].1, &wanted)?;
        Self::write(state, me, slot);
        Some(())
    }

    /// Takes in what another replica has and the own version vector does not cover.
    fn hear(&self, state: &mut State, me: usize, other: usize) {
        let theirs = state.replicas[other].clone();
        let own = &mut state.replicas[me];
        let mut seen = vector(&own.seen);
        for (writer, (number, slot)) in theirs.records.iter().enumerate() {
            let covered = seen.get(replica(writer)) >= *number;
            let ignored = match (covered, own.forgotten) {
                (true, true) => self.fault != Fault::CoveredTakenIn || *number == 0,
                (true, false) => true,
                (false, true) => self.fault != Fault::BegunAnew,
                (false, false) => false,
            };
            if ignored {
                continue;
            }
            // The writer of a record never takes in another one of its own, unless it has forgotten that it wrote it.
            own.forgotten = false;
            own.records[writer] = (*number, slot.clone());
        }
        seen.join(&vector(&theirs.seen));
        own.seen = (0..own.seen.len()).map(|writer| seen.get(replica(writer))).collect();
        self.act(state, me, false);
    }

    fn may_forget(&self, state: &State, me: usize) -> bool {
        let own = &state.replicas[me];
        let knows = own.records[me].1.latched.tiers.contains(TIER);
        !own.forgotten && knows && (self.fault == Fault::TooEarly || self.view(own).settled())
    }

    pub(crate) fn must_be_safe(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }

    pub(crate) fn must_be_caught(self, promise: &str) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        let path = checker.discovery("safe").expect("the fault shows in no state");
        assert_eq!(path.last_state().wrong, Some(promise));
    }
}

impl Model for Truncation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let count = self.roster.seats().len();
        let replica =
            Replica { forgotten: false, records: vec![(0, Published::default()); count], seen: vec![0; count] };
        let replicas = vec![replica; count];
        vec![State { replicas, led: false, knows: BitSet::new(), outcome: None, wrong: None }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let count = self.roster.seats().len();
        let over = state.replicas.iter().any(|replica| replica.forgotten);
        for me in 0..count {
            actions.push(Action::Arrive(me));
            let stale = |other: usize| other == LEADER && (self.hears || !state.led);
            let reached = |other: usize| other != STALE && (me != STALE || stale(other));
            let heard = |other: &usize| *other != me && (over || reached(*other));
            actions.extend((0..count).filter(heard).map(|other| Action::Hear(me, other)));
            actions.extend(self.may_forget(state, me).then_some(Action::Forget(me)));
        }
        actions.extend((!state.led).then_some(Action::Lead));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Arrive(me) => {
                let own = &state.replicas[me];
                if own.forgotten {
                    return None;
                }
                let slot = arrive(&self.view(own), me, &own.records[me].1, Arrival::default()).ok()?;
                Self::write(&mut next, me, slot);
                self.act(&mut next, me, false);
            }
            Action::Hear(me, other) => self.hear(&mut next, me, other),
            Action::Lead => {
                next.led = true;
                self.act(&mut next, LEADER, true)?;
            }
            Action::Forget(me) => {
                let own = &mut next.replicas[me];
                own.forgotten = true;
                own.records.fill((0, Published::default()));
                let needed = next.outcome.as_ref();
                if needed.is_some_and(|released| !released.is_subset(&next.knows)) {
                    next.wrong = Some("forgotten before every released member knew");
                }
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("safe", |_: &Self, state: &State| state.wrong.is_none())];
        if self.fault == Fault::None {
            properties.push(Property::sometimes(
                "all who were in have forgotten one that was not",
                |_, state: &State| {
                    let left_out = state.outcome.as_ref().is_some_and(|released| !released.contains(STALE));
                    left_out && state.replicas[..STALE].iter().all(|replica| replica.forgotten)
                },
            ));
        }
        properties
    }
}

#[test]
fn what_is_forgotten_stays_forgotten_when_a_stale_replica_comes_back() {
    assert_eq!(Truncation::of(Fault::None).must_be_safe(), 125_200);
}

#[test]
#[ignore = "nightly: minutes"]
fn what_is_forgotten_stays_forgotten_whenever_the_stale_replica_heard_last() {
    assert_eq!(Truncation { hears: true, ..Truncation::of(Fault::None) }.must_be_safe(), 1_028_927);
}
