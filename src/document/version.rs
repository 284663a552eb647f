//! Versions: how far a replica has followed every writer.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Delta, Span};
use crate::{engine::Section, id::ReplicaId};

/// Per writer, the number of its commits seen without a gap: a version vector (Parker et al., 1983).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(BTreeMap<ReplicaId, u64>);

impl Seen {
    /// What is known of one writer; zero when nothing is.
    pub fn get(&self, writer: ReplicaId) -> u64 {
        self.0.get(&writer).copied().unwrap_or(0)
    }

    /// Raises one writer's entry; never lowers it.
    pub fn raise(&mut self, writer: ReplicaId, upto: u64) {
        if upto > 0 {
            let entry = self.0.entry(writer).or_insert(0);
            *entry = upto.max(*entry);
        }
    }

    /// The same, but of one writer no more than up to a number.
    #[must_use]
    pub fn capped(mut self, writer: ReplicaId, most: u64) -> Self {
        if let Some(upto) = self.0.remove(&writer) {
            self.raise(writer, upto.min(most));
        }
        self
    }

    /// Raises every entry to that of `other`.
    pub fn join(&mut self, other: &Self) {
        for (writer, upto) in other.iter() {
            self.raise(writer, upto);
        }
    }

    /// True when nothing in `other` is beyond this.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(writer, upto)| self.get(writer) >= upto)
    }

    /// The entries, sorted by writer.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.0.iter().map(|(writer, upto)| (*writer, *upto))
    }

    /// Number of writers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when no writer is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ReplicaId, u64)> for Seen {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(entries: I) -> Self {
        let mut seen = Self::default();
        for (writer, upto) in entries {
            seen.raise(writer, upto);
        }
        seen
    }
}

/// A version of a document: what of every writer's content and records it contains. Comparable across replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Commits of content.
    pub content: Seen,
    /// Records, by their sequence number.
    pub records: Seen,
    /// Coordination records, by theirs.
    pub slots: Seen,
}

impl Version {
    /// Raises every entry to that of `other`.
    pub fn join(&mut self, other: &Self) {
        self.content.join(&other.content);
        self.records.join(&other.records);
        self.slots.join(&other.slots);
    }

    /// Raises the entries of all writers a delta brings something of; returns whether any rose. O(writers in it).
    pub fn raise(&mut self, delta: &Delta) -> bool {
        let mut rose = false;
        let mut raise = |seen: &mut Seen, span: &Span| {
            rose |= span.upto > seen.get(span.writer);
            seen.raise(span.writer, span.upto);
        };
        let content = delta.content.iter().flat_map(|content| &content.spans);
        content.for_each(|span| raise(&mut self.content, span));
        delta.records.iter().for_each(|run| raise(&mut self.records, &run.span));
        delta.slots.iter().for_each(|run| raise(&mut self.slots, &run.span));
        rose
    }

    /// What it says of one writer.
    #[must_use]
    pub fn of(&self, writer: ReplicaId) -> Self {
        let only = |seen: &Seen| [(writer, seen.get(writer))].into_iter().collect();
        Self { content: only(&self.content), records: only(&self.records), slots: only(&self.slots) }
    }

    /// What it says of the kind of things a section is made of; `None`: of all.
    #[must_use]
    pub fn of_section(self, section: Option<Section>) -> Self {
        use Section::{Agent, Coordination, Counter, List, Map, Member, Register, Text};
        match section {
            None => self,
            Some(Map | List | Text) => Self { content: self.content, ..Self::default() },
            Some(Register | Counter | Agent | Member) => Self { records: self.records, ..Self::default() },
            Some(Coordination) => Self { slots: self.slots, ..Self::default() },
        }
    }

    /// True when nothing in `other` is beyond this.
    pub fn covers(&self, other: &Self) -> bool {
        self.content.covers(&other.content) && self.records.covers(&other.records) && self.slots.covers(&other.slots)
    }

    /// True when nothing is known of any writer.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.records.is_empty() && self.slots.is_empty()
    }
}

/// What a replica tells a peer so that the peer can send exactly what is lacking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    /// How far it has followed every writer.
    pub version: Version,
    /// The engine's own frontier; opaque. Empty: nothing.
    pub engine: Bytes,
}

/// Which records of a document a replica wants. Content always comes whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Record paths (`register/jobs`, `agent/planner-1`) must start with one of these; empty: everything.
    pub prefixes: Vec<String>,
}

impl Subscription {
    /// True when nothing is filtered.
    pub fn is_everything(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// True when a record at `path` is wanted.
    pub fn wants(&self, path: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

/// One line of a digest: a part of a document and the SHA-256 of its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// The part, as a path.
    pub path: String,
    /// SHA-256.
    pub hash: [u8; 32],
}
