//! Verifying and reading a log in a folder, also one that a relay is writing. Layer 6.

use std::{
    fs::File,
    io::{BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    AuditError,
    folder::{open_segment, segments},
};
use crate::audit::{
    chain::{Frame, Frames, GENESIS, Link, ReadError},
    verify::{Expected, Finding, Verified, Verifier},
};

/// Verifies a whole log, in memory for one record.
///
/// # Errors
/// `Damaged` names the first record that was changed, removed or moved; `Io`.
pub fn verify(folder: &Path, expected: Expected) -> Result<Verified, AuditError> {
    let mut verifier = Verifier::new(expected);
    for (_, segment) in segments(folder)? {
        let name = segment.file_name().unwrap_or_default().to_string_lossy();
        verifier.segment(&name, open_segment(&segment)?)?;
    }
    Ok(verifier.finish()?)
}

/// The records of a log, in order, each with the link of the one before. Hashes are not checked: that is
/// [`verify`]'s.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    /// The segment being read, and how far; none when there was none.
    segment: Option<(u64, PathBuf)>,
    offset: u64,
    frames: Option<Frames<BufReader<File>>>,
    /// There is a segment after this one: nothing is written to this one any more.
    is_complete: bool,
    before: Link,
    first: u64,
}

impl Records {
    /// From record `first` on.
    ///
    /// # Errors
    /// `Io`.
    pub fn from(folder: &Path, first: u64) -> Result<Self, AuditError> {
        let segments = segments(folder)?;
        let at = segments.partition_point(|(begins, _)| *begins <= first).saturating_sub(1);
        Ok(Self {
            folder: folder.to_owned(),
            segment: segments.into_iter().nth(at),
            offset: 0,
            frames: None,
            is_complete: false,
            before: GENESIS,
            first,
        })
    }

    /// The last `count` records.
    ///
    /// # Errors
    /// `Io`, and what stands in the way of reading the last segment.
    pub fn last(folder: &Path, count: u64) -> Result<Self, AuditError> {
        let mut end = segments(folder)?.pop().map_or(1, |(begins, _)| begins);
        let mut records = Self::from(folder, end)?;
        while let Some((_, frame)) = records.next_record()? {
            end = frame.seq.saturating_add(1);
        }
        Self::from(folder, end.saturating_sub(count).max(1))
    }

    /// The next record, and the link before it; `None` when there is none yet. More may come.
    ///
    /// # Errors
    /// `Damaged` where a record cannot be read; `Io`.
    pub fn next_record(&mut self) -> Result<Option<(Link, Frame)>, AuditError> {
        if self.segment.is_none() {
            self.segment = self.next_segment()?;
        }
        loop {
            let read = match self.open() {
                Ok(Some(frames)) => frames.next_frame(),
                Ok(None) => return Ok(None),
                Err(error) => Err(error),
            };
            match read {
                Ok(Some(frame)) => {
                    self.offset = self.frames.as_ref().map_or(0, Frames::offset);
                    let before = std::mem::replace(&mut self.before, frame.link);
                    if frame.seq >= self.first {
                        return Ok(Some((before, frame)));
                    }
                }
                Ok(None) if self.is_complete => {
                    self.segment = self.next_segment()?;
                    (self.frames, self.offset, self.is_complete) = (None, 0, false);
                }
                // All of what has been written by now. When another segment has been begun, it is looked at once more:
                // what was written before that counts.
                Ok(None) | Err(ReadError::Torn) if !self.is_complete => {
                    self.frames = None;
                    self.is_complete = self.next_segment()?.is_some();
                    if !self.is_complete {
                        return Ok(None);
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.damaged(error)),
            }
        }
    }

    fn next_segment(&self) -> Result<Option<(u64, PathBuf)>, AuditError> {
        let here = self.segment.as_ref().map_or(0, |(begins, _)| *begins);
        Ok(segments(&self.folder)?.into_iter().find(|(begins, _)| *begins > here))
    }

    /// The frames after the last whole one read.
    fn open(&mut self) -> Result<Option<&mut Frames<BufReader<File>>>, ReadError> {
        if self.frames.is_none()
            && let Some((_, path)) = &self.segment
        {
            let mut file = BufReader::new(File::open(path)?);
            self.frames = Some(if self.offset == 0 {
                let (head, frames) = Frames::open(file)?;
                self.before = head.link;
                frames
            } else {
                file.seek(SeekFrom::Start(self.offset))?;
                Frames::resume(file, self.offset)
            });
        }
        Ok(self.frames.as_mut())
    }

    fn damaged(&self, error: ReadError) -> AuditError {
        let path = self.segment.as_ref().map(|(_, path)| path.as_path());
        match error {
            ReadError::Io(source) => AuditError::io(path.unwrap_or(&self.folder), source),
            error => {
                let segment = path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
                Finding { segment, seq: self.first, breach: error.into() }.into()
            }
        }
    }
}
