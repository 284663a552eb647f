//! A release is told once all that the released had written before they arrived is here.

use aepoch::{
    coordination::{barrier::Progress, kernel::Arrival, participant::Write, standing::Standing},
    document::{SlotKey, SlotPart},
};

use crate::{
    members::{NOW, Swarm, plan},
    peer::kinds,
};

#[test]
fn a_release_waits_for_what_the_others_wrote_before_they_arrived() {
    for (kind, fence) in kinds().into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let mut swarm = Swarm::new(kind);
        let mut plan = plan(swarm.members[0].document.next_object(), "flash");
        plan.definition.fence = fence;
        let object = plan.object();
        let write = Write { key: SlotKey::Of(object, SlotPart::Definition), body: plan.encode().into(), lazy: false };
        let mut deltas = vec![swarm.members[0].write(&[write], NOW)];
        deltas.extend(swarm.members[0].follow(NOW));
        swarm.settle(deltas);
        // Content that is still on its way when all arrivals are there.
        let written = swarm.members[1].document.transact(1_000, false, |tx| {
            tx.map("m").put("k", &7)?;
            tx.register("r").set(&7)
        });
        let written: Result<_, aepoch::document::DocumentError> = written;
        let content = written.unwrap().1.delta;
        let mut deltas = Vec::new();
        for member in &mut swarm.members {
            let version = member.document.version();
            let me = member.document.replica();
            let arrival = Arrival { fence: (version.content.get(me), version.records.get(me)), ..Arrival::default() };
            let (_, writes) = member.participant.arrive(object, arrival, None, NOW).unwrap();
            deltas.push(member.write(&writes, NOW));
            deltas.extend(member.follow(NOW));
        }
        swarm.settle(deltas);
        let reader = &mut swarm.members[2];
        let meeting = reader.participant.meeting(object).unwrap();
        assert!(matches!(meeting.barrier().progress(0, NOW), Progress::Released { .. }), "it is decided");
        let standing = meeting.standing(&reader.document, 0, NOW);
        assert_eq!(matches!(standing, Standing::Released(_)), !fence, "{kind}, fence {fence}: {standing:?}");
        reader.receive(&content);
        reader.follow(NOW);
        let standing = reader.participant.meeting_or_ended(object).unwrap().standing(&reader.document, 0, NOW);
        assert!(matches!(standing, Standing::Released(_)), "{kind}, fence {fence}: {standing:?}");
    }
}
