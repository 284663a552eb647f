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
    kernel::{Arrival, Refusal},
    meeting::Meeting,
    object::Plan,
    queue::{ItemEvent, Queue, QueueError, Queues},
    standing::Standing,
    tally::Tally,
};
use crate::{
    document::{Closed, Confines, Document, SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    limits,
    tier::Tier,
    time::{Dice, Moment, Monotonic},
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
    /// Somebody arrived, or took part otherwise, and that alone changes nothing anybody waits for.
    Heard,
    /// Something of it is new here: whoever waits looks again.
    Changed,
    /// One of its generations ended for this replica.
    Ended {
        /// Which.
        generation: u64,
        /// How.
        standing: Standing,
        /// How long after the first arrival heard of here.
        took: Duration,
    },
    /// Something became of an item of this queue.
    Item {
        /// Which.
        item: ObjectId,
        /// What.
        event: ItemEvent,
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
    queues: Queues,
    closing: BTreeSet<ObjectId>,
    close_at: Option<Monotonic>,
    /// Released, but what the others wrote before is not here yet.
    fenced: BTreeSet<ObjectId>,
    happenings: Vec<(ObjectId, Happening)>,
    counters: CoordinationCounters,
    tally: Tally,
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
            queues: Queues::new(document.replica()),
            closing: BTreeSet::new(),
            close_at: None,
            fenced: BTreeSet::new(),
            happenings: Vec::new(),
            counters: CoordinationCounters::default(),
            tally: Tally::default(),
        };
        if let Some(closed) = document.slot(SlotKey::Closed, participant.replica) {
            participant.own_closed = Closed::decode(closed).unwrap_or_default();
        }
        let definitions = document.slots().map(|(key, writer, _)| (key, writer));
        let definitions =
            definitions.filter(|(key, _)| matches!(key, SlotKey::Of(_, SlotPart::Definition | SlotPart::Item)));
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
                SlotPart::Item | SlotPart::Claim | SlotPart::Mark => {
                    let heard = self.queues.heard(document, object, part, *writer, now);
                    self.counters.malformed += u64::from(!heard);
                    continue;
                }
                _ => {}
            }
            self.changed.insert(object);
        }
        let meetings = &mut self.meetings;
        let met =
            |object: &ObjectId| meetings.get_mut(object).is_none_or(|meeting| meeting.has_what_it_waits_for(document));
        for object in self.fenced.extract_if(.., met) {
            self.happenings.push((object, Happening::Changed));
        }
        if newly_closed {
            let closed = document.closed();
            let gone: Vec<ObjectId> = self.meetings.keys().copied().filter(|object| closed.contains(*object)).collect();
            for object in gone {
                // What was heard just now may have ended it.
                self.settle(document, object, now);
                self.end(object);
            }
            self.queues.close(document);
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
        let highest = document.confines().map_or(Tier::ALPHA, Confines::tier);
        let Ok(meeting) = Meeting::new(plan.clone(), self.replica, own.map(|body| &**body), highest, now) else {
            self.counters.malformed += 1;
            return;
        };
        self.meetings.insert(object, meeting);
        self.queues.defined(document, &plan, now);
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
    pub fn poll(&mut self, document: &Document, moment: Moment, dice: &mut Dice) -> Vec<Write> {
        let now = moment.mono;
        while let Some((at, object)) = self.wakes.first().copied() {
            if at > now {
                break;
            }
            self.wakes.pop_first();
            self.changed.insert(object);
        }
        let mut writes = Vec::new();
        for object in std::mem::take(&mut self.changed) {
            // Nobody meets at a queue.
            let Some(meeting) = self.meetings.get_mut(&object).filter(|meeting| !meeting.is_queue()) else { continue };
            if let Some((write, counts)) = meeting.poll(now, dice) {
                self.counters.add(counts);
                writes.push(write);
            }
            self.settle(document, object, now);
        }
        let (more, touched) = self.queues.poll(moment, dice);
        writes.extend(more);
        let items = self.queues.take_happenings().into_iter();
        self.happenings.extend(items.map(|(queue, item, event)| (queue, Happening::Item { item, event })));
        self.happenings.extend(touched.into_iter().map(|queue| (queue, Happening::Changed)));
        for item in self.queues.take_closing() {
            self.finish(item, now);
        }
        writes.extend(self.close_due(now));
        writes
    }

    fn finish(&mut self, object: ObjectId, now: Monotonic) {
        if self.closing.insert(object) {
            self.close_at.get_or_insert(now + CLOSE_WAIT);
        }
    }

    /// What the application may now know of an object; when to look at it again.
    fn settle(&mut self, document: &Document, object: ObjectId, now: Monotonic) {
        let Some(meeting) = self.meetings.get_mut(&object) else { return };
        let took = meeting.barrier().begun().map_or(Duration::ZERO, |begun| now.since(begun));
        let (ended, is_news) = meeting.settle(document, now);
        for (generation, standing) in ended {
            self.tally.note(meeting.plan().purpose.kind(), &standing, took);
            self.happenings.push((object, Happening::Ended { generation, standing, took }));
        }
        if !meeting.has_what_it_waits_for(document) {
            self.fenced.insert(object);
        }
        self.happenings.push((object, if is_news { Happening::Changed } else { Happening::Heard }));
        if let Some(at) = meeting.rewake(now) {
            self.wakes.insert((at, object));
        }
        if meeting.is_finished() && object.holder == self.replica {
            self.finish(object, now);
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
            // What would be a run too many waits until others around it are finished.
            if self.own_closed.runs_with(object) <= limits::CLOSED_RUNS {
                self.own_closed.insert(object);
            } else {
                self.closing.insert(object);
                self.close_at = Some(now + CLOSE_WAIT);
            }
        }
        Some(Write { key: SlotKey::Closed, body: self.own_closed.encode().into(), lazy: true })
    }

    /// The writes of one [`Self::poll`] (or of a wish) are in the document, the last of them under number `upto`.
    pub fn wrote(&mut self, writes: &[Write], upto: u64) {
        let first = upto + 1 - writes.len() as u64;
        for (number, write) in (first..).zip(writes) {
            if let SlotKey::Of(object, SlotPart::Slot | SlotPart::Claim | SlotPart::Mark) = write.key {
                self.in_flight.insert(number, object);
            }
        }
    }

    /// Own records up to this number are durable: what they say counts from now on.
    pub fn persisted(&mut self, document: &Document, upto: u64, now: Monotonic) {
        let later = self.in_flight.split_off(&(upto + 1));
        for object in std::mem::replace(&mut self.in_flight, later).into_values() {
            if let Some(meeting) = self.meetings.get_mut(&object).filter(|meeting| !meeting.is_queue()) {
                meeting.persisted();
                self.settle(document, object, now);
                // Whoever has more to say had to wait for this.
                if self.happenings.last() != Some(&(object, Happening::Changed)) {
                    self.happenings.push((object, Happening::Changed));
                }
                self.changed.insert(object);
            }
            self.queues.persisted(object, now);
        }
    }

    /// True while records are on their way to the disk, or something is to be polled.
    pub fn is_busy(&self) -> bool {
        !self.changed.is_empty() || self.queues.is_busy()
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
        self.closing.insert(object);
        self.close_at = Some(now);
    }

    fn end(&mut self, object: ObjectId) {
        let Some(meeting) = self.meetings.remove(&object) else { return };
        self.counters.closed += 1;
        self.in_flight.retain(|_, of| *of != object);
        self.closing.remove(&object);
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
        let meeting = self.meetings.get_mut(&object).ok_or(ParticipantError::Unknown { object })?;
        if meeting.is_queue() { Err(ParticipantError::NoMeeting { object }) } else { Ok(meeting) }
    }

    /// A queue that is not finished.
    ///
    /// # Errors
    /// `Unknown`, `NoQueue`.
    pub fn queue(&self, object: ObjectId) -> Result<&Queue, ParticipantError> {
        self.queues.get(object).ok_or_else(|| self.no_queue(object))
    }

    /// The same for a wish. What follows from it comes out of [`Self::poll`].
    ///
    /// # Errors
    /// As [`Self::queue`].
    pub fn queue_mut(&mut self, object: ObjectId) -> Result<&mut Queue, ParticipantError> {
        let missing = self.no_queue(object);
        self.queues.get_mut(object).ok_or(missing)
    }

    fn no_queue(&self, object: ObjectId) -> ParticipantError {
        if self.meetings.contains_key(&object) {
            ParticipantError::NoQueue { object }
        } else {
            ParticipantError::Unknown { object }
        }
    }

    /// Takes over what applications have claimed from a participant of the same document, which was read again since.
    #[must_use]
    pub fn succeeding(mut self, old: Option<Self>) -> Self {
        if let Some(old) = old {
            self.queues.adopt(old.queues);
        }
        self
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

    /// How what it saw has ended.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// When to poll again although nothing was heard.
    pub fn next_wake(&self) -> Option<Monotonic> {
        let wakes = self.wakes.first().map(|(at, _)| *at).into_iter();
        wakes.chain(self.close_at).chain(self.queues.next_wake()).min()
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
    /// It is a queue.
    #[error("{object} is a queue: nobody arrives at it")]
    NoMeeting {
        /// The object.
        object: ObjectId,
    },
    /// It is no queue.
    #[error("{object} is no queue")]
    NoQueue {
        /// The object.
        object: ObjectId,
    },
    /// The barrier refuses.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The queue refuses.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl ParticipantError {
    /// True when the same wish may succeed once more of this replica's own records are durable.
    pub fn is_writing(&self) -> bool {
        match self {
            Self::Barrier(error) => matches!(error, BarrierError::Writing),
            Self::Queue(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// True when it began without this replica.
    pub fn is_seatless(&self) -> bool {
        matches!(self, Self::Barrier(BarrierError::NoSeat { .. }))
    }

    /// True when the member has spoken in this generation already.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::Barrier(BarrierError::Refused(Refusal::Arrived(_) | Refusal::Declined(_))))
    }
}

/// True for what does not change any more.
pub(super) fn is_final(progress: &Progress) -> bool {
    !matches!(progress, Progress::Waiting | Progress::Overdue { .. })
}
