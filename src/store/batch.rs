//! One batch of tasks inside one redb transaction. Layer 1.

use std::collections::BTreeMap;

use ::redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable, StorageError, Table, TableError,
    WriteTransaction,
};
use bytes::Bytes;

use super::{
    StoreDone, StoreError, StoreTask, StoredDocument, StoredSummary,
    format::{self, Batch, Index, Piece},
    survey::{Rows, Survey, survey},
};
use crate::id::DocumentId;

type WriteTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Why a task, or the batch it is in, failed.
pub(super) enum Failure {
    /// Concerns this task only; the flag says whether the database may be used further.
    Task(StoreError, bool),
    /// Concerns the disk or the file as a whole.
    Batch(String),
}

macro_rules! batch_failure {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Batch(error.to_string())
            }
        })*
    };
}
batch_failure!(StorageError, TableError, ::redb::TransactionError, postcard::Error);

pub(super) fn reason_of(failure: Failure) -> String {
    match failure {
        Failure::Task(error, _) => error.to_string(),
        Failure::Batch(reason) => reason,
    }
}

/// Begins a transaction that is flushed before it is answered.
pub(super) fn begin(database: &Database, quick_repair: bool) -> Result<WriteTransaction, String> {
    let mut transaction = database.begin_write().map_err(|error| error.to_string())?;
    transaction.set_durability(Durability::Immediate).map_err(|error| error.to_string())?;
    transaction.set_quick_repair(quick_repair);
    Ok(transaction)
}

pub(super) fn read_task(database: &Database, task: &StoreTask) -> Result<StoreDone, Failure> {
    let transaction: ReadTransaction = database.begin_read()?;
    let documents = transaction.open_table(format::table(format::DOCUMENTS))?;
    match task.document() {
        Some(document) => {
            let log = transaction.open_table(format::table(format::LOG))?;
            let snapshots = transaction.open_table(format::table(format::SNAPSHOTS))?;
            load(&Rows { documents: Some(&documents), log: Some(&log), snapshots: Some(&snapshots) }, document)
        }
        None => list(&documents),
    }
}

fn load<T>(rows: &Rows<'_, T>, document: &DocumentId) -> Result<StoreDone, Failure>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let Some(survey) = survey(rows, document.as_str())? else {
        return Ok(StoreDone::Loaded(None));
    };
    if !survey.damage.is_empty() {
        let (what, survives) = (survey.what(), survey.survives());
        let error = StoreError::Damaged { document: document.clone(), what, survives };
        return Err(Failure::Task(error, !survey.panicked));
    }
    let last = survey.last();
    let Survey { header, snapshot, entries, .. } = survey;
    Ok(StoreDone::Loaded(Some(StoredDocument { header: header.unwrap_or_default(), snapshot, entries, last })))
}

fn list<T>(documents: &T) -> Result<StoreDone, Failure>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let mut summaries = Vec::new();
    for row in documents.iter()? {
        let (key, value) = row?;
        let name = std::str::from_utf8(key.value()).ok().and_then(|name| DocumentId::new(name).ok());
        // A name no document can have is damage; `verify` reports it, and here it must not hide the others.
        let Some(document) = name else { continue };
        // A damaged row is listed with zeros: loading it then names the damage.
        let index: Index = format::unseal_value(format::DOCUMENTS, key.value(), value.value()).unwrap_or_default();
        summaries.push(StoredSummary {
            document,
            snapshot_bytes: index.snapshot_bytes.unwrap_or(0),
            entries: index.last.saturating_sub(index.upto),
            log_bytes: index.log_bytes,
        });
    }
    Ok(StoreDone::Listed(summaries))
}

pub(super) fn commit_batch(
    database: &Database,
    quick_repair: bool,
    tasks: &[StoreTask],
) -> Result<Vec<Result<StoreDone, StoreError>>, String> {
    let transaction = begin(database, quick_repair)?;
    let answers = run_batch(&transaction, tasks).map_err(reason_of)?;
    transaction.commit().map_err(|error| error.to_string())?;
    Ok(answers)
}

fn run_batch(
    transaction: &WriteTransaction,
    tasks: &[StoreTask],
) -> Result<Vec<Result<StoreDone, StoreError>>, Failure> {
    let mut writing = Writing::open(transaction)?;
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(match writing.run(task) {
            Ok(done) => Ok(done),
            Err(Failure::Task(error, true)) => Err(error),
            Err(Failure::Task(error, false)) => return Err(Failure::Batch(error.to_string())),
            Err(batch) => return Err(batch),
        });
    }
    writing.flush_all()?;
    Ok(answers)
}

/// One batch under way. Entries are gathered per document and become rows when the batch ends or is read from.
struct Writing<'t> {
    documents: WriteTable<'t>,
    log: WriteTable<'t>,
    snapshots: WriteTable<'t>,
    pending: BTreeMap<DocumentId, Pending>,
}

struct Pending {
    /// As it will be: `last` counts the entries gathered.
    index: Index,
    entries: Vec<Bytes>,
}

impl<'t> Writing<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            documents: transaction.open_table(format::table(format::DOCUMENTS))?,
            log: transaction.open_table(format::table(format::LOG))?,
            snapshots: transaction.open_table(format::table(format::SNAPSHOTS))?,
            pending: BTreeMap::new(),
        })
    }

    fn run(&mut self, task: &StoreTask) -> Result<StoreDone, Failure> {
        match task {
            StoreTask::Append { document, header, entries } => self.append(document, header, entries),
            StoreTask::Compact { document, upto, snapshot } => {
                self.flush(document)?;
                self.compact(document, *upto, snapshot)
            }
            StoreTask::Load { document } => {
                self.flush(document)?;
                let rows =
                    Rows { documents: Some(&self.documents), log: Some(&self.log), snapshots: Some(&self.snapshots) };
                load(&rows, document)
            }
            StoreTask::List => {
                self.flush_all()?;
                list(&self.documents)
            }
        }
    }

    fn append(&mut self, document: &DocumentId, header: &Bytes, entries: &[Bytes]) -> Result<StoreDone, Failure> {
        if !self.pending.contains_key(document) {
            let index = match self.index(document)? {
                Some(index) => index,
                None => self.new_index(document, header)?,
            };
            self.pending.insert(document.clone(), Pending { index, entries: Vec::new() });
        }
        let Some(pending) = self.pending.get_mut(document) else {
            return Err(Failure::Batch("an entry vanished from memory".to_owned()));
        };
        pending.entries.extend_from_slice(entries);
        pending.index.last += entries.len() as u64;
        Ok(StoreDone::Appended { last: pending.index.last })
    }

    fn index(&self, document: &DocumentId) -> Result<Option<Index>, Failure> {
        let key = document.as_str().as_bytes();
        let Some(row) = self.documents.get(key)? else {
            return Ok(None);
        };
        match format::unseal_value(format::DOCUMENTS, key, row.value()) {
            Some(index) => Ok(Some(index)),
            None => Err(damaged_index(document, "is damaged")),
        }
    }

    /// The index of a document not seen before. A document whose index row got lost must not be begun anew over its
    /// old rows.
    fn new_index(&self, document: &DocumentId, header: &Bytes) -> Result<Index, Failure> {
        let (start, end) = (format::row_key(document.as_str(), 0), format::row_key(document.as_str(), u64::MAX));
        for table in [&self.log, &self.snapshots] {
            if table.range(start.as_slice()..=end.as_slice())?.next().transpose()?.is_some() {
                return Err(damaged_index(document, "is missing"));
            }
        }
        Ok(Index { header: header.clone(), ..Index::default() })
    }

    fn flush_all(&mut self) -> Result<(), Failure> {
        while let Some((document, pending)) = self.pending.pop_first() {
            self.write_pending(document.as_str(), pending)?;
        }
        Ok(())
    }

    fn flush(&mut self, document: &DocumentId) -> Result<(), Failure> {
        match self.pending.remove(document) {
            Some(pending) => self.write_pending(document.as_str(), pending),
            None => Ok(()),
        }
    }

    fn write_pending(&mut self, document: &str, pending: Pending) -> Result<(), Failure> {
        let Pending { mut index, entries } = pending;
        let first = index.last + 1 - entries.len() as u64;
        self.write_entries(document, &mut index, first, entries)?;
        self.write_index(document, &index)
    }

    fn write_index(&mut self, document: &str, index: &Index) -> Result<(), Failure> {
        let row = format::seal_value(format::DOCUMENTS, document.as_bytes(), index)?;
        self.documents.insert(document.as_bytes(), row.as_slice())?;
        Ok(())
    }

    /// Writes entries as rows of bounded size and counts them into the index.
    fn write_entries(
        &mut self,
        document: &str,
        index: &mut Index,
        first: u64,
        entries: Vec<Bytes>,
    ) -> Result<(), Failure> {
        let mut number = first;
        let mut entries = entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            let mut bytes = entry.len();
            let mut batch = Batch { header: index.header.clone(), entries: vec![entry] };
            while let Some(next) = entries.next_if(|next| bytes + next.len() <= format::BATCH_BYTES) {
                bytes += next.len();
                batch.entries.push(next);
            }
            let key = format::row_key(document, number);
            let row = format::seal_value(format::LOG, &key, &batch)?;
            self.log.insert(key.as_slice(), row.as_slice())?;
            number += batch.entries.len() as u64;
            index.batches += 1;
            index.log_bytes += row.len() as u64;
        }
        Ok(())
    }

    fn compact(&mut self, document: &DocumentId, upto: u64, snapshot: &Bytes) -> Result<StoreDone, Failure> {
        let Some(mut index) = self.index(document)? else {
            return Err(Failure::Task(StoreError::Missing { document: document.clone() }, true));
        };
        let upto = upto.min(index.last);
        if upto < index.upto {
            return Ok(StoreDone::Compacted);
        }
        let name = document.as_str();
        self.shorten_log(document, &mut index, upto)?;
        index.upto = upto;
        self.write_snapshot(name, &mut index, snapshot)?;
        self.write_index(name, &index)?;
        Ok(StoreDone::Compacted)
    }

    /// Removes the entries up to `upto`. Where that is in the middle of a row, the row's other entries get a row of
    /// their own.
    fn shorten_log(&mut self, document: &DocumentId, index: &mut Index, upto: u64) -> Result<(), Failure> {
        let name = document.as_str();
        let (start, end) = (format::row_key(name, 0), format::row_key(name, upto));
        let after = format::row_key(name, upto.saturating_add(1));
        let beyond = if upto == index.last { None } else { Some(after) };
        let mut rest = Vec::new();
        if let Some(after) = &beyond
            && self.log.get(after.as_slice())?.is_none()
        {
            rest = self.straddling(document, upto, &end)?;
        }
        self.log.retain_in(start.as_slice()..=end.as_slice(), |_, _| false)?;
        // Counted again rather than subtracted, so that a damaged row on the way out cannot leave a wrong sum behind.
        let (mut batches, mut bytes) = (0, 0);
        for row in self.log.range(end.as_slice()..=format::row_key(name, u64::MAX).as_slice())? {
            batches += 1;
            bytes += row?.1.value().len() as u64;
        }
        (index.batches, index.log_bytes) = (batches, bytes);
        self.write_entries(name, index, upto.saturating_add(1), rest)
    }

    /// The entries after `upto` of the row that holds both `upto` and its successor.
    fn straddling(&self, document: &DocumentId, upto: u64, end: &[u8]) -> Result<Vec<Bytes>, Failure> {
        let damaged = || {
            let what = format!("the batch with entry {} is damaged", upto.saturating_add(1));
            let survives = "run `verify` to see what survives".to_owned();
            Failure::Task(StoreError::Damaged { document: document.clone(), what, survives }, true)
        };
        let start = format::row_key(document.as_str(), 0);
        let (key, value) = self.log.range(start.as_slice()..=end)?.next_back().transpose()?.ok_or_else(damaged)?;
        let first = format::split_key(key.value()).map(|(_, number)| number).ok_or_else(damaged)?;
        let batch: Batch = format::unseal_value(format::LOG, key.value(), value.value()).ok_or_else(damaged)?;
        let covered = usize::try_from(upto.saturating_add(1).saturating_sub(first)).map_err(|_| damaged())?;
        if covered >= batch.entries.len() {
            return Err(damaged());
        }
        Ok(batch.entries[covered..].to_vec())
    }

    fn write_snapshot(&mut self, document: &str, index: &mut Index, snapshot: &Bytes) -> Result<(), Failure> {
        let pieces = snapshot.len().div_ceil(format::PIECE_BYTES).max(1) as u64;
        for number in 0..pieces {
            let start = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(format::PIECE_BYTES);
            let end = snapshot.len().min(start + format::PIECE_BYTES);
            let piece =
                Piece { header: index.header.clone(), upto: index.upto, pieces, bytes: snapshot.slice(start..end) };
            let key = format::row_key(document, number);
            let row = format::seal_value(format::SNAPSHOTS, &key, &piece)?;
            self.snapshots.insert(key.as_slice(), row.as_slice())?;
        }
        let (start, end) = (format::row_key(document, pieces), format::row_key(document, u64::MAX));
        self.snapshots.retain_in(start.as_slice()..=end.as_slice(), |_, _| false)?;
        index.snapshot_bytes = Some(snapshot.len() as u64);
        Ok(())
    }
}

fn damaged_index(document: &DocumentId, how: &str) -> Failure {
    let what = format!("its row in the table of documents {how}");
    let survives = "run `verify` to see what survives".to_owned();
    Failure::Task(StoreError::Damaged { document: document.clone(), what, survives }, true)
}

/// Writes what survives of a document into a fresh store. Not flushed: a store under construction is worth nothing
/// until it is complete, and [`flush`] completes it.
pub(super) fn restore(database: &Database, document: &str, survey: Survey) -> Result<(), String> {
    let mut transaction = database.begin_write().map_err(|error| error.to_string())?;
    transaction.set_durability(Durability::None).map_err(|error| error.to_string())?;
    let write = || -> Result<(), Failure> {
        let mut writing = Writing::open(&transaction)?;
        let (upto, last) = (survey.upto, survey.last());
        let mut index = Index { header: survey.header.unwrap_or_default(), last, upto, ..Index::default() };
        if let Some(snapshot) = &survey.snapshot {
            writing.write_snapshot(document, &mut index, snapshot)?;
        }
        writing.write_entries(document, &mut index, upto + 1, survey.entries)?;
        writing.write_index(document, &index)
    };
    write().map_err(reason_of)?;
    transaction.commit().map_err(|error| error.to_string())
}

/// Makes everything restored durable.
pub(super) fn flush(database: &Database) -> Result<(), String> {
    begin(database, false)?.commit().map_err(|error| error.to_string())
}
