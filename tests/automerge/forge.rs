//! Chunks written by hand, damaged chunks with a right checksum, and documents of other programs.

use automerge::{
    ActorId, Automerge, ChangeHash,
    transaction::{CommitOptions, Transaction},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::support::Dice;

pub(crate) const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

pub(crate) fn unsigned(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(crate) fn signed(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A run of one value, which is already encoded.
pub(crate) fn run(count: i64, value: &[u8]) -> Vec<u8> {
    let count = if count == 1 { -1 } else { count };
    [&signed(count)[..], value].concat()
}

/// A chunk with a right checksum.
pub(crate) fn chunk(kind: u8, body: &[u8]) -> Bytes {
    let hashed = [&[kind][..], &unsigned(body.len() as u64), body].concat();
    [&MAGIC[..], &Sha256::digest(&hashed)[..4], &hashed].concat().into()
}

/// Gives a damaged chunk the checksum of what it now holds.
pub(crate) fn repaired(mut chunk: Vec<u8>) -> Bytes {
    if chunk.len() > 8 {
        let hash = Sha256::digest(&chunk[8..]);
        chunk[4..8].copy_from_slice(&hash[..4]);
    }
    chunk.into()
}

/// Damages the body of a chunk in one to three places.
pub(crate) fn damaged(chunk_bytes: &[u8], dice: &mut Dice) -> Bytes {
    let (kind, body) = body_of(chunk_bytes);
    let mut body = body.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(body.len());
        match dice.below(6) {
            0 => body[at] ^= 1 << dice.below(8),
            1 => body[at] = dice.next() as u8,
            2 => body[at] = [0, 1, 0x7f, 0x80, 0xff, 0x7e][dice.below(6)],
            3 => body.insert(at, dice.next() as u8),
            4 if body.len() > 1 => drop(body.remove(at)),
            _ => {
                let (from, len) = (dice.below(body.len()), 1 + dice.below(4));
                let piece = body[from..(from + len).min(body.len())].to_vec();
                let end = (at + piece.len()).min(body.len());
                body.splice(at..end, piece);
            }
        }
    }
    chunk(kind, &body)
}

/// Type and body of the first chunk.
pub(crate) fn body_of(chunk: &[u8]) -> (u8, &[u8]) {
    let (mut len, mut at) = (0_usize, 9);
    for shift in (0..).step_by(7) {
        len |= usize::from(chunk[at] & 0x7f) << shift;
        at += 1;
        if chunk[at - 1] & 0x80 == 0 {
            break;
        }
    }
    (chunk[8], &chunk[at..at + len])
}

/// The chunks of an update.
pub(crate) fn split(update: &[u8]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut rest = update;
    while !rest.is_empty() {
        let (_, body) = body_of(rest);
        let end = body.as_ptr() as usize - rest.as_ptr() as usize + body.len();
        chunks.push(Bytes::copy_from_slice(&rest[..end]));
        rest = &rest[end..];
    }
    chunks
}

/// A change, part by part.
#[derive(Clone)]
pub(crate) struct Forged {
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) actor: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time: i64,
    pub(crate) others: Vec<Vec<u8>>,
    pub(crate) columns: Vec<(u64, Vec<u8>)>,
    pub(crate) footer: Vec<u8>,
}

impl Forged {
    /// `rows` times "set this root key to null".
    pub(crate) fn nulls(actor: u8, rows: i64) -> Self {
        Self {
            deps: Vec::new(),
            actor: vec![0, 0, 0, 0, 0, 0, 0, actor],
            seq: 1,
            start_op: 1,
            time: 0,
            others: Vec::new(),
            columns: vec![
                (0x15, run(rows, &[1, b'k'])),
                (0x34, unsigned(rows as u64)),
                (0x42, run(rows, &[1])),
                (0x56, run(rows, &[0])),
                (0x70, run(rows, &[0])),
            ],
            footer: Vec::new(),
        }
    }

    pub(crate) fn column(mut self, spec: u64, data: Vec<u8>) -> Self {
        self.columns.retain(|(found, _)| *found != spec);
        if !data.is_empty() {
            self.columns.push((spec, data));
        }
        self.columns.sort();
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut body = unsigned(self.deps.len() as u64);
        body.extend(self.deps.concat());
        body.extend(unsigned(self.actor.len() as u64));
        body.extend(&self.actor);
        body.extend(unsigned(self.seq));
        body.extend(unsigned(self.start_op));
        body.extend(signed(self.time));
        body.push(0);
        body.extend(unsigned(self.others.len() as u64));
        for other in &self.others {
            body.extend(unsigned(other.len() as u64));
            body.extend(other);
        }
        body.extend(unsigned(self.columns.len() as u64));
        for (spec, data) in &self.columns {
            body.extend(unsigned(*spec));
            body.extend(unsigned(data.len() as u64));
        }
        for (_, data) in &self.columns {
            body.extend(data);
        }
        body.extend(&self.footer);
        chunk(1, &body)
    }
}

/// The hash of a single chunk.
pub(crate) fn hash(chunk: &[u8]) -> [u8; 32] {
    Sha256::digest(&chunk[8..]).into()
}

/// A document of another program, holding what `snapshot` holds.
pub(crate) fn foreign(snapshot: &[u8]) -> Automerge {
    Automerge::load(snapshot).unwrap().with_actor(ActorId::from([7; 16]))
}

/// One change of another program.
pub(crate) fn edit(document: &mut Automerge, change: impl FnOnce(&mut Transaction<'_>)) -> Bytes {
    let before: Vec<ChangeHash> = document.get_heads();
    let mut transaction = document.transaction();
    change(&mut transaction);
    transaction.commit_with(CommitOptions::default().with_time(0));
    document.save_after(&before).into()
}
