//! A node in a process: behind a lock, with its connections, its store and its timer.
//!
//! Whoever has something for the node (a connection's task, the store's thread, the application) locks it, hands it
//! over and carries out what comes back while still holding the lock, so outputs keep their order. Nothing done under
//! the lock waits: sends go to unbounded queues that the node itself bounds, heavy work goes to other threads. Once the
//! lock is free again, the same thread writes what it has queued to the sockets.

#[cfg(target_family = "wasm")]
use std::collections::VecDeque;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    clock::Clock,
    connection::{Command, Ended, Outlet},
    keeper::{Keeper, Later},
    runtime::{Handle, sleep_until, spawn},
};
use crate::{
    error::CloseCode,
    id::LinkId,
    node::{Event, Input, Node, Output, TargetId, Work},
    store::Store,
    time::{Moment, Monotonic},
};

/// What a host leaves to the agent or relay around it.
pub(crate) trait Outside: Send + Sync + 'static {
    /// Connect to a target; answer with [`Host::handle`].
    fn dial(&self, host: &Arc<Host>, target: TargetId);
    /// The node tells the application something. Called under the lock: must not wait.
    fn event(&self, event: Event);
    /// A document that was out for work is back. Not under the lock.
    fn returned(&self) {}
}

struct Inner {
    node: Node,
    links: BTreeMap<LinkId, Arc<dyn Outlet>>,
    /// Connections with something to send, of which nobody else knows.
    waiting: Vec<Arc<dyn Outlet>>,
    /// The store, when it answers at once.
    here: Option<Box<dyn Store>>,
    /// The store has tasks it has not been woken for.
    store_waiting: bool,
}

/// Connections that one thread writes to in a row, about: a larger fan-out is spread over all of them.
const FLUSHED_IN_A_ROW: usize = 32;

impl Inner {
    fn command(&mut self, link: LinkId, command: Command) {
        // Unknown links are ending, and the node hears of that next.
        if let Some(outlet) = self.links.get(&link)
            && outlet.queue(command)
        {
            self.waiting.push(outlet.clone());
        }
    }

    fn command_all(&mut self, command: impl Fn() -> Command) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.command(link, command()));
    }
}

/// A node and what surrounds it.
pub(crate) struct Host {
    inner: Mutex<Inner>,
    /// Signalled when a document comes back from work.
    returned: Condvar,
    /// Heavy work that has not begun.
    #[cfg(target_family = "wasm")]
    works: Mutex<VecDeque<Box<Work>>>,
    store: Option<Arc<dyn Later>>,
    /// Put in front of store task numbers, so that several hosts share one store.
    shard: u64,
    outside: Box<dyn Outside>,
    clock: Clock,
    runtime: Handle,
    timer: Notify,
    /// When the timer looks again, in microseconds of the clock.
    timer_at: AtomicU64,
    stopped: AtomicBool,
    me: Weak<Host>,
}

/// Bits of a store task's number that hold the node's own number; the rest is the shard.
const TASK_BITS: u32 = 56;

/// The shard a store task's number belongs to.
pub(crate) fn shard_of(task: u64) -> usize {
    usize::try_from(task >> TASK_BITS).unwrap_or(usize::MAX)
}

impl Host {
    /// Starts a node. Must be called inside a tokio runtime.
    pub(crate) fn start(
        node: Node,
        keeper: Keeper,
        shard: usize,
        outside: Box<dyn Outside>,
        clock: Clock,
    ) -> Arc<Self> {
        let (store, here) = match keeper {
            Keeper::Later(store) => (Some(store), None),
            Keeper::Here(store) => (None, Some(store)),
        };
        let (links, waiting) = (BTreeMap::new(), Vec::new());
        let host = Arc::new_cyclic(|me| Self {
            inner: Mutex::new(Inner { node, links, waiting, here, store_waiting: false }),
            returned: Condvar::new(),
            #[cfg(target_family = "wasm")]
            works: Mutex::default(),
            store,
            shard: (shard as u64) << TASK_BITS,
            outside,
            clock,
            runtime: Handle::current(),
            timer: Notify::new(),
            timer_at: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            me: me.clone(),
        });
        spawn(keep_time(Arc::downgrade(&host), clock));
        host
    }

    /// Writes to the sockets of `waiting`: a part of them here, the others in tasks, one for each further part.
    fn flush(&self, mut waiting: Vec<Arc<dyn Outlet>>) {
        while waiting.len() > FLUSHED_IN_A_ROW {
            let parts = waiting.len().div_ceil(FLUSHED_IN_A_ROW);
            let part = waiting.split_off(waiting.len() - waiting.len() / parts);
            self.runtime.spawn(async move { part.iter().for_each(|outlet| outlet.flush()) });
        }
        waiting.iter().for_each(|outlet| outlet.flush());
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The node is a plain state machine: a panic elsewhere under the lock left it between two steps at worst.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the node an input.
    pub(crate) fn handle(&self, input: Input) {
        self.with(|node, now| node.handle(input, now));
    }

    /// A store task of this host is done.
    pub(crate) fn stored(&self, id: u64, result: Result<crate::store::StoreDone, crate::store::StoreError>) {
        let id = id & ((1 << TASK_BITS) - 1);
        self.handle(Input::Stored { id, result });
    }

    /// Runs `act` on the node and carries out what comes of it.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Node, Moment) -> R) -> R {
        let mut inner = self.lock();
        let result = act(&mut inner.node, self.clock.now());
        self.carry_out(&mut inner);
        let wake = inner.node.next_wake();
        let waiting = std::mem::take(&mut inner.waiting);
        let store_waiting = std::mem::take(&mut inner.store_waiting);
        drop(inner);
        self.flush(waiting);
        if store_waiting {
            self.wake_store();
        }
        self.set_timer(wake);
        result
    }

    /// Like [`Host::with`], again and again until `act` has a result, waiting in between for documents to come back.
    /// Blocks the calling thread for as long as the document is being worked on.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn wait_for<R>(&self, mut act: impl FnMut(&mut Node, Moment) -> Option<R>) -> Option<R> {
        let mut inner = self.lock();
        loop {
            let result = act(&mut inner.node, self.clock.now());
            self.carry_out(&mut inner);
            self.flush(std::mem::take(&mut inner.waiting));
            if std::mem::take(&mut inner.store_waiting) {
                self.wake_store();
            }
            self.set_timer(inner.node.next_wake());
            if result.is_some() {
                return result;
            }
            inner = self.returned.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Like [`Host::with`], again and again until `act` has a result. There is one thread, so what is to be done to the
    /// document is done here and now; `None` when it waits for something else, the store for one.
    #[cfg(target_family = "wasm")]
    pub(crate) fn wait_for<R>(&self, mut act: impl FnMut(&mut Node, Moment) -> Option<R>) -> Option<R> {
        loop {
            let result = self.with(&mut act);
            if result.is_some() || !self.work_off() {
                return result;
            }
        }
    }

    /// Does the next heavy work; false when there is none.
    #[cfg(target_family = "wasm")]
    fn work_off(&self) -> bool {
        let work = self.works.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(mut work) = work else { return false };
        work.run();
        self.handle(Input::Worked(work));
        self.outside.returned();
        true
    }

    #[cfg(target_family = "wasm")]
    fn begin(&self, work: Box<Work>) {
        let Some(me) = self.me.upgrade() else { return };
        self.works.lock().unwrap_or_else(PoisonError::into_inner).push_back(work);
        self.runtime.spawn(async move { me.work_off() });
    }

    #[cfg(not(target_family = "wasm"))]
    fn begin(&self, mut work: Box<Work>) {
        let Some(me) = self.me.upgrade() else { return };
        self.runtime.spawn_blocking(move || {
            work.run();
            me.handle(Input::Worked(work));
            me.returned.notify_all();
            me.outside.returned();
        });
    }

    /// Wakes the timer when it would look too late.
    fn set_timer(&self, wake: Option<Monotonic>) {
        if wake.is_some_and(|wake| wake.0 < self.timer_at.load(Ordering::Relaxed)) {
            self.timer.notify_one();
        }
    }

    fn wake_store(&self) {
        self.store.iter().for_each(|store| store.wake());
    }

    /// Adds a connection whose handshake is under way.
    pub(crate) fn add_link(&self, link: LinkId, outlet: Arc<dyn Outlet>) {
        self.lock().links.insert(link, outlet);
    }

    /// A connection has ended.
    pub(crate) fn drop_link(&self, link: LinkId, ended: &Ended) {
        self.lock().links.remove(&link);
        self.handle(Input::LinkDown { link, reason: ended.reason.clone(), is_final: ended.is_final() });
    }

    fn carry_out(&self, inner: &mut Inner) {
        while let Some(output) = inner.node.poll_output() {
            match output {
                Output::Send { links, encoded } => {
                    for link in links {
                        inner.command(link, Command::Send(encoded.clone()));
                    }
                }
                Output::Tell { links, told } => {
                    for link in links {
                        inner.command(link, Command::Tell(told.clone()));
                    }
                }
                Output::Close { link, code, reason } => inner.command(link, Command::Close(code, reason)),
                Output::Show { holder } => inner.command_all(|| Command::Show(Box::new(holder.clone()))),
                Output::Judge { authority } => inner.command_all(|| Command::Judge(authority.clone())),
                Output::Dial { target } => {
                    if let (Some(me), false) = (self.me.upgrade(), self.is_stopped()) {
                        self.outside.dial(&me, target);
                    }
                }
                Output::Store { id, task } => {
                    if let Some(store) = &self.store {
                        store.enqueue(self.shard | id, task);
                        inner.store_waiting = true;
                    } else if let Some(store) = &mut inner.here {
                        for result in store.commit(&[task]) {
                            inner.node.handle(Input::Stored { id, result }, self.clock.now());
                        }
                    }
                }
                Output::Work(work) => self.begin(work),
                Output::Event(event) => {
                    if matches!(event, Event::Opened { .. } | Event::OpenFailed { .. }) {
                        self.returned.notify_all();
                    }
                    self.outside.event(event);
                }
            }
        }
    }

    /// No more dials; the timer ends with the host.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.timer.notify_one();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Connections, also those whose handshake is under way.
    pub(crate) fn link_count(&self) -> usize {
        self.lock().links.len()
    }

    /// Ends every connection, because this side goes away.
    pub(crate) fn close_links(&self, reason: &str) {
        for outlet in self.lock().links.values() {
            outlet.queue(Command::Close(CloseCode::GOING_AWAY, reason.to_owned()));
            outlet.wake();
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// How long the timer sleeps at most.
const IDLE: Duration = Duration::from_secs(1);

/// Ticks a node whenever it asks for it, for as long as its host lives.
async fn keep_time(host: Weak<Host>, clock: Clock) {
    loop {
        let Some(strong) = host.upgrade() else { return };
        if strong.is_stopped() {
            return;
        }
        // Woken once in a while even without a reason, to notice that the host is gone.
        let idle = clock.mono() + IDLE;
        let until = {
            // Under the lock, so that whoever changes the next wake after this sees until when the timer sleeps.
            let inner = strong.lock();
            let until = inner.node.next_wake().map_or(idle, |wake| wake.min(idle));
            strong.timer_at.store(until.0, Ordering::Relaxed);
            until
        };
        if until <= clock.mono() {
            strong.handle(Input::Tick);
            continue;
        }
        let timer = async { strong.timer.notified().await };
        tokio::select! {
            () = timer => {}
            () = sleep_until(clock.instant(until)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::Subscription,
        engine::EngineKind,
        id::{AgentId, DocumentId, Identity, ReplicaId},
        node::{Config, NodeError, Tuning},
        store::MemoryStore,
        sync::Role,
    };

    struct Told(Arc<Notify>);

    impl Outside for Told {
        fn dial(&self, _: &Arc<Host>, _: TargetId) {}
        fn event(&self, _: Event) {}
        fn returned(&self) {
            self.0.notify_one();
        }
    }

    /// A task that found the document out for work would wait for ever: nothing else need happen afterwards.
    #[cfg(feature = "yrs")]
    #[tokio::test]
    async fn whoever_waits_is_told_that_a_document_is_back() {
        let agent = AgentId::new("a1").unwrap();
        let config = Config {
            identity: Identity { agent, replica: ReplicaId::from_bits(1), incarnation: 1 },
            role: Role::Agent,
            keeps_identity: false,
            trust_inbound: false,
            authority: None,
            holder: None,
            signing: None,
            seed: 1,
            // So that it is soon out to be compacted.
            tuning: Tuning { compact_entries: 1, ..Tuning::default() },
        };
        let (clock, told) = (Clock::start(), Arc::new(Notify::new()));
        let keeper = Keeper::Here(Box::new(MemoryStore::new()));
        let host = Host::start(Node::new(config, clock.now()), keeper, 0, Box::new(Told(told.clone())), clock);
        let document = DocumentId::new("band/stage").unwrap();
        host.with(|node, now| node.open(&document, EngineKind::Yrs, Subscription::default(), now)).unwrap();
        for take in 0..3 {
            host.wait_for(|node, now| match node.transact(&document, |tx| tx.counter("takes").add(take), now) {
                Err(NodeError::Busy { .. }) => None,
                done => Some(done),
            })
            .expect("a thread may wait")
            .unwrap();
        }
        tokio::time::timeout(Duration::from_secs(30), told.notified()).await.expect("nobody was told");
    }
}
