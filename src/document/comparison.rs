//! Comparing replicas by digests that stay small: a level with too many lines is told in groups.
//!
//! A group holds the lines whose paths' SHA-256 begin alike: `#3f/register` those below `register` whose hash begins
//! with the byte `3f`. Hashing spreads any keys evenly, so n lines take about log256(n) steps. Which groups there are
//! depends on nothing but the paths, so two replicas of different sizes can compare them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{DigestEntry, Document, DocumentError, digest::hex, path::unknown};
use crate::limits;

/// Hexadecimal digits one step of grouping adds: 256 groups, fewer than [`limits::DIGEST_LINES`].
const DIGITS: usize = 2;

/// One step of a comparison with a peer; see [`Document::compare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Both hold the same.
    Equal,
    /// They differ at this path, and digests say no more.
    Differs(String),
    /// They differ below this path: ask the peer for its digest.
    Below(String),
}

impl Document {
    /// Compares what is at `path` with the peer's digest of it. Start at the empty path and follow
    /// [`Comparison::Below`]; the difference found is the first in the order of paths, or of groups where the peer
    /// told groups.
    ///
    /// # Errors
    /// As [`Document::digest`], but a path that leads to nothing here is no error: all of it differs.
    pub fn compare(&self, path: &str, theirs: &[DigestEntry]) -> Result<Comparison, DocumentError> {
        let group = Group::of(path)?;
        let told = theirs.first().and_then(|entry| Group::of(&entry.path).ok()).map_or(0, |group| group.digits.len());
        let ours = match self.digest_within(&group) {
            Ok(entries) if told > 0 => group.split(&entries, told),
            Ok(entries) => entries,
            Err(DocumentError::UnknownPath { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let missing = |from: &[DigestEntry], entry: &&DigestEntry| !from.contains(entry);
        let mine = ours.iter().find(|entry| missing(theirs, entry));
        let other = theirs.iter().find(|entry| missing(&ours, entry));
        let differing = mine.into_iter().chain(other).map(|entry| &entry.path).min();
        let here = || Comparison::Differs(group.below.to_owned());
        Ok(match differing {
            None if path.is_empty() => Comparison::Equal,
            // It was written meanwhile.
            None => here(),
            Some(next) => {
                let found = Group::of(next)?;
                let deeper = (found.below.len(), found.digits.len()) > (group.below.len(), group.digits.len());
                if deeper { Comparison::Below(next.clone()) } else { here() }
            }
        })
    }
}

/// Those of the lines below a path whose own path's hash begins with some digits; without digits: all.
#[derive(Debug)]
pub(super) struct Group<'a> {
    digits: &'a str,
    pub(super) below: &'a str,
}

impl<'a> Group<'a> {
    /// Reads `below` and `#digits/below`.
    pub(super) fn of(path: &'a str) -> Result<Self, DocumentError> {
        let Some(rest) = path.strip_prefix('#') else { return Ok(Self { digits: "", below: path }) };
        let (digits, below) = rest.split_once('/').ok_or_else(|| unknown(path))?;
        let whole = !digits.is_empty() && digits.len() <= 64 && digits.len().is_multiple_of(DIGITS);
        let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if whole && lower { Ok(Self { digits, below }) } else { Err(unknown(path)) }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.digits.is_empty()
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        self.is_whole() || hash(path).starts_with(self.digits)
    }

    /// As many lines as fit: these, or the next smaller groups.
    pub(super) fn told(&self, entries: Vec<DigestEntry>) -> Vec<DigestEntry> {
        let digits = self.digits.len() + DIGITS;
        if entries.len() > limits::DIGEST_LINES && digits <= 64 { self.split(&entries, digits) } else { entries }
    }

    fn split(&self, entries: &[DigestEntry], digits: usize) -> Vec<DigestEntry> {
        let mut groups: BTreeMap<String, Sha256> = BTreeMap::new();
        for entry in entries {
            let mut name = hash(&entry.path);
            name.truncate(digits);
            add(groups.entry(name).or_default(), entry);
        }
        let named = |(name, hasher): (String, Sha256)| DigestEntry {
            path: format!("#{name}/{}", self.below),
            hash: hasher.finalize().into(),
        };
        groups.into_iter().map(named).collect()
    }
}

/// Adds a line to the hash of many.
pub(super) fn add(hasher: &mut Sha256, entry: &DigestEntry) {
    hasher.update((entry.path.len() as u64).to_be_bytes());
    hasher.update(entry.path.as_bytes());
    hasher.update(entry.hash);
}

fn hash(path: &str) -> String {
    hex(&Sha256::digest(path))
}
