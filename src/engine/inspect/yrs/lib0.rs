//! A reader for the lib0 encoding that Yjs and yrs share: every declared length is checked before it is believed.
//! Layer 1, pure.
//!
//! It accepts a subset of what the yrs decoder accepts and reads that subset to the same values: where yrs would wrap
//! an oversize integer, this reader refuses.

use std::fmt;

use super::SUBDOC_TAG;
use crate::{id::ReplicaId, limits};

/// What is wrong with the bytes, as a reason for an error of the caller's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw(pub(crate) String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One position in a writer's sequence: writer and clock.
pub(crate) type Id = (u64, u64);

/// Reads bytes from the front.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// One byte.
    pub(crate) fn byte(&mut self, what: &str) -> Result<u8, Flaw> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.ends_in(what))?;
        self.at += 1;
        Ok(byte)
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], Flaw> {
        if len > self.remaining() {
            return Err(self.ends_in(what));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    /// An unsigned integer of up to 64 bits.
    pub(crate) fn var(&mut self, what: &str) -> Result<u64, Flaw> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Flaw(format!("{what} at byte {} is over 64 bits", self.at)))
    }

    /// A clock or a length of clocks: below [`limits::CLOCK_MAX`].
    pub(crate) fn clock(&mut self, what: &str) -> Result<u64, Flaw> {
        let value = self.var(what)?;
        if value >= limits::CLOCK_MAX {
            return Err(Flaw(format!("{what} of {value} is not below {}", limits::CLOCK_MAX)));
        }
        Ok(value)
    }

    /// A writer: `1..=2^53 - 1`.
    pub(crate) fn client(&mut self, what: &str) -> Result<u64, Flaw> {
        let client = self.var(what)?;
        if client == 0 || client > ReplicaId::MAX {
            return Err(Flaw(format!("{what} {client} is outside 1..={}", ReplicaId::MAX)));
        }
        Ok(client)
    }

    /// The id of a block.
    pub(crate) fn id(&mut self, what: &str) -> Result<Id, Flaw> {
        Ok((self.client(what)?, self.clock(what)?))
    }

    /// How many items follow, each of at least `least` bytes: more than the rest can hold is refused here, before
    /// anyone reserves memory for them.
    pub(crate) fn count(&mut self, least: usize, what: &str) -> Result<usize, Flaw> {
        let declared = self.var(what)?;
        let room = self.remaining() / least;
        match usize::try_from(declared) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(Flaw(format!("{declared} {what} declared, room for {room}"))),
        }
    }

    /// A length and that many bytes.
    pub(crate) fn buffer(&mut self, what: &str) -> Result<&'a [u8], Flaw> {
        let len = self.count(1, what)?;
        self.take(len, what)
    }

    /// A length and that many bytes of UTF-8.
    pub(crate) fn string(&mut self, what: &str) -> Result<&'a str, Flaw> {
        let bytes = self.buffer(what)?;
        std::str::from_utf8(bytes).map_err(|error| Flaw(format!("{what} is not utf-8: {error}")))
    }

    /// A string of at most `max` bytes.
    pub(crate) fn name(&mut self, max: usize, what: &str) -> Result<&'a str, Flaw> {
        let name = self.string(what)?;
        if name.len() > max {
            return Err(Flaw(format!("{what} of {} bytes is over the limit of {max}", name.len())));
        }
        Ok(name)
    }

    /// Refuses anything that is left.
    pub(crate) fn end(&self, what: &str) -> Result<(), Flaw> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(Flaw(format!("{left} bytes after the end of the {what}"))),
        }
    }

    fn ends_in(&self, what: &str) -> Flaw {
        Flaw(format!("ends after {} bytes, within {what}", self.bytes.len()))
    }
}

/// Reads one `Any` and everything in it without recursion: yrs recurses here without limit, and a few kilobytes of
/// nested arrays overflow its stack. Returns the values met and the nesting of the deepest container.
pub(crate) fn any(reader: &mut Reader<'_>) -> Result<(u64, usize), Flaw> {
    let mut open: Vec<(usize, bool)> = Vec::new();
    let (mut values, mut deepest) = (0_u64, 0);
    loop {
        if let Some((left, is_map)) = open.last_mut() {
            if *left == 0 {
                open.pop();
                if open.is_empty() {
                    return Ok((values, deepest));
                }
                continue;
            }
            *left -= 1;
            if *is_map {
                reader.string("a key within a value")?;
            }
        }
        values += 1;
        let tag = reader.byte("a value")?;
        match tag {
            120 | 121 | 126 | 127 => {}
            125 => signed(reader)?,
            124 => drop(reader.take(4, "a value")?),
            122 | 123 => drop(reader.take(8, "a value")?),
            119 => drop(reader.string("a string value")?),
            116 => binary(reader, "a binary value")?,
            117 => open.push((reader.count(1, "array elements")?, false)),
            118 => open.push((reader.count(2, "map entries")?, true)),
            _ => return Err(Flaw(format!("value tag {tag} is unknown"))),
        }
        deepest = deepest.max(open.len());
        if open.len() > limits::VALUE_DEPTH {
            return Err(Flaw(format!("value nested {} deep, limit {}", open.len(), limits::VALUE_DEPTH)));
        }
        if open.is_empty() {
            return Ok((values, deepest));
        }
    }
}

/// A binary value. One that begins with [`SUBDOC_TAG`] would read as a subdocument.
pub(super) fn binary(reader: &mut Reader<'_>, what: &str) -> Result<(), Flaw> {
    if reader.buffer(what)?.starts_with(&SUBDOC_TAG) {
        return Err(Flaw(format!("{what} begins with the bytes {SUBDOC_TAG:?}, which are reserved")));
    }
    Ok(())
}

/// A signed integer. Nine bytes hold 62 bits; yrs overflows a shift on the eleventh, and lib0 writes at most five.
fn signed(reader: &mut Reader<'_>) -> Result<(), Flaw> {
    for _ in 0..9 {
        if reader.byte("an integer value")? < 0x80 {
            return Ok(());
        }
    }
    Err(Flaw("integer value over nine bytes".to_owned()))
}

/// Checks JSON text that is to be parsed by the engine. Returns its nesting.
pub(crate) fn json(text: &str, what: &str) -> Result<usize, Flaw> {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > limits::VALUE_DEPTH {
        return Err(Flaw(format!("{what} nested {deepest} deep, limit {}", limits::VALUE_DEPTH)));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| Flaw(format!("{what} is not json: {error}")))?;
    Ok(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_over_their_width_are_refused() {
        assert_eq!(Reader::new(&[0xff; 9]).var("n").unwrap_err().0, "ends after 9 bytes, within n");
        let mut largest = [0xff_u8; 10];
        largest[9] = 1;
        assert_eq!(Reader::new(&largest).var("n").unwrap(), u64::MAX);
        largest[9] = 2;
        assert!(Reader::new(&largest).var("n").is_err());
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x08]).clock("clock").is_err());
    }

    #[test]
    fn declared_counts_are_held_against_the_rest() {
        assert!(Reader::new(&[4, 1, 2, 3, 4]).count(1, "items").is_ok());
        assert!(Reader::new(&[4, 1, 2, 3, 4]).count(2, "items").is_err());
    }

    #[test]
    fn values_nest_up_to_the_limit() {
        let nested = |depth: usize| {
            let mut bytes = [117, 1].repeat(depth);
            bytes.push(126);
            any(&mut Reader::new(&bytes))
        };
        assert_eq!(nested(limits::VALUE_DEPTH).unwrap(), (65, 64));
        assert!(nested(limits::VALUE_DEPTH + 1).is_err());
        assert!(nested(100_000).is_err());
        assert_eq!(any(&mut Reader::new(&[117, 2, 118, 0, 117, 0])).unwrap(), (3, 2));
    }

    #[test]
    fn brackets_within_json_strings_do_not_nest() {
        assert_eq!(json(r#"{"a":"[[[\"[["}"#, "x").unwrap(), 1);
        assert!(json(&"[".repeat(65), "x").is_err());
        assert!(json("{", "x").is_err());
    }
}
