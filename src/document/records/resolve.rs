//! What a register says: its concurrent values, and the views that pick among them.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Body, BodyContent, Entry, Lattice, Member, Slot, decode_share};
use crate::{document::RecordKind, engine::Value, id::ReplicaId, time::Hlc};

/// One of a register's values that no other writer has overridden.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who wrote it.
    pub writer: ReplicaId,
    /// When.
    pub hlc: Hlc,
    /// One more than the highest version its writer saw.
    pub version: u64,
    /// The value; `None` when its writer cleared the register.
    pub value: Option<Value>,
}

/// How to pick among concurrent values. A pure view: nothing is lost by it, and readers may differ in theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Resolver {
    /// The newest by hybrid logical clock, then the higher writer.
    #[default]
    LastWriterWins,
    /// The one with the highest version, then as above.
    HighestVersion,
    /// All of them, newest first, as an array; cleared ones are left out.
    MultiValue,
    /// The value that more than half of these voters last wrote; nothing until there is one.
    Quorum(Vec<ReplicaId>),
    /// The application's own choice among the candidates, newest first. Must not depend on anything else, or
    /// replicas will disagree.
    Custom(CustomResolver),
}

/// A choice among concurrent values, named so that two resolvers can be told apart.
#[derive(Debug, Clone, Copy)]
pub struct CustomResolver {
    /// Its name.
    pub name: &'static str,
    /// The choice.
    pub choose: fn(&[Candidate]) -> Option<Value>,
}

impl PartialEq for CustomResolver {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CustomResolver {}

impl Resolver {
    /// What a register is worth under this view.
    pub(in crate::document) fn resolve(&self, lattice: &Lattice, slot: &Slot) -> Option<Value> {
        let candidates = lattice.candidates(slot);
        match self {
            Self::LastWriterWins => candidates.into_iter().next()?.value,
            Self::HighestVersion => {
                // The first of equals must win, and `max_by_key` keeps the last.
                candidates.into_iter().rev().max_by_key(|candidate| candidate.version)?.value
            }
            Self::MultiValue => {
                let values: Vec<Value> = candidates.into_iter().filter_map(|candidate| candidate.value).collect();
                (!values.is_empty()).then_some(Value::Array(values))
            }
            Self::Quorum(voters) => lattice.attested(slot, voters),
            Self::Custom(custom) => (custom.choose)(&candidates),
        }
    }
}

impl Lattice {
    /// The values of a slot that nobody overrode, newest first. Overridden means: another writer's record names them
    /// in its context.
    pub(in crate::document) fn candidates(&self, slot: &Slot) -> Vec<Candidate> {
        let mut entries: Vec<(ReplicaId, &Entry)> = self.shown(slot).collect();
        entries.sort_by_key(|(writer, entry)| Reverse((entry.hlc, *writer)));
        let live: Vec<Candidate> = entries
            .iter()
            .filter(|(writer, entry)| !is_overridden(&entries, *writer, entry))
            .filter_map(|(writer, entry)| candidate(*writer, entry))
            .collect();
        if !live.is_empty() {
            return live;
        }
        // Honest writers cannot override each other in a circle. A dishonest one must not make values vanish.
        entries.iter().filter_map(|(writer, entry)| candidate(*writer, entry)).collect()
    }

    /// True when the entry of `writer` is overridden by another one.
    pub(in crate::document) fn is_overridden(&self, slot: &Slot, writer: ReplicaId, entry: &Entry) -> bool {
        let entries: Vec<(ReplicaId, &Entry)> = self.shown(slot).collect();
        is_overridden(&entries, writer, entry)
    }

    /// The value most voters wrote last, whether overridden or not, when that is more than half of all voters.
    fn attested(&self, slot: &Slot, voters: &[ReplicaId]) -> Option<Value> {
        let mut votes: BTreeMap<String, (usize, Value)> = BTreeMap::new();
        for (writer, entry) in self.shown(slot) {
            let value = candidate(writer, entry).and_then(|candidate| candidate.value);
            if let Some(value) = value
                && voters.contains(&writer)
            {
                votes.entry(crate::document::canonical::text(&value)).or_insert((0, value)).0 += 1;
            }
        }
        votes.into_values().find(|(count, _)| count * 2 > voters.len()).map(|(_, value)| value)
    }

    /// The highest version of a slot; zero when nobody wrote it.
    pub(in crate::document) fn slot_version(&self, slot: &Slot) -> u64 {
        let version = |entry: &Entry| Body::decode(&entry.body).map_or(0, |body| body.version);
        self.shown(slot).map(|(_, entry)| version(entry)).max().unwrap_or(0)
    }

    /// What a writer of `slot` has seen there: the latest record of every other writer, and whatever those had seen.
    /// Taking over the others' contexts keeps them redundant, so that an overridden record can shrink to a stub.
    pub(in crate::document) fn context(&self, slot: &Slot, own: ReplicaId) -> Vec<(ReplicaId, u64)> {
        let mut context: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for (writer, entry) in self.shown(slot) {
            let seen = entry.context.iter().copied().chain([(writer, entry.seq)]);
            for (writer, seq) in seen.filter(|(writer, _)| *writer != own) {
                let known = context.entry(writer).or_insert(0);
                *known = seq.max(*known);
            }
        }
        context.into_iter().collect()
    }

    /// The sum of a counter over its writers, held within 64 bits; `None` when nobody has added anything.
    pub(in crate::document) fn total(&self, slot: &Slot) -> Option<i64> {
        let mut shares = self.shown(slot).map(|(_, entry)| i128::from(decode_share(&entry.body).unwrap_or(0)));
        // 4,096 shares of 64 bits cannot overflow 128.
        let first = shares.next()?;
        let sum = first + shares.sum::<i128>();
        Some(i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
    }

    /// What one writer has added to a counter.
    pub(in crate::document) fn share(&self, slot: &Slot, writer: ReplicaId) -> i64 {
        self.entry(slot, writer).map_or(0, |entry| decode_share(&entry.body).unwrap_or(0))
    }

    /// The member of a slot: of its values that nobody overrode, the one of the highest incarnation.
    pub(in crate::document) fn member(&self, slot: &Slot) -> Option<(ReplicaId, Member)> {
        let candidates = self.candidates(slot).into_iter();
        let members = candidates.filter_map(|candidate| {
            let member: Member = serde_json::from_value(candidate.value?).ok()?;
            Some((candidate.writer, member))
        });
        members.max_by_key(|(writer, member)| (member.incarnation, *writer))
    }

    /// What a slot is worth to readers who do not say how to resolve it.
    pub(in crate::document) fn current(&self, slot: &Slot) -> Option<Value> {
        match slot.kind {
            RecordKind::Register | RecordKind::Agent => Resolver::LastWriterWins.resolve(self, slot),
            RecordKind::Counter => self.total(slot).map(Value::from),
            RecordKind::Member => serde_json::to_value(self.member(slot)?.1).ok(),
        }
    }

    /// Who wrote what [`Self::current`] returns, where that is one replica.
    pub(in crate::document) fn current_writer(&self, slot: &Slot) -> Option<ReplicaId> {
        match slot.kind {
            RecordKind::Register | RecordKind::Agent => Some(self.candidates(slot).first()?.writer),
            RecordKind::Member => Some(self.member(slot)?.0),
            RecordKind::Counter => None,
        }
    }
}

/// `entries` are best sorted newest first: the search then ends early, because newer ones override older ones.
fn is_overridden(entries: &[(ReplicaId, &Entry)], writer: ReplicaId, entry: &Entry) -> bool {
    entries.iter().any(|(other, newer)| {
        // Two that claim to have seen each other are lying, and count as concurrent.
        *other != writer && newer.has_seen(writer, entry.seq) && !entry.has_seen(*other, newer.seq)
    })
}

fn candidate(writer: ReplicaId, entry: &Entry) -> Option<Candidate> {
    let body = Body::decode(&entry.body).ok()?;
    if body.content == BodyContent::Stub {
        return None;
    }
    Some(Candidate { writer, hlc: entry.hlc, version: body.version, value: body.value() })
}
