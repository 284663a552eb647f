//! Which objects are finished: the floor below which nothing comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ranges;
use crate::{
    id::{ObjectId, ReplicaId},
    limits,
};

/// Objects that are finished for good, by holder and number. Only grows: what is in it is dropped, and ignored when it
/// comes again, from however stale a replica. No tombstones: finished objects of one holder are a few runs of numbers.
///
/// The join of two is their union, so replicas with the same records have dropped the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Closed(BTreeMap<ReplicaId, Ranges>);

impl Closed {
    /// True when an object is finished.
    pub fn contains(&self, object: ObjectId) -> bool {
        self.0.get(&object.holder).is_some_and(|numbers| numbers.contains(object.number))
    }

    /// Adds an object; false when it was in already.
    pub fn insert(&mut self, object: ObjectId) -> bool {
        self.0.entry(object.holder).or_default().insert(object.number, object.number)
    }

    /// Adds what `other` has; true when anything was new.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (holder, numbers) in &other.0 {
            let own = self.0.entry(*holder).or_default();
            for (first, last) in numbers.runs() {
                grew |= own.insert(*first, *last);
            }
        }
        grew
    }

    /// The runs of finished objects: holder, first and last number.
    pub fn runs(&self) -> impl Iterator<Item = (ReplicaId, u64, u64)> + '_ {
        self.0.iter().flat_map(|(holder, numbers)| numbers.runs().iter().map(|(first, last)| (*holder, *first, *last)))
    }

    /// How many runs there are with this object in. O(holders).
    pub fn runs_with(&self, object: ObjectId) -> usize {
        let touches = |number: Option<u64>| number.is_some_and(|number| self.contains(ObjectId { number, ..object }));
        let near = [Some(object.number), object.number.checked_sub(1), object.number.checked_add(1)];
        let runs = self.0.values().map(|numbers| numbers.runs().len()).sum::<usize>();
        if near.into_iter().any(touches) { runs } else { runs + 1 }
    }

    /// The highest number of a holder's finished objects; zero for none.
    pub fn last_of(&self, holder: ReplicaId) -> u64 {
        self.0.get(&holder).map_or(0, Ranges::last)
    }

    /// The bytes of its record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("every field has an encoding")
    }

    /// Reads the bytes of a record.
    ///
    /// # Errors
    /// A sentence: the writer's fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (closed, rest): (Self, _) = postcard::take_from_bytes(bytes).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes after the finished objects", rest.len()));
        }
        let runs = closed.0.values().map(|numbers| numbers.runs().len()).sum::<usize>();
        if runs > limits::CLOSED_RUNS {
            return Err(format!("{runs} runs of finished objects are over the limit of {}", limits::CLOSED_RUNS));
        }
        if !closed.0.values().all(Ranges::is_well_formed) {
            return Err("runs of finished objects out of order".to_owned());
        }
        Ok(closed)
    }
}
