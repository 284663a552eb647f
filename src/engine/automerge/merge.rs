//! Merging peers' updates. Layer 1.
//!
//! An update is read and bounded by the prescan, then held against the document: everything it refers to must be
//! there. What automerge made of it is read back and compared, because automerge stores operations, not changes: a
//! change it cannot write again byte for byte could be applied but never be saved and loaded.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{
    ActorId, Automerge, Change, ChangeHash, Cursor, LoadOptions, ObjId, ObjType, PatchLog, ReadDoc, SaveOptions,
    TextEncoding, VerificationMode,
};
use bytes::Bytes;

use super::{
    super::{
        Applied, EngineError, Path, guarded,
        inspect::automerge::{ChangeFacts, Chunk, Made, read},
    },
    AutomergeEngine,
    actor::{CONTAINERS, actor_of, is_creator, writer_of},
    chains::{Chains, Link},
    containers::{Containers, kind_of},
    creation::Creation,
    observe::{Observer, report_all},
    value::CONTAINER_DEPTH,
};
use crate::limits;

/// Marks of one batch that are looked up one by one.
const MARKS_SOUGHT: usize = 8;

/// A change's chunk with its hash.
type Ready = ([u8; 32], Bytes);

/// What the changes of one batch add to the document before automerge has seen them.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    tops: BTreeMap<[u8; 32], u64>,
    made: BTreeMap<(ActorId, u64), (bool, usize)>,
    /// Formatting: the text, and where it begins and ends.
    marks: Vec<(ObjId, Cursor, Cursor)>,
    /// A change that a formatting one builds on.
    marked_on: Option<ChangeHash>,
}

fn refused<T>(reason: String) -> Result<T, EngineError> {
    Err(EngineError::Refused { reason })
}

pub(super) fn poisoned(error: impl std::fmt::Display) -> EngineError {
    EngineError::Poisoned { reason: error.to_string() }
}

/// Saves without orphans and without compression, which belongs to the session and the store.
pub(super) fn save(document: &Automerge) -> Vec<u8> {
    document.save_with_options(SaveOptions { deflate: false, retain_orphans: false })
}

fn load(bytes: &[u8]) -> Result<Automerge, EngineError> {
    let options =
        LoadOptions::new().text_encoding(TextEncoding::UnicodeCodePoint).verification_mode(VerificationMode::Check);
    Automerge::load_with_options(bytes, options).map_err(poisoned)
}

/// A saved document, saved anew without compression.
pub(in crate::engine) fn uncompressed(saved: &[u8]) -> Result<Bytes, EngineError> {
    let loaded = guarded(|| load(saved));
    let document = loaded.map_err(|error| match error {
        EngineError::Poisoned { reason } => EngineError::Refused { reason: format!("no automerge document: {reason}") },
        error => error,
    })?;
    Ok(save(&document).into())
}

impl AutomergeEngine {
    pub(super) fn merge(&mut self, updates: &[Bytes], watch: bool) -> Result<Applied, EngineError> {
        let mut loaded = false;
        let mut ready = Vec::new();
        let mut done = BTreeSet::new();
        for update in updates {
            let (chunks, _) = read(update)?;
            for chunk in chunks {
                match chunk {
                    Chunk::Document(facts) if facts.heads.iter().all(|head| self.knows(head)) => {}
                    Chunk::Document(facts) if self.document.is_empty() && ready.is_empty() => {
                        self.adopt(facts.bytes)?;
                        loaded = true;
                        self.wake_all(&mut ready, &mut done);
                    }
                    Chunk::Document(facts) => {
                        for bytes in self.changes_in(facts.bytes)? {
                            self.receive(&bytes, &mut ready, &mut done)?;
                        }
                    }
                    Chunk::Change(facts) => {
                        self.settle(facts.hash, &facts.deps, &update.slice_ref(facts.bytes), &mut ready, &mut done);
                    }
                }
            }
        }
        let changed = loaded || !ready.is_empty();
        let mut patches = self.integrate(&ready, watch && !loaded)?;
        if watch && loaded {
            patches = report_all(&self.document, &self.containers);
        }
        Ok(Applied { changed, pending: !self.queue.is_empty(), patches })
    }

    /// Takes a whole document as ours, which is empty.
    fn adopt(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let document = load(bytes)?;
        let mut chains = Chains::default();
        let mut containers = Containers::default();
        let mut tops: BTreeMap<ChangeHash, u64> = BTreeMap::new();
        for meta in document.get_changes_meta(&[]) {
            let top = meta.deps.iter().filter_map(|dep| tops.get(dep)).max().copied().unwrap_or(0);
            let before = chains.of(&meta.actor).last().map_or(0, |link: &Link| link.max_op);
            check_start(meta.start_op, top, before)?;
            tops.insert(meta.hash, meta.max_op);
            if is_creator(meta.actor.to_bytes()) {
                containers.add(&creation_in(&document, &meta.actor, meta.hash)?);
            }
            chains.push(&meta.actor, Link { hash: meta.hash.0, max_op: meta.max_op });
        }
        check_counts(&chains, &containers)?;
        self.document = document.with_actor(actor_of(self.replica));
        self.chains = chains;
        self.containers = containers;
        Ok(())
    }

    /// The changes of a whole document that we lack, as chunks.
    pub(super) fn changes_in(&self, bytes: &[u8]) -> Result<Vec<Bytes>, EngineError> {
        let other = load(bytes)?;
        let common: Vec<_> = self
            .chains
            .iter()
            .filter_map(|(actor, chain)| {
                let theirs = other.get_change_meta_by_hash(&ChangeHash(chain.last()?.hash))?;
                (*theirs.actor == *actor).then_some(theirs.hash)
            })
            .collect();
        let changes = other.get_changes(&common);
        Ok(changes.iter().map(|change| Bytes::copy_from_slice(change.raw_bytes())).collect())
    }

    pub(super) fn receive(
        &mut self,
        bytes: &Bytes,
        ready: &mut Vec<Ready>,
        done: &mut BTreeSet<[u8; 32]>,
    ) -> Result<(), EngineError> {
        for chunk in read(bytes)?.0 {
            if let Chunk::Change(facts) = chunk {
                self.settle(facts.hash, &facts.deps, &bytes.slice_ref(facts.bytes), ready, done);
            }
        }
        Ok(())
    }

    /// Puts a change among the ready ones, or in the queue.
    pub(super) fn settle(
        &mut self,
        hash: [u8; 32],
        deps: &[[u8; 32]],
        bytes: &Bytes,
        ready: &mut Vec<Ready>,
        done: &mut BTreeSet<[u8; 32]>,
    ) {
        if done.contains(&hash) || self.queue.contains(&hash) || self.knows(&hash) {
            return;
        }
        let missing: BTreeSet<_> =
            deps.iter().filter(|dep| !done.contains(*dep) && !self.knows(dep)).copied().collect();
        if missing.is_empty() {
            ready.push((hash, bytes.clone()));
            done.insert(hash);
            self.wake(hash, ready, done);
        } else {
            self.queue.hold(hash, bytes, missing);
        }
    }

    /// Wakes what waited for anything in a document just adopted.
    fn wake_all(&mut self, ready: &mut Vec<Ready>, done: &mut BTreeSet<[u8; 32]>) {
        if self.queue.is_empty() {
            return;
        }
        let hashes: Vec<_> = self.document.get_changes_meta(&[]).iter().map(|meta| meta.hash.0).collect();
        for hash in hashes {
            self.wake(hash, ready, done);
        }
    }

    pub(super) fn wake(&mut self, hash: [u8; 32], ready: &mut Vec<Ready>, done: &mut BTreeSet<[u8; 32]>) {
        let mut arrived = vec![hash];
        while let Some(hash) = arrived.pop() {
            for (woken, bytes) in self.queue.wake(&hash) {
                ready.push((woken, bytes));
                done.insert(woken);
                arrived.push(woken);
            }
        }
    }

    /// Applies changes that wait for nothing, in one batch: singly each costs some thirty times as much.
    pub(super) fn integrate(
        &mut self,
        ready: &[Ready],
        watch: bool,
    ) -> Result<Vec<(Path, super::super::Change)>, EngineError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.document.get_heads();
        let mut batch = Batch::default();
        for (_, bytes) in ready {
            for chunk in read(bytes)?.0 {
                if let Chunk::Change(facts) = chunk {
                    self.admit(&facts, &mut batch)?;
                }
            }
        }
        check_counts(&self.chains, &self.containers)?;
        let mut log = PatchLog::new(watch);
        self.document.apply_changes_log_patches(std::mem::take(&mut batch.changes), &mut log).map_err(poisoned)?;
        self.verify(&before, ready, &batch)?;
        if !watch {
            // An inactive log is not empty after a batch: automerge writes to it regardless.
            return Ok(Vec::new());
        }
        let patches = self.document.make_patches(&mut log);
        Ok(Observer::report(&self.document, &self.containers, &before, &patches))
    }

    /// Holds a change against the document and the changes before it in the batch.
    fn admit(&mut self, facts: &ChangeFacts<'_>, batch: &mut Batch) -> Result<(), EngineError> {
        let actor = ActorId::from(facts.actor);
        let chain = self.chains.of(&actor);
        let before = chain.last().map_or(0, |link| link.max_op);
        if let Some(creation) = &facts.creation {
            self.containers.add(creation);
        } else if facts.seq <= chain.len() as u64 {
            return refused(format!("two changes of writer {:x} numbered {}", writer_of(facts.actor), facts.seq));
        } else if facts.seq > chain.len() as u64 + 1 {
            let known = chain.len() as u64;
            return Err(EngineError::Gap { writer: writer_of(facts.actor), from: facts.seq - 1, known });
        }
        let mut top = 0;
        for dep in &facts.deps {
            top = top.max(match batch.tops.get(dep) {
                Some(top) => *top,
                None => match self.document.get_change_meta_by_hash(&ChangeHash(*dep)) {
                    Some(meta) => meta.max_op,
                    None => return refused("a dependency vanished".to_owned()),
                },
            });
        }
        check_start(facts.start_op, top, before)?;
        if let Some(unknown) = facts.others.iter().find(|other| !self.chains.has_actor(&ActorId::from(**other))) {
            return refused(format!("refers to writer {:x}, of whom nothing is known", writer_of(unknown)));
        }
        for (id, used) in &facts.objects {
            let object = (ActorId::from(facts.actor_at(id.0)), id.1);
            if self.has_names(&object, batch) != Some(used.names) {
                return refused(format!("operation {} by {} is no such object", object.1, object.0));
            }
            if used.below > 0 {
                let level = self.level(&object, batch);
                if level + used.below > CONTAINER_DEPTH {
                    return refused(format!("objects nested {} deep, limit {CONTAINER_DEPTH}", level + used.below));
                }
            }
        }
        for (counter, Made { names, level, base }) in &facts.made {
            let above = match base {
                None => 0,
                Some(id) => self.level(&(ActorId::from(facts.actor_at(id.0)), id.1), batch),
            };
            batch.made.insert((actor.clone(), *counter), (*names, above + level));
        }
        for (object, counter) in &facts.marks {
            let object = ObjId::Id(object.1, ActorId::from(facts.actor_at(object.0)), 0);
            batch.marked_on = facts.deps.first().copied().map(ChangeHash);
            batch.marks.push((object, cursor(&actor, *counter)?, cursor(&actor, counter + 1)?));
        }
        batch.tops.insert(facts.hash, facts.max_op());
        batch.changes.push(Change::from_bytes(facts.bytes.to_vec()).map_err(poisoned)?);
        self.chains.push(&actor, Link { hash: facts.hash, max_op: facts.max_op() });
        Ok(())
    }

    /// Whether an object has names rather than positions; `None` when there is no such object.
    fn has_names(&self, (actor, counter): &(ActorId, u64), batch: &Batch) -> Option<bool> {
        if let Some((names, _)) = batch.made.get(&(actor.clone(), *counter)) {
            return Some(*names);
        }
        let kind = self.document.object_type(ObjId::Id(*counter, actor.clone(), 0)).ok()?;
        Some(matches!(kind, ObjType::Map | ObjType::Table))
    }

    /// How many objects lie on the way from the root to this one, itself included.
    fn level(&self, (actor, counter): &(ActorId, u64), batch: &Batch) -> usize {
        if let Some((_, level)) = batch.made.get(&(actor.clone(), *counter)) {
            return *level;
        }
        match self.document.parents(ObjId::Id(*counter, actor.clone(), 0)) {
            Ok(parents) => parents.take(CONTAINER_DEPTH + 1).count(),
            Err(_) => 0,
        }
    }

    /// Reads back what was applied.
    fn verify(&self, before: &[ChangeHash], ready: &[Ready], batch: &Batch) -> Result<(), EngineError> {
        let written: BTreeSet<_> = self.document.get_changes(before).iter().map(|change| change.hash().0).collect();
        if let Some((hash, _)) = ready.iter().find(|(hash, _)| !written.contains(hash)) {
            let hash = super::value::hex(hash);
            return refused(format!("change {hash} does not read back as it was written"));
        }
        if self.marks_are_in_order(batch) {
            return Ok(());
        }
        // Only loading checks every mark, and a document that does not load is lost.
        load(&save(&self.document)).map(|_| ())
    }

    /// True when every mark of the batch is seen to begin before it ends. Where nothing is left between the ends their
    /// order does not show, and for many marks one load takes less time.
    fn marks_are_in_order(&self, batch: &Batch) -> bool {
        if batch.marks.is_empty() {
            return true;
        }
        let Some(past) = batch.marked_on.filter(|_| batch.marks.len() <= MARKS_SOUGHT) else { return false };
        // Everything, but not literally the present: there automerge looks marks up in an index that its own debug
        // build disagrees with.
        let mut heads = self.document.get_heads();
        heads.push(past);
        // What lies behind the last character has no position.
        let position =
            |text, cursor| self.document.get_cursor_position(text, cursor, Some(&heads)).unwrap_or(usize::MAX);
        batch.marks.iter().all(|(text, begin, end)| position(text, begin) < position(text, end))
    }
}

/// The place of an operation in its text.
fn cursor(actor: &ActorId, counter: u64) -> Result<Cursor, EngineError> {
    Cursor::try_from(format!("{counter}@{actor}")).map_err(poisoned)
}

/// An operation's counter is one above all it has seen: a higher one would use up everybody's counters, a lower one
/// would name two operations alike.
fn check_start(start_op: u64, deps_top: u64, own_top: u64) -> Result<(), EngineError> {
    if start_op != deps_top + 1 || own_top > deps_top {
        return refused(format!("change starts at operation {start_op}, after {}", deps_top.max(own_top)));
    }
    Ok(())
}

fn check_counts(chains: &Chains, containers: &Containers) -> Result<(), EngineError> {
    if chains.writers() > limits::DOCUMENT_WRITERS {
        return refused(format!("{} writers, limit {}", chains.writers(), limits::DOCUMENT_WRITERS));
    }
    if containers.count() > CONTAINERS {
        return refused(format!("{} containers, limit {CONTAINERS}", containers.count()));
    }
    Ok(())
}

/// The creation behind a container's actor in a loaded document, whose bytes the prescan could not compare.
fn creation_in(document: &Automerge, actor: &ActorId, hash: ChangeHash) -> Result<Creation, EngineError> {
    let object = ObjId::Id(1, actor.clone(), 0);
    let named = document.object_type(&object).ok().zip(document.parents(&object).ok().and_then(|mut path| path.next()));
    if let Some((kind, parent)) = named
        && let automerge::Prop::Map(name) = &parent.prop
    {
        let container = super::super::Container { kind: kind_of(kind), name: name.as_str().into() };
        let creation = Creation::new(container);
        if creation.change()?.hash() == hash {
            return Ok(creation);
        }
    }
    refused("a change in the name of a container that is not its creation".to_owned())
}
