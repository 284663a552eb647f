//! One tier in one generation, as a state machine over published slots.

use std::{collections::BTreeSet, sync::Arc};

use aepoch::coordination::kernel::{
    Arrival, Ballot, BitSet, Own, Roster, Rules, Slot, TierState, View, accept, arrive, decline, echo, prepare,
    promise, propose,
};
use stateright::{Checker, Model, Property};

use crate::published::Published;

const TIER: usize = 0;

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A seat echoes although it has promised.
    EchoAfterPromise,
    /// A proposer takes no notice of echoes.
    EchoesIgnored,
    /// Accepts of one value at different ballots are added up.
    AcceptsAcrossBallots,
    /// A seat goes on after its log was lost.
    Amnesia,
    /// A seat promises although its own timer is running.
    TimerIgnored,
}

#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) roster: Arc<Roster>,
    /// A view without any slot.
    pub(crate) empty: View,
    /// Ballots 1 to this one. All are prepared from the start: preparing tells nobody anything.
    pub(crate) ballots: u32,
    pub(crate) declines: bool,
    pub(crate) echoing: bool,
    /// Whether timers run out one by one; otherwise all have from the start.
    pub(crate) timers: bool,
    pub(crate) fault: Fault,
}

/// Slot versions are cut into what a reader can tell from them, so that two histories nobody can tell apart are one
/// state. Each part is a slot of its own, with nothing else in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The seats' durable slots, without proposals.
    slots: Vec<Published>,
    /// What was published: every promise with the echoes and accept it came with, every accept, forgotten echoes.
    /// Sorted.
    said: Vec<(u8, Published)>,
    /// The owner's slot at each ballot proposed.
    proposed: Vec<Option<Published>>,
    forgotten: bool,
    /// Seats whose timer has run out.
    expired: BitSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Arrive(usize),
    Decline(usize),
    Echo(usize, usize),
    Promise(usize, Ballot),
    /// By the quorum of promises, including which free members.
    Propose(Ballot, u8, u8),
    Accept(usize, Ballot),
    Forget(usize),
    Expire(usize),
}

impl State {
    fn say(&mut self, seat: usize, slot: Slot) {
        let version = (u8::try_from(seat).unwrap(), Published::new(slot));
        if let Err(at) = self.said.binary_search(&version) {
            self.said.insert(at, version);
        }
    }
}

fn set(mask: u8) -> BitSet {
    (0..8).filter(|index| mask & (1 << index) != 0).collect()
}

/// What a promise tells.
fn promised(slot: &Slot) -> Slot {
    let tier = slot.tier(TIER);
    let kept = TierState { promised: tier.promised, accepted: tier.accepted.clone(), proposal: None };
    Slot { yes: slot.yes.clone(), no: slot.no.clone(), tiers: vec![kept], ..Slot::default() }
}

/// What an accept tells.
fn accepted(slot: &Slot) -> Slot {
    Slot { yes: BitSet::new(), no: BitSet::new(), ..promised(slot) }
}

impl Kernel {
    pub(crate) fn of(roster: Roster, ballots: u32) -> Self {
        let roster = Arc::new(roster);
        let empty = View::new(Arc::clone(&roster));
        Self { roster, empty, ballots, declines: false, echoing: true, timers: false, fault: Fault::None }
    }

    fn seats(&self) -> usize {
        self.roster.seats().len()
    }

    fn view<'a>(&self, slots: impl IntoIterator<Item = (usize, &'a Published)>) -> View {
        let mut view = View::new(Arc::clone(&self.roster));
        for (seat, slot) in slots {
            view.put(seat, slot.shared());
        }
        view
    }

    fn owner(&self, ballot: Ballot) -> usize {
        self.roster.owner(ballot).unwrap()
    }

    fn promises<'a>(&self, state: &'a State, ballot: Ballot) -> Vec<(usize, &'a Published)> {
        let tier = |slot: &Slot| slot.tier(TIER).clone();
        let of_ballot =
            |slot: &Slot| tier(slot).promised == ballot && tier(slot).accepted.is_none_or(|a| a.ballot < ballot);
        state.said.iter().filter(|(_, slot)| of_ballot(slot)).map(|(seat, slot)| (usize::from(*seat), slot)).collect()
    }

    fn propose(&self, state: &State, ballot: Ballot, quorum: u8, include: u8) -> Option<Slot> {
        let (owner, promises) = (self.owner(ballot), self.promises(state, ballot));
        let mut view = self.view(state.slots.iter().enumerate());
        // The current slots told of arrivals; the promises the proposer goes by are those of the quorum and no others.
        for seat in 0..self.seats() {
            view.put(seat, Arc::default());
        }
        for (seat, slot) in set(quorum).iter().map(|at| promises[at]) {
            let mut heard = (**slot).clone();
            if self.fault == Fault::EchoesIgnored {
                (heard.yes, heard.no) = (BitSet::new(), BitSet::new());
            }
            view.put(seat, Arc::new(heard));
        }
        let slot = prepare(&view, owner, &Slot::default(), TIER, ballot, true)?;
        propose(&view, owner, &slot, TIER, &set(include))
    }

    fn accept(&self, state: &State, seat: usize, ballot: Ballot) -> Option<Slot> {
        let proposal = state.proposed[ballot.0 as usize].as_ref()?;
        // Of the others' slots only their arrivals matter here.
        let members = state.slots[..self.roster.members()].iter().enumerate();
        let view = self.view(members.chain([(self.owner(ballot), proposal)]));
        accept(&view, seat, &state.slots[seat], TIER, ballot)
    }

    fn expired(&self, state: &State, seat: usize) -> bool {
        !self.timers || self.fault == Fault::TimerIgnored || state.expired.contains(seat)
    }

    fn echo(&self, state: &State, seat: usize, member: usize) -> Option<Slot> {
        let view = self.view([(member, &state.slots[member])]);
        let slot = &state.slots[seat];
        if self.fault != Fault::EchoAfterPromise {
            return echo(&view, seat, slot, member);
        }
        let unpromised = Slot { tiers: Vec::new(), ..(**slot).clone() };
        echo(&view, seat, &unpromised, member).map(|echoed| Slot { tiers: slot.tiers.clone(), ..echoed })
    }

    fn step(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let view = &self.empty;
        match action {
            Action::Arrive(seat) => {
                next.slots[seat] = Published::new(arrive(view, seat, &state.slots[seat], Arrival::default()).ok()?);
            }
            Action::Decline(seat) => {
                next.slots[seat] = Published::new(decline(view, seat, &state.slots[seat]).ok()?);
            }
            Action::Echo(seat, member) => next.slots[seat] = Published::new(self.echo(state, seat, member)?),
            Action::Promise(seat, ballot) => {
                let slot = promise(view, seat, &state.slots[seat], TIER, ballot, self.expired(state, seat))?;
                next.say(seat, promised(&slot));
                next.slots[seat] = Published::new(slot);
            }
            Action::Propose(ballot, quorum, include) => {
                let slot = self.propose(state, ballot, quorum, include)?;
                next.proposed[ballot.0 as usize] = Some(Published::new(slot));
            }
            Action::Accept(seat, ballot) => {
                let slot = self.accept(state, seat, ballot)?;
                next.say(seat, accepted(&slot));
                next.slots[seat] = Published::new(slot);
            }
            Action::Forget(seat) => {
                let old = &state.slots[seat];
                let echoes = Slot { yes: old.yes.clone(), no: old.no.clone(), ..Slot::default() };
                next.say(seat, echoes);
                next.slots[seat] = Published::new(Slot { own: old.own.clone(), ..Slot::default() });
                next.forgotten = true;
            }
            Action::Expire(seat) => drop(next.expired.insert(seat)),
        }
        Some(next)
    }

    /// Where no acceptor is a member, nothing but its number tells one from another: states that differ by exchanging
    /// acceptors are one.
    fn canonical(&self, state: State) -> State {
        let members = self.roster.members();
        if self.roster.acceptors().iter().any(|seat| *seat < members) {
            return state;
        }
        let said =
            |seat: usize| state.said.iter().filter(move |(by, _)| usize::from(*by) == seat).map(|(_, slot)| slot);
        let mut acceptors: Vec<(&Published, Vec<&Published>)> =
            (members..self.seats()).map(|seat| (&state.slots[seat], said(seat).collect())).collect();
        if acceptors.is_sorted() {
            return state;
        }
        acceptors.sort_unstable();
        let slots = state.slots[..members].iter().chain(acceptors.iter().map(|(slot, _)| *slot)).cloned().collect();
        let numbered = acceptors.iter().zip(members..).flat_map(|((_, said), seat)| {
            said.iter().map(move |slot| (u8::try_from(seat).unwrap(), Published::clone(slot)))
        });
        let said = numbered.collect();
        State { slots, said, ..state }
    }

    fn proposals(&self, state: &State, ballot: Ballot, actions: &mut Vec<Action>) {
        let promises = self.promises(state, ballot);
        let needed = self.roster.rules().recovery;
        let mut values = BTreeSet::new();
        for quorum in 0_u8..1 << promises.len() {
            let seats: BTreeSet<usize> = set(quorum).iter().map(|at| promises[at].0).collect();
            if quorum.count_ones() as usize != needed || seats.len() != needed {
                continue;
            }
            for include in 0_u8..1 << self.roster.members() {
                if let Some(slot) = self.propose(state, ballot, quorum, include)
                    && values.insert(slot)
                {
                    actions.push(Action::Propose(ballot, quorum, include));
                }
            }
        }
    }

    /// What any replica could take for decided: all values chosen, and who is in and out at ballot 0.
    fn decided(&self, state: &State) -> (BTreeSet<BitSet>, View) {
        let mut view = View::new(Arc::clone(&self.roster));
        let mut chosen = BTreeSet::new();
        let said = state.said.iter().map(|(seat, slot)| (usize::from(*seat), slot));
        for (seat, slot) in said.chain(state.slots.iter().enumerate()) {
            view.put(seat, slot.shared());
            chosen.extend(view.chosen(TIER).cloned());
        }
        if self.fault == Fault::AcceptsAcrossBallots {
            let accepts = state.said.iter().filter_map(|(seat, slot)| Some((slot.tier(TIER).accepted.as_ref()?, seat)));
            let accepts: BTreeSet<(&BitSet, &u8)> = accepts.map(|(accepted, seat)| (&accepted.mask, seat)).collect();
            let count = |mask: &BitSet| accepts.iter().filter(|(value, _)| **value == *mask).count();
            let masks: BTreeSet<&BitSet> = accepts.iter().map(|(mask, _)| *mask).collect();
            chosen.extend(masks.into_iter().filter(|mask| count(mask) >= self.roster.rules().accepts).cloned());
        }
        (chosen, view)
    }

    /// B1 over every pair of views, B2, and B4 as far as one generation goes.
    fn safe(&self, state: &State) -> bool {
        let (chosen, view) = self.decided(state);
        let arrived: BitSet =
            (0..self.roster.members()).filter(|seat| matches!(state.slots[*seat].own, Own::Arrived(_))).collect();
        let agrees =
            |mask: &BitSet| view.in0().is_subset(mask) && view.out0().is_disjoint(mask) && mask.is_subset(&arrived);
        chosen.len() <= 1
            && chosen.iter().all(agrees)
            && view.in0().is_disjoint(view.out0())
            && view.in0().is_subset(&arrived)
            && self.honest(state, &chosen)
    }

    /// B9: whoever is left out is left out by as many as recovery takes, each by its own timer.
    fn honest(&self, state: &State, chosen: &BTreeSet<BitSet>) -> bool {
        let excluded = chosen.iter().any(|mask| mask.len() < self.roster.members());
        !self.timers || !excluded || state.expired.len() >= self.roster.rules().recovery
    }

    /// Explores everything and returns the number of states; complains when a state is unsafe, or when something that
    /// should be possible never happens.
    pub(crate) fn must_be_safe(self) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        checker.unique_state_count()
    }

    /// Explores until an unsafe state is found.
    pub(crate) fn must_be_caught(self) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        let trace = checker.discovery("safe").expect("the fault shows in no state");
        println!("{:?}", trace.into_actions());
    }
}

impl Model for Kernel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            slots: vec![Published::default(); self.seats()],
            said: Vec::new(),
            proposed: vec![None; self.ballots as usize + 1],
            forgotten: false,
            expired: BitSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let seats = 0..self.seats();
        let spoken: Vec<usize> =
            (0..self.roster.members()).filter(|seat| state.slots[*seat].own != Own::Unset).collect();
        for seat in (0..self.roster.members()).filter(|seat| !spoken.contains(seat)) {
            actions.push(Action::Arrive(seat));
            if self.declines {
                actions.push(Action::Decline(seat));
            }
        }
        if self.echoing {
            actions.extend(seats.clone().flat_map(|seat| spoken.iter().map(move |member| Action::Echo(seat, *member))));
        }
        for ballot in (1..=self.ballots).map(Ballot) {
            let below = |seat: &usize| state.slots[*seat].tier(TIER).promised < ballot;
            actions.extend(seats.clone().filter(below).map(|seat| Action::Promise(seat, ballot)));
            match state.proposed[ballot.0 as usize] {
                None => self.proposals(state, ballot, actions),
                Some(_) => actions.extend(seats.clone().map(|seat| Action::Accept(seat, ballot))),
            }
        }
        if self.timers {
            actions.extend(seats.clone().filter(|seat| !state.expired.contains(*seat)).map(Action::Expire));
        }
        if self.fault == Fault::Amnesia && !state.forgotten {
            actions.extend(seats.map(Action::Forget));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.step(state, action).filter(|next| next != state).map(|next| self.canonical(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("safe", |model: &Self, state| model.safe(state))];
        if self.fault != Fault::None || self.roster.rules() != self.sound() {
            return properties;
        }
        properties.push(Property::sometimes("somebody is left out", |model: &Self, state| {
            model.decided(state).0.iter().any(|mask| mask.len() < model.roster.members())
        }));
        if self.echoing {
            properties.push(Property::sometimes("all are in without a ballot", |model: &Self, state: &State| {
                state.said.is_empty() && model.decided(state).1.in0().len() == model.roster.members()
            }));
            properties.push(Property::sometimes("a ballot confirms what echoes decided", |model: &Self, state| {
                let (chosen, view) = model.decided(state);
                !chosen.is_empty() && view.in0().len() == model.roster.members()
            }));
        }
        properties
    }
}

impl Kernel {
    /// The rules for the tolerance the roster's echoes stand for.
    fn sound(&self) -> Rules {
        let rules = self.roster.rules();
        let sound = Rules::tolerating(rules.echoes - 1, self.roster.acceptors().len());
        Rules { ballots: rules.ballots, ..sound }
    }
}
