//! Where the key of a store comes from. Layer 1; reads files and the environment, and runs a program.

use std::{
    env, fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use zeroize::Zeroizing;

use super::key::StoreKey;
use crate::store::StoreError;

/// Bytes read of a key file: more than a key with all its white space is something else.
const TEXT_BYTES_MAX: u64 = 1024;

/// Where the key of a store comes from. Each gives it as text, 64 hexadecimal digits; see [`StoreKey::from_text`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeySource {
    /// A file. On unix nobody but its owner may have any right to it.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// What a command prints, run by the system's shell: for keys kept by another program.
    Command(String),
    /// The key itself.
    Given(StoreKey),
}

impl KeySource {
    /// Fetches the key. Blocks as long as the command runs.
    ///
    /// # Errors
    /// `Key` says what is wrong with the source, and never repeats what was read.
    pub fn read(&self) -> Result<StoreKey, StoreError> {
        let (text, from) = match self {
            Self::File(path) => (read_file(path)?, format!("the key file {}", path.display())),
            Self::Environment(name) => {
                let text = env::var(name).map_err(|error| {
                    let why = if error == env::VarError::NotPresent { "is not set" } else { "is not text" };
                    failed(format_args!("the variable {name} {why}"))
                })?;
                (Zeroizing::new(text), format!("the variable {name}"))
            }
            Self::Command(command) => (run(command)?, format!("the command `{command}`")),
            Self::Given(key) => return Ok(key.clone()),
        };
        StoreKey::from_text(&text).map_err(|error| match error {
            StoreError::Key { reason } => failed(format_args!("{from}: {reason}")),
            other => other,
        })
    }
}

fn failed(reason: impl fmt::Display) -> StoreError {
    StoreError::Key { reason: reason.to_string() }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, StoreError> {
    let named = |error: std::io::Error| failed(format_args!("the key file {}: {error}", path.display()));
    let file = File::open(path).map_err(named)?;
    // Of the opened file, so that nobody puts another in its place in between.
    check_mode(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(named)?;
    Ok(text)
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let named = |reason: &dyn fmt::Display| failed(format_args!("the key file {}: {reason}", path.display()));
    let mode = file.metadata().map_err(|error| named(&error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(named(&format_args!("others have rights to it (mode {mode:03o}); chmod 600 it")));
    }
    Ok(())
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere the mode says nothing of who may read")]
fn check_mode(_: &Path, _: &File) -> Result<(), StoreError> {
    Ok(())
}

fn run(command: &str) -> Result<Zeroizing<String>, StoreError> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let named = |reason: &dyn fmt::Display| failed(format_args!("the command `{command}`: {reason}"));
    let output = Command::new(shell)
        .args([flag, command])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| named(&error))?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(named(&output.status));
    }
    let text = std::str::from_utf8(&printed).map_err(|_| named(&"what it printed is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
