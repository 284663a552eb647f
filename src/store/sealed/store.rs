//! A store that seals what it gives another to keep. Layer 1; pure, given its randomness.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

use super::{
    cipher::{self, Kind, OVERHEAD_BYTES, Place},
    header::{FOREIGN, Opened},
    key::StoreKey,
    keys::{Keys, MASTER_NOTE, is_disk_name},
};
use crate::{
    id::DocumentId,
    store::{IDENTITY_NOTE, LOSS_NOTE, Store, StoreDone, StoreError, StoreTask, StoredSummary},
};

/// Fills bytes from a source of randomness that is fit for keys, or fails.
pub type Entropy = Box<dyn FnMut(&mut [u8]) -> Result<(), StoreError> + Send>;

/// The system's randomness.
pub fn system_entropy() -> Entropy {
    Box::new(|out| {
        getrandom::fill(out).map_err(|error| StoreError::Write { reason: format!("no randomness: {error}") })
    })
}

/// Seals everything another store keeps: names, headers, entries, snapshots and notes.
///
/// Of what was altered, moved, swapped, left out in the middle or brought from elsewhere nothing is given out: reading
/// it is `Damaged`, which names the document and the place. Not noticed: the end of a log cut off, a document taken
/// away whole, and an earlier state of the whole store. Sizes, counts and times of writing stay visible.
///
/// Nobody else may write to the inner store meanwhile. A document is read once before the first append to it, and
/// once, with all its bytes, for its name in a list.
pub struct SealedStore<S> {
    inner: S,
    keys: Keys,
    entropy: Entropy,
    /// By the name on disk. Forgotten when a write fails: whether it took effect is then open.
    known: BTreeMap<DocumentId, Known>,
}

#[derive(Debug)]
struct Known {
    document: Opened,
    /// The header the inner store keeps.
    header: Bytes,
    /// Number of the last entry, those under way included.
    last: u64,
}

/// What became of a task.
enum Plan {
    /// Not handed on.
    Refused(StoreError),
    Load(DocumentId),
    Append {
        disk: DocumentId,
        /// Number its last entry was sealed for.
        last: u64,
    },
    Compact(DocumentId),
    List,
}

impl<S> fmt::Debug for SealedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl<S: Store> SealedStore<S> {
    /// Opens a sealed store, or seals an empty one. `entropy` is drawn from whenever something is sealed; its bytes
    /// must never repeat ([`system_entropy`]).
    ///
    /// # Errors
    /// `Key` when another key sealed the store, or when it holds anything that is not sealed; nothing is then written.
    /// Those of the inner store.
    pub fn open(mut inner: S, key: &StoreKey, mut entropy: Entropy) -> Result<Self, StoreError> {
        let keys = match inner.note(MASTER_NOTE)? {
            Some(note) => Keys::open(key, &note).ok_or_else(wrong_key)?,
            None => {
                refuse_unsealed(&mut inner)?;
                let keys = Keys::draw(&mut entropy)?;
                inner.set_note(MASTER_NOTE, keys.seal_for(key, &mut entropy)?)?;
                keys
            }
        };
        Ok(Self { inner, keys, entropy, known: BTreeMap::new() })
    }

    /// From now on `key` opens this store, and the one before no longer does. One note is replaced, in one commit:
    /// after a crash one of the two keys opens it.
    ///
    /// Who had the earlier key *and* a copy of the store can still read that copy, and what is sealed later.
    ///
    /// # Errors
    /// `Write`; the earlier key then still opens the store, unless the last flush took effect after all.
    pub fn rekey(&mut self, key: &StoreKey) -> Result<(), StoreError> {
        let note = self.keys.seal_for(key, &mut self.entropy)?;
        self.inner.set_note(MASTER_NOTE, note)
    }

    /// The store underneath.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn ask(&mut self, task: StoreTask) -> Result<StoreDone, StoreError> {
        self.inner.commit(&[task]).pop().unwrap_or(Err(StoreError::Closed))
    }

    /// Gets to know a document by its name on disk; `None` when there is none.
    fn know(&mut self, disk: &DocumentId) -> Result<Option<&mut Known>, StoreError> {
        if !self.known.contains_key(disk) {
            let StoreDone::Loaded(Some(stored)) = self.ask(StoreTask::Load { document: disk.clone() })? else {
                return Ok(None);
            };
            let document = self.opened(disk, &stored.header)?;
            self.known.insert(disk.clone(), Known { document, header: stored.header, last: stored.last });
        }
        Ok(self.known.get_mut(disk))
    }

    fn opened(&self, disk: &DocumentId, header: &[u8]) -> Result<Opened, StoreError> {
        Opened::open(&self.keys, disk, header)
            .ok_or_else(|| damaged(disk, format!("its header does not open: {FOREIGN}")))
    }

    /// The task to hand on in place of `task`.
    fn seal(&mut self, task: &StoreTask) -> Result<(Plan, StoreTask), StoreError> {
        let Some(name) = task.document() else {
            return Ok((Plan::List, StoreTask::List));
        };
        let disk = self.keys.disk_name(name)?;
        match task {
            StoreTask::Append { header, entries, .. } => self.seal_append(name, disk, header, entries),
            StoreTask::Compact { upto, snapshot, .. } => self.seal_snapshot(name, disk, *upto, snapshot),
            StoreTask::Load { .. } | StoreTask::List => {
                Ok((Plan::Load(disk.clone()), StoreTask::Load { document: disk }))
            }
        }
    }

    fn seal_append(
        &mut self,
        name: &DocumentId,
        disk: DocumentId,
        header: &Bytes,
        entries: &[Bytes],
    ) -> Result<(Plan, StoreTask), StoreError> {
        if self.know(&disk).map_err(|error| renamed(error, name))?.is_none() {
            let (document, header) = Opened::create(&self.keys, &mut self.entropy, disk.clone(), name, header)?;
            self.known.insert(disk.clone(), Known { document, header, last: 0 });
        }
        let known = self.known.get_mut(&disk).ok_or(StoreError::Closed)?;
        let numbered = (known.last + 1..).zip(entries);
        let sealed: Result<Vec<Bytes>, StoreError> = numbered
            .map(|(number, entry)| known.document.seal(&mut self.entropy, Kind::Entry, number, entry))
            .collect();
        let entries = sealed?;
        known.last += entries.len() as u64;
        let (header, last) = (known.header.clone(), known.last);
        Ok((Plan::Append { disk: disk.clone(), last }, StoreTask::Append { document: disk, header, entries }))
    }

    fn seal_snapshot(
        &mut self,
        name: &DocumentId,
        disk: DocumentId,
        upto: u64,
        snapshot: &Bytes,
    ) -> Result<(Plan, StoreTask), StoreError> {
        if self.know(&disk).map_err(|error| renamed(error, name))?.is_none() {
            return Err(StoreError::Missing { document: name.clone() });
        }
        let known = self.known.get(&disk).ok_or(StoreError::Closed)?;
        let upto = upto.min(known.last);
        let snapshot = known.document.seal(&mut self.entropy, Kind::Snapshot, upto, snapshot)?;
        Ok((Plan::Compact(disk.clone()), StoreTask::Compact { document: disk, upto, snapshot }))
    }

    /// What to answer `task` with.
    fn unseal(
        &mut self,
        task: &StoreTask,
        plan: Plan,
        answer: Result<StoreDone, StoreError>,
    ) -> Result<StoreDone, StoreError> {
        let opened = answer.and_then(|done| match (plan, done) {
            (Plan::Load(disk), StoreDone::Loaded(Some(stored))) => {
                let opened = self.opened(&disk, &stored.header)?;
                let plain = opened.unseal(&stored).map_err(|what| damaged(&disk, what))?;
                Ok(StoreDone::Loaded(Some(plain)))
            }
            (Plan::Append { disk, last }, StoreDone::Appended { last: kept }) if kept != last => {
                Err(damaged(&disk, format!("its log ends at entry {kept} instead of {last}")))
            }
            (Plan::List, StoreDone::Listed(summaries)) => self.named(summaries).map(StoreDone::Listed),
            (_, done) => Ok(done),
        });
        match task.document() {
            Some(name) => opened.map_err(|error| renamed(error, name)),
            None => opened,
        }
    }

    /// A list as the caller is to see it. A document that cannot be read is listed under its name on disk.
    fn named(&mut self, summaries: Vec<StoredSummary>) -> Result<Vec<StoredSummary>, StoreError> {
        let mut named = Vec::with_capacity(summaries.len());
        for mut summary in summaries {
            if !is_disk_name(&summary.document) {
                // A name that is not ours is not authentic: whoever put it there wants it read.
                return Err(damaged(&summary.document, "it is not sealed, in a sealed store".to_owned()));
            }
            if let Ok(Some(known)) = self.know(&summary.document) {
                summary.document = known.document.name.clone();
            }
            summary.snapshot_bytes = summary.snapshot_bytes.saturating_sub(OVERHEAD_BYTES as u64);
            named.push(summary);
        }
        named.sort_by(|one, other| one.document.cmp(&other.document));
        Ok(named)
    }
}

impl<S: Store> Store for SealedStore<S> {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        let (mut plans, mut sealed) = (Vec::with_capacity(tasks.len()), Vec::with_capacity(tasks.len()));
        for task in tasks {
            plans.push(match self.seal(task) {
                Ok((plan, task)) => {
                    sealed.push(task);
                    plan
                }
                Err(error) => Plan::Refused(error),
            });
        }
        let mut outcomes = self.inner.commit(&sealed).into_iter();
        // Before any answer is looked at: reading another document for a list must not meet what is no longer sure.
        let outcomes: Vec<_> = plans
            .iter()
            .map(|plan| match plan {
                Plan::Refused(error) => Err(error.clone()),
                _ => outcomes.next().unwrap_or(Err(StoreError::Closed)),
            })
            .collect();
        for (plan, outcome) in plans.iter().zip(&outcomes) {
            let holds = match (plan, outcome) {
                (Plan::Append { last, .. }, Ok(StoreDone::Appended { last: kept })) => kept == last,
                (_, outcome) => outcome.is_ok(),
            };
            if let (Plan::Append { disk, .. } | Plan::Compact(disk), false) = (plan, holds) {
                self.known.remove(disk);
            }
        }
        let answers = tasks.iter().zip(plans).zip(outcomes);
        answers.map(|((task, plan), outcome)| self.unseal(task, plan, outcome)).collect()
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        if name == LOSS_NOTE {
            // Left by a repair, which has no key.
            return self.inner.note(name);
        }
        let disk = self.keys.note_name(name);
        let Some(sealed) = self.inner.note(&disk)? else {
            return Ok(None);
        };
        match cipher::unseal(self.keys.notes(), note_place(&disk), &sealed) {
            Some(note) => Ok(Some(note.into())),
            None => Err(StoreError::Read { reason: format!("the note `{name}` does not open: {FOREIGN}") }),
        }
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        if name == LOSS_NOTE {
            return self.inner.set_note(name, note);
        }
        let disk = self.keys.note_name(name);
        let sealed = cipher::seal(self.keys.notes(), &mut self.entropy, note_place(&disk), &note)?;
        self.inner.set_note(&disk, sealed)
    }
}

fn note_place(disk: &str) -> Place<'_> {
    Place { kind: Kind::Note, name: disk, number: 0 }
}

pub(super) fn wrong_key() -> StoreError {
    StoreError::Key { reason: "another key sealed it, or the note with its master key was altered".to_owned() }
}

/// A store that holds anything is not sealed afterwards: what it holds would be neither read nor protected.
fn refuse_unsealed(inner: &mut dyn Store) -> Result<(), StoreError> {
    let listed = inner.commit(&[StoreTask::List]).pop().unwrap_or(Err(StoreError::Closed))?;
    let holds_documents = !matches!(listed, StoreDone::Listed(summaries) if summaries.is_empty());
    if holds_documents || inner.note(IDENTITY_NOTE)?.is_some() || inner.note(LOSS_NOTE)?.is_some() {
        let reason =
            "it holds documents or notes and no sealed master key: it was begun without a key, or a repair lost it";
        return Err(StoreError::Key { reason: reason.to_owned() });
    }
    Ok(())
}

fn damaged(document: &DocumentId, what: String) -> StoreError {
    StoreError::Damaged { document: document.clone(), what, survives: "nothing of it is given out".to_owned() }
}

/// The same error, with the name the caller knows.
fn renamed(error: StoreError, name: &DocumentId) -> StoreError {
    match error {
        StoreError::Damaged { what, survives, .. } => StoreError::Damaged { document: name.clone(), what, survives },
        StoreError::Missing { .. } => StoreError::Missing { document: name.clone() },
        other => other,
    }
}
