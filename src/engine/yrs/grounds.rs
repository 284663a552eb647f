//! In which shared type every block lies, and which blocks contradict themselves about their place. Layer 1, pure.
//!
//! A block names its parent only when it has no neighbours; otherwise it lies where they do. yrs believes the left one
//! and links the block to both: where they lie in different types, or were never adjacent (see [`super::order`]), two
//! replicas with the same blocks show different content, depending on the order in which these came. No honest writer
//! makes such blocks.
//!
//! What was collected lies nowhere and agrees with everything nested: its type is gone, and a replica that was loaded
//! since does not know it. There the order is not known either; nobody can see it.

use std::{cmp::Ordering, collections::BTreeMap};

use super::order::{At, NodeId, Order, Sibling, UNORDERED};
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
    nested: bool,
}

const NOWHERE: Ground = Ground { parent: 0, keyed: false, nested: false };

/// Where a run begins, and where it lies.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: u32,
    ground: Ground,
    node: NodeId,
}

/// The blocks of one writer. Their clocks have no gaps, so the starts of the runs say everything. Within a run of a
/// sequence every element is written behind the one before it, and so lies behind it ever after.
#[derive(Debug, Default)]
struct Runs {
    starts: Vec<Run>,
    /// From which clock on elements of sequences were put in front of what.
    rights: Vec<(u32, Option<At>)>,
    end: u64,
}

impl Runs {
    fn index(&self, clock: u64) -> Option<usize> {
        if clock >= self.end {
            return None;
        }
        self.starts.partition_point(|run| u64::from(run.start) <= clock).checked_sub(1)
    }

    fn right(&self, clock: u32) -> Option<At> {
        let after = self.rights.partition_point(|(from, _)| *from <= clock);
        self.rights.get(after.checked_sub(1)?)?.1
    }
}

/// Lengths of what is known of a writer.
#[derive(Debug, Clone, Copy)]
struct Mark {
    starts: usize,
    rights: usize,
    end: u64,
}

/// Where the blocks of a document lie.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    writers: BTreeMap<u64, Runs>,
    roots: BTreeMap<Box<str>, u32>,
    types: BTreeMap<Id, u32>,
    order: Order,
    /// Of the writers that entered something since the last [`Grounds::settle`], what was known then.
    before: BTreeMap<u64, Mark>,
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
        let (mut left, right) = match block.place {
            Place::Beside(left, right) => (left, right),
            _ => (None, None),
        };
        let mut ground = match block.place {
            Place::Gap => return Ok(()),
            Place::Nowhere => NOWHERE,
            Place::Root(name) => Ground { parent: self.root(name), keyed, nested: false },
            Place::Inside(id) => Ground { parent: self.inside(id), keyed, nested: true },
            Place::Beside(..) => {
                let (left, right) = (left.map(|id| self.find(id)), right.map(|id| self.find(id)));
                // Map entries follow one another; nothing is ever put in front of one.
                if right.is_some_and(|right| right.keyed) {
                    return Err(contradiction(block, "is put in front of a map entry"));
                }
                // Of a root type nothing is ever collected: one of the two lay elsewhere.
                let collected = left == Some(NOWHERE) || right == Some(NOWHERE);
                if collected && [left, right].into_iter().flatten().any(|ground| ground != NOWHERE && !ground.nested) {
                    return Err(contradiction(block, "has neighbours in different containers"));
                }
                meet(left, right).ok_or_else(|| contradiction(block, "has neighbours in different containers"))?
            }
        };
        let mut continues = ground.keyed || ground == NOWHERE || follows(block);
        if block.from < end {
            continues = true;
            // Of a block known in part, the rest follows that part wherever the block says it is.
            left = Some((writer, end - 1));
            let known = self.find((writer, end - 1));
            ground = meet(Some(known), Some(ground))
                .ok_or_else(|| contradiction(block, "is in another container than its start"))?;
        }
        let beside = self.beside(ground, left, right);
        let adjacent = match beside {
            Some((left, right)) => self.may_lie_between(left, right),
            None => !self.is_backwards(left, right),
        };
        if !adjacent {
            return Err(contradiction(block, "names neighbours that were never adjacent"));
        }
        self.push(block, end as u32, ground, continues, beside);
        Ok(())
    }

    /// Where the neighbours are, when the order of all of them is known.
    fn beside(&self, ground: Ground, left: Option<Id>, right: Option<Id>) -> Option<(Option<At>, Option<At>)> {
        if ground.keyed || ground == NOWHERE {
            return None;
        }
        let left = left.map(|id| self.at(id));
        let right = right.map(|id| self.at(id));
        (left != Some(None) && right != Some(None)).then_some((left.flatten(), right.flatten()))
    }

    /// The rules of [`super::order`], the usual cases first: a block that lies between the same neighbours as `left` or
    /// as `right` does, on its own side, passes because that one has passed.
    fn may_lie_between(&self, left: Option<At>, right: Option<At>) -> bool {
        let Some(right) = right else { return true };
        let (Some(left), before) = (left, self.order.origin(right)) else { return self.order.origin(right).is_none() };
        before == Some(left)
            || self.right(left) == Some(right)
            || self.order.compare(left, right) == Ordering::Less
                && before.is_none_or(|before| self.order.compare(before, left) == Ordering::Less)
    }

    /// The right one is certain not to come after the left one, because one run holds both.
    fn is_backwards(&self, left: Option<Id>, right: Option<Id>) -> bool {
        let (Some(left), Some(right)) = (left, right) else { return false };
        let run = self.run(left).filter(|run| run.ground != NOWHERE);
        right.0 == left.0 && right.1 <= left.1 && run.is_some_and(|run| u64::from(run.start) <= right.1)
    }

    fn push(
        &mut self,
        block: &Placed<'_>,
        start: u32,
        ground: Ground,
        continues: bool,
        beside: Option<(Option<At>, Option<At>)>,
    ) {
        let runs = self.writers.entry(block.writer).or_default();
        let mark = Mark { starts: runs.starts.len(), rights: runs.rights.len(), end: runs.end };
        self.before.entry(block.writer).or_insert(mark);
        let last = runs.starts.last().copied().filter(|last| continues && last.ground == ground);
        if let Some((_, right)) = beside
            && runs.rights.last().is_none_or(|(_, last)| *last != right)
        {
            runs.rights.push((start, right));
        }
        runs.end = block.to;
        let same_run = last.is_some_and(|last| (last.node == UNORDERED) == beside.is_none());
        let node = match (beside, last) {
            (None, _) => UNORDERED,
            (Some(_), Some(last)) if same_run => last.node,
            (Some((left, _)), _) => {
                let parent = left.unwrap_or(At::start_of(ground.parent));
                self.order.add(block.writer, start, parent)
            }
        };
        if !same_run {
            runs.starts.push(Run { start, ground, node });
        }
        if let Some((left, _)) = beside {
            self.join_siblings(start, node, same_run, left.unwrap_or(At::start_of(ground.parent)));
        }
    }

    /// Puts the element at `start` among the children of `parent`.
    fn join_siblings(&mut self, start: u32, node: NodeId, same_run: bool, parent: At) {
        let writers = &self.writers;
        let look = |writer: u64, clock: u32| {
            let right = writers.get(&writer).and_then(|runs| runs.right(clock));
            Sibling { writer, right }
        };
        if same_run {
            let parent = At { node, clock: start - 1 };
            if self.order.has_children(parent) {
                self.order.put_next(parent, look);
            }
        } else {
            let continued = self.is_continued(parent);
            self.order.put(parent, node, continued, look);
        }
    }

    fn is_continued(&self, at: At) -> bool {
        let Some(writer) = self.order.writer(at) else { return false };
        let Some(runs) = self.writers.get(&writer) else { return false };
        runs.index(u64::from(at.clock) + 1)
            .and_then(|index| runs.starts.get(index))
            .is_some_and(|run| run.node == at.node)
    }

    /// Keeps what was entered.
    pub(super) fn settle(&mut self) {
        self.before.clear();
        self.order.settle();
    }

    /// Forgets what was entered since the last [`Grounds::settle`].
    pub(super) fn roll_back(&mut self) {
        for (writer, mark) in std::mem::take(&mut self.before) {
            if let Some(runs) = self.writers.get_mut(&writer) {
                runs.starts.truncate(mark.starts);
                runs.rights.truncate(mark.rights);
                runs.end = mark.end;
            }
        }
        self.order.roll_back();
    }

    fn find(&self, id: Id) -> Ground {
        self.run(id).map_or(NOWHERE, |run| run.ground)
    }

    fn at(&self, id: Id) -> Option<At> {
        let run = self.run(id).filter(|run| run.node != UNORDERED)?;
        Some(At { node: run.node, clock: id.1 as u32 })
    }

    fn right(&self, at: At) -> Option<At> {
        self.writers.get(&self.order.writer(at)?)?.right(at.clock)
    }

    fn run(&self, (writer, clock): Id) -> Option<Run> {
        let runs = self.writers.get(&writer)?;
        runs.starts.get(runs.index(clock)?).copied()
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
