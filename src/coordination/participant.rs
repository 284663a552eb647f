//! One replica's part in all coordination of one document. Layer 3, pure.
//!
//! It hears the document's coordination records, says which of its own are to be written, and keeps how everything it
//! took part in ended. Whoever drives it (a room of the node):
//!
//! 1. gives it the records that changed: [`Participant::observe`];
//! 2. asks for writes until there are none: [`Participant::poll`], writes them into the document and tells their numbers:
//!    [`Participant::wrote`];
//! 3. tells it when these are durable: [`Participant::persisted`]; only then they count, here and elsewhere;
//! 4. comes back at [`Participant::next_wake`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    barrier::{BarrierError, Progress},
    kernel::{Arrival, Refusal, Slot},
    meeting::Meeting,
    object::Plan,
    standing::Standing,
};
use crate::{
    document::{Closed, Document, SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    time::{Dice, Monotonic},
};

/// How long the holder of finished objects waits for more before it tells that they are finished: one record for all.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// So many finished objects do not wait.
const CLOSE_MANY: usize = 256;
/// Ended objects whose outcome is kept for applications that ask late.
const ENDED_KEPT: usize = 4_096;

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it is about.
    pub key: SlotKey,
    /// What it says.
    pub body: Bytes,
    /// Nobody waits for it: it may travel with the next one.
    pub lazy: bool,
}

/// What has become of an object. For the application, and for counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// Its definition is here.
    Defined(Arc<Plan>),
    /// Something of it is new here: whoever waits looks again.
    Changed,
    /// One of its generations ended for this replica.
    Ended {
        /// Which.
        generation: u64,
        /// How.
        standing: Standing,
    },
    /// It is finished everywhere, and its records are gone.
    Closed,
}

/// Counts since the start of a participant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CoordinationCounters {
    /// Arrivals written.
    pub arrivals: u64,
    /// Echoes written.
    pub echoes: u64,
    /// Ballots begun.
    pub ballots: u64,
    /// Records of peers that say nothing, because their writers broke a rule.
    pub malformed: u64,
    /// Objects finished and dropped.
    pub closed: u64,
}

impl CoordinationCounters {
    /// Adds another's counts.
    pub fn add(&mut self, other: Self) {
        self.arrivals += other.arrivals;
        self.echoes += other.echoes;
        self.ballots += other.ballots;
        self.malformed += other.malformed;
        self.closed += other.closed;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Participant {
    replica: ReplicaId,
    meetings: BTreeMap<ObjectId, Meeting>,
    /// Objects to be polled.
    changed: BTreeSet<ObjectId>,
    wakes: BTreeSet<(Monotonic, ObjectId)>,
    /// Records on their way to the disk: whose they are, by number.
    in_flight: BTreeMap<u64, ObjectId>,
    /// How objects ended that are gone.
    ended: BTreeMap<ObjectId, Meeting>,
    ended_order: VecDeque<ObjectId>,
    own_closed: Closed,
    closing: Vec<ObjectId>,
    close_at: Option<Monotonic>,
    happenings: Vec<(ObjectId, Happening)>,
    counters: CoordinationCounters,
}

impl Participant {
    /// The part of the document's replica, from what is in the document.
    pub fn new(document: &Document, now: Monotonic) -> Self {
        let mut participant = Self {
            replica: document.replica(),
            meetings: BTreeMap::new(),
            changed: BTreeSet::new(),
            wakes: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_order: VecDeque::new(),
            own_closed: Closed::default(),
            closing: Vec::new(),
            close_at: None,
            happenings: Vec::new(),
            counters: CoordinationCounters::default(),
        };
        if let Some(closed) = document.slot(SlotKey::Closed, participant.replica) {
            participant.own_closed = Closed::decode(closed).unwrap_or_default();
        }
        let definitions = document.slots().map(|(key, writer, _)| (key, writer));
        let definitions = definitions.filter(|(key, _)| matches!(key, SlotKey::Of(_, SlotPart::Definition)));
        participant.observe(document, &definitions.collect::<Vec<_>>(), false, now);
        participant
    }

    /// Takes in records that changed in the document; `newly_closed` when objects were finished.
    pub fn observe(
        &mut self,
        document: &Document,
        changed: &[(SlotKey, ReplicaId)],
        newly_closed: bool,
        now: Monotonic,
    ) {
        for (key, writer) in changed {
            let SlotKey::Of(object, part) = *key else { continue };
            let Some(body) = document.slot(*key, *writer) else { continue };
            match part {
                SlotPart::Definition if *writer == object.holder => self.defined(document, object, body, now),
                SlotPart::Slot if *writer != self.replica => self.heard(object, *writer, body, now),
                _ => {}
            }
            self.changed.insert(object);
        }
        if newly_closed {
            let closed = document.closed();
            let gone: Vec<ObjectId> = self.meetings.keys().copied().filter(|object| closed.contains(*object)).collect();
            for object in gone {
                // What was heard just now may have ended it.
                self.settle(document, object, now);
                self.end(object);
            }
        }
    }

    fn defined(&mut self, document: &Document, object: ObjectId, body: &[u8], now: Monotonic) {
        if self.meetings.contains_key(&object) {
            return;
        }
        let Ok(plan) = Plan::decode(body, object) else {
            self.counters.malformed += 1;
            return;
        };
        let plan = Arc::new(plan);
        let own = document.slot(SlotKey::Of(object, SlotPart::Slot), self.replica);
        let Ok(meeting) = Meeting::new(plan.clone(), self.replica, own.map(|body| &**body), now) else {
            self.counters.malformed += 1;
            return;
        };
        self.meetings.insert(object, meeting);
        self.happenings.push((object, Happening::Defined(plan)));
        // Slots may have come before their definition.
        for (part, writer, body) in document.slots_of(object) {
            if part == SlotPart::Slot && writer != self.replica {
                self.heard(object, writer, body, now);
            }
        }
    }

    fn heard(&mut self, object: ObjectId, writer: ReplicaId, body: &[u8], now: Monotonic) {
        if let Some(meeting) = self.meetings.get_mut(&object)
            && !meeting.hear(writer, body, now)
        {
            self.counters.malformed += 1;
        }
    }

    /// What to write next; empty when nothing is. Call until it is.
    pub fn poll(&mut self, document: &Document, now: Monotonic, dice: &mut Dice) -> Vec<Write> {
        while let Some((at, object)) = self.wakes.first().copied() {
            if at > now {
                break;
            }
            self.wakes.pop_first();
            self.changed.insert(object);
        }
        let mut writes = Vec::new();
        for object in std::mem::take(&mut self.changed) {
            let Some(meeting) = self.meetings.get_mut(&object) else { continue };
            if let Some((write, counts)) = meeting.poll(now, dice) {
                self.counters.add(counts);
                writes.push(write);
            }
            self.settle(document, object, now);
        }
        writes.extend(self.close_due(now));
        writes
    }

    /// What the application may now know of an object; when to look at it again.
    fn settle(&mut self, document: &Document, object: ObjectId, now: Monotonic) {
        let Some(meeting) = self.meetings.get_mut(&object) else { return };
        for (generation, standing) in meeting.settle(document, now) {
            self.happenings.push((object, Happening::Ended { generation, standing }));
        }
        self.happenings.push((object, Happening::Changed));
        if let Some(at) = meeting.rewake(now) {
            self.wakes.insert((at, object));
        }
        if meeting.is_finished() && object.holder == self.replica && !self.closing.contains(&object) {
            self.closing.push(object);
            self.close_at.get_or_insert(now + CLOSE_WAIT);
        }
    }

    fn close_due(&mut self, now: Monotonic) -> Option<Write> {
        let due = self.close_at.is_some_and(|at| at <= now) || self.closing.len() >= CLOSE_MANY;
        if !due {
            return None;
        }
        self.close_at = None;
        if self.closing.is_empty() {
            // Somebody else has finished them first.
            return None;
        }
        for object in std::mem::take(&mut self.closing) {
            self.own_closed.insert(object);
        }
        Some(Write { key: SlotKey::Closed, body: self.own_closed.encode().into(), lazy: true })
    }

    /// The writes of one [`Self::poll`] (or of a wish) are in the document, the last of them under number `upto`.
    pub fn wrote(&mut self, writes: &[Write], upto: u64) {
        let first = upto + 1 - writes.len() as u64;
        for (number, write) in (first..).zip(writes) {
            if let SlotKey::Of(object, SlotPart::Slot) = write.key {
                self.in_flight.insert(number, object);
            }
        }
    }

    /// Own records up to this number are durable: what they say counts from now on.
    pub fn persisted(&mut self, document: &Document, upto: u64, now: Monotonic) {
        let later = self.in_flight.split_off(&(upto + 1));
        for object in std::mem::replace(&mut self.in_flight, later).into_values() {
            if let Some(meeting) = self.meetings.get_mut(&object) {
                meeting.persisted();
                self.settle(document, object, now);
                self.changed.insert(object);
            }
        }
    }

    /// True while records are on their way to the disk, or something is to be polled.
    pub fn is_busy(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The member arrives. Returns the generation and what to write.
    ///
    /// # Errors
    /// As [`TieredBarrier::arrive`](super::barrier::TieredBarrier::arrive).
    pub fn arrive(
        &mut self,
        object: ObjectId,
        arrival: Arrival,
        payload: Option<Bytes>,
        now: Monotonic,
    ) -> Result<(u64, Vec<Write>), ParticipantError> {
        let meeting = self.meeting_mut(object)?;
        let (generation, write) = meeting.arrive(arrival, now)?;
        self.counters.arrivals += 1;
        self.changed.insert(object);
        let payload = payload.map(|body| Write { key: SlotKey::Of(object, SlotPart::Payload), body, lazy: false });
        Ok((generation, payload.into_iter().chain([write]).collect()))
    }

    /// The member will not come. Returns the generation and what to write.
    ///
    /// # Errors
    /// As [`Self::arrive`].
    pub fn decline(&mut self, object: ObjectId, now: Monotonic) -> Result<(u64, Vec<Write>), ParticipantError> {
        let (generation, write) = self.meeting_mut(object)?.decline(now)?;
        self.changed.insert(object);
        Ok((generation, vec![write]))
    }

    /// The member has acted on its release.
    ///
    /// # Errors
    /// As [`TieredBarrier::acknowledge`](super::barrier::TieredBarrier::acknowledge).
    pub fn acknowledge(&mut self, object: ObjectId) -> Result<Vec<Write>, ParticipantError> {
        let write = self.meeting_mut(object)?.acknowledge()?;
        self.changed.insert(object);
        Ok(vec![write])
    }

    /// Finishes an object for everybody, decided or not: its records are dropped everywhere, and those who still wait
    /// learn that it is gone.
    pub fn clean_up(&mut self, object: ObjectId, now: Monotonic) {
        if !self.closing.contains(&object) {
            self.closing.push(object);
        }
        self.close_at = Some(now);
    }

    fn end(&mut self, object: ObjectId) {
        let Some(meeting) = self.meetings.remove(&object) else { return };
        self.counters.closed += 1;
        self.in_flight.retain(|_, of| *of != object);
        self.closing.retain(|closing| *closing != object);
        self.happenings.push((object, Happening::Closed));
        self.ended.insert(object, meeting.into_ended());
        self.ended_order.push_back(object);
        if self.ended_order.len() > ENDED_KEPT
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    fn meeting_mut(&mut self, object: ObjectId) -> Result<&mut Meeting, ParticipantError> {
        self.meetings.get_mut(&object).ok_or(ParticipantError::Unknown { object })
    }

    /// An object that is not finished.
    pub fn meeting(&self, object: ObjectId) -> Option<&Meeting> {
        self.meetings.get(&object)
    }

    /// An object, also when it is finished (the last few thousand).
    pub fn meeting_or_ended(&self, object: ObjectId) -> Option<&Meeting> {
        self.meetings.get(&object).or_else(|| self.ended.get(&object))
    }

    /// All objects that are not finished.
    pub fn meetings(&self) -> impl Iterator<Item = &Meeting> {
        self.meetings.values()
    }

    /// Objects of a name that are not finished, oldest number of each holder first.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Meeting> {
        self.meetings.values().filter(move |meeting| meeting.plan().definition.name == name)
    }

    /// What happened since the last call.
    pub fn take_happenings(&mut self) -> Vec<(ObjectId, Happening)> {
        std::mem::take(&mut self.happenings)
    }

    /// Counts since the start.
    pub fn counters(&self) -> CoordinationCounters {
        self.counters
    }

    /// When to poll again although nothing was heard.
    pub fn next_wake(&self) -> Option<Monotonic> {
        self.wakes.first().map(|(at, _)| *at).into_iter().chain(self.close_at).min()
    }
}

/// Why an application's wish is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParticipantError {
    /// No definition of it is here, or it is finished.
    #[error("{object} is not known here: not defined yet, or finished and cleaned up")]
    Unknown {
        /// The object.
        object: ObjectId,
    },
    /// The barrier refuses.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

impl ParticipantError {
    /// True when the same wish may succeed once more of this replica's own records are durable.
    pub fn is_writing(&self) -> bool {
        matches!(self, Self::Barrier(BarrierError::Writing))
    }

    /// True when the member has spoken in this generation already.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::Barrier(BarrierError::Refused(Refusal::Arrived(_) | Refusal::Declined(_))))
    }
}

/// What of a slot is new to those who wait: `None` when it only keeps an outcome.
pub(super) fn is_urgent(old: &Slot, new: &Slot) -> bool {
    let kept = Slot { latched: new.latched.clone(), ..old.clone() };
    kept != *new
}

/// True for what does not change any more.
pub(super) fn is_final(progress: &Progress) -> bool {
    !matches!(progress, Progress::Waiting | Progress::Overdue { .. })
}
