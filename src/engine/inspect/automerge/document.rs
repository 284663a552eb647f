//! Document chunks: the whole history of a document, in columns. Layer 1.

use std::collections::BTreeMap;

use super::{
    super::{ClockRange, EngineError},
    change::read_actor,
    columns::{Budget, Columns, Id, Key, Links, Rows, action, column},
    reader::{Deltas, Reader, Runs, refused},
};
use crate::{
    engine::automerge::{ACTORS, CONTAINER_DEPTH, is_creator, writer_of},
    limits,
};

const CHANGE_COLUMNS: [u64; 9] = [
    column::CHANGE_ACTOR,
    column::CHANGE_SEQ,
    column::CHANGE_MAX_OP,
    column::CHANGE_TIME,
    column::CHANGE_MESSAGE,
    column::CHANGE_DEPS_COUNT,
    column::CHANGE_DEPS,
    column::CHANGE_EXTRA_META,
    column::CHANGE_EXTRA,
];

const OPERATION_COLUMNS: [u64; 16] = [
    column::OBJECT_ACTOR,
    column::OBJECT_COUNTER,
    column::KEY_ACTOR,
    column::KEY_COUNTER,
    column::KEY_TEXT,
    column::ID_ACTOR,
    column::ID_COUNTER,
    column::INSERT,
    column::ACTION,
    column::VALUE_META,
    column::VALUE,
    column::SUCC_COUNT,
    column::SUCC_ACTOR,
    column::SUCC_COUNTER,
    column::EXPAND,
    column::MARK_NAME,
];

/// What a document chunk says about itself.
#[derive(Debug)]
pub(in crate::engine) struct DocumentFacts<'a> {
    /// The chunk.
    pub(in crate::engine) bytes: &'a [u8],
    /// Hashes of the changes nothing in it builds on.
    pub(in crate::engine) heads: Vec<[u8; 32]>,
    /// Changes by writer; creations of containers are nobody's.
    pub(in crate::engine) inserts: Vec<ClockRange>,
    /// Deepest nesting of objects.
    pub(in crate::engine) depth: usize,
}

/// Reads the body of a document chunk.
pub(super) fn read<'a>(bytes: &'a [u8], body: &'a [u8], budget: &mut Budget) -> Result<DocumentFacts<'a>, EngineError> {
    let mut reader = Reader::new(body);
    let actors = read_actors(&mut reader)?;
    let heads = read_heads(&mut reader)?;
    let mut changes = Columns::table(&mut reader, &CHANGE_COLUMNS)?;
    let mut operations = Columns::table(&mut reader, &OPERATION_COLUMNS)?;
    changes.data(&mut reader)?;
    operations.data(&mut reader)?;
    let (clocks, max_op, rows) = read_changes(&changes, actors.len(), budget)?;
    if !reader.is_empty() {
        for _ in &heads {
            let index = reader.unsigned()?;
            if index >= rows {
                return refused(format!("head {index}, of {rows} changes"));
            }
        }
    }
    if !reader.is_empty() {
        return refused(format!("{} bytes after the end of a document", reader.remaining()));
    }
    let depth = read_operations(&operations, actors.len(), max_op, budget)?;
    let mut inserts = Vec::new();
    for (actor, changes) in actors.iter().zip(clocks) {
        match (is_creator(actor), changes) {
            (_, 0) => return refused("an actor without a change"),
            (true, 1) => {}
            (true, _) => return refused("a container that was changed in its own name"),
            (false, _) => inserts.push(ClockRange { writer: writer_of(actor), from: 0, to: changes }),
        }
    }
    Ok(DocumentFacts { bytes, heads, inserts, depth })
}

fn read_actors<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, EngineError> {
    let count = reader.unsigned()?;
    if count > ACTORS as u64 {
        return refused(format!("{count} actors, limit {ACTORS}"));
    }
    let mut actors: Vec<&[u8]> = Vec::new();
    for _ in 0..count {
        let actor = read_actor(reader)?;
        if actors.last().is_some_and(|last| *last >= actor) {
            return refused("actors of a document out of order");
        }
        actors.push(actor);
    }
    Ok(actors)
}

fn read_heads(reader: &mut Reader<'_>) -> Result<Vec<[u8; 32]>, EngineError> {
    let count = reader.unsigned()?;
    if count > ACTORS as u64 {
        return refused(format!("{count} heads, limit {ACTORS}"));
    }
    let mut heads: Vec<[u8; 32]> = Vec::new();
    for _ in 0..count {
        let head = reader.array()?;
        if heads.last().is_some_and(|last| *last >= head) {
            return refused("heads of a document out of order");
        }
        heads.push(head);
    }
    Ok(heads)
}

/// Walks the table of changes: changes of each actor, the highest operation, and the number of changes.
fn read_changes(
    columns: &Columns<'_>,
    actors: usize,
    budget: &mut Budget,
) -> Result<(Vec<u64>, u64, u64), EngineError> {
    let mut actor = Runs::new(columns.get(column::CHANGE_ACTOR), Reader::unsigned);
    let mut seq = Deltas::new(columns.get(column::CHANGE_SEQ));
    let mut max_op = Deltas::new(columns.get(column::CHANGE_MAX_OP));
    let mut time = Deltas::new(columns.get(column::CHANGE_TIME));
    let mut message = Runs::new(columns.get(column::CHANGE_MESSAGE), Reader::text);
    let mut deps_count = Runs::new(columns.get(column::CHANGE_DEPS_COUNT), Reader::unsigned);
    let mut deps = Deltas::new(columns.get(column::CHANGE_DEPS));
    let mut extra = Runs::new(columns.get(column::CHANGE_EXTRA_META), Reader::unsigned);
    if !columns.get(column::CHANGE_EXTRA).is_empty() {
        return refused("changes with a footer");
    }
    let mut clocks = vec![0_u64; actors];
    let mut tops: Vec<u64> = Vec::new();
    let mut highest = 0;
    while !actor.is_done() {
        budget.links(1)?;
        let (Some(writer), Some(number), Some(top)) = (actor.next()?, seq.next()?, max_op.next()?) else {
            return refused("a change without actor, number or operations");
        };
        let Some(clock) = usize::try_from(writer).ok().and_then(|writer| clocks.get_mut(writer)) else {
            return refused(format!("actor {writer}, of {actors} listed"));
        };
        if number != *clock + 1 || number >= limits::CLOCK_MAX || top >= limits::CLOCK_MAX {
            return refused(format!("change {number} up to operation {top} follows change {clock}"));
        }
        *clock = number;
        time.next_signed()?;
        message.next()?;
        extra.next()?;
        let count = deps_count.next()?.unwrap_or(0);
        if count > limits::CHANGE_DEPS as u64 {
            return refused(format!("change with {count} dependencies, limit {}", limits::CHANGE_DEPS));
        }
        budget.links(count)?;
        let mut before = 0;
        for _ in 0..count {
            let dep = deps.next()?.and_then(|dep| usize::try_from(dep).ok());
            match dep.and_then(|dep| tops.get(dep)) {
                Some(top) => before = before.max(*top),
                None => return refused("a change that builds on a later one"),
            }
        }
        if top < before {
            return refused(format!("operation {top} after operation {before}"));
        }
        highest = highest.max(top);
        tops.push(top);
    }
    let done = seq.is_done()
        && max_op.is_done()
        && time.is_done()
        && message.is_done()
        && deps_count.is_done()
        && deps.is_done()
        && extra.is_done();
    if done { Ok((clocks, highest, tops.len() as u64)) } else { refused("a column goes on after the last change") }
}

/// Walks the operations, which are sorted by object; gives the deepest nesting.
fn read_operations(
    columns: &Columns<'_>,
    actors: usize,
    max_op: u64,
    budget: &mut Budget,
) -> Result<usize, EngineError> {
    let mut rows = Rows::new(columns, actors);
    let mut id_actor = Runs::new(columns.get(column::ID_ACTOR), Reader::unsigned);
    let mut id_counter = Deltas::new(columns.get(column::ID_COUNTER));
    let mut succs =
        Links::new(columns.get(column::SUCC_COUNT), columns.get(column::SUCC_ACTOR), columns.get(column::SUCC_COUNTER));
    let mut made: BTreeMap<Id, (usize, bool)> = BTreeMap::new();
    let mut deepest = 0;
    while !rows.is_done() {
        budget.op()?;
        let (Some(actor), Some(counter)) = (id_actor.next()?, id_counter.next()?) else {
            return refused("an operation without an id");
        };
        rows.id(actor, counter, max_op + 1)?;
        let row = rows.next(counter)?;
        if row.action == action::DELETE {
            return refused("a deletion among the operations of a document");
        }
        let names = matches!(row.key, Key::Name(_));
        let level = match row.object {
            None => 0,
            // An object is made by an operation on its parent, which is older, so its row came before.
            Some(object) => match made.get(&object) {
                Some((level, has_names)) if *has_names == names => *level,
                _ => return refused(format!("operation {counter} acts on what is no such object")),
            },
        };
        if row.makes_object() {
            if level >= CONTAINER_DEPTH {
                return refused(format!("objects nested {} deep, limit {CONTAINER_DEPTH}", level + 1));
            }
            deepest = deepest.max(level + 1);
            made.insert((actor, counter), (level + 1, row.makes_names()));
        }
        for _ in 0..succs.count(budget)? {
            let (actor, successor) = succs.next()?;
            rows.id(actor, successor, max_op + 1)?;
            if successor <= counter {
                return refused(format!("operation {successor} follows {counter}"));
            }
        }
    }
    rows.finish()?;
    succs.finish()?;
    if id_actor.is_done() && id_counter.is_done() {
        Ok(deepest)
    } else {
        refused("a column goes on after the last operation")
    }
}
