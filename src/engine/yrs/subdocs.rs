//! Subdocuments: how they are kept, and how they read. Layer 1, pure.
//!
//! Of a subdocument a document holds no more than its name, which clients open as a document of its own, and options
//! for whoever does. yrs is not shown any: it keeps a whole document for each, with numbers drawn at random; forgets the
//! options it does not know (`meta` is one); counts references in a circle, so that a parent is never freed; and reads a
//! block it has freed where a subdocument goes with the type it lay in (0.28.1, `Doc::destroy`). To yrs it is a binary
//! value, which behaves the same: it takes one clock, is neither cut nor joined with others, and is deleted, overwritten
//! and collected like any value.
//!
//! Such a value begins with [`SUBDOC_TAG`], which nobody else's may; behind it are the name and the options as their
//! writer wrote them. What leaves is a subdocument again (see [`super::encode`]).

use std::borrow::Cow;

use ::yrs::{
    Any, Update,
    encoding::{read::Cursor, write::Write},
    updates::decoder::Decode,
};
use serde_json::json;

use super::value::from_any;
use crate::engine::{
    EngineError, Value,
    inspect::yrs::{
        BINARY, CONTENT_BITS, SUBDOC, SUBDOC_TAG, Subdoc,
        lib0::{Flaw, Reader},
    },
};

/// Decodes an update that holds `subdocs`, as they lie in it.
///
/// # Errors
/// `Refused` when yrs cannot read it.
pub(super) fn decode(update: &[u8], subdocs: &[Subdoc]) -> Result<Update, EngineError> {
    Update::decode_v1(&hide(update, subdocs)).map_err(|error| EngineError::Refused { reason: error.to_string() })
}

/// The update with binary values for its subdocuments.
fn hide<'a>(update: &'a [u8], subdocs: &[Subdoc]) -> Cow<'a, [u8]> {
    if subdocs.is_empty() {
        return Cow::Borrowed(update);
    }
    let mut out = Vec::with_capacity(update.len() + subdocs.len() * (SUBDOC_TAG.len() + 4));
    let mut done = 0;
    for Subdoc { info, content } in subdocs {
        out.extend_from_slice(&update[done..*info]);
        out.push(update[*info] & !CONTENT_BITS | BINARY);
        out.extend_from_slice(&update[*info + 1..content.start]);
        out.write_var(SUBDOC_TAG.len() + content.len());
        out.extend_from_slice(&SUBDOC_TAG);
        out.extend_from_slice(&update[content.clone()]);
        done = content.end;
    }
    out.extend_from_slice(&update[done..]);
    Cow::Owned(out)
}

/// Writes a binary value whose block began with the info at `info`: as the subdocument it stands for, if it does.
pub(super) fn show(out: &mut Vec<u8>, info: usize, value: &[u8]) {
    match value.strip_prefix(&SUBDOC_TAG) {
        Some(content) => {
            out[info] = out[info] & !CONTENT_BITS | SUBDOC;
            out.extend_from_slice(content);
        }
        None => out.write_buf(value),
    }
}

/// What a binary value reads as if it stands for a subdocument: `{"guid": .., "options": {..}}`.
pub(super) fn read(value: &[u8]) -> Option<Value> {
    let content = value.strip_prefix(&SUBDOC_TAG)?;
    let read = || {
        let mut reader = Reader::new(content);
        let guid = reader.string("guid")?;
        let options = Any::decode(&mut Cursor::new(&content[reader.position()..]));
        let options = options.map_err(|error| Flaw(error.to_string()))?;
        Ok::<_, Flaw>(json!({ "guid": guid, "options": from_any(&options) }))
    };
    // Inspected before it came in.
    Some(read().unwrap_or(Value::Null))
}
