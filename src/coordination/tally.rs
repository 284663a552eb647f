//! What became of the objects a node has seen: counts for metrics. Layer 3, pure.

use std::{collections::BTreeMap, time::Duration};

use super::{
    kernel::Tier,
    standing::{Ending, Outcome, Standing},
};

/// Upper bounds of the buckets of durations, in milliseconds; one more holds what is longer.
pub const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 15_000, 60_000];

/// How long generations took, from the first arrival heard of to their end here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket.
    pub counts: [u64; BUCKETS_MS.len() + 1],
    /// The sum of all.
    pub total: Duration,
}

/// Ends of generations by kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By kind, tier and ending.
    pub endings: BTreeMap<(&'static str, Tier, &'static str), u64>,
    /// Members that took part, and members there were, by kind and tier.
    pub members: BTreeMap<(&'static str, Tier), (u64, u64)>,
    /// By kind.
    pub durations: BTreeMap<&'static str, Durations>,
}

impl Tally {
    /// Counts the end of a generation.
    pub fn note(&mut self, kind: &'static str, standing: &Standing, took: Duration) {
        match standing {
            Standing::Released(outcome) | Standing::Broken(outcome) => self.note_outcome(kind, outcome, took),
            Standing::Late(outcome) => {
                for tier in &outcome.tiers {
                    *self.endings.entry((kind, tier.tier, "late")).or_default() += 1;
                }
            }
            Standing::Waiting | Standing::Overdue { .. } | Standing::Superseded { .. } | Standing::Closed => {}
        }
    }

    fn note_outcome(&mut self, kind: &'static str, outcome: &Outcome, took: Duration) {
        for tier in &outcome.tiers {
            *self.endings.entry((kind, tier.tier, tier.ending.as_str())).or_default() += 1;
            let (came, all) = self.members.entry((kind, tier.tier)).or_default();
            *came += tier.released.len() as u64;
            *all += (tier.released.len() + tier.missing.len()) as u64;
        }
        let durations = self.durations.entry(kind).or_default();
        let bucket = BUCKETS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        durations.counts[bucket.unwrap_or(BUCKETS_MS.len())] += 1;
        durations.total += took;
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.endings {
            *self.endings.entry(*key).or_default() += count;
        }
        for (key, (came, all)) in &other.members {
            let own = self.members.entry(*key).or_default();
            *own = (own.0 + came, own.1 + all);
        }
        for (kind, theirs) in &other.durations {
            let own = self.durations.entry(kind).or_default();
            own.counts.iter_mut().zip(theirs.counts).for_each(|(own, count)| *own += count);
            own.total += theirs.total;
        }
    }
}

impl Ending {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Degraded => "degraded",
            Self::Shortfall => "shortfall",
            Self::Broken => "broken",
        }
    }
}
