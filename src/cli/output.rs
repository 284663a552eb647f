//! What commands print: text for people, JSON lines for programs. Layer 7.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::{Value, json};

/// Bold, for what the eye should find first.
pub(super) const STRONG: Style = Style::new().bold();
/// Dimmed, for what can be skipped.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Green, for checks that hold.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Red, for checks that do not.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Yellow, for mishaps.
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();

/// Where answers go. Colours are dropped by `anstream` when nobody looks at a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Programs read this, not people.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// One answer: `text` for people, `value` as one line for programs.
    pub(super) fn answer(self, text: impl std::fmt::Display, value: &impl Serialize) -> Result<(), super::Failure> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(value)?);
        } else {
            anstream::println!("{text}");
        }
        Ok(())
    }

    /// A value: indented for people, one line for programs.
    pub(super) fn value(self, value: &Value) -> Result<(), super::Failure> {
        self.answer(format_args!("{value:#}"), value)
    }

    /// Something people may want to know beside the answer.
    pub(super) fn note(self, text: impl std::fmt::Display) {
        if !self.json {
            anstream::eprintln!("{FAINT}{text}{FAINT:#}");
        }
    }

    pub(super) fn error(self, message: &str, code: u8) {
        if self.json {
            anstream::eprintln!("{}", json!({ "error": message, "code": code }));
        } else {
            anstream::eprintln!("{BAD}error:{BAD:#} {message}");
        }
    }
}

/// Bytes in a unit people read.
pub(super) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let amount = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", amount / 1_024.0),
        _ => format!("{:.1} MiB", amount / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_the_unit_people_read() {
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(3 * 1_048_576), "3.0 MiB");
    }
}
