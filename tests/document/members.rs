//! Twenty members, their documents, and what they take part in: straight between documents.

use std::time::Duration;

use aepoch::{
    coordination::{
        kernel::{Arrival, Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose},
        participant::{Participant, Write},
        standing::Standing,
    },
    document::{Delta, Document, Incoming, SlotKey, SlotPart},
    engine::EngineKind,
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
    time::{Dice, Moment, Monotonic},
};

pub(crate) const MEMBERS: u64 = 20;
pub(crate) const NOW: Monotonic = Monotonic(1_000);

pub(crate) struct Member {
    pub(crate) document: Document,
    pub(crate) participant: Participant,
    dice: Dice,
}

impl Member {
    pub(crate) fn new(kind: EngineKind, number: u64) -> Self {
        let id = DocumentId::new("band/stage").unwrap();
        let document = Document::new(id, kind, ReplicaId::from_bits(number)).unwrap();
        Self { participant: Participant::new(&document, NOW), document, dice: Dice::new(number) }
    }

    /// Puts records into the document; what they say counts at once.
    pub(crate) fn write(&mut self, writes: &[Write], now: Monotonic) -> Delta {
        let records = writes.iter().map(|write| (write.key, write.body.clone())).collect();
        let delta = self.document.write_slots(records, 0).unwrap();
        let upto = self.document.version().slots.get(self.document.replica());
        self.participant.wrote(writes, upto);
        self.participant.persisted(&self.document, upto, now);
        delta
    }

    /// What follows from what is here, until nothing does.
    pub(crate) fn follow(&mut self, now: Monotonic) -> Vec<Delta> {
        let mut deltas = Vec::new();
        loop {
            let (changed, closed) = self.document.take_changed_slots();
            self.participant.observe(&self.document, &changed, closed, now);
            let writes = self.participant.poll(&self.document, Moment { mono: now, wall_ms: 0 }, &mut self.dice);
            if writes.is_empty() && !self.participant.is_busy() {
                self.participant.take_happenings();
                return deltas;
            }
            deltas.push(self.write(&writes, now));
        }
    }

    pub(crate) fn receive(&mut self, delta: &Delta) {
        let incoming = Incoming::decode(delta.encode().unwrap(), 0, None).unwrap();
        let applied = self.document.apply(vec![incoming], 1_000, false).unwrap();
        assert!(applied.refused.is_empty() && applied.waiting_on.is_none(), "{applied:?}");
    }
}

pub(crate) fn plan(origin: ObjectId, name: &str) -> Plan {
    let seat = |number: u64| Seat {
        agent: AgentId::new(&format!("agent-{number}")).unwrap(),
        replica: ReplicaId::from_bits(number),
        tier: Tier::ALPHA,
    };
    let tier =
        TierPolicy { tier: Tier::ALPHA, timeout: Duration::from_secs(15), min: 1, on_shortfall: OnShortfall::Proceed };
    Plan {
        definition: Definition {
            document: DocumentId::new("band/stage").unwrap(),
            name: name.to_owned(),
            creator: AgentId::new("agent-1").unwrap(),
            origin,
            members: (1..=MEMBERS).map(seat).collect(),
            electors: Vec::new(),
            tolerate: 0,
            tiers: vec![tier],
            gate: Gate::Decided,
            fence: true,
        },
        purpose: Purpose::Barrier { once: true },
    }
}

pub(crate) struct Swarm {
    pub(crate) members: Vec<Member>,
    pub(crate) now: Monotonic,
}

impl Swarm {
    pub(crate) fn new(kind: EngineKind) -> Self {
        Self { members: (1..=MEMBERS).map(|number| Member::new(kind, number)).collect(), now: NOW }
    }

    /// Everybody hears what these deltas say, and what follows from it, until nothing does.
    pub(crate) fn settle(&mut self, mut deltas: Vec<Delta>) {
        while !deltas.is_empty() {
            let incoming: Vec<Incoming> =
                deltas.iter().map(|delta| Incoming::decode(delta.encode().unwrap(), 0, None).unwrap()).collect();
            let merged = Delta::merged(&incoming);
            self.members.iter_mut().for_each(|member| member.receive(&merged));
            deltas = self.members.iter_mut().flat_map(|member| member.follow(self.now)).collect();
        }
    }

    /// So many barriers from beginning to end, and the time it takes their holder to call them finished.
    pub(crate) fn run(&mut self, barriers: u64, round: u64) -> Vec<ObjectId> {
        let (mut objects, mut deltas) = (Vec::new(), Vec::new());
        for number in 0..barriers {
            let holder = &mut self.members[0];
            let plan = plan(holder.document.next_object(), &format!("flash-{round}-{number}"));
            objects.push(plan.object());
            let key = SlotKey::Of(plan.object(), SlotPart::Definition);
            deltas.push(holder.write(&[Write { key, body: plan.encode().into(), lazy: false }], self.now));
        }
        deltas.extend(self.members[0].follow(self.now));
        self.settle(deltas);
        let mut deltas = Vec::new();
        for member in &mut self.members {
            for object in &objects {
                let (_, writes) = member.participant.arrive(*object, Arrival::default(), None, self.now).unwrap();
                deltas.push(member.write(&writes, self.now));
            }
            deltas.extend(member.follow(self.now));
        }
        self.settle(deltas);
        for (member, object) in
            self.members.iter().flat_map(|member| objects.iter().map(move |object| (member, object)))
        {
            let meeting = member.participant.meeting_or_ended(*object).unwrap();
            assert!(matches!(meeting.standing(&member.document, 0, self.now), Standing::Released(_)));
        }
        // Members keep the outcome, then their holder calls the barriers finished.
        for _ in 0..2 {
            self.now = self.now + Duration::from_secs(2);
            let deltas = self.members.iter_mut().flat_map(|member| member.follow(self.now)).collect();
            self.settle(deltas);
        }
        objects
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.document.snapshot().encode().unwrap().len()).collect()
    }
}
