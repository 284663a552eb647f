//! Files of keys, policies and tokens, and what else comes from the machine: time and entropy. Layer 7.
#![allow(clippy::disallowed_methods, reason = "credentials are judged at the time of this machine's clock")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
};

use aepoch::{
    limits,
    trust::{
        key::PrivateKey,
        policy::PolicyHash,
        succession::{InForce, Versions},
    },
};

use super::super::Failure;

/// Bytes of a private key's file.
const KEY_FILE_BYTES: u64 = 4 * 1024;

/// Seconds since 1970.
pub(in crate::cli) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Random bytes of the system.
pub(super) fn entropy<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// Writes a file that must not exist yet; `mode` is what it permits.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::failed(format!("{} exists; it is not overwritten", path.display()))
        }
        _ => named(path, &error),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| named(path, &error))
}

/// A private key, from a file nobody else can read.
pub(in crate::cli) fn read_key(path: &Path) -> Result<PrivateKey, Failure> {
    #[cfg(unix)]
    {
        let permitted = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(path).map_err(|error| named(path, &error))?.permissions(),
        );
        if permitted & 0o077 != 0 {
            let mode = permitted & 0o777;
            return Err(Failure::failed(format!(
                "{} has mode {mode:03o}: others can read the key; use 600",
                path.display()
            )));
        }
    }
    let text = read(path, KEY_FILE_BYTES)?;
    PrivateKey::from_jwk(&text).ok_or_else(|| Failure::failed(format!("{} holds no private key", path.display())))
}

/// The versions in a policy file, and the swarm its first one names.
pub(in crate::cli) fn read_policy(path: &Path) -> Result<(PolicyHash, Versions), Failure> {
    let versions =
        Versions::read(read(path, limits::POLICY_FILE_BYTES)?.as_bytes()).map_err(|error| named(path, &error))?;
    let swarm = versions.swarm();
    let swarm = swarm.ok_or_else(|| Failure::failed(format!("{} has no first version", path.display())))?;
    Ok((swarm, versions))
}

/// The version in force.
pub(super) fn in_force(path: &Path, swarm: &PolicyHash, versions: &Versions) -> Result<InForce, Failure> {
    versions.in_force(swarm).map_err(|error| named(path, &error).with("sign it: aepoch policy sign --help"))
}

/// Replaces a policy file as a whole.
pub(super) fn replace_policy(path: &Path, versions: &Versions) -> Result<(), Failure> {
    replace(path, &policy_text(versions)?, 0o644)
}

/// Replaces a file, or makes it, as a whole: whoever reads it sees the old or the new one.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let draft = path.with_extension("draft");
    write_new(&draft, text, mode)?;
    fs::rename(&draft, path).map_err(|error| named(path, &error))
}

/// The private key of a file, which is made unless it is there.
pub(super) fn read_or_make_key(path: &Path) -> Result<PrivateKey, Failure> {
    if !path.exists() {
        let key = PrivateKey::from_seed(&entropy()?);
        write_new(path, &(key.to_jwk() + "\n"), 0o600)?;
    }
    read_key(path)
}

/// A policy file's text.
pub(super) fn policy_text(versions: &Versions) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(versions)? + "\n")
}

/// A token, from a file or, for `-`, from standard input. Never an argument: those are seen by all on the machine.
pub(in crate::cli) fn read_token(path: &Path) -> Result<String, Failure> {
    let most = ((limits::DELEGATION_DEPTH + 1) * (limits::TOKEN_BYTES + 1)) as u64;
    read_text(path, most)
}

/// A token of another issuer, likewise.
pub(super) fn read_subject_token(path: &Path) -> Result<String, Failure> {
    let most = limits::SUBJECT_TOKEN_BYTES as u64 + 2;
    let token = read_text(path, most)?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if token.is_empty() || !token.chars().all(is_token) {
        return Err(named(path, &"it is no token: base64url, in parts joined by dots"));
    }
    Ok(token)
}

/// A text without the end of its line, from a file or, for `-`, from standard input.
fn read_text(path: &Path, most: u64) -> Result<String, Failure> {
    let text = if path.as_os_str() == "-" { bounded(std::io::stdin().lock(), path, most)? } else { read(path, most)? };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(path: &Path, most: u64) -> Result<String, Failure> {
    bounded(fs::File::open(path).map_err(|error| named(path, &error))?, path, most)
}

fn bounded(from: impl std::io::Read, path: &Path, most: u64) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(most + 1).read_to_string(&mut text).map_err(|error| named(path, &error))?;
    if text.len() as u64 > most {
        return Err(Failure::failed(format!("{} is over the limit of {most} bytes", path.display())));
    }
    Ok(text)
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}
