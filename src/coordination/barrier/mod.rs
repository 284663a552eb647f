//! A barrier with tiers: who arrives, who is waited for, and when each tier is released. Layer 3, pure.

mod generations;
mod progress;
mod timers;

use std::{collections::BTreeMap, sync::Arc};

use progress::ended;
pub use progress::{Fence, Progress};
use timers::Lead;

use super::kernel::{
    Arrival, Definition, DefinitionError, DefinitionId, Gate, Malformed, Refusal, Roster, Slot, View, acknowledge,
    arrive, check_roster, check_slot, decline, step,
};
use crate::{
    id::ReplicaId,
    tier::Tier,
    time::{Dice, Monotonic},
};

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
    /// This replica's credential does not reach up to its seat.
    #[error("the seat is in tier {tier}, and {highest} is as high as the credential reaches")]
    TooHigh {
        /// The seat's tier.
        tier: Tier,
        /// The credential's.
        highest: Tier,
    },
    /// Nothing to acknowledge: not released, or not asked for, or done.
    #[error("generation {generation} asks for no acknowledgement now")]
    NothingToAcknowledge {
        /// The current generation.
        generation: u64,
    },
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
    /// Sits in no higher tier than this.
    highest: Tier,
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
            highest: Tier::ALPHA,
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

    /// Leaves its seat empty when it is in a higher tier than `highest`: others would not believe what is said there.
    #[must_use]
    pub fn limited_to(mut self, highest: Tier) -> Self {
        self.highest = highest;
        self.me = self.me.filter(|seat| self.too_high(*seat).is_none());
        self
    }

    /// The tier of a seat that is above what this replica may sit in.
    fn too_high(&self, seat: usize) -> Option<Tier> {
        let roster = self.view.roster();
        roster.tier_of(seat).map(|tier| roster.tiers()[tier].tier).filter(|tier| *tier < self.highest)
    }

    fn own_seat(&self) -> Result<usize, BarrierError> {
        let none = || BarrierError::NoSeat { replica: self.replica, generation: self.generation() };
        match self.view.roster().seat_of(self.replica).and_then(|seat| self.too_high(seat)) {
            Some(tier) => Err(BarrierError::TooHigh { tier, highest: self.highest }),
            None => self.me.ok_or_else(none),
        }
    }

    /// Begins a generation, whose roster is in the view, with one's own slot of it.
    fn sit(&mut self, slot: Arc<Slot>) {
        let roster = Arc::clone(self.view.roster());
        self.me = roster.seat_of(self.replica).filter(|seat| self.too_high(*seat).is_none());
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
        let seat = self.own_seat()?;
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
        let seat = self.own_seat()?;
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

    pub(in crate::coordination) fn durable_shared(&self) -> Arc<Slot> {
        Arc::clone(&self.durable)
    }

    /// This replica's seat in the generation.
    pub fn seat(&self) -> Option<usize> {
        self.me
    }
}
