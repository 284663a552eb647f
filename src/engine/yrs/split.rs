//! Parts an update whose dependencies are not all there: what can be applied now, and what has to wait. Layer 1, pure.
//!
//! Updates are not held as a whole, since two of them may each build on the start of the other: deltas of one writer
//! do whenever writers took turns.

use std::collections::BTreeMap;

use ::yrs::{
    encoding::write::Write,
    updates::encoder::{Encoder, EncoderV1},
};
use bytes::Bytes;

use super::{grounds::Grounds, inbox::Outlook};
use crate::engine::{
    ClockRange, EngineError,
    inspect::yrs::{Place, Placed, Scan},
};

/// A clock of a writer that is not known yet.
type Missing = (u64, u64);

/// The two parts.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// An update that can be applied now.
    pub(super) ready: Option<Bytes>,
    /// The writers it advances.
    pub(super) advanced: Vec<(u64, u64)>,
    /// Updates of one writer each, with the first clock each waits for.
    pub(super) rest: Vec<(Missing, Bytes)>,
}

/// The blocks of one writer: those before `next` are ready.
struct Row<'a> {
    blocks: &'a [Placed<'a>],
    next: usize,
    missing: Option<Missing>,
}

impl Row<'_> {
    /// Goes on until something is missing.
    fn advance(&mut self, outlook: &mut Outlook<'_>, grounds: &mut Grounds) -> Result<(), EngineError> {
        self.missing = None;
        while let Some(block) = self.blocks.get(self.next) {
            self.missing = missing(block, outlook);
            if self.missing.is_some() {
                return Ok(());
            }
            grounds.enter(block)?;
            if block.to > outlook.clock(block.writer) {
                outlook.advance(block.writer, block.to);
            }
            self.next += 1;
        }
        Ok(())
    }
}

fn missing(block: &Placed<'_>, outlook: &Outlook<'_>) -> Option<Missing> {
    let needs = match block.place {
        Place::Root(_) | Place::Nowhere => [None, None],
        Place::Inside(id) => [Some((id.0, id.1 + 1)), None],
        Place::Beside(left, right) => [left, right].map(|id| id.map(|id| (id.0, id.1 + 1))),
        Place::Gap => [Some((block.writer, block.to)), None],
    };
    let start = match block.place {
        Place::Gap => None,
        _ => Some((block.writer, block.from)),
    };
    [start].into_iter().chain(needs).flatten().find(|(writer, clock)| *clock > outlook.clock(*writer))
}

/// Parts `update`, whose blocks are `blocks`, and raises the clocks of `outlook` by the part that is ready, which enters
/// `grounds`.
///
/// # Errors
/// `Refused` over a block that contradicts itself.
pub(super) fn split(
    update: &Bytes,
    scan: &Scan,
    blocks: &[Placed<'_>],
    outlook: &mut Outlook<'_>,
    grounds: &mut Grounds,
) -> Result<Parts, EngineError> {
    let mut rows: Vec<_> =
        blocks.chunk_by(|a, b| a.writer == b.writer).map(|blocks| Row { blocks, next: 0, missing: None }).collect();
    let mut waiting: BTreeMap<Missing, Vec<usize>> = BTreeMap::new();
    let mut due: Vec<usize> = (0..rows.len()).collect();
    while let Some(index) = due.pop() {
        let row = &mut rows[index];
        row.advance(outlook, grounds)?;
        if let Some(missing) = row.missing {
            waiting.entry(missing).or_default().push(index);
        }
        if let Some(block) = row.blocks.first() {
            let reached: Vec<_> = waiting
                .range((block.writer, 0)..=(block.writer, outlook.clock(block.writer)))
                .map(|(missing, _)| *missing)
                .collect();
            due.extend(reached.iter().filter_map(|missing| waiting.remove(missing)).flatten());
        }
    }
    let (deletes, later) = split_deletes(&scan.info.deletes, outlook);
    let mut parts = Parts::default();
    let done: Vec<_> = rows.iter().map(|row| &row.blocks[..row.next]).filter(|blocks| !blocks.is_empty()).collect();
    parts.advanced = done.iter().filter_map(|blocks| blocks.last()).map(|block| (block.writer, block.to)).collect();
    if later.is_empty() && rows.iter().all(|row| row.missing.is_none()) {
        parts.ready = Some(update.clone());
    } else if !done.is_empty() || !deletes.is_empty() {
        parts.ready = Some(encode(update, &done, &deletes));
    }
    for row in &rows {
        if let Some(missing) = row.missing {
            parts.rest.push((missing, encode(update, &[&row.blocks[row.next..]], &[])));
        }
    }
    for ranges in later.chunk_by(|a, b| a.writer == b.writer) {
        parts.rest.push(((ranges[0].writer, ranges[0].to), encode(update, &[], ranges)));
    }
    Ok(parts)
}

/// Deleted ranges below and above the clocks known.
fn split_deletes(deletes: &[ClockRange], outlook: &Outlook<'_>) -> (Vec<ClockRange>, Vec<ClockRange>) {
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for range in deletes {
        let known = outlook.clock(range.writer).clamp(range.from, range.to);
        if range.from < known {
            now.push(ClockRange { to: known, ..*range });
        }
        if known < range.to {
            later.push(ClockRange { from: known, ..*range });
        }
    }
    (now, later)
}

fn encode(update: &[u8], rows: &[&[Placed<'_>]], deletes: &[ClockRange]) -> Bytes {
    let mut out = EncoderV1::new();
    out.write_var(rows.len());
    for row in rows {
        out.write_var(row.len());
        out.write_var(row[0].writer);
        out.write_var(row[0].from);
        for block in *row {
            out.write_all(&update[block.bytes.clone()]);
        }
    }
    let clients: Vec<_> = deletes.chunk_by(|a, b| a.writer == b.writer).collect();
    out.write_var(clients.len());
    for ranges in clients {
        out.write_var(ranges[0].writer);
        out.write_var(ranges.len());
        for range in ranges {
            out.write_var(range.from);
            out.write_var(range.to - range.from);
        }
    }
    out.to_vec().into()
}
