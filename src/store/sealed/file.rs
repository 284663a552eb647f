//! Store files, sealed or not. Layer 1; does blocking I/O.

use std::path::Path;

use bytes::Bytes;

use super::{
    cipher::{self, Kind, Place},
    header::Opened,
    key::StoreKey,
    keys::{Keys, MASTER_NOTE},
    source::KeySource,
    store::{SealedStore, system_entropy, wrong_key},
};
use crate::{
    id::DocumentId,
    store::{RedbStore, Store, StoreError, StoredDocument},
};

/// Opens the store file at `path`, or creates it: sealed when there is a key.
///
/// # Errors
/// Those of [`RedbStore::open`]; `Key` when the key cannot be read or is not that of the file, when the file is sealed
/// and there is no key, or is not sealed and there is one. Nothing in the file is then changed.
pub fn open(path: impl AsRef<Path>, key: Option<&KeySource>) -> Result<Box<dyn Store>, StoreError> {
    let path = path.as_ref();
    let key = key.map(KeySource::read).transpose()?;
    let store = RedbStore::open(path)?;
    let opened: Result<Box<dyn Store>, StoreError> = match key {
        Some(key) => SealedStore::open(store, &key, system_entropy()).map(|store| Box::new(store) as _),
        None if store.note(MASTER_NOTE)?.is_some() => {
            Err(StoreError::Key { reason: "it is sealed, and no key was given".to_owned() })
        }
        None => Ok(Box::new(store)),
    };
    opened.map_err(|error| of_file(path, error))
}

/// Has `new` open the sealed store file at `path` from now on instead of `old`; see [`SealedStore::rekey`].
///
/// # Errors
/// As for [`open`]; `Open` when there is no such file, `Write` when it cannot be changed.
pub fn rekey(path: impl AsRef<Path>, old: &KeySource, new: &KeySource) -> Result<(), StoreError> {
    let path = path.as_ref();
    let (old, new) = (old.read()?, new.read()?);
    if !path.exists() {
        let reason = "there is no such file".to_owned();
        return Err(StoreError::Open { path: path.display().to_string(), reason });
    }
    let store = RedbStore::open(path)?;
    if store.note(MASTER_NOTE)?.is_none() {
        return Err(of_file(path, not_sealed()));
    }
    let mut sealed = SealedStore::open(store, &old, system_entropy()).map_err(|error| of_file(path, error))?;
    sealed.rekey(&new)
}

/// Says which file a key does not fit.
fn of_file(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Key { reason } => StoreError::Key { reason: format!("{}: {reason}", path.display()) },
        other => other,
    }
}

fn not_sealed() -> StoreError {
    StoreError::Key { reason: "a key was given, and it is not sealed".to_owned() }
}

/// What the key of a store file tells of the rows in it, for looking after the file.
#[derive(Debug)]
pub(in crate::store) struct Unsealing(Keys);

impl Unsealing {
    /// From the note that holds the master key.
    pub(in crate::store) fn open(key: &StoreKey, master: Option<&[u8]>) -> Result<Self, StoreError> {
        Keys::open(key, master.ok_or_else(not_sealed)?).map(Self).ok_or_else(wrong_key)
    }

    /// The name behind a name on disk, if the header is there and opens.
    pub(in crate::store) fn name(&self, disk: &DocumentId, header: Option<&Bytes>) -> Option<DocumentId> {
        Opened::open(&self.0, disk, header?).map(|opened| opened.name)
    }

    /// Says which part of a document does not open.
    pub(in crate::store) fn check(&self, disk: &DocumentId, stored: &StoredDocument) -> Result<(), String> {
        let opened = Opened::open(&self.0, disk, &stored.header).ok_or("its header does not open under the key")?;
        opened.unseal(stored).map(drop)
    }

    /// True for a note that opens, and for those that are not sealed.
    pub(in crate::store) fn opens_note(&self, name: &str, note: &[u8]) -> bool {
        let place = Place { kind: Kind::Note, name, number: 0 };
        !name.starts_with("sealed/note/") || cipher::unseal(self.0.notes(), place, note).is_some()
    }
}
