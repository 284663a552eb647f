//! What records say, and which records a document takes in at all.

use serde::{Deserialize, Serialize};

use super::{Member, Slot};
use crate::{
    document::{DocumentError, Record, RecordKind},
    engine::Value,
    id::{AgentId, ReplicaId},
    limits,
};

/// The largest number of a record or commit: the largest integer JavaScript holds exactly.
pub(in crate::document) const SEQ_MAX: u64 = ReplicaId::MAX;
/// Bytes the envelope around a value's JSON may take: a version, a tag and a length.
const ENVELOPE_BYTES: usize = 24;

/// The body of register, agent and member records, encoded with postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::document) struct Body<'a> {
    /// One more than the highest version its writer saw.
    pub(in crate::document) version: u64,
    #[serde(borrow)]
    pub(in crate::document) content: BodyContent<'a>,
}

/// The variants' order is part of the wire and storage formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::document) enum BodyContent<'a> {
    /// JSON text.
    Json(&'a str),
    /// The value was taken away; overrides what its writer had seen.
    Cleared,
    /// What stood here was overridden by another writer; says nothing any more.
    Stub,
}

impl<'a> Body<'a> {
    pub(in crate::document) fn decode(bytes: &'a [u8]) -> Result<Self, String> {
        match postcard::take_from_bytes(bytes) {
            Ok((body, [])) => Ok(body),
            Ok((_, rest)) => Err(format!("{} bytes after the body", rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(in crate::document) fn encode(&self, slot: &Slot) -> Result<Box<[u8]>, DocumentError> {
        postcard::to_stdvec(self)
            .map(Vec::into_boxed_slice)
            .map_err(|error| DocumentError::Serialize { path: slot.path_text(), reason: error.to_string() })
    }

    /// The value, when there is one.
    pub(in crate::document) fn value(&self) -> Option<Value> {
        match self.content {
            BodyContent::Json(text) => serde_json::from_str(text).ok(),
            BodyContent::Cleared | BodyContent::Stub => None,
        }
    }
}

/// A counter's body: what its writer has added in total.
pub(in crate::document) fn decode_share(body: &[u8]) -> Result<i64, String> {
    match postcard::take_from_bytes(body) {
        Ok((share, [])) => Ok(share),
        Ok((_, rest)) => Err(format!("{} bytes after the total", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The JSON text of a value to be written to `slot`, within the limits.
pub(in crate::document) fn json_text(slot: &Slot, value: &Value) -> Result<String, DocumentError> {
    let depth = depth(value);
    if depth > limits::VALUE_DEPTH {
        let what = format!("nesting of `{}`", slot.path_text());
        return Err(DocumentError::TooLarge { what, size: depth, max: limits::VALUE_DEPTH });
    }
    let text = value.to_string();
    if text.len() > limits::VALUE_BYTES {
        let what = format!("value of `{}`", slot.path_text());
        return Err(DocumentError::TooLarge { what, size: text.len(), max: limits::VALUE_BYTES });
    }
    Ok(text)
}

/// Nesting of a value. Recursive: values come from serde_json, which stops at 128, or from the caller's own types.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Checks the key of a record: one rule for our own and for peers' records.
pub(in crate::document) fn check_key(slot: &Slot) -> Result<(), DocumentError> {
    let refuse = |reason: String| DocumentError::Record { path: shortened(&slot.path_text()), reason };
    if slot.key.is_empty() {
        return Err(refuse("a key must not be empty".to_owned()));
    }
    if slot.key.len() > limits::KEY_BYTES {
        return Err(refuse(format!("key of {} bytes is over the limit of {}", slot.key.len(), limits::KEY_BYTES)));
    }
    match slot.kind {
        RecordKind::Register | RecordKind::Counter => Ok(()),
        RecordKind::Agent => match slot.key.split_once('/') {
            Some((agent, key)) if !key.is_empty() => {
                AgentId::new(agent).map(drop).map_err(|error| refuse(error.to_string()))
            }
            _ => Err(refuse("the key of an agent's state is `agent/key`".to_owned())),
        },
        RecordKind::Member => AgentId::new(&slot.key).map(drop).map_err(|error| refuse(error.to_string())),
    }
}

/// Checks a peer's record by itself: key, sizes, order of its context, and that its body says something.
pub(in crate::document) fn check_record(record: &Record) -> Result<(), DocumentError> {
    let slot = Slot { kind: record.kind, key: record.key.clone() };
    check_key(&slot)?;
    let refuse = |reason: String| DocumentError::Record { path: shortened(&slot.path_text()), reason };
    if record.seq == 0 || record.seq > SEQ_MAX {
        return Err(refuse(format!("number {} is outside 1..={SEQ_MAX}", record.seq)));
    }
    let max = limits::VALUE_BYTES + ENVELOPE_BYTES;
    if record.body.len() > max {
        return Err(refuse(format!("body of {} bytes is over the limit of {max}", record.body.len())));
    }
    if record.context.len() > limits::RECORD_CONTEXT {
        let (len, max) = (record.context.len(), limits::RECORD_CONTEXT);
        return Err(refuse(format!("context of {len} writers is over the limit of {max}")));
    }
    if !record.context.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(refuse("its context is not sorted by writer".to_owned()));
    }
    if let Some(seal) = record.signature.as_ref().filter(|seal| seal.len() > limits::SEAL_BYTES) {
        return Err(refuse(format!("seal of {} bytes is over the limit of {}", seal.len(), limits::SEAL_BYTES)));
    }
    match record.kind {
        RecordKind::Counter => decode_share(&record.body).map(drop).map_err(refuse),
        RecordKind::Register | RecordKind::Agent | RecordKind::Member => check_body(record).map_err(refuse),
    }
}

fn check_body(record: &Record) -> Result<(), String> {
    let BodyContent::Json(text) = Body::decode(&record.body)?.content else { return Ok(()) };
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let depth = depth(&value);
    if depth > limits::VALUE_DEPTH {
        return Err(format!("nesting of {depth} is over the limit of {}", limits::VALUE_DEPTH));
    }
    if record.kind == RecordKind::Member {
        let member: Member = serde_json::from_value(value).map_err(|error| error.to_string())?;
        member.check()?;
        if member.agent.as_str() != &*record.key {
            return Err(format!("describes `{}`", member.agent));
        }
    }
    Ok(())
}

/// A peer's text as far as an error message should carry it.
fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}
