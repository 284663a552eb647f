//! Ownership and continuity: which inspected updates may enter which content. One rule for both engines.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineError, UpdateInfo};
use crate::id::ReplicaId;

/// Checks a batch of inspected updates, in order, as if each had been applied before the next.
#[derive(Debug, Default)]
pub struct Admission {
    clocks: BTreeMap<u64, u64>,
    changes: BTreeSet<[u8; 32]>,
}

impl Admission {
    /// Admits `info` to the batch: insertions of every writer start at or below its known clock, deletions reach only
    /// what is known or in the update, dependencies are present. With `author`, foreign insertions are refused.
    ///
    /// # Errors
    /// `Gap` when something before it is missing (a resync mends it), or `Refused`.
    pub fn admit(
        &mut self,
        engine: &dyn Engine,
        info: &UpdateInfo,
        author: Option<ReplicaId>,
    ) -> Result<(), EngineError> {
        let known = |clocks: &BTreeMap<u64, u64>, writer: u64| {
            clocks.get(&writer).copied().unwrap_or_else(|| engine.known(writer))
        };
        let mut after = BTreeMap::new();
        for range in &info.inserts {
            if let Some(author) = author
                && range.writer != author.get()
            {
                return Err(EngineError::Refused {
                    reason: format!("writes as {:x}, but the connection belongs to {author}", range.writer),
                });
            }
            let known = after.get(&range.writer).copied().unwrap_or_else(|| known(&self.clocks, range.writer));
            if range.from > known {
                return Err(EngineError::Gap { writer: range.writer, from: range.from, known });
            }
            after.insert(range.writer, known.max(range.to));
        }
        for range in &info.deletes {
            let known = after.get(&range.writer).copied().unwrap_or_else(|| known(&self.clocks, range.writer));
            if range.to > known {
                return Err(EngineError::Gap { writer: range.writer, from: range.to, known });
            }
        }
        for (writer, need) in &info.needs {
            let known = after.get(writer).copied().unwrap_or_else(|| known(&self.clocks, *writer));
            if *need > known {
                return Err(EngineError::Gap { writer: *writer, from: *need, known });
            }
        }
        let missing = info.deps.iter().find(|hash| !self.changes.contains(*hash) && !engine.has_change(hash));
        if let Some(hash) = missing {
            let short = u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]);
            return Err(EngineError::Gap { writer: short, from: 1, known: 0 });
        }
        let writers = self.clocks.len() + after.keys().filter(|writer| !self.clocks.contains_key(writer)).count();
        let most = engine.kind().most_writers();
        if writers > most {
            return Err(EngineError::Refused { reason: format!("{writers} writers in one batch, limit {most}") });
        }
        self.clocks.extend(after);
        self.changes.extend(info.changes.iter().copied());
        Ok(())
    }
}
