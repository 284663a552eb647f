//! Subdocuments in an update: a guid, and options for whoever opens it as a document of its own. Layer 1, pure.
//!
//! Yjs spreads the options over those of a new document without looking. So they have to be a map (Yjs throws over
//! anything else), and may name neither another guid nor `gcFilter`, which Yjs would call as a function.

use std::ops::Range;

use super::lib0::{self, Flaw, Reader};
use crate::limits;

/// What the engine keeps subdocuments as: binary values that begin with this, so no others may.
pub(in crate::engine) const SUBDOC_TAG: [u8; 16] = *b"\0aepoch:subdoc\0\0";

/// Where in an update a subdocument is written.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Subdoc {
    /// The first byte of its block.
    pub(in crate::engine) info: usize,
    /// The guid and the options.
    pub(in crate::engine) content: Range<usize>,
}

/// Reads a guid and options. Returns the values met, and the depth of what an agent is shown: an object with the
/// options in it.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(u64, usize), Flaw> {
    const MAP: u8 = 118;
    if reader.name(limits::SUBDOC_GUID_BYTES, "guid of a subdocument")?.is_empty() {
        return Err(Flaw("guid of a subdocument is empty".to_owned()));
    }
    let start = reader.position();
    let tag = reader.byte("options of a subdocument")?;
    if tag != MAP {
        return Err(Flaw(format!("options of a subdocument are a value of tag {tag}, not a map")));
    }
    let (mut values, mut deepest) = (1, 0);
    for _ in 0..reader.count(2, "options of a subdocument")? {
        let option = reader.name(limits::KEY_BYTES, "option of a subdocument")?;
        if matches!(option, "guid" | "gcFilter") {
            return Err(Flaw(format!("option `{option}` of a subdocument is not for its writer to set")));
        }
        let (more, depth) = lib0::any(reader)?;
        values += more;
        deepest = depth.max(deepest);
    }
    let (bytes, depth) = (reader.position() - start, deepest + 2);
    if bytes > limits::VALUE_BYTES {
        return Err(Flaw(format!("options of a subdocument of {bytes} bytes, limit {}", limits::VALUE_BYTES)));
    }
    if depth > limits::VALUE_DEPTH {
        return Err(Flaw(format!("subdocument nested {depth} deep, limit {}", limits::VALUE_DEPTH)));
    }
    Ok((values, depth))
}
