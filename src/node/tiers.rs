//! Tiers at the door: which seat a record is written from, and whether its writer's credential reaches that high.

use std::collections::BTreeMap;

use crate::{
    coordination::{object::Plan, queue::ItemRecord},
    document::{Confines, Delta, Document, DocumentError, SlotKey, SlotPart, SlotRecord},
    id::{ObjectId, ReplicaId},
    tier::Tier,
};

/// Objects whose seats are remembered, so that a definition is not read for every record about it.
const REMEMBERED: usize = 256;

/// The tiers of the members of objects.
#[derive(Debug, Default)]
pub(super) struct TierBook {
    seats: BTreeMap<ObjectId, BTreeMap<ReplicaId, Tier>>,
}

impl TierBook {
    /// Refuses records written from a seat, and items pushed at a tier, that are above what the credential allows. A
    /// record about an object whose definition is not here yet passes: whoever takes it in knows no seat of it either.
    ///
    /// # Errors
    /// `Forbidden` names the tier and the object.
    pub(super) fn check(
        &mut self,
        document: &Document,
        delta: &Delta,
        confines: &Confines,
    ) -> Result<(), DocumentError> {
        if confines.tier() == Tier::ALPHA {
            return Ok(());
        }
        let records =
            || delta.slots.iter().flat_map(|run| run.records.iter().map(move |record| (run.span.writer, record)));
        for (writer, record) in records() {
            let SlotKey::Of(object, part) = record.key else { continue };
            let (tier, doing) = match part {
                SlotPart::Slot | SlotPart::Payload => {
                    let brought = records().map(|(_, record)| record);
                    (self.seat(document, object, writer, brought), "sit in")
                }
                SlotPart::Item => (ItemRecord::decode(&record.body).ok().map(|item| item.tier), "push items at"),
                SlotPart::Definition | SlotPart::Claim | SlotPart::Mark => continue,
            };
            if let Some(tier) = tier.filter(|tier| *tier < confines.tier()) {
                return Err(confines.too_high(doing, tier));
            }
        }
        Ok(())
    }

    /// The tier of a replica's seat; `None` where it has none, or the definition is not known.
    fn seat<'d>(
        &mut self,
        document: &Document,
        object: ObjectId,
        replica: ReplicaId,
        brought: impl Iterator<Item = &'d SlotRecord>,
    ) -> Option<Tier> {
        if !self.seats.contains_key(&object) {
            let key = SlotKey::Of(object, SlotPart::Definition);
            let here = document.slot(key, object.holder);
            let body = here.or_else(|| brought.into_iter().find(|record| record.key == key).map(|record| &record.body));
            let plan = Plan::decode(body?, object).ok()?;
            if self.seats.len() >= REMEMBERED {
                self.seats.clear();
            }
            let members = plan.definition.members.iter().map(|seat| (seat.replica, seat.tier));
            self.seats.insert(object, members.collect());
        }
        self.seats.get(&object)?.get(&replica).copied()
    }
}
