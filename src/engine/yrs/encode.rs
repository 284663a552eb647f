//! The bytes that leave: the version 1 encoding, made deterministic and exact. Layer 1, pure.
//!
//! yrs keeps the maps within values in hash order and writes integers above 2^53 as floats where they happen to fit.
//! This encoder sorts the keys and writes such integers as big integers; plain Yjs and yrs read both.

use std::collections::BTreeMap;

use ::yrs::{
    Any, ClientID, ID, Number,
    encoding::write::Write,
    updates::encoder::{Encoder, EncoderV1},
};

/// The largest integer that JavaScript holds exactly; lib0 writes up to here as a number, beyond as a big integer.
pub(super) const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A version 1 encoder with a canonical form for values.
pub(super) struct Canonical(EncoderV1);

impl Canonical {
    /// Empty.
    pub(super) fn new() -> Self {
        Self(EncoderV1::new())
    }
}

impl Write for Canonical {
    fn write_all(&mut self, buf: &[u8]) {
        self.0.write_all(buf);
    }

    fn write_u8(&mut self, value: u8) {
        self.0.write_u8(value);
    }
}

impl Encoder for Canonical {
    fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn reset_ds_cur_val(&mut self) {
        self.0.reset_ds_cur_val();
    }

    fn write_ds_clock(&mut self, clock: u32) {
        self.0.write_ds_clock(clock);
    }

    fn write_ds_len(&mut self, len: u32) {
        self.0.write_ds_len(len);
    }

    fn write_left_id(&mut self, id: &ID) {
        self.0.write_left_id(id);
    }

    fn write_right_id(&mut self, id: &ID) {
        self.0.write_right_id(id);
    }

    fn write_client(&mut self, client: ClientID) {
        self.0.write_client(client);
    }

    fn write_info(&mut self, info: u8) {
        self.0.write_info(info);
    }

    fn write_parent_info(&mut self, is_y_key: bool) {
        self.0.write_parent_info(is_y_key);
    }

    fn write_type_ref(&mut self, info: u8) {
        self.0.write_type_ref(info);
    }

    fn write_len(&mut self, len: u32) {
        self.0.write_len(len);
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
        self.0.write_key(key);
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
            for value in values.iter() {
                write_any(out, value);
            }
        }
        Any::Map(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            out.write_u8(118);
            out.write_var(sorted.len() as u64);
            for (key, value) in sorted {
                out.write_string(key);
                write_any(out, value);
            }
        }
        scalar => scalar.encode(out),
    }
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
            for (key, value) in entries.iter().collect::<BTreeMap<_, _>>() {
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
