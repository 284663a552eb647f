//! Values in and out of yrs. Layer 1, pure.
//!
//! Integers keep their exact value. yrs has none above `i64::MAX`, so those travel as a tagged binary value
//! ([`WIDE_TAG`] and eight bytes). Like JavaScript, lib0 knows one kind of number between 2^31 and 2^53, so a float
//! without a fraction in that range reads as the integer of the same value.
//!
//! What plain Yjs clients may have written and JSON lacks: binary values read as hexadecimal text, `undefined` and
//! numbers that are not finite as null; shared types read as what they hold, and a subdocument as its name and options
//! (see [`super::subdocs`]).

use std::sync::Arc;

use ::yrs::{
    Any, Array, ArrayRef, GetString, Map, MapRef, Number, Out, ReadTxn, Text, TextRef,
    branch::{Branch, BranchPtr},
    types::{TypeRef, text::YChange},
};

use super::{encode::SAFE_INTEGER, subdocs};
use crate::{
    engine::{EngineError, Value},
    limits,
};

/// Marks a binary value as an unsigned integer of 64 bits, most significant byte first.
const WIDE_TAG: [u8; 4] = *b"\0u64";

/// Stands for anything in a text that is not a character.
pub(super) const OBJECT: char = '\u{fffc}';

/// The bytes a value takes at most, checked against the limits on size and depth without recursion.
///
/// # Errors
/// `TooLarge`.
pub(super) fn measure(value: &Value, what: impl Fn() -> String) -> Result<usize, EngineError> {
    let mut stack = vec![(value, 0_usize)];
    let mut bytes = 0;
    while let Some((value, depth)) = stack.pop() {
        bytes += match value {
            Value::Null | Value::Bool(_) => 1,
            Value::Number(_) => 14,
            Value::String(text) => text.len() + 6,
            Value::Array(_) | Value::Object(_) => 6,
        };
        let depth = depth + usize::from(value.is_array() || value.is_object());
        if depth > limits::VALUE_DEPTH {
            return Err(EngineError::TooLarge {
                what: format!("depth of {}", what()),
                size: depth,
                max: limits::VALUE_DEPTH,
            });
        }
        match value {
            Value::Array(values) => stack.extend(values.iter().map(|value| (value, depth))),
            Value::Object(entries) => {
                bytes += entries.keys().map(|key| key.len() + 5).sum::<usize>();
                stack.extend(entries.values().map(|value| (value, depth)));
            }
            _ => {}
        }
        if bytes > limits::VALUE_BYTES {
            return Err(EngineError::TooLarge { what: what(), size: bytes, max: limits::VALUE_BYTES });
        }
    }
    Ok(bytes)
}

/// The number of values in a value, itself included.
pub(super) fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(count).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// A value as yrs holds it. The value has been measured, so recursion is bounded.
pub(super) fn to_any(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(value) => Any::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), _, _) => Any::Number(Number::Int(n)),
            (None, Some(n), _) => Any::Buffer([&WIDE_TAG[..], &n.to_be_bytes()].concat().into()),
            (None, None, Some(n)) => Any::Number(Number::Float(n)),
            (None, None, None) => Any::Null,
        },
        Value::String(text) => Any::String(text.as_str().into()),
        Value::Array(values) => Any::Array(values.iter().map(to_any).collect()),
        Value::Object(entries) => {
            Any::Map(Arc::new(entries.iter().map(|(key, value)| (key.clone(), to_any(value))).collect()))
        }
    }
}

/// The value of a formatting attribute. Attributes travel as JSON text, in which yrs reads floats without a fraction
/// as integers, so they are integers from the start.
///
/// # Errors
/// `TooLarge` for integers above `i64::MAX`, which yrs does not read from JSON.
pub(super) fn to_attribute(value: &Value, attribute: &str) -> Result<Any, EngineError> {
    Ok(match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (None, Some(_), _) => {
                return Err(EngineError::TooLarge {
                    what: format!("integer {number} in attribute `{attribute}`"),
                    size: usize::MAX,
                    max: i64::MAX as usize,
                });
            }
            (None, None, Some(n)) if n.fract() == 0.0 && n.abs() <= SAFE_INTEGER as f64 => {
                Any::Number(Number::Int(n as i64))
            }
            _ => to_any(value),
        },
        Value::Array(values) => {
            Any::Array(values.iter().map(|value| to_attribute(value, attribute)).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| Ok((key.clone(), to_attribute(value, attribute)?));
            Any::Map(Arc::new(entries.iter().map(entry).collect::<Result<_, EngineError>>()?))
        }
        _ => to_any(value),
    })
}

/// A value that yrs holds, as JSON.
pub(super) fn from_any(any: &Any) -> Value {
    match any {
        Any::Null | Any::Undefined => Value::Null,
        Any::Bool(value) => Value::Bool(*value),
        Any::Number(Number::Int(n)) => Value::from(*n),
        Any::Number(Number::Float(n)) => {
            if n.fract() == 0.0 && (2_147_483_648.0..=SAFE_INTEGER as f64).contains(&n.abs()) {
                Value::from(*n as i64)
            } else {
                Value::from(*n)
            }
        }
        Any::String(text) => Value::from(text.as_ref()),
        Any::Buffer(bytes) => match bytes.strip_prefix(&WIDE_TAG).map(<[u8; 8]>::try_from) {
            Some(Ok(wide)) => Value::from(u64::from_be_bytes(wide)),
            _ => subdocs::read(bytes).unwrap_or_else(|| Value::from(hex(bytes))),
        },
        Any::Array(values) => values.iter().map(from_any).collect(),
        Any::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), from_any(value))).collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// A value or shared type within a container, as JSON. Nesting of shared types is bounded on entry.
pub(super) fn from_out<T: ReadTxn>(out: &Out, txn: &T) -> Value {
    let branch = match out {
        Out::Any(any) => return from_any(any),
        Out::YText(shared) => branch_of(shared),
        Out::YArray(shared) => branch_of(shared),
        Out::YMap(shared) => branch_of(shared),
        Out::YXmlElement(shared) => branch_of(shared),
        Out::YXmlFragment(shared) => branch_of(shared),
        Out::YXmlText(shared) => branch_of(shared),
        // yrs holds no subdocuments here.
        Out::YDoc(_) | Out::UndefinedRef(_) => return Value::Null,
    };
    match branch.type_ref() {
        TypeRef::Map => entries(&MapRef::from(branch), txn),
        TypeRef::Text | TypeRef::XmlText => Value::from(TextRef::from(branch).get_string(txn)),
        TypeRef::XmlElement(name) => serde_json::json!({
            "name": name.as_ref(),
            "attributes": entries(&MapRef::from(branch), txn),
            "children": sequence(branch, txn),
        }),
        _ => sequence(branch, txn),
    }
}

fn branch_of(shared: &impl AsRef<Branch>) -> BranchPtr {
    BranchPtr::from(shared.as_ref())
}

fn entries<T: ReadTxn>(map: &MapRef, txn: &T) -> Value {
    // Not `Map::iter`: it recurses over entries that a peer made without a value.
    map.keys(txn).filter_map(|key| Some((key.to_owned(), from_out(&map.get(txn, key)?, txn)))).collect()
}

fn sequence<T: ReadTxn>(branch: BranchPtr, txn: &T) -> Value {
    let text = TextRef::from(branch);
    let chunks = text.diff(txn, YChange::identity);
    // yrs loops for ever over characters outside the basic plane when they are read as elements of an array.
    if chunks.iter().any(|chunk| matches!(chunk.insert, Out::Any(_))) {
        return Value::from(text.get_string(txn));
    }
    ArrayRef::from(branch).iter(txn).map(|out| from_out(&out, txn)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        let exact = [
            Value::from(0),
            Value::from(-1),
            Value::from(i64::MIN),
            Value::from(i64::MAX),
            Value::from(u64::MAX),
            Value::from(i64::MAX as u64 + 1),
            Value::from(1_i64 << 53),
            Value::from((1_i64 << 53) + 1),
            Value::from(1_758_000_000_123_i64),
            Value::from(0.5),
            Value::from(5.0),
            Value::from(1e300),
            Value::from(-0.0),
        ];
        for value in exact {
            assert_eq!(from_any(&to_any(&value)), value);
        }
        assert_eq!(from_any(&to_any(&Value::from(4_294_967_296.0))), Value::from(4_294_967_296_i64));
    }

    #[test]
    fn what_json_lacks_still_reads() {
        assert_eq!(from_any(&Any::Buffer([1, 0xab].as_slice().into())), Value::from("01ab"));
        assert_eq!(from_any(&Any::Number(Number::Float(f64::NAN))), Value::Null);
        assert_eq!(from_any(&Any::Undefined), Value::Null);
    }

    #[test]
    fn depth_and_size_are_measured_without_recursion() {
        let mut deep = Value::Null;
        for _ in 0..limits::VALUE_DEPTH {
            deep = Value::Array(vec![deep]);
        }
        assert!(measure(&deep, String::new).is_ok());
        for _ in 0..1_000 {
            deep = Value::Array(vec![deep]);
        }
        assert!(matches!(measure(&deep, String::new), Err(EngineError::TooLarge { max: limits::VALUE_DEPTH, .. })));
        let long = Value::from("a".repeat(limits::VALUE_BYTES));
        assert!(matches!(measure(&long, String::new), Err(EngineError::TooLarge { max: limits::VALUE_BYTES, .. })));
    }
}
