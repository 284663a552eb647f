//! Digests: two replicas compare them from the top down to prove that they hold the same, or to find where they
//! first differ.

use std::{collections::BTreeMap, fmt::Display};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    DigestEntry, Document, DocumentError, RecordKind, canonical,
    comparison::{Group, add},
    path::{container_kind, record_kind, split, unknown},
    records::Slot,
};
use crate::engine::{Container, ContainerKind, Section, TextSpan, Value};

/// Elements of a list, and characters of a text, under one line of a digest.
const LIST_RUN: usize = 64;
const TEXT_RUN: usize = 256;

const RECORD_KINDS: [RecordKind; 4] =
    [RecordKind::Register, RecordKind::Counter, RecordKind::Agent, RecordKind::Member];

/// A digest as text: lower-case hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Document {
    /// One hash for all that is visible here. Equal on both engines for equal values; writers of records count.
    ///
    /// # Errors
    /// As [`Self::digest`].
    pub fn root_digest(&self) -> Result<[u8; 32], DocumentError> {
        let mut hasher = Sha256::new();
        for entry in self.digest_within(&Group::of("")?)? {
            add(&mut hasher, &entry);
        }
        Ok(hasher.finalize().into())
    }

    /// The parts of what is at `path`, sorted by path, each with its hash. Empty: every container and every kind of
    /// records. A container: its keys, or runs of its elements. A kind of records: its keys. Anything else: itself.
    /// Where there are more than [`limits::DIGEST_LINES`](crate::limits::DIGEST_LINES), groups of them, which are paths
    /// too: see [`Self::compare`].
    ///
    /// Empty containers are left out, because one engine may remember them and the other not. Cost grows with what
    /// is below the path.
    ///
    /// # Errors
    /// `UnknownPath` when there is nothing at the path.
    pub fn digest(&self, path: &str) -> Result<Vec<DigestEntry>, DocumentError> {
        let group = Group::of(path)?;
        Ok(group.told(self.digest_within(&group)?))
    }

    /// All parts in a group, sorted by path.
    pub(super) fn digest_within(&self, group: &Group<'_>) -> Result<Vec<DigestEntry>, DocumentError> {
        let mut entries = if group.below.is_empty() { self.digest_all(group)? } else { self.digest_part(group)? };
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn digest_all(&self, group: &Group<'_>) -> Result<Vec<DigestEntry>, DocumentError> {
        let mut entries = Vec::new();
        for container in self.engine.containers() {
            let path = format!("{}/{}", Section::from(container.kind).as_str(), container.name);
            if group.holds(&path) && self.engine.len(&container)? > 0 {
                entries.push(entry(path, &self.canonical_container(&container)?));
            }
        }
        for kind in RECORD_KINDS {
            let path = kind.section().as_str();
            if !group.holds(path) {
                continue;
            }
            let values: BTreeMap<&str, Value> =
                self.lattice.slots(kind).filter_map(|slot| Some((&*slot.key, self.canonical_record(slot)?))).collect();
            if !values.is_empty() {
                entries.push(entry(path.to_owned(), &json!(values)));
            }
        }
        let coordination = Section::Coordination.as_str();
        if group.holds(coordination) && self.board.len() > 0 {
            entries.push(entry(coordination.to_owned(), &json!(self.canonical_slots())));
        }
        Ok(entries)
    }

    /// The coordination records, by path: every one with its writer counts.
    fn canonical_slots(&self) -> BTreeMap<String, Value> {
        let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, writer, body) in self.board.iter() {
            values.entry(key.to_string()).or_default().push(json!([writer.to_string(), hex(body)]));
        }
        values.into_iter().map(|(path, written)| (path, Value::Array(written))).collect()
    }

    fn digest_slots(&self, group: &Group<'_>, rest: &str) -> Result<Vec<DigestEntry>, DocumentError> {
        let path = |key: &str| format!("{}/{key}", Section::Coordination.as_str());
        let all = self.canonical_slots();
        if rest.is_empty() {
            let held = all.iter().map(|(key, value)| (path(key), value)).filter(|(path, _)| group.holds(path));
            return Ok(held.map(|(path, value)| entry(path, value)).collect());
        }
        let value = all.get(rest).ok_or_else(|| unknown(group.below))?;
        Ok(vec![entry(path(rest), value)])
    }

    fn digest_part(&self, group: &Group<'_>) -> Result<Vec<DigestEntry>, DocumentError> {
        let path = group.below;
        let (section, rest) = split(path)?;
        if let Some(kind) = record_kind(section) {
            if rest.is_empty() {
                let slots = self.lattice.slots(kind).map(|slot| (format!("{path}/{}", slot.key), slot));
                let held = slots.filter(|(path, _)| group.holds(path));
                return Ok(held.filter_map(|(path, slot)| Some(entry(path, &self.canonical_record(slot)?))).collect());
            }
            let value = self.canonical_record(&Slot::new(kind, rest)).ok_or_else(|| unknown(path))?;
            return Ok(vec![entry(path.to_owned(), &value)]);
        }
        if section == Section::Coordination {
            return self.digest_slots(group, rest);
        }
        let found = container_kind(section).and_then(|kind| self.find_container(kind, rest));
        let Some((container, within)) = found else { return Err(unknown(path)) };
        let prefix = format!("{}/{}", section.as_str(), container.name);
        let mut entries = self.digest_container(&prefix, &container, group)?;
        if within.is_some() {
            entries.retain(|entry| entry.path == path);
            if entries.is_empty() {
                return Err(unknown(path));
            }
        }
        Ok(entries)
    }

    fn digest_container(
        &self,
        prefix: &str,
        container: &Container,
        group: &Group<'_>,
    ) -> Result<Vec<DigestEntry>, DocumentError> {
        let name = &container.name;
        let line = |part: &dyn Display, value: &Value| {
            let path = format!("{prefix}/{part}");
            group.holds(&path).then(|| entry(path, value))
        };
        Ok(match container.kind {
            ContainerKind::Map => {
                let entries = self.engine.map_entries(name)?.into_iter();
                entries.filter_map(|(key, value)| line(&key, &value)).collect()
            }
            ContainerKind::List => {
                let values = self.engine.list_values(name)?;
                let runs = values.chunks(LIST_RUN).enumerate();
                runs.filter_map(|(index, run)| line(&(index * LIST_RUN), &json!(run))).collect()
            }
            ContainerKind::Text => {
                let pieces = pieces(&self.engine.text_spans(name)?, TEXT_RUN);
                let numbered = pieces.iter().enumerate();
                numbered.filter_map(|(index, piece)| line(&(index * TEXT_RUN), piece)).collect()
            }
        })
    }

    fn canonical_container(&self, container: &Container) -> Result<Value, DocumentError> {
        match container.kind {
            ContainerKind::Map | ContainerKind::List => self.render_container(container),
            ContainerKind::Text => Ok(json!(pieces(&self.engine.text_spans(&container.name)?, usize::MAX))),
        }
    }

    /// What is visible of a slot, with its writers; what was overridden does not count, shrunk or not.
    fn canonical_record(&self, slot: &Slot) -> Option<Value> {
        if slot.kind == RecordKind::Counter {
            self.lattice.total(slot)?;
            let shares = self
                .lattice
                .shown(slot)
                .map(|(writer, _)| (writer.to_string(), Value::from(self.lattice.share(slot, writer))));
            return Some(Value::Object(shares.collect()));
        }
        let candidates = self.lattice.candidates(slot);
        let written = candidates.into_iter().map(|candidate| {
            json!([candidate.writer.to_string(), candidate.hlc.0.to_string(), candidate.version, candidate.value])
        });
        let written: Vec<Value> = written.collect();
        (!written.is_empty()).then_some(Value::Array(written))
    }
}

/// A text cut after every `len` characters, each piece as its canonical runs: an engine's own cuts must not show.
fn pieces(spans: &[TextSpan], len: usize) -> Vec<Value> {
    let mut pieces = Vec::new();
    let mut runs: Vec<(String, Value)> = Vec::new();
    let mut filled = 0;
    for span in spans {
        let attributes: BTreeMap<_, _> = span.attributes.iter().filter(|(_, value)| !value.is_null()).collect();
        let attributes = json!(attributes);
        for char in span.text.chars() {
            match runs.last_mut() {
                Some((text, same)) if *same == attributes => text.push(char),
                _ => runs.push((char.to_string(), attributes.clone())),
            }
            filled += 1;
            if filled == len {
                pieces.push(json!(std::mem::take(&mut runs)));
                filled = 0;
            }
        }
    }
    if filled > 0 {
        pieces.push(json!(runs));
    }
    pieces
}

fn entry(path: String, value: &Value) -> DigestEntry {
    DigestEntry { path, hash: canonical::hash(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, attributes: &[(&str, Value)]) -> TextSpan {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        TextSpan { text: text.to_owned(), attributes }
    }

    #[test]
    fn how_an_engine_cuts_a_text_does_not_show() {
        let bold = [("bold", json!(true))];
        let whole = [span("héllo", &bold), span("w", &[])];
        let cut = [span("hé", &bold), span("llo", &bold), span("", &[]), span("w", &[("bold", Value::Null)])];
        assert_eq!(pieces(&whole, usize::MAX), pieces(&cut, usize::MAX));
        assert_eq!(pieces(&whole, 4), pieces(&cut, 4));
        assert_eq!(pieces(&whole, 4).len(), 2);
        assert_ne!(pieces(&whole, 4), pieces(&[span("héllow", &bold)], 4));
    }
}
