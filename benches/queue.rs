//! Claims and completions of a queue in one node, for items it owns: what the state machine and its records cost,
//! with a store in memory. `backlog` is how many other items wait meanwhile.
#![allow(missing_docs, reason = "the macros write no docs")]

use std::{collections::VecDeque, hint::black_box, time::Duration};

use aepoch::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose, QueueRules},
        queue::Claiming,
    },
    document::Subscription,
    engine::EngineKind,
    id::{AgentId, DocumentId, Identity, ObjectId, ReplicaId},
    node::{Config, Input, Node, Output, Pushing, Tuning},
    store::{MemoryStore, Store as _, StoreTask},
    sync::Role,
    time::{Moment, Monotonic},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// One round claims and completes so many items, and pushes as many.
const ROUND: u64 = 100;

struct Bench {
    node: Node,
    store: MemoryStore,
    now: Moment,
    document: DocumentId,
    queue: ObjectId,
}

impl Bench {
    fn new(backlog: usize) -> Self {
        let identity = Identity {
            agent: AgentId::new("worker").expect("a name"),
            replica: ReplicaId::from_bits(7),
            incarnation: 1,
        };
        let config = Config {
            identity,
            role: Role::Agent,
            trust_inbound: false,
            authority: None,
            holder: None,
            signing: None,
            keeps_identity: true,
            seed: 1,
            tuning: Tuning::default(),
        };
        let now = Moment { mono: Monotonic(0), wall_ms: 1_000 };
        let document = DocumentId::new("bench/stage").expect("a name");
        let queue = ObjectId { holder: ReplicaId::from_bits(7), number: 1 };
        let mut bench = Self { node: Node::new(config, now), store: MemoryStore::default(), now, document, queue };
        bench.node.open(&bench.document, EngineKind::Yrs, Subscription::default(), now).expect("it opens");
        bench.pump();
        let plan = bench.plan();
        bench.queue = bench.node.define(&bench.document, |_| plan, now).expect("it is begun");
        bench.pump();
        (0..backlog).for_each(|_| bench.push());
        bench
    }

    fn plan(&self) -> Plan {
        let agent = AgentId::new("worker").expect("a name");
        let policy = TierPolicy { tier: Tier::ALPHA, timeout: Duration::ZERO, min: 0, on_shortfall: OnShortfall::Wait };
        Plan {
            definition: Definition {
                document: self.document.clone(),
                name: "jobs".to_owned(),
                creator: agent.clone(),
                origin: self.queue,
                members: vec![Seat { agent, replica: ReplicaId::from_bits(7), tier: Tier::ALPHA }],
                electors: Vec::new(),
                tolerate: 0,
                tiers: vec![policy],
                gate: Gate::Decided,
                fence: false,
            },
            purpose: Purpose::Queue(QueueRules { span_ms: 1_000, lease: Duration::from_secs(30), attempts: 5 }),
        }
    }

    fn pump(&mut self) {
        let mut tasks: VecDeque<(u64, StoreTask)> = VecDeque::new();
        loop {
            while let Some(output) = self.node.poll_output() {
                match output {
                    Output::Store { id, task } => tasks.push_back((id, task)),
                    Output::Work(mut work) => {
                        work.run();
                        self.node.handle(Input::Worked(work), self.now);
                    }
                    _ => {}
                }
            }
            let Some((id, task)) = tasks.pop_front() else { return };
            let result = self.store.commit(std::slice::from_ref(&task)).remove(0);
            self.node.handle(Input::Stored { id, result }, self.now);
        }
    }

    fn push(&mut self) {
        let pushing = Pushing { payload: vec![7; 100].into(), ..Pushing::default() };
        self.node.push(&self.document, self.queue, pushing, self.now).expect("there is room");
        self.pump();
    }

    fn round(&mut self) {
        for _ in 0..ROUND {
            self.push();
            let claimed = self.node.claim(&self.document, self.queue, Claiming::Exclusive, self.now);
            let ticket = claimed.expect("it is a member");
            self.pump();
            let claimed = self.node.claimed(&self.document, self.queue, ticket, self.now).expect("the ticket is known");
            let (claimed, payload) = claimed.expect("an item waits");
            black_box(payload);
            let of = (claimed.item, claimed.token);
            self.node.complete(&self.document, self.queue, of, self.now).expect("it is held");
            self.pump();
        }
        self.now.mono = self.now.mono + Duration::from_millis(10);
        self.now.wall_ms += 10;
        self.node.handle(Input::Tick, self.now);
        self.pump();
    }
}

fn claims(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("claim_and_complete");
    group.throughput(Throughput::Elements(ROUND)).sample_size(20);
    for backlog in [100, 10_000] {
        let mut bench = Bench::new(backlog);
        group.bench_function(format!("backlog_{backlog}"), |bencher| bencher.iter(|| bench.round()));
    }
    group.finish();
}

criterion_group!(benches, claims);
criterion_main!(benches);
