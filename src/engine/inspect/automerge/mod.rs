//! The prescan of automerge's chunks: document (0) and change (1), never compressed. Layer 1.
//!
//! Everything is walked, run lengths included, with work bounded by [`budget`]. What passes refers to nothing that is
//! not there as far as the update alone can tell; the engine checks the rest against the document.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{ClockRange, EngineError, UpdateInfo};
use crate::{engine::automerge::writer_of, limits};

mod change;
mod columns;
mod document;
#[cfg(feature = "guests")]
mod message;
mod reader;

pub(in crate::engine) use change::{ChangeFacts, Made};
use columns::Budget;
pub(in crate::engine) use document::DocumentFacts;
#[cfg(feature = "guests")]
pub use message::read_message;
use reader::{Reader, refused};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;

/// One chunk of an update that passed.
#[derive(Debug)]
pub(in crate::engine) enum Chunk<'a> {
    /// A whole document.
    Document(DocumentFacts<'a>),
    /// One change.
    Change(ChangeFacts<'a>),
}

/// Operations in one update whatever its size.
const OPS_MAX: u64 = 16 * limits::UPDATE_OPS;

/// What one update may contain, measured by its bytes. An operation takes at least one byte of value unless it is null,
/// a truth value or an empty object, which the allowance is for. A character typed and deleted again by changes of
/// their own has five links: a successor, two changes and what these build on.
fn budget(update_bytes: usize) -> Budget {
    let bytes = update_bytes as u64;
    let ops = OPS_MAX.min(limits::UPDATE_OPS + 2 * bytes);
    let links = (4 * OPS_MAX).min(4 * limits::UPDATE_OPS + 16 * bytes);
    Budget::new(ops, links)
}

/// Reads `update` as far as that is possible without a document.
pub(super) fn inspect(update: &[u8]) -> Result<UpdateInfo, EngineError> {
    let mut info = UpdateInfo::default();
    let mut deps = BTreeSet::new();
    let mut numbers: BTreeMap<(u64, u64), [u8; 32]> = BTreeMap::new();
    let mut ranges = Vec::new();
    let (chunks, ops) = read(update)?;
    for chunk in chunks {
        match chunk {
            Chunk::Document(facts) => {
                info.depth = info.depth.max(facts.depth);
                info.changes.extend(facts.heads);
                ranges.extend(facts.inserts);
            }
            Chunk::Change(facts) => {
                info.depth = info.depth.max(facts.depth);
                if facts.creation.is_none() {
                    let writer = writer_of(facts.actor);
                    if numbers.insert((writer, facts.seq), facts.hash).is_some_and(|hash| hash != facts.hash) {
                        return refused(format!("two changes of writer {writer:x} numbered {}", facts.seq));
                    }
                    ranges.push(ClockRange { writer, from: facts.seq - 1, to: facts.seq });
                }
                deps.extend(facts.deps);
                info.changes.push(facts.hash);
            }
        }
    }
    let contained: BTreeSet<&[u8; 32]> = info.changes.iter().collect();
    info.deps = deps.into_iter().filter(|hash| !contained.contains(hash)).collect();
    info.ops = ops;
    info.inserts = merge(ranges);
    Ok(info)
}

/// The beginning of a chunk: its checksum and its kind.
fn read_head(reader: &mut Reader<'_>) -> Result<([u8; 4], u8), EngineError> {
    if reader.array()? != MAGIC {
        return refused("not an automerge chunk");
    }
    Ok((reader.array()?, reader.byte()?))
}

/// Joins ranges of one writer that touch.
fn merge(mut ranges: Vec<ClockRange>) -> Vec<ClockRange> {
    ranges.sort_unstable();
    let mut merged: Vec<ClockRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.writer == range.writer && range.from <= last.to => last.to = last.to.max(range.to),
            _ => merged.push(range),
        }
    }
    merged
}

/// Reads every chunk of `update` and counts the operations.
pub(in crate::engine) fn read(update: &[u8]) -> Result<(Vec<Chunk<'_>>, u64), EngineError> {
    if update.len() > limits::DOCUMENT_BYTES {
        return refused(format!("update of {} bytes, limit {}", update.len(), limits::DOCUMENT_BYTES));
    }
    let mut reader = Reader::new(update);
    let mut budget = budget(update.len());
    let mut chunks = Vec::new();
    while !reader.is_empty() {
        let start = reader.position();
        let (checksum, kind) = read_head(&mut reader)?;
        if kind != DOCUMENT && kind != CHANGE {
            return refused(format!("chunk of type {kind}: only documents and plain changes are accepted"));
        }
        let hashed = reader.position() - 1;
        let len = reader.unsigned()?;
        let body = reader.take(len)?;
        let bytes = &update[start..reader.position()];
        let hash: [u8; 32] = Sha256::digest(&update[hashed..reader.position()]).into();
        if hash[..4] != checksum {
            return refused("wrong checksum");
        }
        chunks.push(match kind {
            DOCUMENT => Chunk::Document(document::read(bytes, body, &mut budget)?),
            CHANGE if bytes.len() > limits::UPDATE_BYTES => {
                return refused(format!("change of {} bytes, limit {}", bytes.len(), limits::UPDATE_BYTES));
            }
            _ => Chunk::Change(change::read(bytes, body, hash, &mut budget)?),
        });
    }
    Ok((chunks, budget.ops()))
}
