//! What is finished costs nothing, and does not come back: barriers among twenty members, straight between documents.

use aepoch::{
    coordination::{kernel::Arrival, participant::Write},
    document::{Closed, Delta, Frontier, SlotKey, SlotPart, Subscription},
    id::{ObjectId, ReplicaId},
};
use proptest::prelude::*;

use crate::{
    members::{Member, NOW, Swarm, plan},
    peer::kinds,
};

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
        histories[writer].push(writers[writer].document.write_slots(vec![write], 0).unwrap());
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
