//! One text for one value, on every engine and build: what digests hash and quorums compare.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::engine::Value;

/// Floats below this hold integers exactly, and are written as such: the engines do not keep `1` and `1.0` apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The canonical JSON text of a value: keys sorted by bytes, no spaces, integral floats as integers.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// SHA-256 over the canonical text.
pub(super) fn hash(value: &Value) -> [u8; 32] {
    Sha256::digest(text(value)).into()
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, value);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            // Sorted here: a dependency elsewhere in the build may make serde_json keep insertion order.
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                append(out, &Value::from(key.as_str()));
                out.push(':');
                write(out, value);
            }
            out.push('}');
        }
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "the guard keeps to integers that fit")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
                append(out, &Value::from(float as i64));
            }
            _ => append(out, value),
        },
        _ => append(out, value),
    }
}

fn append(out: &mut String, value: &Value) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_one_text() {
        assert_eq!(text(&json!({"b": 1.0, "a": [1, -0.0, null, "é\n"]})), r#"{"a":[1,0,null,"é\n"],"b":1}"#);
        assert_eq!(text(&json!(0.5)), "0.5");
        assert_eq!(text(&json!(u64::MAX)), "18446744073709551615");
    }
}
