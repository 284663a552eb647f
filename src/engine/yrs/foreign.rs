//! What plain Yjs clients say and want to hear: state vectors, and several updates as one. Layer 1, pure.
//!
//! A state vector is a frontier without what is deleted, its writers in any order. Who says no more than that is sent all
//! deletions, as between Yjs clients.

use std::collections::BTreeMap;

use ::yrs::{
    Update,
    encoding::write::Write,
    updates::encoder::{Encode as _, Encoder, EncoderV1},
};
use bytes::Bytes;

use super::{
    encode::Canonical,
    frontier::{self, Frontier, UNKNOWN_DELETES, writers},
    subdocs,
};
use crate::engine::{
    EngineError, guarded,
    inspect::yrs::{
        self as prescan,
        lib0::{Flaw, Reader},
    },
};

/// The frontier of a client that told its state vector.
///
/// # Errors
/// `Corrupt` when it cannot be read.
pub fn frontier_of_vector(vector: &[u8]) -> Result<Bytes, EngineError> {
    let clocks = read(vector).map_err(|flaw| EngineError::Corrupt { what: "state vector", reason: flaw.0 })?;
    Ok(frontier::encode(&clocks, &UNKNOWN_DELETES))
}

fn read(vector: &[u8]) -> Result<BTreeMap<u64, u64>, Flaw> {
    let mut reader = Reader::new(vector);
    let mut clocks = BTreeMap::new();
    for (writer, clock) in writers(&mut reader)? {
        if clock > 0 && clocks.insert(writer, clock).is_some() {
            return Err(Flaw(format!("writer {writer} is listed twice")));
        }
    }
    reader.end("state vector")?;
    Ok(clocks)
}

/// The state vector in a frontier.
///
/// # Errors
/// `Corrupt` when it cannot be read.
pub fn vector_of_frontier(frontier: &[u8]) -> Result<Bytes, EngineError> {
    let frontier = Frontier::decode(frontier)?;
    let mut encoder = EncoderV1::new();
    encoder.write_var(frontier.clocks.len() as u64);
    for (writer, clock) in &frontier.clocks {
        encoder.write_var(*writer);
        encoder.write_var(*clock);
    }
    Ok(encoder.to_vec().into())
}

/// Updates that took effect one after another, as one; `None` when they cannot be one.
pub fn merged(updates: &[Bytes]) -> Option<Bytes> {
    let merge = || {
        let read = |update: &Bytes| subdocs::decode(update, &prescan::scan(update)?.subdocs);
        let parts = updates.iter().map(read).collect::<Result<Vec<_>, EngineError>>()?;
        let mut encoder = Canonical::new();
        Update::merge_updates(parts).encode(&mut encoder);
        Ok(Bytes::from(encoder.to_vec()))
    };
    let merged = guarded(merge).ok()?;
    // The engine is not believed: nothing may be missing and nothing added.
    let mut parts = Extent::default();
    updates.iter().try_for_each(|update| parts.add(update)).ok()?;
    let mut whole = Extent::default();
    whole.add(&merged).ok()?;
    (parts.joined() == whole.joined()).then_some(merged)
}

/// What updates insert and delete.
#[derive(Default)]
struct Extent {
    inserts: Vec<(u64, u64, u64)>,
    deletes: Vec<(u64, u64, u64)>,
}

impl Extent {
    fn add(&mut self, update: &[u8]) -> Result<(), EngineError> {
        let info = prescan::scan(update)?.info;
        self.inserts.extend(info.inserts.iter().map(|range| (range.writer, range.from, range.to)));
        self.deletes.extend(info.deletes.iter().map(|range| (range.writer, range.from, range.to)));
        Ok(())
    }

    fn joined(self) -> [Vec<(u64, u64, u64)>; 2] {
        [self.inserts, self.deletes].map(|mut ranges| {
            ranges.sort_unstable();
            ranges.dedup_by(|next, last| {
                let meets = next.0 == last.0 && next.1 <= last.2;
                if meets {
                    last.2 = last.2.max(next.2);
                }
                meets
            });
            ranges
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_vector_becomes_a_frontier_and_back() {
        // As Yjs writes it: by falling client.
        let vector = [2, 9, 4, 7, 1];
        let frontier = frontier_of_vector(&vector).unwrap();
        assert_eq!(&vector_of_frontier(&frontier).unwrap()[..], [2, 7, 1, 9, 4]);
        assert!(frontier_of_vector(&[0]).unwrap().is_empty());
        assert_eq!(&vector_of_frontier(&[]).unwrap()[..], [0]);
    }

    #[test]
    fn what_is_no_state_vector_is_refused() {
        for bad in
            [&[][..], &[1], &[1, 7], &[1, 7, 1, 0], &[2, 7, 1, 7, 2], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[1, 0, 1]]
        {
            assert!(frontier_of_vector(bad).is_err(), "{bad:?}");
        }
    }
}
