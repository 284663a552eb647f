//! What has been said and returned so far in a swarm of barriers, by generation: whatever is returned later is held
//! against it. Written with sets of names, and not with the kernel's own predicates.

use std::{collections::BTreeSet, sync::Arc};

use aepoch::{
    coordination::{
        barrier::{Progress, TieredBarrier},
        kernel::{Arrival, BitSet, Definition, Gate, Roster, RosterChange, Slot},
    },
    id::ReplicaId,
};

/// One generation. Replicas by their number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Generation {
    change: RosterChange,
    arrived: BitSet,
    /// By tier, the seats that are in, as first returned.
    released: Vec<Option<BitSet>>,
    /// Who was told of its release.
    told: BitSet,
    /// Who has acknowledged it.
    acted: BitSet,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    generations: Vec<Generation>,
    /// Whether anybody was told that it is late, or superseded.
    pub(crate) late: bool,
    pub(crate) superseded: bool,
    /// The first promise broken.
    pub(crate) wrong: Option<&'static str>,
}

pub(crate) fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bits(number as u64 + 1)
}

fn number(replica: ReplicaId) -> usize {
    usize::try_from(replica.get()).unwrap() - 1
}

/// What a replica says when it arrives in a generation.
pub(crate) type Arrivals = fn(usize, u64) -> Arrival;

impl Truth {
    pub(crate) fn new(definition: &Definition) -> Self {
        let first = Generation { released: vec![None; definition.tiers.len()], ..Generation::default() };
        Self { generations: vec![first], late: false, superseded: false, wrong: None }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.generations.len() as u64 - 1
    }

    fn complain(&mut self, holds: bool, what: &'static str) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(what);
        }
    }

    fn roster(&self, definition: &Arc<Definition>, generation: usize) -> Roster {
        Roster::of(Arc::clone(definition), generation as u64, self.generations[generation].change.clone())
    }

    /// A replica has made a slot durable.
    pub(crate) fn wrote(&mut self, definition: &Arc<Definition>, arrivals: Arrivals, me: usize, slot: &Slot) {
        let at = usize::try_from(slot.generation).unwrap();
        if at == self.generations.len() {
            self.begin(definition, arrivals, slot);
        }
        let known = self.generations.get(at).is_some_and(|generation| generation.change == slot.change);
        self.complain(known, "two rosters of one generation");
        if !known {
            return;
        }
        if slot.arrival().is_some() {
            self.generations[at].arrived.insert(me);
        }
        if slot.acked && !self.generations[at].acted.contains(me) {
            self.complain(self.generations[at].told.contains(me), "acknowledged before its release");
            self.generations[at].acted.insert(me);
        }
        if !slot.latched.tiers.is_empty() {
            let roster = self.roster(definition, at);
            for tier in slot.latched.tiers.iter() {
                self.note(&roster, tier, &slot.latched.released);
            }
        }
        if at > 0 {
            let roster = self.roster(definition, at - 1);
            self.complain(slot.previous.is_some(), "in a generation without the outcome before it");
            for tier in 0..roster.tiers().len() {
                self.note(&roster, tier, slot.previous.as_ref().unwrap_or(&BitSet::new()));
            }
            self.keeps_up(definition, me, at);
        }
    }

    /// The first slot of a generation: its roster is what the outcome before it and the arrivals of those who were in
    /// say, and nothing else.
    fn begin(&mut self, definition: &Arc<Definition>, arrivals: Arrivals, slot: &Slot) {
        let before = self.roster(definition, self.generations.len() - 1);
        let last = &self.generations[self.generations.len() - 1];
        let tiers: Option<Vec<&BitSet>> = last.released.iter().map(Option::as_ref).collect();
        let Some(tiers) = tiers else { return self.complain(false, "went on before every tier was resolved") };
        let arrival_of = |seat: usize| arrivals(number(before.seats()[seat].replica), before.generation());
        let seats = || tiers.iter().flat_map(|released| released.iter());
        let stay = seats().filter(|seat| !arrival_of(*seat).leave).map(|seat| before.seats()[seat].replica);
        let join = seats().flat_map(|seat| arrival_of(seat).sponsored).map(|seat| seat.replica);
        let expected: BTreeSet<ReplicaId> = stay.chain(join).collect();
        let next = Roster::of(Arc::clone(definition), slot.generation, slot.change.clone());
        let found = next.seats()[..next.members()].iter().map(|seat| seat.replica).collect();
        self.complain(expected == found, "a roster of others than those who stayed or were brought along");
        let released = vec![None; next.tiers().len()];
        self.generations.push(Generation { change: slot.change.clone(), released, ..Generation::default() });
    }

    /// B6: a member of this generation and the one before has not been left further behind.
    fn keeps_up(&mut self, definition: &Arc<Definition>, me: usize, at: usize) {
        let seated = |generation: usize| self.roster(definition, generation).seat_of(replica(me)).is_some();
        let newest = self.generations.len() - 1;
        let behind = at + 1 < newest && seated(newest) && seated(newest - 1);
        self.complain(!behind, "a continuing member two generations behind");
    }

    /// An outcome is returned: all are equal (B1, B4), and nobody is in who has not arrived (B2).
    fn note(&mut self, roster: &Roster, tier: usize, released: &BitSet) {
        let at = usize::try_from(roster.generation()).unwrap();
        let released = released.intersection(&roster.tiers()[tier].members);
        let generation = &self.generations[at];
        let arrived = released.iter().all(|seat| generation.arrived.contains(number(roster.seats()[seat].replica)));
        let same = generation.released[tier].as_ref().is_none_or(|known| *known == released);
        self.complain(arrived, "released without having arrived");
        self.complain(same, "two outcomes of one tier");
        self.generations[at].released[tier].get_or_insert(released);
    }

    /// What a replica answers for every generation that there is.
    pub(crate) fn returned(&mut self, definition: &Arc<Definition>, me: usize, barrier: &TieredBarrier) {
        for at in 0..self.generations.len() {
            let progress = barrier.progress(at as u64, aepoch::time::Monotonic(0));
            let roster = match progress {
                Progress::Waiting | Progress::Overdue { .. } => continue,
                Progress::Superseded { generation } => {
                    // With the acknowledged gate, who looks on cannot tell from the next generation that lower tiers
                    // were let through.
                    let apart = if definition.gate == Gate::Acked { 1 } else { 2 };
                    let real = generation <= self.newest() && self.newest() >= at as u64 + apart;
                    self.complain(real, "superseded by a generation nobody is in");
                    self.superseded = true;
                    continue;
                }
                _ => self.roster(definition, at),
            };
            let tier = roster.seat_of(replica(me)).and_then(|seat| roster.tier_of(seat));
            let outcome = |truth: &Self, tier: usize| {
                truth.generations[at].released[tier].as_ref().map(|released| roster.tiers()[tier].outcome(released))
            };
            // An onlooker has no slot, and with strict rules what is evident need not be in one.
            if barrier.generation() == at as u64 {
                for tier in 0..roster.tiers().len() {
                    if let Some(released) = barrier.view().resolved(tier) {
                        self.note(&roster, tier, &released);
                    }
                }
            }
            match progress {
                Progress::Released { outcomes } => {
                    let same = (0..outcomes.len()).all(|at| outcome(self, at).as_ref() == Some(&outcomes[at].1));
                    self.complain(same, "two outcomes of one tier");
                    if let Some(tier) = tier {
                        self.released(definition, &roster, me, tier);
                    }
                }
                Progress::Late { outcome: told, .. } => {
                    self.late = true;
                    let known = tier.and_then(|tier| outcome(self, tier));
                    self.complain(known == Some(told), "two outcomes of one tier");
                }
                _ => self.complain(false, "broken, where nothing can break"),
            }
        }
    }

    /// B5: a member is released. Every higher tier is resolved, and where the gate says so, has acted.
    pub(crate) fn released(&mut self, definition: &Definition, roster: &Roster, me: usize, tier: usize) {
        let at = usize::try_from(roster.generation()).unwrap();
        for above in 0..tier {
            let Some(released) = self.generations[at].released[above].clone() else {
                return self.complain(false, "released before a higher tier was resolved");
            };
            let acted = |seat: usize| self.generations[at].acted.contains(number(roster.seats()[seat].replica));
            let all = definition.gate == Gate::Decided || released.iter().all(acted);
            self.complain(all, "released before a higher tier had acted");
        }
        self.generations[at].told.insert(me);
    }
}
