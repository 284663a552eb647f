//! Sets of numbers that are mostly runs.

use serde::{Deserialize, Serialize};

/// A set of numbers, kept as the runs it is made of: first and last of each, apart and ascending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// True when `number` is in. O(log runs).
    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Adds `first..=last`; false when nothing was new. O(runs) at worst, O(log runs) at the end.
    pub(super) fn insert(&mut self, first: u64, last: u64) -> bool {
        // Runs that touch the new one become one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let touched = &self.0[from..to];
        let joined = touched.iter().fold((first, last), |(a, b), (start, end)| (a.min(*start), b.max(*end)));
        if touched == [joined] {
            return false;
        }
        self.0.splice(from..to, [joined]);
        true
    }

    /// The highest number in; zero for none.
    pub(super) fn last(&self) -> u64 {
        self.0.last().map_or(0, |(_, last)| *last)
    }

    /// The runs: first and last of each.
    pub(super) fn runs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// True when the runs are in order, apart, and not empty: what a peer's must be.
    pub(super) fn is_well_formed(&self) -> bool {
        let ordered = self.0.windows(2).all(|pair| pair[0].1.checked_add(1).is_some_and(|next| next < pair[1].0));
        ordered && self.0.iter().all(|(first, last)| first <= last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_what_a_plain_set_holds(inserts in prop::collection::vec((0_u64..40, 0_u64..6), 0..30)) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for (first, len) in inserts {
                let before = plain.len();
                plain.extend(first..=first + len);
                let grew = plain.len() > before;
                prop_assert_eq!(ranges.insert(first, first + len), grew);
                prop_assert!(ranges.is_well_formed(), "{:?}", ranges);
                prop_assert_eq!((0..50).filter(|number| ranges.contains(*number)).collect::<BTreeSet<_>>(), plain.clone());
            }
        }
    }
}
