//! A barrier with tiers: who arrives, who is waited for, and when each tier is released. Layer 3, pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::kernel::{
    Arrival, BitSet, Definition, DefinitionError, DefinitionId, Gate, Malformed, OnShortfall, Refusal, Roster, Slot,
    Tier, TierOutcome, View, Wanted, acknowledge, arrive, check_roster, check_slot, decline, enter, latch, step,
};
use crate::{
    id::ReplicaId,
    time::{Dice, Monotonic},
};

/// What the proposer of the next rank waits longer than the one before it: several round trips of a slow network.
const RANK_WAIT: Duration = Duration::from_millis(500);
/// Ranks beyond this wait no longer: jitter keeps them apart.
const RANKS: u32 = 8;
/// How long an outcome that everybody can tell for himself is kept in memory only: a member that goes on within that
/// time need not write it, since its next arrival says how the generation before ended.
const KEEP_WAIT: Duration = Duration::from_secs(1);
/// Longest pause between two ballots of one seat.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Where a member (or an onlooker) stands in one generation. All but `Waiting` and `Overdue` are final, and the same at
/// every replica; two generations later an outcome is kept no longer, and `Superseded` says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not decided yet.
    Waiting,
    /// Not decided, and this replica's timer has run out: an observation, nothing follows from it.
    Overdue {
        /// Seats whose arrival is not here.
        missing: BitSet,
    },
    /// The tier is released: outcomes of all tiers down to this one, highest first.
    Released {
        /// How each ended.
        outcomes: Vec<(Tier, TierOutcome)>,
    },
    /// The tier was decided without this member.
    Late {
        /// Its tier.
        tier: Tier,
        /// How it ended.
        outcome: TierOutcome,
    },
    /// A tier had too few, and that is the end of the barrier.
    Broken {
        /// Which one.
        tier: Tier,
        /// Seats that did not take part.
        missing: BitSet,
    },
    /// The others, or this replica itself, are two generations ahead or more; the outcome is not to be had any more.
    Superseded {
        /// The newest generation heard of.
        generation: u64,
    },
}

/// Why an arrival, a refusal or an acknowledgement is not possible now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The kernel refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This replica has no seat in the generation.
    #[error("replica {replica} has no seat in generation {generation}")]
    NoSeat {
        /// This replica.
        replica: ReplicaId,
        /// The current generation.
        generation: u64,
    },
    /// A slot handed out is not durable yet; retry after [`TieredBarrier::persisted`].
    #[error("the slot before is still being written")]
    Writing,
    /// Nothing to acknowledge: not released, or not asked for, or done.
    #[error("generation {generation} asks for no acknowledgement now")]
    NothingToAcknowledge {
        /// The current generation.
        generation: u64,
    },
}

/// Content to be had before a release is told: of whom, how many commits of content, and how many records.
pub type Fence = Vec<(ReplicaId, (u64, u64))>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Lead {
    /// When this seat begins its next ballot.
    at: Option<Monotonic>,
    tries: u32,
}

/// One replica's part in a barrier: its durable slot, what it knows of the others, its timers.
///
/// Use: [`Self::hear`] every record, [`Self::poll`] until `None`, make each slot it gives durable as a record, call
/// [`Self::persisted`], poll again; come back at [`Self::next_wake`]. What this replica says counts once it is durable,
/// and outcomes too, except with strict rules (`docs/decisions/0008-strict-releases-wait-for-no-disk.md`).
///
/// Under partition: a side with fewer than `n - tolerate` acceptors decides nobody's absence; with `tolerate` 0 nobody
/// is ever left out. A replica's view is a lower bound of what is decided, and never wrong.
#[derive(Debug, Clone)]
pub struct TieredBarrier {
    definition: Arc<Definition>,
    id: DefinitionId,
    replica: ReplicaId,
    view: View,
    me: Option<usize>,
    /// What the next slot is made from: the durable one, the fresh one of a generation just entered, or the durable one
    /// with outcomes that need not be written yet.
    slot: Arc<Slot>,
    durable: Arc<Slot>,
    writing: Option<Arc<Slot>>,
    /// The newest slot of every replica, of whatever generation.
    heard: BTreeMap<ReplicaId, Arc<Slot>>,
    /// When the first arrival or refusal of this generation was heard: from there timers run.
    begun: Option<Monotonic>,
    leads: Vec<Lead>,
    /// When outcomes that are in `slot` only are written.
    keep_at: Option<Monotonic>,
    /// How generations gone on from ended here, and what their releases wait for: the last one, and the one before this
    /// where that is another.
    before: Vec<(Arc<Roster>, Progress, Option<Fence>)>,
}

impl TieredBarrier {
    /// A replica's part in a barrier. `durable` is its own slot as kept in its store, if it has written one.
    ///
    /// # Errors
    /// The definition is refused; retrying does not help.
    pub fn new(
        definition: Arc<Definition>,
        replica: ReplicaId,
        durable: Option<Slot>,
    ) -> Result<Self, DefinitionError> {
        definition.check()?;
        let first = durable.unwrap_or_default();
        let roster = Roster::of(Arc::clone(&definition), first.generation, first.change.clone());
        let before = ended(&definition, replica, &first).into_iter().collect();
        let mut barrier = Self {
            id: definition.id(),
            definition,
            replica,
            view: View::new(Arc::new(roster)),
            me: None,
            slot: Arc::default(),
            durable: Arc::new(first.clone()),
            writing: None,
            heard: BTreeMap::new(),
            begun: None,
            leads: Vec::new(),
            keep_at: None,
            before,
        };
        barrier.sit(Arc::new(first));
        Ok(barrier)
    }

    /// Begins a generation, whose roster is in the view, with one's own slot of it.
    fn sit(&mut self, slot: Arc<Slot>) {
        let roster = Arc::clone(self.view.roster());
        self.me = roster.seat_of(self.replica);
        self.leads = vec![Lead::default(); roster.tiers().len()];
        self.begun = None;
        self.keep_at = None;
        self.slot = slot;
        if let Some(me) = self.me {
            self.view.put(me, Arc::clone(&self.slot));
        }
        for (replica, slot) in &self.heard {
            if let Some(seat) = roster.seat_of(*replica)
                && self.me != Some(seat)
                && check_slot(&roster, seat, slot).is_ok()
            {
                self.view.put(seat, Arc::clone(slot));
            }
        }
    }

    /// Takes in another replica's newest slot. One's own comes by [`Self::persisted`] only.
    ///
    /// # Errors
    /// [`Malformed`]: the slot is ignored; its writer is at fault.
    pub fn hear(&mut self, from: ReplicaId, slot: Slot, now: Monotonic) -> Result<(), Malformed> {
        if from == self.replica {
            return Ok(());
        }
        let roster = Arc::clone(self.view.roster());
        let slot = Arc::new(slot);
        match roster.seat_of(from) {
            Some(seat) => {
                check_slot(&roster, seat, &slot)?;
                self.heard.insert(from, Arc::clone(&slot));
                self.view.put(seat, slot);
            }
            // Of a later generation it may be a member; of this one it says nothing (B8).
            None if slot.generation > roster.generation() => {
                check_roster(&self.definition, &slot)?;
                self.heard.insert(from, slot);
            }
            None => {}
        }
        self.note_begun(now);
        Ok(())
    }

    fn note_begun(&mut self, now: Monotonic) {
        if self.begun.is_none() && !(self.view.arrived().is_empty() && self.view.declined().is_empty()) {
            self.begun = Some(now);
        }
    }

    /// The member is here: in this generation, or in the next one when this one is over for it. Returns the slot to be
    /// made durable.
    ///
    /// # Errors
    /// [`BarrierError`]; while a slot is being written, retrying helps.
    pub fn arrive(&mut self, arrival: Arrival, now: Monotonic) -> Result<Slot, BarrierError> {
        self.speak(now, |view, me, slot| arrive(view, me, slot, arrival.clone()))
    }

    /// The member will not come. Returns the slot to be made durable.
    ///
    /// # Errors
    /// As [`Self::arrive`].
    pub fn decline(&mut self, now: Monotonic) -> Result<Slot, BarrierError> {
        self.speak(now, decline)
    }

    fn speak(
        &mut self,
        now: Monotonic,
        say: impl Fn(&View, usize, &Slot) -> Result<Slot, Refusal>,
    ) -> Result<Slot, BarrierError> {
        if self.writing.is_some() {
            return Err(BarrierError::Writing);
        }
        self.follow(true, now);
        let seat = self.me.ok_or(BarrierError::NoSeat { replica: self.replica, generation: self.generation() })?;
        let slot = say(&self.view, seat, &self.slot)?;
        self.begun.get_or_insert(now);
        Ok(self.write(slot))
    }

    /// The member has acted on its release. Returns the slot to be made durable.
    ///
    /// # Errors
    /// [`BarrierError::NothingToAcknowledge`] unless the definition's gate asks for it and the member is released.
    pub fn acknowledge(&mut self) -> Result<Slot, BarrierError> {
        if self.writing.is_some() {
            return Err(BarrierError::Writing);
        }
        let generation = self.generation();
        let seat = self.me.ok_or(BarrierError::NoSeat { replica: self.replica, generation })?;
        let slot = acknowledge(&self.view, seat, &self.slot);
        // Its own tier may be decided while a higher one is not: then it has not been released yet.
        let open = self.view.roster().tier_of(seat).is_some_and(|tier| self.gated_by(tier).is_none());
        let slot = slot.filter(|_| open);
        slot.map(|slot| self.write(slot)).ok_or(BarrierError::NothingToAcknowledge { generation })
    }

    fn write(&mut self, slot: Slot) -> Slot {
        self.keep_at = None;
        self.writing = Some(Arc::new(slot.clone()));
        slot
    }

    /// True when outcomes may be acted on before they are in the durable slot: with strict rules they follow from the
    /// arrivals alone, each of which is durable where it was made, so nobody can be told otherwise after a crash. An
    /// acknowledgement says more than that, and is made from what is durable.
    fn is_evident(&self) -> bool {
        !self.view.roster().rules().ballots && self.definition.gate == Gate::Decided
    }

    /// The slot handed out last is durable; it may be published now, and counts.
    ///
    /// # Panics
    /// When none was handed out: the driver's bookkeeping is broken.
    pub fn persisted(&mut self) {
        let slot = self.writing.take().expect("a slot was handed out before it became durable");
        self.durable = Arc::clone(&slot);
        self.slot = slot;
        if let Some(me) = self.me {
            self.view.put(me, Arc::clone(&self.slot));
        }
    }

    /// What to write next, if anything. `suspected` picks who leads, nothing else: a wrong suspicion costs time only.
    pub fn poll(&mut self, now: Monotonic, dice: &mut Dice, suspected: impl Fn(ReplicaId) -> bool) -> Option<Slot> {
        if self.writing.is_some() {
            return None;
        }
        self.follow(false, now);
        self.note_begun(now);
        let wanted = self.wanted(now, dice, &suspected)?;
        match step(&self.view, self.me?, &self.slot, &wanted) {
            Some(slot) => Some(self.write(slot)),
            None => self.keep_at.filter(|at| *at <= now).map(|_| self.write((*self.slot).clone())),
        }
    }

    /// What the timers say; `None` without a seat.
    fn wanted(&mut self, now: Monotonic, dice: &mut Dice, suspected: &impl Fn(ReplicaId) -> bool) -> Option<Wanted> {
        let me = self.me?;
        let mut wanted = Wanted::default();
        for tier in 0..self.leads.len() {
            if self.expired(tier, now) {
                wanted.expired.insert(tier);
                if self.leads_now(tier, me, now, dice, suspected) {
                    wanted.lead.insert(tier);
                }
            }
        }
        Some(wanted)
    }

    /// Enters the next generation when this one is over here and the member wants to (`asked`), or others are in it: it
    /// decides there with them, whether or not its application has come so far. What has no seat, or is too far behind
    /// to learn anything, jumps to the newest.
    fn follow(&mut self, asked: bool, now: Monotonic) {
        while let Some(me) = self.me {
            if self.is_evident()
                && let Some(slot) = latch(&self.view, &self.slot)
            {
                self.slot = Arc::new(slot);
                self.keep_at.get_or_insert(now + KEEP_WAIT);
            }
            let ahead = self.view.newest_generation() > self.generation();
            let spoken = self.slot.own != super::kernel::Own::Unset;
            if self.owes() || !(ahead || asked && spoken) {
                break;
            }
            let Some((roster, slot)) = enter(&self.view, me, &self.slot) else { break };
            self.go(roster, slot.unwrap_or_default());
        }
        self.jump();
    }

    /// A slot of the next generation counts as an acknowledgement, so it must not run ahead of it.
    fn owes(&self) -> bool {
        let released = self.me.is_some_and(|me| self.slot.latched.released.contains(me));
        self.definition.gate == Gate::Acked && released && !self.slot.acked
    }

    fn ending(&self) -> (Arc<Roster>, Progress, Option<Fence>) {
        let generation = self.generation();
        (Arc::clone(self.view.roster()), self.progress(generation, Monotonic(0)), self.fence(generation))
    }

    fn go(&mut self, roster: Roster, slot: Slot) {
        let own = self.ending();
        // Whoever has gone on knows the outcome, but not that lower tiers were let through: that takes acknowledgements
        // of others, which are overwritten by now.
        let open = |progress: &Progress| match progress {
            Progress::Released { outcomes } => self.definition.gate == Gate::Decided || outcomes.len() == 1,
            _ => true,
        };
        let told = ended(&self.definition, self.replica, &slot).filter(|(_, progress, _)| open(progress));
        // One that has learned nothing by itself goes by what it is told, or else is superseded.
        let own = (!matches!(own.1, Progress::Waiting | Progress::Overdue { .. })).then_some(own);
        self.before = own.into_iter().chain(told).collect();
        self.view = View::new(Arc::new(roster));
        self.sit(Arc::new(slot));
    }

    /// Goes to the newest generation somebody known here is in, for one who has no seat, or cannot get there step by
    /// step: the slots of the generation in between are overwritten, and with them its outcome or its roster.
    ///
    /// A slot names its own roster, so it is believed only when its writer has a seat in the generation known here:
    /// a member of a true generation is in a true one. Agreement of several slots would say less, since whoever makes
    /// up a roster can make up its members too. A reader far behind gets there all the same, if in several jumps:
    /// whoever is first in a generation was a member of the one before (T7), and its newest slot remains even when it
    /// has left since. So from every generation but the newest one leads a step ahead.
    fn jump(&mut self) {
        let behind = |barrier: &Self| barrier.view.newest_generation() > barrier.generation() + 1;
        while !self.owes() && (self.me.is_none() || behind(self)) {
            let Some((writer, newest)) = self.ahead() else { return };
            let roster = Roster::of(Arc::clone(&self.definition), newest.generation, newest.change.clone());
            let seat = roster.seat_of(writer);
            if seat.is_none_or(|seat| check_slot(&roster, seat, &newest).is_err()) {
                // Its writer is broken or dishonest: what it says is not asked for again.
                self.heard.remove(&writer);
                continue;
            }
            let slot = Slot {
                generation: newest.generation,
                change: newest.change.clone(),
                previous: newest.previous.clone(),
                previous_change: newest.previous_change.clone(),
                fence: self.durable.fence,
                ..Slot::default()
            };
            self.go(roster, slot);
        }
    }

    /// The newest slot of a later generation by one that has a seat in this one.
    fn ahead(&self) -> Option<(ReplicaId, Arc<Slot>)> {
        let roster = self.view.roster();
        let seated = self.heard.iter().filter(|(writer, _)| roster.seat_of(**writer).is_some());
        let (writer, newest) = seated.max_by_key(|(_, slot)| slot.generation)?;
        (newest.generation > self.generation()).then(|| (*writer, Arc::clone(newest)))
    }

    /// When the timer of a tier runs out here; `None` until somebody has arrived.
    pub fn deadline(&self, tier: usize) -> Option<Monotonic> {
        Some(self.begun? + self.definition.tiers[tier].timeout)
    }

    /// When the first arrival or refusal of this generation was heard.
    pub fn begun(&self) -> Option<Monotonic> {
        self.begun
    }

    /// True when the timer of a tier has run out here.
    pub fn expired(&self, tier: usize, now: Monotonic) -> bool {
        self.deadline(tier).is_some_and(|deadline| deadline <= now)
    }

    /// Whether leaving somebody out could be decided here and would be allowed.
    fn may_lead(&self, tier: usize, me: usize) -> bool {
        let roster = self.view.roster();
        let seats = &roster.tiers()[tier];
        let enough = self.view.arrived().intersection(&seats.members).len() >= seats.min;
        let waits = seats.on_shortfall == OnShortfall::Wait && !enough;
        roster.rules().ballots && roster.is_acceptor(me) && !waits && self.view.resolved(tier).is_none()
    }

    /// Lowest rank first: each waits a little longer than those before it that are not suspected, then again with
    /// exponential backoff and full jitter, so that proposers do not preempt each other for ever.
    fn leads_now(
        &mut self,
        tier: usize,
        me: usize,
        now: Monotonic,
        dice: &mut Dice,
        suspected: &impl Fn(ReplicaId) -> bool,
    ) -> bool {
        if !self.may_lead(tier, me) {
            return false;
        }
        let roster = self.view.roster();
        let before = roster.acceptors().iter().take_while(|seat| **seat != me);
        let rank = before.filter(|seat| !suspected(roster.seats()[**seat].replica)).take(RANKS as usize).count();
        let lead = self.leads[tier];
        let at = match lead.at {
            Some(at) => at,
            None if rank == 0 => now,
            None => {
                let rank = u32::try_from(rank).unwrap_or(RANKS);
                now + RANK_WAIT * rank + dice.jitter(RANK_WAIT)
            }
        };
        self.leads[tier].at = Some(at);
        if at > now {
            return false;
        }
        let pause = (RANK_WAIT * 2 * 2_u32.saturating_pow(lead.tries.min(8))).min(BACKOFF_MAX);
        let again = now + RANK_WAIT + dice.jitter(pause);
        self.leads[tier] = Lead { at: Some(again), tries: lead.tries.saturating_add(1) };
        true
    }

    /// When to poll again although nothing was heard; `None`: only when something is.
    pub fn next_wake(&self, now: Monotonic) -> Option<Monotonic> {
        let me = self.me?;
        let wake = |tier: usize| {
            let deadline = self.deadline(tier)?;
            if deadline > now {
                return Some(deadline);
            }
            if self.may_lead(tier, me) { self.leads[tier].at } else { None }
        };
        let tiers = (0..self.leads.len()).filter(|tier| self.view.resolved(*tier).is_none());
        tiers.filter_map(wake).chain(self.keep_at).min()
    }

    /// The highest tier that is not released yet, as far as this replica may act on it, among those down to `tier`.
    pub fn gated_by(&self, tier: usize) -> Option<usize> {
        (0..=tier).find(|above| !self.passed(*above, *above == tier))
    }

    /// Who is in, of a tier that is decided: in the own slot, or as seen by an onlooker without a seat.
    fn known(&self, tier: usize) -> Option<BitSet> {
        match self.me {
            Some(_) => self.slot.latched.tiers.contains(tier).then(|| self.slot.latched.released.clone()),
            None => self.view.resolved(tier),
        }
    }

    fn passed(&self, tier: usize, own: bool) -> bool {
        let Some(released) = self.known(tier) else { return false };
        let seats = &self.view.roster().tiers()[tier];
        let broken = matches!(seats.outcome(&released), TierOutcome::Broken { .. });
        let released = released.intersection(&seats.members);
        let acted = self.definition.gate == Gate::Decided || own || released.is_subset(self.view.acked());
        !broken && acted
    }

    /// How a generation stands for this replica: in its own tier, or in the lowest one when it is no member. Only what
    /// is in its durable slot counts, except with strict rules; an onlooker without a seat goes by what it sees.
    pub fn progress(&self, generation: u64, now: Monotonic) -> Progress {
        if generation != self.generation() {
            return match self.before.iter().find(|(before, ..)| before.generation() == generation) {
                Some((_, progress, _)) => progress.clone(),
                _ if generation > self.generation() => Progress::Waiting,
                _ => Progress::Superseded { generation: self.generation() },
            };
        }
        if self.view.superseded() {
            return Progress::Superseded { generation: self.view.newest_generation() };
        }
        let roster = self.view.roster();
        let lowest = roster.tiers().len() - 1;
        let own = self.me.and_then(|me| roster.tier_of(me));
        let tier = own.unwrap_or(lowest);
        let mut outcomes = Vec::new();
        for (at, seats) in roster.tiers().iter().enumerate().take(tier + 1) {
            let Some(outcome) = self.known(at).map(|released| seats.outcome(&released)) else { break };
            if let TierOutcome::Broken { missing } = outcome {
                return Progress::Broken { tier: seats.tier, missing };
            }
            outcomes.push((seats.tier, outcome));
        }
        // After the tiers above: else what it is told would depend on which was decided first.
        if outcomes.len() == tier + 1
            && let (Some(me), Some(tier), Some(released)) = (self.me, own, self.known(tier))
            && !released.contains(me)
        {
            let seats = &roster.tiers()[tier];
            return Progress::Late { tier: seats.tier, outcome: seats.outcome(&released) };
        }
        let open = self.gated_by(tier).is_some();
        if outcomes.len() == tier + 1 && !open {
            return Progress::Released { outcomes };
        }
        if !self.expired(tier, now) {
            return Progress::Waiting;
        }
        let members = roster.tiers()[..=tier].iter().fold(BitSet::new(), |all, seats| all.union(&seats.members));
        Progress::Overdue { missing: members.difference(self.view.arrived()) }
    }

    /// What a release from this generation, or the one before, waits for here, when the definition asks for a fence.
    /// `None` while an arrival of those released is not here.
    pub fn fence(&self, generation: u64) -> Option<Fence> {
        if !self.definition.fence {
            return Some(Fence::new());
        }
        let roster = self.view.roster();
        if generation != roster.generation() {
            let before = self.before.iter().find(|(before, ..)| before.generation() == generation);
            return before.and_then(|(_, _, fence)| fence.clone());
        }
        let own = self.me.and_then(|me| roster.tier_of(me));
        let tier = own.unwrap_or(roster.tiers().len() - 1);
        let released = roster.tiers()[..=tier].iter().fold(BitSet::new(), |all, seats| all.union(&seats.members));
        let known = (0..=tier).filter_map(|above| self.known(above)).fold(BitSet::new(), |all, tier| all.union(&tier));
        let released = released.intersection(&known);
        // An arrival may be overwritten by its seat's next generation already: that is fenced with as much or more.
        let of = |seat: usize| match self.view.arrival(seat) {
            Some(arrival) => Some(arrival.fence),
            None => self.view.slot(seat).filter(|slot| slot.generation > generation).map(|slot| slot.fence),
        };
        let fenced = released.iter().map(|seat| Some((roster.seats()[seat].replica, of(seat)?)));
        // Whoever has written nothing is waited for no longer.
        fenced.filter(|fenced| fenced.is_none_or(|(_, upto)| upto != (0, 0))).collect()
    }

    /// The definition.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Its identity.
    pub fn id(&self) -> DefinitionId {
        self.id
    }

    /// The generation this replica is in.
    pub fn generation(&self) -> u64 {
        self.view.roster().generation()
    }

    /// The roster of this generation, or of the one before when this replica was in it.
    pub fn roster_of(&self, generation: u64) -> Option<&Arc<Roster>> {
        let before = self.before.iter().map(|(roster, ..)| roster);
        before.chain([self.view.roster()]).find(|roster| roster.generation() == generation)
    }

    /// What is known of it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// This replica's durable slot: what it publishes, and what it begins with after a restart. May be of the
    /// generation before, while nothing has been written in this one.
    pub fn durable(&self) -> &Slot {
        &self.durable
    }

    pub(super) fn durable_shared(&self) -> Arc<Slot> {
        Arc::clone(&self.durable)
    }

    /// This replica's seat in the generation.
    pub fn seat(&self) -> Option<usize> {
        self.me
    }
}

/// How the generation before a slot's has ended for a replica, as the slot says: it was gone on from, so nothing in it
/// is open or broken. A restart does not make an answer another one.
fn ended(
    definition: &Arc<Definition>,
    replica: ReplicaId,
    slot: &Slot,
) -> Option<(Arc<Roster>, Progress, Option<Fence>)> {
    let (generation, released) = (slot.generation.checked_sub(1)?, slot.previous.as_ref()?);
    let roster = Roster::of(Arc::clone(definition), generation, slot.change_before().clone());
    let own = roster.seat_of(replica).and_then(|seat| Some((seat, roster.tier_of(seat)?)));
    let down_to = own.map_or(roster.tiers().len(), |(_, tier)| tier + 1);
    let progress = match own {
        Some((seat, tier)) if !released.contains(seat) => {
            let seats = &roster.tiers()[tier];
            Progress::Late { tier: seats.tier, outcome: seats.outcome(released) }
        }
        _ => {
            let outcomes = roster.tiers()[..down_to].iter().map(|seats| (seats.tier, seats.outcome(released)));
            Progress::Released { outcomes: outcomes.collect() }
        }
    };
    // Who arrived with what is overwritten by now.
    let fence = (!definition.fence).then(Fence::new);
    Some((Arc::new(roster), progress, fence))
}
