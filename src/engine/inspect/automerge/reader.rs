//! Bytes, LEB128 numbers and run-length columns of the automerge format, read without recursion and without trusting
//! a length. Layer 1.
//!
//! Numbers must be in their shortest form: automerge hashes what it re-encodes, so any other form would give a change
//! that can be applied but never be saved and loaded again.

use super::super::EngineError;

/// A refusal with its reason.
pub(super) fn refused<T>(reason: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Refused { reason: reason.into() })
}

/// A position in a slice of peer bytes.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    pub(super) const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], EngineError> {
        match usize::try_from(len) {
            Ok(len) if len <= self.remaining() => {
                let taken = &self.bytes[self.at..self.at + len];
                self.at += len;
                Ok(taken)
            }
            _ => refused(format!("{len} bytes declared, {} left", self.remaining())),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, EngineError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        let taken = self.take(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    /// An unsigned LEB128 number in its shortest form.
    pub(super) fn unsigned(&mut self) -> Result<u64, EngineError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return refused("a number exceeds 64 bits");
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    refused("a number is longer than it needs to be")
                } else {
                    Ok(value)
                };
            }
        }
        refused("a number exceeds 64 bits")
    }

    /// A signed LEB128 number in its shortest form.
    pub(super) fn signed(&mut self) -> Result<i64, EngineError> {
        let mut value = 0_i64;
        let mut previous = 0_u8;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return refused("a number exceeds 64 bits");
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let padding = (byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0);
                if shift > 0 && padding {
                    return refused("a number is longer than it needs to be");
                }
                if shift < 57 && byte & 0x40 != 0 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
            previous = byte;
        }
        refused("a number exceeds 64 bits")
    }

    /// A length in front of UTF-8 text.
    pub(super) fn text(&mut self) -> Result<&'a str, EngineError> {
        let len = self.unsigned()?;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) => refused(format!("text is not UTF-8 at byte {}", error.valid_up_to())),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Run<T> {
    Nulls,
    Repeat(T),
    Literal,
}

/// A run-length column: repeats, literals and nulls. An absent column is all nulls.
///
/// Runs must be as long as they can be, for the reason given at the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Runs<'a, T> {
    reader: Reader<'a>,
    read: fn(&mut Reader<'a>) -> Result<T, EngineError>,
    present: bool,
    left: u64,
    run: Option<Run<T>>,
    last: Option<T>,
    holds_value: bool,
}

impl<'a, T: Copy + PartialEq> Runs<'a, T> {
    pub(super) const fn new(bytes: &'a [u8], read: fn(&mut Reader<'a>) -> Result<T, EngineError>) -> Self {
        let (reader, present) = (Reader::new(bytes), !bytes.is_empty());
        Self { reader, read, present, left: 0, run: None, last: None, holds_value: false }
    }

    pub(super) fn next(&mut self) -> Result<Option<T>, EngineError> {
        if !self.present {
            return Ok(None);
        }
        if self.left == 0 {
            self.start()?;
        }
        self.left -= 1;
        match self.run {
            None | Some(Run::Nulls) => Ok(None),
            Some(Run::Repeat(value)) => Ok(Some(value)),
            Some(Run::Literal) => self.value().map(Some),
        }
    }

    /// Reads a value that must differ from the one before it.
    fn value(&mut self) -> Result<T, EngineError> {
        let value = (self.read)(&mut self.reader)?;
        if self.last == Some(value) {
            return refused("a run is shorter than it could be");
        }
        self.last = Some(value);
        self.holds_value = true;
        Ok(value)
    }

    fn start(&mut self) -> Result<(), EngineError> {
        if self.reader.is_empty() {
            return refused("a column ends before its last row");
        }
        let count = self.reader.signed()?;
        let before = self.run;
        let (left, run) = match count {
            0 => (self.reader.unsigned()?, Run::Nulls),
            1.. => (count.unsigned_abs(), Run::Repeat(self.value()?)),
            _ => (count.unsigned_abs(), Run::Literal),
        };
        let continues = matches!((before, run), (Some(Run::Nulls), Run::Nulls) | (Some(Run::Literal), Run::Literal));
        if left == 0 || continues || count == 1 {
            return refused("a run is shorter than it could be");
        }
        if run == Run::Nulls {
            self.last = None;
        }
        (self.left, self.run) = (left, Some(run));
        Ok(())
    }

    /// True when no row is left. An absent column is never short of rows, nor has any left; one of nulls only should
    /// have been absent.
    pub(super) const fn is_done(&self) -> bool {
        self.left == 0 && self.reader.is_empty() && (self.holds_value || !self.present)
    }
}

/// A column of differences from the value before.
#[derive(Debug, Clone)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    sum: i64,
}

impl<'a> Deltas<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { runs: Runs::new(bytes, Reader::signed), sum: 0 }
    }

    pub(super) fn next_signed(&mut self) -> Result<Option<i64>, EngineError> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        match self.sum.checked_add(delta) {
            Some(sum) => {
                self.sum = sum;
                Ok(Some(sum))
            }
            None => refused("a sum of differences exceeds 64 bits"),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<u64>, EngineError> {
        match self.next_signed()?.map(u64::try_from) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => refused(format!("negative position {}", self.sum)),
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.runs.is_done()
    }
}

/// A column of truth values: lengths of alternating runs, starting with false. An absent column is all false.
#[derive(Debug, Clone)]
pub(super) struct Flags<'a> {
    reader: Reader<'a>,
    present: bool,
    left: u64,
    value: bool,
}

impl<'a> Flags<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), present: !bytes.is_empty(), left: 0, value: true }
    }

    pub(super) fn next(&mut self) -> Result<bool, EngineError> {
        if !self.present {
            return Ok(false);
        }
        while self.left == 0 {
            if self.reader.is_empty() {
                return refused("a column ends before its last row");
            }
            let first = self.reader.position() == 0;
            self.left = self.reader.unsigned()?;
            if self.left == 0 && !first {
                return refused("a run of no rows");
            }
            self.value = !self.value;
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(super) const fn is_done(&self) -> bool {
        self.left == 0 && self.reader.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_padded_ones_are_refused() {
        let unsigned = |bytes: &[u8]| Reader::new(bytes).unsigned();
        assert_eq!(unsigned(&[0xe5, 0x8e, 0x26]).unwrap(), 624_485);
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).unwrap(), u64::MAX);
        assert!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(unsigned(&[0x80, 0x00]).is_err());
        assert!(unsigned(&[0x80]).is_err());
        let signed = |bytes: &[u8]| Reader::new(bytes).signed();
        assert_eq!(signed(&[0xc0, 0xbb, 0x78]).unwrap(), -123_456);
        assert_eq!(signed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]).unwrap(), i64::MIN);
        assert_eq!(signed(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]).unwrap(), i64::MAX);
        assert_eq!(signed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).unwrap(), -(1 << 62));
        assert!(signed(&[0xff, 0x7f]).is_err());
    }

    #[test]
    fn runs_that_could_be_longer_are_refused() {
        let read = |bytes: &'static [u8]| {
            let mut runs = Runs::new(bytes, Reader::unsigned);
            while !runs.is_done() {
                runs.next()?;
            }
            Ok::<_, EngineError>(())
        };
        assert!(read(&[2, 7, 0x7f, 8, 0, 3, 2, 8]).is_ok());
        for bytes in [
            &[1, 7][..],
            &[2, 7, 2, 7],
            &[2, 7, 0x7f, 7],
            &[0x7f, 7, 2, 7],
            &[0x7e, 7, 7],
            &[0x7f, 7, 0x7f, 8],
            &[0, 1, 0, 1],
            &[0, 0],
            &[0, 5],
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn runs_give_repeats_literals_and_nulls_and_never_more_than_they_hold() {
        let mut runs = Runs::new(&[2, 7, 0x7e, 1, 3, 0, 1], Reader::unsigned);
        let rows: Vec<_> = (0..5).map(|_| runs.next().unwrap()).collect();
        assert_eq!(rows, [Some(7), Some(7), Some(1), Some(3), None]);
        assert!(runs.is_done());
        assert!(runs.next().is_err());
        let mut flags = Flags::new(&[0, 2, 1]);
        let rows: Vec<_> = (0..3).map(|_| flags.next().unwrap()).collect();
        assert_eq!(rows, [true, true, false]);
        assert!(flags.is_done());
    }
}
