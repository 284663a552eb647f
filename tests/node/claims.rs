//! Claim registers through real participants and documents, under random schedules: what applications are told is a
//! history that one process could have made (Q3, Q4), and all replicas see one order (Q1).
//!
//! Deltas travel between replicas in any order, late, twice, or not until the end; disks confirm when they like; holders
//! stall beyond their lease, and replicas crash back to what their disk had.

use std::{collections::BTreeMap, time::Duration};

use aepoch::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose, QueueRules},
        participant::{Participant, Write},
        queue::{Claimed, Claiming, Hold},
    },
    document::{Delta, Document, Incoming, SlotKey, SlotPart, Subscription},
    engine::EngineKind,
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
    time::{Dice, Hlc, Moment, Monotonic},
};
use bytes::Bytes;
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(2);
const REPLICAS: usize = 3;

fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bits(number as u64 + 1)
}

fn plan(origin: ObjectId, tolerate: u32) -> Plan {
    let seat = |number| Seat {
        agent: AgentId::new(&format!("agent-{number}")).unwrap(),
        replica: replica(number),
        tier: Tier::ALPHA,
    };
    let policy = TierPolicy { tier: Tier::ALPHA, timeout: LEASE, min: 0, on_shortfall: OnShortfall::Wait };
    Plan {
        definition: Definition {
            document: DocumentId::new("band/stage").unwrap(),
            name: "jobs".to_owned(),
            creator: AgentId::new("agent-0").unwrap(),
            origin,
            members: (0..REPLICAS).map(seat).collect(),
            electors: Vec::new(),
            tolerate,
            tiers: vec![policy],
            gate: Gate::Decided,
            fence: false,
        },
        purpose: Purpose::Queue(QueueRules { span_ms: 1_000, lease: LEASE, attempts: 1_000 }),
    }
}

/// One replica: what it has, and what its disk has.
struct Host {
    document: Document,
    participant: Participant,
    disk: Vec<Bytes>,
    written: Vec<Bytes>,
    /// Written, and not told yet: others hear of it once it is durable.
    unsent: Vec<Bytes>,
    waiting: Vec<(u64, u64)>,
    held: Vec<(Claimed, u64)>,
    completing: Vec<(Claimed, u64)>,
}

/// What an application was told, with when it asked and when it was told.
#[derive(Debug, Clone, Copy)]
struct Told {
    item: ObjectId,
    token: u64,
    asked: u64,
    told: u64,
    done: bool,
}

struct World {
    hosts: Vec<Host>,
    network: Vec<(usize, Bytes)>,
    now: Monotonic,
    step: u64,
    dice: Dice,
    queue: ObjectId,
    history: Vec<Told>,
}

fn fresh(number: usize, now: Monotonic) -> Host {
    let id = DocumentId::new("band/stage").unwrap();
    let document = Document::new(id, EngineKind::Yrs, replica(number)).unwrap();
    let participant = Participant::new(&document, now);
    Host {
        document,
        participant,
        disk: Vec::new(),
        written: Vec::new(),
        unsent: Vec::new(),
        waiting: Vec::new(),
        held: Vec::new(),
        completing: Vec::new(),
    }
}

impl World {
    fn new(tolerate: u32, seed: u64) -> Self {
        let now = Monotonic(1_000);
        let queue = ObjectId { holder: replica(0), number: 1 };
        let hosts = (0..REPLICAS).map(|number| fresh(number, now)).collect();
        let dice = Dice::new(seed);
        let mut world = Self { hosts, network: Vec::new(), now, step: 0, dice, queue, history: Vec::new() };
        let key = SlotKey::Of(queue, SlotPart::Definition);
        let body = plan(queue, tolerate).encode().into();
        world.write(0, &[Write { key, body, lazy: false }]);
        world.settle();
        world
    }

    fn moment(&self) -> Moment {
        Moment { mono: self.now, wall_ms: 1_000 + self.now.0 / 1_000 }
    }

    fn write(&mut self, at: usize, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let wall_ms = self.moment().wall_ms;
        let host = &mut self.hosts[at];
        let pairs = writes.iter().map(|write| (write.key, write.body.clone())).collect();
        let delta: Delta = host.document.write_slots(pairs, wall_ms).unwrap();
        let encoded = delta.encode().unwrap();
        host.written.push(encoded.clone());
        host.unsent.push(encoded);
        let upto = host.document.version().slots.get(replica(at));
        host.participant.wrote(writes, upto);
    }

    fn follow(&mut self, at: usize) {
        loop {
            let (now, host) = (self.moment(), &mut self.hosts[at]);
            let (changed, closed) = host.document.take_changed_slots();
            host.participant.observe(&host.document, &changed, closed, now.mono);
            let writes = host.participant.poll(&host.document, now, &mut self.dice);
            if writes.is_empty() && !host.participant.is_busy() {
                host.participant.take_happenings();
                break;
            }
            self.write(at, &writes);
        }
        self.listen(at);
    }

    /// What its application is told now.
    fn listen(&mut self, at: usize) {
        let (queue, step) = (self.queue, self.step);
        let host = &mut self.hosts[at];
        let Ok(queue) = host.participant.queue_mut(queue) else { return };
        let mut told = Vec::new();
        host.waiting.retain(|(ticket, asked)| match queue.claimed(*ticket) {
            Ok(Some(claimed)) => {
                let Claimed { item, token, .. } = claimed;
                told.push(Told { item, token, asked: *asked, told: step, done: false });
                host.held.push((claimed, step));
                false
            }
            Ok(None) => true,
            Err(_) => false,
        });
        host.completing.retain(|(claimed, asked)| match queue.hold(claimed.item, claimed.token) {
            Hold::Held { .. } => true,
            Hold::Done => {
                let Claimed { item, token, .. } = *claimed;
                told.push(Told { item, token, asked: *asked, told: step, done: true });
                false
            }
            _ => false,
        });
        self.history.extend(told);
    }

    /// The disk has everything: it counts, and goes out.
    fn persist(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.disk.append(&mut host.written);
        for encoded in std::mem::take(&mut host.unsent) {
            for to in (0..REPLICAS).filter(|to| *to != at) {
                self.network.push((to, encoded.clone()));
            }
        }
        let upto = host.document.version().slots.get(replica(at));
        host.participant.persisted(&host.document, upto, self.now);
        self.follow(at);
    }

    fn deliver(&mut self, chosen: usize, again: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = chosen % self.network.len();
        let (to, encoded) = if again { self.network[at].clone() } else { self.network.swap_remove(at) };
        self.receive(to, &encoded);
        self.hosts[to].written.push(encoded);
        self.follow(to);
    }

    fn receive(&mut self, to: usize, encoded: &Bytes) {
        let incoming = Incoming::decode(encoded.clone(), 0, None).unwrap();
        self.hosts[to].document.apply(vec![incoming], 1_000, false).unwrap();
    }

    /// It loses what its disk has not confirmed, and its application.
    fn crash(&mut self, at: usize) {
        let disk = std::mem::take(&mut self.hosts[at].disk);
        self.hosts[at] = fresh(at, self.now);
        for encoded in &disk {
            self.receive(at, encoded);
        }
        let host = &mut self.hosts[at];
        host.document.take_changed_slots();
        host.participant = Participant::new(&host.document, self.now);
        host.disk = disk;
        self.follow(at);
        self.catch_up(at);
    }

    /// Others send what it lacks of what they have kept.
    fn catch_up(&mut self, at: usize) {
        for from in (0..REPLICAS).filter(|from| *from != at) {
            // What becomes durable makes it write more, and nothing leaves that is not durable.
            self.persist(from);
            while !self.hosts[from].unsent.is_empty() {
                self.persist(from);
            }
            let delta = self.hosts[from]
                .document
                .delta_since(&self.hosts[at].document.frontier(), None, &Subscription::default())
                .unwrap();
            self.network.push((at, delta.encode().unwrap()));
        }
    }

    fn deliver_all(&mut self, at: usize) {
        let (here, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.network).into_iter().partition(|(to, _)| *to == at);
        self.network = others;
        for (to, encoded) in here {
            self.receive(to, &encoded);
            self.hosts[to].written.push(encoded);
        }
        self.follow(at);
    }

    fn push(&mut self, at: usize, tier: u8) {
        let (clock, host) = (Hlc(self.moment().wall_ms << 16), &self.hosts[at]);
        let item = host.document.next_object();
        let Ok(queue) = host.participant.queue(self.queue) else { return };
        let write = queue.push(item, Tier(tier), None, Bytes::from_static(b"work"), clock).unwrap();
        self.write(at, &[write]);
        self.follow(at);
    }

    fn claim(&mut self, at: usize) {
        let (stamp, step, host) = (Hlc(self.step), self.step, &mut self.hosts[at]);
        let Ok(queue) = host.participant.queue_mut(self.queue) else { return };
        let ticket = queue.claim(Claiming::Exclusive, stamp).unwrap();
        host.waiting.push((ticket, step));
        self.follow(at);
    }

    fn end(&mut self, at: usize, complete: bool) {
        let (now, step, host) = (self.now, self.step, &mut self.hosts[at]);
        let (Some((claimed, _)), Ok(queue)) = (host.held.pop(), host.participant.queue_mut(self.queue)) else { return };
        if complete && queue.complete(claimed.item, claimed.token, now).is_ok() {
            host.completing.push((claimed, step));
        } else if !complete {
            let _ = queue.fail(claimed.item, claimed.token, "once more", now);
        }
        self.follow(at);
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        for _ in 0..8 {
            (0..REPLICAS).for_each(|at| self.persist(at));
            (0..REPLICAS).for_each(|at| self.catch_up(at));
            while !self.network.is_empty() {
                self.deliver(0, false);
            }
        }
    }

    fn apply(&mut self, event: Event) {
        self.step += 1;
        match event {
            Event::Push(at, tier) => self.push(at, tier),
            Event::Claim(at) => self.claim(at),
            Event::Complete(at) => self.end(at, true),
            Event::Fail(at) => self.end(at, false),
            Event::Persist(at) => self.persist(at),
            Event::Deliver(chosen, again) => self.deliver(chosen, again),
            Event::DeliverAll(at) => self.deliver_all(at),
            Event::Crash(at) => self.crash(at),
            Event::Pass(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                (0..REPLICAS).for_each(|at| self.follow(at));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Push(usize, u8),
    Claim(usize),
    Complete(usize),
    Fail(usize),
    Persist(usize),
    Deliver(usize, bool),
    DeliverAll(usize),
    Crash(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let host = || 0..REPLICAS;
    prop_oneof![
        2 => (host(), 0..3_u8).prop_map(|(at, tier)| Event::Push(at, tier)),
        4 => host().prop_map(Event::Claim),
        3 => host().prop_map(Event::Complete),
        1 => host().prop_map(Event::Fail),
        12 => host().prop_map(Event::Persist),
        24 => (0..64_usize, prop::bool::weighted(0.1)).prop_map(|(chosen, again)| Event::Deliver(chosen, again)),
        6 => host().prop_map(Event::DeliverAll),
        1 => host().prop_map(Event::Crash),
        3 => (1..3_000_u64).prop_map(Event::Pass),
    ]
}

/// One register per item: a claim takes effect between asking and telling, with tokens in that order; nothing is claimed
/// after it was done; one token has one holder and one item one end.
fn check(history: &[Told]) -> Result<(), TestCaseError> {
    let mut items: BTreeMap<ObjectId, Vec<Told>> = BTreeMap::new();
    history.iter().for_each(|told| items.entry(told.item).or_default().push(*told));
    for told in items.values() {
        let (ends, claims): (Vec<Told>, Vec<Told>) = told.iter().partition(|told| told.done);
        prop_assert!(ends.len() <= 1, "done twice: {ends:?}");
        for (at, one) in claims.iter().enumerate() {
            for other in &claims[at + 1..] {
                prop_assert_ne!(one.token, other.token, "two holders: {:?} and {:?}", one, other);
                let (first, second) = if one.token < other.token { (one, other) } else { (other, one) };
                prop_assert!(second.told >= first.asked, "a later token was told before the earlier one was asked for");
            }
            for end in &ends {
                prop_assert!(one.token <= end.token, "{one:?} after it was done: {end:?}");
                prop_assert!(one.token != end.token || one.told <= end.told);
                prop_assert!(one.asked <= end.told, "{one:?} was asked for after it was done: {end:?}");
            }
        }
    }
    Ok(())
}

fn orders(world: &World) -> Vec<Vec<ObjectId>> {
    let views =
        |host: &Host| host.participant.queue(world.queue).unwrap().views(world.now).map(|view| view.item).collect();
    world.hosts.iter().map(views).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_applications_are_told_is_one_history_per_item_and_one_order_for_all(
        tolerate in 0..2_u32,
        seed in 0..1_000_u64,
        events in prop::collection::vec(event(), 0..220),
    ) {
        let mut world = World::new(tolerate, seed);
        for event in events {
            world.apply(event);
        }
        check(&world.history)?;
        world.settle();
        check(&world.history)?;
        let orders = orders(&world);
        prop_assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", orders);
    }
}

/// The schedules above are not empty talk: items are claimed, taken over after crashes, and done.
#[test]
fn random_schedules_claim_take_over_and_complete() {
    let mut dice = Dice::new(7);
    let (mut claims, mut takeovers, mut ends) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(1, seed);
        for _ in 0..200 {
            let at = usize::try_from(dice.below(3)).unwrap();
            world.apply(match dice.below(20) {
                0 => Event::Push(at, 0),
                1 | 2 => Event::Claim(at),
                3 => Event::Complete(at),
                4 if dice.chance(30) => Event::Crash(at),
                5 => Event::Pass(700),
                6..=9 => Event::Persist(at),
                10..=13 => Event::DeliverAll(at),
                _ => Event::Deliver(usize::try_from(dice.below(64)).unwrap(), false),
            });
        }
        claims += world.history.iter().filter(|told| !told.done).count();
        takeovers += world.history.iter().filter(|told| !told.done && told.token > 1).count();
        ends += world.history.iter().filter(|told| told.done).count();
    }
    assert!(claims > 100 && takeovers > 10 && ends > 20, "{claims} claims, {takeovers} taken over, {ends} done");
}

/// After a crash between two steps of an end, the records that are left do not show it to the replica that crashed: the
/// others, who have seen it, say so, before the item is dropped and without anybody claiming it.
#[test]
fn an_end_that_the_records_no_longer_show_is_said_by_those_who_know_it() {
    let mut world = World::new(1, 0);
    for event in [
        Event::Claim(0),
        Event::Push(1, 0),
        Event::Persist(1),
        Event::Push(0, 0),
        Event::Deliver(0, false),
        Event::Claim(0),
        Event::Persist(0),
        Event::Push(0, 0),
        Event::DeliverAll(2),
        Event::Deliver(0, false),
        Event::Deliver(0, false),
        Event::Persist(2),
        Event::Claim(1),
        Event::Deliver(6, false),
        Event::Complete(0),
        Event::Persist(1),
        Event::Persist(0),
        Event::Crash(0),
        Event::Deliver(15, false),
        Event::Deliver(5, false),
        Event::Deliver(23, false),
        Event::DeliverAll(1),
        Event::Persist(0),
        Event::DeliverAll(2),
        Event::Persist(2),
        Event::Deliver(4, false),
    ] {
        world.apply(event);
    }
    world.settle();
    let done = ObjectId { holder: replica(1), number: 1 };
    let sees = |world: &World| orders(world).iter().map(|order| order.contains(&done)).collect::<Vec<_>>();
    assert_eq!(sees(&world), [false; REPLICAS]);
    // Their word is in the records: it outlasts them.
    (0..REPLICAS).for_each(|at| world.crash(at));
    world.settle();
    assert_eq!(sees(&world), [false; REPLICAS]);
    check(&world.history).unwrap();
}
