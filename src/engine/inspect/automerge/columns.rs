//! The columns that change chunks and document chunks share: where an operation acts, what it does and its value.
//! Layer 1.

use super::{
    super::EngineError,
    reader::{Deltas, Flags, Reader, Runs, refused},
};

/// Counters and increments beyond this are refused: reading a counter adds its increments up, at most 2^31 of them
/// fit a document, and an overflow would panic at every reader.
const COUNTER_MAX: i64 = 1 << 32;

const DEFLATED: u64 = 0b1000;

/// Codes of operations in the action column.
pub(super) mod action {
    pub(in super::super) const MAKE_MAP: u64 = 0;
    pub(in super::super) const SET: u64 = 1;
    pub(in super::super) const MAKE_LIST: u64 = 2;
    pub(in super::super) const DELETE: u64 = 3;
    pub(in super::super) const MAKE_TEXT: u64 = 4;
    pub(in super::super) const INCREMENT: u64 = 5;
    pub(in super::super) const MAKE_TABLE: u64 = 6;
    pub(in super::super) const MARK: u64 = 7;
}

/// Column numbers: `id << 4 | type`.
pub(super) mod column {
    pub(in super::super) const OBJECT_ACTOR: u64 = 0x01;
    pub(in super::super) const OBJECT_COUNTER: u64 = 0x02;
    pub(in super::super) const KEY_ACTOR: u64 = 0x11;
    pub(in super::super) const KEY_COUNTER: u64 = 0x13;
    pub(in super::super) const KEY_TEXT: u64 = 0x15;
    pub(in super::super) const ID_ACTOR: u64 = 0x21;
    pub(in super::super) const ID_COUNTER: u64 = 0x23;
    pub(in super::super) const INSERT: u64 = 0x34;
    pub(in super::super) const ACTION: u64 = 0x42;
    pub(in super::super) const VALUE_META: u64 = 0x56;
    pub(in super::super) const VALUE: u64 = 0x57;
    pub(in super::super) const PRED_COUNT: u64 = 0x70;
    pub(in super::super) const PRED_ACTOR: u64 = 0x71;
    pub(in super::super) const PRED_COUNTER: u64 = 0x73;
    pub(in super::super) const SUCC_COUNT: u64 = 0x80;
    pub(in super::super) const SUCC_ACTOR: u64 = 0x81;
    pub(in super::super) const SUCC_COUNTER: u64 = 0x83;
    pub(in super::super) const EXPAND: u64 = 0x94;
    pub(in super::super) const MARK_NAME: u64 = 0xa5;
    /// In the table of changes of a document chunk.
    pub(in super::super) const CHANGE_ACTOR: u64 = 0x01;
    pub(in super::super) const CHANGE_SEQ: u64 = 0x03;
    pub(in super::super) const CHANGE_MAX_OP: u64 = 0x13;
    pub(in super::super) const CHANGE_TIME: u64 = 0x23;
    pub(in super::super) const CHANGE_MESSAGE: u64 = 0x35;
    pub(in super::super) const CHANGE_DEPS_COUNT: u64 = 0x40;
    pub(in super::super) const CHANGE_DEPS: u64 = 0x43;
    pub(in super::super) const CHANGE_EXTRA_META: u64 = 0x56;
    pub(in super::super) const CHANGE_EXTRA: u64 = 0x57;
}

/// The table of contents in front of column data, then the data.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    lengths: Vec<(u64, u64)>,
    data: Vec<(u64, &'a [u8])>,
}

impl<'a> Columns<'a> {
    /// Reads the table of contents; every column must be among `known`, once, in order.
    pub(super) fn table(reader: &mut Reader<'a>, known: &[u64]) -> Result<Self, EngineError> {
        let count = reader.unsigned()?;
        if count > known.len() as u64 {
            return refused(format!("{count} columns, of {} known", known.len()));
        }
        let mut lengths = Vec::with_capacity(known.len());
        let mut previous = None;
        for _ in 0..count {
            let spec = reader.unsigned()?;
            if spec & DEFLATED != 0 {
                return refused(format!("column {spec:#x} is deflated: compression belongs to the session"));
            }
            if !known.contains(&spec) {
                return refused(format!("unknown column {spec:#x}"));
            }
            if previous.is_some_and(|previous| previous >= spec) {
                return refused(format!("column {spec:#x} is out of order"));
            }
            previous = Some(spec);
            lengths.push((spec, reader.unsigned()?));
        }
        Ok(Self { lengths, data: Vec::new() })
    }

    /// Reads the data the table of contents announced.
    pub(super) fn data(&mut self, reader: &mut Reader<'a>) -> Result<(), EngineError> {
        for (spec, len) in &self.lengths {
            self.data.push((*spec, reader.take(*len)?));
        }
        Ok(())
    }

    /// The bytes of one column; none when absent.
    pub(super) fn get(&self, spec: u64) -> &'a [u8] {
        self.data.iter().find(|(found, _)| *found == spec).map_or(&[], |(_, bytes)| *bytes)
    }
}

/// How many operations, and how many links, may still be read from one update.
///
/// Run lengths make a row cost nothing on the wire, but the engine spends some 150 bytes on each operation while it
/// loads, and less on each change, dependency, predecessor or successor.
#[derive(Debug)]
pub(super) struct Budget {
    ops: u64,
    ops_max: u64,
    links: u64,
    links_max: u64,
}

impl Budget {
    pub(super) const fn new(ops_max: u64, links_max: u64) -> Self {
        Self { ops: 0, ops_max, links: 0, links_max }
    }

    /// Counts one operation.
    pub(super) fn op(&mut self) -> Result<(), EngineError> {
        self.ops += 1;
        if self.ops > self.ops_max {
            return refused(format!("operations are over the limit of {} for this update", self.ops_max));
        }
        Ok(())
    }

    /// Counts changes, or references between changes or operations.
    pub(super) fn links(&mut self, count: u64) -> Result<(), EngineError> {
        self.links = self.links.saturating_add(count);
        if self.links > self.links_max {
            return refused(format!("links are over the limit of {} for this update", self.links_max));
        }
        Ok(())
    }

    /// Operations so far.
    pub(super) const fn ops(&self) -> u64 {
        self.ops
    }
}

/// An operation id: index of an actor, counter.
pub(super) type Id = (u64, u64);

/// Where in its object an operation acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Name(&'a str),
    Head,
    Element(Id),
}

/// One operation, without its id and links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// The object acted on; `None` is the root.
    pub(super) object: Option<Id>,
    pub(super) key: Key<'a>,
    pub(super) insert: bool,
    pub(super) action: u64,
    /// True at the beginning of a mark, false at its end.
    pub(super) named: bool,
}

impl Row<'_> {
    pub(super) const fn makes_object(&self) -> bool {
        matches!(self.action, action::MAKE_MAP | action::MAKE_LIST | action::MAKE_TEXT | action::MAKE_TABLE)
    }

    /// True when the object made has names, false when it has positions.
    pub(super) const fn makes_names(&self) -> bool {
        matches!(self.action, action::MAKE_MAP | action::MAKE_TABLE)
    }
}

/// Reads operations row by row.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    actors: u64,
    object_actor: Runs<'a, u64>,
    object_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Deltas<'a>,
    key_text: Runs<'a, &'a str>,
    insert: Flags<'a>,
    action: Runs<'a, u64>,
    value_meta: Runs<'a, u64>,
    value: Reader<'a>,
    expand: Flags<'a>,
    mark_name: Runs<'a, &'a str>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(columns: &Columns<'a>, actors: usize) -> Self {
        Self {
            actors: actors as u64,
            object_actor: Runs::new(columns.get(column::OBJECT_ACTOR), Reader::unsigned),
            object_counter: Runs::new(columns.get(column::OBJECT_COUNTER), Reader::unsigned),
            key_actor: Runs::new(columns.get(column::KEY_ACTOR), Reader::unsigned),
            key_counter: Deltas::new(columns.get(column::KEY_COUNTER)),
            key_text: Runs::new(columns.get(column::KEY_TEXT), Reader::text),
            insert: Flags::new(columns.get(column::INSERT)),
            action: Runs::new(columns.get(column::ACTION), Reader::unsigned),
            value_meta: Runs::new(columns.get(column::VALUE_META), Reader::unsigned),
            value: Reader::new(columns.get(column::VALUE)),
            expand: Flags::new(columns.get(column::EXPAND)),
            mark_name: Runs::new(columns.get(column::MARK_NAME), Reader::text),
        }
    }

    /// True when the column every operation has is at its end.
    pub(super) const fn is_done(&self) -> bool {
        self.action.is_done()
    }

    /// The next operation, whose counter is `counter`: it can only refer to smaller ones.
    pub(super) fn next(&mut self, counter: u64) -> Result<Row<'a>, EngineError> {
        let Some(action) = self.action.next()? else { return refused("an operation without an action") };
        if action > action::MARK {
            return refused(format!("unknown action {action}"));
        }
        let object = match (self.object_actor.next()?, self.object_counter.next()?) {
            (None, None) => None,
            (Some(actor), Some(object)) => Some(self.id(actor, object, counter)?),
            _ => return refused("half an object id"),
        };
        let key = match (self.key_text.next()?, self.key_actor.next()?, self.key_counter.next()?) {
            (Some(name), None, None) => Key::Name(name),
            (None, None, Some(0)) => Key::Head,
            (None, Some(actor), Some(element)) => Key::Element(self.id(actor, element, counter)?),
            _ => return refused("a key that is neither a name nor an element"),
        };
        let insert = self.insert.next()?;
        let expand = self.expand.next()?;
        let named = self.mark_name.next()?.is_some();
        self.value(action)?;
        let row = Row { object, key, insert, action, named };
        let sound = match key {
            Key::Name(_) => !insert,
            Key::Head => insert && object.is_some(),
            Key::Element(_) => object.is_some(),
        };
        let changes = matches!(action, action::DELETE | action::INCREMENT);
        if !sound || (insert && changes) || (action == action::MARK && !insert) {
            return refused("an operation that cannot act at its place");
        }
        if action != action::MARK && (named || expand) {
            return refused("formatting on an operation that is not a mark");
        }
        Ok(row)
    }

    /// Checks an operation id that must be older than `counter`.
    pub(super) fn id(&self, actor: u64, id: u64, counter: u64) -> Result<Id, EngineError> {
        if actor >= self.actors {
            return refused(format!("actor {actor}, of {} listed", self.actors));
        }
        if id == 0 || id >= counter {
            return refused(format!("operation {counter} refers to {id}"));
        }
        Ok((actor, id))
    }

    fn value(&mut self, action: u64) -> Result<(), EngineError> {
        let Some(meta) = self.value_meta.next()? else { return refused("an operation without a value") };
        let (code, len) = (meta & 0xf, meta >> 4);
        let bytes = self.value.take(len)?;
        let mut value = Reader::new(bytes);
        let number = match code {
            0..=2 => None,
            3 => Some(i64::try_from(value.unsigned()?).unwrap_or(i64::MAX)),
            4 | 8 | 9 => Some(value.signed()?),
            5 => {
                value.array::<8>()?;
                None
            }
            6 => match std::str::from_utf8(value.take(len)?) {
                Ok(_) => None,
                Err(error) => return refused(format!("text is not UTF-8 at byte {}", error.valid_up_to())),
            },
            _ => {
                value.take(len)?;
                None
            }
        };
        if !value.is_empty() {
            return refused(format!("a value of kind {code} with {len} bytes"));
        }
        let counts = code == 8 || action == action::INCREMENT;
        match number {
            Some(number) if counts && number.unsigned_abs() > COUNTER_MAX.unsigned_abs() => {
                refused(format!("counter moved by {number}, limit {COUNTER_MAX}"))
            }
            _ if action == action::INCREMENT && !matches!(code, 3 | 4) => refused("an increment that is no number"),
            _ if code != 0 && !matches!(action, action::SET | action::INCREMENT | action::MARK) => {
                refused("a value where there can be none")
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is left over after the last operation.
    pub(super) fn finish(&self) -> Result<(), EngineError> {
        let done = self.object_actor.is_done()
            && self.object_counter.is_done()
            && self.key_actor.is_done()
            && self.key_counter.is_done()
            && self.key_text.is_done()
            && self.insert.is_done()
            && self.value_meta.is_done()
            && self.value.is_empty()
            && self.expand.is_done()
            && self.mark_name.is_done();
        if done { Ok(()) } else { refused("a column goes on after the last operation") }
    }
}

/// A column group of operation ids: predecessors or successors.
#[derive(Debug)]
pub(super) struct Links<'a> {
    counts: Runs<'a, u64>,
    actors: Runs<'a, u64>,
    counters: Deltas<'a>,
}

impl<'a> Links<'a> {
    pub(super) const fn new(counts: &'a [u8], actors: &'a [u8], counters: &'a [u8]) -> Self {
        Self {
            counts: Runs::new(counts, Reader::unsigned),
            actors: Runs::new(actors, Reader::unsigned),
            counters: Deltas::new(counters),
        }
    }

    /// How many links the next operation has.
    pub(super) fn count(&mut self, budget: &mut Budget) -> Result<u64, EngineError> {
        let Some(count) = self.counts.next()? else { return refused("an operation without a number of links") };
        budget.links(count)?;
        Ok(count)
    }

    pub(super) fn next(&mut self) -> Result<Id, EngineError> {
        match (self.actors.next()?, self.counters.next()?) {
            (Some(actor), Some(counter)) => Ok((actor, counter)),
            _ => refused("half a link"),
        }
    }

    pub(super) fn finish(&self) -> Result<(), EngineError> {
        if self.counts.is_done() && self.actors.is_done() && self.counters.is_done() {
            Ok(())
        } else {
            refused("links go on after the last operation")
        }
    }
}
