//! What a replica knows of one generation, and the predicates over it. Layer 3, pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Arrival, Ballot, BitSet, Gate, Latched, OnShortfall, Own, Proposal, Roster, RosterChange, Slot, TierSeats,
};

/// How a tier ended. The same at every replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TierOutcome {
    /// Everybody took part.
    Complete,
    /// Enough did.
    Degraded {
        /// Who did not.
        missing: BitSet,
    },
    /// Too few did, and the tier is skipped: [`OnShortfall::Proceed`].
    Shortfall {
        /// Who did not take part.
        missing: BitSet,
    },
    /// Too few did, and that ends the whole object.
    Broken {
        /// Who did not take part.
        missing: BitSet,
    },
}

impl TierSeats {
    /// The outcome when `released` are in: a function of nothing else.
    pub fn outcome(&self, released: &BitSet) -> TierOutcome {
        let missing = self.members.difference(released);
        if self.members.intersection(released).len() < self.min {
            return match self.on_shortfall {
                OnShortfall::Proceed => TierOutcome::Shortfall { missing },
                OnShortfall::Wait | OnShortfall::Break => TierOutcome::Broken { missing },
            };
        }
        if missing.is_empty() { TierOutcome::Complete } else { TierOutcome::Degraded { missing } }
    }
}

/// What was accepted in one tier: at which ballot and with which value, and by whom.
type Accepts = BTreeMap<(Ballot, BitSet), BitSet>;

/// The slots a replica has seen in one generation, its own durable one among them, with running counts.
///
/// Every predicate is monotone: what is true stays true whatever else is put in, in whatever order. That holds over the
/// versions *seen*, also of a slot that has since moved on: echoes and accepts are counted when they are first seen and
/// kept. Under a partition each side's view is a lower bound of what has been decided.
///
/// Putting in a slot costs O(n / 64 + what is new in it); the predicates O(n / 64) per tier. Memory is O(n²) bits.
#[derive(Debug, Clone)]
pub struct View {
    roster: Arc<Roster>,
    slots: Vec<Option<Arc<Slot>>>,
    own: Vec<Own>,
    arrived: BitSet,
    declined: BitSet,
    /// Echoes counted so far, by acceptor: a seat that forgot and echoed again counts once.
    echoed: Vec<(BitSet, BitSet)>,
    /// How many have echoed each member's arrival, and its refusal.
    echoes: Vec<(u16, u16)>,
    in0: BitSet,
    out0: BitSet,
    accepts: Vec<Accepts>,
    chosen: Vec<Option<BitSet>>,
    latched: Latched,
    acked: BitSet,
    next: Option<RosterChange>,
    newest: u64,
}

impl View {
    /// A view without any slot.
    pub fn new(roster: Arc<Roster>) -> Self {
        let (seats, members, tiers) = (roster.seats().len(), roster.members(), roster.tiers().len());
        Self {
            slots: vec![None; seats],
            own: vec![Own::Unset; members],
            arrived: BitSet::new(),
            declined: BitSet::new(),
            echoed: vec![(BitSet::new(), BitSet::new()); seats],
            echoes: vec![(0, 0); members],
            in0: BitSet::new(),
            out0: BitSet::new(),
            accepts: vec![Accepts::new(); tiers],
            chosen: vec![None; tiers],
            latched: Latched::default(),
            acked: BitSet::new(),
            next: None,
            newest: roster.generation(),
            roster,
        }
    }

    /// Takes in the newest slot known of a seat; it has passed [`check_slot`](super::check_slot). False when it is of
    /// a generation before this one, which says nothing here.
    pub fn put(&mut self, seat: usize, slot: Arc<Slot>) -> bool {
        self.newest = self.newest.max(slot.generation);
        match slot.generation.checked_sub(self.roster.generation()) {
            Some(0) => self.count(seat, &slot),
            Some(1) => self.follow(seat, &slot),
            Some(_) => {}
            None => return false,
        }
        self.slots[seat] = Some(slot);
        true
    }

    fn count(&mut self, seat: usize, slot: &Slot) {
        let rules = self.roster.rules();
        if seat < self.own.len() && self.own[seat] == Own::Unset {
            match slot.own {
                Own::Arrived(_) => drop(self.arrived.insert(seat)),
                Own::Declined => drop(self.declined.insert(seat)),
                Own::Unset => {}
            }
            self.own[seat].clone_from(&slot.own);
            if !rules.ballots {
                self.in0.clone_from(&self.arrived);
                self.out0.clone_from(&self.declined);
            }
        }
        if slot.acked {
            self.acked.insert(seat);
        }
        if self.roster.is_acceptor(seat) && rules.ballots {
            self.count_echoes(seat, slot);
            for (tier, state) in slot.tiers.iter().enumerate() {
                let Some(accepted) = &state.accepted else { continue };
                let by = self.accepts[tier].entry((accepted.ballot, accepted.mask.clone())).or_default();
                // Counted per ballot: accepts of one value at several ballots do not add up.
                if by.insert(seat) && by.len() >= rules.accepts {
                    self.chosen[tier] = Some(accepted.mask.clone());
                }
            }
        }
        self.latched.tiers = self.latched.tiers.union(&slot.latched.tiers);
        self.latched.released = self.latched.released.union(&slot.latched.released);
    }

    fn count_echoes(&mut self, seat: usize, slot: &Slot) {
        let needed = self.roster.rules().echoes;
        let (yes, no) = &mut self.echoed[seat];
        for member in slot.yes.difference(yes).iter() {
            self.echoes[member].0 += 1;
            if usize::from(self.echoes[member].0) >= needed {
                self.in0.insert(member);
            }
        }
        for member in slot.no.difference(no).iter() {
            self.echoes[member].1 += 1;
            if usize::from(self.echoes[member].1) >= needed {
                self.out0.insert(member);
            }
        }
        *yes = yes.union(&slot.yes);
        *no = no.union(&slot.no);
    }

    /// A seat in the next generation knows every outcome of this one (T7).
    fn follow(&mut self, seat: usize, slot: &Slot) {
        let Some(previous) = &slot.previous else { return };
        self.latched = Latched { tiers: BitSet::full(self.roster.tiers().len()), released: previous.clone() };
        self.acked.insert(seat);
        self.next = Some(slot.change.clone());
    }

    /// The generation's roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The slot last put in for a seat; of this generation or a later one.
    pub fn slot(&self, seat: usize) -> Option<&Slot> {
        self.slots[seat].as_deref()
    }

    /// Members whose arrival is here.
    pub fn arrived(&self) -> &BitSet {
        &self.arrived
    }

    /// Members whose refusal is here.
    pub fn declined(&self) -> &BitSet {
        &self.declined
    }

    /// What a member said on arriving.
    pub fn arrival(&self, member: usize) -> Option<&Arrival> {
        match self.own.get(member)? {
            Own::Arrived(arrival) => Some(arrival),
            Own::Unset | Own::Declined => None,
        }
    }

    /// How many echoes of a member's arrival are here.
    pub fn echoes(&self, member: usize) -> usize {
        usize::from(self.echoes[member].0)
    }

    /// Acceptors that have echoed a member's arrival.
    pub fn echoed_by(&self, member: usize) -> BitSet {
        self.roster.acceptors().iter().copied().filter(|seat| self.echoed[*seat].0.contains(member)).collect()
    }

    /// Members that have acted on their release, or are in a later generation.
    pub fn acked(&self) -> &BitSet {
        &self.acked
    }

    /// Members fixed as in at ballot 0.
    pub fn in0(&self) -> &BitSet {
        &self.in0
    }

    /// Members fixed as out at ballot 0: their own refusals.
    pub fn out0(&self) -> &BitSet {
        &self.out0
    }

    /// The value chosen for a tier at a ballot above 0, as far as seen.
    pub fn chosen(&self, tier: usize) -> Option<&BitSet> {
        self.chosen[tier].as_ref()
    }

    /// The members of a tier that are in, once every one of them is in or out. Never changes after.
    pub fn resolved(&self, tier: usize) -> Option<BitSet> {
        let members = &self.roster.tiers()[tier].members;
        if self.latched.tiers.contains(tier) {
            return Some(self.latched.released.intersection(members));
        }
        let included = self.in0.intersection(members);
        match self.chosen(tier) {
            Some(mask) => Some(included.union(mask)),
            None => members.is_subset(&included.union(&self.out0)).then_some(included),
        }
    }

    /// How a tier ended, once it has.
    pub fn outcome(&self, tier: usize) -> Option<TierOutcome> {
        self.resolved(tier).map(|released| self.roster.tiers()[tier].outcome(&released))
    }

    /// Members of a tier that are neither in nor out.
    pub fn open(&self, tier: usize) -> BitSet {
        match self.resolved(tier) {
            Some(_) => BitSet::new(),
            None => self.roster.tiers()[tier].members.difference(&self.in0).difference(&self.out0),
        }
    }

    /// The next generation's difference from the definition, once it is known: from a member that is in it, or from
    /// the outcomes and the arrivals of all that were released.
    pub fn next(&self) -> Option<RosterChange> {
        if let Some(next) = &self.next {
            return Some(next.clone());
        }
        let mut released = BitSet::new();
        for tier in 0..self.roster.tiers().len() {
            released = released.union(&self.resolved(tier)?);
        }
        self.roster.change_after(&released, |member| self.arrival(member))
    }

    /// True when nobody needs this generation's slots any more: every member that is in has every outcome in its own
    /// durable slot or has gone on, and has acknowledged where the gate asks for it. Monotone, so whoever sees it may
    /// forget an object that ends here; under partition it may take long to be seen, and never is while one of those
    /// members is gone. Who is left out may not have heard, and will not then. O(n).
    pub fn settled(&self) -> bool {
        let tiers = self.roster.tiers().len();
        let gone_on = |slot: &Slot| slot.generation > self.roster.generation();
        let knows = |slot: &Slot| gone_on(slot) || slot.latched.tiers == BitSet::full(tiers);
        let acted = |seat: usize| self.roster.definition().gate == Gate::Decided || self.acked.contains(seat);
        let done = |seat: usize| acted(seat) && self.slot(seat).is_some_and(knows);
        (0..tiers).all(|tier| self.resolved(tier).is_some_and(|released| released.iter().all(done)))
    }

    /// The highest generation any slot is in. Two or more above this one: this one is superseded.
    pub fn newest_generation(&self) -> u64 {
        self.newest
    }

    /// True when members have gone on so far that this generation's outcome is not to be had any more.
    pub fn superseded(&self) -> bool {
        let all = (0..self.roster.tiers().len()).all(|tier| self.resolved(tier).is_some());
        self.newest > self.roster.generation() + 1 && !all
    }

    /// What the owner of a ballot has proposed, as far as seen.
    pub fn proposal(&self, tier: usize, ballot: Ballot) -> Option<&BitSet> {
        let proposal = self.proposal_of(self.roster.owner(ballot)?, tier)?;
        if proposal.ballot == ballot { proposal.mask.as_ref() } else { None }
    }

    /// The last ballot of an acceptor in a tier.
    pub fn proposal_of(&self, seat: usize, tier: usize) -> Option<&Proposal> {
        self.current(seat)?.tier(tier).proposal.as_ref()
    }

    /// The highest ballot anybody has prepared for a tier. O(acceptors).
    pub fn asked(&self, tier: usize) -> Ballot {
        let proposals = self.roster.acceptors().iter().filter_map(|seat| self.proposal_of(*seat, tier));
        proposals.map(|proposal| proposal.ballot).max().unwrap_or_default()
    }

    /// The slots of acceptors that have promised exactly `ballot`. O(acceptors).
    pub fn promises(&self, tier: usize, ballot: Ballot) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.roster.acceptors().iter().filter_map(|seat| Some((*seat, self.current(*seat)?)));
        slots.filter(move |(_, slot)| slot.tier(tier).promised == ballot)
    }

    /// A seat's slot when it is of this very generation.
    pub fn current(&self, seat: usize) -> Option<&Slot> {
        self.slot(seat).filter(|slot| slot.generation == self.roster.generation())
    }
}
