//! How deep shared types lie within each other. Layer 1, pure.
//!
//! yrs deletes nested types by recursion, so nesting must be bounded before it is integrated. An update names the
//! parent only of blocks without neighbours; for all others it is that of the neighbour, perhaps in another update.
//! Content written through this library never nests, so this costs nothing unless a plain Yjs client wrote here.

use std::{collections::BTreeMap, ops::Range};

use super::lib0::{Flaw, Id};
use crate::limits;

/// Where a block lies.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Place<'a> {
    /// In the root type of this name.
    Root(&'a str),
    /// In the shared type that the block of this id holds.
    Inside(Id),
    /// Wherever these neighbours lie: after the first and before the second. At least one is there.
    Beside(Option<Id>, Option<Id>),
    /// Nowhere any more: collected.
    Nowhere,
    /// Not a block but a gap in the clocks.
    Gap,
}

/// A block's clocks, place and bytes.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Placed<'a> {
    pub(in crate::engine) writer: u64,
    pub(in crate::engine) from: u64,
    pub(in crate::engine) to: u64,
    pub(in crate::engine) place: Place<'a>,
    /// It says that it is a map entry. One beside another entry is too, without saying so.
    pub(in crate::engine) keyed: bool,
    /// Where in the update it is written.
    pub(in crate::engine) bytes: Range<usize>,
}

/// The blocks known to lie within nested types: start to end and depth. Blocks in root types are left out.
#[derive(Debug, Default)]
pub(in crate::engine) struct Nesting(BTreeMap<Id, (u64, usize)>);

impl Nesting {
    /// True when nothing nested is known.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the depth of every block of an update and keeps those within nested types; all or nothing.
    ///
    /// # Errors
    /// A type nested deeper than [`limits::VALUE_DEPTH`], or blocks that lie beside each other in a circle.
    pub(in crate::engine) fn admit(&mut self, mut blocks: Vec<Placed<'_>>) -> Result<(), Flaw> {
        blocks.retain(|block| !matches!(block.place, Place::Gap));
        blocks.sort_unstable_by_key(|block| (block.writer, block.from));
        let depths = self.resolve(&blocks)?;
        if let Some(depth) = depths.iter().find(|depth| **depth > limits::VALUE_DEPTH) {
            return Err(Flaw(format!("shared types nested {depth} deep, limit {}", limits::VALUE_DEPTH)));
        }
        for (block, depth) in blocks.iter().zip(depths).filter(|(_, depth)| *depth > 0) {
            match self.0.range_mut(..(block.writer, block.from)).next_back() {
                Some(((writer, _), (to, known))) if *writer == block.writer && *known == depth && *to >= block.from => {
                    *to = block.to.max(*to);
                }
                _ => {
                    let entry = self.0.entry((block.writer, block.from)).or_insert((block.to, depth));
                    *entry = (entry.0.max(block.to), entry.1.max(depth));
                }
            }
        }
        Ok(())
    }

    fn known(&self, id: Id) -> usize {
        match self.0.range(..=id).next_back() {
            Some(((writer, _), (to, depth))) if *writer == id.0 && id.1 < *to => *depth,
            _ => 0,
        }
    }

    /// Depth-first with its own stack: chains of neighbours are as long as texts.
    fn resolve(&self, blocks: &[Placed<'_>]) -> Result<Vec<usize>, Flaw> {
        let find = |id: Id| {
            let after = blocks.partition_point(|block| (block.writer, block.from) <= id);
            let block = after.checked_sub(1).and_then(|index| blocks.get(index))?;
            (block.writer == id.0 && id.1 < block.to).then_some(after - 1)
        };
        const NEW: usize = usize::MAX;
        const ENTERED: usize = usize::MAX - 1;
        let mut depths = vec![NEW; blocks.len()];
        let mut stack = Vec::new();
        for start in 0..blocks.len() {
            stack.push(start);
            while let Some(&index) = stack.last() {
                if depths[index] < ENTERED {
                    stack.pop();
                    continue;
                }
                let (sources, plus) = match blocks[index].place {
                    Place::Root(_) | Place::Nowhere | Place::Gap => ([None, None], 0),
                    Place::Inside(id) => ([Some(id), None], 1),
                    Place::Beside(left, right) => ([left, right], 0),
                };
                let (mut depth, mut open) = (0, None);
                for id in sources.into_iter().flatten() {
                    match find(id) {
                        Some(source) if depths[source] == NEW => open = Some(source),
                        Some(source) if depths[source] == ENTERED => {
                            return Err(Flaw(format!("blocks refer to each other in a circle at {}:{}", id.0, id.1)));
                        }
                        Some(source) => depth = depth.max(depths[source]),
                        None => depth = depth.max(self.known(id)),
                    }
                }
                match open {
                    Some(source) => {
                        depths[index] = ENTERED;
                        stack.push(source);
                    }
                    None => {
                        depths[index] = depth + plus;
                        stack.pop();
                    }
                }
            }
        }
        Ok(depths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(writer: u64, from: u64, place: Place<'static>) -> Placed<'static> {
        Placed { writer, from, to: from + 1, place, keyed: false, bytes: 0..0 }
    }

    fn chain(writer: u64, from: u64, count: u64) -> Vec<Placed<'static>> {
        (from..from + count).map(|clock| block(writer, clock, Place::Inside((writer, clock - 1)))).collect()
    }

    #[test]
    fn types_nest_up_to_the_limit_within_one_update_or_over_many() {
        let mut nesting = Nesting::default();
        nesting.admit(vec![block(1, 0, Place::Root("r"))]).unwrap();
        assert!(nesting.is_empty());
        nesting.admit(chain(1, 1, 40)).unwrap();
        assert!(nesting.admit(chain(1, 41, 25)).is_err());
        nesting.admit(chain(1, 41, 24)).unwrap();
        nesting.admit(vec![block(2, 0, Place::Beside(Some((1, 64)), None))]).unwrap();
        assert!(nesting.admit(vec![block(2, 1, Place::Inside((2, 0)))]).is_err());
        assert!(Nesting::default().admit(chain(1, 1, 65)).is_err());
    }

    #[test]
    fn order_within_an_update_does_not_matter() {
        let mut blocks: Vec<_> = (1..=65).map(|writer| block(writer, 0, Place::Inside((writer + 1, 0)))).collect();
        blocks.push(block(66, 0, Place::Root("r")));
        assert!(Nesting::default().admit(blocks.clone()).is_err());
        blocks.remove(0);
        assert!(Nesting::default().admit(blocks).is_ok());
    }

    #[test]
    fn circles_are_refused_and_long_rows_are_not() {
        let circle =
            vec![block(1, 0, Place::Beside(Some((2, 0)), None)), block(2, 0, Place::Beside(Some((1, 0)), None))];
        assert!(Nesting::default().admit(circle).is_err());
        let mut row = vec![block(1, 0, Place::Root("r"))];
        row.extend((1..200_000).map(|clock| block(1, clock, Place::Beside(Some((1, clock - 1)), None))));
        row.reverse();
        assert!(Nesting::default().admit(row).is_ok());
    }
}
