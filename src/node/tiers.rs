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
    /// Refuses records written from a seat, and items pushed at a tier, that are above what the credential allows; and
    /// definitions that differ from the one under their number, by which others have judged seats. A record about an
    /// object whose definition is not here yet passes: whoever takes it in knows no seat of it either.
    ///
    /// # Errors
    /// `Forbidden` names the tier; `Record` the definition.
    pub(super) fn check(
        &mut self,
        document: &Document,
        delta: &Delta,
        confines: &Confines,
    ) -> Result<(), DocumentError> {
        let records =
            || delta.slots.iter().flat_map(|run| run.records.iter().map(move |record| (run.span.writer, record)));
        for (writer, record) in records() {
            check_definition(document, writer, record, records())?;
        }
        if confines.tier() == Tier::ALPHA {
            return Ok(());
        }
        for (writer, record) in records() {
            let SlotKey::Of(object, part) = record.key else { continue };
            let (tier, doing) = match part {
                SlotPart::Slot | SlotPart::Payload => (self.seat(document, object, writer, records()), "sit in"),
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
        mut brought: impl Iterator<Item = (ReplicaId, &'d SlotRecord)>,
    ) -> Option<Tier> {
        if let Some(seats) = self.seats.get(&object) {
            return seats.get(&replica).copied();
        }
        let key = SlotKey::Of(object, SlotPart::Definition);
        let members = |body: &[u8]| -> Option<BTreeMap<ReplicaId, Tier>> {
            let plan = Plan::decode(body, object).ok()?;
            Some(plan.definition.members.iter().map(|seat| (seat.replica, seat.tier)).collect())
        };
        let Some(here) = document.slot(key, object.holder) else {
            // Not remembered: what it comes with may be refused.
            let (_, definition) = brought.find(|(writer, record)| (*writer, record.key) == (object.holder, key))?;
            return members(&definition.body)?.get(&replica).copied();
        };
        if self.seats.len() >= REMEMBERED {
            self.seats.clear();
        }
        self.seats.entry(object).or_insert(members(here)?).get(&replica).copied()
    }
}

/// A definition is written once.
fn check_definition<'d>(
    document: &Document,
    writer: ReplicaId,
    record: &SlotRecord,
    mut brought: impl Iterator<Item = (ReplicaId, &'d SlotRecord)>,
) -> Result<(), DocumentError> {
    let SlotKey::Of(object, SlotPart::Definition) = record.key else { return Ok(()) };
    let other = |body: &bytes::Bytes| *body != record.body;
    let here = document.slot(record.key, object.holder).is_some_and(other);
    let beside = brought.any(|(_, another)| another.key == record.key && other(&another.body));
    if writer == object.holder && !here && !beside {
        return Ok(());
    }
    let path = record.key.to_string();
    let reason = "an object is defined once, by the replica it is numbered by".to_owned();
    Err(DocumentError::Record { path, reason })
}
