//! Taking in peers' deltas: what is checked, what waits, what takes effect.

use std::collections::{BTreeMap, VecDeque};

use super::{
    ContentDelta, Delta, Document, DocumentError, Incoming, Record, SlotRecord, Span, Version,
    circle::join,
    records::{SEQ_MAX, Slot, check_record},
    sealed::Held,
    slots::check_slot,
};
use crate::{
    engine::{self, Admission, Applied, Change, EngineError, Origin, Patch, UpdateInfo, Value, guarded},
    id::ReplicaId,
    limits,
    trust::record::{RecordId, SignatureCheck},
};

/// Deltas that may wait for one document. Their bytes are bounded by [`limits::HELD_BYTES`] as well.
pub(super) const HELD_MAX: usize = 64;
/// How often the deltas that wait are looked at again within one call. Deltas sent last to first would otherwise cost
/// the square of their number.
const PASSES: usize = 64;

/// What became of the deltas given to [`Document::apply`].
#[derive(Debug, Default)]
pub struct AppliedDeltas {
    /// Those which took effect now, in that order, earlier ones that had been waiting among them.
    pub landed: Vec<Incoming>,
    /// How many held nothing new.
    pub known: usize,
    /// Those refused, by the caller's mark; nothing of them was kept. Where records are signed, of those with a record
    /// that is not its writer's word, nothing of that writer from there on.
    pub refused: Vec<(u64, DocumentError)>,
    /// Records left out, by the caller's mark, because they are their writers' word and never count: those who bring them
    /// need not be at fault.
    pub void: Vec<(u64, DocumentError)>,
    /// Something waits for what has not arrived, or was dropped for want of room: ask its bringer (the caller's mark)
    /// for a resync.
    pub waiting_on: Option<u64>,
    /// What changed, in order; empty unless asked for.
    pub patches: Vec<Patch>,
}

/// A delta that passed every check which does not need the engine to have run.
pub(super) struct Admitted {
    pub(super) incoming: Incoming,
    pub(super) info: UpdateInfo,
    /// Its content is not here yet.
    pub(super) content_new: bool,
}

/// What the deltas admitted so far will have changed, as the next one finds it.
#[derive(Default)]
pub(super) struct Ahead {
    version: Version,
    admission: Admission,
    records: usize,
    bytes: usize,
}

enum Verdict {
    Admit(UpdateInfo, bool),
    Hold,
}

/// The visible values of slots before a batch, for patches.
pub(super) type Before = BTreeMap<Slot, (Option<Value>, ReplicaId)>;

impl Document {
    /// Merges deltas. Each takes effect as a whole, after those it builds on; one that arrives too early waits, and
    /// all that can take effect together reach the engine as one batch.
    ///
    /// # Errors
    /// `Poisoned`: the engine failed half-way, and the document must be rebuilt. What is wrong with single deltas is
    /// in [`AppliedDeltas::refused`].
    pub fn apply(
        &mut self,
        incoming: Vec<Incoming>,
        wall_ms: u64,
        watch: bool,
    ) -> Result<AppliedDeltas, DocumentError> {
        self.take_in(incoming, wall_ms, watch, true)
    }

    /// As [`Self::apply`], for what a store of ours held.
    pub(super) fn apply_stored(
        &mut self,
        incoming: Vec<Incoming>,
        wall_ms: u64,
    ) -> Result<AppliedDeltas, DocumentError> {
        self.take_in(incoming, wall_ms, false, false)
    }

    fn take_in(
        &mut self,
        incoming: Vec<Incoming>,
        wall_ms: u64,
        watch: bool,
        examine: bool,
    ) -> Result<AppliedDeltas, DocumentError> {
        self.check_sound()?;
        let mut outcome = AppliedDeltas::default();
        let mut queue = Vec::new();
        for incoming in incoming {
            match check_delta(&incoming.delta, incoming.author) {
                Ok(()) => queue.push(incoming),
                Err(error) => outcome.refused.push((incoming.source, error)),
            }
        }
        // Newcomers first: what waits does so for one of them.
        queue.extend(self.held.drain(..));
        if let Some(sealing) = self.sealing.as_mut().filter(|_| examine) {
            queue.extend(sealing.due(wall_ms));
        }
        for _ in 0..PASSES {
            let unready = if examine { self.examine_all(&mut queue, wall_ms, &mut outcome) } else { Vec::new() };
            let (mut batch, mut waiting) = self.admit_all(queue, &mut outcome);
            if batch.is_empty() {
                (batch, waiting) = self.admit_circle(waiting);
            }
            queue = waiting;
            let done = outcome.landed.len() + outcome.known;
            if !batch.is_empty() {
                let late = self.land(batch, wall_ms, watch, &mut outcome)?;
                queue.extend(late);
            }
            queue.extend(unready);
            // Whatever took effect may be what the rest was waiting for.
            if queue.is_empty() || outcome.landed.len() + outcome.known == done {
                break;
            }
        }
        outcome.waiting_on = queue.first().map(|incoming| incoming.source);
        self.hold(queue);
        Ok(outcome)
    }

    /// Where records are signed, leaves in `queue` what is proven, and returns what lacks something that may come.
    fn examine_all(&mut self, queue: &mut Vec<Incoming>, wall_ms: u64, outcome: &mut AppliedDeltas) -> Vec<Incoming> {
        let Some(sealing) = &mut self.sealing else { return Vec::new() };
        let held = Held { lattice: &self.lattice, board: &self.board, wall_ms };
        let mut pending = Vec::new();
        for incoming in std::mem::take(queue) {
            let source = incoming.source;
            let examined = sealing.examine(incoming, &held);
            queue.extend(examined.sound);
            pending.extend(examined.pending);
            outcome.refused.extend(examined.forged.into_iter().map(|error| (source, error)));
            outcome.void.extend(examined.void.into_iter().map(|error| (source, error)));
        }
        pending
    }

    /// The signatures of deltas that [`Self::apply`] would have to verify, so that it can be done elsewhere, on as many
    /// cores as there are: tell it what came out with [`Self::note_signatures`]. Empty where records are not signed.
    pub fn signatures_of(&mut self, incoming: &[Incoming], wall_ms: u64) -> Vec<SignatureCheck> {
        let Some(sealing) = &mut self.sealing else { return Vec::new() };
        sealing.checks(incoming, &Held { lattice: &self.lattice, board: &self.board, wall_ms })
    }

    /// When something that was stamped ahead of our clock is not any more (wall milliseconds): [`Self::apply`], with
    /// nothing if there is nothing, then takes it in.
    pub fn next_due(&self) -> Option<u64> {
        self.sealing.as_ref()?.next_due()
    }

    /// Takes in what became of signatures, in their order.
    pub fn note_signatures(&mut self, checks: &[SignatureCheck], right: &[bool]) {
        if let Some(sealing) = &mut self.sealing {
            sealing.note(checks, right);
        }
    }

    /// Splits `queue` into what can take effect now, in order, and what has to wait.
    fn admit_all(&self, queue: Vec<Incoming>, outcome: &mut AppliedDeltas) -> (Vec<Admitted>, Vec<Incoming>) {
        let mut ahead = Ahead::default();
        let (mut batch, mut waiting) = (Vec::new(), Vec::new());
        for incoming in queue {
            match self.admit(&mut ahead, &incoming) {
                Ok(Verdict::Admit(info, content_new)) => batch.push(Admitted { incoming, info, content_new }),
                Ok(Verdict::Hold) => waiting.push(incoming),
                Err(error) => outcome.refused.push((incoming.source, error)),
            }
        }
        (batch, waiting)
    }

    fn admit(&self, ahead: &mut Ahead, incoming: &Incoming) -> Result<Verdict, DocumentError> {
        let Some((info, content_new)) = self.follow(ahead, incoming)? else { return Ok(Verdict::Hold) };
        if content_new {
            match ahead.admission.admit(self.engine.as_ref(), &info, None) {
                Ok(()) => {}
                Err(EngineError::Gap { .. }) => return Ok(Verdict::Hold),
                Err(error) => return Err(error.into()),
            }
        }
        self.grow(ahead, &incoming.delta)?;
        Ok(Verdict::Admit(info, content_new))
    }

    /// What a delta's content is made of and whether it is new, when the delta follows in number on what is known.
    pub(super) fn follow(
        &self,
        ahead: &Ahead,
        incoming: &Incoming,
    ) -> Result<Option<(UpdateInfo, bool)>, DocumentError> {
        let delta = &incoming.delta;
        let known = self.version_with(ahead);
        if !delta.records.iter().all(|run| run.span.since <= known.records(run.span.writer))
            || !delta.slots.iter().all(|run| run.span.since <= known.slots(run.span.writer))
        {
            return Ok(None);
        }
        let Some(content) = delta.content.as_ref().filter(|content| known.lacks(content)) else {
            return Ok(Some((UpdateInfo::default(), false)));
        };
        if !content.spans.iter().all(|span| span.since <= known.content(span.writer)) {
            return Ok(None);
        }
        // Its own records count: they take effect in the same step.
        let records = |writer: ReplicaId| {
            let own = delta.records.iter().find(|run| run.span.writer == writer).map_or(0, |run| run.span.upto);
            own.max(known.records(writer))
        };
        if !content.after.iter().all(|(writer, seq)| *seq <= records(*writer)) {
            return Ok(None);
        }
        // Joined, so that the delta is admitted as a whole or not at all.
        let mut info = UpdateInfo::default();
        for update in &content.updates {
            join(&mut info, engine::inspect(self.engine.kind(), update)?);
        }
        // Before anything is held: what waits is looked at again without its neighbours.
        let foreign = |author: ReplicaId| info.inserts.iter().find(|range| range.writer != author.get());
        if let Some(author) = incoming.author
            && let Some(range) = foreign(author)
        {
            let reason = format!("writes as {:x}, but the connection belongs to {author}", range.writer);
            return Err(EngineError::Refused { reason }.into());
        }
        Ok(Some((info, true)))
    }

    /// Notes what a delta will add.
    ///
    /// # Errors
    /// `TooLarge` when there is no room for it.
    pub(super) fn grow(&self, ahead: &mut Ahead, delta: &Delta) -> Result<(), DocumentError> {
        let (records, bytes) = self.check_room(ahead, delta)?;
        self.check_writers(ahead, delta)?;
        ahead.records += records;
        ahead.bytes += bytes;
        ahead.version.raise(delta);
        Ok(())
    }

    fn version_with<'a>(&'a self, ahead: &'a Ahead) -> Known<'a> {
        Known { here: &self.version, ahead: &ahead.version }
    }

    /// How much `delta` may add to the records, when there is room for it.
    fn check_room(&self, ahead: &Ahead, delta: &Delta) -> Result<(usize, usize), DocumentError> {
        let mut added = (0, 0);
        for run in &delta.records {
            for record in &run.records {
                let slot = Slot { kind: record.kind, key: record.key.clone() };
                added.0 += usize::from(!self.lattice.holds(run.span.writer, &slot));
                added.1 += record.body.len() + record.context.len() * 16 + record.key.len();
            }
        }
        let (count, bytes) =
            (self.lattice.len() + ahead.records + added.0, self.lattice.bytes() + ahead.bytes + added.1);
        check_limit("records of the document", count, limits::DOCUMENT_RECORDS)?;
        check_limit("bytes of the document's records", bytes, limits::DOCUMENT_BYTES)?;
        self.check_slots_room(delta)?;
        Ok(added)
    }

    /// Counts what a delta brings as new, whatever it replaces: that is off by one delta at most.
    fn check_slots_room(&self, delta: &Delta) -> Result<(), DocumentError> {
        let records = || delta.slots.iter().flat_map(|run| &run.records);
        let bytes: usize = records().map(|record| record.body.len()).sum();
        check_limit("coordination records", self.board.len() + records().count(), limits::DOCUMENT_SLOTS)?;
        check_limit("bytes of coordination records", self.board.bytes() + bytes, limits::DOCUMENT_BYTES)
    }

    fn check_writers(&self, ahead: &Ahead, delta: &Delta) -> Result<(), DocumentError> {
        let known = self.version_with(ahead);
        let content = delta.content.iter().flat_map(|content| &content.spans);
        let new = content.filter(|span| known.content(span.writer) == 0).count();
        check_limit(
            "writers of the document's content",
            self.version.content.len() + ahead.version.content.len() + new,
            limits::DOCUMENT_WRITERS,
        )?;
        let new = delta.records.iter().filter(|run| known.records(run.span.writer) == 0).count();
        check_limit(
            "writers of the document's records",
            self.version.records.len() + ahead.version.records.len() + new,
            limits::DOCUMENT_WRITERS,
        )?;
        let new = delta.slots.iter().filter(|run| known.slots(run.span.writer) == 0).count();
        check_limit(
            "writers of the document's coordination records",
            self.version.slots.len() + ahead.version.slots.len() + new,
            limits::DOCUMENT_WRITERS,
        )
    }

    /// Lets a batch take effect. Returns those of it that must wait after all, because the engine lacks something that
    /// only it can know of.
    fn land(
        &mut self,
        batch: Vec<Admitted>,
        wall_ms: u64,
        watch: bool,
        outcome: &mut AppliedDeltas,
    ) -> Result<Vec<Incoming>, DocumentError> {
        let updates: Vec<_> = batch
            .iter()
            .filter(|admitted| admitted.content_new)
            .filter_map(|admitted| admitted.incoming.delta.content.as_ref())
            .flat_map(|content| content.updates.iter().cloned())
            .collect();
        let mut applied = Applied::default();
        if !updates.is_empty() {
            let engine = &mut self.engine;
            let result = guarded(|| {
                let applied = engine.apply(&updates, watch)?;
                if applied.pending {
                    // We hold what is pending ourselves, bounded and with its span; the engine need not as well.
                    engine.drop_pending()?;
                }
                Ok(applied)
            });
            applied = result.map_err(|error| self.poison(&batch, &error))?;
        }
        let writer = sole_writer(&batch);
        let patch = |(path, change)| Patch { path, change, writer, origin: Origin::Remote };
        outcome.patches.extend(applied.patches.into_iter().map(patch));
        let mut before = Before::new();
        let mut late = Vec::new();
        for admitted in batch {
            if !self.is_integrated(&admitted, applied.pending) {
                late.push(admitted.incoming);
                continue;
            }
            let incoming = admitted.incoming;
            let changed = self.take_effect(&incoming.delta, wall_ms, watch.then_some(&mut before))?;
            if changed {
                outcome.landed.push(incoming);
            } else {
                outcome.known += 1;
            }
        }
        outcome.patches.extend(self.record_patches(before, Origin::Remote));
        Ok(late)
    }

    /// True when the engine has all of the delta's content, and what it builds on took effect before it.
    fn is_integrated(&self, admitted: &Admitted, pending: bool) -> bool {
        let delta = &admitted.incoming.delta;
        let spans = || delta.content.iter().flat_map(|content| &content.spans);
        let has = |span: &Span| self.version.content.get(span.writer);
        // What it repeats may be in a delta of the same batch that has to wait after all.
        let content_follows = if admitted.content_new {
            spans().all(|span| span.since <= has(span))
        } else {
            spans().all(|span| span.upto <= has(span))
        };
        let follows = content_follows
            && delta.records.iter().all(|run| run.span.since <= self.version.records.get(run.span.writer))
            && delta.slots.iter().all(|run| run.span.since <= self.version.slots.get(run.span.writer));
        let info = &admitted.info;
        follows
            && (!pending
                || info.inserts.iter().chain(&info.deletes).all(|range| range.to <= self.engine.known(range.writer))
                    && info.changes.iter().all(|change| self.engine.has_change(change)))
    }

    /// Raises versions and joins records; the content is in the engine already. Returns whether anything was new.
    fn take_effect(
        &mut self,
        delta: &Delta,
        wall_ms: u64,
        mut before: Option<&mut Before>,
    ) -> Result<bool, DocumentError> {
        let mut changed = false;
        for run in &delta.slots {
            let writer = run.span.writer;
            let known = if self.is_cut(writer) { 0 } else { self.version.slots.get(writer) };
            for record in &run.records {
                let ids = self.slot_ids(writer, record);
                changed |= self.board.put(writer, record, known, ids);
            }
        }
        changed |= self.version.raise(delta);
        for span in delta.content.iter().flat_map(|content| &content.spans) {
            let content = self.version.content.get(span.writer);
            for slot in self.lattice.releasable(span.writer, content) {
                self.remember(&mut before, &slot, span.writer);
                self.lattice.release(span.writer, &slot, content);
            }
        }
        for run in &delta.records {
            let writer = run.span.writer;
            let content = self.version.content.get(writer);
            for record in &run.records {
                let slot = Slot { kind: record.kind, key: record.key.clone() };
                self.remember(&mut before, &slot, writer);
                let ids = self.record_twin_ids(writer, record);
                changed |= self.lattice.put(writer, record, content, ids)?;
                self.clock.witness(record.hlc, wall_ms);
            }
        }
        Ok(changed)
    }

    /// Where records are signed: the name of this one, and of another one here with its number.
    fn record_twin_ids(&mut self, writer: ReplicaId, record: &Record) -> Option<(RecordId, RecordId)> {
        let sealing = self.sealing.as_mut()?;
        let twin = self.lattice.twin(writer, record)?;
        Some((sealing.record_id(writer, record, &self.board)?, sealing.record_id(writer, &twin, &self.board)?))
    }

    fn slot_ids(&mut self, writer: ReplicaId, record: &SlotRecord) -> Option<(RecordId, RecordId)> {
        let sealing = self.sealing.as_mut()?;
        let twin = self.board.numbered(writer, record.seq)?;
        Some((sealing.slot_id(writer, record, &self.board)?, sealing.slot_id(writer, &twin, &self.board)?))
    }

    fn remember(&self, before: &mut Option<&mut Before>, slot: &Slot, writer: ReplicaId) {
        if let Some(before) = before
            && !before.contains_key(slot)
        {
            before.insert(slot.clone(), (self.lattice.current(slot), writer));
        }
    }

    /// The patches for slots whose value is no longer what it was.
    pub(super) fn record_patches(&self, before: Before, origin: Origin) -> Vec<Patch> {
        let patch = |(slot, (old, writer)): (Slot, (Option<Value>, ReplicaId))| {
            let new = self.lattice.current(&slot);
            let writer = self.lattice.current_writer(&slot).unwrap_or(writer);
            (old != new).then(|| Patch {
                path: slot.path(),
                change: Change::Put { old, new },
                writer: Some(writer),
                origin,
            })
        };
        before.into_iter().filter_map(patch).collect()
    }

    fn poison(&mut self, batch: &[Admitted], error: &EngineError) -> DocumentError {
        let sources =
            batch.iter().filter(|admitted| admitted.content_new).map(|admitted| admitted.incoming.source).collect();
        let reason = error.to_string();
        self.poisoned = Some(reason.clone());
        DocumentError::Poisoned { sources, reason }
    }

    /// Keeps what has to wait, latest call first, within bounds: a resync brings what is dropped here.
    fn hold(&mut self, waiting: Vec<Incoming>) {
        let mut bytes = 0;
        let mut kept: VecDeque<Incoming> = VecDeque::new();
        for incoming in waiting {
            let twin = kept.iter().any(|known| known.encoded == incoming.encoded);
            let size = incoming.encoded.len();
            if !twin && kept.len() < HELD_MAX && bytes + size <= limits::HELD_BYTES {
                bytes += size;
                kept.push_back(incoming);
            }
        }
        self.held = kept;
    }
}

/// What is known, counting what deltas before this one in the batch bring.
struct Known<'a> {
    here: &'a Version,
    ahead: &'a Version,
}

impl Known<'_> {
    fn content(&self, writer: ReplicaId) -> u64 {
        self.here.content.get(writer).max(self.ahead.content.get(writer))
    }

    fn records(&self, writer: ReplicaId) -> u64 {
        self.here.records.get(writer).max(self.ahead.records.get(writer))
    }

    fn slots(&self, writer: ReplicaId) -> u64 {
        self.here.slots.get(writer).max(self.ahead.slots.get(writer))
    }

    /// True when some of the content is new.
    fn lacks(&self, content: &ContentDelta) -> bool {
        content.spans.iter().any(|span| span.upto > self.content(span.writer))
    }
}

/// The writer of all content in a batch, when there is just one.
fn sole_writer(batch: &[Admitted]) -> Option<ReplicaId> {
    let new = batch.iter().filter(|admitted| admitted.content_new);
    let contents = new.filter_map(|admitted| admitted.incoming.delta.content.as_ref());
    let mut writers = contents.flat_map(|content| content.spans.iter().map(|span| span.writer));
    let first = writers.next()?;
    writers.all(|writer| writer == first).then_some(first)
}

pub(super) fn check_limit(what: &str, size: usize, max: usize) -> Result<(), DocumentError> {
    if size > max {
        return Err(DocumentError::TooLarge { what: what.to_owned(), size, max });
    }
    Ok(())
}

/// Checks all of a delta that can be checked without the document.
fn check_delta(delta: &Delta, author: Option<ReplicaId>) -> Result<(), DocumentError> {
    if let Some(content) = &delta.content {
        if content.spans.is_empty() {
            return Err(malformed("its content is nobody's".to_owned()));
        }
        check_spans(content.spans.iter(), true, author)?;
        if !content.after.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(malformed("its conditions are not sorted by writer".to_owned()));
        }
        for (writer, _) in &content.after {
            check_author(*writer, author)?;
        }
    }
    check_spans(delta.records.iter().map(|run| &run.span), false, author)?;
    for run in &delta.records {
        let numbers = |record: &Record| record.seq > run.span.since && record.seq <= run.span.upto;
        if let Some(outside) = run.records.iter().find(|record| !numbers(record)) {
            let (seq, span) = (outside.seq, run.span);
            return Err(malformed(format!("record {seq} is outside {}..={}", span.since + 1, span.upto)));
        }
        if !run.records.is_sorted_by(|a, b| a.seq <= b.seq) {
            return Err(malformed("its records are not sorted by number".to_owned()));
        }
        run.records.iter().try_for_each(check_record)?;
    }
    check_slots(delta, author)
}

fn check_slots(delta: &Delta, author: Option<ReplicaId>) -> Result<(), DocumentError> {
    check_spans(delta.slots.iter().map(|run| &run.span), false, author)?;
    for run in &delta.slots {
        let Span { since, upto, .. } = run.span;
        if let Some(outside) = run.records.iter().find(|record| record.seq <= since || record.seq > upto) {
            let seq = outside.seq;
            return Err(malformed(format!("coordination record {seq} is outside {}..={upto}", since + 1)));
        }
        if !run.records.is_sorted_by(|a, b| a.seq < b.seq) {
            return Err(malformed("its coordination records are not sorted by number".to_owned()));
        }
        run.records.iter().try_for_each(check_slot)?;
    }
    Ok(())
}

/// With `may_be_empty`, a span may say no more than how far its writer must have been followed.
fn check_spans<'a>(
    spans: impl Iterator<Item = &'a Span>,
    may_be_empty: bool,
    author: Option<ReplicaId>,
) -> Result<(), DocumentError> {
    let mut last = None;
    for span in spans {
        check_author(span.writer, author)?;
        let is_wrong = if may_be_empty { span.since > span.upto } else { span.since >= span.upto };
        if is_wrong || span.upto > SEQ_MAX {
            let Span { writer, since, upto } = span;
            return Err(malformed(format!("span {since}..{upto} of {writer} is empty, backwards or beyond {SEQ_MAX}")));
        }
        if last >= Some(span.writer) {
            return Err(malformed("its spans are not sorted by writer".to_owned()));
        }
        last = Some(span.writer);
    }
    Ok(())
}

fn check_author(writer: ReplicaId, author: Option<ReplicaId>) -> Result<(), DocumentError> {
    match author {
        Some(author) if author != writer => Err(DocumentError::ForeignWriter { writer, author }),
        _ => Ok(()),
    }
}

fn malformed(reason: String) -> DocumentError {
    DocumentError::Malformed { reason }
}
