//! Records by their names: what a cut takes away, what may yet be cut, and proof of numbers used twice.

use std::collections::BTreeSet;

use super::Sealing;
use crate::{
    document::{Document, Frontier, SlotKey, SlotRecord, merge::Before, records::Slot},
    engine::{Origin, Patch},
    id::ReplicaId,
    trust::{
        key::PublicKey,
        record::{EquivocationProof, Plane, Preimage, RecordId, Seal, SignedRecord, Verdict, judge},
    },
};

/// A record that is here, with its name.
struct Named {
    writer: ReplicaId,
    at: At,
    preimage: Preimage,
    id: RecordId,
}

enum At {
    Slot(Slot, u64),
    Key(SlotKey),
}

impl At {
    fn path(&self) -> String {
        match self {
            Self::Slot(slot, _) => slot.path_text(),
            Self::Key(key) => format!("coordination/{key}"),
        }
    }
}

impl Document {
    /// Takes away what the policy has cut off. Returns what changed for readers.
    pub(super) fn apply_cuts(&mut self) -> Vec<Patch> {
        let Some(sealing) = &self.sealing else { return Vec::new() };
        if sealing.authority.in_force.cuts.is_empty() {
            return Vec::new();
        }
        let in_force = sealing.authority.in_force.clone();
        let mut before = Before::new();
        for named in self.named(|key| in_force.cuts.names(key)) {
            if !in_force.cuts.excludes(&named.preimage.key, &named.id) {
                continue;
            }
            match named.at {
                At::Slot(slot, seq) => {
                    let value = self.lattice.current(&slot);
                    before.entry(slot.clone()).or_insert((value, named.writer));
                    self.lattice.remove(named.writer, &slot, seq);
                }
                At::Key(key) => self.board.remove(key, named.writer),
            }
        }
        self.record_patches(before, Origin::Remote)
    }

    /// True when a cut names the key of `writer`: then a number followed before says nothing, because what had replaced
    /// a record that survives may be gone.
    pub(in crate::document) fn is_cut(&mut self, writer: ReplicaId) -> bool {
        let Some(sealing) = &mut self.sealing else { return false };
        if sealing.authority.in_force.cuts.is_empty() {
            return false;
        }
        let holder = sealing.holder(writer, &self.board);
        holder.is_some_and(|holder| sealing.authority.in_force.cuts.names(&holder.key))
    }

    /// What to tell a peer of whom something is wanted: the frontier, but of writers that were cut off as if nothing of
    /// theirs were known. So what survives comes from whoever has it.
    pub fn wanting(&mut self) -> Frontier {
        let mut frontier = self.frontier();
        if self.sealing.as_ref().is_some_and(|sealing| !sealing.authority.in_force.cuts.is_empty()) {
            let writers: BTreeSet<ReplicaId> = [&self.version.records, &self.version.slots]
                .iter()
                .flat_map(|seen| seen.iter())
                .map(|(writer, _)| writer)
                .collect();
            for writer in writers {
                if self.is_cut(writer) {
                    frontier.version.records = frontier.version.records.capped(writer, 0);
                    frontier.version.slots = frontier.version.slots.capped(writer, 0);
                }
            }
        }
        frontier
    }

    /// The names of a key's records that are here and that a cut would concern, with their paths: what to choose
    /// survivors from. O(records).
    pub fn record_ids(&mut self, key: &PublicKey) -> Vec<(String, RecordId)> {
        self.named(|named| named == key).into_iter().map(|named| (named.at.path(), named.id)).collect()
    }

    /// Records that count only as long as no cut takes them away: their writer's credentials were revoked. Nothing that
    /// cannot be undone may depend on them. By writer and path. O(records).
    pub fn tentative(&mut self) -> Vec<(ReplicaId, String)> {
        let Some(in_force) = self.sealing.as_ref().map(|sealing| sealing.authority.in_force.clone()) else {
            return Vec::new();
        };
        if in_force.policy.revoked.is_empty() {
            return Vec::new();
        }
        let mut tentative = Vec::new();
        for named in self.named(|_| true) {
            let Some(sealing) = &mut self.sealing else { break };
            let Some(holder) = sealing.holder(named.writer, &self.board) else { continue };
            if judge(&named.preimage, &named.id, &self.id, None, &holder, &in_force) == Verdict::Tentative {
                tentative.push((named.writer, named.at.path()));
            }
        }
        tentative
    }

    /// Proofs that a writer used one number twice, for whoever was not there; the first few of those that were seen.
    pub fn equivocation_proofs(&mut self) -> Vec<EquivocationProof> {
        let Some(sealing) = &mut self.sealing else { return Vec::new() };
        let mut proofs = Vec::new();
        let mut prove = |one: Option<(Preimage, Seal)>, other: Option<(Preimage, Seal)>| {
            if let (Some(one), Some(other)) = (one, other) {
                let signed = |(preimage, seal): (Preimage, Seal)| SignedRecord::new(preimage, &seal);
                proofs.extend(EquivocationProof::new(signed(one), signed(other)).ok());
            }
        };
        for found in self.lattice.equivocations().0 {
            let [one, other] =
                [&found.kept, &found.other].map(|record| sealing.signed_record(found.writer, record, &self.board));
            prove(one, other);
        }
        for (writer, kept, other) in self.board.evidence() {
            let [one, other] = [kept, other].map(|record| sealing.signed_slot(*writer, record, &self.board));
            prove(one, other);
        }
        proofs
    }

    /// Records of the open plane whose writers' keys are wanted, with their names.
    fn named(&mut self, wanted: impl Fn(&PublicKey) -> bool) -> Vec<Named> {
        let Some(sealing) = &mut self.sealing else { return Vec::new() };
        let mut found = Vec::new();
        let is_wanted = |sealing: &mut Sealing, writer, board| {
            sealing.holder(writer, board).is_some_and(|holder| wanted(&holder.key))
        };
        for (writer, _) in self.version.records.iter() {
            if !is_wanted(sealing, writer, &self.board) {
                continue;
            }
            for (slot, entry) in self.lattice.numbered(writer, 0) {
                if let Some((preimage, _)) = sealing.signed_record(writer, &entry.record(slot), &self.board) {
                    let at = At::Slot(slot.clone(), entry.seq);
                    found.push(Named { writer, at, id: preimage.id(), preimage });
                }
            }
        }
        for (writer, _) in self.version.slots.iter() {
            if !is_wanted(sealing, writer, &self.board) {
                continue;
            }
            // Without its credentials nobody could tell whose the rest is.
            let records = self.board.since(writer, 0).filter(|record| record.key != SlotKey::Credential);
            for record in records.collect::<Vec<SlotRecord>>() {
                if let Some((preimage, _)) = sealing.signed_slot(writer, &record, &self.board)
                    && preimage.kind.plane() == Plane::Open
                {
                    found.push(Named { writer, at: At::Key(record.key), id: preimage.id(), preimage });
                }
            }
        }
        found
    }
}
