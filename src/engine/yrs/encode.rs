//! The bytes that leave: the version 1 encoding, made deterministic and exact. Layer 1, pure.
//!
//! yrs keeps the maps within values in hash order and writes integers above 2^53 as floats where they happen to fit.
//! This encoder sorts the keys and writes such integers as big integers; plain Yjs and yrs read both. Subdocuments, which
//! yrs holds as binary values, become subdocuments again.

use std::hint::black_box;

use ::yrs::{Any, ClientID, ID, Number, encoding::write::Write, updates::encoder::Encoder};

use super::subdocs;
use crate::engine::inspect::yrs::{BINARY, CONTENT_BITS};

/// The largest integer that JavaScript holds exactly; lib0 writes up to here as a number, beyond as a big integer.
pub(super) const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A version 1 encoder with a canonical form for values.
#[derive(Debug, Default)]
pub(super) struct Canonical {
    out: Vec<u8>,
    /// Where the block that is being written began.
    info: usize,
}

impl Canonical {
    /// Empty.
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn write_id(&mut self, id: &ID) {
        self.write_var(id.client.get());
        self.write_var(id.clock);
    }
}

impl Write for Canonical {
    fn write_all(&mut self, buf: &[u8]) {
        self.out.extend_from_slice(buf);
    }

    fn write_u8(&mut self, value: u8) {
        self.out.push(value);
    }

    fn write_buf<B: AsRef<[u8]>>(&mut self, buf: B) {
        // A block writes names of parents and keys as strings, so of a binary value this is the content.
        match self.out.get(self.info) {
            Some(info) if info & CONTENT_BITS == BINARY => subdocs::show(&mut self.out, self.info, buf.as_ref()),
            _ => self.out.write_buf(buf),
        }
    }

    fn write_string(&mut self, text: &str) {
        self.out.write_string(text);
    }
}

impl Encoder for Canonical {
    fn to_vec(self) -> Vec<u8> {
        self.out
    }

    fn reset_ds_cur_val(&mut self) {}

    fn write_ds_clock(&mut self, clock: u32) {
        self.write_var(clock);
    }

    fn write_ds_len(&mut self, len: u32) {
        self.write_var(len);
    }

    fn write_left_id(&mut self, id: &ID) {
        self.write_id(id);
    }

    fn write_right_id(&mut self, id: &ID) {
        self.write_id(id);
    }

    fn write_client(&mut self, client: ClientID) {
        self.write_var(client.get());
    }

    fn write_info(&mut self, info: u8) {
        self.info = self.out.len();
        self.write_u8(info);
    }

    fn write_parent_info(&mut self, is_y_key: bool) {
        self.write_var(u32::from(is_y_key));
    }

    fn write_type_ref(&mut self, info: u8) {
        self.write_u8(info);
    }

    fn write_len(&mut self, len: u32) {
        self.write_var(len);
    }

    fn write_any(&mut self, any: &Any) {
        write_any(self, any);
    }

    fn write_json(&mut self, any: &Any) {
        let mut text = String::new();
        json(any, &mut text);
        self.write_string(&text);
    }

    fn write_key(&mut self, key: &str) {
        self.write_string(key);
    }
}

/// Recursion is bounded: nothing nested deeper than the limit for values enters a document.
fn write_any(out: &mut Canonical, any: &Any) {
    match any {
        Any::Number(Number::Int(n)) if n.unsigned_abs() > SAFE_INTEGER.unsigned_abs() => {
            out.write_u8(122);
            out.write_i64(*n);
        }
        Any::Array(values) => {
            out.write_u8(117);
            out.write_var(values.len() as u64);
            values.iter().for_each(touch);
            for value in values.iter() {
                write_any(out, value);
            }
        }
        Any::Map(entries) => {
            out.write_u8(118);
            out.write_var(entries.len() as u64);
            for (_, key, value) in sorted(entries.iter()) {
                out.write_string(key);
                write_any(out, value);
            }
        }
        scalar => scalar.encode(out),
    }
}

/// A map's entries in the order of their keys, each with its beginning as a number. Numbers are compared first: in a
/// document full of small maps a third of the time went into comparing keys, each somewhere else in memory.
fn sorted<'a>(entries: impl IntoIterator<Item = (&'a String, &'a Any)>) -> Vec<(u64, &'a str, &'a Any)> {
    let beginning = |key: &str| {
        let mut bytes = [0; 8];
        let some = key.len().min(bytes.len());
        bytes[..some].copy_from_slice(&key.as_bytes()[..some]);
        u64::from_be_bytes(bytes)
    };
    let entries = entries.into_iter().inspect(|(_, value)| touch(value));
    let mut sorted: Vec<_> = entries.map(|(key, value)| (beginning(key), key.as_str(), value)).collect();
    sorted.sort_unstable_by_key(|(beginning, key, _)| (*beginning, *key));
    sorted
}

/// Has the processor load what is about to be written of a value. Values lie about in memory: looked at one after the
/// other, many are on their way at once, which saves a sixth of the time of writing them.
fn touch(value: &Any) {
    let ends = |bytes: &[u8]| [bytes.first().copied(), bytes.last().copied()];
    black_box(match value {
        Any::String(text) => ends(text.as_bytes()),
        Any::Map(entries) => entries.keys().next().map_or([None; 2], |key| ends(key.as_bytes())),
        Any::Array(values) => [Some(u8::from(matches!(values.first(), Some(Any::Null)))), None],
        _ => [None; 2],
    });
}

/// JSON for attributes and embeds: integers stay integers, which yrs would write as floats.
fn json(any: &Any, out: &mut String) {
    match any {
        Any::Array(values) => {
            let mut separator = '[';
            for value in values.iter() {
                out.push(separator);
                json(value, out);
                separator = ',';
            }
            out.push_str(if separator == '[' { "[]" } else { "]" });
        }
        Any::Map(entries) => {
            let mut separator = '{';
            for (_, key, value) in sorted(entries.iter()) {
                out.push(separator);
                quoted(key, out);
                out.push(':');
                json(value, out);
                separator = ',';
            }
            out.push_str(if separator == '{' { "{}" } else { "}" });
        }
        Any::Number(Number::Int(n)) => out.push_str(&n.to_string()),
        Any::Number(Number::Float(n)) => match serde_json::Number::from_f64(*n) {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str("null"),
        },
        Any::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Any::String(text) => quoted(text, out),
        Any::Null | Any::Undefined | Any::Buffer(_) => out.push_str("null"),
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_their_keys() {
        let keys = [
            "",
            "\0",
            "a",
            "a\0",
            "ab",
            "beginning",
            "beginning\0",
            "beginning of this",
            "beginnings",
            "é",
            "\u{1f600}",
        ];
        let entries: Vec<_> = keys.iter().rev().map(|key| ((*key).to_owned(), Any::Null)).collect();
        let pairs = entries.iter().map(|(key, value)| (key, value));
        assert_eq!(sorted(pairs).iter().map(|(_, key, _)| *key).collect::<Vec<_>>(), keys);
    }
}
