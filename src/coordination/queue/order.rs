//! The order of a queue that nobody keeps, and how long it may still change. Layer 3, pure.
//!
//! Items are records; everybody sorts what it has. An item that is still on its way could come first, so the order is
//! made firm bucket by bucket: each member promises never to stamp an item below its *low mark*, and a bucket that ends
//! below everybody's mark is sealed (Lamport, "Time, Clocks, and the Ordering of Events", 1978; watermarks in Flink).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{coordination::kernel::Tier, id::ReplicaId, time::Hlc};

/// What orders items. The fields compare in this order: bucket-major, since a bucket is what can be sealed; then
/// priority. A deadline of `None` comes after all others.
///
/// The stamp belongs to the bucket, so an item cannot be moved ahead of a sealed one by its priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    bucket: u64,
    tier: Tier,
    deadline: Deadline,
    hlc: Hlc,
    writer: ReplicaId,
    seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Deadline {
    /// Wall milliseconds.
    At(u64),
    Never,
}

/// How long a bucket is, in milliseconds of the hybrid logical clock. At least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// Its length.
    pub span_ms: u64,
}

impl Buckets {
    /// The bucket of a stamp.
    pub fn of(self, hlc: Hlc) -> u64 {
        hlc.wall_ms() / self.span_ms.max(1)
    }

    /// The key of an item: a function of what its writer wrote, so equal everywhere. `seq` tells items of one writer
    /// with one stamp apart.
    pub fn key(self, hlc: Hlc, tier: Tier, deadline_ms: Option<u64>, writer: ReplicaId, seq: u64) -> Key {
        let deadline = deadline_ms.map_or(Deadline::Never, Deadline::At);
        Key { bucket: self.of(hlc), tier, deadline, hlc, writer, seq }
    }

    /// Buckets below this number are sealed: no member will ever stamp an item in them. `marks` are the low marks of
    /// those that have published one; a member of the roster without a mark seals nothing. Never falls as marks grow.
    ///
    /// A dead member stands still and so does this, until the roster leaves it out by decision.
    pub fn sealed_below(self, roster: impl IntoIterator<Item = ReplicaId>, marks: &BTreeMap<ReplicaId, Hlc>) -> u64 {
        let marks = roster.into_iter().map(|member| marks.get(&member).copied().unwrap_or_default());
        marks.min().map_or(0, |lowest| self.of(lowest))
    }
}

impl Key {
    /// Before every key of a bucket, and after those of earlier ones.
    pub(super) const fn first_of(bucket: u64) -> Self {
        let (tier, deadline, writer) = (Tier(0), Deadline::At(0), ReplicaId::FIRST);
        Self { bucket, tier, deadline, hlc: Hlc(0), writer, seq: 0 }
    }

    /// The priority of its item.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// When its item should be done, in wall milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.deadline {
            Deadline::At(deadline) => Some(deadline),
            Deadline::Never => None,
        }
    }

    /// Its bucket.
    pub fn bucket(&self) -> u64 {
        self.bucket
    }

    /// The writer of its item.
    pub fn writer(&self) -> ReplicaId {
        self.writer
    }

    /// The stamp of its item.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// True when the item's deadline has passed at this wall time. An observation: clocks differ.
    pub fn overdue(&self, wall_ms: u64) -> bool {
        matches!(self.deadline, Deadline::At(deadline) if deadline < wall_ms)
    }
}

/// The first item that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head<'a> {
    /// Nothing can come before it any more: every replica with these items and marks, and every later one, says so.
    Sealed(&'a Key),
    /// First of those here; another may still come before it.
    Tentative(&'a Key),
}

/// The first of `items`, in any order, for which `open` holds. O(n).
pub fn head<'a>(
    items: impl IntoIterator<Item = &'a Key>,
    open: impl Fn(&Key) -> bool,
    sealed_below: u64,
) -> Option<Head<'a>> {
    let key = items.into_iter().filter(|key| open(key)).min()?;
    Some(if key.bucket < sealed_below { Head::Sealed(key) } else { Head::Tentative(key) })
}

/// A member's next low mark: it grows with its clock, and stays at the stamp of its oldest item that is not durable
/// yet. Whoever publishes it must stamp nothing below afterwards.
pub fn low_mark(last: Hlc, clock: Hlc, pending: Option<Hlc>) -> Hlc {
    last.max(pending.map_or(clock, |pending| pending.min(clock)))
}
