//! Replicas with views of their own: each knows only the newest slot it has heard of every seat, as after a restart.
//! One generation and the step into the next, in which somebody may leave.

use std::{collections::BTreeSet, sync::Arc};

use aepoch::coordination::kernel::{
    Arrival, BitSet, Own, Roster, RosterChange, Slot, View, Wanted, arrive, enter, step,
};
use stateright::{Checker, Model, Property};

use crate::seats::roster;

const TIER: usize = 0;

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// T6: a replica acts on what it sees, without writing it down.
    NotLatched,
    /// T7: a replica goes on without saying how the generation ended.
    OutcomeOverwritten,
    /// The next roster is made of those seen to arrive instead of those decided.
    RosterOfTheSeen,
}

#[derive(Debug, Clone)]
pub(crate) struct Replicas {
    roster: Arc<Roster>,
    /// Ballots that may be begun.
    ballots: u8,
    /// Who leaves with its arrival.
    leaver: Option<usize>,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Durable slots.
    slots: Vec<Arc<Slot>>,
    /// `seen[i][j]`: what replica `i` knows of seat `j`.
    seen: Vec<Vec<Arc<Slot>>>,
    begun: u8,
    /// What each replica has acted on.
    acted: Vec<Option<BitSet>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Arrive(usize),
    Hear(usize, usize),
    Act(usize),
    Lead(usize),
    Enter(usize),
}

impl Replicas {
    fn view<'a>(&self, slots: impl IntoIterator<Item = &'a Arc<Slot>>) -> View {
        let mut view = View::new(Arc::clone(&self.roster));
        for (seat, slot) in slots.into_iter().enumerate() {
            view.put(seat, Arc::clone(slot));
        }
        view
    }

    fn write(&self, state: &mut State, me: usize, slot: Slot) {
        state.slots[me] = Arc::new(slot);
        state.seen[me][me] = Arc::clone(&state.slots[me]);
        self.note(state, me);
    }

    /// Acts on an outcome: as soon as it is in the durable slot, or (broken) as soon as it is seen.
    fn note(&self, state: &mut State, me: usize) {
        let latched = &state.slots[me].latched;
        let outcome = match self.fault {
            Fault::NotLatched => self.view(&state.seen[me]).resolved(TIER),
            _ => latched.tiers.contains(TIER).then(|| latched.released.clone()),
        };
        if state.acted[me].is_none() {
            state.acted[me] = outcome;
        }
    }

    fn act(&self, state: &mut State, me: usize, lead: bool) -> Option<()> {
        let view = self.view(&state.seen[me]);
        let lead = if lead { BitSet::full(1) } else { BitSet::new() };
        let mut slot = step(&view, me, &state.slots[me], &Wanted { expired: BitSet::full(1), lead })?;
        if self.fault == Fault::NotLatched {
            slot.latched.clone_from(&state.slots[me].latched);
        }
        if slot == *state.slots[me] {
            return None;
        }
        self.write(state, me, slot);
        Some(())
    }

    fn enter(&self, state: &mut State, me: usize) -> Option<()> {
        let view = self.view(&state.seen[me]);
        let (next, slot) = enter(&view, me, &state.slots[me])?;
        let mut slot = slot?;
        if self.fault == Fault::OutcomeOverwritten {
            slot.previous = None;
        }
        if self.fault == Fault::RosterOfTheSeen {
            slot.change = self.roster.change_after(view.arrived(), |member| view.arrival(member))?;
        }
        assert_eq!(next.generation(), 1);
        self.write(state, me, slot);
        Some(())
    }

    fn agree(state: &State) -> bool {
        let acted: BTreeSet<&BitSet> = state.acted.iter().flatten().collect();
        let gone_on = || state.slots.iter().filter(|slot| slot.generation == 1);
        let changes: BTreeSet<&RosterChange> = gone_on().map(|slot| &slot.change).collect();
        let told = gone_on().filter_map(|slot| slot.previous.as_ref());
        acted.len() <= 1 && changes.len() <= 1 && told.chain(acted.iter().copied()).collect::<BTreeSet<_>>().len() <= 1
    }

    /// What anybody has acted on can be learned from the durable slots alone, for good.
    fn permanent(&self, state: &State) -> bool {
        let Some(acted) = state.acted.iter().flatten().next() else { return true };
        self.view(&state.slots).resolved(TIER).as_ref() == Some(acted)
    }

    fn explore(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }

    pub(crate) fn must_be_caught(self) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        assert!(!checker.discoveries().is_empty(), "the fault shows in no state");
    }
}

impl Model for Replicas {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let count = self.roster.seats().len();
        let slots = vec![Arc::default(); count];
        vec![State { seen: vec![slots.clone(); count], slots, begun: 0, acted: vec![None; count] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let count = self.roster.seats().len();
        for me in (0..count).filter(|me| state.slots[*me].generation == 0) {
            if state.slots[me].own == Own::Unset {
                actions.push(Action::Arrive(me));
            }
            actions.extend((0..count).filter(|other| *other != me).map(|other| Action::Hear(me, other)));
            actions.push(Action::Act(me));
            actions.push(Action::Enter(me));
            if state.begun < self.ballots {
                actions.push(Action::Lead(me));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Arrive(me) => {
                let arrival = Arrival { leave: self.leaver == Some(me), ..Arrival::default() };
                let slot = arrive(&self.view(&state.seen[me]), me, &state.slots[me], arrival).ok()?;
                self.write(&mut next, me, slot);
            }
            Action::Hear(me, other) => {
                next.seen[me][other] = Arc::clone(&state.slots[other]);
                self.note(&mut next, me);
                // What follows at once is a state less; later is what hearing later looks like.
                self.act(&mut next, me, false);
            }
            Action::Act(me) => self.act(&mut next, me, false)?,
            Action::Lead(me) => {
                next.begun += 1;
                self.act(&mut next, me, true)?;
            }
            Action::Enter(me) => self.enter(&mut next, me)?,
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let agree = Property::always("agree", |_: &Self, state| Self::agree(state));
        let permanent = Property::always("permanent", |model: &Self, state| model.permanent(state));
        // A checker goes on until it has an example for every property: a fault is sought where it must show.
        let mut properties = match self.fault {
            Fault::None => vec![agree, permanent],
            Fault::NotLatched | Fault::OutcomeOverwritten => vec![permanent],
            Fault::RosterOfTheSeen => vec![agree],
        };
        if self.fault == Fault::None {
            properties.push(Property::sometimes("the next generation begins", |_, state: &State| {
                state.slots.iter().filter(|slot| slot.generation == 1).count() > 1
            }));
        }
        properties
    }
}

pub(crate) fn model(members: usize, acceptors: usize, ballots: u8, fault: Fault) -> Replicas {
    Replicas { roster: Arc::new(roster(members, acceptors, 1)), ballots, leaver: None, fault }
}

#[test]
fn replicas_with_views_of_their_own_agree_for_good() {
    assert_eq!(model(1, 3, 1, Fault::None).explore(), 928_244);
}
