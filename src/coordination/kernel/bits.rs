//! Sets of seats, as bits. Layer 3, pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::limits;

const WORD: usize = 64;

/// A set of small numbers: seats of a roster, or its tiers.
///
/// Up to 64 members it lives in one word, without an allocation. Encoded as (`n`, bytes): the lowest bits first,
/// without trailing zero bytes; when that is shorter, the complement below `n` is written and `n` is not zero. So an
/// empty set takes 2 bytes, the full set of a thousand seats 3, and any set of `m` seats at most `m / 8 + 4`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BitSet {
    low: u64,
    /// Words above the first; the last one is never zero, so that equal sets are equal values.
    rest: Vec<u64>,
}

impl BitSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { low: 0, rest: Vec::new() }
    }

    /// `0..count`.
    ///
    /// # Panics
    /// As [`Self::insert`].
    pub fn full(count: usize) -> Self {
        let Some(last) = count.checked_sub(1) else { return Self::new() };
        let mut full = Self::new();
        full.insert(last);
        let low = |word: usize| if word < last / WORD { u64::MAX } else { u64::MAX >> (WORD - 1 - last % WORD) };
        full.low = low(0);
        full.rest.iter_mut().enumerate().for_each(|(word, bits)| *bits = low(word + 1));
        full
    }

    /// Adds a number; false when it was there. O(1), amortised.
    ///
    /// # Panics
    /// When it is not below [`limits::COORDINATION_SEATS`]: rosters are checked before.
    pub fn insert(&mut self, index: usize) -> bool {
        assert!(index < limits::COORDINATION_SEATS, "seat {index} is over the limit of {}", limits::COORDINATION_SEATS);
        let word = index / WORD;
        if word > self.rest.len() {
            self.rest.resize(word, 0);
        }
        let bits = if word == 0 { &mut self.low } else { &mut self.rest[word - 1] };
        let mask = 1 << (index % WORD);
        let added = *bits & mask == 0;
        *bits |= mask;
        added
    }

    /// True when the number is in the set. O(1).
    pub fn contains(&self, index: usize) -> bool {
        self.word(index / WORD) & (1 << (index % WORD)) != 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        (0..self.words()).map(|word| self.word(word).count_ones() as usize).sum()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.rest.is_empty()
    }

    /// The highest number.
    pub fn last(&self) -> Option<usize> {
        let word = self.words() - 1;
        let bits = self.word(word);
        (bits != 0).then(|| word * WORD + WORD - 1 - bits.leading_zeros() as usize)
    }

    /// The numbers, growing.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.words()).flat_map(move |word| {
            let mut bits = self.word(word);
            std::iter::from_fn(move || {
                let lowest = (bits != 0).then(|| word * WORD + bits.trailing_zeros() as usize);
                bits &= bits.wrapping_sub(1);
                lowest
            })
        })
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// What is in this one only.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// True when all of this one is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        (0..self.words()).all(|word| self.word(word) & !other.word(word) == 0)
    }

    /// True when none is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        (0..self.words()).all(|word| self.word(word) & other.word(word) == 0)
    }

    fn words(&self) -> usize {
        1 + self.rest.len()
    }

    fn word(&self, word: usize) -> u64 {
        if word == 0 { self.low } else { self.rest.get(word - 1).copied().unwrap_or(0) }
    }

    fn zip(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let words = self.words().max(other.words());
        let mut rest: Vec<u64> = (1..words).map(|word| combine(self.word(word), other.word(word))).collect();
        let length = rest.iter().rposition(|word| *word != 0).map_or(0, |at| at + 1);
        rest.truncate(length);
        Self { low: combine(self.low, other.low), rest }
    }

    /// The bytes, lowest first, without trailing zeros.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..self.words()).flat_map(|word| self.word(word).to_le_bytes()).collect();
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        bytes.truncate(length);
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks(WORD / 8).map(|chunk| {
            let mut word = [0; WORD / 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let low = words.next().unwrap_or(0);
        let mut rest: Vec<u64> = words.collect();
        let length = rest.iter().rposition(|word| *word != 0).map_or(0, |at| at + 1);
        rest.truncate(length);
        Self { low, rest }
    }
}

impl FromIterator<usize> for BitSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        let mut set = Self::new();
        for index in indexes {
            set.insert(index);
        }
        set
    }
}

/// The encoded form: see [`BitSet`].
#[derive(Serialize, Deserialize)]
struct Encoded {
    complement_below: u16,
    bytes: Vec<u8>,
}

impl Serialize for BitSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.bytes();
        let below = self.last().map_or(0, |last| last + 1);
        let absent = Self::full(below).difference(self).bytes();
        let encoded = if absent.len() < bytes.len() {
            Encoded { complement_below: u16::try_from(below).map_err(serde::ser::Error::custom)?, bytes: absent }
        } else {
            Encoded { complement_below: 0, bytes }
        };
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BitSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Encoded { complement_below, bytes } = Encoded::deserialize(deserializer)?;
        let below = usize::from(complement_below);
        let written = Self::of_bytes(&bytes);
        let top = written.last().map_or(0, |last| last + 1).max(below);
        if top > limits::COORDINATION_SEATS {
            let max = limits::COORDINATION_SEATS;
            return Err(D::Error::custom(format_args!("a set of {top} seats is over the limit of {max}")));
        }
        Ok(if below == 0 { written } else { Self::full(below).difference(&written) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn encoded(set: &BitSet) -> Vec<u8> {
        postcard::to_stdvec(set).unwrap()
    }

    #[test]
    fn full_and_empty_sets_take_a_few_bytes() {
        assert_eq!(encoded(&BitSet::new()).len(), 2);
        assert_eq!(encoded(&BitSet::full(1000)).len(), 3);
        let all_but_one = BitSet::full(1000).difference(&[3].into_iter().collect());
        assert_eq!(encoded(&all_but_one).len(), 4);
    }

    #[test]
    fn a_full_set_is_all_below_its_count() {
        for count in [0, 1, 2, 63, 64, 65, 127, 128, 129, 4_096] {
            assert_eq!(BitSet::full(count), (0..count).collect(), "{count}");
        }
    }

    #[test]
    fn a_set_beyond_the_limit_is_refused() {
        let beyond = Encoded { complement_below: 4_097, bytes: Vec::new() };
        let bytes = postcard::to_stdvec(&beyond).unwrap();
        assert!(postcard::from_bytes::<BitSet>(&bytes).is_err());
        let beyond = Encoded { complement_below: 0, bytes: vec![1; 513] };
        assert!(postcard::from_bytes::<BitSet>(&postcard::to_stdvec(&beyond).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn a_bit_set_behaves_like_a_tree_set(
            a in prop::collection::btree_set(0..300_usize, 0..80),
            b in prop::collection::btree_set(0..300_usize, 0..80),
        ) {
            let (x, y): (BitSet, BitSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let same = |set: &BitSet, tree: BTreeSet<usize>| {
                set.iter().eq(tree.iter().copied()) && set.len() == tree.len() && *set == tree.into_iter().collect()
            };
            prop_assert!(same(&x.union(&y), &a | &b));
            prop_assert!(same(&x.intersection(&y), &a & &b));
            prop_assert!(same(&x.difference(&y), &a - &b));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
            prop_assert_eq!(x.last(), a.last().copied());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert!((0..300).all(|index| x.contains(index) == a.contains(&index)));
            let back: BitSet = postcard::from_bytes(&encoded(&x)).unwrap();
            prop_assert_eq!(back, x);
        }
    }
}
