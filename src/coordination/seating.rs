//! What a signature over a coordination record has to say of its place. Layer 3, pure.

use super::{kernel::Slot, object::Plan, queue::ItemRecord};
use crate::{
    document::{SealedSeats, Seating, SlotPlace},
    id::{ObjectId, ReplicaId},
    tier::Tier,
};

/// Reads coordination records for a document that signs and judges them.
#[derive(Debug, Clone, Copy)]
pub struct Seats;

impl Seating for Seats {
    fn seats(&self, object: ObjectId, definition: &[u8]) -> Option<SealedSeats> {
        let plan = Plan::decode(definition, object).ok()?;
        let members = plan.definition.members.iter().map(|seat| (seat.replica, Some(seat.tier)));
        // An elector's tier has no meaning, and one that is a member sits as such.
        let electors = plan.definition.electors.iter().map(|seat| (seat.replica, None));
        let numbered = (0..).zip(members.chain(electors));
        let mut seats: Vec<(ReplicaId, u16, Option<Tier>)> =
            numbered.map(|(seat, (replica, tier))| (replica, seat, tier)).collect();
        seats.sort_by_key(|(replica, seat, _)| (*replica, *seat));
        seats.dedup_by_key(|(replica, ..)| *replica);
        Some(SealedSeats { fingerprint: plan.fingerprint(), seats })
    }

    fn place(&self, slot: &[u8]) -> Option<SlotPlace> {
        let (fingerprint, slot) = slot.split_first_chunk::<8>()?;
        let slot = Slot::decode(slot).ok()?;
        let added = slot.change.added.iter().map(|seat| (seat.replica, seat.tier)).collect();
        Some(SlotPlace { fingerprint: u64::from_be_bytes(*fingerprint), generation: slot.generation, added })
    }

    fn queue(&self, item: &[u8]) -> Option<ObjectId> {
        ItemRecord::decode(item).ok().map(|item| item.queue)
    }
}
