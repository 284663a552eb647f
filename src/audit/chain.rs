//! How records hang together: segments, frames, links, checkpoints. Layer 4, pure.
//!
//! A segment is a header and frames. A header is the domain, the number of the first frame, and the link of the frame
//! before it. A frame is its kind, its number, the length of its body, the body, and its link: a hash over all of that
//! and the link before. So a link stands for everything up to it. A checkpoint is a frame whose body signs the link
//! before it. Numbers are big-endian.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::record::Entry;
use crate::{
    limits,
    time::{Hlc, HlcClock},
    trust::key::{PrivateKey, PublicKey},
};

/// The hash that binds a record to all before it.
pub type Link = [u8; 32];

/// What a log begins with.
pub const GENESIS: Link = [0; 32];
/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = DOMAIN.len() + 8 + 32;

const DOMAIN: &[u8; 10] = b"swm/aud/1\0";
const CHECKPOINT_DOMAIN: &[u8; 10] = b"swm/chk/1\0";
/// Nobody comes here by counting, and one more is still a number.
const SEQ_MAX: u64 = 1 << 62;
/// Kind, number and length.
const FRAME_HEAD_BYTES: usize = 1 + 8 + 4;
/// The signer, the wall clock, the signature.
const CHECKPOINT_BYTES: usize = 32 + 8 + 64;
// Zero is no kind: a crash may leave zeros at the end of a file.
const ENTRY: u8 = 1;
const CHECKPOINT: u8 = 2;

/// How far a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last frame; 0 when there is none.
    pub seq: u64,
    /// Its link.
    pub link: Link,
}

impl Head {
    /// Of a log without records.
    pub const START: Self = Self { seq: 0, link: GENESIS };

    /// The header of a segment that goes on from here.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..DOMAIN.len()].copy_from_slice(DOMAIN);
        header[DOMAIN.len()..DOMAIN.len() + 8].copy_from_slice(&(self.seq + 1).to_be_bytes());
        header[DOMAIN.len() + 8..].copy_from_slice(&self.link);
        header
    }

    /// The head that a segment with this header goes on from; `None` when it is none.
    pub fn of_header(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let rest = header.strip_prefix(DOMAIN)?;
        let (first, link) = rest.split_first_chunk::<8>()?;
        let seq = u64::from_be_bytes(*first).checked_sub(1).filter(|seq| *seq < SEQ_MAX)?;
        Some(Self { seq, link: link.try_into().ok()? })
    }

    fn append(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        let seq = self.seq + 1;
        let link = link_of(&self.link, kind, seq, body);
        out.push(kind);
        out.extend(seq.to_be_bytes());
        out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(body);
        out.extend(link);
        *self = Self { seq, link };
    }

    /// True when `frame` is the next one, unchanged; then the head is that frame.
    pub fn follow(&mut self, frame: &Frame) -> bool {
        let follows = Some(frame.seq) == self.seq.checked_add(1)
            && frame.link == link_of(&self.link, frame.kind, frame.seq, &frame.body);
        if follows {
            *self = Self { seq: frame.seq, link: frame.link };
        }
        follows
    }
}

fn link_of(before: &Link, kind: u8, seq: u64, body: &[u8]) -> Link {
    let mut hash = Sha256::new().chain_update(DOMAIN).chain_update(before).chain_update([kind]);
    hash.update(seq.to_be_bytes());
    hash.update((body.len() as u64).to_be_bytes());
    hash.chain_update(body).finalize().into()
}

/// Writes a log: numbers, binds and signs what it is given. Cloned before a batch and put back when the batch could not
/// be kept.
#[derive(Debug, Clone)]
pub struct Journal {
    head: Head,
    clock: HlcClock,
    /// Entries since the last checkpoint.
    unsigned: u64,
}

impl Journal {
    /// Goes on after `head`, whose stamp was `last`, with that many entries since the last checkpoint.
    pub fn resume(head: Head, last: Hlc, unsigned: u64) -> Self {
        let mut clock = HlcClock::default();
        clock.witness(last, last.wall_ms());
        Self { head, clock, unsigned }
    }

    /// How far it goes.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Entries no checkpoint stands for yet.
    pub fn unsigned(&self) -> u64 {
        self.unsigned
    }

    /// The next stamp.
    pub fn stamp(&mut self, wall_ms: u64) -> Hlc {
        self.clock.stamp(wall_ms)
    }

    /// Appends an entry to `out`, and a checkpoint when [`limits::AUDIT_CHECKPOINT_ENTRIES`] have none.
    pub fn record(&mut self, entry: Entry, key: &PrivateKey, out: &mut Vec<u8>) {
        let wall_ms = entry.wall_ms;
        self.head.append(ENTRY, &entry.encode(), out);
        self.unsigned += 1;
        if self.unsigned >= limits::AUDIT_CHECKPOINT_ENTRIES {
            self.checkpoint(wall_ms, key, out);
        }
    }

    /// Appends a checkpoint to `out`.
    pub fn checkpoint(&mut self, wall_ms: u64, key: &PrivateKey, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(CHECKPOINT_BYTES);
        body.extend(key.public().as_bytes());
        body.extend(wall_ms.to_be_bytes());
        body.extend(key.sign(&signed(&self.head, wall_ms)));
        self.head.append(CHECKPOINT, &body, out);
        self.unsigned = 0;
    }
}

fn signed(head: &Head, wall_ms: u64) -> Vec<u8> {
    [&CHECKPOINT_DOMAIN[..], &head.seq.to_be_bytes(), &head.link, &wall_ms.to_be_bytes()].concat()
}

/// One frame as it was read; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    kind: u8,
    /// Its number.
    pub seq: u64,
    body: Vec<u8>,
    /// The link it says it has.
    pub link: Link,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An entry.
    Entry(Entry),
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// Something of a later version, or nothing sensible; why it could not be read.
    Unreadable(String),
}

/// A signature over everything before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Who signed.
    pub signer: PublicKey,
    /// The signer's wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    signature: [u8; 64],
}

impl Checkpoint {
    fn decode(body: &[u8]) -> Result<Self, String> {
        let wrong = || format!("a checkpoint of {} bytes, not {CHECKPOINT_BYTES}", body.len());
        let (signer, rest) = body.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (wall_ms, signature) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let signature = signature.try_into().map_err(|_| wrong())?;
        let signer = PublicKey::from_bytes(signer).map_err(|error| error.to_string())?;
        Ok(Self { signer, wall_ms: u64::from_be_bytes(*wall_ms), signature })
    }

    /// True when it signs everything up to `head`, the one before it.
    pub fn signs(&self, head: &Head) -> bool {
        self.signer.verify(&signed(head, self.wall_ms), &self.signature)
    }
}

impl Frame {
    /// True when it holds an entry, also one that only a later version can read.
    pub fn is_entry(&self) -> bool {
        self.kind == ENTRY
    }

    /// What it holds.
    pub fn content(&self) -> Content {
        let read = match self.kind {
            ENTRY => Entry::decode(&self.body).map(Content::Entry),
            CHECKPOINT => Checkpoint::decode(&self.body).map(Content::Checkpoint),
            kind => Err(format!("frames of kind {kind} are not known")),
        };
        read.unwrap_or_else(Content::Unreadable)
    }
}

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It ends within a frame or within the header.
    #[error("the file ends within a record")]
    Torn,
    /// Not a segment.
    #[error("this is no segment of an audit log")]
    NoSegment,
    /// A frame is longer than frames can be.
    #[error("a record of {size} bytes is over the limit of {}", limits::AUDIT_RECORD_BYTES)]
    TooLarge {
        /// Bytes it says it has.
        size: u32,
    },
    /// The bytes could not be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The frames of one segment, one after the other; memory for one is all it takes.
#[derive(Debug)]
pub struct Frames<R> {
    from: R,
    offset: u64,
}

impl<R: Read> Frames<R> {
    /// Reads the header; returns what the segment goes on from.
    ///
    /// # Errors
    /// `Torn`, `NoSegment`, `Io`.
    pub fn open(mut from: R) -> Result<(Head, Self), ReadError> {
        let mut header = [0; HEADER_BYTES];
        from.read_exact(&mut header).map_err(torn)?;
        let head = Head::of_header(&header).ok_or(ReadError::NoSegment)?;
        Ok((head, Self { from, offset: HEADER_BYTES as u64 }))
    }

    /// Goes on at `offset`, where a frame begins.
    pub fn resume(from: R, offset: u64) -> Self {
        Self { from, offset }
    }

    /// Bytes up to the end of the last whole frame.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// `Torn`, `TooLarge`, `Io`. After one there is no going on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ReadError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        if self.from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[1..]).map_err(torn)?;
        let [kind, rest @ ..] = head;
        let (seq, size) = rest.split_at(8);
        let seq = u64::from_be_bytes(seq.try_into().unwrap_or_default());
        let size = u32::from_be_bytes(size.try_into().unwrap_or_default());
        // Before anything is set aside for it.
        if size as usize > limits::AUDIT_RECORD_BYTES {
            return Err(ReadError::TooLarge { size });
        }
        let mut frame = Frame { kind, seq, body: vec![0; size as usize], link: GENESIS };
        self.from.read_exact(&mut frame.body).map_err(torn)?;
        self.from.read_exact(&mut frame.link).map_err(torn)?;
        self.offset += (FRAME_HEAD_BYTES + frame.body.len() + frame.link.len()) as u64;
        Ok(Some(frame))
    }
}

fn torn(error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::UnexpectedEof { ReadError::Torn } else { ReadError::Io(error) }
}
