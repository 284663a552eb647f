//! A store file opened so that nothing is ever written to it: changes stay in memory. Layer 1.
//!
//! redb repairs a file by writing to it, even when only asked to check it. A file somebody still hopes to rescue must
//! not change under examination, and its unreadable sectors must not stop the reading of the others.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::redb::{BackendError, Database, StorageBackend, backends::FileBackend};

use super::{
    StoreError,
    redb::{check_file, database_error, open_error},
    survey::guarded,
};

/// Reading once from end to end gains nothing by a larger one.
pub(super) const CACHE_BYTES: usize = 64 * 1024 * 1024;

const BLOCK_BYTES: usize = 4096;

/// A store file, locked against every other process for as long as this lives.
#[derive(Debug)]
pub(super) struct Original {
    path: PathBuf,
    file: Arc<FileBackend>,
    bytes: u64,
}

impl Original {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let bytes = check_file(path)?;
        // Opened for writing only because an exclusive lock asks for it.
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| open_error(path, error))?;
        let file = FileBackend::new(file).map_err(|error| database_error(path, &error))?;
        match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) | Err(BackendError::Unsupported) => {}
            Ok(false) => return Err(open_error(path, "another process has it open")),
            Err(error) => return Err(open_error(path, io::Error::from(error))),
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(file), bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A database over the file's contents. What it writes, it alone sees.
    pub(super) fn database(&self) -> Result<Database, StoreError> {
        let overlay = Overlay {
            file: Arc::clone(&self.file),
            changes: Mutex::new(Changes { len: self.bytes, untouched: self.bytes, blocks: BTreeMap::new() }),
        };
        let open = || Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(overlay);
        match guarded(open) {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(error)) => Err(database_error(&self.path, &error)),
            Err(panic) => Err(open_error(&self.path, format_args!("the file is damaged ({panic})"))),
        }
    }
}

#[derive(Debug)]
struct Overlay {
    file: Arc<FileBackend>,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// The file counts up to here; beyond it, a shortening took its bytes away.
    untouched: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the file itself; zeros where it ends or cannot be read, which checksums then report.
    fn original(&self, offset: u64, out: &mut [u8], untouched: u64) {
        out.fill(0);
        let there = usize::try_from(untouched.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        if there > 0 && self.file.read(offset, &mut out[..there]).is_err() {
            out.fill(0);
        }
    }
}

/// Splits a span into pieces that each lie in one block: block number, offset in the block, length.
fn blocks(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let block_bytes = BLOCK_BYTES as u64;
    let mut at = offset;
    let end = offset.saturating_add(len as u64);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (block, within) = (at / block_bytes, at % block_bytes);
        let piece = (block_bytes - within).min(end - at);
        at += piece;
        Some((block, usize::try_from(within).ok()?, usize::try_from(piece).ok()?))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let changes = self.lock();
        if offset.saturating_add(out.len() as u64) > changes.len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut done = 0;
        for (block, within, piece) in blocks(offset, out.len()) {
            let target = &mut out[done..done + piece];
            match changes.blocks.get(&block) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + piece]),
                None => self.original(offset + done as u64, target, changes.untouched),
            }
            done += piece;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut changes = self.lock();
        if len < changes.len {
            changes.untouched = changes.untouched.min(len);
            let first_gone = len.div_ceil(BLOCK_BYTES as u64);
            changes.blocks.retain(|block, _| *block < first_gone);
            let (block, kept) = (len / BLOCK_BYTES as u64, len % BLOCK_BYTES as u64);
            if let Some(bytes) = changes.blocks.get_mut(&block) {
                bytes[usize::try_from(kept).unwrap_or(0)..].fill(0);
            }
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut changes = self.lock();
        let untouched = changes.untouched;
        changes.len = changes.len.max(offset.saturating_add(data.len() as u64));
        let mut done = 0;
        for (block, within, piece) in blocks(offset, data.len()) {
            let bytes = changes.blocks.entry(block).or_insert_with(|| {
                let mut bytes = vec![0; BLOCK_BYTES].into_boxed_slice();
                self.original(block * BLOCK_BYTES as u64, &mut bytes, untouched);
                bytes
            });
            bytes[within..within + piece].copy_from_slice(&data[done..done + piece]);
            done += piece;
        }
        Ok(())
    }

    // `Original` holds the real lock, and this copy is nobody else's.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_lengths_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let before: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&path, &before).unwrap();
        let original = Original::open(&path).unwrap();
        let changes = Changes { len: 10_000, untouched: 10_000, blocks: BTreeMap::new() };
        let overlay = Overlay { file: Arc::clone(&original.file), changes: Mutex::new(changes) };

        overlay.write(4_090, &[0xaa; 20]).unwrap();
        overlay.set_len(8_000).unwrap();
        overlay.set_len(12_000).unwrap();

        let mut expected = before.clone();
        expected[4_090..4_110].fill(0xaa);
        expected[8_000..].fill(0);
        expected.resize(12_000, 0);
        let mut seen = vec![0; 12_000];
        overlay.read(0, &mut seen).unwrap();
        assert!(seen == expected);
        assert!(overlay.read(11_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
