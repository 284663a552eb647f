//! What happened, as a hash and, when asked for, as text.

use std::fmt;

/// The record of a run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: keep_lines.then(Vec::new) }
    }

    /// Takes one event in. The numbers are hashed; the text is for people and made only when kept. Without numbers it is
    /// a remark for people alone.
    pub(super) fn note(&mut self, now: u64, numbers: &[u64], text: fmt::Arguments<'_>) {
        if !numbers.is_empty() {
            self.events += 1;
            for number in std::iter::once(&now).chain(numbers) {
                self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
            }
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10.3} ms  {text}", now as f64 / 1_000.0));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
