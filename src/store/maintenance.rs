//! Looking after a store file that nobody has open: verify, repair, compact. Layer 1.
//!
//! Nothing here ever writes to a damaged file. A repair builds a new file from what survives, keeps the damaged one
//! under another name, and only then puts the new one in its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ::redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use super::{
    LOSS_NOTE, StoreError, StoreKey, StoredDocument, batch, format,
    overlay::{CACHE_BYTES, Original},
    redb::{self, beside, open_error},
    sealed::{MASTER_NOTE, Unsealing},
    survey::{Rows, Survey, guarded, survey},
};
use crate::id::DocumentId;

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// Which parts are damaged.
    pub what: String,
    /// What can still be read.
    pub survives: String,
}

/// The state of one document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DocumentReport {
    /// The document.
    pub document: DocumentId,
    /// Bytes of its snapshot.
    pub snapshot_bytes: u64,
    /// Sound entries in its log.
    pub entries: u64,
    /// Rows they are stored in.
    pub batches: u64,
    /// `None` for a sound document.
    pub damage: Option<Damage>,
}

/// The state of a store file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Size of the file.
    pub file_bytes: u64,
    /// The checksums of all of redb's pages hold. Where they do not, rows may be missing without a trace in themselves.
    pub pages_hold: bool,
    /// What is wrong with the row that names the format; `None` when it is sound.
    pub format_damage: Option<String>,
    /// The store is sealed. Without its key documents and notes have the names they have on disk, and checksums are all
    /// that is checked.
    pub sealed: bool,
    /// Every document of which anything was found.
    pub documents: Vec<DocumentReport>,
    /// Names of sound notes.
    pub notes: Vec<String>,
    /// Names of notes that do not match their checksum, or do not open.
    pub damaged_notes: Vec<String>,
    /// Keys of rows that belong to no possible document.
    pub strays: Vec<String>,
}

impl Report {
    /// True when nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.pages_hold
            && self.format_damage.is_none()
            && self.damaged_notes.is_empty()
            && self.strays.is_empty()
            && self.damaged().next().is_none()
    }

    /// The damaged documents.
    pub fn damaged(&self) -> impl Iterator<Item = (&DocumentReport, &Damage)> {
        self.documents.iter().filter_map(|report| Some((report, report.damage.as_ref()?)))
    }
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Repair {
    /// What was found, and of each damaged document, what the repaired store now holds.
    pub report: Report,
    /// Where the damaged file was kept, byte for byte; `None` when it was sound and nothing was done.
    pub damaged_file: Option<PathBuf>,
    /// The repaired store lacks something the damaged one once held; it carries [`LOSS_NOTE`].
    pub lost: bool,
}

/// What compacting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Compaction {
    /// Size of the file before.
    pub bytes_before: u64,
    /// Size of the file afterwards.
    pub bytes_after: u64,
}

/// Reads every row of the store and reports what is sound and what is not. Changes nothing. `progress` is told how many
/// documents are done, and of how many. With the `key` of a sealed store everything is opened too, and documents are
/// told by their names.
///
/// # Errors
/// `Open` when the file cannot be read as a store at all or another process has it open; `Format` when a later version
/// wrote it; `Key` when it is not the key of the store.
pub fn verify(
    path: impl AsRef<Path>,
    key: Option<&StoreKey>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, StoreError> {
    let original = Original::open(path.as_ref())?;
    let mut source = Source::open(&original)?;
    let unsealing = key.map(|key| source.unsealing(key)).transpose()?;
    let mut report = examine(&original, &mut source, unsealing.as_ref(), &mut progress)?;
    if let Some(unsealing) = &unsealing {
        source.name(unsealing, &mut report);
    }
    Ok(report)
}

/// Builds a new store from what survives and puts it in the place of the damaged one, which is kept beside it under the
/// name `<file>.damaged-<n>`. A sound store is left alone.
///
/// Each damaged document keeps its snapshot, if that is sound, and its log up to the first bad row. Where redb still
/// holds the commit before the damaged one, documents are taken from that if it has more of them. With the `key` of a
/// sealed store documents are told by their names; what was altered under sound checksums no repair brings back, and
/// [`verify`] names it.
///
/// # Errors
/// As for [`verify`], and `Write` when the new file cannot be written. The damaged file is then still in its place.
pub fn repair(
    path: impl AsRef<Path>,
    key: Option<&StoreKey>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Repair, StoreError> {
    let original = Original::open(path.as_ref())?;
    let mut source = Source::open(&original)?;
    let unsealing = key.map(|key| source.unsealing(key)).transpose()?;
    let mut repair = rebuild(&original, &mut source, &mut progress)?;
    if let Some(unsealing) = &unsealing {
        source.name(unsealing, &mut repair.report);
    }
    Ok(repair)
}

fn rebuild(
    original: &Original,
    source: &mut Source<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Repair, StoreError> {
    let mut report = examine(original, source, None, &mut |_, _| {})?;
    if report.is_sound() {
        let total = report.documents.len() as u64;
        progress(total, total);
        return Ok(Repair { report, damaged_file: None, lost: false });
    }
    let failed = |reason: String| StoreError::Write { reason };
    let provisional = beside(original.path(), "repair");
    if provisional.exists() {
        // An earlier repair that did not finish; everything in it can be built again.
        std::fs::remove_file(&provisional).map_err(|error| failed(error.to_string()))?;
    }
    let database = redb::create_database(&provisional, CACHE_BYTES).map_err(|error| failed(error.to_string()))?;
    redb::initialise(&database).map_err(failed)?;
    let mut earlier = Source::checked(original).map(|(source, _)| source);
    let lost = salvage(source, earlier.as_mut(), &database, &mut report, progress).map_err(failed)?;
    batch::flush(&database).map_err(failed)?;
    drop(database);
    let damaged_file = keep_beside(original.path()).map_err(|error| failed(error.to_string()))?;
    redb::rename(&provisional, original.path()).map_err(|error| failed(error.to_string()))?;
    Ok(Repair { report, damaged_file: Some(damaged_file), lost })
}

/// Gives the space of removed rows back to the file system. Verifies first, because compacting moves pages about and a
/// damaged file must not be touched; with the `key` of a sealed store as thoroughly as that allows.
///
/// # Errors
/// As for [`verify`]; `Damaged` or `Open` when anything is not sound; `Write` when compacting fails, which leaves the
/// store as it was.
pub fn compact(
    path: impl AsRef<Path>,
    key: Option<&StoreKey>,
    progress: impl FnMut(u64, u64),
) -> Result<Compaction, StoreError> {
    let path = path.as_ref();
    let report = verify(path, key, progress)?;
    if let Some((document, damage)) = report.damaged().next() {
        return Err(StoreError::Damaged {
            document: document.document.clone(),
            what: damage.what.clone(),
            survives: damage.survives.clone(),
        });
    }
    if !report.is_sound() {
        return Err(open_error(path, "parts of the file are damaged; `repair` it first"));
    }
    let mut database = redb::open_file(path, CACHE_BYTES)?;
    let outcome = guarded(|| -> Result<(), String> {
        // Each call ends when it cannot move any more at once; freed pages may allow another.
        while database.compact().map_err(|error| error.to_string())? {}
        drop(database);
        Ok(())
    });
    outcome.unwrap_or_else(Err).map_err(|reason| StoreError::Write { reason })?;
    Ok(Compaction { bytes_before: report.file_bytes, bytes_after: redb::check_file(path)? })
}

/// A database over the original, opened anew whenever redb panicked or gave up.
struct Source<'o> {
    original: &'o Original,
    database: Database,
}

impl<'o> Source<'o> {
    fn open(original: &'o Original) -> Result<Self, StoreError> {
        Ok(Self { original, database: original.database()? })
    }

    /// With redb's own check run over it: tells whether all pages are sound, and goes back to the commit before when
    /// the last one is not. `None` when redb finds nothing to go back to.
    fn checked(original: &'o Original) -> Option<(Self, bool)> {
        let mut database = original.database().ok()?;
        let (database, sound) = guarded(move || {
            let sound = database.check_integrity();
            (database, sound)
        })
        .ok()?;
        match sound {
            Ok(sound) => Some((Self { original, database }, sound)),
            Err(_) => {
                // Its outcome is known; closing it may panic once more.
                let _ = guarded(move || drop(database));
                None
            }
        }
    }

    /// Runs `read` in a transaction. After a panic inside redb the database is opened anew.
    fn read<R>(&mut self, read: impl FnOnce(&ReadTransaction) -> R) -> Result<R, String> {
        let database = &self.database;
        let outcome = guarded(|| database.begin_read().map(|transaction| read(&transaction)));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => {
                self.reopen();
                Err(panic)
            }
        }
    }

    fn reopen(&mut self) {
        if let Ok(fresh) = self.original.database() {
            let poisoned = std::mem::replace(&mut self.database, fresh);
            // Whatever its closing has to say, the file is not affected.
            let _ = guarded(move || drop(poisoned));
        }
    }

    /// What `key` opens, from the note with the master key.
    fn unsealing(&mut self, key: &StoreKey) -> Result<Unsealing, StoreError> {
        let master = self.notes().remove(MASTER_NOTE).flatten();
        Unsealing::open(key, master.as_deref())
    }

    /// Puts the documents' names in the place of those on disk, where their headers tell.
    fn name(&mut self, unsealing: &Unsealing, report: &mut Report) {
        for described in &mut report.documents {
            let header = self.survey(&described.document).and_then(|found| found.header);
            if let Some(name) = unsealing.name(&described.document, header.as_ref()) {
                described.document = name;
            }
        }
        report.documents.sort_by(|one, other| one.document.cmp(&other.document));
    }

    fn survey(&mut self, document: &DocumentId) -> Option<Survey> {
        let outcome = self.read(|transaction| {
            let open = |name| transaction.open_table(format::table(name)).ok();
            let (documents, log, snapshots) = (open(format::DOCUMENTS), open(format::LOG), open(format::SNAPSHOTS));
            let rows = Rows { documents: documents.as_ref(), log: log.as_ref(), snapshots: snapshots.as_ref() };
            survey(&rows, document.as_str()).map_err(|error| error.to_string())
        });
        match outcome {
            Ok(Ok(found)) => {
                if found.as_ref().is_some_and(|survey| survey.panicked) {
                    self.reopen();
                }
                found
            }
            Ok(Err(reason)) | Err(reason) => Some(Survey::nothing(format!("it cannot be read ({reason})"))),
        }
    }

    /// The documents any table knows, and the keys that cannot be any document's.
    fn names(&mut self) -> (BTreeSet<DocumentId>, BTreeSet<String>) {
        let (mut names, mut strays) = (BTreeSet::new(), BTreeSet::new());
        for table in [format::DOCUMENTS, format::LOG, format::SNAPSHOTS] {
            for forward in [true, false] {
                self.hop(
                    table,
                    forward,
                    &mut |key| {
                        let name = if table == format::DOCUMENTS { key } else { format::split_key(key)?.0 };
                        let document = std::str::from_utf8(name).ok().and_then(|name| DocumentId::new(name).ok())?;
                        names.insert(document);
                        Some(name.to_vec())
                    },
                    &mut strays,
                );
            }
        }
        (names, strays)
    }

    /// Visits one key of each document, from one end of a table until its other end or the first unreadable page.
    /// Coming from both ends leaves out only what lies behind unreadable pages.
    fn hop(
        &mut self,
        table: &'static str,
        forward: bool,
        take: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
        strays: &mut BTreeSet<String>,
    ) {
        let mut at: Option<Vec<u8>> = None;
        loop {
            let bound = at.clone();
            let next = self.read(|transaction| {
                let rows = transaction.open_table(format::table(table)).ok()?;
                let row = match (&bound, forward) {
                    (None, true) => rows.first().ok()?,
                    (None, false) => rows.last().ok()?,
                    (Some(bound), true) => rows.range(bound.as_slice()..).ok()?.next()?.ok(),
                    (Some(bound), false) => rows.range(..bound.as_slice()).ok()?.next_back()?.ok(),
                };
                row.map(|(key, _)| key.value().to_vec())
            });
            let Ok(Some(key)) = next else { return };
            let mut edge = take(&key).unwrap_or_else(|| {
                strays.insert(key.escape_ascii().to_string());
                key
            });
            if forward {
                // Past every row of the document: row keys go on with a zero byte.
                edge.push(u8::from(table != format::DOCUMENTS));
            }
            // Damaged pages may hold keys out of order; without progress this would not end.
            if at.as_ref().is_some_and(|at| if forward { edge <= *at } else { edge >= *at }) {
                return;
            }
            at = Some(edge);
        }
    }

    /// All notes: `None` for one that does not match its checksum.
    fn notes(&mut self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut notes = BTreeMap::new();
        for forward in [true, false] {
            let mut keep = |key: &[u8], value: &[u8]| {
                let body = format::unseal(format::NOTES, key, value).map(<[u8]>::to_vec);
                let name = String::from_utf8_lossy(key).into_owned();
                let kept = notes.entry(name).or_insert(None);
                *kept = kept.take().or(body);
            };
            // An error ends this direction; what lies behind it shows as a note the report does not list.
            let _ = self.read(|transaction| {
                let table = transaction.open_table(format::table(format::NOTES)).ok()?;
                let mut rows = table.iter().ok()?;
                while let Some(row) = if forward { rows.next() } else { rows.next_back() } {
                    let (key, value) = row.ok()?;
                    keep(key.value(), value.value());
                }
                Some(())
            });
        }
        notes
    }
}

fn examine(
    original: &Original,
    source: &mut Source<'_>,
    unsealing: Option<&Unsealing>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, StoreError> {
    let format = redb::check_format(original.path(), &source.database);
    let (names, strays) = source.names();
    let format_damage = match format {
        Ok(()) => None,
        // Nothing of ours is in it: not a damaged store, but no store.
        Err(error) if names.is_empty() || matches!(error, StoreError::Format { .. }) => return Err(error),
        Err(error) => Some(error.to_string()),
    };
    let pages_hold = Source::checked(original).is_some_and(|(_, sound)| sound);
    let mut report = Report {
        file_bytes: original.bytes(),
        pages_hold,
        format_damage,
        strays: strays.into_iter().collect(),
        ..Report::default()
    };
    for (name, body) in source.notes() {
        report.sealed |= name == MASTER_NOTE;
        let sound = body.is_some_and(|body| unsealing.is_none_or(|unsealing| unsealing.opens_note(&name, &body)));
        if sound { &mut report.notes } else { &mut report.damaged_notes }.push(name);
    }
    let total = names.len() as u64;
    for document in names {
        let found = source.survey(&document).unwrap_or_default();
        let seal =
            unsealing.filter(|_| found.damage.is_empty()).and_then(|unsealing| broken(unsealing, &document, &found));
        let mut described = describe(document, &found);
        described.damage = described.damage.or(seal);
        report.documents.push(described);
        progress(report.documents.len() as u64, total);
    }
    Ok(report)
}

/// What of a document with sound rows does not open.
fn broken(unsealing: &Unsealing, document: &DocumentId, found: &Survey) -> Option<Damage> {
    let stored = StoredDocument {
        header: found.header.clone().unwrap_or_default(),
        snapshot: found.snapshot.clone(),
        entries: found.entries.clone(),
        last: found.last(),
    };
    let what = unsealing.check(document, &stored).err()?;
    Some(Damage { what, survives: "nothing of it is given out".to_owned() })
}

fn describe(document: DocumentId, found: &Survey) -> DocumentReport {
    let damage = (!found.damage.is_empty()).then(|| Damage { what: found.what(), survives: found.survives() });
    DocumentReport {
        document,
        snapshot_bytes: found.snapshot.as_ref().map_or(0, |snapshot| snapshot.len() as u64),
        entries: found.entries.len() as u64,
        batches: found.batches,
        damage,
    }
}

/// Copies what survives into `target`; true when something did not.
fn salvage(
    source: &mut Source<'_>,
    mut earlier: Option<&mut Source<'_>>,
    target: &Database,
    report: &mut Report,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<bool, String> {
    let mut names: BTreeSet<DocumentId> = report.documents.iter().map(|report| report.document.clone()).collect();
    if let Some(earlier) = earlier.as_mut() {
        names.extend(earlier.names().0);
    }
    let (total, mut losses) = (names.len() as u64, Vec::new());
    for (done, document) in (0..).zip(&names) {
        progress(done, total);
        let mut found =
            source.survey(document).unwrap_or_else(|| Survey::nothing("no table knows it any more".to_owned()));
        let what = found.what();
        let mut survives = found.survives();
        if !found.damage.is_empty()
            && let Some(other) = earlier.as_mut().and_then(|earlier| earlier.survey(document))
            && reach(&other) > reach(&found)
        {
            survives = format!("taken from an earlier commit, which ends at entry {}", other.last());
            found = other;
        }
        if !what.is_empty() {
            losses.push(format!("{document}: {what}; {survives}"));
            let described =
                DocumentReport { damage: Some(Damage { what, survives }), ..describe(document.clone(), &found) };
            report.documents.retain(|report| report.document != *document);
            report.documents.push(described);
        }
        if found.header.is_some() {
            batch::restore(target, document.as_str(), found)?;
        }
    }
    report.documents.sort_by(|one, other| one.document.cmp(&other.document));
    let mut notes = source.notes();
    for (name, body) in earlier.map(Source::notes).unwrap_or_default() {
        let kept = notes.entry(name).or_insert(None);
        *kept = kept.take().or(body);
    }
    for (name, body) in notes {
        match body {
            Some(body) => redb::write_note(target, &name, &body)?,
            None => losses.push(format!("the note `{name}`")),
        }
    }
    losses.extend(report.strays.iter().map(|stray| format!("a row under the key {stray}")));
    if !losses.is_empty() {
        redb::write_note(target, LOSS_NOTE, losses.join("\n").as_bytes())?;
    }
    progress(total, total);
    Ok(!losses.is_empty())
}

/// How much of a document a survey holds, for choosing between two.
fn reach(found: &Survey) -> (bool, bool, u64) {
    (found.header.is_some(), found.snapshot.is_some() || found.upto == 0, found.last())
}

/// Gives the file a second name that no later repair takes away. Where the file system has no links, copies it.
fn keep_beside(path: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let kept = beside(path, &format!("damaged-{number}"));
        if kept.exists() {
            number += 1;
            continue;
        }
        if std::fs::hard_link(path, &kept).is_err() {
            std::fs::copy(path, &kept)?;
            std::fs::File::open(&kept)?.sync_all()?;
        }
        redb::flush_folder(path)?;
        return Ok(kept);
    }
}
