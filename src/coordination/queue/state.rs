//! One queue as one replica knows it: its items, who holds them, what is sealed. Layer 3, pure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    item::{ClaimRecord, Failure, Intent, ItemRecord, decode_mark, encode_mark},
    line::{Line, Place},
    order::{Buckets, Key},
    register::{Attempt, Register, Verdict},
    seats::Seats,
    seek::{Seeker, Seeking},
};
use crate::{
    coordination::{
        claim::{Change, Claim},
        object::{Plan, QueueRules},
        participant::Write,
    },
    document::{SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    time::{Dice, Hlc, Moment, Monotonic},
};

/// Finished items whose end is kept for applications that ask late.
const FINISHED_KEPT: usize = 4_096;
/// How long an item is left to its owner, and how much at random beyond that.
pub(super) const GRACE: std::time::Duration = std::time::Duration::from_millis(100);

/// What has become of an item, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemEvent {
    /// Somebody holds it.
    Claimed {
        /// Who.
        holder: ReplicaId,
        /// Its token.
        token: u64,
    },
    /// It is done.
    Completed {
        /// The holder's token; 0 for an advisory claim.
        token: u64,
    },
    /// It was given back, and is open again.
    Failed {
        /// The holder's token.
        token: u64,
    },
    /// It was given back, or its holder was lost, for the last time.
    Dead {
        /// The last holder's token.
        token: u64,
    },
    /// It was offered again.
    Requeued,
    /// It was given up.
    Discarded,
}

/// A claim of this replica's application.
#[derive(Debug, Clone)]
pub(super) struct Mine {
    pub(super) token: u64,
    /// The holder counts on its lease until then: it runs from before it asked.
    pub(super) until: Monotonic,
    /// To be done once what is under way is.
    pub(super) next: Option<Change>,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) owner: u16,
    pub(super) register: Register,
    pub(super) mine: Option<Mine>,
    /// Advisory claims of others, and until when they hold.
    pub(super) intents: BTreeMap<u16, (Intent, Monotonic)>,
    /// The ticket of an advisory claim that is on its way to the disk.
    pub(super) intending: Option<u64>,
    pub(super) failure: Option<Failure>,
    /// From when on others than its owner may take it.
    pub(super) steal_at: Option<Monotonic>,
    told: Claim,
    place: Option<Place>,
    wake: Option<Monotonic>,
}

/// See the module `queue`.
#[derive(Debug)]
pub struct Queue {
    pub(super) plan: Arc<Plan>,
    pub(super) rules: QueueRules,
    pub(super) seats: Seats,
    pub(super) replica: ReplicaId,
    pub(super) items: BTreeMap<ObjectId, Item>,
    pub(super) line: Line,
    pub(super) finished: BTreeMap<ObjectId, Claim>,
    finished_order: VecDeque<ObjectId>,
    /// Registers of items that have ended and are not dropped yet: should the records no longer show the end, this
    /// replica says it.
    pub(super) ended: BTreeMap<ObjectId, Register>,
    /// Low marks that count: heard, or own and durable.
    pub(super) marks: BTreeMap<ReplicaId, Hlc>,
    pub(super) own_mark: Hlc,
    pub(super) sealed_below: u64,
    pub(super) seekers: BTreeMap<u64, Seeker>,
    pub(super) next_ticket: u64,
    /// When each seat was last seen to claim.
    pub(super) active: BTreeMap<u16, Monotonic>,
    pub(super) changed: BTreeSet<ObjectId>,
    wakes: BTreeSet<(Monotonic, ObjectId)>,
    wake: Option<Monotonic>,
    pub(super) happenings: Vec<(ObjectId, ItemEvent)>,
    /// Items of this replica that are finished.
    pub(super) closing: Vec<ObjectId>,
}

impl Queue {
    /// The queue of a plan; `mark` is this replica's own low mark, if it has written one.
    pub(super) fn new(plan: Arc<Plan>, rules: QueueRules, replica: ReplicaId, mark: Option<&[u8]>) -> Self {
        let seats = Seats::new(&plan.definition, replica);
        let own_mark = mark.and_then(|bytes| decode_mark(bytes).ok()).unwrap_or_default();
        let mut queue = Self {
            plan,
            rules,
            seats,
            replica,
            items: BTreeMap::new(),
            line: Line::default(),
            finished: BTreeMap::new(),
            finished_order: VecDeque::new(),
            ended: BTreeMap::new(),
            marks: BTreeMap::new(),
            own_mark,
            sealed_below: 0,
            seekers: BTreeMap::new(),
            next_ticket: 1,
            active: BTreeMap::new(),
            changed: BTreeSet::new(),
            wakes: BTreeSet::new(),
            wake: None,
            happenings: Vec::new(),
            closing: Vec::new(),
        };
        queue.marked(replica, own_mark);
        queue
    }

    pub(super) fn object(&self) -> ObjectId {
        self.plan.object()
    }

    pub(super) fn buckets(&self) -> Buckets {
        Buckets { span_ms: self.rules.span_ms }
    }

    /// A member's low mark; false when it has none to give.
    pub(super) fn hear_mark(&mut self, writer: ReplicaId, body: &[u8]) -> bool {
        match decode_mark(body) {
            Ok(mark) if self.seats.is_member(writer) => {
                self.marked(writer, mark);
                true
            }
            _ => false,
        }
    }

    fn marked(&mut self, writer: ReplicaId, mark: Hlc) {
        let known = self.marks.entry(writer).or_default();
        *known = mark.max(*known);
        let sealed = self.buckets().sealed_below(self.seats.members().iter().copied(), &self.marks);
        self.sealed_below = self.sealed_below.max(sealed);
        self.changed.insert(self.object());
    }

    /// The own low mark is durable, and so counts.
    pub(super) fn mark_persisted(&mut self) {
        self.marked(self.replica, self.own_mark);
    }

    /// An item has come, with this replica's own record of it; false when its writer may not push.
    pub(super) fn add(&mut self, id: ObjectId, record: &ItemRecord, own: Option<ClaimRecord>, now: Monotonic) -> bool {
        if !self.seats.is_member(id.holder) {
            return false;
        }
        let key = self.buckets().key(record.stamp, record.tier, record.deadline_ms, id.holder, id.number);
        let owner = self.seats.owner_of(id);
        let register = Register::new(self.seats.view(owner), &self.seats, own, self.rules.lease, now);
        let item = Item {
            key,
            owner,
            mine: None,
            intents: BTreeMap::new(),
            intending: None,
            failure: register.own_failure().cloned(),
            register,
            steal_at: None,
            told: Claim::Free,
            place: None,
            wake: None,
        };
        self.items.insert(id, item);
        self.changed.insert(id);
        true
    }

    /// All records of an item that were here before it have been heard: nothing of them is news.
    pub(super) fn added(&mut self, id: ObjectId) {
        if let Some(item) = self.items.get_mut(&id) {
            item.told = item.register.claim();
        }
    }

    /// Another seat's record of an item; false when it broke a rule.
    pub(super) fn hear(&mut self, id: ObjectId, writer: ReplicaId, body: &[u8], now: Monotonic) -> bool {
        let owner = match self.items.get(&id) {
            Some(item) => item.owner,
            None if self.ended.contains_key(&id) => self.seats.owner_of(id),
            None => return true,
        };
        let (Some(seat), Ok(record)) = (self.seats.seat_of(writer), ClaimRecord::decode(body)) else { return false };
        if self.seats.check(&record.slot, seat, owner).is_err() {
            return false;
        }
        self.changed.insert(id);
        let Some(item) = self.items.get_mut(&id) else {
            if let Some(register) = self.ended.get_mut(&id) {
                register.hear(seat, record.slot, self.rules.lease, now);
            }
            return true;
        };
        if record.slot.proposal.is_some() {
            self.active.insert(seat, now);
        }
        match record.intent.filter(|_| self.seats.is_member(writer)) {
            Some(intent) if item.intents.get(&seat).is_none_or(|(known, _)| *known != intent) => {
                item.intents.insert(seat, (intent, now + self.rules.lease));
            }
            Some(_) => {}
            None => drop(item.intents.remove(&seat)),
        }
        let last = item.failure.as_ref().map_or(0, |failure| failure.token);
        if let Some(failure) = record.failure.filter(|failure| failure.token >= last) {
            item.failure = Some(failure);
        }
        item.register.hear(seat, record.slot, self.rules.lease, now);
        true
    }

    /// This replica's own record of an item is durable.
    pub(super) fn persisted(&mut self, id: ObjectId, now: Monotonic) {
        let item = self.items.get_mut(&id).map(|item| &mut item.register);
        if let Some(register) = item.or_else(|| self.ended.get_mut(&id)) {
            register.persisted(&self.seats, self.rules.lease, now);
            self.changed.insert(id);
        }
    }

    /// What to write next. O(log n) for each item that changed.
    pub(super) fn poll(&mut self, now: Moment, dice: &mut Dice) -> Vec<Write> {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.wakes.remove(&(at, id));
            match self.items.get_mut(&id) {
                Some(item) => item.wake = None,
                None => self.wake = None,
            }
            self.changed.insert(id);
        }
        let mut writes = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            writes.extend(self.poll_item(id, now.mono, dice));
        }
        self.seek(now.mono, dice);
        writes.extend(self.mark(now));
        writes
    }

    fn poll_item(&mut self, id: ObjectId, now: Monotonic, dice: &mut Dice) -> Option<Write> {
        let Some(mut item) = self.items.remove(&id) else {
            let record = self.ended.get_mut(&id)?.last_word(&self.seats)?;
            return Some(Write { key: SlotKey::Of(id, SlotPart::Claim), body: record.encode(), lazy: false });
        };
        let write = self.drive(id, &mut item, now, dice);
        if item.register.claim().is_final() || item.is_done() {
            self.finish(id, item);
        } else {
            self.place(id, &mut item, now);
            self.items.insert(id, item);
        }
        write
    }

    fn drive(&mut self, id: ObjectId, item: &mut Item, now: Monotonic, dice: &mut Dice) -> Option<Write> {
        if let Some((attempt, verdict)) = item.register.conclude(self.seats.me(), now) {
            self.concluded(id, item, &attempt, verdict, now, dice);
        }
        if let Some(ticket) = item.intending.take_if(|_| item.register.intent().is_some()) {
            self.won(ticket, id, item, 0, now);
        }
        self.tell(id, item);
        self.tend(item, now, dice);
        let record = item.register.step(&self.seats, self.rules.lease, now, dice);
        if item.register.attempt().is_some_and(Attempt::is_refused) {
            self.changed.insert(id);
        }
        let body = record?.encode();
        Some(Write { key: SlotKey::Of(id, SlotPart::Claim), body, lazy: false })
    }

    fn concluded(
        &mut self,
        id: ObjectId,
        item: &mut Item,
        attempt: &Attempt,
        verdict: Verdict,
        now: Monotonic,
        dice: &mut Dice,
    ) {
        match (attempt.change, &verdict) {
            (Change::Take { .. }, Verdict::Made(Claim::Held { token, .. })) => {
                if let Some(ticket) = attempt.ticket {
                    self.won(ticket, id, item, *token, attempt.asked_at);
                }
            }
            (Change::Renew { .. }, Verdict::Made(_)) => {
                if let Some(mine) = &mut item.mine {
                    mine.until = attempt.asked_at + self.rules.lease;
                }
            }
            (Change::Take { .. }, _) => {
                self.lost(attempt.ticket);
                item.register.stand_back(now, dice);
            }
            // Others changed it in between, and it is still possible.
            (change, Verdict::Lost) => drop(item.register.want(change, None, now)),
            _ => {}
        }
        if let Some(change) = item.mine.as_mut().and_then(|mine| mine.next.take())
            && !item.register.want(change, None, now)
            && let Some(mine) = &mut item.mine
        {
            mine.next = Some(change);
        }
    }

    /// Tells what has become of an item since it was last told.
    fn tell(&mut self, id: ObjectId, item: &mut Item) {
        let claim = item.register.claim();
        let told = std::mem::replace(&mut item.told, claim);
        if claim == told {
            return;
        }
        let is_mine = |mine: &mut Mine| matches!(claim, Claim::Held { token, .. } if token == mine.token);
        if item.mine.as_mut().is_some_and(|mine| mine.token > 0 && !is_mine(mine)) {
            item.mine = None;
        }
        let event = match claim {
            Claim::Held { token, .. } if token == told.token() => return,
            Claim::Held { holder, token, .. } => ItemEvent::Claimed { holder, token },
            Claim::Returned { token } if claim.is_dead(self.rules.attempts) => ItemEvent::Dead { token },
            Claim::Returned { .. } if told.is_dead(self.rules.attempts) => ItemEvent::Requeued,
            Claim::Returned { token } => ItemEvent::Failed { token },
            Claim::Done { token } => ItemEvent::Completed { token },
            Claim::Discarded { .. } => ItemEvent::Discarded,
            Claim::Free => return,
        };
        item.steal_at = None;
        self.happenings.push((id, event));
    }

    /// What an item needs without anybody asking: one that this replica holds for nobody goes back, and one whose last
    /// holder is lost is dead.
    fn tend(&mut self, item: &mut Item, now: Monotonic, dice: &mut Dice) {
        if item.mine.is_none() && item.intending.is_none() && item.register.intended().is_some_and(|own| !own.done) {
            item.register.intend(None);
        }
        let Claim::Held { holder, token, .. } = item.register.claim() else { return };
        if item.mine.is_some() || item.register.attempt().is_some() || !self.seats.is_member(self.replica) {
            return;
        }
        let is_over = item.register.lease_ends().is_some_and(|ends| ends <= now);
        if holder == self.replica {
            item.register.want(Change::Return { token }, None, now);
        } else if is_over && item.register.claim().is_last(self.rules.attempts) {
            // All members notice at once; who is first by chance does it.
            let at = *item.steal_at.get_or_insert(now + dice.jitter(GRACE * 4));
            if at.max(item.register.contended_until()) <= now {
                item.register.want(Change::Return { token }, None, now);
            }
        }
    }

    fn place(&mut self, id: ObjectId, item: &mut Item, now: Monotonic) {
        let claim = item.register.claim();
        let lease_ends = item.register.lease_ends().filter(|ends| *ends > now);
        let intent_ends = item.intents.values().map(|(_, ends)| *ends).filter(|ends| *ends > now).min();
        let contended = Some(item.register.contended_until()).filter(|until| *until > now);
        let held = matches!(claim, Claim::Held { .. }) && (lease_ends.is_some() || claim.is_last(self.rules.attempts));
        let place = if claim.is_dead(self.rules.attempts) {
            Place::Dead
        } else if held || item.mine.is_some() || intent_ends.is_some() {
            Place::Held
        } else if contended.is_some() || item.register.attempt().is_some() || item.intending.is_some() {
            Place::Open
        } else {
            Place::Ready
        };
        let steal = item.steal_at.filter(|at| *at > now);
        let wakes = [lease_ends, intent_ends, contended, steal, item.register.next_wake()];
        let wake = wakes.into_iter().flatten().min();
        if item.wake != wake {
            item.wake.map(|at| self.wakes.remove(&(at, id)));
            self.wakes.extend(wake.map(|at| (at, id)));
            item.wake = wake;
        }
        if item.place != Some(place) {
            self.line.put(&item.key, id, place, Some(item.owner) == self.seats.me());
            item.place = Some(place);
        }
    }

    fn finish(&mut self, id: ObjectId, item: Item) {
        self.forget(id, &item);
        let claim = item.register.claim();
        if !claim.is_final() {
            self.happenings.push((id, ItemEvent::Completed { token: 0 }));
        }
        self.finished.insert(id, if claim.is_final() { claim } else { Claim::Done { token: 0 } });
        self.finished_order.push_back(id);
        if self.finished_order.len() > FINISHED_KEPT
            && let Some(oldest) = self.finished_order.pop_front()
        {
            self.finished.remove(&oldest);
        }
        if id.holder == self.replica {
            self.closing.push(id);
        }
        if claim.is_final() {
            self.ended.insert(id, item.register);
            self.changed.insert(id);
        }
    }

    fn forget(&mut self, id: ObjectId, item: &Item) {
        self.line.remove(&item.key, id);
        item.wake.map(|at| self.wakes.remove(&(at, id)));
        let ticket = item.register.attempt().and_then(|attempt| attempt.ticket).or(item.intending);
        self.lost(ticket);
    }

    /// An item is finished everywhere.
    pub(super) fn drop_item(&mut self, id: ObjectId) {
        self.ended.remove(&id);
        if let Some(item) = self.items.remove(&id) {
            self.forget(id, &item);
        }
    }

    fn won(&mut self, ticket: u64, id: ObjectId, item: &mut Item, token: u64, asked_at: Monotonic) {
        match self.seekers.get_mut(&ticket) {
            Some(seeker) => {
                seeker.state = Seeking::Won(id);
                item.mine = Some(Mine { token, until: asked_at + self.rules.lease, next: None });
            }
            None if token == 0 => item.register.intend(None),
            // Nobody wants it any more: it is tended to.
            None => {}
        }
    }

    /// Publishes a low mark once a bucket with items has ended by this member's clock: an idle queue is silent.
    fn mark(&mut self, now: Moment) -> Option<Write> {
        if !self.seats.is_member(self.replica) {
            return None;
        }
        let (buckets, own) = (self.buckets(), self.buckets().of(self.own_mark));
        let (key, _) = self.line.order().range(Key::first_of(own)..).next()?;
        let ends_ms = (key.bucket() + 1).saturating_mul(buckets.span_ms.max(1));
        if ends_ms > now.wall_ms {
            let left = std::time::Duration::from_millis((ends_ms - now.wall_ms).min(86_400_000));
            self.wake_at(now.mono + left);
            return None;
        }
        self.own_mark = self.own_mark.max(Hlc(now.wall_ms << 16));
        let key = SlotKey::Of(self.object(), SlotPart::Mark);
        Some(Write { key, body: encode_mark(self.own_mark), lazy: true })
    }

    /// A stamp for a new item: never below what this member has promised.
    pub(super) fn stamp(&self, clock: Hlc) -> Hlc {
        clock.max(Hlc(self.own_mark.0 + 1))
    }

    /// Looks again at that time, or earlier.
    pub(super) fn wake_at(&mut self, at: Monotonic) {
        if self.wake.is_some_and(|wake| wake <= at) {
            return;
        }
        let object = self.object();
        self.wake.map(|later| self.wakes.remove(&(later, object)));
        self.wakes.insert((at, object));
        self.wake = Some(at);
    }

    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        self.wakes.first().map(|(at, _)| *at)
    }
}

impl Item {
    /// The value of its register, as far as known here.
    pub(super) fn claim(&self) -> Claim {
        self.register.claim()
    }

    /// It was put elsewhere than it belongs: it is put anew when it is polled.
    pub(super) fn replaced(&mut self) {
        self.place = None;
    }

    /// Somebody with an advisory claim has done it.
    fn is_done(&self) -> bool {
        let own = self.register.intent();
        self.intents.values().map(|(intent, _)| intent).chain(own.as_ref()).any(|intent| intent.done)
    }
}
