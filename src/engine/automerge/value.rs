//! Values between JSON and automerge: composite values are objects, written and read as a whole. Layer 1.

use std::io;

use automerge::{
    Automerge, AutomergeError, ChangeHash, ObjId, ObjType, ReadDoc, ScalarValue, Value as Stored, ValueRef,
    transaction::{Transactable, Transaction},
};
use serde_json::Number;

use super::super::{EngineError, Value};
use crate::limits;

/// Objects on the way from the root to a scalar: a container, and the levels of one value.
pub(in crate::engine) const CONTAINER_DEPTH: usize = limits::VALUE_DEPTH + 1;

/// The level of a composite value in a container, which is at level 1 itself.
pub(super) const VALUE_LEVEL: usize = 2;

/// What a value costs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Operations to write it.
    pub(super) ops: usize,
    /// Bytes of its JSON text.
    pub(super) bytes: usize,
}

/// Checks depth, size and keys of a value. The caller's value may be nested without limit, so nothing recurses before
/// its depth is known.
pub(super) fn measure(what: &str, value: &Value) -> Result<Cost, EngineError> {
    let mut cost = Cost::default();
    let mut open = vec![(value, 0)];
    while let Some((value, above)) = open.pop() {
        cost.ops += 1;
        let depth = above + 1;
        let composite = value.is_array() || value.is_object();
        if composite && depth > limits::VALUE_DEPTH {
            return Err(too_large(format!("depth of {what}"), depth, limits::VALUE_DEPTH));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth))),
            Value::Object(fields) => {
                for (key, field) in fields {
                    check_key(key)?;
                    open.push((field, depth));
                }
            }
            _ => {}
        }
    }
    let mut counter = ByteCount(0);
    // Writing a value whose keys are strings into a counter cannot fail.
    let _ = serde_json::to_writer(&mut counter, value);
    cost.bytes = counter.0;
    if cost.bytes > limits::VALUE_BYTES {
        return Err(too_large(format!("value of {what}"), cost.bytes, limits::VALUE_BYTES));
    }
    Ok(cost)
}

/// Checks the length of a key.
pub(super) fn check_key(key: &str) -> Result<(), EngineError> {
    if key.len() > limits::KEY_BYTES {
        let short: String = key.chars().take(40).collect();
        return Err(too_large(format!("key `{short}...`"), key.len(), limits::KEY_BYTES));
    }
    Ok(())
}

pub(super) const fn too_large(what: String, size: usize, max: usize) -> EngineError {
    EngineError::TooLarge { what, size, max }
}

struct ByteCount(usize);

impl io::Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value as automerge holds it.
#[derive(Debug)]
pub(super) enum Form<'a> {
    Scalar(ScalarValue),
    List(&'a [Value]),
    Map(&'a serde_json::Map<String, Value>),
}

pub(super) fn form_of(value: &Value) -> Form<'_> {
    match value {
        Value::Null => Form::Scalar(ScalarValue::Null),
        Value::Bool(flag) => Form::Scalar(ScalarValue::Boolean(*flag)),
        Value::Number(number) => Form::Scalar(match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => ScalarValue::Int(int),
            (None, Some(uint)) => ScalarValue::Uint(uint),
            (None, None) => ScalarValue::F64(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Form::Scalar(ScalarValue::Str(text.as_str().into())),
        Value::Array(items) => Form::List(items),
        Value::Object(fields) => Form::Map(fields),
    }
}

/// Sets a key of a map.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    map: &ObjId,
    key: &str,
    value: &Value,
) -> Result<(), AutomergeError> {
    match form_of(value) {
        Form::Scalar(scalar) => transaction.put(map, key, scalar),
        Form::List(items) => {
            let list = transaction.put_object(map, key, ObjType::List)?;
            insert(transaction, &list, 0, items)
        }
        Form::Map(fields) => {
            let map = transaction.put_object(map, key, ObjType::Map)?;
            fill(transaction, &map, fields)
        }
    }
}

/// Inserts values into a list, runs of scalars at once.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    list: &ObjId,
    at: usize,
    values: &[Value],
) -> Result<(), AutomergeError> {
    let mut index = at;
    let mut run = Vec::new();
    for value in values {
        let form = match form_of(value) {
            Form::Scalar(scalar) => {
                run.push(scalar);
                continue;
            }
            form => form,
        };
        let len = run.len();
        transaction.splice(list, index, 0, run.drain(..))?;
        index += len;
        match form {
            Form::Scalar(_) => {}
            Form::List(items) => {
                let inner = transaction.insert_object(list, index, ObjType::List)?;
                insert(transaction, &inner, 0, items)?;
            }
            Form::Map(fields) => {
                let inner = transaction.insert_object(list, index, ObjType::Map)?;
                fill(transaction, &inner, fields)?;
            }
        }
        index += 1;
    }
    transaction.splice(list, index, 0, run)
}

fn fill(
    transaction: &mut Transaction<'_>,
    map: &ObjId,
    fields: &serde_json::Map<String, Value>,
) -> Result<(), AutomergeError> {
    fields.iter().try_for_each(|(key, field)| put(transaction, map, key, field))
}

/// Reads values, now or at past heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) document: &'a Automerge,
    pub(super) heads: Option<&'a [ChangeHash]>,
}

impl View<'_> {
    /// The value of one key of a map.
    pub(super) fn get(&self, map: &ObjId, key: &str) -> Option<Value> {
        let found = match self.heads {
            None => self.document.get(map, key),
            Some(heads) => self.document.get_at(map, key, heads),
        };
        let (stored, object) = found.ok()??;
        Some(self.stored(&stored, &object, VALUE_LEVEL))
    }

    /// The value of one element of a list.
    pub(super) fn element(&self, list: &ObjId, index: usize) -> Option<Value> {
        let (stored, object) = self.document.get(list, index).ok()??;
        Some(self.stored(&stored, &object, VALUE_LEVEL))
    }

    /// The entries of a map, sorted by key.
    pub(super) fn entries(&self, map: &ObjId, above: usize) -> Vec<(String, Value)> {
        let range = match self.heads {
            None => self.document.map_range(map, ..),
            Some(heads) => self.document.map_range_at(map, .., heads),
        };
        let mut entries: Vec<_> = range
            .map(|item| {
                let object = item.id();
                (item.key.into_owned(), self.referred(item.value, &object, above + 1))
            })
            .collect();
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        entries
    }

    /// The values of a list.
    pub(super) fn items(&self, list: &ObjId, above: usize) -> Vec<Value> {
        let range = match self.heads {
            None => self.document.list_range(list, ..),
            Some(heads) => self.document.list_range_at(list, .., heads),
        };
        range
            .map(|item| {
                let object = item.id();
                self.referred(item.value, &object, above + 1)
            })
            .collect()
    }

    /// A value as found in a patch or a read.
    pub(super) fn stored(&self, stored: &Stored<'_>, object: &ObjId, depth: usize) -> Value {
        match stored {
            Stored::Object(kind) => self.object(*kind, object, depth),
            Stored::Scalar(scalar) => json_of(scalar),
        }
    }

    fn referred(&self, value: ValueRef<'_>, object: &ObjId, depth: usize) -> Value {
        match value {
            ValueRef::Object(kind) => self.object(kind, object, depth),
            ValueRef::Scalar(scalar) => json_of(&ScalarValue::from(scalar)),
        }
    }

    /// Updates are admitted only up to [`CONTAINER_DEPTH`], so this recursion is bounded.
    fn object(&self, kind: ObjType, object: &ObjId, depth: usize) -> Value {
        match kind {
            _ if depth > CONTAINER_DEPTH => Value::Null,
            ObjType::Map | ObjType::Table => Value::Object(self.entries(object, depth).into_iter().collect()),
            ObjType::List => Value::Array(self.items(object, depth)),
            ObjType::Text => Value::String(
                match self.heads {
                    None => self.document.text(object),
                    Some(heads) => self.document.text_at(object, heads),
                }
                .unwrap_or_default(),
            ),
        }
    }
}

/// A scalar as JSON. Counters and timestamps of other programs become integers, bytes their hexadecimal digits;
/// numbers JSON cannot hold and kinds from the future become null.
pub(super) fn json_of(scalar: &ScalarValue) -> Value {
    match scalar {
        ScalarValue::Str(text) => Value::String(text.to_string()),
        ScalarValue::Int(int) | ScalarValue::Timestamp(int) => Value::from(*int),
        ScalarValue::Uint(uint) => Value::from(*uint),
        ScalarValue::F64(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        ScalarValue::Counter(counter) => Value::from(i64::from(counter)),
        ScalarValue::Boolean(flag) => Value::Bool(*flag),
        ScalarValue::Bytes(bytes) => Value::String(hex(bytes)),
        ScalarValue::Null | ScalarValue::Unknown { .. } => Value::Null,
    }
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
