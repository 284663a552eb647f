//! Checks a list of operations as a whole, then carries it out. Layer 1, pure.
//!
//! yrs cannot roll back and panics on positions beyond the end, so nothing may fail once its transaction is open.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use ::yrs::{Any, Array, Map, ReadTxn, Text, TransactionMut, WriteTxn, types::Attrs};

use super::{
    shape::{self, Shape},
    value,
};
use crate::{
    engine::{ContainerKind, EngineError, Op, Value, inspect::yrs::CLOCK_END},
    limits,
};

/// An operation that cannot fail.
#[derive(Debug)]
enum Step {
    Put { map: Arc<str>, key: Arc<str>, value: Any },
    Remove { map: Arc<str>, key: Arc<str> },
    Insert { list: Arc<str>, at: usize, values: Vec<Any> },
    Cut { list: Arc<str>, range: Range<usize> },
    Write { text: Arc<str>, at: usize, chars: String },
    Erase { text: Arc<str>, range: Range<usize> },
    Format { text: Arc<str>, range: Range<usize>, attribute: Arc<str>, value: Any },
}

/// A checked list of operations.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    /// Texts with characters of two units, now or after some step.
    wide: BTreeSet<Arc<str>>,
}

/// The containers touched: what each is, and how long after the steps so far.
type Shapes = BTreeMap<Arc<str>, Shape>;

#[derive(Debug, Default)]
struct Draft {
    steps: Vec<Step>,
    shapes: Shapes,
    ticks: u64,
    bytes: usize,
}

impl Plan {
    /// Checks `ops` in order, each against the content as the ones before it leave it. `look` tells the shape of a
    /// container now; `clock` is the writer's own.
    ///
    /// # Errors
    /// `WrongType`, `OutOfRange`, `TooLarge`.
    pub(super) fn new(
        ops: &[Op],
        clock: u64,
        mut look: impl FnMut(&str) -> Option<Shape>,
    ) -> Result<(Self, Shapes), EngineError> {
        let mut plan = Draft::default();
        for op in ops {
            let container = op.container();
            let shape = plan.open(&container.name, container.kind, &mut look)?;
            plan.add(op, shape)?;
        }
        bounded("operations in one transaction", plan.ticks as usize, limits::UPDATE_OPS as usize)?;
        bounded("transaction", plan.bytes, limits::UPDATE_BYTES)?;
        bounded("clock of this replica", (clock + plan.ticks) as usize, CLOCK_END as usize)?;
        let wide = plan.shapes.iter().filter(|(_, shape)| shape.units != shape.len).map(|(name, _)| name.clone());
        Ok((Self { wide: wide.collect(), steps: plan.steps }, plan.shapes))
    }

    /// Carries the steps out.
    pub(super) fn run(self, txn: &mut TransactionMut<'_>) {
        for step in self.steps {
            match step {
                Step::Put { map, key, value } => {
                    txn.get_or_insert_map(map).insert(txn, key, value);
                }
                Step::Remove { map, key } => {
                    if let Some(map) = txn.get_map(map) {
                        map.remove(txn, &key);
                    }
                }
                Step::Insert { list, at, values } => {
                    txn.get_or_insert_array(list).insert_range(txn, at as u32, values);
                }
                Step::Cut { list, range } if !range.is_empty() => {
                    txn.get_or_insert_array(list).remove_range(txn, range.start as u32, range.len() as u32);
                }
                Step::Write { text, at, chars } => {
                    let wide = self.wide.contains(&text);
                    let text = txn.get_or_insert_text(text);
                    let at = shape::units(&text, txn, at..at, wide);
                    text.insert(txn, at.start, &chars);
                }
                Step::Erase { text, range } if !range.is_empty() => {
                    let wide = self.wide.contains(&text);
                    let text = txn.get_or_insert_text(text);
                    let range = shape::units(&text, txn, range, wide);
                    text.remove_range(txn, range.start, range.end - range.start);
                }
                Step::Format { text, range, attribute, value } if !range.is_empty() => {
                    let wide = self.wide.contains(&text);
                    let text = txn.get_or_insert_text(text);
                    let range = shape::units(&text, txn, range, wide);
                    text.format(txn, range.start, range.end - range.start, Attrs::from([(attribute, value)]));
                }
                Step::Cut { .. } | Step::Erase { .. } | Step::Format { .. } => {}
            }
        }
    }
}

impl Draft {
    fn open(
        &mut self,
        name: &Arc<str>,
        kind: ContainerKind,
        look: &mut impl FnMut(&str) -> Option<Shape>,
    ) -> Result<Shape, EngineError> {
        if let Some(shape) = self.shapes.get(name) {
            return check(name, kind, *shape);
        }
        bounded_with(|| format!("name `{}`", short(name)), name.len(), limits::CONTAINER_NAME_BYTES)?;
        bounded_with(|| format!("nesting of `{name}`"), name.split('/').count(), limits::CONTAINER_SEGMENTS)?;
        let shape = look(name).unwrap_or(Shape { kind, len: 0, units: 0, mixed: false });
        check(name, kind, shape)?;
        self.bytes += name.len() + 16;
        self.shapes.insert(name.clone(), shape);
        Ok(shape)
    }

    fn add(&mut self, op: &Op, shape: Shape) -> Result<(), EngineError> {
        self.bytes += 32;
        match op {
            Op::MapPut { map, key, value } => {
                let value = self.map_value(map, key, value)?;
                self.steps.push(Step::Put { map: map.clone(), key: key.clone(), value });
            }
            Op::MapRemove { map, key } => {
                self.ticks += 1;
                self.steps.push(Step::Remove { map: map.clone(), key: key.clone() });
            }
            Op::ListInsert { list, index, values } => {
                let at = position(list, index.unwrap_or(shape.len), shape)?;
                let values = self.list_values(list, values)?;
                self.resize(list, values.len(), 0, 0..0);
                self.steps.push(Step::Insert { list: list.clone(), at, values });
            }
            Op::ListRemove { list, range } => {
                let range = run(list, range, shape)?;
                self.resize(list, 0, 0, range.clone());
                self.steps.push(Step::Cut { list: list.clone(), range });
            }
            Op::TextInsert { text, index, chars } => {
                let at = position(text, index.unwrap_or(shape.len), shape)?;
                let (scalars, units) = (chars.chars().count(), chars.encode_utf16().count());
                self.bytes += chars.len();
                self.ticks += units as u64;
                self.resize(text, scalars, units - scalars, 0..0);
                self.steps.push(Step::Write { text: text.clone(), at, chars: chars.clone() });
            }
            Op::TextRemove { text, range } => {
                let range = run(text, range, shape)?;
                self.resize(text, 0, 0, range.clone());
                self.steps.push(Step::Erase { text: text.clone(), range });
            }
            Op::TextFormat { text, range, attribute, value } => {
                let range = run(text, range, shape)?;
                let value = self.attribute_value(text, attribute, value)?;
                self.steps.push(Step::Format { text: text.clone(), range, attribute: attribute.clone(), value });
            }
        }
        Ok(())
    }

    fn map_value(&mut self, map: &str, key: &str, value: &Value) -> Result<Any, EngineError> {
        bounded_with(|| format!("key `{}`", short(key)), key.len(), limits::KEY_BYTES)?;
        self.bytes += key.len() + value::measure(value, || format!("value of `{map}/{key}`"))?;
        self.ticks += value::count(value) as u64;
        Ok(value::to_any(value))
    }

    fn list_values(&mut self, list: &str, values: &[Value]) -> Result<Vec<Any>, EngineError> {
        for value in values {
            self.bytes += value::measure(value, || format!("value in `{list}`"))?;
            self.ticks += value::count(value) as u64;
        }
        Ok(values.iter().map(value::to_any).collect())
    }

    fn attribute_value(&mut self, text: &str, attribute: &str, value: &Value) -> Result<Any, EngineError> {
        bounded_with(|| format!("attribute `{}`", short(attribute)), attribute.len(), limits::KEY_BYTES)?;
        let size = value::measure(value, || format!("attribute `{attribute}` of `{text}`"))?;
        // An attribute is written twice, where it begins and where it ends, as JSON: escapes take up to six bytes.
        self.bytes += 2 * (attribute.len() + 6 * size);
        self.ticks += 4;
        value::to_attribute(value, attribute)
    }

    fn resize(&mut self, name: &Arc<str>, added: usize, wide: usize, removed: Range<usize>) {
        if let Some(shape) = self.shapes.get_mut(name) {
            shape.len = shape.len + added - removed.len();
            // Units only grow here: how many the removed characters took is not known before they are read. They are
            // compared with the length alone, and too many merely mean that a text is read where it need not be.
            shape.units = shape.units + added + wide - removed.len();
        }
    }
}

fn check(name: &str, expected: ContainerKind, shape: Shape) -> Result<Shape, EngineError> {
    let found = match shape.kind {
        ContainerKind::Text if shape.mixed && expected == ContainerKind::Text => ContainerKind::List,
        found => found,
    };
    if found == expected {
        return Ok(shape);
    }
    Err(EngineError::WrongType { name: short(name), expected, found })
}

fn position(name: &str, index: usize, shape: Shape) -> Result<usize, EngineError> {
    if index > shape.len {
        return Err(EngineError::OutOfRange { name: name.to_owned(), index, len: shape.len });
    }
    Ok(index)
}

/// A run within the bounds; one that ends before it starts is empty.
fn run(name: &str, range: &Range<usize>, shape: Shape) -> Result<Range<usize>, EngineError> {
    let furthest = range.start.max(range.end);
    position(name, furthest, shape)?;
    Ok(range.start..range.end.max(range.start))
}

fn bounded(what: &str, size: usize, max: usize) -> Result<(), EngineError> {
    bounded_with(|| what.to_owned(), size, max)
}

fn bounded_with(what: impl Fn() -> String, size: usize, max: usize) -> Result<(), EngineError> {
    if size > max {
        return Err(EngineError::TooLarge { what: what(), size, max });
    }
    Ok(())
}

/// The start of a name that may be too long to repeat in a message.
fn short(name: &str) -> String {
    name.chars().take(80).collect()
}
