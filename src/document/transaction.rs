//! Local changes: all of a transaction, or nothing of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ContentDelta, Delta, Document, DocumentError, Member, Record, RecordKind, RecordsDelta, Span,
    merge::Before,
    records::{Body, BodyContent, Entry, SEQ_MAX, Slot, check_key, json_text},
};
use crate::{
    engine::{EngineError, Op, Origin, Patch, Value, guarded},
    id::{AgentId, ReplicaId},
    limits,
    time::Hlc,
};

/// Stubs written by one call of [`Document::shrink_dominated`]: bounds the delta it makes.
const STUBS_MAX: usize = 4_096;

/// What a local transaction made.
#[derive(Debug, Default)]
pub struct Commit {
    /// What to store and to send; empty when nothing changed.
    pub delta: Delta,
    /// What changed, content first; empty unless asked for.
    pub patches: Vec<Patch>,
}

/// A transaction being planned.
///
/// **What it sees.** Registers, counters, agents' state and members written in it show their new value at once.
/// Content does not: maps, sets, lists and texts show the state before the transaction, and positions in lists and
/// texts count as if the operations planned so far had been carried out.
#[derive(Debug)]
pub struct Transaction<'d> {
    document: &'d mut Document,
    wall_ms: u64,
    watch: bool,
    ops: Vec<Op>,
    /// Records written: their numbers, and what they replaced.
    written: BTreeMap<Slot, (u64, Option<Entry>)>,
    before: Before,
    committed: bool,
}

impl Document {
    /// Runs `plan` and carries out what it planned: everything, or nothing when it or the document refuses. With
    /// `watch`, the commit says what changed.
    ///
    /// # Errors
    /// Those of `plan`; `Engine` when the content cannot be changed as planned; `Poisoned` when the engine failed
    /// half-way or had failed before.
    pub fn transact<R, E: From<DocumentError>>(
        &mut self,
        wall_ms: u64,
        watch: bool,
        plan: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<(R, Commit), E> {
        self.check_sound()?;
        let mut transaction = Transaction {
            document: self,
            wall_ms,
            watch,
            ops: Vec::new(),
            written: BTreeMap::new(),
            before: Before::new(),
            committed: false,
        };
        // On an early return, dropping the transaction takes its records back.
        let result = plan(&mut transaction)?;
        let commit = transaction.commit()?;
        Ok((result, commit))
    }

    /// Replaces own records that other writers have overridden by stubs, where that saves bytes: what keeps the size
    /// of overwritten registers bounded. Meant for maintenance. Values that still attest the current value stay,
    /// because [`Resolver::Quorum`](super::Resolver::Quorum) counts them. `None` when there is nothing to shrink.
    ///
    /// # Errors
    /// As [`Document::transact`].
    pub fn shrink_dominated(&mut self, wall_ms: u64) -> Result<Option<Commit>, DocumentError> {
        let mut slots = Vec::new();
        for (slot, entry) in self.lattice.numbered(self.replica, 0) {
            if slots.len() == STUBS_MAX {
                break;
            }
            let keeps_state = matches!(slot.kind, RecordKind::Register | RecordKind::Agent);
            let may = self.may_write_record(slot).is_ok();
            if keeps_state && may && self.is_worth_a_stub(slot, entry)? {
                slots.push(slot.clone());
            }
        }
        if slots.is_empty() {
            return Ok(None);
        }
        let ((), commit) = self.transact(wall_ms, false, |transaction| {
            slots.iter().try_for_each(|slot| {
                let body = Body { version: 0, content: BodyContent::Stub }.encode(slot)?;
                // Whoever overrode the record took its context over, so the stub needs none.
                transaction.write_record(slot, body, Box::default(), None)
            })
        })?;
        Ok(Some(commit))
    }

    fn is_worth_a_stub(&self, slot: &Slot, entry: &Entry) -> Result<bool, DocumentError> {
        let stub = Body { version: 0, content: BodyContent::Stub }.encode(slot)?;
        let smaller = entry.body.len() > stub.len() || !entry.context.is_empty();
        if !smaller || !self.lattice.is_overridden(slot, self.replica, entry) {
            return Ok(false);
        }
        let value = Body::decode(&entry.body).ok().and_then(|body| body.value());
        Ok(value.is_none() || !self.lattice.candidates(slot).iter().any(|candidate| candidate.value == value))
    }
}

impl Transaction<'_> {
    /// The document as this transaction sees it.
    pub fn document(&self) -> &Document {
        self.document
    }

    /// Plans a change of content. Whether it can be carried out is known when the transaction ends.
    pub fn content(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Sets a register, overriding all values of it that are visible here.
    ///
    /// # Errors
    /// `Record` for a bad key; `TooLarge` for the value or the number of concurrent writers.
    pub fn set_register(&mut self, name: &str, value: &Value) -> Result<(), DocumentError> {
        self.write_value(&Slot::new(RecordKind::Register, name), Some(value))
    }

    /// Takes a register's value away, overriding all values of it that are visible here.
    ///
    /// # Errors
    /// As [`Self::set_register`].
    pub fn clear_register(&mut self, name: &str) -> Result<(), DocumentError> {
        self.clear(&Slot::new(RecordKind::Register, name))
    }

    /// Clears all registers whose name starts with `prefix`; all of them for an empty one. Returns how many.
    ///
    /// # Errors
    /// As [`Self::set_register`].
    pub fn clear_registers(&mut self, prefix: &str) -> Result<usize, DocumentError> {
        let slots = self.document.lattice.slots(RecordKind::Register);
        let slots: Vec<Slot> = slots.filter(|slot| slot.key.starts_with(prefix)).cloned().collect();
        let mut cleared = 0;
        for slot in slots {
            if self.document.lattice.candidates(&slot).iter().any(|candidate| candidate.value.is_some()) {
                self.clear(&slot)?;
                cleared += 1;
            }
        }
        Ok(cleared)
    }

    /// Adds to this replica's share of a counter.
    ///
    /// # Errors
    /// `Overflow` when the share would leave the range of 64-bit integers; `Record` for a bad key.
    pub fn add_counter(&mut self, name: &str, add: i64) -> Result<(), DocumentError> {
        let slot = Slot::new(RecordKind::Counter, name);
        let share = self.document.lattice.share(&slot, self.document.replica);
        let Some(total) = share.checked_add(add) else {
            return Err(DocumentError::Overflow { counter: name.chars().take(120).collect(), share, add });
        };
        let body = postcard::to_stdvec(&total)
            .map_err(|error| DocumentError::Serialize { path: slot.path_text(), reason: error.to_string() })?;
        self.write_record(&slot, body.into(), Box::default(), None)
    }

    /// Sets a key of an agent's state. Meant for the agent itself: nothing but convention keeps others out.
    ///
    /// # Errors
    /// As [`Self::set_register`].
    pub fn set_agent_value(&mut self, agent: &AgentId, key: &str, value: &Value) -> Result<(), DocumentError> {
        self.write_value(&agent_slot(agent, key), Some(value))
    }

    /// Clears a key of an agent's state.
    ///
    /// # Errors
    /// As [`Self::set_register`].
    pub fn clear_agent_value(&mut self, agent: &AgentId, key: &str) -> Result<(), DocumentError> {
        self.clear(&agent_slot(agent, key))
    }

    /// Enters an agent into the membership, in place of its earlier incarnations that are visible here.
    ///
    /// # Errors
    /// `Record` when a field is over its limit.
    pub fn enter(&mut self, member: &Member) -> Result<(), DocumentError> {
        let slot = Slot::new(RecordKind::Member, member.agent.as_str());
        let path = slot.path_text();
        member.check().map_err(|reason| DocumentError::Record { path: path.clone(), reason })?;
        let value = serde_json::to_value(member)
            .map_err(|error| DocumentError::Serialize { path, reason: error.to_string() })?;
        self.write_value(&slot, Some(&value))
    }

    /// Takes an agent out of the membership.
    ///
    /// # Errors
    /// As [`Self::set_register`].
    pub fn leave(&mut self, agent: &AgentId) -> Result<(), DocumentError> {
        self.clear(&Slot::new(RecordKind::Member, agent.as_str()))
    }

    fn clear(&mut self, slot: &Slot) -> Result<(), DocumentError> {
        self.write_value(slot, None)
    }

    fn write_value(&mut self, slot: &Slot, value: Option<&Value>) -> Result<(), DocumentError> {
        let text = value.map(|value| json_text(slot, value)).transpose()?;
        let content = text.as_deref().map_or(BodyContent::Cleared, BodyContent::Json);
        let lattice = &self.document.lattice;
        let body = Body { version: lattice.slot_version(slot).saturating_add(1), content }.encode(slot)?;
        let context = lattice.context(slot, self.document.replica);
        if context.len() > limits::RECORD_CONTEXT {
            let what = format!("number of writers of `{}`", slot.path_text());
            return Err(DocumentError::TooLarge { what, size: context.len(), max: limits::RECORD_CONTEXT });
        }
        self.write_record(slot, body, context.into(), None)
    }

    /// Writes an own record once more, for a new seal. It keeps its stamp, so that it overrides nothing it did not
    /// override before; one that others have overridden becomes a stub.
    pub(super) fn seal_anew(&mut self, slot: &Slot) -> Result<(), DocumentError> {
        let document = &*self.document;
        let Some(entry) = document.lattice.entry(slot, document.replica).cloned() else { return Ok(()) };
        let keeps_state = matches!(slot.kind, RecordKind::Register | RecordKind::Agent);
        if keeps_state && document.is_overridden_here(slot) {
            let body = Body { version: 0, content: BodyContent::Stub }.encode(slot)?;
            return self.write_record(slot, body, Box::default(), Some(entry.hlc));
        }
        self.write_record(slot, entry.body, entry.context, Some(entry.hlc))
    }

    /// Puts a record in place at once, so that the rest of the transaction sees it; its fence is settled at the end.
    fn write_record(
        &mut self,
        slot: &Slot,
        body: Box<[u8]>,
        context: Box<[(ReplicaId, u64)]>,
        stamp: Option<Hlc>,
    ) -> Result<(), DocumentError> {
        check_key(slot)?;
        self.document.may_write_record(slot)?;
        self.document.check_signer()?;
        let document = &mut *self.document;
        let own = document.replica;
        let known = document.version.records.get(own);
        let again = self.written.get(slot).map(|(seq, _)| *seq);
        let seq = again.unwrap_or(known + 1 + self.written.len() as u64);
        if seq > SEQ_MAX {
            let reason = format!("replica {own} has used all numbers up to {SEQ_MAX}");
            return Err(DocumentError::Record { path: slot.path_text(), reason });
        }
        let limit = |what: &str, size: usize, max: usize| {
            if size > max { Err(DocumentError::TooLarge { what: what.to_owned(), size, max }) } else { Ok(()) }
        };
        let new = usize::from(!document.lattice.holds(own, slot));
        limit("records of the document", document.lattice.len() + new, limits::DOCUMENT_RECORDS)?;
        limit("bytes of the document's records", document.lattice.bytes() + body.len(), limits::DOCUMENT_BYTES)?;
        if self.watch && !self.before.contains_key(slot) {
            self.before.insert(slot.clone(), (document.lattice.current(slot), own));
        }
        // Whatever this write overrides must also be older by the clock, even if it was loaded without witnessing.
        let newest = document.lattice.shown(slot).map(|(_, entry)| entry.hlc).max();
        if let Some(newest) = newest {
            document.clock.witness(newest, self.wall_ms);
        }
        let hlc = stamp.unwrap_or_else(|| document.clock.stamp(self.wall_ms));
        let fence = document.version.content.get(own);
        let entry = Entry { seq, hlc, fence, context, body, signature: None };
        let replaced = document.lattice.swap(own, slot, Some(entry));
        if again.is_none() {
            self.written.insert(slot.clone(), (seq, replaced));
        }
        Ok(())
    }

    fn commit(mut self) -> Result<Commit, DocumentError> {
        let own = self.document.replica;
        let mut commit = Commit::default();
        if !self.ops.is_empty() {
            self.document.may_write_content()?;
            let since = self.document.version.content.get(own);
            let (engine, ops, watch) = (&mut self.document.engine, &self.ops, self.watch);
            let content = guarded(|| engine.transact(ops, watch)).map_err(|error| {
                if !matches!(error, EngineError::Poisoned { .. }) {
                    return DocumentError::from(error);
                }
                let reason = error.to_string();
                self.document.poisoned = Some(reason.clone());
                DocumentError::Poisoned { sources: Vec::new(), reason }
            })?;
            if !content.update.is_empty() {
                self.document.version.content.raise(own, since + 1);
                self.settle_fences();
                commit.delta.content = Some(ContentDelta {
                    spans: vec![Span { writer: own, since, upto: since + 1 }],
                    after: Vec::new(),
                    updates: vec![content.update],
                });
            }
            let patch = |(path, change)| Patch { path, change, writer: Some(own), origin: Origin::Local };
            commit.patches.extend(content.patches.into_iter().map(patch));
        }
        self.committed = true;
        if !self.written.is_empty() {
            let since = self.document.version.records.get(own);
            let upto = since + self.written.len() as u64;
            self.document.version.records.raise(own, upto);
            if let Some(content) = &mut commit.delta.content {
                content.after.push((own, upto));
            }
            let mut records: Vec<Record> = self.document.lattice.records(own, since).collect();
            self.document.seal_records(&mut records, self.wall_ms);
            commit.delta.records = vec![RecordsDelta { span: Span { writer: own, since, upto }, records }];
        }
        let before = std::mem::take(&mut self.before);
        commit.patches.extend(self.document.record_patches(before, Origin::Local));
        Ok(commit)
    }

    /// Records written together with content are shown elsewhere once that content is there.
    fn settle_fences(&mut self) {
        let own = self.document.replica;
        let fence = self.document.version.content.get(own);
        for slot in self.written.keys() {
            let lattice = &mut self.document.lattice;
            if let Some(mut entry) = lattice.swap(own, slot, None) {
                entry.fence = fence;
                lattice.swap(own, slot, Some(entry));
            }
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for (slot, (_, replaced)) in std::mem::take(&mut self.written) {
            self.document.lattice.swap(self.document.replica, &slot, replaced);
        }
    }
}

pub(super) fn agent_slot(agent: &AgentId, key: &str) -> Slot {
    Slot { kind: RecordKind::Agent, key: Arc::from(format!("{agent}/{key}")) }
}
