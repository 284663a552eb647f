//! One object whose members meet: a barrier, an epoch, a poll or a decision, as one replica sees it. Layer 3, pure.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    barrier::{BarrierError, Fence, Progress, TieredBarrier},
    epoch::frontier,
    kernel::{Arrival, BitSet, Gate, Own, Refusal, Slot},
    object::{Plan, PlanError, Purpose, decode_slot, encode_slot},
    participant::{CoordinationCounters, Write, is_final},
    poll::{PollOutcome, agreed_votes, decision, vote_of},
    standing::Standing,
};
use crate::{
    document::{Document, SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    tier::Tier,
    time::{Dice, Monotonic},
};

/// Generations whose outcome is kept for applications that ask late.
const GENERATIONS_KEPT: usize = 16;

/// One object, and how its last generations ended here.
#[derive(Debug)]
pub struct Meeting {
    plan: Arc<Plan>,
    fingerprint: u64,
    barrier: TieredBarrier,
    began: Monotonic,
    ended: BTreeMap<u64, (Standing, Fence)>,
    wake: Option<Monotonic>,
    /// What was decided, once it is, and the poll's outcome.
    decided: Option<Option<Bytes>>,
    closed: bool,
    shown: Face,
}

/// What those who wait look at, apart from how generations ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Face {
    generation: u64,
    frontier: u64,
    is_overdue: bool,
    is_decided: bool,
}

impl Meeting {
    pub(super) fn new(
        plan: Arc<Plan>,
        replica: ReplicaId,
        own: Option<&[u8]>,
        highest: Tier,
        now: Monotonic,
    ) -> Result<Self, PlanError> {
        let fingerprint = plan.fingerprint();
        let durable = match own.map(|body| decode_slot(fingerprint, body)) {
            Some(Ok(slot)) => slot,
            // Its own record is of another plan under the same number: it takes no part in this one.
            Some(Err(error)) => return Err(PlanError::Unreadable(error.to_string())),
            None => None,
        };
        let barrier = TieredBarrier::new(Arc::new(plan.definition.clone()), replica, durable)?.limited_to(highest);
        Ok(Self {
            plan,
            fingerprint,
            barrier,
            began: now,
            ended: BTreeMap::new(),
            wake: None,
            decided: None,
            closed: false,
            shown: Face::default(),
        })
    }

    /// False when the record's writer broke a rule.
    pub(super) fn hear(&mut self, writer: ReplicaId, body: &[u8], now: Monotonic) -> bool {
        match decode_slot(self.fingerprint, body) {
            Ok(Some(slot)) => self.barrier.hear(writer, slot, now).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    pub(super) fn poll(&mut self, now: Monotonic, dice: &mut Dice) -> Option<(Write, CoordinationCounters)> {
        let quiet = self.quiet(now);
        let old = self.barrier.durable_shared();
        let slot = self.barrier.poll(now, dice, |replica| quiet.contains(&replica))?;
        let counts = counted(&old, &slot);
        Some((self.write(&old, &slot), counts))
    }

    /// Those of whom nothing was heard in this generation when its time is up: they do not lead, it is assumed.
    fn quiet(&self, now: Monotonic) -> Vec<ReplicaId> {
        let roster = self.barrier.view().roster();
        if (0..roster.tiers().len()).all(|tier| !self.barrier.expired(tier, now)) {
            return Vec::new();
        }
        let seats = roster.seats().iter().enumerate();
        seats.filter(|(seat, _)| self.barrier.view().current(*seat).is_none()).map(|(_, named)| named.replica).collect()
    }

    fn write(&self, old: &Slot, slot: &Slot) -> Write {
        let body = encode_slot(self.fingerprint, slot).into();
        let lazy = !self.is_urgent(old, slot);
        Write { key: SlotKey::Of(self.object(), SlotPart::Slot), body, lazy }
    }

    /// True when somebody may wait for what is new in a slot.
    ///
    /// Nobody does for outcomes, which all see for themselves. Nor for the echoes of more acceptors than need be reached:
    /// of the first `2 f + 1`, `f + 1` can be whenever the barrier can go on at all, and that many fix an arrival. The
    /// others' are durable as soon, for their own release, and travel with their next record: else every arrival would
    /// cause one of each member to each. O(n / 64).
    fn is_urgent(&self, old: &Slot, new: &Slot) -> bool {
        let roster = self.barrier.view().roster();
        let rank =
            self.barrier.seat().and_then(|seat| roster.acceptors().iter().position(|acceptor| *acceptor == seat));
        let is_needed = rank.is_none_or(|rank| rank + 1 < 2 * roster.rules().echoes);
        let mut kept = Slot { latched: new.latched.clone(), ..old.clone() };
        if !is_needed {
            kept.yes.clone_from(&new.yes);
            kept.no.clone_from(&new.no);
        }
        kept != *new
    }

    pub(super) fn persisted(&mut self) {
        self.barrier.persisted();
    }

    pub(super) fn arrive(&mut self, arrival: Arrival, now: Monotonic) -> Result<(u64, Write), BarrierError> {
        self.check_turn()?;
        let old = self.barrier.durable().clone();
        let slot = self.barrier.arrive(arrival, now)?;
        Ok((slot.generation, self.write(&old, &slot)))
    }

    pub(super) fn decline(&mut self, now: Monotonic) -> Result<(u64, Write), BarrierError> {
        self.check_turn()?;
        let old = self.barrier.durable().clone();
        let slot = self.barrier.decline(now)?;
        Ok((slot.generation, self.write(&old, &slot)))
    }

    /// What is over after one generation has no next one to arrive in.
    fn check_turn(&self) -> Result<(), Refusal> {
        let generation = self.barrier.generation();
        let own = self.barrier.seat().and_then(|seat| self.barrier.view().current(seat)).map(|slot| &slot.own);
        match own {
            Some(Own::Arrived(_)) if self.plan.is_once() => Err(Refusal::Arrived(generation)),
            Some(Own::Declined) if self.plan.is_once() => Err(Refusal::Declined(generation)),
            _ => Ok(()),
        }
    }

    pub(super) fn acknowledge(&mut self) -> Result<Write, BarrierError> {
        let old = self.barrier.durable().clone();
        let slot = self.barrier.acknowledge()?;
        Ok(self.write(&old, &slot))
    }

    /// Notes what has ended, and says what of that is new; and whether anything is that somebody may wait for.
    pub(super) fn settle(&mut self, document: &Document, now: Monotonic) -> (Vec<(u64, Standing)>, bool) {
        let current = self.barrier.generation();
        let mut new = Vec::new();
        for generation in current.saturating_sub(1)..=current {
            if self.ended.contains_key(&generation) {
                continue;
            }
            let Some(roster) = self.barrier.roster_of(generation) else { continue };
            let progress = self.barrier.progress(generation, now);
            if !is_final(&progress) {
                continue;
            }
            let (progress, fence) = match (progress, self.barrier.fence(generation)) {
                (progress @ Progress::Released { .. }, Some(fence)) => (progress, fence),
                // What it waits for is not known yet, or not to be had any more.
                (Progress::Released { .. }, None) if generation == current => continue,
                (Progress::Released { .. }, None) => (Progress::Superseded { generation: current }, Fence::new()),
                (progress, _) => (progress, Fence::new()),
            };
            let standing = Standing::of(progress, roster);
            let fence = if is_here(document, &fence) { Fence::new() } else { fence };
            self.ended.insert(generation, (standing.clone(), fence));
            new.push((generation, standing));
        }
        while self.ended.len() > GENERATIONS_KEPT {
            self.ended.pop_first();
        }
        if self.decided.is_none() && self.plan.purpose == Purpose::Decision {
            self.decided = decision(self.barrier.view()).and_then(|value| match value {
                Some(hash) => self.payload(document, hash).map(Some),
                None => Some(None),
            });
        }
        let face = self.face(now);
        let is_news = face != self.shown || !new.is_empty() || matches!(self.plan.purpose, Purpose::Poll { .. });
        self.shown = face;
        (new, is_news)
    }

    fn face(&self, now: Monotonic) -> Face {
        let view = self.barrier.view();
        let mut tiers = 0..view.roster().tiers().len();
        Face {
            generation: self.barrier.generation(),
            frontier: if matches!(self.plan.purpose, Purpose::Epoch { .. }) { frontier(&self.barrier) } else { 0 },
            is_overdue: tiers.any(|tier| self.barrier.expired(tier, now) && view.resolved(tier).is_none()),
            is_decided: self.decided.is_some(),
        }
    }

    /// The value a member handed over, by its hash.
    fn payload(&self, document: &Document, hash: [u8; 32]) -> Option<Bytes> {
        use sha2::{Digest as _, Sha256};
        let payloads = document.slots_of(self.object()).filter(|(part, _, _)| *part == SlotPart::Payload);
        let mut bodies = payloads.map(|(_, _, body)| body);
        bodies.find(|body| <[u8; 32]>::from(Sha256::digest(body)) == hash).cloned()
    }

    /// When to poll next, when that is not what was said before.
    pub(super) fn rewake(&mut self, now: Monotonic) -> Option<Monotonic> {
        let wake = self.barrier.next_wake(now);
        let new = wake.filter(|_| wake != self.wake);
        self.wake = wake;
        new
    }

    /// True when it is over and every member knows how it ended: its records serve nobody any more.
    pub(super) fn is_finished(&self) -> bool {
        let view = self.barrier.view();
        let roster = view.roster();
        let all = BitSet::full(roster.tiers().len());
        let acks = self.plan.definition.gate == Gate::Acked;
        let knows = |seat: usize| {
            view.slot(seat).is_some_and(|slot| {
                let owes = acks && slot.latched.released.contains(seat) && !slot.acked;
                slot.generation > roster.generation() || slot.latched.tiers == all && !owes
            })
        };
        self.plan.is_once() && (0..roster.members()).all(knows)
    }

    /// How a generation stands for this replica. A release is told once all that the released had written before they
    /// arrived is here, when the definition asks for that.
    pub fn standing(&self, document: &Document, generation: u64, now: Monotonic) -> Standing {
        if let Some((standing, fence)) = self.ended.get(&generation) {
            return if is_here(document, fence) { standing.clone() } else { Standing::Waiting };
        }
        if self.closed {
            return Standing::Closed;
        }
        match self.barrier.roster_of(generation) {
            // Not noted yet: see `settle`.
            Some(roster) => match Standing::of(self.barrier.progress(generation, now), roster) {
                Standing::Released(_) => Standing::Waiting,
                standing => standing,
            },
            None if generation > self.barrier.generation() => Standing::Waiting,
            None => Standing::Superseded { newest: self.barrier.generation() },
        }
    }

    /// False while a release is held back for what is not here.
    pub(super) fn has_what_it_waits_for(&mut self, document: &Document) -> bool {
        let mut fences = self.ended.values_mut().map(|(_, fence)| fence).filter(|fence| !fence.is_empty());
        fences.all(|fence| {
            let here = is_here(document, fence);
            if here {
                // What is here stays here: it is not looked for again.
                fence.clear();
            }
            here
        })
    }

    /// Keeps how it ended, and nothing else of use.
    pub(super) fn into_ended(mut self) -> Self {
        self.closed = true;
        self
    }

    /// How the votes of a poll stand; `None` for anything else.
    pub fn poll_outcome(&self) -> Option<PollOutcome> {
        let poll = self.plan.poll().ok().flatten()?;
        let view = self.barrier.view();
        if matches!(self.plan.purpose, Purpose::Poll { closable: true, .. }) {
            return Some(agreed_votes(view).map_or(PollOutcome::Pending, |votes| poll.closed(&votes)));
        }
        let roster = view.roster();
        let vote = |seat: usize| Some((roster.seats()[seat].replica, vote_of(view.arrival(seat)?.payload?)?));
        Some(poll.outcome(&(0..roster.members()).filter_map(vote).collect()))
    }

    /// What was decided: `None` until it is known, or for anything but a decision; `Some(None)` when nobody who was in
    /// has proposed anything.
    pub fn decided(&self) -> Option<Option<&Bytes>> {
        self.decided.as_ref().map(Option::as_ref)
    }

    /// Its definition and what it is for.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(super) fn is_queue(&self) -> bool {
        matches!(self.plan.purpose, Purpose::Queue(_))
    }

    /// Which it is.
    pub fn object(&self) -> ObjectId {
        self.plan.object()
    }

    /// The barrier that its members go through.
    pub fn barrier(&self) -> &TieredBarrier {
        &self.barrier
    }

    /// When its definition was first seen here.
    pub fn began(&self) -> Monotonic {
        self.began
    }
}

fn is_here(document: &Document, fence: &Fence) -> bool {
    let version = document.version();
    fence.iter().all(|(replica, (content, records))| {
        version.content.get(*replica) >= *content && version.records.get(*replica) >= *records
    })
}

fn counted(old: &Slot, new: &Slot) -> CoordinationCounters {
    let fresh = |new: &BitSet, old: &BitSet| new.difference(old).len() as u64;
    let same = old.generation == new.generation;
    let nothing = BitSet::new();
    let (yes, no) = if same { (&old.yes, &old.no) } else { (&nothing, &nothing) };
    let proposed =
        |slot: &Slot| slot.tiers.iter().filter_map(|tier| tier.proposal.as_ref().map(|own| own.ballot)).max();
    let ballots = u64::from(proposed(new) > if same { proposed(old) } else { None });
    CoordinationCounters { echoes: fresh(&new.yes, yes) + fresh(&new.no, no), ballots, ..Default::default() }
}
