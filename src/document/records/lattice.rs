//! The lattice of records with its indexes: by slot for readers, by writer and number for deltas.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Slot};
use crate::{
    document::{DocumentError, Record, RecordKind},
    id::ReplicaId,
    limits,
    trust::record::RecordId,
};

/// Records of one writer and slot that wait for content. When more wait, the oldest is skipped: a reader then sees
/// that writer's newer record with the newer content, and never the older one. Enough for a writer that commits every
/// millisecond while a second's worth of content is on its way. Their bytes are bounded by [`limits::PENDING_BYTES`].
const HIDDEN_MAX: usize = 1_024;
/// Pairs of contradicting records kept as evidence; all are counted.
const EVIDENCE_MAX: usize = 16;

/// Proof that a writer used one number twice: a broken or dishonest replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The writer.
    pub writer: ReplicaId,
    /// The record that counts.
    pub kept: Record,
    /// The other one with the same number.
    pub other: Record,
}

/// One writer's records of one slot.
#[derive(Debug)]
struct Cell {
    writer: ReplicaId,
    /// What readers see.
    shown: Option<Entry>,
    /// Newer ones whose content has not arrived, by growing number.
    hidden: Vec<Entry>,
}

/// All records of a document.
#[derive(Debug, Default)]
pub(in crate::document) struct Lattice {
    /// Cells sorted by writer: few per slot, so a vector is leaner than a map.
    slots: BTreeMap<Slot, Vec<Cell>>,
    order: BTreeMap<ReplicaId, BTreeSet<(u64, Slot)>>,
    /// Hidden entries by fence, to find those which arriving content releases.
    fences: BTreeMap<ReplicaId, BTreeSet<(u64, Slot)>>,
    count: usize,
    bytes: usize,
    evidence: Vec<Equivocation>,
    equivocations: u64,
}

impl Lattice {
    /// Joins one record. `content` is how far the writer's content is here. Returns whether anything changed.
    ///
    /// Per writer and slot the higher number wins; of two records with one number, the one with the lower hash. That
    /// is a total order, so replicas agree whatever the order of arrival. Where records have names (`ids`: of this one,
    /// and of that with its number), the lower name is the lower hash.
    pub(in crate::document) fn put(
        &mut self,
        writer: ReplicaId,
        record: &Record,
        content: u64,
        ids: Option<(RecordId, RecordId)>,
    ) -> Result<bool, DocumentError> {
        let slot = self.intern(record);
        let entry = Entry::of(record);
        self.note_number_reused(writer, &slot, &entry);
        let cell = cell_mut(self.slots.entry(slot.clone()).or_default(), writer);
        let mut gone = Vec::new();
        let twin = cell.shown.iter().chain(&cell.hidden).find(|known| known.seq == entry.seq);
        if let Some(twin) = twin {
            // One record signed twice is one record.
            if *twin == entry || ids.is_some_and(|(own, other)| own == other) {
                return Ok(false);
            }
            let wins = match ids {
                Some((own, other)) => own < other,
                None => entry.hash(&slot)? < twin.hash(&slot)?,
            };
            let (kept, other) = if wins { (&entry, twin) } else { (twin, &entry) };
            let evidence = Equivocation { writer, kept: kept.record(&slot), other: other.record(&slot) };
            note(&mut self.evidence, &mut self.equivocations, evidence);
            if !wins {
                return Ok(false);
            }
            gone.extend(cell.shown.take_if(|known| known.seq == entry.seq));
            gone.extend(cell.hidden.extract_if(.., |known| known.seq == entry.seq));
        }
        if cell.shown.as_ref().is_some_and(|known| known.seq > entry.seq) {
            return Ok(false);
        }
        if entry.fence <= content {
            gone.extend(cell.shown.take());
            gone.extend(cell.hidden.extract_if(.., |known| known.seq < entry.seq));
            cell.shown = Some(entry.clone());
        } else {
            let at = cell.hidden.partition_point(|known| known.seq < entry.seq);
            let mut bytes = entry.cost(&slot) + cell.hidden.iter().map(|known| known.cost(&slot)).sum::<usize>();
            let mut surplus = 0;
            for known in &cell.hidden {
                if bytes <= limits::PENDING_BYTES && cell.hidden.len() - surplus < HIDDEN_MAX {
                    break;
                }
                bytes -= known.cost(&slot);
                surplus += 1;
            }
            if surplus > at {
                return Ok(false);
            }
            cell.hidden.insert(at, entry.clone());
            gone.extend(cell.hidden.drain(..surplus));
        }
        self.index(writer, &slot, &entry, entry.fence > content);
        for entry in gone {
            self.unindex(writer, &slot, &entry);
        }
        Ok(true)
    }

    /// Replaces what readers see of `writer` in `slot`, whatever the numbers, and returns what was there: how a
    /// transaction writes, and how it takes its writes back.
    pub(in crate::document) fn swap(&mut self, writer: ReplicaId, slot: &Slot, entry: Option<Entry>) -> Option<Entry> {
        let cells = self.slots.entry(slot.clone()).or_default();
        let cell = cell_mut(cells, writer);
        let old = cell.shown.take();
        cell.shown.clone_from(&entry);
        if entry.is_none() && cell.hidden.is_empty() {
            cells.retain(|cell| cell.writer != writer);
            if cells.is_empty() {
                self.slots.remove(slot);
            }
        }
        if let Some(old) = &old {
            self.unindex(writer, slot, old);
        }
        if let Some(entry) = &entry {
            self.index(writer, slot, entry, false);
        }
        old
    }

    /// Takes a record away, shown or not.
    pub(in crate::document) fn remove(&mut self, writer: ReplicaId, slot: &Slot, seq: u64) {
        if self.entry(slot, writer).is_some_and(|entry| entry.seq == seq) {
            self.swap(writer, slot, None);
        } else if let Some(cells) = self.slots.get_mut(slot) {
            let gone: Vec<Entry> = cell_mut(cells, writer).hidden.extract_if(.., |entry| entry.seq == seq).collect();
            for entry in &gone {
                self.unindex(writer, slot, entry);
            }
            self.forget_empty(writer, slot);
        }
    }

    fn forget_empty(&mut self, writer: ReplicaId, slot: &Slot) {
        if let Some(cells) = self.slots.get_mut(slot) {
            cells.retain(|cell| cell.writer != writer || cell.shown.is_some() || !cell.hidden.is_empty());
            if cells.is_empty() {
                self.slots.remove(slot);
            }
        }
    }

    /// The record of a number, in a slot.
    pub(in crate::document) fn twin(&self, writer: ReplicaId, record: &Record) -> Option<Record> {
        let numbered = self.numbered(writer, record.seq.saturating_sub(1));
        let mut same = numbered.take_while(|(_, entry)| entry.seq == record.seq);
        let (slot, entry) = same.find(|(slot, _)| slot.kind == record.kind && slot.key == record.key)?;
        Some(entry.record(slot))
    }

    /// The slots whose hidden records of `writer` become visible once its content has reached `content`.
    pub(in crate::document) fn releasable(&self, writer: ReplicaId, content: u64) -> Vec<Slot> {
        let Some(fences) = self.fences.get(&writer) else { return Vec::new() };
        let mut slots: Vec<Slot> =
            fences.iter().take_while(|(fence, _)| *fence <= content).map(|(_, slot)| slot.clone()).collect();
        slots.sort();
        slots.dedup();
        slots
    }

    /// Shows what [`Self::releasable`] named.
    pub(in crate::document) fn release(&mut self, writer: ReplicaId, slot: &Slot, content: u64) {
        let Some(cells) = self.slots.get_mut(slot) else { return };
        let cell = cell_mut(cells, writer);
        let Some(newest) = cell.hidden.iter().rposition(|entry| entry.fence <= content) else { return };
        let mut gone: Vec<Entry> = cell.hidden.drain(..=newest).collect();
        let released = gone.pop();
        gone.extend(cell.shown.take());
        cell.shown.clone_from(&released);
        for entry in &gone {
            self.unindex(writer, slot, entry);
        }
        if let Some(entry) = released {
            remove(&mut self.fences, writer, &(entry.fence, slot.clone()));
        }
    }

    /// What readers see in a slot, sorted by writer.
    pub(in crate::document) fn shown(&self, slot: &Slot) -> impl Iterator<Item = (ReplicaId, &Entry)> {
        let cells = self.slots.get(slot).map_or(&[][..], Vec::as_slice);
        cells.iter().filter_map(|cell| Some((cell.writer, cell.shown.as_ref()?)))
    }

    /// What readers see of one writer in a slot.
    pub(in crate::document) fn entry(&self, slot: &Slot, writer: ReplicaId) -> Option<&Entry> {
        let cells = self.slots.get(slot)?;
        let index = cells.binary_search_by_key(&writer, |cell| cell.writer).ok()?;
        cells[index].shown.as_ref()
    }

    /// The slots of a kind, sorted by key, whether or not anything in them is visible.
    pub(in crate::document) fn slots(&self, kind: RecordKind) -> impl Iterator<Item = &Slot> {
        let first = Slot::new(kind, "");
        self.slots.range(first..).map(|(slot, _)| slot).take_while(move |slot| slot.kind == kind)
    }

    /// The records of one writer with a number above `since`, by growing number, hidden ones among them: peers get
    /// both, so that they can show the older until the newer one's content is there.
    pub(in crate::document) fn records(&self, writer: ReplicaId, since: u64) -> impl Iterator<Item = Record> {
        self.numbered(writer, since).map(|(slot, entry)| entry.record(slot))
    }

    /// As [`Self::records`], without copying.
    pub(in crate::document) fn numbered(
        &self,
        writer: ReplicaId,
        since: u64,
    ) -> impl DoubleEndedIterator<Item = (&Slot, &Entry)> {
        let after = (since.saturating_add(1), Slot::new(RecordKind::Register, ""));
        let order = self.order.get(&writer).into_iter().flat_map(move |order| order.range(after.clone()..));
        order.filter_map(move |(seq, slot)| {
            let cells = self.slots.get(slot)?;
            let cell = &cells[cells.binary_search_by_key(&writer, |cell| cell.writer).ok()?];
            let entry = cell.shown.iter().chain(&cell.hidden).find(|entry| entry.seq == *seq)?;
            Some((slot, entry))
        })
    }

    /// True when `writer` has a record in `slot`, visible or not.
    pub(in crate::document) fn holds(&self, writer: ReplicaId, slot: &Slot) -> bool {
        let cells = self.slots.get(slot).map_or(&[][..], Vec::as_slice);
        cells.binary_search_by_key(&writer, |cell| cell.writer).is_ok()
    }

    /// Number of records, one per writer and slot but for those which wait for content.
    pub(in crate::document) fn len(&self) -> usize {
        self.count
    }

    /// Bytes held, roughly.
    pub(in crate::document) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Proofs kept of numbers used twice, and how many there were.
    pub(in crate::document) fn equivocations(&self) -> (&[Equivocation], u64) {
        (&self.evidence, self.equivocations)
    }

    /// The slot of a record, sharing the key with the records already there.
    fn intern(&self, record: &Record) -> Slot {
        let slot = Slot { kind: record.kind, key: record.key.clone() };
        self.slots.get_key_value(&slot).map_or(slot, |(known, _)| known.clone())
    }

    /// One number in two slots is a contradiction too. Both records stay, as neither replaces the other.
    fn note_number_reused(&mut self, writer: ReplicaId, slot: &Slot, entry: &Entry) {
        let reused = self.numbered(writer, entry.seq - 1).next();
        let reused = reused.filter(|(known, twin)| twin.seq == entry.seq && *known != slot);
        let Some((known, twin)) = reused else { return };
        let evidence = Equivocation { writer, kept: twin.record(known), other: entry.record(slot) };
        note(&mut self.evidence, &mut self.equivocations, evidence);
    }

    fn index(&mut self, writer: ReplicaId, slot: &Slot, entry: &Entry, hidden: bool) {
        self.order.entry(writer).or_default().insert((entry.seq, slot.clone()));
        if hidden {
            self.fences.entry(writer).or_default().insert((entry.fence, slot.clone()));
        }
        self.count += 1;
        self.bytes += entry.cost(slot);
    }

    fn unindex(&mut self, writer: ReplicaId, slot: &Slot, entry: &Entry) {
        // An equal number may have been put in again by `put` before the old entry is taken out.
        let still = self.entry_numbered(writer, slot, entry.seq);
        if !still {
            remove(&mut self.order, writer, &(entry.seq, slot.clone()));
        }
        let fenced = self.slots.get(slot).is_some_and(|cells| {
            let mut hidden = cells.iter().filter(|cell| cell.writer == writer).flat_map(|cell| &cell.hidden);
            hidden.any(|other| other.fence == entry.fence)
        });
        if !fenced {
            remove(&mut self.fences, writer, &(entry.fence, slot.clone()));
        }
        self.count -= 1;
        self.bytes -= entry.cost(slot);
    }

    fn entry_numbered(&self, writer: ReplicaId, slot: &Slot, seq: u64) -> bool {
        let cells = self.slots.get(slot).map_or(&[][..], Vec::as_slice);
        cells
            .iter()
            .filter(|cell| cell.writer == writer)
            .flat_map(|cell| cell.shown.iter().chain(&cell.hidden))
            .any(|entry| entry.seq == seq)
    }
}

fn cell_mut(cells: &mut Vec<Cell>, writer: ReplicaId) -> &mut Cell {
    let index = match cells.binary_search_by_key(&writer, |cell| cell.writer) {
        Ok(index) => index,
        Err(index) => {
            // Slots are many and their writers few: growing by doubling would waste more than it saves.
            cells.reserve_exact(1);
            cells.insert(index, Cell { writer, shown: None, hidden: Vec::new() });
            index
        }
    };
    &mut cells[index]
}

fn remove(index: &mut BTreeMap<ReplicaId, BTreeSet<(u64, Slot)>>, writer: ReplicaId, entry: &(u64, Slot)) {
    if let Some(entries) = index.get_mut(&writer) {
        entries.remove(entry);
        if entries.is_empty() {
            index.remove(&writer);
        }
    }
}

fn note(evidence: &mut Vec<Equivocation>, count: &mut u64, found: Equivocation) {
    // Redelivery of the same pair proves nothing new.
    let same = |known: &Equivocation| {
        known.writer == found.writer
            && known.kept.seq == found.kept.seq
            && (known.kept == found.kept && known.other == found.other
                || known.kept == found.other && known.other == found.kept)
    };
    if evidence.iter().any(same) {
        return;
    }
    *count += 1;
    if evidence.len() < EVIDENCE_MAX {
        evidence.push(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_lean() {
        // A million of these may be held; growth here must be a decision.
        assert!(size_of::<Entry>() <= 72, "{} bytes", size_of::<Entry>());
        assert!(size_of::<Cell>() <= 104, "{} bytes", size_of::<Cell>());
    }
}
