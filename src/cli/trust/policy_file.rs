//! A policy file that is followed while a relay runs. Layer 7.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use aepoch::trust::{authority::Authority, policy::PolicyHash};

use super::{super::Failure, files};

/// The file, and what it said last.
#[derive(Debug)]
pub(in crate::cli) struct PolicyFile {
    path: PathBuf,
    /// As of when: time of change and length.
    seen: Option<(SystemTime, u64)>,
    pub(in crate::cli) authority: Authority,
}

impl PolicyFile {
    /// Reads the file; it has to be of the swarm `swarm`, when one is given.
    pub(in crate::cli) fn open(path: &Path, swarm: Option<PolicyHash>) -> Result<Self, Failure> {
        // Before reading: a change meanwhile is seen by the next look.
        let seen = stamp(path);
        let authority = read(path, swarm)?;
        Ok(Self { path: path.to_owned(), seen, authority })
    }

    /// Another version in force than before; `None` when there is none. An unreadable file is reported once.
    pub(in crate::cli) fn look(&mut self) -> Result<Option<Authority>, Failure> {
        let seen = stamp(&self.path);
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        let newer = read(&self.path, Some(self.authority.swarm()))?;
        // A file that was put back must not undo a revocation.
        let (now, before) = (newer.current(), self.authority.current());
        if now.hash == before.hash || now.policy.version < before.policy.version {
            return Ok(None);
        }
        self.authority = newer.clone();
        Ok(Some(newer))
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, swarm: Option<PolicyHash>) -> Result<Authority, Failure> {
    let (found, versions) = files::read_policy(path)?;
    if let Some(wanted) = swarm.filter(|wanted| *wanted != found) {
        return Err(Failure::failed(format!("{} is of the swarm {found}, not {wanted}", path.display())));
    }
    Authority::new(found, &versions).map_err(|error| {
        Failure::failed(format!("{}: {error}", path.display())).with("sign it: aepoch policy sign --help")
    })
}
