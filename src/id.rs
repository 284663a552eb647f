//! Names: agents, documents, replicas, links. Layer 0: depends on nothing.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than the limit for its kind.
    #[error("name of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More segments than a document name may have.
    #[error("{count} segments in `{name}` are over the limit of {max}")]
    TooDeep {
        /// The name given.
        name: String,
        /// Segments given.
        count: usize,
        /// Segments allowed.
        max: usize,
    },
    /// A character outside `a-z 0-9 . _ -`.
    #[error("`{name}` holds {character:?}; names are made of a-z 0-9 . _ -")]
    Character {
        /// The name given.
        name: String,
        /// The first character refused.
        character: char,
    },
}

fn check_segment(segment: &str) -> Result<(), NameError> {
    if segment.is_empty() {
        return Err(NameError::Empty);
    }
    if segment.len() > limits::NAME_SEGMENT_BYTES {
        return Err(NameError::TooLong { len: segment.len(), max: limits::NAME_SEGMENT_BYTES });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    match segment.chars().find(|c| !allowed(*c)) {
        Some(character) => Err(NameError::Character { name: segment.to_owned(), character }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($name:ident, $check:expr) => {
        impl $name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the name; retrying does not help.
            pub fn new(name: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

/// The name of an agent: one segment of `a-z 0-9 . _ -`, at most 64 bytes, unique within its swarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(Arc<str>);
name_type!(AgentId, check_segment);

/// The name of a document: at most 8 segments joined by `/`, for example `band/stage`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentId(Arc<str>);
name_type!(DocumentId, |name| {
    let count = name.split('/').count();
    if count > limits::NAME_SEGMENTS {
        return Err(NameError::TooDeep { name: name.chars().take(80).collect(), count, max: limits::NAME_SEGMENTS });
    }
    name.split('/').try_for_each(check_segment)
});

/// One writer of a document: an agent in one incarnation. 53 bits, never zero.
///
/// The same number is the client id inside yrs and the actor inside automerge, so it must never be used by two
/// processes at once nor again after its log was lost. It is drawn once, kept in the store and reused after restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ReplicaId(u64);

impl ReplicaId {
    /// The largest id: 2^53 - 1, the largest integer JavaScript holds exactly.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The lowest and the highest, for ranges.
    pub(crate) const FIRST: Self = Self(1);
    pub(crate) const LAST: Self = Self(Self::MAX);

    /// Keeps the low 53 bits of `bits`; zero becomes one.
    pub const fn from_bits(bits: u64) -> Self {
        let low = bits & Self::MAX;
        Self(if low == 0 { 1 } else { low })
    }

    /// The id as a number in `1..=MAX`.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = u64::deserialize(deserializer)?;
        if id == 0 || id > Self::MAX {
            return Err(serde::de::Error::custom(format_args!("replica id {id} is outside 1..={}", Self::MAX)));
        }
        Ok(Self(id))
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.0)
    }
}

/// What coordination records are about: a barrier, an epoch, a queue or one item of it. Numbered by the replica that
/// began it, which never uses a number twice in one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The replica that began it.
    pub holder: ReplicaId,
    /// Which of its objects, from 1.
    pub number: u64,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.holder, self.number)
    }
}

impl std::str::FromStr for ObjectId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(holder, number)| {
            let holder = u64::from_str_radix(holder, 16).ok().filter(|bits| (1..=ReplicaId::MAX).contains(bits))?;
            Some(Self { holder: ReplicaId(holder), number: number.parse().ok().filter(|number| *number > 0)? })
        });
        parsed.ok_or_else(|| {
            format!("`{text}` is no id of an object: it is a replica and a number, like 00000000000001.7")
        })
    }
}

/// Who a node is: kept in its store, reused after restart. A node whose store was lost gets a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The agent's name.
    pub agent: AgentId,
    /// The writer id of this incarnation.
    pub replica: ReplicaId,
    /// Grows with every new identity of the same agent: milliseconds of wall time when it was drawn.
    pub incarnation: u64,
}

/// One connection of one node, numbered by its driver. Never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(DocumentId::new("band/stage").is_ok());
        assert_eq!(DocumentId::new("band//stage"), Err(NameError::Empty));
        assert!(matches!(AgentId::new("Planner"), Err(NameError::Character { character: 'P', .. })));
        assert!(matches!(AgentId::new(&"a".repeat(65)), Err(NameError::TooLong { len: 65, max: 64 })));
        assert!(matches!(DocumentId::new("a/b/c/d/e/f/g/h/i"), Err(NameError::TooDeep { count: 9, .. })));
    }

    #[test]
    fn replica_ids_fit_53_bits_and_are_never_zero() {
        assert_eq!(ReplicaId::from_bits(0).get(), 1);
        assert_eq!(ReplicaId::from_bits(u64::MAX).get(), ReplicaId::MAX);
        assert!(postcard::from_bytes::<ReplicaId>(&[0]).is_err());
    }
}
