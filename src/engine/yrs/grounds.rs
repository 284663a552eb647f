//! In which shared type every block lies, and which blocks contradict themselves about their place. Layer 1, pure.
//!
//! A block names its parent only when it has no neighbours; otherwise it lies where they do. yrs believes the left one
//! and links the block to both: where they lie in different types, two replicas with the same blocks show different
//! content, depending on the order in which these came. The same goes for a block whose right neighbour comes before
//! its left one: where both are in one block, yrs splits that under its own pointer to the left one. No honest writer
//! makes such blocks.
//!
//! What was collected lies nowhere and agrees with everything: its type is gone, and a replica that was loaded since
//! does not know it.

use std::collections::BTreeMap;

use crate::engine::{
    EngineError,
    inspect::yrs::{Place, Placed, lib0::Id},
};

/// A shared type, as sequence or as map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ground {
    /// Zero: nowhere.
    parent: u32,
    keyed: bool,
}

const NOWHERE: Ground = Ground { parent: 0, keyed: false };

/// The blocks of one writer. Their clocks have no gaps, so the starts of the runs say everything. Within a run of a
/// sequence every element is written behind the one before it, and so lies behind it ever after.
#[derive(Debug, Default)]
struct Runs {
    starts: Vec<(u32, Ground)>,
    end: u64,
}

/// Where the blocks of a document lie.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    writers: BTreeMap<u64, Runs>,
    roots: BTreeMap<Box<str>, u32>,
    types: BTreeMap<Id, u32>,
    /// Runs and end of the writers that entered something since the last [`Grounds::settle`], as they were then.
    before: BTreeMap<u64, (usize, u64)>,
}

impl Grounds {
    /// Notes where the blocks lie. Each comes after those it refers to.
    ///
    /// # Errors
    /// `Refused`.
    pub(super) fn enter_all(&mut self, blocks: &[Placed<'_>]) -> Result<(), EngineError> {
        blocks.iter().try_for_each(|block| self.enter(block))
    }

    /// Notes where a block lies; what it refers to is known.
    ///
    /// # Errors
    /// `Refused` when that is in two places at once.
    pub(super) fn enter(&mut self, block: &Placed<'_>) -> Result<(), EngineError> {
        let (writer, keyed) = (block.writer, block.keyed);
        let end = self.writers.get(&writer).map_or(0, |runs| runs.end);
        if block.to <= end {
            return Ok(());
        }
        let mut ground = match block.place {
            Place::Gap => return Ok(()),
            Place::Nowhere => NOWHERE,
            Place::Root(name) => Ground { parent: self.root(name), keyed },
            Place::Inside(id) => Ground { parent: self.inside(id), keyed },
            Place::Beside(left, right) => {
                if let (Some(left), Some(right)) = (left, right)
                    && self.is_at_or_before(right, left)
                {
                    return Err(contradiction(block, "is put in front of what it follows"));
                }
                let (left, right) = (left.map(|id| self.find(id)), right.map(|id| self.find(id)));
                // Map entries follow one another; nothing is ever put in front of one.
                if right.is_some_and(|right| right.keyed) {
                    return Err(contradiction(block, "is put in front of a map entry"));
                }
                meet(left, right).ok_or_else(|| contradiction(block, "has neighbours in different containers"))?
            }
        };
        let mut continues = ground.keyed || ground == NOWHERE || follows(block);
        if block.from < end {
            continues = true;
            // Of a block known in part, the rest follows that part wherever the block says it is.
            let known = self.find((writer, end - 1));
            ground = meet(Some(known), Some(ground))
                .ok_or_else(|| contradiction(block, "is in another container than its start"))?;
        }
        let runs = self.writers.entry(writer).or_default();
        self.before.entry(writer).or_insert((runs.starts.len(), runs.end));
        if !continues || runs.starts.last().is_none_or(|(_, last)| *last != ground) {
            runs.starts.push((end as u32, ground));
        }
        runs.end = block.to;
        Ok(())
    }

    /// Keeps what was entered.
    pub(super) fn settle(&mut self) {
        self.before.clear();
    }

    /// Forgets what was entered since the last [`Grounds::settle`].
    pub(super) fn roll_back(&mut self) {
        for (writer, (len, end)) in std::mem::take(&mut self.before) {
            if let Some(runs) = self.writers.get_mut(&writer) {
                runs.starts.truncate(len);
                runs.end = end;
            }
        }
    }

    /// True when it is certain, because one run holds both.
    fn is_at_or_before(&self, first: Id, second: Id) -> bool {
        let run = self.run(second).filter(|(_, ground)| *ground != NOWHERE);
        first.0 == second.0 && first.1 <= second.1 && run.is_some_and(|(start, _)| u64::from(start) <= first.1)
    }

    fn find(&self, id: Id) -> Ground {
        self.run(id).map_or(NOWHERE, |(_, ground)| ground)
    }

    fn run(&self, (writer, clock): Id) -> Option<(u32, Ground)> {
        let runs = self.writers.get(&writer).filter(|runs| clock < runs.end)?;
        let after = runs.starts.partition_point(|(start, _)| u64::from(*start) <= clock);
        runs.starts.get(after.checked_sub(1)?).copied()
    }

    fn root(&mut self, name: &str) -> u32 {
        if let Some(known) = self.roots.get(name) {
            return *known;
        }
        let next = self.next();
        self.roots.insert(name.into(), next);
        next
    }

    fn inside(&mut self, id: Id) -> u32 {
        let next = self.next();
        *self.types.entry(id).or_insert(next)
    }

    fn next(&self) -> u32 {
        (self.roots.len() + self.types.len() + 1) as u32
    }
}

/// It is written behind its writer's block before it.
fn follows(block: &Placed<'_>) -> bool {
    matches!(block.place, Place::Beside(Some((writer, clock)), _) if writer == block.writer && clock + 1 == block.from)
}

/// Where something lies that lies in both.
fn meet(left: Option<Ground>, right: Option<Ground>) -> Option<Ground> {
    match (left.unwrap_or(NOWHERE), right.unwrap_or(NOWHERE)) {
        (NOWHERE, ground) | (ground, NOWHERE) => Some(ground),
        (left, right) => (left == right).then_some(left),
    }
}

fn contradiction(block: &Placed<'_>, what: &str) -> EngineError {
    EngineError::Refused { reason: format!("block {}:{} {what}", block.writer, block.from) }
}
