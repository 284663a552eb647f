//! Change chunks: one writer's commit. Layer 1.

use std::collections::BTreeMap;

use super::{
    super::EngineError,
    columns::{Budget, Columns, Id, Key, Links, Row, Rows, action, column},
    reader::{Reader, refused},
};
use crate::{
    engine::automerge::{ACTOR_BYTES, CONTAINER_DEPTH, Creation, is_creator},
    limits,
};

const COLUMNS: [u64; 14] = [
    column::OBJECT_ACTOR,
    column::OBJECT_COUNTER,
    column::KEY_ACTOR,
    column::KEY_COUNTER,
    column::KEY_TEXT,
    column::INSERT,
    column::ACTION,
    column::VALUE_META,
    column::VALUE,
    column::PRED_COUNT,
    column::PRED_ACTOR,
    column::PRED_COUNTER,
    column::EXPAND,
    column::MARK_NAME,
];

/// Seconds or milliseconds, either fits; differences between two of them must not overflow.
const TIME_MAX: u64 = 1 << 53;

/// What a change says about itself and asks of the document it is applied to.
#[derive(Debug)]
pub(in crate::engine) struct ChangeFacts<'a> {
    /// The chunk.
    pub(in crate::engine) bytes: &'a [u8],
    /// Its SHA-256, by which other changes refer to it.
    pub(in crate::engine) hash: [u8; 32],
    /// Hashes of the changes it builds on.
    pub(in crate::engine) deps: Vec<[u8; 32]>,
    /// Who wrote it.
    pub(in crate::engine) actor: &'a [u8],
    /// Its number in the writer's sequence, from 1.
    pub(in crate::engine) seq: u64,
    /// Counter of its first operation.
    pub(in crate::engine) start_op: u64,
    /// Number of operations.
    pub(in crate::engine) ops: u64,
    /// Other writers whose operations it refers to.
    pub(in crate::engine) others: Vec<&'a [u8]>,
    /// Deepest chain of objects made in it.
    pub(in crate::engine) depth: usize,
    /// Formatting: the object, and the counter of the beginning; the end has the next.
    pub(in crate::engine) marks: Vec<(Id, u64)>,
    /// It is the creation of a container, to the byte.
    pub(in crate::engine) creation: Option<Creation>,
    /// Objects of other changes that it acts on, by (index into actor and others, counter).
    pub(in crate::engine) objects: BTreeMap<Id, Use>,
    /// Objects it makes, by counter.
    pub(in crate::engine) made: BTreeMap<u64, Made>,
}

/// How a change uses an object it did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Use {
    /// The object must have names, or positions.
    pub(in crate::engine) names: bool,
    /// Levels of objects made below it.
    pub(in crate::engine) below: usize,
}

/// An object made by a change.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Made {
    /// It has names, rather than positions.
    pub(in crate::engine) names: bool,
    /// Levels below `base`, or below the root.
    pub(in crate::engine) level: usize,
    /// The object of another change it hangs from.
    pub(in crate::engine) base: Option<Id>,
}

impl<'a> ChangeFacts<'a> {
    /// The actor an [`Id`] of this change refers to.
    pub(in crate::engine) fn actor_at(&self, index: u64) -> &'a [u8] {
        match index.checked_sub(1) {
            None => self.actor,
            Some(other) => usize::try_from(other).ok().and_then(|at| self.others.get(at)).copied().unwrap_or_default(),
        }
    }

    /// Counter of its last operation; that before its first when it has none.
    pub(in crate::engine) const fn max_op(&self) -> u64 {
        self.start_op + self.ops - 1
    }

    fn enter(&mut self, row: &Row<'a>, counter: u64) -> Result<(), EngineError> {
        let names = matches!(row.key, Key::Name(_));
        let (level, base) = match row.object {
            None => (0, None),
            Some((0, object)) if object >= self.start_op => match self.made.get(&object) {
                Some(made) if made.names == names => (made.level, made.base),
                Some(_) => return refused(format!("operation {counter} treats a map as a sequence or the reverse")),
                None => return refused(format!("operation {counter} acts on {object}, which is no object")),
            },
            Some(object) => {
                let used = self.objects.entry(object).or_insert(Use { names, below: 0 });
                if used.names != names {
                    return refused(format!("operation {counter} treats a map as a sequence or the reverse"));
                }
                (0, Some(object))
            }
        };
        if row.makes_object() {
            let level = level + 1;
            if level > CONTAINER_DEPTH {
                return refused(format!("objects nested {level} deep, limit {CONTAINER_DEPTH}"));
            }
            self.depth = self.depth.max(level);
            if let Some(used) = base.and_then(|base| self.objects.get_mut(&base)) {
                used.below = used.below.max(level);
            }
            self.made.insert(counter, Made { names: row.makes_names(), level, base });
        }
        Ok(())
    }
}

/// Reads an actor: any bytes, but no more of them than a document may have to remember.
pub(super) fn read_actor<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], EngineError> {
    let len = reader.unsigned()?;
    if len == 0 || len > ACTOR_BYTES as u64 {
        return refused(format!("actor of {len} bytes, limit {ACTOR_BYTES}"));
    }
    reader.take(len)
}

/// Reads the body of a change chunk.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    body: &'a [u8],
    hash: [u8; 32],
    budget: &mut Budget,
) -> Result<ChangeFacts<'a>, EngineError> {
    let mut reader = Reader::new(body);
    let mut facts = read_head(bytes, &mut reader, hash)?;
    let mut columns = Columns::table(&mut reader, &COLUMNS)?;
    columns.data(&mut reader)?;
    if !reader.is_empty() {
        return refused(format!("{} bytes after the end of a change", reader.remaining()));
    }
    budget.links(1 + facts.deps.len() as u64)?;
    let first = read_operations(&columns, &mut facts, budget)?;
    if is_creator(facts.actor) {
        let creation = first.and_then(|row| Creation::from_operation(row.action, name_of(&row)));
        match creation {
            Some(creation) if creation.bytes() == bytes => facts.creation = Some(creation),
            _ => return refused("a change in the name of a container that is not its creation"),
        }
    }
    Ok(facts)
}

const fn name_of<'a>(row: &Row<'a>) -> &'a str {
    match row.key {
        Key::Name(name) => name,
        _ => "",
    }
}

fn read_head<'a>(bytes: &'a [u8], reader: &mut Reader<'a>, hash: [u8; 32]) -> Result<ChangeFacts<'a>, EngineError> {
    let count = reader.unsigned()?;
    if count > limits::CHANGE_DEPS as u64 {
        return refused(format!("change with {count} dependencies, limit {}", limits::CHANGE_DEPS));
    }
    let mut deps = Vec::new();
    for _ in 0..count {
        deps.push(reader.array()?);
    }
    let actor = read_actor(reader)?;
    let seq = reader.unsigned()?;
    if seq == 0 || seq >= limits::CLOCK_MAX {
        return refused(format!("change number {seq} is outside 1..{}", limits::CLOCK_MAX));
    }
    let start_op = reader.unsigned()?;
    if start_op == 0 || start_op >= limits::CLOCK_MAX {
        return refused(format!("operation {start_op} is outside 1..{}", limits::CLOCK_MAX));
    }
    let time = reader.signed()?;
    if time.unsigned_abs() > TIME_MAX {
        return refused(format!("time {time} is beyond {TIME_MAX}"));
    }
    let _message = reader.text()?;
    let count = reader.unsigned()?;
    let mut others: Vec<&[u8]> = Vec::new();
    for _ in 0..count {
        let other = read_actor(reader)?;
        if other == actor || others.last().is_some_and(|last| *last >= other) {
            return refused("actors of a change out of order");
        }
        others.push(other);
    }
    Ok(ChangeFacts {
        bytes,
        hash,
        deps,
        actor,
        seq,
        start_op,
        ops: 0,
        others,
        depth: 0,
        marks: Vec::new(),
        creation: None,
        objects: BTreeMap::new(),
        made: BTreeMap::new(),
    })
}

/// Walks the operations; gives the first when it is the only one.
fn read_operations<'a>(
    columns: &Columns<'a>,
    facts: &mut ChangeFacts<'a>,
    budget: &mut Budget,
) -> Result<Option<Row<'a>>, EngineError> {
    let mut rows = Rows::new(columns, 1 + facts.others.len());
    let mut preds =
        Links::new(columns.get(column::PRED_COUNT), columns.get(column::PRED_ACTOR), columns.get(column::PRED_COUNTER));
    let mut first = None;
    let mut open_mark: Option<Option<Id>> = None;
    while !rows.is_done() {
        budget.op()?;
        let counter = facts.start_op + facts.ops;
        if counter >= limits::CLOCK_MAX {
            return refused(format!("operation {counter} is beyond {}", limits::CLOCK_MAX));
        }
        let row = rows.next(counter)?;
        let count = preds.count(budget)?;
        for _ in 0..count {
            let (actor, pred) = preds.next()?;
            rows.id(actor, pred, counter)?;
        }
        if row.insert && count > 0 {
            return refused(format!("operation {counter} inserts and replaces"));
        }
        if count == 0 && matches!(row.action, action::DELETE | action::INCREMENT) {
            return refused(format!("operation {counter} changes nothing it names"));
        }
        open_mark = match (row.action == action::MARK, row.named, open_mark) {
            (false, _, None) => None,
            (true, true, None) => Some(row.object),
            (true, false, Some(object)) if object == row.object => None,
            _ => return refused(format!("operation {counter}: the ends of a mark must follow each other")),
        };
        if row.action == action::MARK && row.named {
            facts.marks.extend(row.object.map(|object| (object, counter)));
        }
        facts.enter(&row, counter)?;
        first = (facts.ops == 0).then_some(row);
        facts.ops += 1;
    }
    if open_mark.is_some() {
        return refused("a mark without an end");
    }
    rows.finish()?;
    preds.finish()?;
    Ok(first)
}
