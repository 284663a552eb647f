//! A store in one redb file. Layer 1; does blocking I/O, so drivers run it on a thread of its own ([`StoreThread`]).
//!
//! After any failed write redb wants its database closed and opened again; so does any panic caught inside it, because
//! its state is then unknown. Both happen here, and callers only see the failed tasks.
//!
//! [`StoreThread`]: super::StoreThread

use std::{
    fmt,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use ::redb::{Database, DatabaseError, ReadableDatabase as _, StorageError, TableError, WriteTransaction};
use bytes::Bytes;

use super::{
    Store, StoreDone, StoreError, StoreTask,
    batch::{self, Failure, reason_of},
    format,
    survey::guarded,
};

/// What a file store trades against what.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedbConfig {
    /// Bytes of the file kept in memory. redb's own default is 1 GiB, more than an agent should take without being
    /// asked.
    pub cache_bytes: usize,
    /// Opens in constant time after a crash, instead of reading the whole file (about a second for a gigabyte). Costs
    /// a second flush in every commit, so it is for large stores that must be back at once.
    pub quick_repair: bool,
}

impl Default for RedbConfig {
    fn default() -> Self {
        Self { cache_bytes: 64 * 1024 * 1024, quick_repair: false }
    }
}

type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

/// A store in one file, locked against other processes while open.
///
/// One batch is one transaction, flushed to the disk before it is answered.
pub struct RedbStore {
    opener: Opener,
    /// `None` after a failure, until the next batch opens the file again.
    database: Option<Database>,
    quick_repair: bool,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("open", &self.database.is_some()).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the store at `path`, or creates it.
    ///
    /// A new store appears under its name only when it is complete, so an empty or partial file is never one of ours
    /// and is refused rather than filled.
    ///
    /// # Errors
    /// `Open` when another process has it open, when the file is not a store, is cut off or cannot be read; `Format`
    /// when a later version wrote it. The file is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, &RedbConfig::default())
    }

    /// As [`open`](Self::open), with a choice of trade-offs. Nothing of it is kept in the file.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, config: &RedbConfig) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let cache_bytes = config.cache_bytes;
        let database = if path.exists() { open_file(&path, cache_bytes)? } else { create_file(&path, cache_bytes)? };
        let opener = Box::new(move || open_file(&path, cache_bytes));
        Ok(Self { opener, database: Some(database), quick_repair: config.quick_repair })
    }

    fn database(&mut self) -> Result<&Database, String> {
        if self.database.is_none() {
            self.database = Some((self.opener)().map_err(|error| error.to_string())?);
        }
        self.database.as_ref().ok_or_else(|| "the store is closed".to_owned())
    }

    /// Gives the database up. Dropping it flushes, which may panic on a damaged file.
    fn abandon(&mut self) {
        let database = self.database.take();
        // The outcome does not matter: whatever was durable is read back when the file is opened again.
        let _ = guarded(move || drop(database));
    }

    fn write_batch(&mut self, tasks: &[StoreTask]) -> Result<Vec<Result<StoreDone, StoreError>>, String> {
        let quick_repair = self.quick_repair;
        let database = self.database()?;
        match guarded(|| batch::commit_batch(database, quick_repair, tasks)) {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(reason)) | Err(reason) => {
                self.abandon();
                Err(reason)
            }
        }
    }

    fn read_one(&mut self, task: &StoreTask) -> Result<StoreDone, StoreError> {
        let database = self.database().map_err(|reason| StoreError::Read { reason })?;
        let (outcome, usable) = match guarded(|| batch::read_task(database, task)) {
            Ok(Ok(done)) => (Ok(done), true),
            Ok(Err(Failure::Task(error, usable))) => (Err(error), usable),
            Ok(Err(Failure::Batch(reason))) | Err(reason) => (Err(StoreError::Read { reason }), false),
        };
        if !usable {
            self.abandon();
        }
        outcome
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Store for RedbStore {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        if !tasks.iter().any(StoreTask::is_write) {
            return tasks.iter().map(|task| self.read_one(task)).collect();
        }
        self.write_batch(tasks).unwrap_or_else(|reason| {
            let failed = |task: &StoreTask| {
                let reason = reason.clone();
                Err(if task.is_write() { StoreError::Write { reason } } else { StoreError::Read { reason } })
            };
            tasks.iter().map(failed).collect()
        })
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let failed = |reason| StoreError::Read { reason };
        let Some(database) = &self.database else {
            return Err(failed("the store is closed after a failure until its next batch".to_owned()));
        };
        guarded(|| read_note(database, name)).unwrap_or_else(Err).map_err(failed)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        let failed = |reason| StoreError::Write { reason };
        let database = self.database().map_err(failed)?;
        let outcome = guarded(|| write_note(database, name, &note)).unwrap_or_else(Err);
        if outcome.is_err() {
            self.abandon();
        }
        outcome.map_err(failed)
    }
}

pub(super) fn open_error(path: &Path, reason: impl fmt::Display) -> StoreError {
    StoreError::Open { path: path.display().to_string(), reason: reason.to_string() }
}

pub(super) fn database_error(path: &Path, error: &DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => open_error(path, "another process has it open"),
        DatabaseError::UpgradeRequired(version) => {
            open_error(path, format_args!("it is a redb file of version {version}, which this build cannot read"))
        }
        other => open_error(path, format_args!("the file is damaged or not a store ({other}); try `repair`")),
    }
}

/// Refuses what cannot be a store before redb gets to initialise it.
pub(super) fn check_file(path: &Path) -> Result<u64, StoreError> {
    let bytes = std::fs::metadata(path).map_err(|error| open_error(path, error))?.len();
    if bytes == 0 {
        return Err(open_error(path, "the file is empty, which a store never is; restore it or move it away"));
    }
    Ok(bytes)
}

pub(super) fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    check_file(path)?;
    let outcome = guarded(|| {
        let database =
            Database::builder().set_cache_size(cache_bytes).open(path).map_err(|error| database_error(path, &error))?;
        check_format(path, &database)?;
        Ok(database)
    });
    outcome.unwrap_or_else(|panic| Err(open_error(path, format_args!("the file is damaged ({panic}); try `repair`"))))
}

/// Creates a store under a provisional name, then renames it. Whoever holds redb's lock on the provisional file is the
/// one creating; whoever comes second finds either that lock or the finished store.
fn create_file(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    let provisional = beside(path, "new");
    let created = match create_database(&provisional, cache_bytes) {
        Err(error) if is_rubbish(&error) => {
            // Left behind by a crash during creation: it never held anything.
            std::fs::remove_file(&provisional).map_err(|error| open_error(path, error))?;
            create_database(&provisional, cache_bytes)
        }
        other => other,
    };
    let database = created.map_err(|error| match error {
        DatabaseError::Storage(StorageError::Io(error)) => open_error(path, error),
        other => database_error(path, &other),
    })?;
    if path.exists() {
        drop(database);
        // It may already have been renamed; then there is nothing to remove.
        let _ = std::fs::remove_file(&provisional);
        return open_file(path, cache_bytes);
    }
    initialise(&database).map_err(|reason| open_error(path, reason))?;
    rename(&provisional, path).map_err(|error| open_error(path, error))?;
    Ok(database)
}

fn is_rubbish(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

pub(super) fn create_database(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(cache_bytes).create(path)
}

/// `path` with `.suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames durably: without flushing the folder, a power cut could take the new name away again.
pub(super) fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    flush_folder(to)
}

/// Makes changes of names in the folder of `path` durable. Windows neither needs nor offers this.
pub(super) fn flush_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

pub(super) fn initialise(database: &Database) -> Result<(), String> {
    fn fill(transaction: &WriteTransaction) -> Result<(), Failure> {
        for name in [format::DOCUMENTS, format::LOG, format::SNAPSHOTS, format::NOTES] {
            transaction.open_table(format::table(name))?;
        }
        let row = format::seal(format::META, format::FORMAT_KEY, &format::FORMAT.to_le_bytes());
        transaction.open_table(format::table(format::META))?.insert(format::FORMAT_KEY, row.as_slice())?;
        Ok(())
    }
    let transaction = batch::begin(database, false)?;
    fill(&transaction).map_err(reason_of)?;
    transaction.commit().map_err(|error| error.to_string())
}

/// Checks that a redb file is a store, and of a format this build reads.
pub(super) fn check_format(path: &Path, database: &Database) -> Result<(), StoreError> {
    fn read(database: &Database) -> Result<Option<Vec<u8>>, Failure> {
        let transaction = database.begin_read()?;
        match transaction.open_table(format::table(format::META)) {
            Ok(table) => Ok(table.get(format::FORMAT_KEY)?.map(|row| row.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
    let row = read(database).map_err(|failure| open_error(path, reason_of(failure)))?;
    let Some(row) = row else {
        return Err(open_error(path, "it is a redb file, but not a store of ours"));
    };
    let body = format::unseal(format::META, format::FORMAT_KEY, &row).and_then(|body| body.first_chunk::<8>());
    match body.map(|body| u64::from_le_bytes(*body)) {
        Some(format::FORMAT) => Ok(()),
        Some(found) if found > format::FORMAT => Err(StoreError::Format { found, supported: format::FORMAT }),
        _ => Err(open_error(path, "the row with its format is damaged; try `repair`")),
    }
}

fn read_note(database: &Database, name: &str) -> Result<Option<Bytes>, String> {
    let read = || -> Result<Option<Vec<u8>>, Failure> {
        let table = database.begin_read()?.open_table(format::table(format::NOTES))?;
        Ok(table.get(name.as_bytes())?.map(|row| row.value().to_vec()))
    };
    let Some(row) = read().map_err(reason_of)? else {
        return Ok(None);
    };
    match format::unseal(format::NOTES, name.as_bytes(), &row) {
        Some(body) => Ok(Some(Bytes::copy_from_slice(body))),
        None => Err(format!("the note `{name}` does not match its checksum")),
    }
}

pub(super) fn write_note(database: &Database, name: &str, note: &[u8]) -> Result<(), String> {
    let transaction = batch::begin(database, false)?;
    let insert = || -> Result<(), Failure> {
        let row = format::seal(format::NOTES, name.as_bytes(), note);
        transaction.open_table(format::table(format::NOTES))?.insert(name.as_bytes(), row.as_slice())?;
        Ok(())
    };
    insert().map_err(reason_of)?;
    transaction.commit().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use ::redb::StorageBackend;
    use bytes::Bytes;

    use super::*;
    use crate::{id::DocumentId, store::StoredDocument, time::Dice};

    /// A disk that forgets: what was written since the last flush may be lost in part when the power goes.
    #[derive(Debug, Default)]
    struct Platters {
        flushed: Vec<u8>,
        current: Vec<u8>,
        unflushed: Vec<Change>,
        /// Changes and flushes until the disk fails, and whether it stays failed.
        fails: Option<(u64, bool)>,
    }

    #[derive(Debug, Clone)]
    enum Change {
        Length(usize),
        Bytes(usize, Vec<u8>),
    }

    impl Change {
        fn apply(&self, image: &mut Vec<u8>) {
            match self {
                Self::Length(len) => image.resize(*len, 0),
                Self::Bytes(at, bytes) => {
                    image.resize(image.len().max(at + bytes.len()), 0);
                    image[*at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
    }

    impl Platters {
        fn strain(&mut self) -> io::Result<()> {
            match &mut self.fails {
                Some((0, stays)) => {
                    if !*stays {
                        self.fails = None;
                    }
                    Err(io::Error::other("the disk failed"))
                }
                Some((left, _)) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        fn change(&mut self, change: Change) -> io::Result<()> {
            self.strain()?;
            change.apply(&mut self.current);
            self.unflushed.push(change);
            Ok(())
        }

        /// What is on the disk after a power cut: any of the unflushed changes, and any sectors of each.
        fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
            let mut image = self.flushed.clone();
            for change in &self.unflushed {
                match change {
                    Change::Length(_) if dice.chance(50) => change.apply(&mut image),
                    Change::Length(_) => {}
                    Change::Bytes(at, bytes) => {
                        for (number, sector) in bytes.chunks(512).enumerate() {
                            if dice.chance(50) {
                                Change::Bytes(at + number * 512, sector.to_vec()).apply(&mut image);
                            }
                        }
                    }
                }
            }
            image
        }
    }

    #[derive(Debug, Clone, Default)]
    struct Disk {
        platters: Arc<Mutex<Platters>>,
        quick_repair: bool,
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.platters.lock().unwrap().current.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let platters = self.platters.lock().unwrap();
            let at = usize::try_from(offset).unwrap();
            let bytes = platters.current.get(at..at + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.platters.lock().unwrap().change(Change::Length(usize::try_from(len).unwrap()))
        }

        fn sync_data(&self) -> io::Result<()> {
            let mut platters = self.platters.lock().unwrap();
            platters.strain()?;
            platters.flushed = platters.current.clone();
            platters.unflushed.clear();
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.platters.lock().unwrap().change(Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec()))
        }
    }

    impl Disk {
        fn open(&self) -> Result<RedbStore, StoreError> {
            let disk = self.clone();
            let opener = move || {
                let path = Path::new("disk");
                let fresh = disk.platters.lock().unwrap().current.is_empty();
                let backend = disk.clone();
                let open = move || Database::builder().create_with_backend(backend);
                let database = guarded(open).unwrap().map_err(|error| database_error(path, &error))?;
                if fresh {
                    initialise(&database).map_err(|reason| open_error(path, reason))?;
                }
                check_format(path, &database)?;
                Ok(database)
            };
            let database = opener()?;
            Ok(RedbStore { opener: Box::new(opener), database: Some(database), quick_repair: self.quick_repair })
        }
    }

    fn append(number: u64) -> StoreTask {
        let entry = Bytes::from(format!("{number} {}", "x".repeat(usize::try_from(number).unwrap() * 37 % 5_000)));
        StoreTask::Append {
            document: DocumentId::new("stage").unwrap(),
            header: Bytes::new(),
            entries: vec![entry.clone(), entry],
        }
    }

    fn load(store: &mut RedbStore) -> StoredDocument {
        let answers = store.commit(&[StoreTask::Load { document: DocumentId::new("stage").unwrap() }]);
        match answers.into_iter().next() {
            Some(Ok(StoreDone::Loaded(found))) => found.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    /// The numbers of the appends kept, each of which was kept whole.
    fn kept(found: &StoredDocument) -> Vec<u64> {
        let numbers: Vec<u64> = found
            .entries
            .iter()
            .map(|entry| std::str::from_utf8(entry).unwrap().split(' ').next().unwrap().parse().unwrap())
            .collect();
        numbers.chunks(2).for_each(|pair| assert_eq!(pair[0], pair[1]));
        assert_eq!(found.last, numbers.len() as u64);
        numbers.chunks(2).map(|pair| pair[0]).collect()
    }

    #[test]
    fn a_power_cut_at_any_moment_loses_nothing_acknowledged() {
        let mut dice = Dice::new(17);
        for round in 0..300 {
            let disk = Disk { quick_repair: round % 2 == 1, ..Disk::default() };
            let mut store = disk.open().unwrap();
            disk.platters.lock().unwrap().fails = Some((dice.below(200), true));
            let mut durable = 0;
            for number in 1.. {
                match &store.commit(&[append(number)])[0] {
                    Ok(_) => durable = number,
                    Err(error) => {
                        assert!(error.is_retryable(), "round {round}: {error}");
                        break;
                    }
                }
            }
            let image = disk.platters.lock().unwrap().after_power_cut(&mut dice);
            let platters = Platters { flushed: image.clone(), current: image, ..Platters::default() };
            let disk = Disk { platters: Arc::new(Mutex::new(platters)), ..disk };
            let mut store = disk.open().unwrap();
            let numbers = kept(&load(&mut store));
            let count = numbers.len() as u64;
            assert!(numbers.into_iter().eq(1..=count), "round {round}");
            // The append under way may have become durable just before the power went, but none after it.
            assert!((durable..=durable + 1).contains(&count), "round {round}: {durable} durable, {count} kept");
        }
    }

    #[test]
    fn one_failure_anywhere_in_a_commit_fails_it_and_the_next_one_succeeds() {
        let mut failures = 0;
        for at in 0..400 {
            let disk = Disk::default();
            let mut store = disk.open().unwrap();
            assert!(store.commit(&[append(1)])[0].is_ok());
            disk.platters.lock().unwrap().fails = Some((at, false));
            let failed = store.commit(&[append(2), append(3)]);
            let ran_out = disk.platters.lock().unwrap().fails.take().is_some();
            if ran_out {
                // The commit needed fewer operations than that.
                break;
            }
            if failed[0].is_err() {
                failures += 1;
                assert!(
                    failed.iter().all(|answer| matches!(answer, Err(StoreError::Write { .. }))),
                    "{at}: {failed:?}"
                );
            }
            assert!(store.commit(&[append(4)])[0].is_ok(), "failure at {at}: the store did not recover");
            let numbers = kept(&load(&mut store));
            // Both appends of the failed batch or neither, as the documentation of the error says.
            assert!(numbers == [1, 4] || numbers == [1, 2, 3, 4], "failure at {at}: {numbers:?}");
        }
        assert!(failures > 3, "{failures}");
    }
}
