//! Files of certificates and keys. Layer 1; reads them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::limits;

/// The bytes of a file of certificates.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, limits::CERTIFICATE_FILE_BYTES)
}

/// The bytes of a file that holds a secret: refused when others have a right to it.
#[cfg(feature = "relay")]
pub(crate) fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Of the opened file, so that nobody puts another in its place in between.
    check_mode(&file)?;
    bounded(file, limits::CERTIFICATE_FILE_BYTES)
}

/// The bytes of a file of at most `bytes_max`.
pub(crate) fn bounded(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is over the limit of {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(all(feature = "relay", unix))]
fn check_mode(file: &File) -> io::Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("others have rights to it (mode {mode:03o}); chmod 600 it")))
}

#[cfg(all(feature = "relay", not(unix)))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere the mode says nothing of who may read")]
fn check_mode(_: &File) -> io::Result<()> {
    Ok(())
}
