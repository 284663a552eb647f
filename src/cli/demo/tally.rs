//! What the demo holds its agents to: one outcome for all, and no effect twice. Layer 7.

use std::collections::{BTreeMap, BTreeSet};

use aepoch::{
    coordination::standing::{Ending, Outcome, Standing, TierResult},
    id::AgentId,
};

/// How generations of barriers and phases ended, as agents were told.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// By object and generation: the longest list of tiers anybody was told.
    ended: BTreeMap<(String, u64), Vec<TierResult>>,
    /// Agents that were told something else.
    differing: Vec<String>,
}

impl Outcomes {
    /// Takes in what an agent was told. The first to be told of an end is worth a line.
    pub(super) fn note(&mut self, name: &str, object: &str, generation: u64, standing: Standing) -> Option<String> {
        let (Standing::Released(outcome) | Standing::Broken(outcome)) = standing else { return None };
        let Outcome { tiers, .. } = outcome;
        let known = self.ended.entry((object.to_owned(), generation)).or_default();
        let is_first = known.is_empty();
        // Higher tiers are told of fewer: what both know has to be the same.
        if known.iter().zip(&tiers).any(|(known, told)| known != told) {
            self.differing.push(format!("{name} at {object} {generation}"));
        }
        if tiers.len() > known.len() {
            *known = tiers;
        }
        is_first.then(|| {
            let missing = known.iter().flat_map(|tier| tier.missing.iter().map(AgentId::as_str));
            let missing: Vec<&str> = missing.collect();
            match missing[..] {
                [] => format!("{object} {generation}: complete"),
                _ => format!("{object} {generation}: decided without {}", missing.join(", ")),
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        self.ended.len()
    }

    /// How many ended without somebody.
    pub(super) fn degraded(&self) -> usize {
        let degraded = |tiers: &&Vec<TierResult>| tiers.iter().any(|tier| tier.ending != Ending::Complete);
        self.ended.values().filter(degraded).count()
    }

    /// True when nobody was told anything else than the others.
    pub(super) fn are_equal(&self) -> bool {
        self.differing.is_empty()
    }
}

/// A resource that checks fencing tokens: where the effects of claims land.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// The highest token let through for each item.
    tokens: BTreeMap<String, u64>,
    /// Claims that ended with a file done: item and token, by file.
    ended: BTreeMap<String, BTreeSet<(String, u64)>>,
    refused: usize,
}

impl Effects {
    /// An effect arrives: a token below one that was let through is refused.
    pub(super) fn land(&mut self, item: &str, token: u64) {
        let highest = self.tokens.entry(item.to_owned()).or_default();
        if token < *highest {
            self.refused += 1;
        } else {
            *highest = token;
        }
    }

    /// A claim has ended with its file done.
    pub(super) fn end(&mut self, file: &str, item: &str, token: u64) {
        self.ended.entry(file.to_owned()).or_default().insert((item.to_owned(), token));
    }

    /// Claims that ended with their file done.
    pub(super) fn claims(&self) -> usize {
        self.ended.values().map(BTreeSet::len).sum()
    }

    /// Files that were done more than once.
    pub(super) fn doubled(&self) -> usize {
        self.ended.values().map(|ends| ends.len() - 1).sum()
    }

    /// Effects of holders that had been replaced.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aepoch::coordination::kernel::Tier;

    use super::*;

    fn tier(ending: Ending) -> TierResult {
        TierResult { tier: Tier::ALPHA, ending, released: Arc::default(), missing: Arc::default() }
    }

    fn released(tiers: &[Ending]) -> Standing {
        Standing::Released(Outcome { generation: 0, tiers: tiers.iter().copied().map(tier).collect() })
    }

    #[test]
    fn an_agent_that_was_told_something_else_is_noticed() {
        let mut outcomes = Outcomes::default();
        outcomes.note("a", "x", 0, released(&[Ending::Degraded]));
        outcomes.note("b", "x", 0, released(&[Ending::Degraded, Ending::Complete]));
        assert!(outcomes.are_equal());
        assert_eq!((outcomes.len(), outcomes.degraded()), (1, 1));
        outcomes.note("c", "x", 0, released(&[Ending::Complete, Ending::Complete]));
        assert!(!outcomes.are_equal());
    }

    #[test]
    fn a_file_done_twice_and_a_stale_token_are_noticed() {
        let mut effects = Effects::default();
        effects.land("1", 1);
        effects.land("1", 2);
        effects.end("f", "1", 2);
        effects.end("f", "1", 2);
        assert_eq!((effects.claims(), effects.doubled(), effects.refused()), (1, 0, 0));
        effects.land("1", 1);
        effects.end("f", "1", 3);
        assert_eq!((effects.claims(), effects.doubled(), effects.refused()), (2, 1, 1));
    }
}
