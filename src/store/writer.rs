//! A thread that owns a store and commits the tasks of many callers together. Layer 1; starts a thread, reads a clock.
//!
//! A flush costs about the same for one entry as for a thousand, so the thread gathers: the first task after a pause
//! waits for `gather`, and while it is being flushed, and for `linger` after the last commit, others collect.
#![allow(
    clippy::disallowed_methods,
    reason = "a concrete store driver: its thread and its clock never reach the pure core"
)]

use std::{
    collections::{BTreeSet, VecDeque},
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Answers, Store, StoreError, StoreTask};
use crate::id::DocumentId;

/// When the gathered tasks are committed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WriterConfig {
    /// Shortest time between two commits. Adds up to this to an acknowledgement under load; nothing when idle.
    pub linger: Duration,
    /// How long a write waits for company even after a pause. The thread that submitted it has more to do for it,
    /// passing it on above all; a commit that began at once would take the processor from it.
    pub gather: Duration,
    /// Tasks in one commit; reached earlier than `linger`, it commits at once.
    pub batch_tasks_max: usize,
    /// Payload bytes in one commit; one larger task still goes alone.
    pub batch_bytes_max: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(20),
            gather: Duration::from_millis(1),
            batch_tasks_max: 1024,
            batch_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// A store on a thread of its own, shared by any number of submitters.
///
/// Tasks on one document take effect in the order submitted. A read waits only for earlier writes it must see. When a
/// commit fails, each of its tasks is answered with the error, and nothing is tried again unasked: only the caller
/// knows whether to retry, to shed load or to stop.
///
/// Dropping it, or [`close`](Self::close), commits and answers everything submitted before it returns.
pub struct StoreThread {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for StoreThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreThread").field("queued_bytes", &self.queued_bytes()).finish_non_exhaustive()
    }
}

impl StoreThread {
    /// Starts the thread. `done` is called on it with the answers, in an order that keeps that of each document.
    ///
    /// # Errors
    /// `Open` when the system refuses another thread.
    pub fn spawn(
        store: Box<dyn Store>,
        config: WriterConfig,
        done: impl FnMut(Answers) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            store,
            config,
            done: Box::new(done),
            group: Group::default(),
            committed_at: None,
        };
        let thread = thread::Builder::new()
            .name("aepoch-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Open { path: "(thread)".to_owned(), reason: error.to_string() })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands a task over and returns at once. `id` comes back with the answer; callers that share the thread keep
    /// their ids apart, for instance by their own number in the upper bits.
    pub fn submit(&self, id: u64, task: StoreTask) {
        self.enqueue(id, task);
        self.wake();
    }

    /// Like [`StoreThread::submit`], but the thread may only notice at [`StoreThread::wake`]: for a caller that has
    /// something more urgent to do than waking a thread, and needs its task in line already.
    pub fn enqueue(&self, id: u64, task: StoreTask) {
        let mut queue = self.shared.lock();
        queue.bytes += task.bytes();
        queue.tasks.push_back((id, task));
    }

    /// Has the thread look at what is enqueued.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Payload bytes submitted and not yet answered. There is no bound here: callers stop accepting above theirs.
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().bytes
    }

    /// Commits and answers everything submitted, then gives the file back. Later tasks are never answered.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner may be `done` itself, on the very thread that would be waited for.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of `done` has already been reported on its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    /// The queue is whole between any two statements, so a panic elsewhere cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<(u64, StoreTask)>,
    /// Of tasks queued and gathered.
    bytes: usize,
    closing: bool,
}

/// Tasks gathered for the next commit.
#[derive(Default)]
struct Group {
    ids: Vec<u64>,
    tasks: Vec<StoreTask>,
    bytes: usize,
    /// Documents written to: reads of these must wait for the commit.
    written: BTreeSet<DocumentId>,
    /// A read is among them, and reads do not linger.
    holds_read: bool,
    /// When the first came.
    since: Option<Instant>,
}

impl Group {
    fn push(&mut self, id: u64, task: StoreTask) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += task.bytes();
        if task.is_write() {
            self.written.extend(task.document().cloned());
        } else {
            self.holds_read = true;
        }
        self.ids.push(id);
        self.tasks.push(task);
    }

    /// True when `task` is a read that sees the same with and without this group.
    fn passes(&self, task: &StoreTask) -> bool {
        match task {
            StoreTask::Load { document } => !self.written.contains(document),
            StoreTask::List => self.written.is_empty(),
            StoreTask::Append { .. } | StoreTask::Compact { .. } => false,
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    config: WriterConfig,
    done: Box<dyn FnMut(Answers) + Send>,
    group: Group,
    committed_at: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        while let Some((tasks, closing)) = self.next_tasks() {
            for (id, task) in tasks {
                if self.group.passes(&task) {
                    self.commit(&[id], std::slice::from_ref(&task));
                    continue;
                }
                if !self.group.tasks.is_empty() && self.group.bytes + task.bytes() > self.config.batch_bytes_max {
                    self.commit_group();
                }
                self.group.push(id, task);
                if self.group.tasks.len() >= self.config.batch_tasks_max {
                    self.commit_group();
                }
            }
            if closing || self.group.holds_read || self.due_in().is_none() {
                self.commit_group();
            }
        }
    }

    /// Waits until there is something to do; `None` when everything is done and the store is to close.
    fn next_tasks(&mut self) -> Option<(VecDeque<(u64, StoreTask)>, bool)> {
        let mut queue = self.shared.lock();
        while queue.tasks.is_empty() {
            let wait = if self.group.tasks.is_empty() { None } else { Some(self.due_in()) };
            match wait {
                None if queue.closing => return None,
                None => queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) if !queue.closing => {
                    let woken = self.shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
                    queue = woken.0;
                }
                Some(_) => break,
            }
        }
        Some((mem::take(&mut queue.tasks), queue.closing))
    }

    /// Time left until the group is to be committed; `None` when that is now.
    fn due_in(&self) -> Option<Duration> {
        let left = |since: Option<Instant>, span: Duration| span.checked_sub(since?.elapsed());
        let linger = left(self.committed_at, self.config.linger);
        let gather = left(self.group.since, self.config.gather);
        linger.max(gather).filter(|left| !left.is_zero())
    }

    fn commit_group(&mut self) {
        let group = mem::take(&mut self.group);
        if !group.tasks.is_empty() {
            self.commit(&group.ids, &group.tasks);
            self.committed_at = Some(Instant::now());
        }
    }

    fn commit(&mut self, ids: &[u64], tasks: &[StoreTask]) {
        let outcomes = self.store.commit(tasks);
        debug_assert_eq!(outcomes.len(), ids.len(), "one answer for each task");
        self.shared.lock().bytes -= tasks.iter().map(StoreTask::bytes).sum::<usize>();
        (self.done)(ids.iter().copied().zip(outcomes).collect());
    }
}
