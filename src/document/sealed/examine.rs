//! Checking what others bring: whose word it is, and what it is worth.
//!
//! A delta is taken apart by writer. What is proven and counts goes on; what lacks something waits; from the first record
//! on that is not its writer's word, the writer's run is dropped and not noted as followed, so that the true one still
//! comes. A record that is its writer's word and never counts is left out and followed: every replica leaves it out.

use std::collections::VecDeque;

use super::{
    Sealing, form,
    known::{Standing, Unplaced},
};
use crate::{
    document::{
        Delta, DocumentError, Incoming, Record, RecordsDelta, SlotKey, SlotRecord, SlotsDelta, Span,
        records::{Lattice, Slot},
        slots::Board,
    },
    id::ReplicaId,
    limits,
    time::Hlc,
    trust::record::{Invalid, Seal, SignatureCheck, Signed, SignedRun, Verdict, judge, stands_ahead},
};

/// What examining a delta left of it.
#[derive(Debug, Default)]
pub(in crate::document) struct Examined {
    /// Proven, and counts. Content apart where not all of the delta is left, because it waits for what it was written
    /// with.
    pub(in crate::document) sound: Vec<Incoming>,
    /// Lacks something that may come.
    pub(in crate::document) pending: Option<Incoming>,
    /// What is wrong with the rest: not its writer's word.
    pub(in crate::document) forged: Vec<DocumentError>,
    /// Its writer's word, and never counts.
    pub(in crate::document) void: Vec<DocumentError>,
}

/// What the examination needs to see of the document.
pub(in crate::document) struct Held<'a> {
    pub(in crate::document) lattice: &'a Lattice,
    pub(in crate::document) board: &'a Board,
    pub(in crate::document) wall_ms: u64,
}

/// What a run of one writer's records consists of, for those who need not know which kind they are.
trait Run: Sized {
    type Record: Clone;
    fn span(&self) -> Span;
    fn records(&self) -> &[Self::Record];
    fn new(span: Span, records: Vec<Self::Record>) -> Self;
    fn seq(record: &Self::Record) -> u64;
    fn seal(record: &Self::Record) -> Option<&[u8]>;
    fn name(record: &Self::Record) -> String;
    fn form(record: &Self::Record) -> form::Form;
    /// The same record is here.
    fn is_held(writer: ReplicaId, record: &Self::Record, held: &Held<'_>) -> bool;
    /// It is about something that is finished, and says nothing any more.
    fn is_over(record: &Self::Record, held: &Held<'_>) -> bool;
    fn place(
        sealing: &mut Sealing,
        writer: ReplicaId,
        record: &Self::Record,
        held: &Held<'_>,
    ) -> Result<Standing, Unplaced>;
    /// The credentials it shows.
    fn shown(record: &Self::Record) -> Option<&[u8]>;
    /// Its own stamp, where it has one besides that of the seal.
    fn stamp(record: &Self::Record) -> Option<Hlc>;
}

impl Run for RecordsDelta {
    type Record = Record;
    fn span(&self) -> Span {
        self.span
    }
    fn records(&self) -> &[Record] {
        &self.records
    }
    fn new(span: Span, records: Vec<Record>) -> Self {
        Self { span, records }
    }
    fn seq(record: &Record) -> u64 {
        record.seq
    }
    fn seal(record: &Record) -> Option<&[u8]> {
        record.signature.as_deref()
    }
    fn name(record: &Record) -> String {
        let path = Slot { kind: record.kind, key: record.key.clone() }.path_text();
        path.chars().take(120).collect()
    }
    fn form(record: &Record) -> form::Form {
        form::of_record(record)
    }
    fn is_held(writer: ReplicaId, record: &Record, held: &Held<'_>) -> bool {
        let numbered = held.lattice.numbered(writer, record.seq.saturating_sub(1));
        let mut same = numbered.take_while(|(_, entry)| entry.seq == record.seq);
        same.any(|(slot, entry)| entry.record(slot) == *record)
    }
    fn is_over(_: &Record, _: &Held<'_>) -> bool {
        false
    }
    fn place(_: &mut Sealing, _: ReplicaId, _: &Record, _: &Held<'_>) -> Result<Standing, Unplaced> {
        Ok(Standing::NOWHERE)
    }
    fn shown(_: &Record) -> Option<&[u8]> {
        None
    }
    fn stamp(record: &Record) -> Option<Hlc> {
        Some(record.hlc)
    }
}

impl Run for SlotsDelta {
    type Record = SlotRecord;
    fn span(&self) -> Span {
        self.span
    }
    fn records(&self) -> &[SlotRecord] {
        &self.records
    }
    fn new(span: Span, records: Vec<SlotRecord>) -> Self {
        Self { span, records }
    }
    fn seq(record: &SlotRecord) -> u64 {
        record.seq
    }
    fn seal(record: &SlotRecord) -> Option<&[u8]> {
        record.signature.as_deref()
    }
    fn name(record: &SlotRecord) -> String {
        format!("coordination/{}", record.key)
    }
    fn form(record: &SlotRecord) -> form::Form {
        form::of_slot(record)
    }
    fn is_held(writer: ReplicaId, record: &SlotRecord, held: &Held<'_>) -> bool {
        held.board.since(writer, record.seq.saturating_sub(1)).next().is_some_and(|known| known == *record)
    }
    fn is_over(record: &SlotRecord, held: &Held<'_>) -> bool {
        record.key.object().is_some_and(|object| held.board.closed().contains(object))
    }
    fn place(
        sealing: &mut Sealing,
        writer: ReplicaId,
        record: &SlotRecord,
        held: &Held<'_>,
    ) -> Result<Standing, Unplaced> {
        sealing.place(writer, record, held.board)
    }
    fn shown(record: &SlotRecord) -> Option<&[u8]> {
        (record.key == SlotKey::Credential).then_some(&record.body)
    }
    fn stamp(_: &SlotRecord) -> Option<Hlc> {
        None
    }
}

/// Why a run ends before its end.
enum Stop {
    Unsigned,
    Unreadable(String),
    Missing,
    Ahead(Seal),
    Forged,
}

/// One record on its way through.
enum Step {
    /// It is here already, or about something finished.
    Known { keep: bool },
    /// To be verified; with what is known to be wrong with it if it is its writer's word.
    Sealed { signed: Box<Signed>, invalid: Option<Invalid> },
}

impl Sealing {
    /// The signatures of deltas that are not known yet: verified elsewhere and told, they cost the examination nothing.
    pub(in crate::document) fn checks(&mut self, incoming: &[Incoming], held: &Held<'_>) -> Vec<SignatureCheck> {
        let mut checks = Vec::new();
        for delta in incoming.iter().map(|incoming| &incoming.delta) {
            delta.slots.iter().for_each(|run| self.checks_of(run, held, &mut checks));
            delta.records.iter().for_each(|run| self.checks_of(run, held, &mut checks));
        }
        checks
    }

    fn checks_of<R: Run>(&mut self, run: &R, held: &Held<'_>, checks: &mut Vec<SignatureCheck>) {
        let (steps, _) = self.walk(run, held);
        checks.extend(SignedRun(&signed(&steps)).checks(&self.signatures));
    }

    pub(in crate::document) fn note(&mut self, checks: &[SignatureCheck], right: &[bool]) {
        checks.iter().zip(right).for_each(|(check, is_right)| self.signatures.note(check, *is_right));
    }

    /// Takes a delta apart.
    pub(in crate::document) fn examine(&mut self, incoming: Incoming, held: &Held<'_>) -> Examined {
        let mut examined = Examined::default();
        let (mut sound, mut pending) = (Delta::default(), Delta::default());
        let mut whole = true;
        let Delta { content, records, slots } = &incoming.delta;
        // Credentials and definitions are among the coordination records, so these come first.
        for run in slots {
            let parts = self.split(run, held, &incoming, &mut examined);
            whole &= parts.whole;
            sound.slots.extend(parts.sound);
            pending.slots.extend(parts.pending);
        }
        for run in records {
            let parts = self.split(run, held, &incoming, &mut examined);
            whole &= parts.whole;
            sound.records.extend(parts.sound);
            pending.records.extend(parts.pending);
        }
        if whole {
            return Examined { sound: vec![incoming], ..examined };
        }
        let content = Delta { content: content.clone(), ..Delta::default() };
        examined.sound = [sound, content].into_iter().filter_map(|delta| part_of(&incoming, delta)).collect();
        examined.pending = part_of(&incoming, pending);
        examined
    }

    /// When the first of what waits for its time is due: wall milliseconds.
    pub(in crate::document) fn next_due(&self) -> Option<u64> {
        self.ahead.iter().map(|(at, _)| *at).min()
    }

    /// What has waited for its time, as far as that has come.
    pub(in crate::document) fn due(&mut self, wall_ms: u64) -> Vec<Incoming> {
        let (due, ahead) = std::mem::take(&mut self.ahead).into_iter().partition(|(at, _)| *at <= wall_ms);
        self.ahead = ahead;
        let due: VecDeque<(u64, Incoming)> = due;
        due.into_iter().map(|(_, incoming)| incoming).collect()
    }

    fn split<R: Run>(&mut self, run: &R, held: &Held<'_>, of: &Incoming, examined: &mut Examined) -> Parts<R>
    where
        Delta: From<R>,
    {
        let Span { writer, since, upto } = run.span();
        let (steps, mut stop) = self.walk(run, held);
        let proven = SignedRun(&signed(&steps)).proven(&mut self.signatures);
        let (mut kept, mut end, mut seen) = (Vec::new(), steps.len(), 0);
        let mut whole = true;
        for (at, step) in steps.iter().enumerate() {
            let record = &run.records()[at];
            match step {
                Step::Known { keep: true } => kept.push(record.clone()),
                Step::Known { keep: false } => whole = false,
                Step::Sealed { .. } if seen == proven => {
                    (end, stop) = (at, Some(Stop::Forged));
                    break;
                }
                Step::Sealed { invalid: Some(invalid), .. } => {
                    seen += 1;
                    whole = false;
                    examined.void.push(refused::<R>(writer, record, invalid.to_string()));
                }
                Step::Sealed { invalid: None, .. } => {
                    seen += 1;
                    kept.push(record.clone());
                }
            }
        }
        let Some(stop) = stop else {
            return Parts { whole, sound: Some(R::new(run.span(), kept)), pending: None };
        };
        let first = &run.records()[end];
        let reached = R::seq(first).saturating_sub(1).max(since);
        let rest = || R::new(Span { writer, since: reached, upto }, run.records()[end..].to_vec());
        let mut pending = None;
        match stop {
            Stop::Missing => pending = Some(rest()),
            Stop::Ahead(seal) => self.hold(writer, seal, part_of(of, Delta::from(rest()))),
            Stop::Unsigned => examined.forged.push(refused::<R>(writer, first, "it is not signed".to_owned())),
            Stop::Unreadable(reason) => examined.forged.push(refused::<R>(writer, first, reason)),
            Stop::Forged => {
                examined.forged.push(refused::<R>(writer, first, "the signature is not its writer's".to_owned()));
            }
        }
        // Of several records with one number all wait for the first.
        kept.retain(|record| R::seq(record) <= reached);
        let sound = (reached > since).then(|| R::new(Span { writer, since, upto: reached }, kept));
        Parts { whole: false, sound, pending }
    }

    /// Judges the records of a run up to the first that cannot be judged.
    fn walk<R: Run>(&mut self, run: &R, held: &Held<'_>) -> (Vec<Step>, Option<Stop>) {
        let writer = run.span().writer;
        let shown = run.records().iter().rev().find_map(R::shown);
        let mut holder = None;
        let mut steps = Vec::new();
        for record in run.records() {
            if R::is_over(record, held) {
                steps.push(Step::Known { keep: false });
                continue;
            }
            if R::is_held(writer, record, held) {
                steps.push(Step::Known { keep: true });
                continue;
            }
            let Some(seal) = R::seal(record) else { return (steps, Some(Stop::Unsigned)) };
            let seal = match Seal::decode(seal) {
                Ok(seal) => seal,
                Err(error) => return (steps, Some(Stop::Unreadable(error.to_string()))),
            };
            if stands_ahead(&seal, held.wall_ms) {
                return (steps, Some(Stop::Ahead(seal)));
            }
            if holder.is_none() {
                holder = match shown {
                    Some(body) => self.meet(writer, body),
                    None => self.holder(writer, held.board),
                };
            }
            let Some(holder) = &holder else { return (steps, Some(Stop::Missing)) };
            let (standing, mut invalid) = match R::place(self, writer, record, held) {
                Ok(standing) => (standing, None),
                Err(Unplaced::Yet) => return (steps, Some(Stop::Missing)),
                Err(Unplaced::Never(invalid)) => (Standing::NOWHERE, Some(invalid)),
            };
            let form = R::form(record);
            let preimage = self.preimage((holder.key, holder.salt), form, R::seq(record), &standing, &seal);
            let signed = Signed::new(preimage, &seal);
            if invalid.is_none() {
                invalid = R::stamp(record)
                    .filter(|written| *written > seal.hlc)
                    .map(|written| Invalid::Stamp { written, sealed: seal.hlc });
            }
            if invalid.is_none() {
                let in_force = &self.authority.in_force;
                match judge(&signed.preimage, &signed.id, &self.room, standing.circle, holder, in_force) {
                    Verdict::Pending(_) => return (steps, Some(Stop::Missing)),
                    Verdict::Invalid(reason) => invalid = Some(reason),
                    Verdict::Valid | Verdict::Tentative | Verdict::Held => {}
                }
            }
            steps.push(Step::Sealed { signed: Box::new(signed), invalid });
        }
        (steps, None)
    }

    /// Keeps what is stamped ahead, within bounds: a resync brings again what is dropped here.
    fn hold(&mut self, writer: ReplicaId, seal: Seal, part: Option<Incoming>) {
        let Some(part) = part else { return };
        let of_writer = |delta: &Delta| -> usize {
            let records = delta.records.iter().filter(|run| run.span.writer == writer).map(|run| run.records.len());
            let slots = delta.slots.iter().filter(|run| run.span.writer == writer).map(|run| run.records.len());
            records.chain(slots).sum()
        };
        let known = self.ahead.iter().any(|(_, held)| held.encoded == part.encoded);
        let count: usize = self.ahead.iter().map(|(_, held)| of_writer(&held.delta)).sum();
        let bytes: usize = self.ahead.iter().map(|(_, held)| held.encoded.len()).sum();
        let fits =
            count + of_writer(&part.delta) <= limits::HELD_AHEAD && bytes + part.encoded.len() <= limits::HELD_BYTES;
        if !known && fits {
            self.ahead.push_back((seal.hlc.wall_ms().saturating_sub(limits::HLC_AHEAD_MS), part));
        }
    }
}

struct Parts<R> {
    /// Nothing was taken away.
    whole: bool,
    sound: Option<R>,
    pending: Option<R>,
}

impl From<RecordsDelta> for Delta {
    fn from(run: RecordsDelta) -> Self {
        Self { records: vec![run], ..Self::default() }
    }
}

impl From<SlotsDelta> for Delta {
    fn from(run: SlotsDelta) -> Self {
        Self { slots: vec![run], ..Self::default() }
    }
}

fn signed(steps: &[Step]) -> Vec<Signed> {
    let sealed = |step: &Step| match step {
        Step::Sealed { signed, .. } => Some((**signed).clone()),
        Step::Known { .. } => None,
    };
    steps.iter().filter_map(sealed).collect()
}

fn part_of(whole: &Incoming, delta: Delta) -> Option<Incoming> {
    if delta.is_empty() {
        return None;
    }
    // Every field has an encoding.
    let encoded = delta.encode().ok()?;
    Some(Incoming { delta, encoded, source: whole.source, author: whole.author })
}

fn refused<R: Run>(writer: ReplicaId, record: &R::Record, reason: String) -> DocumentError {
    DocumentError::Sealed { writer, record: format!("{} number {}", R::name(record), R::seq(record)), reason }
}
