//! What is finished costs nothing, and does not come back: barriers among twenty members, straight between documents.

use std::time::Duration;

use aepoch::{
    coordination::{
        kernel::{Arrival, Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose},
        participant::{Participant, Write},
        standing::Standing,
    },
    document::{Closed, Delta, Document, Frontier, Incoming, SlotKey, SlotPart, Subscription},
    engine::EngineKind,
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
    time::{Dice, Moment, Monotonic},
};

use proptest::prelude::*;

use crate::peer::kinds;

const MEMBERS: u64 = 20;
const NOW: Monotonic = Monotonic(1_000);

struct Member {
    document: Document,
    participant: Participant,
    dice: Dice,
}

impl Member {
    fn new(kind: EngineKind, number: u64) -> Self {
        let id = DocumentId::new("band/stage").unwrap();
        let document = Document::new(id, kind, ReplicaId::from_bits(number)).unwrap();
        Self { participant: Participant::new(&document, NOW), document, dice: Dice::new(number) }
    }

    /// Puts records into the document; what they say counts at once.
    fn write(&mut self, writes: &[Write], now: Monotonic) -> Delta {
        let records = writes.iter().map(|write| (write.key, write.body.clone())).collect();
        let delta = self.document.write_slots(records).unwrap();
        let upto = self.document.version().slots.get(self.document.replica());
        self.participant.wrote(writes, upto);
        self.participant.persisted(&self.document, upto, now);
        delta
    }

    /// What follows from what is here, until nothing does.
    fn follow(&mut self, now: Monotonic) -> Vec<Delta> {
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

    fn receive(&mut self, delta: &Delta) {
        let incoming = Incoming::decode(delta.encode().unwrap(), 0, None).unwrap();
        let applied = self.document.apply(vec![incoming], 1_000, false).unwrap();
        assert!(applied.refused.is_empty() && applied.waiting_on.is_none(), "{applied:?}");
    }
}

fn plan(origin: ObjectId, name: &str) -> Plan {
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

struct Swarm {
    members: Vec<Member>,
    now: Monotonic,
}

impl Swarm {
    fn new(kind: EngineKind) -> Self {
        Self { members: (1..=MEMBERS).map(|number| Member::new(kind, number)).collect(), now: NOW }
    }

    /// Everybody hears what these deltas say, and what follows from it, until nothing does.
    fn settle(&mut self, mut deltas: Vec<Delta>) {
        while !deltas.is_empty() {
            let incoming: Vec<Incoming> =
                deltas.iter().map(|delta| Incoming::decode(delta.encode().unwrap(), 0, None).unwrap()).collect();
            let merged = Delta::merged(&incoming);
            self.members.iter_mut().for_each(|member| member.receive(&merged));
            deltas = self.members.iter_mut().flat_map(|member| member.follow(self.now)).collect();
        }
    }

    /// So many barriers from beginning to end, and the time it takes their holder to call them finished.
    fn run(&mut self, barriers: u64, round: u64) -> Vec<ObjectId> {
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
        self.now = self.now + Duration::from_secs(2);
        let deltas = self.members.iter_mut().flat_map(|member| member.follow(self.now)).collect();
        self.settle(deltas);
        objects
    }

    fn sizes(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.document.snapshot().encode().unwrap().len()).collect()
    }
}

fn finished_barriers_cost_nothing(barriers: u64) {
    for kind in kinds() {
        let mut swarm = Swarm::new(kind);
        let before = swarm.sizes();
        for round in 0..barriers / 50 {
            swarm.run(50, round);
        }
        let after = swarm.sizes();
        println!("{kind}: {} bytes before, {} after {barriers} barriers", before[0], after[0]);
        assert!(after.iter().zip(&before).all(|(after, before)| after - before < 1_024), "{before:?} {after:?}");
        assert!(swarm.members.iter().all(|member| member.document.slots_held().0 == 1));
        let digest = |member: &Member| member.document.root_digest().unwrap();
        assert!(swarm.members.iter().all(|member| digest(member) == digest(&swarm.members[0])));
    }
}

#[test]
fn finished_barriers_leave_one_small_record_behind() {
    finished_barriers_cost_nothing(100);
}

#[test]
#[ignore = "minutes without optimisation: run with --release"]
fn ten_thousand_finished_barriers_leave_one_small_record_behind() {
    finished_barriers_cost_nothing(10_000);
}

#[test]
fn a_replica_that_comes_back_after_long_brings_nothing_back() {
    for kind in kinds() {
        let mut swarm = Swarm::new(kind);
        swarm.run(5, 0);
        // It has left in the middle of a barrier, and has what was there then.
        let holder = &mut swarm.members[0];
        let plan = plan(holder.document.next_object(), "flash");
        let key = SlotKey::Of(plan.object(), SlotPart::Definition);
        let defined = holder.write(&[Write { key, body: plan.encode().into(), lazy: false }], NOW);
        swarm.settle(vec![defined]);
        let old = swarm.members[19].document.snapshot();
        let mut stale = Member::new(kind, 77);
        stale.receive(&old);
        assert!(stale.document.slot(key, ReplicaId::from_bits(1)).is_some());
        let deltas = swarm.members.iter_mut().flat_map(|member| {
            let (_, writes) = member.participant.arrive(plan.object(), Arrival::default(), None, NOW).unwrap();
            let mut deltas = vec![member.write(&writes, NOW)];
            deltas.extend(member.follow(NOW));
            deltas
        });
        let deltas = deltas.collect();
        swarm.settle(deltas);
        swarm.run(5, 1);
        let held = swarm.members[0].document.slots_held();
        assert_eq!(held.0, 1);
        // Whole documents, as a peer sends that knows nothing of what the other has.
        let new = swarm.members[0].document.snapshot();
        swarm.members[0].receive(&old);
        assert_eq!(swarm.members[0].document.slots_held(), held);
        stale.receive(&new);
        assert_eq!(stale.document.slots_held(), held);
        let nothing = Frontier::default();
        let again = stale.document.delta_since(&nothing, None, &Subscription::default()).unwrap();
        let mut newcomer = Member::new(kind, 78);
        newcomer.receive(&again);
        assert_eq!(newcomer.document.slots_held(), held);
    }
}

/// What three writers say of four objects, and which of them they call finished: a history for each, of one record a
/// delta.
fn histories(said: &[(u8, u8, bool)]) -> Vec<Vec<Delta>> {
    let kind = kinds()[0];
    let mut writers: Vec<Member> = (1..=3).map(|number| Member::new(kind, number)).collect();
    let mut closed = vec![Closed::default(); 3];
    let mut histories = vec![Vec::new(); 3];
    for (count, (writer, object, closes)) in said.iter().enumerate() {
        let (writer, number) = (usize::from(writer % 3), u64::from(object % 4) + 1);
        let object = ObjectId { holder: ReplicaId::from_bits(1), number };
        let write = if *closes {
            closed[writer].insert(object);
            (SlotKey::Closed, closed[writer].encode().into())
        } else {
            (SlotKey::Of(object, SlotPart::Slot), vec![u8::try_from(count % 250).unwrap()].into())
        };
        histories[writer].push(writers[writer].document.write_slots(vec![write]).unwrap());
    }
    histories
}

proptest! {
    /// Joining what is said with what is finished is one result, whatever the order, grouping and repetition: nothing
    /// that is finished is in it.
    #[test]
    fn dropping_what_is_finished_does_not_depend_on_the_order_of_delivery(
        said in prop::collection::vec((any::<u8>(), any::<u8>(), prop::bool::weighted(0.2)), 0..30),
        picks in prop::collection::vec(any::<u8>(), 120),
    ) {
        let histories = histories(&said);
        let (mut plain, mut shuffled) = (Member::new(kinds()[0], 8), Member::new(kinds()[0], 9));
        histories.iter().flatten().for_each(|delta| plain.receive(delta));
        let mut next = [0; 3];
        for pick in picks {
            let writer = usize::from(pick % 3);
            // Now and then something old again, as a stale replica sends it.
            let at = if pick > 200 { next[writer] / 2 } else { next[writer] };
            if let Some(delta) = histories[writer].get(at) {
                shuffled.receive(delta);
                next[writer] = next[writer].max(at + 1);
            }
        }
        for (history, next) in histories.iter().zip(next) {
            history[next.min(history.len())..].iter().for_each(|delta| shuffled.receive(delta));
        }
        prop_assert!(plain.document.slots().eq(shuffled.document.slots()));
        prop_assert_eq!(plain.document.root_digest().unwrap(), shuffled.document.root_digest().unwrap());
        let finished = plain.document.closed();
        prop_assert!(plain.document.slots().all(|(key, ..)| !key.object().is_some_and(|of| finished.contains(of))));
    }
}
