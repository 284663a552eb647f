//! A record as a line for people, JSON or CSV. Nothing a peer chose can end the line, colour it or begin a new one.
//! Layer 4, pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    chain::{Content, Frame, Link},
    record::Entry,
};
use crate::document::hex;

/// The columns of [`csv()`], which are also the fields of [`json()`].
pub const FIELDS: [&str; 17] = [
    "v",
    "seq",
    "prev",
    "wall",
    "hlc",
    "node",
    "actor",
    "jti_hash",
    "conn",
    "action",
    "room",
    "def",
    "gen",
    "outcome",
    "reason",
    "policy",
    "record_id",
];

/// Version of the records.
const VERSION: u8 = 1;

/// True for what a terminal may act on, what ends a line, and what reorders text on the screen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// `text` on one line, without effect on a terminal. A backslash is doubled, so that every text has its own spelling.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// An entry's fields with their values, in the order of [`FIELDS`].
fn fields(frame: &Frame, before: &Link, entry: &Entry) -> [Value; FIELDS.len()] {
    let event = &entry.event;
    let hash = |hash: &Option<[u8; 32]>| json!(hash.map(|hash| hex(&hash)));
    let object = event.object.as_ref();
    [
        json!(VERSION),
        json!(frame.seq),
        json!(hex(before)),
        json!(entry.wall_ms),
        json!(entry.hlc.to_string()),
        json!(entry.node),
        json!(event.actor),
        hash(&event.credential),
        json!(event.connection),
        json!(event.action.name()),
        json!(object.map(|object| &object.room)),
        json!(object.and_then(|object| object.definition).map(|definition| definition.to_string())),
        json!(object.and_then(|object| object.generation)),
        json!(event.outcome.name()),
        json!(event.reason),
        hash(&event.policy),
        hash(&event.record),
    ]
}

/// A frame as one line of JSON; `before` is the link of the one before.
pub fn json(frame: &Frame, before: &Link) -> String {
    let value = match frame.content() {
        Content::Entry(entry) => {
            let fields = FIELDS.iter().map(|field| (*field).to_owned()).zip(fields(frame, before, &entry));
            Value::Object(fields.collect())
        }
        Content::Checkpoint(checkpoint) => json!({
            "v": VERSION, "seq": frame.seq, "prev": hex(before), "wall": checkpoint.wall_ms,
            "action": "checkpoint", "signer": checkpoint.signer,
        }),
        Content::Unreadable(reason) => {
            json!({ "v": VERSION, "seq": frame.seq, "prev": hex(before), "action": "unreadable", "reason": reason })
        }
    };
    // serde_json leaves some of these as they are. They can only stand inside of strings.
    let mut line = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

/// The first line of a CSV file.
pub fn csv_header() -> String {
    FIELDS.join(",")
}

/// An entry as one line of CSV; `None` for frames that are none. Text that a spreadsheet would compute begins with an
/// apostrophe.
pub fn csv(frame: &Frame, before: &Link) -> Option<String> {
    let Content::Entry(entry) = frame.content() else { return None };
    let cells = fields(frame, before, &entry).map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let escaped = escape(&text);
            let guard = if escaped.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
            format!("\"{guard}{}\"", escaped.replace('"', "\"\""))
        }
        number => number.to_string(),
    });
    Some(cells.join(","))
}

/// A frame as a line for people.
pub fn text(frame: &Frame) -> String {
    let seq = frame.seq;
    let entry = match frame.content() {
        Content::Entry(entry) => entry,
        Content::Checkpoint(checkpoint) => {
            return format!("{seq} {} checkpoint, signed with {}", utc(checkpoint.wall_ms), checkpoint.signer);
        }
        Content::Unreadable(reason) => return format!("{seq} unreadable: {}", escape(&reason)),
    };
    let event = &entry.event;
    let mut line =
        format!("{seq} {} {} {} {}", utc(entry.wall_ms), entry.node, event.action.name(), event.outcome.name());
    // Writing into a string cannot fail.
    if let Some(actor) = &event.actor {
        let _ = write!(line, " by {actor}");
    }
    if let Some(connection) = event.connection {
        let _ = write!(line, " on connection {connection}");
    }
    if let Some(object) = &event.object {
        let _ = write!(line, " in {}", object.room);
        if let Some(definition) = object.definition {
            let _ = write!(line, " {definition}");
        }
        if let Some(generation) = object.generation {
            let _ = write!(line, " generation {generation}");
        }
    }
    if !event.reason.is_empty() {
        let _ = write!(line, ": {}", escape(&event.reason));
    }
    line
}

/// Milliseconds since 1970 as a date and time, UTC (RFC 3339).
pub fn utc(wall_ms: u64) -> String {
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(utc(253_402_300_799_000), "9999-12-31T23:59:59.000Z");
        utc(u64::MAX);
    }

    #[test]
    fn every_text_has_its_own_spelling() {
        assert_eq!(escape("a\nb"), "a\\nb");
        assert_eq!(escape("a\\nb"), "a\\\\nb");
        assert_eq!(escape("\u{1b}[31m\u{9b}\u{202e}ü"), "\\u{1b}[31m\\u{9b}\\u{202e}ü");
    }
}
