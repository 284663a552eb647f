//! What kind of container a root type is, and positions in texts. Layer 1, pure.
//!
//! Neither Yjs nor yrs records the kind of a root type, so it follows from the content alone: a name is free while
//! nothing is in it, and replicas with the same content agree. Where concurrent writers used one name as two kinds, a
//! sequence hides map entries, and characters hide list values.

use std::ops::Range;

use ::yrs::{Any, Map, Out, ReadTxn, Text, TextRef, types::text::YChange};

use super::value::OBJECT;
use crate::engine::ContainerKind;

/// The kind and length of a root type that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: ContainerKind,
    /// Values of a list, Unicode scalar values of a text; of a map, zero: it is not counted here.
    pub(super) len: usize,
    /// The length as yrs counts it: UTF-16 units.
    pub(super) units: usize,
    /// Used as text and list at once: positions mean different things to each, so writes are refused.
    pub(super) mixed: bool,
}

/// Looks at a root type; `None` while it is empty. Linear for texts and lists.
pub(super) fn shape<T: ReadTxn>(txn: &T, name: &str) -> Option<Shape> {
    let text = txn.get_text(name)?;
    let units = text.len(txn) as usize;
    if units == 0 {
        return has_entries(txn, name).then_some(Shape { kind: ContainerKind::Map, len: 0, units: 0, mixed: false });
    }
    let (mut scalars, mut read, mut is_text) = (0, 0, false);
    for chunk in text.diff(txn, YChange::identity) {
        is_text |= matches!(chunk.insert, Out::Any(_));
        let chunk = characters(&chunk.insert);
        scalars += chunk.chars().count();
        read += chunk.encode_utf16().count();
    }
    if is_text {
        Some(Shape { kind: ContainerKind::Text, len: scalars, units, mixed: read != units })
    } else {
        Some(Shape { kind: ContainerKind::List, len: units, units, mixed: false })
    }
}

fn has_entries<T: ReadTxn>(txn: &T, name: &str) -> bool {
    txn.get_map(name).is_some_and(|map| map.keys(txn).any(|key| map.get(txn, key).is_some()))
}

/// A chunk of a text as characters: whatever is embedded counts as one.
pub(super) fn characters(chunk: &Out) -> std::borrow::Cow<'_, str> {
    match chunk {
        Out::Any(Any::String(text)) => text.as_ref().into(),
        _ => String::from(OBJECT).into(),
    }
}

/// A whole text as characters.
pub(super) fn read<T: ReadTxn>(text: &TextRef, txn: &T) -> String {
    text.diff(txn, YChange::identity).iter().map(|chunk| characters(&chunk.insert)).collect()
}

/// Turns a range of scalar values into UTF-16 units. `wide`: some character takes two units, so the text is read.
pub(super) fn units<T: ReadTxn>(text: &TextRef, txn: &T, range: Range<usize>, wide: bool) -> Range<u32> {
    if !wide {
        return range.start as u32..range.end as u32;
    }
    let content = read(text, txn);
    let mut offsets = content.chars().scan(0_u32, |at, c| {
        let before = *at;
        *at += c.len_utf16() as u32;
        Some(before)
    });
    let total = text.len(txn);
    let start = offsets.clone().nth(range.start).unwrap_or(total);
    let end = offsets.nth(range.end).unwrap_or(total);
    start..end
}
