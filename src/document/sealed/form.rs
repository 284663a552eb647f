//! The signed body of a record: all that says what it is about and has no place of its own in the preimage.
//!
//! Big-endian, lengths before what varies. A record: length and bytes of the key, stamp, fence, number of entries in the
//! context with writer and number of each, body. A coordination record: holder and number of the object, where there is
//! one, then the body.

use sha2::{Digest as _, Sha256};

use crate::{
    document::{Record, RecordKind, SlotKey, SlotPart, SlotRecord},
    trust::record::Kind,
};

/// Kind, length and hash.
pub(super) type Form = (Kind, u32, [u8; 32]);

pub(super) fn of_record(record: &Record) -> Form {
    let kind = match record.kind {
        RecordKind::Register => Kind::Register,
        RecordKind::Counter => Kind::Counter,
        RecordKind::Agent => Kind::Agent,
        RecordKind::Member => Kind::Member,
    };
    let mut body = Body::default();
    body.put(&(record.key.len() as u32).to_be_bytes());
    body.put(record.key.as_bytes());
    body.put(&record.hlc.0.to_be_bytes());
    body.put(&record.fence.to_be_bytes());
    body.put(&(record.context.len() as u32).to_be_bytes());
    for (writer, seq) in &record.context {
        body.put(&writer.get().to_be_bytes());
        body.put(&seq.to_be_bytes());
    }
    body.put(&record.body);
    body.form(kind)
}

pub(super) fn of_slot(record: &SlotRecord) -> Form {
    let kind = match record.key {
        SlotKey::Closed => Kind::Closed,
        SlotKey::Credential => Kind::Credential,
        SlotKey::Of(_, part) => match part {
            SlotPart::Definition => Kind::Definition,
            SlotPart::Slot => Kind::Slot,
            SlotPart::Payload => Kind::Payload,
            SlotPart::Item => Kind::Item,
            SlotPart::Claim => Kind::Claim,
            SlotPart::Mark => Kind::Mark,
        },
    };
    let mut body = Body::default();
    if let Some(object) = record.key.object() {
        body.put(&object.holder.get().to_be_bytes());
        body.put(&object.number.to_be_bytes());
    }
    body.put(&record.body);
    body.form(kind)
}

#[derive(Default)]
struct Body {
    len: usize,
    hash: Sha256,
}

impl Body {
    fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.hash.update(bytes);
    }

    fn form(self, kind: Kind) -> Form {
        // Bodies are bounded far below 4 GiB before anything is signed or checked.
        (kind, u32::try_from(self.len).unwrap_or(u32::MAX), self.hash.finalize().into())
    }
}
