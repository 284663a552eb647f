//! Updates whose dependencies have not arrived. Layer 1, pure.
//!
//! yrs has such a store of its own, which is never used: it merges every newcomer into all others, panics over some,
//! and shows blocks behind a gap that the state vector denies, so that replicas with different content would have equal
//! frontiers. Here a block enters the document only when everything it builds on is there, and the rest of its update
//! waits.

use std::{collections::BTreeMap, ops::RangeInclusive};

use bytes::Bytes;

use crate::engine::inspect::yrs::Scan;

/// Updates by the writer and clock each waits for first.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: BTreeMap<(u64, u64), Vec<Bytes>>,
    bytes: usize,
}

impl Inbox {
    /// Keeps an update until `missing`, a writer's clock, is known. A repeated one is dropped.
    pub(super) fn hold(&mut self, missing: (u64, u64), update: Bytes) {
        let held = self.waiting.entry(missing).or_default();
        if !held.contains(&update) {
            self.bytes += update.len();
            held.push(update);
        }
    }

    /// Takes out what waits for no more of `writer` than `known`.
    pub(super) fn wake(&mut self, writer: u64, known: u64) -> Vec<Bytes> {
        let due: RangeInclusive<_> = (writer, 0)..=(writer, known);
        let keys: Vec<_> = self.waiting.range(due).map(|(key, _)| *key).collect();
        let woken: Vec<_> = keys.iter().filter_map(|key| self.waiting.remove(key)).flatten().collect();
        self.bytes -= woken.iter().map(Bytes::len).sum::<usize>();
        woken
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Clocks as they will be once the updates accepted so far are in.
pub(super) struct Outlook<'a> {
    known: &'a BTreeMap<u64, u64>,
    ahead: BTreeMap<u64, u64>,
    /// Writers that are ahead and not known.
    new: usize,
}

impl<'a> Outlook<'a> {
    /// Starts from what is known.
    pub(super) fn new(known: &'a BTreeMap<u64, u64>) -> Self {
        Self { known, ahead: BTreeMap::new(), new: 0 }
    }

    /// The clock known of a writer by then.
    pub(super) fn clock(&self, writer: u64) -> u64 {
        self.ahead.get(&writer).or_else(|| self.known.get(&writer)).copied().unwrap_or(0)
    }

    /// Raises a writer's clock.
    pub(super) fn advance(&mut self, writer: u64, clock: u64) {
        if self.ahead.insert(writer, clock).is_none() && !self.known.contains_key(&writer) {
            self.new += 1;
        }
    }

    /// Accepts an update if everything that it builds on is known or comes before it in the same row of blocks; returns
    /// the writers it advances. Where blocks of several writers build on each other the answer is `None`: their order
    /// must be found block by block, and there may be none.
    pub(super) fn accept(&mut self, scan: &Scan) -> Option<Vec<(u64, u64)>> {
        let mut after = BTreeMap::new();
        for range in &scan.info.inserts {
            let clock = after.get(&range.writer).copied().unwrap_or_else(|| self.clock(range.writer));
            if range.from > clock {
                return None;
            }
            after.insert(range.writer, clock.max(range.to));
        }
        if after.len() > 1 && scan.needs.iter().any(|(writer, need)| *need > self.clock(*writer)) {
            return None;
        }
        let deletes = scan.info.deletes.iter().map(|range| (range.writer, range.to));
        for (writer, need) in scan.needs.iter().map(|(writer, need)| (*writer, *need)).chain(deletes) {
            if need > after.get(&writer).copied().unwrap_or_else(|| self.clock(writer)) {
                return None;
            }
        }
        let advanced: Vec<_> = after.into_iter().filter(|(writer, clock)| *clock > self.clock(*writer)).collect();
        for (writer, clock) in &advanced {
            self.advance(*writer, *clock);
        }
        Some(advanced)
    }

    /// The number of writers.
    pub(super) fn writers(&self) -> usize {
        self.known.len() + self.new
    }

    /// The clocks that moved.
    pub(super) fn into_ahead(self) -> BTreeMap<u64, u64> {
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_wait_for_a_clock_and_are_counted_once() {
        let mut inbox = Inbox::default();
        inbox.hold((7, 3), Bytes::from_static(b"abc"));
        inbox.hold((7, 3), Bytes::from_static(b"abc"));
        inbox.hold((7, 5), Bytes::from_static(b"de"));
        inbox.hold((8, 1), Bytes::from_static(b"f"));
        assert_eq!(inbox.bytes(), 6);
        assert!(inbox.wake(7, 2).is_empty());
        assert_eq!(inbox.wake(7, 4), [Bytes::from_static(b"abc")]);
        assert_eq!(inbox.bytes(), 3);
        inbox.clear();
        assert_eq!(inbox.bytes(), 0);
        assert!(inbox.wake(8, 9).is_empty());
    }

    #[test]
    fn a_writer_counts_once_whether_it_was_known_or_is_ahead() {
        let known = BTreeMap::from([(1, 5), (2, 5)]);
        let mut outlook = Outlook::new(&known);
        for (writer, clock) in [(1, 6), (3, 1), (3, 2), (4, 1)] {
            outlook.advance(writer, clock);
        }
        assert_eq!(outlook.writers(), 4);
    }
}
