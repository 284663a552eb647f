//! What automerge-repo calls a document: 16 bytes, in base 58 with four bytes of a checksum (base58check). Layer 3, pure.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::id::{DocumentId, NameError};

const SCHEME: &str = "automerge:";

/// The name of a document of automerge-repo. Here such a document is called by the same bytes in hexadecimal, in a swarm:
/// an agent that opens [`RepoId::name`] is in one document with the repos.
///
/// ```
/// use aepoch::wires::RepoId;
///
/// let id: RepoId = "automerge:4NMNnkMhL8jXrdJ9jamS58PAVdXu".parse()?;
/// assert_eq!(id.name(), "f1c29c8474c84adeb800be47627d33bf");
/// assert_eq!(id.to_string(), "4NMNnkMhL8jXrdJ9jamS58PAVdXu");
/// # Ok::<(), aepoch::wires::RepoIdError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId([u8; 16]);

/// Why a text names no document of automerge-repo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no document of automerge-repo: {reason}")]
pub struct RepoIdError {
    text: String,
    reason: &'static str,
}

impl RepoId {
    /// For these bytes: random ones are as good as any repo's.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its name in a swarm.
    pub fn name(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }

    /// The document of that name in a swarm.
    ///
    /// # Errors
    /// The swarm has no valid name.
    pub fn document(self, swarm: &str) -> Result<DocumentId, NameError> {
        DocumentId::new(&format!("{swarm}/{}", self.name()))
    }

    /// The document's name in automerge-repo; `None` for one that has none.
    pub fn of(document: &DocumentId) -> Option<Self> {
        let name = document.as_str().rsplit('/').next()?;
        let bytes = data_encoding::HEXLOWER.decode(name.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bs58::encode([&self.0[..], &checksum(&self.0)].concat()).into_string();
        f.write_str(&text)
    }
}

/// With or without `automerge:` in front.
impl FromStr for RepoId {
    type Err = RepoIdError;

    fn from_str(text: &str) -> Result<Self, RepoIdError> {
        let wrong = |reason| RepoIdError { text: text.chars().take(64).collect(), reason };
        let mut bytes = [0; 20];
        match bs58::decode(text.strip_prefix(SCHEME).unwrap_or(text)).onto(&mut bytes[..]) {
            Ok(20) => {}
            Ok(_) | Err(bs58::decode::Error::BufferTooSmall) => return Err(wrong("it is not 20 bytes long")),
            Err(_) => return Err(wrong("it is not base 58")),
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        if checksum(&id) != bytes[16..] {
            return Err(wrong("its checksum is wrong"));
        }
        Ok(Self(id))
    }
}

fn checksum(bytes: &[u8; 16]) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::digest(Sha256::digest(bytes)).into();
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back_and_damaged_ones_are_refused() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let id = RepoId::from_bytes(bytes);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(format!("automerge:{id}").parse(), Ok(id));
            assert_eq!(RepoId::of(&id.document("band").unwrap()), Some(id));
        }
        let id = RepoId::from_bytes([7; 16]).to_string();
        let end = if id.ends_with('2') { '3' } else { '2' };
        for (bad, reason) in [
            (format!("{}{end}", &id[..id.len() - 1]), "checksum"),
            (id[1..].to_owned(), "20 bytes"),
            (format!("{id}{id}"), "20 bytes"),
            ("automerge:0OIl".to_owned(), "base 58"),
            (String::new(), "20 bytes"),
        ] {
            let error = bad.parse::<RepoId>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert_eq!(RepoId::of(&DocumentId::new("band/stage").unwrap()), None);
    }
}
