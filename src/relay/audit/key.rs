//! The key that signs checkpoints, in a file that only its owner can read. Layer 6.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::AuditError;
use crate::trust::key::PrivateKey;

/// Bytes of a key's file.
const FILE_BYTES: u64 = 4 * 1024;

/// The key in this file; a new one, written there first, when there is no file.
pub(super) fn read_or_make(path: &Path) -> Result<PrivateKey, AuditError> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(AuditError::io(path, error)),
    }
}

fn refused(path: &Path, reason: impl Into<String>) -> AuditError {
    AuditError::Key { path: path.display().to_string(), reason: reason.into() }
}

fn read(path: &Path, file: File) -> Result<PrivateKey, AuditError> {
    #[cfg(unix)]
    {
        // Of the opened file, so that nobody puts another in its place in between.
        let metadata = file.metadata().map_err(|error| AuditError::io(path, error))?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(refused(path, format!("others have rights to it (mode {mode:03o}); chmod 600 it")));
        }
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(|error| AuditError::io(path, error))?;
    PrivateKey::from_jwk(&text).ok_or_else(|| refused(path, "it holds no private key; `aepoch key new` makes one"))
}

fn make(path: &Path) -> Result<PrivateKey, AuditError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| refused(path, format!("no randomness: {error}")))?;
    let key = PrivateKey::from_seed(&seed);
    // Complete before it has its name: half a key would stay in the way.
    let draft = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all((key.to_jwk() + "\n").as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&draft, path)).map_err(|error| AuditError::io(path, error))?;
    Ok(key)
}
