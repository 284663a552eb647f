//! Case 60: what a peer chose is shown, and does nothing.

use aepoch::audit::{
    chain::{Frames, Head, Journal},
    show,
};

use crate::log::{entry, key};

const TRAPS: [&str; 7] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}cleared",
    "first\n7 2026-01-01T00:00:00.000Z relay start done",
    "a\r\nb\u{85}c\u{2028}d",
    "\u{9b}31m\u{7f}",
    "\u{202e}desrever",
    "quoted\",\"\n\"8\",\"",
    "=HYPERLINK(\"http://example.invalid\")",
];

fn frames(reasons: &[&str]) -> Vec<aepoch::audit::chain::Frame> {
    let mut journal = Journal::resume(Head::START, Default::default(), 0);
    let mut bytes = journal.head().header().to_vec();
    for reason in reasons {
        let entry = entry(&mut journal, reason);
        journal.record(entry, &key(1), &mut bytes);
    }
    let (_, mut frames) = Frames::open(&bytes[..]).unwrap();
    std::iter::from_fn(|| frames.next_frame().unwrap()).collect()
}

fn is_harmless(line: &str) -> bool {
    let reorders = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !line.chars().any(|c| c.is_control() || reorders(c))
}

#[test]
fn no_reason_leaves_its_line_or_acts_on_a_terminal() {
    for frame in frames(&TRAPS) {
        for line in [show::text(&frame), show::json(&frame, &[0; 32]), show::csv(&frame, &[0; 32]).unwrap()] {
            assert!(is_harmless(&line), "{line:?}");
        }
    }
}

#[test]
fn json_gives_back_what_was_recorded() {
    for (frame, reason) in frames(&TRAPS).iter().zip(TRAPS) {
        let value: serde_json::Value = serde_json::from_str(&show::json(frame, &[0; 32])).unwrap();
        assert_eq!(value["reason"], reason);
        assert!(show::FIELDS.iter().all(|field| value.get(field).is_some()), "{value}");
    }
}

#[test]
fn a_line_of_csv_has_the_columns_of_the_header() {
    let columns = show::csv_header().split(',').count();
    for frame in frames(&TRAPS) {
        let line = show::csv(&frame, &[0; 32]).unwrap();
        // Commas outside of quotes; a doubled quote leaves and enters again.
        let mut quoted = false;
        let commas = line.chars().filter(|c| {
            quoted ^= *c == '"';
            *c == ',' && !quoted
        });
        assert_eq!(commas.count() + 1, columns, "{line}");
        assert!(!line.contains("\"="), "a spreadsheet would compute {line}");
    }
}
