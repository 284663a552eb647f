//! The thread that writes the audit log, and the handle everybody else has. Layer 6; starts a thread, reads a clock.
#![allow(clippy::disallowed_methods, reason = "its thread and its clock never reach the pure core")]

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    AuditConfig, AuditError,
    folder::{Folder, Found, Medium, day_of},
    key,
};
use crate::{
    audit::{
        chain::{Head, Journal},
        record::{Action, Entry, Event, Outcome},
    },
    document::hex,
    driver::wall_ms,
    id::AgentId,
    limits,
    trust::key::{PrivateKey, PublicKey},
};

/// Shortest time between two flushes: under load they carry more instead of coming more often.
const LINGER: Duration = Duration::from_millis(20);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Entries in one flush.
const BATCH: usize = 4_096;

/// The place of an event in the line of those handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Told when the log begins to fail, with the reason, and when it is well again. Called on the log's thread.
pub(in crate::relay) type Watcher = Box<dyn Fn(Option<&str>) + Send>;

/// A log that is being written. Dropping it, or [`close`](Self::close), writes what waits.
pub struct AuditLog {
    shared: Arc<Shared>,
    public: PublicKey,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("records", &self.records()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens a log, or begins one, for `node`, and records the start. Blocks until that is on the disk.
    ///
    /// # Errors
    /// `Io`, `Key`, `InUse`; `Damaged` when the end of the log is not as it was written and no crash explains it.
    pub fn open(config: &AuditConfig, node: AgentId) -> Result<Self, AuditError> {
        Self::watched(config, node, Box::new(|_| {}))
    }

    pub(in crate::relay) fn watched(config: &AuditConfig, node: AgentId, watcher: Watcher) -> Result<Self, AuditError> {
        let found = Folder::open(&config.folder)?;
        let key = key::read_or_make(&config.key)?;
        let Found { folder, journal, day, cut } = found;
        let mut first = VecDeque::new();
        if let Some(bytes) = cut {
            let reason = format!("a crash had left {bytes} bytes of what was not recorded yet; they were cut off");
            first.push_back((wall_ms(), Event::new(Action::Cut, Outcome::Done, reason)));
        }
        let started = format!("version {}, checkpoints signed with {}", env!("CARGO_PKG_VERSION"), key.public());
        first.push_back((wall_ms(), Event::new(Action::Start, Outcome::Done, started)));
        let log = Self::start(folder, journal, day, key, node, watcher, first);
        log.map_err(|source| AuditError::io(&config.folder, source))
    }

    fn start(
        medium: impl Medium + 'static,
        journal: Journal,
        day: u64,
        key: PrivateKey,
        node: AgentId,
        watcher: Watcher,
        first: VecDeque<(u64, Event)>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let public = key.public();
        shared.lock().accepted = first.len() as u64;
        let mut writer = Writer {
            shared: shared.clone(),
            medium: Box::new(medium),
            journal,
            day,
            key,
            node,
            watcher,
            batch: first,
            checkpoint_by: None,
            is_failing: false,
        };
        // With a checkpoint, so that the log says from its beginning who signs it.
        writer.write(true)?;
        let thread = thread::Builder::new().name("aepoch-audit".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, public, thread: Mutex::new(Some(thread)) })
    }

    /// Hands an event over and returns at once. What is handed over is recorded in this order.
    ///
    /// # Errors
    /// `Full`: it will not be recorded; how many were not, will. Only while the log fails or falls behind.
    pub fn append(&self, event: Event) -> Result<Ticket, AuditError> {
        let mut queue = self.shared.lock();
        let waiting = queue.events.len();
        if waiting >= limits::AUDIT_QUEUE_EVENTS {
            queue.lost += 1;
            return Err(AuditError::Full { waiting });
        }
        queue.events.push_back((wall_ms(), event));
        queue.accepted += 1;
        let ticket = Ticket(queue.accepted);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(ticket)
    }

    /// Blocks until what was handed over with this ticket is on the disk.
    ///
    /// # Errors
    /// `Failing`: it is not, and is tried again.
    pub fn wait(&self, ticket: Ticket) -> Result<(), AuditError> {
        let mut queue = self.shared.lock();
        loop {
            if queue.kept >= ticket.0 {
                return Ok(());
            }
            if let Some(reason) = &queue.failing {
                return Err(AuditError::Failing { reason: reason.clone() });
            }
            queue = self.shared.settled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// True while the log cannot be written.
    pub fn is_failing(&self) -> bool {
        self.failing().is_some()
    }

    /// Why the log cannot be written, while it cannot.
    pub fn failing(&self) -> Option<String> {
        self.shared.lock().failing.clone()
    }

    /// Records on the disk since the log began, checkpoints among them.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    /// The key that signs its checkpoints.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Records the stop, signs, and gives the folder back. What comes later is not recorded.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        if !mem::replace(&mut queue.closing, true) {
            queue.events.push_back((wall_ms(), Event::new(Action::Stop, Outcome::Done, "")));
            queue.accepted += 1;
        }
        drop(queue);
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner may be the watcher, on the very thread that would be waited for.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of the watcher has already been reported on its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Signalled when something was recorded, or could not be.
    settled: Condvar,
    records: AtomicU64,
}

impl Shared {
    /// The queue is whole between any two statements, so a panic elsewhere cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Queue {
    /// With the wall clock when they were handed over.
    events: VecDeque<(u64, Event)>,
    /// Handed over, and recorded, since the start.
    accepted: u64,
    kept: u64,
    /// Refused for want of room, and not told yet.
    lost: u64,
    failing: Option<String>,
    closing: bool,
}

struct Writer {
    shared: Arc<Shared>,
    medium: Box<dyn Medium>,
    journal: Journal,
    day: u64,
    key: PrivateKey,
    node: AgentId,
    watcher: Watcher,
    /// Taken from the queue, not recorded yet.
    batch: VecDeque<(u64, Event)>,
    /// When what has no checkpoint is to get one.
    checkpoint_by: Option<Instant>,
    is_failing: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            let closing = self.gather();
            let due = self.checkpoint_by.is_some_and(|by| by <= Instant::now());
            if self.batch.is_empty() && !due && !closing {
                continue;
            }
            let written = self.write(due || closing);
            let more = self.tell(written.as_ref().err().map(ToString::to_string));
            if closing && (written.is_err() || !more) {
                return;
            }
            if !closing {
                self.rest(if written.is_err() { RETRY } else { LINGER });
            }
        }
    }

    /// Waits for something to write; true when the log is to be closed.
    fn gather(&mut self) -> bool {
        let mut queue = self.shared.lock();
        while self.batch.is_empty() && queue.events.is_empty() && !queue.closing {
            queue = match self.checkpoint_by.map(|by| by.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => break,
                Some(left) => self.shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let room = BATCH.saturating_sub(self.batch.len()).min(queue.events.len());
        self.batch.extend(queue.events.drain(..room));
        queue.closing
    }

    /// Others collect meanwhile; not when the log is to be closed.
    fn rest(&self, span: Duration) {
        let queue = self.shared.lock();
        let rested = self.shared.wake.wait_timeout_while(queue, span, |queue| !queue.closing);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes the batch, and a checkpoint when asked for one. The batch is empty then, or as before.
    fn write(&mut self, checkpoint: bool) -> std::io::Result<()> {
        let now = wall_ms();
        let today = self.batch.front().map_or(self.day, |(wall_ms, _)| day_of(*wall_ms));
        if self.journal.head().seq > 0
            && (self.medium.segment_bytes() >= limits::AUDIT_SEGMENT_BYTES || today != self.day)
        {
            self.medium.begin(&self.journal.head())?;
            self.day = today;
        }
        let lost = self.shared.lock().lost;
        let (mut journal, mut bytes) = (self.journal.clone(), Vec::new());
        let late = (lost > 0).then(|| {
            let reason = format!("{lost} events were lost while the log could not be written");
            (now, Event::new(Action::Lose, Outcome::Failed, reason))
        });
        for (wall_ms, event) in self.batch.iter().cloned().chain(late) {
            let entry = Entry { wall_ms, hlc: journal.stamp(wall_ms), node: self.node.clone(), event };
            journal.record(entry, &self.key, &mut bytes);
        }
        if checkpoint && journal.unsigned() > 0 {
            journal.checkpoint(now, &self.key, &mut bytes);
        }
        self.medium.append(&bytes)?;
        let signed = journal.unsigned() == 0;
        (self.journal, self.day) = (journal, today);
        self.checkpoint_by = match self.checkpoint_by {
            _ if signed => None,
            None => Some(Instant::now() + limits::AUDIT_CHECKPOINT_WAIT),
            by => by,
        };
        let Head { seq, link } = self.journal.head();
        self.shared.records.store(seq, Ordering::Relaxed);
        let mut queue = self.shared.lock();
        queue.lost -= lost;
        queue.kept += self.batch.len() as u64;
        drop(queue);
        for (_, event) in self.batch.drain(..) {
            let (action, outcome, reason) = (event.action.name(), event.outcome.name(), event.reason);
            tracing::debug!(target: "aepoch::audit", action, outcome, %reason, "recorded");
        }
        if signed {
            // Whoever keeps the program's log elsewhere has a witness of how far this one went.
            tracing::info!(target: "aepoch::audit", records = seq, head = hex(&link), "audit checkpoint");
        }
        Ok(())
    }

    /// Tells everybody how it went. True when more waits.
    fn tell(&mut self, failure: Option<String>) -> bool {
        let mut queue = self.shared.lock();
        queue.failing.clone_from(&failure);
        let more = !queue.events.is_empty();
        drop(queue);
        self.shared.settled.notify_all();
        if self.is_failing != failure.is_some() {
            self.is_failing = failure.is_some();
            match &failure {
                Some(reason) => tracing::error!(%reason, "the audit log cannot be written; coordination is refused"),
                None => tracing::info!("the audit log can be written again"),
            }
            (self.watcher)(failure.as_deref());
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        audit::{
            chain::{Content, Frames},
            verify::{Expected, Verified, Verifier},
        },
        time::Hlc,
    };

    /// A disk with so much room left.
    #[derive(Debug, Default)]
    struct Disk {
        segments: Vec<Vec<u8>>,
        room: usize,
        /// Segments count as full at once.
        is_coarse: bool,
    }

    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Disk>>);

    impl Shelf {
        fn with_room(room: usize) -> Self {
            let shelf = Self::default();
            shelf.disk().room = room;
            shelf
        }

        fn disk(&self) -> MutexGuard<'_, Disk> {
            self.0.lock().unwrap()
        }

        fn log(&self, told: &Arc<Mutex<Vec<bool>>>) -> AuditLog {
            let mut medium = self.clone();
            medium.begin(&Head::START).unwrap();
            let journal = Journal::resume(Head::START, Hlc::default(), 0);
            let (node, told) = (AgentId::new("relay").unwrap(), told.clone());
            let watcher = Box::new(move |failure: Option<&str>| told.lock().unwrap().push(failure.is_some()));
            let first = VecDeque::from([(wall_ms(), Event::new(Action::Start, Outcome::Done, ""))]);
            AuditLog::start(medium, journal, 0, PrivateKey::from_seed(&[1; 32]), node, watcher, first).unwrap()
        }

        fn verified(&self) -> Verified {
            let mut verifier = Verifier::new(Expected::default());
            self.disk().segments.iter().for_each(|segment| verifier.segment("memory", &segment[..]).unwrap());
            verifier.finish().unwrap()
        }

        /// The entries: action and reason.
        fn entries(&self) -> Vec<(Action, String)> {
            let mut entries = Vec::new();
            for segment in &self.disk().segments {
                let (_, mut frames) = Frames::open(&segment[..]).unwrap();
                while let Some(frame) = frames.next_frame().unwrap() {
                    if let Content::Entry(entry) = frame.content() {
                        entries.push((entry.event.action, entry.event.reason));
                    }
                }
            }
            entries
        }
    }

    impl Medium for Shelf {
        fn begin(&mut self, head: &Head) -> io::Result<()> {
            self.disk().segments.push(head.header().to_vec());
            Ok(())
        }

        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.disk();
            if bytes.len() > disk.room {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            disk.room -= bytes.len();
            disk.segments.last_mut().unwrap().extend(bytes);
            Ok(())
        }

        fn segment_bytes(&self) -> u64 {
            if self.disk().is_coarse { limits::AUDIT_SEGMENT_BYTES } else { 0 }
        }
    }

    fn refused(n: usize) -> Event {
        Event::new(Action::Offend, Outcome::Refused, n.to_string())
    }

    /// Case 59, the log's part.
    #[test]
    fn a_full_disk_is_told_and_what_waited_is_recorded_once_there_is_room() {
        let (shelf, told) = (Shelf::with_room(2_000), Arc::default());
        let log = shelf.log(&told);
        let mut last = Ok(());
        let mut written = 0;
        while last.is_ok() {
            last = log.wait(log.append(refused(written)).unwrap());
            written += 1;
        }
        assert!(matches!(last, Err(AuditError::Failing { .. })), "{last:?}");
        assert!(written > 5 && log.is_failing());
        let records = shelf.verified().records;
        assert_eq!(log.records(), records, "nothing counts that is not there");
        for n in written..written + 10 {
            log.append(refused(n)).unwrap();
        }
        shelf.disk().room = usize::MAX;
        while log.wait(log.append(refused(written + 10)).unwrap()).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!log.is_failing());
        assert_eq!(*told.lock().unwrap(), [true, false]);
        log.close();
        shelf.verified();
        let entries = shelf.entries();
        assert_eq!(entries[0].0, Action::Start);
        assert_eq!(entries.last().unwrap().0, Action::Stop);
        let told: Vec<_> = (0..written + 10).map(|n| n.to_string()).collect();
        let recorded: Vec<_> = entries[1..=told.len()].iter().map(|(_, reason)| reason.clone()).collect();
        assert_eq!(recorded, told);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (shelf, told) = (Shelf::with_room(1_000), Arc::default());
        let log = shelf.log(&told);
        let long = "x".repeat(limits::AUDIT_REASON_BYTES);
        let ticket = log.append(Event::new(Action::Offend, Outcome::Refused, long)).unwrap();
        assert!(log.wait(ticket).is_err());
        let mut lost = 0;
        for n in 0..limits::AUDIT_QUEUE_EVENTS + 2 * BATCH {
            lost += usize::from(log.append(refused(n)).is_err());
        }
        assert!(lost > 0);
        shelf.disk().room = usize::MAX;
        log.close();
        let entries = shelf.entries();
        let told: Vec<_> = entries.iter().filter(|(action, _)| *action == Action::Lose).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.starts_with(&format!("{lost} events")), "{told:?}, not {lost}");
        let kept = entries.iter().filter(|(action, _)| *action == Action::Offend).count();
        assert_eq!(kept + lost, limits::AUDIT_QUEUE_EVENTS + 2 * BATCH + 1);
        shelf.verified();
    }

    #[test]
    fn a_full_segment_is_followed_by_one_that_goes_on_from_it() {
        let (shelf, told) = (Shelf::with_room(usize::MAX), Arc::default());
        shelf.disk().is_coarse = true;
        let log = shelf.log(&told);
        for n in 0..10 {
            log.wait(log.append(refused(n)).unwrap()).unwrap();
        }
        log.close();
        assert!(shelf.disk().segments.len() >= 10);
        assert_eq!(shelf.verified().unsigned, 0);
        assert_eq!(shelf.entries().len(), 12);
    }
}
