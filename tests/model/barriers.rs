//! Whole barriers, several tiers and generations: each replica is a production [`TieredBarrier`], begun anew from its
//! durable slot and what it has heard for every step, as after a restart.

use std::sync::Arc;

use aepoch::{
    coordination::{
        barrier::TieredBarrier,
        kernel::{Arrival, Definition, Gate, Slot},
    },
    id::ReplicaId,
    time::{Dice, Monotonic},
};
use stateright::{Checker, Model, Property};

use crate::{
    published::Published,
    truth::{Arrivals, Truth, replica},
};

const START: Monotonic = Monotonic(0);
/// When every timer has run out.
const LATE: Monotonic = Monotonic(u64::MAX / 2);

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A slot two generations ahead is read as if it were of the next one.
    GenerationConfused,
    /// Who leaves keeps its seat.
    LeaverKept,
    /// Whoever was brought along by a member has a seat, whether or not that member was in.
    SponsorLeftOut,
    /// The next generation is entered with the outcomes seen so far.
    EnteredEarly,
    /// A member goes by its own tier alone.
    GateIgnored,
    /// A member waits for the decisions above it where it should wait for their acknowledgements.
    GateOfDecisions,
    /// A member acknowledges as soon as it has arrived.
    AcknowledgedEarly,
    /// A slot is sent before it is durable, and lost.
    SentBeforeDurable,
}

#[derive(Debug, Clone)]
pub(crate) struct Barriers {
    pub(crate) definition: Arc<Definition>,
    /// Members of the definition, then those who may join.
    pub(crate) replicas: usize,
    /// The last generation in which anybody arrives.
    pub(crate) generations: u64,
    pub(crate) arrivals: Arrivals,
    /// How often somebody may begin a ballot, and who. Its timers run out only then, the others' at once.
    pub(crate) ballots: u8,
    pub(crate) leader: usize,
    /// Who may refuse to come, in generation 0.
    pub(crate) decliner: Option<usize>,
    /// Whether replicas forget what they have heard.
    pub(crate) crashes: bool,
    /// Whether outcomes that are acted on before they are written are ever written.
    pub(crate) keeps: bool,
    /// Who neither hears nor is heard until somebody has gone on from generation 0.
    pub(crate) cut_off: Option<usize>,
    pub(crate) fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Durable slots.
    slots: Vec<Published>,
    /// `heard[i][j]`: what replica `i` has heard of replica `j` last.
    heard: Vec<Vec<Published>>,
    begun: u8,
    truth: Truth,
    /// The slots before the last write, where those may be lost.
    before: Vec<Published>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Arrive(usize),
    Decline(usize),
    Hear(usize, usize),
    Lead(usize),
    Acknowledge(usize),
    /// Writes outcomes that it has acted on already, as it may with strict rules.
    Keep(usize),
    Crash(usize),
}

/// Everybody arrives and nobody leaves.
pub(crate) fn plain(_: usize, _: u64) -> Arrival {
    Arrival::default()
}

impl Barriers {
    pub(crate) fn of(definition: Definition, generations: u64) -> Self {
        Self {
            replicas: definition.members.len(),
            definition: Arc::new(definition),
            generations,
            arrivals: plain,
            ballots: 0,
            leader: 0,
            decliner: None,
            crashes: false,
            keeps: false,
            cut_off: None,
            fault: Fault::None,
        }
    }

    fn barrier(&self, state: &State, me: usize) -> TieredBarrier {
        let durable = Some((*state.slots[me]).clone());
        let mut definition = Arc::clone(&self.definition);
        if self.fault == Fault::GateOfDecisions {
            Arc::make_mut(&mut definition).gate = Gate::Decided;
        }
        let mut barrier = TieredBarrier::new(definition, replica(me), durable).unwrap();
        for (other, heard) in state.heard[me].iter().enumerate() {
            let mut slot = (**heard).clone();
            if self.fault == Fault::GenerationConfused && slot.generation == barrier.generation() + 2 {
                slot.generation -= 1;
                slot.previous_change = Some(barrier.view().roster().change().clone());
            }
            let refused = barrier.hear(replica(other), slot, START).is_err();
            assert!(!refused || self.fault != Fault::None, "a slot written by the rules is refused");
        }
        barrier
    }

    fn write(&self, state: &mut State, me: usize, slot: Slot) {
        state.truth.wrote(&self.definition, self.arrivals, me, &slot);
        let before = std::mem::replace(&mut state.slots[me], Published::new(slot));
        if self.fault == Fault::SentBeforeDurable {
            state.before[me] = before;
        }
    }

    /// Writes what follows from what is known, and holds the answers to the truth.
    fn settle(&self, state: &mut State, me: usize, mut barrier: TieredBarrier, leads: bool) {
        let others = |_: ReplicaId| leads;
        let now = if leads || me != self.leader { LATE } else { START };
        for _ in 0..64 {
            let Some(slot) = barrier.poll(now, &mut Dice::new(0), others) else {
                self.answer(state, me, &barrier);
                return;
            };
            barrier.persisted();
            self.write(state, me, slot);
        }
        unreachable!("a replica that never stops writing");
    }

    fn answer(&self, state: &mut State, me: usize, barrier: &TieredBarrier) {
        state.truth.returned(&self.definition, me, barrier);
        if self.fault == Fault::GateIgnored {
            let roster = barrier.view().roster();
            let tier = barrier.seat().and_then(|seat| roster.tier_of(seat));
            if let Some(tier) = tier.filter(|tier| barrier.view().resolved(*tier).is_some()) {
                state.truth.released(&self.definition, roster, me, tier);
            }
        }
    }

    fn arrive(&self, state: &mut State, me: usize) -> Option<()> {
        let first = self.barrier(state, me).generation();
        for generation in first..=self.generations {
            let mut barrier = self.barrier(state, me);
            let slot = barrier.arrive((self.arrivals)(me, generation), START).ok()?;
            if slot.generation == generation {
                barrier.persisted();
                let slot = self.broken(state, me, slot);
                self.write(state, me, slot);
                let barrier = self.barrier(state, me);
                self.settle(state, me, barrier, false);
                return Some(());
            }
        }
        None
    }

    /// A slot as a wrong rule would make it.
    fn broken(&self, state: &State, me: usize, mut slot: Slot) -> Slot {
        let later = slot.generation > state.slots[me].generation;
        match self.fault {
            Fault::LeaverKept if later => {
                let leaver = (0..self.replicas).find(|number| (self.arrivals)(*number, 0).leave);
                slot.change.removed = slot.change.removed.iter().filter(|seat| Some(*seat) != leaver).collect();
            }
            Fault::SponsorLeftOut if later => {
                let all = (0..self.replicas).flat_map(|number| (self.arrivals)(number, 0).sponsored);
                slot.change.added = all.collect();
            }
            Fault::AcknowledgedEarly => slot.acked = true,
            _ => {}
        }
        slot
    }

    /// Goes on to the next generation on half the knowledge.
    fn enter_early(&self, state: &mut State, me: usize) -> Option<()> {
        let slot = &state.slots[me];
        if slot.generation > 0 || slot.arrival().is_none() {
            return None;
        }
        let barrier = self.barrier(state, me);
        let (view, roster) = (barrier.view(), barrier.view().roster());
        let change = roster.change_after(view.arrived(), |seat| view.arrival(seat))?;
        let previous = Some(view.arrived().clone());
        self.write(state, me, Slot { generation: 1, change, previous, ..Slot::default() });
        Some(())
    }

    fn step(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Arrive(me) => self.arrive(&mut next, me)?,
            Action::Decline(me) => {
                let slot = self.barrier(state, me).decline(START).ok().filter(|slot| slot.generation == 0)?;
                self.write(&mut next, me, slot);
                let barrier = self.barrier(&next, me);
                self.settle(&mut next, me, barrier, false);
            }
            Action::Hear(me, other) => {
                next.heard[me][other] = Published::clone(&state.slots[other]);
                let barrier = self.barrier(&next, me);
                self.settle(&mut next, me, barrier, false);
            }
            Action::Lead(me) if self.fault == Fault::EnteredEarly => self.enter_early(&mut next, me)?,
            Action::Lead(me) => {
                next.begun += 1;
                self.settle(&mut next, me, self.barrier(state, me), true);
                if next.slots == state.slots {
                    return None;
                }
            }
            Action::Acknowledge(me) => {
                let mut barrier = self.barrier(state, me);
                let slot = barrier.acknowledge().ok()?;
                barrier.persisted();
                self.write(&mut next, me, slot);
                self.settle(&mut next, me, barrier, false);
            }
            Action::Keep(me) => {
                let mut barrier = self.barrier(state, me);
                let (never, mut dice) = (|_: ReplicaId| false, Dice::new(0));
                if barrier.poll(START, &mut dice, never).is_some() {
                    return None;
                }
                let slot = barrier.poll(barrier.next_wake(START)?, &mut dice, never)?;
                barrier.persisted();
                self.write(&mut next, me, slot);
                self.answer(&mut next, me, &barrier);
            }
            Action::Crash(me) => {
                next.heard[me] = vec![Published::default(); self.replicas];
                if self.fault == Fault::SentBeforeDurable {
                    next.slots[me] = Published::clone(&state.before[me]);
                }
            }
        }
        (next != *state).then_some(next)
    }

    /// Explores everything and returns the number of states; complains when one breaks a promise, or when something
    /// that should be possible never happens.
    pub(crate) fn must_be_safe(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        if let Some(path) = checker.discovery("safe") {
            let wrong = path.last_state().truth.wrong;
            panic!("{wrong:?} after {:?}", path.into_actions());
        }
        checker.assert_properties();
        checker.unique_state_count()
    }

    /// Explores until a state is found in which this promise is broken.
    pub(crate) fn must_be_caught(self, promise: &str) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        let path = checker.discovery("safe").expect("the fault shows in no state");
        let wrong = path.last_state().truth.wrong;
        assert_eq!(wrong, Some(promise), "{:?}", path.into_actions());
    }
}

impl Model for Barriers {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let slots = vec![Published::default(); self.replicas];
        vec![State {
            heard: vec![slots.clone(); self.replicas],
            begun: 0,
            truth: Truth::new(&self.definition),
            before: if self.fault == Fault::SentBeforeDurable { slots.clone() } else { Vec::new() },
            slots,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let forgetful = self.crashes || self.fault == Fault::SentBeforeDurable;
        for me in 0..self.replicas {
            actions.push(Action::Arrive(me));
            let cut = |one: usize| self.cut_off == Some(one) && state.truth.newest() == 0;
            let reached = |other: &usize| *other != me && !cut(me) && !cut(*other);
            let news = |other: &usize| reached(other) && state.heard[me][*other] != state.slots[*other];
            actions.extend((0..self.replicas).filter(news).map(|other| Action::Hear(me, other)));
            actions.extend((self.decliner == Some(me)).then_some(Action::Decline(me)));
            actions.extend((state.begun < self.ballots && self.leader == me).then_some(Action::Lead(me)));
            actions.extend((self.definition.gate == Gate::Acked).then_some(Action::Acknowledge(me)));
            actions.extend(self.keeps.then_some(Action::Keep(me)));
            actions.extend(forgetful.then_some(Action::Crash(me)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.step(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("safe", |_: &Self, state: &State| state.truth.wrong.is_none())];
        if self.fault == Fault::None {
            properties.push(Property::sometimes("the last generation begins", |model: &Self, state: &State| {
                state.truth.newest() == model.generations
            }));
            if self.cut_off.is_some() {
                properties.push(Property::sometimes("the one cut off hears that it is late", |_, state: &State| {
                    state.truth.late
                }));
            }
            if self.cut_off.is_some() && self.generations > 1 {
                properties
                    .push(Property::sometimes("or that it is superseded", |_, state: &State| state.truth.superseded));
            }
        }
        properties
    }
}
