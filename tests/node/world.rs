//! Nodes joined by sessions, driven by hand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use aepoch::{
    document::{Signing, Subscription},
    engine::EngineKind,
    id::{AgentId, DocumentId, Identity, LinkId, ReplicaId},
    node::{Config, Event, Input, Node, Output, TargetId, Tuning, Work},
    store::{MemoryStore, Store as _, StoreError, StoreTask},
    sync::{Received, Role, Session},
    time::{Moment, Monotonic},
    wires::Told,
};

pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) store: MemoryStore,
    sessions: BTreeMap<LinkId, Session>,
    pub(crate) events: Vec<Event>,
    /// Answers of the store wait here while `hold_store` is set.
    pub(crate) tasks: VecDeque<(u64, StoreTask)>,
    pub(crate) hold_store: bool,
    pub(crate) fail_store: bool,
    /// What the store answers when asked to read.
    pub(crate) load_error: Option<StoreError>,
    pub(crate) work: VecDeque<Box<Work>>,
    pub(crate) hold_work: bool,
    pub(crate) packets_out: usize,
    pub(crate) closed: Vec<(LinkId, String)>,
    /// What guests were told.
    pub(crate) told: VecDeque<(LinkId, Arc<Told>)>,
    /// Guests that do not read: what they were told is not drained.
    pub(crate) stuck: BTreeSet<LinkId>,
    drained: Vec<(LinkId, u64)>,
}

struct Wire {
    ends: [(usize, LinkId); 2],
    /// Packets towards each end wait while this is set.
    held: [bool; 2],
}

/// Which replica a host is, and by what it signs and checks: then others' writes may come by way of anybody.
pub(crate) type Who = fn(usize) -> (ReplicaId, Option<Arc<Signing>>);

fn nobody_signs(host: usize) -> (ReplicaId, Option<Arc<Signing>>) {
    (ReplicaId::from_bits(100 + host as u64), None)
}

pub(crate) struct World {
    who: Who,
    pub(crate) hosts: Vec<Host>,
    wires: Vec<Wire>,
    pub(crate) now: Moment,
}

pub(crate) fn document() -> DocumentId {
    DocumentId::new("swarm/stage").unwrap()
}

/// No waiting, so that a test says itself when time passes.
pub(crate) fn tuning() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.tick = Duration::from_millis(5);
    tuning
}

impl World {
    /// A relay (host 0) and so many agents, connected to it, with the document open.
    pub(crate) fn new(agents: usize, tuning: &Tuning) -> Self {
        Self::of(nobody_signs, 1_000, agents, tuning)
    }

    /// The same, of certain replicas, at a time.
    pub(crate) fn of(who: Who, wall_ms: u64, agents: usize, tuning: &Tuning) -> Self {
        let mut world = Self { who, hosts: Vec::new(), wires: Vec::new(), now: Moment { mono: Monotonic(0), wall_ms } };
        world.add(Role::Relay, tuning);
        for _ in 0..agents {
            world.join(tuning);
        }
        world
    }

    /// Another agent with the document open, connected to the relay.
    pub(crate) fn join(&mut self, tuning: &Tuning) -> usize {
        let agent = self.add(Role::Agent, tuning);
        self.hosts[agent].node.open(&document(), EngineKind::Yrs, Subscription::default(), self.now).unwrap();
        self.connect(agent, 0);
        self.pump();
        agent
    }

    fn add(&mut self, role: Role, tuning: &Tuning) -> usize {
        let index = self.hosts.len();
        let (replica, signing) = (self.who)(index);
        let agent = AgentId::new(&format!("host-{index}")).unwrap();
        let identity = Identity { agent, replica, incarnation: 1 };
        let config = Config {
            identity,
            role,
            trust_inbound: signing.is_some(),
            keeps_identity: true,
            authority: None,
            holder: None,
            signing,
            seed: 1,
            tuning: tuning.clone(),
        };
        self.hosts.push(Host {
            node: Node::new(config, self.now),
            store: MemoryStore::default(),
            sessions: BTreeMap::new(),
            events: Vec::new(),
            tasks: VecDeque::new(),
            hold_store: false,
            fail_store: false,
            load_error: None,
            work: VecDeque::new(),
            hold_work: false,
            packets_out: 0,
            closed: Vec::new(),
            told: VecDeque::new(),
            stuck: BTreeSet::new(),
            drained: Vec::new(),
        });
        index
    }

    /// Connects `from` to `to`; returns the wire.
    pub(crate) fn connect(&mut self, from: usize, to: usize) -> usize {
        let wire = self.wires.len();
        let link = |end: usize| LinkId(wire as u64 * 2 + end as u64);
        for (end, host) in [from, to].into_iter().enumerate() {
            let hello = self.hosts[host].node.hello(end == 0);
            self.hosts[host].sessions.insert(link(end), Session::new(hello, self.now.mono));
        }
        self.wires.push(Wire { ends: [(from, link(0)), (to, link(1))], held: [false; 2] });
        wire
    }

    /// A host hears that a connection of its is gone.
    pub(crate) fn lose(&mut self, host: usize, link: LinkId) {
        let reason = "lost".to_owned();
        self.hosts[host].node.handle(Input::LinkDown { link, reason, is_final: false }, self.now);
    }

    /// Keeps packets from the far (relay's) end of a wire from leaving, as a reader that does not read does.
    pub(crate) fn hold(&mut self, wire: usize, held: bool) {
        self.wires[wire].held[1] = held;
    }

    /// Keeps every packet to and from an agent back.
    pub(crate) fn cut_off(&mut self, host: usize) {
        self.hold_all(host, true);
    }

    /// Lets them through again.
    pub(crate) fn cut_off_no_more(&mut self, host: usize) {
        self.hold_all(host, false);
        self.pump();
    }

    fn hold_all(&mut self, host: usize, held: bool) {
        for wire in self.wires.iter_mut().filter(|wire| wire.ends.iter().any(|(end, _)| *end == host)) {
            wire.held = [held; 2];
        }
    }

    /// Ends an agent's process without warning, and starts it anew from its store.
    pub(crate) fn restart(&mut self, host: usize) {
        for wire in 0..self.wires.len() {
            if let Some((peer, link)) = self.wires[wire]
                .ends
                .into_iter()
                .find(|(end, _)| *end == host)
                .and_then(|_| self.wires[wire].ends.into_iter().find(|(end, _)| *end != host))
            {
                self.wires[wire].held = [true; 2];
                self.hosts[peer].sessions.remove(&link);
                let reason = "its process is gone".to_owned();
                self.hosts[peer].node.handle(Input::LinkDown { link, reason, is_final: false }, self.now);
            }
        }
        let (replica, signing) = (self.who)(host);
        let old = &mut self.hosts[host];
        let config = Config {
            identity: Identity { agent: AgentId::new(&format!("host-{host}")).unwrap(), replica, incarnation: 1 },
            role: Role::Agent,
            trust_inbound: signing.is_some(),
            authority: None,
            holder: None,
            keeps_identity: true,
            signing,
            seed: 2,
            tuning: tuning(),
        };
        old.node = Node::new(config, self.now);
        old.tasks.clear();
        old.work.clear();
        old.sessions.clear();
        old.node.open(&document(), EngineKind::Yrs, Subscription::default(), self.now).unwrap();
        self.connect(host, 0);
        self.pump();
    }

    /// Lets everything happen that can happen without time passing.
    pub(crate) fn pump(&mut self) {
        while self.step_hosts() | self.step_wires() {}
    }

    /// Lets hosts do all they can without hearing of each other.
    pub(crate) fn rest(&mut self) {
        while self.step_hosts() {}
    }

    /// One message delay: all that is on its way arrives, and nothing that is sent in answer.
    pub(crate) fn delay(&mut self) {
        self.rest();
        let mut flying = Vec::new();
        for wire in &self.wires {
            for end in 0..2 {
                let ((from, out), to) = (wire.ends[end], wire.ends[1 - end]);
                let session = self.hosts[from].sessions.get_mut(&out).unwrap();
                while let Some(packet) = session.poll_transmit() {
                    flying.push((to, packet));
                }
                if let Some(bytes) = session.take_drained() {
                    self.hosts[from].node.handle(Input::Drained { link: out, bytes }, self.now);
                }
            }
        }
        for ((to, link), packet) in flying {
            let mut received = Vec::new();
            self.hosts[to].sessions.get_mut(&link).unwrap().receive(packet, self.now.mono, &mut received).unwrap();
            for one in received {
                if let Received::Message(message) = one {
                    self.hosts[to].node.handle(Input::Message { link, message }, self.now);
                }
            }
        }
        self.rest();
    }

    fn step_hosts(&mut self) -> bool {
        let mut moved = false;
        for host in &mut self.hosts {
            while let Some(output) = host.node.poll_output() {
                moved = true;
                host.carry_out(output);
                for (link, bytes) in std::mem::take(&mut host.drained) {
                    host.node.handle(Input::Drained { link, bytes }, self.now);
                }
            }
            while !host.hold_store
                && let Some((id, task)) = host.tasks.pop_front()
            {
                moved = true;
                let result = match (&host.load_error, &task) {
                    (Some(error), StoreTask::Load { .. }) => Err(error.clone()),
                    (None, StoreTask::Load { .. }) => host.store.commit(std::slice::from_ref(&task)).remove(0),
                    _ if host.fail_store => Err(StoreError::Write { reason: "disk full".to_owned() }),
                    _ => host.store.commit(std::slice::from_ref(&task)).remove(0),
                };
                host.node.handle(Input::Stored { id, result }, self.now);
            }
            while !host.hold_work
                && let Some(mut work) = host.work.pop_front()
            {
                moved = true;
                work.run();
                host.node.handle(Input::Worked(work), self.now);
            }
        }
        moved
    }

    fn step_wires(&mut self) -> bool {
        let mut moved = false;
        for wire in &self.wires {
            for end in 0..2 {
                let ((from, out), (to, into)) = (wire.ends[end], wire.ends[1 - end]);
                if wire.held[end] {
                    continue;
                }
                let Some(session) = self.hosts[from].sessions.get_mut(&out) else { continue };
                let Some(packet) = session.poll_transmit() else { continue };
                moved = true;
                let drained = session.take_drained();
                self.hosts[from].packets_out += 1;
                if let Some(bytes) = drained {
                    self.hosts[from].node.handle(Input::Drained { link: out, bytes }, self.now);
                }
                let Some(session) = self.hosts[to].sessions.get_mut(&into) else { continue };
                let mut received = Vec::new();
                session.receive(packet, self.now.mono, &mut received).unwrap();
                for one in received {
                    let input = match one {
                        Received::Ready(hello) => {
                            // The first end has dialled, and trusts whom it has dialled.
                            let target = (1 - end == 0).then_some(TargetId(0));
                            Input::LinkUp { link: into, hello, target, admission: None }
                        }
                        Received::Message(message) => Input::Message { link: into, message },
                        Received::Pong { .. } | Received::Admitted(_) | Received::RenewalAsked => continue,
                    };
                    self.hosts[to].node.handle(input, self.now);
                }
            }
        }
        moved
    }

    /// Lets time pass, ticking every node whenever it asks for it.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now.mono + span;
        loop {
            self.pump();
            let next = self.hosts.iter().filter_map(|host| host.node.next_wake()).min();
            match next.filter(|next| *next <= until) {
                None => break,
                Some(next) => {
                    self.now.mono = next.max(self.now.mono);
                    for host in &mut self.hosts {
                        host.node.handle(Input::Tick, self.now);
                    }
                    // A node that asks for a time that has come is ticked again, and must move on.
                    self.now.mono = Monotonic(self.now.mono.0 + 1);
                }
            }
        }
        self.now.mono = until;
        self.pump();
    }

    pub(crate) fn set(&mut self, host: usize, register: &str, value: u64) {
        let now = self.now;
        let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.register(register).set(&value);
        self.hosts[host].node.transact(&document(), plan, now).unwrap();
    }

    pub(crate) fn put(&mut self, host: usize, key: &str, value: &str) {
        let now = self.now;
        let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.map("m").put(key, &value.to_owned());
        self.hosts[host].node.transact(&document(), plan, now).unwrap();
    }

    pub(crate) fn get(&self, host: usize, path: &str) -> Option<serde_json::Value> {
        self.hosts[host].node.read(&document(), |document| document.get_path(path).ok()).unwrap()
    }

    pub(crate) fn digests(&self) -> Vec<[u8; 32]> {
        let digest = |host: &Host| host.node.read(&document(), |document| document.root_digest().unwrap()).unwrap();
        self.hosts.iter().map(digest).collect()
    }

    pub(crate) fn assert_equal(&self) {
        let digests = self.digests();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "replicas differ: {digests:?}");
    }
}

impl Host {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { links, encoded } => {
                for link in links {
                    if let Some(session) = self.sessions.get_mut(&link) {
                        session.send(encoded.clone());
                    }
                }
            }
            Output::Close { link, reason, .. } => {
                self.sessions.remove(&link);
                self.closed.push((link, reason));
            }
            Output::Store { id, task } => self.tasks.push_back((id, task)),
            Output::Work(work) => self.work.push_back(work),
            Output::Event(event) => self.events.push(event),
            Output::Tell { links, told } => {
                for link in links {
                    if !self.stuck.contains(&link) {
                        self.drained.push((link, told.cost() as u64));
                    }
                    self.told.push_back((link, told.clone()));
                }
            }
            Output::Dial { .. } | Output::Show { .. } | Output::Judge { .. } => {}
        }
    }

    /// Bytes waiting in the sessions.
    pub(crate) fn queued(&self) -> usize {
        self.sessions.values().map(Session::queued_bytes).sum()
    }
}
