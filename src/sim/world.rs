//! The order of events: everything that happens has a time on one agenda, and a place behind what was put there for
//! the same time before it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use super::{
    Failure, Outcome, Plan, Sabotage,
    checks::Ledger,
    digests::Asked,
    disk::Disk,
    faults::Climate,
    host::{Host, tight_tuning},
    inquiries::Inquiry,
    network::{Connection, End, Item, Weather},
    resolve::Phase,
    told::Told,
    trace::Trace,
    workload::part,
};
use crate::{
    id::{AgentId, DocumentId, LinkId, ObjectId},
    node::{Counters, Event, Input, Output, TargetId, Tuning, Work},
    sync::{Lane, Message, Received, Role, Session},
    time::Dice,
};

/// Virtual time the swarm may take to agree once all faults are gone.
const HEALING_MAX: u64 = 240_000_000;
/// How often it is looked at meanwhile.
const LOOK_EVERY: u64 = 100_000;
/// Longer than any presence lives without renewal, than any eviction takes, and than what is still on its way through
/// the slowest link: half a minute was seen.
const SETTLED_AFTER: u64 = 60_000_000;
/// Events in one run: a node that never comes to rest would never end otherwise.
const EVENTS_MAX: u64 = 300_000;

/// Something due at a time.
#[derive(Debug)]
pub(super) enum Due {
    /// The next step of the plan.
    Step,
    /// A node's timer.
    Timer { host: usize, epoch: u64 },
    /// A session's timer.
    Session { connection: u64, side: usize },
    /// Something reaches the other end of what `side` sends.
    Arrival { connection: u64, side: usize },
    /// An end learns that its connection is gone.
    Lost { connection: u64, side: usize },
    /// A dial reaches its target or fails.
    Dialled { host: usize, epoch: u64, target: TargetId },
    /// A disk ends a commit.
    Disk { host: usize, epoch: u64 },
    /// A process that stands still takes something in.
    Late { host: usize, epoch: u64, input: Box<Input> },
    /// Work is done.
    Worked { host: usize, epoch: u64, work: Box<Work> },
    /// A crashed process comes back.
    Restart { host: usize },
    /// A message comes again or late.
    Echo { host: usize, epoch: u64, link: LinkId, message: Message },
    /// Has the swarm agreed by now?
    Look,
    /// What must hold long after all has come to rest.
    Verdict,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) now: u64,
    pub(super) step: u32,
    pub(super) hosts: Vec<Host>,
    pub(super) documents: Vec<DocumentId>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Packets from one host to another are held back until then.
    pub(super) dark: BTreeMap<(usize, usize), u64>,
    pub(super) climate: Climate,
    pub(super) ledger: Ledger,
    pub(super) tuning: Tuning,
    pub(super) trace: Trace,
    pub(super) counters: Counters,
    pub(super) healing_since: Option<u64>,
    pub(super) asked: Asked,
    pub(super) inquiries: Vec<Inquiry>,
    /// Objects that are finished for some replica, by document.
    pub(super) finished: BTreeSet<(usize, ObjectId)>,
    /// What was done and told of coordination, by document.
    pub(super) told: Vec<Told>,
    pub(super) phase: Phase,
    /// Copies of agents' disks.
    pub(super) backups: BTreeMap<usize, Disk>,
    agenda: BTreeMap<(u64, u64), Due>,
    order: u64,
    next_connection: u64,
    inputs: VecDeque<(usize, u64, Input)>,
    to_pump: BTreeSet<(u64, usize)>,
    touched: BTreeSet<usize>,
    failure: Option<Failure>,
    done: bool,
    /// Catch-ups a sabotaged host still has to forget.
    to_forget: BTreeMap<usize, u64>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut dice = Dice::new(plan.seed);
        let documents: Vec<DocumentId> =
            ["band/stage", "band/notes"].iter().filter_map(|name| DocumentId::new(name).ok()).collect();
        let mut climate = Climate::draw(&mut dice);
        let mut tuning = tight_tuning(&mut dice);
        if plan.engines_fail() {
            // Nearly all is done elsewhere, and what comes meanwhile is taken in together.
            tuning.inline_bytes = 40;
        }
        let mut hosts: Vec<Host> = (0..=plan.agents)
            .filter_map(|index| {
                let (name, role) = match index {
                    0 => ("relay".to_owned(), Role::Relay),
                    _ => (format!("w{index}"), Role::Agent),
                };
                AgentId::new(&name).ok().map(|agent| Host::new(agent, role, documents.len(), &mut dice))
            })
            .collect();
        hosts[0].disk.lies = plan.sabotage == Some(Sabotage::AckBeforeSync);
        // A mesh asks for it: what comes over two paths builds on what only one of them may bring.
        hosts[0].trusts = climate.mesh;
        for (index, host) in hosts.iter_mut().enumerate().skip(1) {
            host.trusts = climate.mesh;
            host.hasty = plan.sabotage == Some(Sabotage::CountBeforeDurable);
            if host.hasty {
                host.disk.slow_until = u64::MAX;
            }
            if plan.filters() {
                // What only a part of a replica has of a writer that is gone for good goes nowhere: it passes on its
                // own writes only.
                host.keeps = true;
                if index % 2 == 0 {
                    host.subscription = part();
                }
            }
            host.targets.push(0);
            for other in 1..index {
                if climate.mesh && dice.chance(50) {
                    host.targets.push(other);
                }
            }
        }
        let ledger = Ledger::new(documents.len());
        let told = documents.iter().map(|_| Told::default()).collect();
        if plan.coordination {
            climate.draw_more(plan, &mut dice);
        }
        Self {
            plan: plan.clone(),
            dice,
            now: 0,
            step: 0,
            hosts,
            documents,
            connections: BTreeMap::new(),
            dark: BTreeMap::new(),
            climate,
            ledger,
            tuning,
            trace: Trace::new(plan.trace),
            counters: Counters::default(),
            healing_since: None,
            asked: Asked::default(),
            inquiries: Vec::new(),
            finished: BTreeSet::new(),
            told,
            phase: Phase::default(),
            backups: BTreeMap::new(),
            agenda: BTreeMap::new(),
            order: 0,
            next_connection: 1,
            inputs: VecDeque::new(),
            to_pump: BTreeSet::new(),
            touched: BTreeSet::new(),
            failure: None,
            done: false,
            to_forget: BTreeMap::new(),
        }
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(mut self) -> Outcome {
        for host in 0..self.hosts.len() {
            self.boot(host);
        }
        self.put(0, Due::Step);
        while self.failure.is_none() && !self.done {
            let Some(((at, _), due)) = self.agenda.pop_first() else { break };
            self.now = self.now.max(at);
            self.happen(due);
            self.settle();
        }
        for host in &self.hosts {
            if let Some(node) = &host.node {
                self.counters.add(node.counters());
            }
        }
        if let (Some(failure), true) = (&self.failure, self.plan.trace) {
            self.trace.note(self.now, &[], format_args!("FAILED {}", failure.what));
        }
        Outcome {
            failure: self.failure,
            hash: self.trace.hash(),
            events: self.trace.events(),
            micros: self.now,
            counters: self.counters,
            lines: self.trace.into_lines(),
        }
    }

    /// Notes a broken promise; the first one counts.
    pub(super) fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            let Plan { seed, steps, agents, engine, coordination, .. } = self.plan;
            let coordination = if coordination { "always" } else { "never" };
            let replay = format!(
                "aepoch sim --seed {seed} --steps {steps} --agents {agents} --engine {engine} --coordination {coordination}"
            );
            self.failure = Some(Failure { seed, step: self.step, what, replay });
        }
    }

    /// Puts something on the agenda.
    pub(super) fn put(&mut self, at: u64, due: Due) {
        self.order += 1;
        self.agenda.insert((at.max(self.now), self.order), due);
    }

    /// Puts an input to a node in line.
    pub(super) fn input(&mut self, host: usize, input: Input) {
        let epoch = self.hosts[host].epoch;
        let until = self.hosts[host].stalled_until;
        if until > 0 && until >= self.now {
            return self.put(until, Due::Late { host, epoch, input: Box::new(input) });
        }
        self.inputs.push_back((host, epoch, input));
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Step => self.next_step(),
            Due::Timer { host, epoch } => {
                if self.hosts[host].epoch == epoch && self.hosts[host].timer.is_some_and(|at| at <= self.now) {
                    self.hosts[host].timer = None;
                    self.input(host, Input::Tick);
                }
            }
            Due::Session { connection, side } => self.session_timer(connection, side),
            Due::Arrival { connection, side } => self.arrival(connection, side),
            Due::Lost { connection, side } => self.end(connection, side, "connection reset"),
            Due::Dialled { host, epoch, target } => {
                if self.hosts[host].epoch == epoch {
                    self.dialled(host, target);
                }
            }
            Due::Disk { host, epoch } => {
                if self.hosts[host].epoch == epoch {
                    let answers = self.hosts[host].disk.finish(self.now, &mut self.dice);
                    for (id, result) in answers {
                        self.input(host, Input::Stored { id, result });
                    }
                    self.begin_commit(host);
                }
            }
            Due::Worked { host, epoch, work } => {
                if self.hosts[host].epoch == epoch {
                    self.input(host, Input::Worked(work));
                }
            }
            Due::Restart { host } => {
                if self.hosts[host].node.is_none() {
                    self.boot(host);
                }
            }
            Due::Echo { host, epoch, link, message } => {
                if self.hosts[host].epoch == epoch {
                    self.input(host, Input::Message { link, message });
                }
            }
            Due::Late { host, epoch, input } => {
                if self.hosts[host].epoch == epoch {
                    self.inputs.push_back((host, epoch, *input));
                }
            }
            Due::Look => self.look(),
            Due::Verdict if self.is_busy() => self.put(self.now + LOOK_EVERY, Due::Verdict),
            Due::Verdict if self.await_digests() => self.put(self.now + SETTLED_AFTER, Due::Verdict),
            Due::Verdict => {
                self.check_rest();
                self.done = true;
            }
        }
    }

    fn next_step(&mut self) {
        if self.step >= self.plan.steps {
            return self.heal();
        }
        self.step += 1;
        self.take_step();
        let pause = match self.dice.below(100) {
            0 => self.dice.below(3_000_000),
            1..=10 => self.dice.below(300_000),
            11..=50 => 0,
            _ => self.dice.below(20_000),
        };
        self.put(self.now + pause, Due::Step);
    }

    /// All faults end, everybody comes back and opens everything.
    fn heal(&mut self) {
        self.trace.note(self.now, &[1], format_args!("healing begins"));
        self.healing_since = Some(self.now);
        self.climate.calm();
        self.dark.clear();
        for connection in self.connections.values_mut() {
            connection.weather.calm();
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].disk.failing_until = 0;
            self.hosts[host].disk.slow_until = 0;
            self.boot(host);
            if host > 0 {
                for document in 0..self.documents.len() {
                    self.open(host, document);
                }
            }
        }
        self.put(self.now + LOOK_EVERY, Due::Look);
    }

    fn look(&mut self) {
        let since = self.healing_since.unwrap_or(self.now);
        self.judge_resolved();
        match self.disagreement().or_else(|| self.unresolved()) {
            None => {
                self.trace.note(self.now, &[2], format_args!("all agree"));
                self.check_agreed();
                self.ask_digests();
                self.put(self.now + SETTLED_AFTER, Due::Verdict);
            }
            Some(why) if self.now - since > HEALING_MAX => {
                self.fail(format!("after {} s without faults: {why}", HEALING_MAX / 1_000_000));
            }
            Some(_) => self.put(self.now + LOOK_EVERY, Due::Look),
        }
    }

    /// Starts a process that is down.
    fn boot(&mut self, host: usize) {
        if self.hosts[host].node.is_some() {
            return;
        }
        self.trace.note(self.now, &[3, host as u64], format_args!("{} starts", self.hosts[host].agent));
        self.hosts[host].boot(self.now, &self.tuning, &mut self.dice);
        self.touched.insert(host);
        if host > 0 {
            for document in 0..self.documents.len() {
                if self.healing_since.is_some() || self.dice.chance(80) {
                    self.open(host, document);
                }
            }
        }
    }

    /// Feeds nodes and moves packets until nothing more happens at this instant.
    pub(super) fn settle(&mut self) {
        while self.failure.is_none() {
            if self.trace.events() > EVENTS_MAX {
                self.fail(format!("no rest after {EVENTS_MAX} events"));
            }
            if let Some((host, epoch, input)) = self.inputs.pop_front() {
                if self.hosts[host].epoch == epoch {
                    let moment = self.hosts[host].moment(self.now);
                    self.trace.note(self.now, &[8, host as u64], format_args!("{host} takes {}", Brief(&input)));
                    if let Some(node) = self.hosts[host].node.as_mut() {
                        node.handle(input, moment);
                    }
                    self.touched.insert(host);
                    self.carry_out(host);
                }
            } else if let Some((connection, side)) = self.to_pump.pop_first() {
                self.pump(connection, side);
            } else if let Some(host) = self.touched.pop_first() {
                // Commands (open, transact) leave outputs too.
                self.carry_out(host);
                self.arm(host);
                self.check_host(host);
            } else {
                return;
            }
        }
    }

    /// Marks a host for its outputs to be carried out and its state to be checked.
    pub(super) fn touch(&mut self, host: usize) {
        self.touched.insert(host);
    }

    fn arm(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(wake) = it.node.as_ref().and_then(crate::node::Node::next_wake) else { return };
        let at = it.world_time(wake).max(self.now);
        if it.timer.is_none_or(|armed| at < armed) {
            it.timer = Some(at);
            let epoch = it.epoch;
            self.put(at, Due::Timer { host, epoch });
        }
    }

    fn carry_out(&mut self, host: usize) {
        let forgetting = self.plan.sabotage == Some(Sabotage::ForgetCatchUp) && self.is_to_forget(host);
        while let Some(output) = self.hosts[host].node.as_mut().and_then(crate::node::Node::poll_output) {
            let epoch = self.hosts[host].epoch;
            match output {
                Output::Send { links, encoded } => {
                    if forgetting && links.len() == 1 && self.forget(host, encoded.lane()) {
                        continue;
                    }
                    for link in links {
                        let Some((connection, side)) = self.hosts[host].links.get(&link).copied() else { continue };
                        if let Some(connected) = self.connections.get_mut(&connection) {
                            connected.ends[side].session.send(encoded.clone());
                            self.to_pump.insert((connection, side));
                        }
                    }
                }
                Output::Close { link, reason, .. } => {
                    self.trace.note(self.now, &[4, link.0], format_args!("{host} closes {link:?}: {reason}"));
                    if let Some((connection, side)) = self.hosts[host].links.get(&link).copied()
                        && let Some(connected) = self.connections.get_mut(&connection)
                    {
                        connected.ends[side].closing = true;
                        self.to_pump.insert((connection, side));
                    }
                }
                // Nobody shows credentials here.
                Output::Show { .. } | Output::Judge { .. } | Output::Tell { .. } => {}
                Output::Dial { target } => {
                    let takes = 500 + self.dice.below(20_000);
                    self.put(self.now + takes, Due::Dialled { host, epoch, target });
                }
                Output::Store { id, task } => {
                    if self.hosts[host].disk.submit(id, task) {
                        self.begin_commit(host);
                    }
                }
                Output::Work(mut work) => {
                    let fails = self.plan.engines_fail() && self.healing_since.is_none() && self.dice.chance(30);
                    if !(fails && work.fail()) {
                        work.run();
                    }
                    let takes = self.dice.below(30_000);
                    self.put(self.now + takes, Due::Worked { host, epoch, work });
                }
                Output::Event(event) => self.event(host, event),
            }
        }
    }

    fn begin_commit(&mut self, host: usize) {
        if let Some(takes) = self.hosts[host].disk.begin(self.now, &mut self.dice) {
            let epoch = self.hosts[host].epoch;
            self.put(self.now + takes, Due::Disk { host, epoch });
        }
    }

    fn event(&mut self, host: usize, event: Event) {
        if self.plan.trace {
            self.trace.note(self.now, &[], format_args!("{} tells {event:?}", self.hosts[host].agent));
        }
        self.check_event(host, event);
    }

    /// Moves what a session has to send into its stream, as far as there is room.
    fn pump(&mut self, connection: u64, side: usize) {
        let Some(Connection { ends, weather }) = self.connections.get_mut(&connection) else { return };
        let end = &mut ends[side];
        if !end.open {
            return;
        }
        let mut arrivals = None;
        let mut empty = false;
        while end.pipe.has_room() {
            let Some(packet) = end.session.poll_transmit() else {
                empty = true;
                break;
            };
            self.trace.note(
                self.now,
                &[5, end.link.0, packet.len() as u64],
                format_args!("host {} sends {} bytes on {:?}", end.host, packet.len(), end.link),
            );
            arrivals = arrivals.or(end.pipe.push(Item::Packet(packet), self.now, weather, &mut self.dice));
        }
        let (host, link) = (end.host, end.link);
        let drained = end.session.take_drained();
        let closes = empty && end.closing;
        if let Some(at) = arrivals {
            self.put(at, Due::Arrival { connection, side });
        }
        if let Some(bytes) = drained {
            self.input(host, Input::Drained { link, bytes });
        }
        if closes {
            self.end(connection, side, "closed by this node");
        }
        self.arm_session(connection, side);
    }

    fn arm_session(&mut self, connection: u64, side: usize) {
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        let end = &mut connected.ends[side];
        let Some(wake) = end.session.next_wake().filter(|_| end.open) else { return };
        let at = self.hosts[end.host].world_time(wake).max(self.now);
        if end.timer.is_none_or(|armed| at < armed) {
            end.timer = Some(at);
            self.put(at, Due::Session { connection, side });
        }
    }

    fn session_timer(&mut self, connection: u64, side: usize) {
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        let end = &mut connected.ends[side];
        if !end.open || end.timer.is_none_or(|at| at > self.now) {
            return;
        }
        end.timer = None;
        let moment = self.hosts[end.host].moment(self.now);
        match end.session.tick(moment.mono) {
            Ok(()) => {
                self.to_pump.insert((connection, side));
            }
            Err(error) => self.end(connection, side, &error.to_string()),
        }
    }

    /// Something reaches the end opposite of `side`.
    fn arrival(&mut self, connection: u64, side: usize) {
        let Some(Connection { ends, .. }) = self.connections.get_mut(&connection) else { return };
        let hosts = (ends[side].host, ends[1 - side].host);
        let pipe = &mut ends[side].pipe;
        pipe.armed = false;
        if let Some(until) = self.dark.get(&hosts).copied().filter(|until| *until > self.now) {
            pipe.armed = true;
            return self.put(until, Due::Arrival { connection, side });
        }
        let Some(item) = pipe.pop(self.now) else {
            if let Some(at) = pipe.next() {
                pipe.armed = true;
                self.put(at, Due::Arrival { connection, side });
            }
            return;
        };
        if let Some(at) = pipe.next() {
            pipe.armed = true;
            self.put(at, Due::Arrival { connection, side });
        }
        self.to_pump.insert((connection, side));
        match item {
            Item::Fin => self.end(connection, 1 - side, "closed by the peer"),
            Item::Packet(packet) => self.receive(connection, 1 - side, packet),
        }
    }

    fn receive(&mut self, connection: u64, side: usize, packet: bytes::Bytes) {
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        let end = &mut connected.ends[side];
        if !end.open {
            return;
        }
        let (host, link, target) = (end.host, end.link, end.target);
        let moment = self.hosts[host].moment(self.now);
        let mut received = Vec::new();
        let result = end.session.receive(packet, moment.mono, &mut received);
        for one in received {
            match one {
                Received::Ready(hello) => {
                    if let Some(connected) = self.connections.get_mut(&connection) {
                        connected.ends[side].ready = true;
                    }
                    self.input(host, Input::LinkUp { link, hello, target, admission: None });
                }
                Received::Message(message) => self.message(host, connection, side, link, message),
                Received::Pong { .. } | Received::Admitted(_) | Received::RenewalAsked => {}
            }
        }
        match result {
            Ok(()) => {
                self.to_pump.insert((connection, side));
            }
            Err(error) => self.fail(format!("{} refused an honest packet: {error}", self.hosts[host].agent)),
        }
    }

    /// A message on its way from a session to its node: where chaos and sabotage have their place.
    fn message(&mut self, host: usize, connection: u64, side: usize, link: LinkId, message: Message) {
        if self.plan.trace {
            let agent = &self.hosts[host].agent;
            self.trace.note(
                self.now,
                &[],
                format_args!("{agent} gets on {link:?}: {}", super::checks::brief(&message)),
            );
        }
        self.note_ack(host, connection, side, &message);
        let message = match self.sabotaged(host, message) {
            Some(message) => message,
            None => return,
        };
        let repeats = matches!(message, Message::Delta { .. } | Message::Ack { .. } | Message::Presence { .. });
        if self.climate.chaotic && repeats {
            let epoch = self.hosts[host].epoch;
            let later = self.now + self.dice.below(200_000);
            if self.dice.chance(10) {
                self.put(later, Due::Echo { host, epoch, link, message: message.clone() });
            } else if self.dice.chance(10) {
                return self.put(later, Due::Echo { host, epoch, link, message });
            }
        }
        self.input(host, Input::Message { link, message });
    }

    fn dialled(&mut self, host: usize, target: TargetId) {
        let other = self.hosts[host].targets[target.0 as usize];
        let dark = |a, b| self.dark.get(&(a, b)).is_some_and(|until: &u64| *until > self.now);
        if self.hosts[other].node.is_none() || dark(host, other) || dark(other, host) {
            return self.input(host, Input::DialFailed { target, reason: "nobody there".to_owned(), is_final: false });
        }
        let id = self.next_connection;
        self.next_connection += 1;
        self.trace.note(self.now, &[6, id, host as u64, other as u64], format_args!("{host} reaches {other}"));
        let end = |world: &Self, host: usize, link: u64, target: Option<TargetId>| {
            let it = &world.hosts[host];
            let hello = it.node.as_ref().map(|node| node.hello(target.is_some()))?;
            let session = Session::new(hello, it.moment(world.now).mono).reporting_every(world.tuning.queue_low);
            Some(End::new(host, LinkId(link), target, session))
        };
        let (Some(near), Some(far)) = (end(self, host, id * 2, Some(target)), end(self, other, id * 2 + 1, None))
        else {
            return;
        };
        self.hosts[host].links.insert(near.link, (id, 0));
        self.hosts[other].links.insert(far.link, (id, 1));
        let weather = Weather::draw(self.healing_since.is_none(), &mut self.dice);
        self.connections.insert(id, Connection { ends: [near, far], weather });
        self.to_pump.insert((id, 0));
        self.to_pump.insert((id, 1));
    }

    /// One end of a connection is over: its node hears of it, and the other end will when that gets through.
    pub(super) fn end(&mut self, connection: u64, side: usize, reason: &str) {
        let Some(Connection { ends, weather }) = self.connections.get_mut(&connection) else { return };
        let end = &mut ends[side];
        if !std::mem::replace(&mut end.open, false) {
            return;
        }
        let (host, link, target, ready) = (end.host, end.link, end.target, end.ready);
        let fin = end.pipe.push(Item::Fin, self.now, weather, &mut self.dice);
        let both = !ends[0].open && !ends[1].open;
        self.trace.note(self.now, &[7, link.0], format_args!("host {host} loses {link:?}: {reason}"));
        if let Some(at) = fin {
            self.put(at, Due::Arrival { connection, side });
        }
        if both {
            self.connections.remove(&connection);
        }
        if self.hosts[host].links.remove(&link).is_some() {
            self.input(host, Input::LinkDown { link, reason: reason.to_owned(), is_final: false });
            if let (Some(target), false) = (target, ready) {
                self.input(host, Input::DialFailed { target, reason: "nobody there".to_owned(), is_final: false });
            }
        }
    }

    /// A sabotaged host that has dropped a queue owes a delta which it is going to forget.
    fn is_to_forget(&mut self, host: usize) -> bool {
        let conflations = self.hosts[host].node.as_ref().map_or(0, |node| node.counters().conflations);
        let epoch = self.hosts[host].epoch;
        let known = self.to_forget.entry(host).or_default();
        // The upper half counts the process's starts: a new one begins at zero.
        if *known >> 32 != epoch {
            *known = epoch << 32;
        }
        conflations > (*known & 0xffff_ffff)
    }

    fn forget(&mut self, host: usize, lane: Lane) -> bool {
        let forgets = matches!(lane, Lane::High | Lane::Low);
        if forgets {
            *self.to_forget.entry(host).or_default() += 1;
        }
        forgets
    }
}

/// An input in one line.
struct Brief<'a>(&'a Input);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Message { link, message } => write!(f, "on {link:?}: {}", super::checks::brief(message)),
            Input::Stored { id, result } => write!(f, "the answer to store task {id}, ok: {}", result.is_ok()),
            Input::Worked(work) => write!(f, "work on {}", work.document),
            other => f.write_str(&format!("{other:?}").chars().take(200).collect::<String>()),
        }
    }
}
