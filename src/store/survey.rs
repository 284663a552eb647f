//! Reads one document from the tables and says what of it is sound. Layer 1.
//!
//! redb does not check page checksums while reading, so nothing it returns is taken on trust: rows carry their own
//! checksums, numbers must follow each other, and the tables must agree. One reader serves loading, verifying and
//! repairing, so they cannot disagree about what is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::redb::{ReadableTable, StorageError};
use bytes::Bytes;

use super::format::{self, Batch, Index, Piece};

/// The tables of one transaction; `None` for one that cannot be opened.
#[derive(Debug)]
pub(super) struct Rows<'r, T> {
    pub(super) documents: Option<&'r T>,
    pub(super) log: Option<&'r T>,
    pub(super) snapshots: Option<&'r T>,
}

/// What is sound of a document.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    pub(super) header: Option<Bytes>,
    pub(super) snapshot: Option<Bytes>,
    /// Number of the entry before the first of `entries`.
    pub(super) upto: u64,
    /// The log up to the first bad row.
    pub(super) entries: Vec<Bytes>,
    /// The rows those entries came from.
    pub(super) batches: u64,
    /// All rows that were there or should have been.
    pub(super) batches_known: u64,
    pub(super) log_bytes: u64,
    /// What is wrong, in the order found; empty for a sound document.
    pub(super) damage: Vec<String>,
    /// redb panicked; its database must not be used any further.
    pub(super) panicked: bool,
    found: bool,
    snapshot_lost: bool,
}

impl Survey {
    /// Of a document that could not be read at all.
    pub(super) fn nothing(what: String) -> Self {
        Self { damage: vec![what], found: true, ..Self::default() }
    }

    pub(super) fn last(&self) -> u64 {
        self.upto + self.entries.len() as u64
    }

    pub(super) fn what(&self) -> String {
        self.damage.join(", ")
    }

    /// A sentence for people: what can still be read.
    pub(super) fn survives(&self) -> String {
        let batches = format!("{} of {} batches", self.batches, self.batches_known);
        match (&self.snapshot, self.snapshot_lost) {
            (Some(_), _) => format!("snapshot and {batches} survive"),
            (None, true) => format!("the snapshot is lost, {batches} survive"),
            (None, false) => format!("{batches} survive"),
        }
    }

    fn damaged(&mut self, what: String) {
        self.found = true;
        self.damage.push(what);
    }
}

/// Runs `work`; a panic becomes an error with its text. What `work` touched must be thrown away afterwards.
pub(super) fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        text.chars().take(200).collect()
    })
}

/// Reads a document; `None` when no table holds anything of it.
///
/// # Errors
/// The disk failed; damage is no error but is reported in the survey.
pub(super) fn survey<T>(rows: &Rows<'_, T>, document: &str) -> Result<Option<Survey>, StorageError>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let mut survey = Survey::default();
    match guarded(|| fill(&mut survey, rows, document)) {
        Ok(outcome) => outcome?,
        Err(panic) => {
            survey.panicked = true;
            survey.damaged(format!("reading it failed ({panic})"));
        }
    }
    survey.batches_known = survey.batches_known.max(survey.batches);
    Ok(survey.found.then_some(survey))
}

fn fill<T>(survey: &mut Survey, rows: &Rows<'_, T>, document: &str) -> Result<(), StorageError>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let index = fill_index(survey, rows.documents, document)?;
    let known_upto = fill_snapshot(survey, rows.snapshots, document, index.as_ref())?;
    fill_log(survey, rows.log, document, index.as_ref(), known_upto)?;
    if index.is_none() && survey.found && survey.damage.is_empty() {
        survey.damaged("its row in the table of documents is missing".to_owned());
    }
    Ok(())
}

/// Turns redb's report of corruption into damage of this document; other errors are the disk's.
fn tolerate<R>(survey: &mut Survey, part: &str, read: Result<R, StorageError>) -> Result<Option<R>, StorageError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StorageError::Corrupted(reason)) => {
            survey.damaged(format!("{part} cannot be read ({reason})"));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn fill_index<T>(survey: &mut Survey, table: Option<&T>, document: &str) -> Result<Option<Index>, StorageError>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let key = document.as_bytes();
    let Some(table) = table else {
        return Ok(None);
    };
    let part = "its row in the table of documents";
    let Some(Some(row)) = tolerate(survey, part, table.get(key))? else {
        return Ok(None);
    };
    survey.found = true;
    let index: Option<Index> = format::unseal_value(format::DOCUMENTS, key, row.value());
    match &index {
        Some(index) => {
            survey.header = Some(index.header.clone());
            survey.batches_known = index.batches;
        }
        None => survey.damaged(format!("{part} is damaged")),
    }
    Ok(index)
}

/// Reads the snapshot; answers the number of the last entry outside the log, where that is known.
fn fill_snapshot<T>(
    survey: &mut Survey,
    table: Option<&T>,
    document: &str,
    index: Option<&Index>,
) -> Result<Option<u64>, StorageError>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let from_index = index.map(|index| index.upto);
    let lost = |survey: &mut Survey, what: String| {
        survey.snapshot_lost = true;
        survey.damaged(what);
        Ok(from_index)
    };
    let expects_one = index.is_some_and(|index| index.snapshot_bytes.is_some());
    let Some(table) = table else {
        return if expects_one { lost(survey, "its snapshot cannot be read".to_owned()) } else { Ok(from_index) };
    };
    let (start, end) = (format::row_key(document, 0), format::row_key(document, u64::MAX));
    let Some(range) = tolerate(survey, "its snapshot", table.range(start.as_slice()..=end.as_slice()))? else {
        survey.snapshot_lost = true;
        return Ok(from_index);
    };
    let mut bytes = Vec::new();
    let mut next = 0;
    let mut whole: Option<(u64, u64)> = None;
    for row in range {
        let Some((key, value)) = tolerate(survey, "its snapshot", row)? else {
            survey.snapshot_lost = true;
            return Ok(from_index);
        };
        survey.found = true;
        let number = format::split_key(key.value()).map(|(_, number)| number);
        let piece = format::unseal_value::<Piece>(format::SNAPSHOTS, key.value(), value.value());
        let Some(piece) = piece.filter(|piece| {
            number == Some(next) && *whole.get_or_insert((piece.upto, piece.pieces)) == (piece.upto, piece.pieces)
        }) else {
            return lost(survey, format!("piece {next} of its snapshot is damaged"));
        };
        survey.header.get_or_insert(piece.header);
        bytes.extend_from_slice(&piece.bytes);
        next += 1;
    }
    match (whole, index) {
        (None, _) if expects_one => lost(survey, "its snapshot is missing".to_owned()),
        (None, _) => Ok(from_index),
        (Some((_, pieces)), _) if pieces != next => {
            lost(survey, format!("its snapshot ends after {next} of {pieces} pieces"))
        }
        (Some((upto, _)), Some(index)) if (index.upto, index.snapshot_bytes) != (upto, Some(bytes.len() as u64)) => {
            lost(survey, format!("its snapshot is of entry {upto} instead of {}", index.upto))
        }
        (Some((upto, _)), _) => {
            survey.snapshot = Some(Bytes::from(bytes));
            Ok(Some(upto))
        }
    }
}

fn fill_log<T>(
    survey: &mut Survey,
    table: Option<&T>,
    document: &str,
    index: Option<&Index>,
    known_upto: Option<u64>,
) -> Result<(), StorageError>
where
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    survey.upto = known_upto.unwrap_or(0);
    let mut next = known_upto.map(|upto| upto + 1);
    let mut seen = 0_u64;
    let mut broken = table.is_none();
    let (start, end) = (format::row_key(document, 0), format::row_key(document, u64::MAX));
    if let Some(table) = table
        && let Some(range) = tolerate(survey, "its log", table.range(start.as_slice()..=end.as_slice()))?
    {
        for row in range {
            let Some((key, value)) = tolerate(survey, "its log", row)? else {
                broken = true;
                break;
            };
            survey.found = true;
            seen += 1;
            if !broken {
                broken = !fill_batch(survey, key.value(), value.value(), &mut next);
            }
        }
    }
    survey.batches_known = survey.batches_known.max(seen);
    if let Some(index) = index
        && index.last != survey.last()
        && (!broken || survey.damage.is_empty())
    {
        survey.damaged(format!("its log ends at entry {} instead of {}", survey.last(), index.last));
    }
    Ok(())
}

/// Takes one row of the log; false when it is bad, which ends what survives of the log.
fn fill_batch(survey: &mut Survey, key: &[u8], value: &[u8], next: &mut Option<u64>) -> bool {
    let number = format::split_key(key).map_or(0, |(_, number)| number);
    let Some(batch) = format::unseal_value::<Batch>(format::LOG, key, value) else {
        survey.damaged(format!("the batch at entry {number} is damaged"));
        return false;
    };
    let expected = *next.get_or_insert_with(|| {
        // Neither index nor snapshot says where the log starts, so it starts with what is there.
        survey.upto = number.saturating_sub(1);
        number
    });
    if number != expected || batch.entries.is_empty() {
        survey.damaged(format!("its log continues at entry {number} instead of {expected}"));
        return false;
    }
    survey.header.get_or_insert(batch.header);
    survey.batches += 1;
    survey.log_bytes += value.len() as u64;
    survey.entries.extend(batch.entries);
    *next = Some(survey.last() + 1);
    true
}
