//! Segments as files: `<number of the first record, 20 digits>.aud`. Layer 6.
//!
//! Files are only appended to. What is appended counts once it is flushed; what a crash left behind that is cut off when
//! the folder is opened, if it can be the work of a crash at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::AuditError;
use crate::{
    audit::{
        chain::{Content, Frames, HEADER_BYTES, Head, Journal, ReadError},
        verify::{Breach, Finding},
    },
    limits,
    time::Hlc,
};

const EXTENSION: &str = "aud";
const LOCK: &str = "lock";

/// Where the writer's bytes go.
pub(super) trait Medium: Send {
    /// Begins a segment. After a failure the same one may be begun again.
    fn begin(&mut self, head: &Head) -> io::Result<()>;
    /// Appends to the segment and flushes. After a failure nothing of it counts, and it may be tried again.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Bytes of the segment that count.
    fn segment_bytes(&self) -> u64;
}

/// The files of a log, of which this process is the only writer.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    segment: PathBuf,
    /// None before the first use, and after a failure: then nobody knows what of the file is on the disk.
    file: Option<File>,
    durable: u64,
    _lock: File,
}

/// A log as it was found.
pub(super) struct Found {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    /// The day of the last entry, since 1970.
    pub(super) day: u64,
    /// Bytes of an unfinished record that were cut off.
    pub(super) cut: Option<u64>,
}

/// The segments of a folder, in order. Other files in it are none of ours.
pub(super) fn segments(path: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let named = |error| AuditError::io(path, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(named)? {
        let file = entry.map_err(named)?.path();
        if file.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(first) = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
        {
            found.push((first, file));
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn open_segment(path: &Path) -> Result<BufReader<File>, AuditError> {
    File::open(path).map(BufReader::new).map_err(|error| AuditError::io(path, error))
}

impl Folder {
    /// Opens a folder for writing, or makes one.
    pub(super) fn open(path: &Path) -> Result<Found, AuditError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| AuditError::io(path, error))?;
        let lock = lock(path)?;
        let mut cut = 0;
        let mut segments = segments(path)?;
        while let Some((_, segment)) = segments.pop() {
            let found = survey(&segment)?;
            cut += found.cut;
            let begun = found.head.filter(|_| found.whole > HEADER_BYTES as u64 || segments.is_empty());
            let Some(head) = begun else {
                // A crash came between a segment's name and its first record.
                fs::remove_file(&segment).map_err(|error| AuditError::io(&segment, error))?;
                continue;
            };
            // What does not count is cut off with the first use.
            let folder = Self { path: path.to_owned(), segment, file: None, durable: found.whole, _lock: lock };
            // How many entries have no checkpoint is not looked up: the next entry gets one.
            let journal = Journal::resume(head, found.hlc, limits::AUDIT_CHECKPOINT_ENTRIES - 1);
            return Ok(Found { folder, journal, day: found.day, cut: (cut > 0).then_some(cut) });
        }
        let mut folder = Self { path: path.to_owned(), segment: PathBuf::new(), file: None, durable: 0, _lock: lock };
        folder.begin(&Head::START).map_err(|error| AuditError::io(path, error))?;
        let journal = Journal::resume(Head::START, Hlc::default(), 0);
        Ok(Found { folder, journal, day: 0, cut: (cut > 0).then_some(cut) })
    }

    /// The segment's file, without anything that does not count.
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = OpenOptions::new().write(true).open(&self.segment)?;
                file.set_len(self.durable)?;
                file.sync_all()?;
                file.seek(SeekFrom::End(0))?;
                file
            }
        };
        Ok(self.file.insert(file))
    }
}

impl Medium for Folder {
    fn begin(&mut self, head: &Head) -> io::Result<()> {
        let segment = self.path.join(format!("{:020}.{EXTENSION}", head.seq + 1));
        let mut options = OpenOptions::new();
        // What may stand there is a failed attempt of our own: nothing that counts has this number.
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&segment)?;
        file.write_all(&head.header())?;
        file.sync_all()?;
        // Its name has to be on the disk as well.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        (self.segment, self.file, self.durable) = (segment, Some(file), HEADER_BYTES as u64);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file().and_then(|file| {
            file.write_all(bytes)?;
            file.sync_data()
        });
        match written {
            Ok(()) => self.durable += bytes.len() as u64,
            // After a failed flush the system may hold what the disk has not, and says so only once.
            Err(_) => self.file = None,
        }
        written
    }

    fn segment_bytes(&self) -> u64 {
        self.durable
    }
}

fn lock(path: &Path) -> Result<File, AuditError> {
    let file = path.join(LOCK);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&file);
    let lock = lock.map_err(|error| AuditError::io(&file, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(AuditError::InUse { path: path.display().to_string() }),
        Err(fs::TryLockError::Error(error)) => Err(AuditError::io(&file, error)),
    }
}

/// What was found in the last segment.
struct Survey {
    /// `None`: not even the header is whole.
    head: Option<Head>,
    hlc: Hlc,
    day: u64,
    /// Bytes that count, and bytes after them that a crash left.
    whole: u64,
    cut: u64,
}

fn survey(segment: &Path) -> Result<Survey, AuditError> {
    let named = |error| AuditError::io(segment, error);
    let size = fs::metadata(segment).map_err(named)?.len();
    let mut survey = Survey { head: None, hlc: Hlc::default(), day: 0, whole: 0, cut: 0 };
    let opened = Frames::open(open_segment(segment)?);
    let (mut head, mut frames) = match opened {
        Ok(opened) => opened,
        Err(ReadError::Io(error)) => return Err(named(error)),
        Err(_) if size < HEADER_BYTES as u64 || is_zero_from(segment, 0)? => {
            survey.cut = size;
            return Ok(survey);
        }
        Err(error) => return Err(finding(segment, &Head::START, error.into())),
    };
    survey.whole = frames.offset();
    let mut torn = None;
    loop {
        let frame = match frames.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(ReadError::Io(error)) => return Err(named(error)),
            Err(error) => {
                torn = Some(error);
                break;
            }
        };
        if !head.follow(&frame) {
            // Zeros are what some file systems leave of what was never written.
            if is_zero_from(segment, survey.whole)? {
                survey.cut = size - survey.whole;
                break;
            }
            return Err(finding(segment, &head, Breach::Changed));
        }
        if let Content::Entry(entry) = frame.content() {
            (survey.hlc, survey.day) = (entry.hlc, day_of(entry.wall_ms));
        }
        survey.whole = frames.offset();
    }
    match torn {
        None => {}
        Some(ReadError::Torn) => survey.cut = size - survey.whole,
        Some(error) => return Err(finding(segment, &head, error.into())),
    }
    survey.head = Some(head);
    Ok(survey)
}

/// The day, since 1970.
pub(super) fn day_of(wall_ms: u64) -> u64 {
    wall_ms / 86_400_000
}

fn finding(segment: &Path, head: &Head, breach: Breach) -> AuditError {
    let segment = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Finding { segment, seq: head.seq.saturating_add(1), breach }.into()
}

fn is_zero_from(segment: &Path, offset: u64) -> Result<bool, AuditError> {
    let named = |error| AuditError::io(segment, error);
    let mut file = open_segment(segment)?;
    file.seek(SeekFrom::Start(offset)).map_err(named)?;
    for byte in file.bytes() {
        if byte.map_err(named)? != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
