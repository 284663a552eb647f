//! The prescan of yrs updates (version 1 of the encoding; version 2 is never used). Layer 1, pure.
//!
//! An update is: clients, each with blocks of consecutive clocks; then deleted ranges by client. What is refused though
//! yrs would read it: weak links (not ours), legacy JSON blocks (yrs 0.28 reads one string too many), a client listed
//! twice (yrs lets the second overlap the first), empty blocks, clocks over [`CLOCK_END`] (yrs wraps at 2^32), binary
//! values that pass for subdocuments (see [`subdoc`]).
//!
//! Size: an update is at most [`limits::DOCUMENT_BYTES`], since a snapshot is an update too and nothing in the bytes
//! tells one from the other. Blocks and values together are at most [`OPS_MAX`], the same allowance per byte as that of
//! one commit. Clocks of deleted blocks are not counted: a run of a million costs a few bytes here and in memory.

use std::collections::{BTreeMap, BTreeSet};

use self::lib0::{Flaw, Id, Reader};
use super::{ClockRange, EngineError, UpdateInfo};
use crate::{engine::EngineKind, limits};

pub(crate) mod lib0;
pub(in crate::engine) mod nesting;
mod subdoc;

pub(in crate::engine) use self::{
    nesting::{Nesting, Place, Placed},
    subdoc::{SUBDOC_TAG, Subdoc},
};

/// Blocks and values in one update of the largest size: [`limits::UPDATE_OPS`] for each [`limits::UPDATE_BYTES`].
const OPS_MAX: u64 = limits::UPDATE_OPS * (limits::DOCUMENT_BYTES / limits::UPDATE_BYTES) as u64;

/// The furthest clock a writer may reach: one more commit must fit below [`limits::CLOCK_MAX`]. A run that ends any
/// later would silence its writer.
pub(in crate::engine) const CLOCK_END: u64 = limits::CLOCK_MAX - limits::UPDATE_OPS;

/// The bits of a block's first byte that say what kind of content it has.
pub(in crate::engine) const CONTENT_BITS: u8 = 0b1111;
/// The kind of a binary value.
pub(in crate::engine) const BINARY: u8 = 3;
/// The kind of a subdocument.
pub(in crate::engine) const SUBDOC: u8 = 9;

/// What an update says, for the engine.
#[derive(Debug, Default)]
pub(in crate::engine) struct Scan {
    /// The part that everyone may know.
    pub(in crate::engine) info: UpdateInfo,
    /// Per writer, the clock that must be known for the references of the blocks to resolve; the update's own
    /// blocks count as known.
    pub(in crate::engine) needs: BTreeMap<u64, u64>,
    /// Names of root types that blocks are in, as far as blocks say.
    pub(in crate::engine) roots: BTreeSet<String>,
    /// It holds nested shared types.
    pub(in crate::engine) has_types: bool,
    /// Its subdocuments, in the order they are written.
    pub(in crate::engine) subdocs: Vec<Subdoc>,
}

/// Reads and bounds `update`.
///
/// # Errors
/// `Refused` with the value and the limit.
pub(super) fn inspect(update: &[u8]) -> Result<UpdateInfo, EngineError> {
    let Scan { info, needs, has_types, .. } = scan(update)?;
    if has_types {
        admit(&mut Nesting::default(), update)?;
    }
    Ok(UpdateInfo { needs: needs.into_iter().collect(), ..info })
}

/// Reads `update` and learns what the engine needs to know before it applies it. Nesting is left to [`admit`].
///
/// # Errors
/// `Refused`.
pub(in crate::engine) fn scan(update: &[u8]) -> Result<Scan, EngineError> {
    Scanner::read(update, &mut |_| {}).map_err(refused)
}

/// Bounds the nesting of shared types in an update that [`scan`] has passed.
///
/// # Errors
/// `Refused`.
pub(in crate::engine) fn admit(nesting: &mut Nesting, update: &[u8]) -> Result<(), EngineError> {
    nesting.admit(blocks(update)?).map_err(refused)
}

/// The blocks of an update in the order they are written, those of a writer one after the other.
///
/// # Errors
/// `Refused`.
pub(in crate::engine) fn blocks(update: &[u8]) -> Result<Vec<Placed<'_>>, EngineError> {
    let mut blocks = Vec::new();
    Scanner::read(update, &mut |block| blocks.push(block)).map_err(refused)?;
    Ok(blocks)
}

fn refused(flaw: Flaw) -> EngineError {
    EngineError::Refused { reason: flaw.0 }
}

struct Scanner<'a, 'f> {
    reader: Reader<'a>,
    scan: Scan,
    on_block: &'f mut dyn FnMut(Placed<'a>),
}

/// What the content of a block says of it.
struct Content {
    len: u64,
    is_format: bool,
}

impl<'a, 'f> Scanner<'a, 'f> {
    fn read(update: &'a [u8], on_block: &'f mut dyn FnMut(Placed<'a>)) -> Result<Scan, Flaw> {
        if update.len() > limits::DOCUMENT_BYTES {
            return Err(Flaw(format!("update of {} bytes, limit {}", update.len(), limits::DOCUMENT_BYTES)));
        }
        let mut scanner = Self { reader: Reader::new(update), scan: Scan::default(), on_block };
        scanner.clients()?;
        scanner.deletes()?;
        scanner.reader.end("update")?;
        scanner.scan.info.inserts.sort_unstable();
        scanner.scan.info.deletes.sort_unstable();
        Ok(scanner.scan)
    }

    fn clients(&mut self) -> Result<(), Flaw> {
        let count = self.reader.count(4, "clients")?;
        within(count, EngineKind::Yrs.most_writers(), "clients")?;
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let blocks = self.reader.count(2, "blocks")?;
            let writer = self.reader.client("client")?;
            if !seen.insert(writer) {
                return Err(Flaw(format!("client {writer} is listed twice")));
            }
            if blocks == 0 {
                return Err(Flaw(format!("client {writer} has no blocks")));
            }
            let mut clock = self.reader.clock("clock")?;
            for _ in 0..blocks {
                let len = self.block(writer, clock)?;
                clock += len;
                if clock > CLOCK_END {
                    return Err(Flaw(format!("clock {clock} of {writer} is over the limit of {CLOCK_END}")));
                }
                self.spend(1)?;
            }
        }
        Ok(())
    }

    /// Reads one block; returns the clocks it takes.
    fn block(&mut self, writer: u64, clock: u64) -> Result<u64, Flaw> {
        const GC: u8 = 0;
        const SKIP: u8 = 10;
        let start = self.reader.position();
        let info = self.reader.byte("a block")?;
        if info == GC || info == SKIP {
            let len = self.length("block")?;
            if info == GC {
                self.inserted(writer, clock, len);
            }
            let place = if info == GC { Place::Nowhere } else { Place::Gap };
            let bytes = start..self.reader.position();
            (self.on_block)(Placed { writer, from: clock, to: clock + len, place, keyed: false, bytes });
            return Ok(len);
        }
        let (place, keyed) = self.place(writer, clock, info)?;
        let content_at = self.reader.position();
        let content = self.content(info & CONTENT_BITS)?;
        if info & CONTENT_BITS == SUBDOC {
            self.scan.subdocs.push(Subdoc { info: start, content: content_at..self.reader.position() });
        }
        if content.len == 0 {
            return Err(Flaw(format!("block {writer}:{clock} is empty")));
        }
        if keyed && content.is_format {
            return Err(Flaw(format!("block {writer}:{clock} is a map entry without a value")));
        }
        self.inserted(writer, clock, content.len);
        let bytes = start..self.reader.position();
        (self.on_block)(Placed { writer, from: clock, to: clock + content.len, place, keyed, bytes });
        Ok(content.len)
    }

    /// Reads where a block lies, and whether it names a key.
    fn place(&mut self, writer: u64, clock: u64, info: u8) -> Result<(Place<'a>, bool), Flaw> {
        let left = if info & 0x80 != 0 { Some(self.reference(writer, clock)?) } else { None };
        let right = if info & 0x40 != 0 { Some(self.reference(writer, clock)?) } else { None };
        if left.is_some() || right.is_some() {
            return Ok((Place::Beside(left, right), false));
        }
        let place = match self.reader.var("a parent")? {
            1 => {
                let root = self.reader.name(limits::CONTAINER_NAME_BYTES, "container name")?;
                if !self.scan.roots.contains(root) {
                    self.scan.roots.insert(root.to_owned());
                }
                Place::Root(root)
            }
            0 => Place::Inside(self.reference(writer, clock)?),
            kind => return Err(Flaw(format!("parent kind {kind} is unknown"))),
        };
        let keyed = info & 0x20 != 0;
        if keyed {
            self.reader.name(limits::KEY_BYTES, "key")?;
        }
        Ok((place, keyed))
    }

    /// Reads the id of a block that the block at `clock` builds on.
    fn reference(&mut self, writer: u64, clock: u64) -> Result<Id, Flaw> {
        let id = self.reader.id("a reference")?;
        if id.0 == writer && id.1 >= clock {
            return Err(Flaw(format!("block {writer}:{clock} refers to {}, which is not before it", id.1)));
        }
        let need = self.scan.needs.entry(id.0).or_insert(0);
        *need = (id.1 + 1).max(*need);
        Ok(id)
    }

    fn content(&mut self, kind: u8) -> Result<Content, Flaw> {
        let one = Content { len: 1, is_format: false };
        match kind {
            1 => Ok(Content { len: self.length("deleted run")?, ..one }),
            BINARY => lib0::binary(&mut self.reader, "binary content").map(|()| one),
            4 => {
                let text = self.reader.string("text")?;
                Ok(Content { len: text.encode_utf16().count() as u64, ..one })
            }
            5 => {
                let embed = self.reader.string("embed")?;
                // Reading a text yields strings for characters and values for embeds; a string must stay the former.
                if embed.trim_start().starts_with('"') {
                    return Err(Flaw("embed is a bare string".to_owned()));
                }
                self.json(embed, "embed").map(|()| one)
            }
            6 => {
                self.reader.name(limits::KEY_BYTES, "attribute")?;
                let value = self.reader.string("attribute value")?;
                self.json(value, "attribute value").map(|()| Content { is_format: true, ..one })
            }
            7 => self.shared_type().map(|()| one),
            8 => {
                let len = self.reader.count(1, "values")?;
                for _ in 0..len {
                    let (values, depth) = lib0::any(&mut self.reader)?;
                    self.spend(values)?;
                    self.scan.info.depth = self.scan.info.depth.max(depth);
                }
                Ok(Content { len: len as u64, ..one })
            }
            2 => Err(Flaw("legacy json content is not supported".to_owned())),
            SUBDOC => {
                let (values, depth) = subdoc::read(&mut self.reader)?;
                self.spend(values)?;
                self.scan.info.depth = self.scan.info.depth.max(depth);
                Ok(one)
            }
            _ => Err(Flaw(format!("content kind {kind} is unknown"))),
        }
    }

    fn json(&mut self, text: &str, what: &str) -> Result<(), Flaw> {
        let depth = lib0::json(text, what)?;
        self.scan.info.depth = self.scan.info.depth.max(depth);
        Ok(())
    }

    fn shared_type(&mut self) -> Result<(), Flaw> {
        self.scan.has_types = true;
        match self.reader.byte("a type")? {
            // Array, map, text, fragment, formatted xml text.
            0 | 1 | 2 | 4 | 6 => Ok(()),
            3 => self.reader.name(limits::KEY_BYTES, "element name").map(drop),
            kind => Err(Flaw(format!("shared type {kind} is not supported"))),
        }
    }

    fn deletes(&mut self) -> Result<(), Flaw> {
        let count = self.reader.count(4, "clients with deletions")?;
        within(count, EngineKind::Yrs.most_writers(), "clients with deletions")?;
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let writer = self.reader.client("client with deletions")?;
            if !seen.insert(writer) {
                return Err(Flaw(format!("deletions of client {writer} are listed twice")));
            }
            let mut end = 0;
            for _ in 0..self.reader.count(2, "deleted ranges")? {
                let from = self.reader.clock("deleted clock")?;
                let to = from + self.length("deleted range")?;
                if from < end || to > CLOCK_END {
                    return Err(Flaw(format!("deleted range {from}..{to} of {writer} is out of order or bounds")));
                }
                push(&mut self.scan.info.deletes, ClockRange { writer, from, to });
                end = to;
            }
        }
        Ok(())
    }

    fn length(&mut self, what: &str) -> Result<u64, Flaw> {
        match self.reader.clock(what)? {
            0 => Err(Flaw(format!("{what} is empty"))),
            len => Ok(len),
        }
    }

    fn inserted(&mut self, writer: u64, clock: u64, len: u64) {
        push(&mut self.scan.info.inserts, ClockRange { writer, from: clock, to: clock + len });
    }

    fn spend(&mut self, ops: u64) -> Result<(), Flaw> {
        self.scan.info.ops += ops;
        if self.scan.info.ops > OPS_MAX {
            return Err(Flaw(format!("over {OPS_MAX} blocks and values")));
        }
        Ok(())
    }
}

/// Appends a range, joined to the last one where they meet.
fn push(ranges: &mut Vec<ClockRange>, range: ClockRange) {
    match ranges.last_mut() {
        Some(last) if last.writer == range.writer && last.to == range.from => last.to = range.to,
        _ => ranges.push(range),
    }
}

fn within(count: usize, max: usize, what: &str) -> Result<(), Flaw> {
    if count > max {
        return Err(Flaw(format!("{count} {what}, limit {max}")));
    }
    Ok(())
}
