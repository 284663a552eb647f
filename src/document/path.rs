//! Paths as text, and what they lead to.

use std::str::FromStr;

use super::{Document, DocumentError};
use crate::engine::{Container, ContainerKind, Path, Section, Segment};

impl FromStr for Path {
    type Err = DocumentError;

    /// Reads `section/name` and `agent/name/key`. Names of containers hold `/` themselves, so only the document can
    /// tell where a key begins: for content, all that follows the section is taken as the name. See
    /// [`Document::get_path`].
    fn from_str(text: &str) -> Result<Self, DocumentError> {
        let (section, rest) = split(text)?;
        if rest.is_empty() {
            return Err(unknown(text));
        }
        match (section, rest.split_once('/')) {
            (Section::Agent, Some((agent, key))) if !agent.is_empty() && !key.is_empty() => {
                Ok(Self { section, name: agent.into(), within: Some(Segment::Key(key.into())) })
            }
            (Section::Agent, Some(_)) => Err(unknown(text)),
            _ => Ok(Self { section, name: rest.into(), within: None }),
        }
    }
}

impl Document {
    /// The container that `rest` leads into, and what follows its name; of nested containers the deepest that
    /// exists.
    pub(super) fn find_container<'a>(
        &self,
        kind: ContainerKind,
        rest: &'a str,
    ) -> Option<(Container, Option<&'a str>)> {
        let containers: Vec<Container> =
            self.engine.containers().into_iter().filter(|container| container.kind == kind).collect();
        let named = |name: &str| containers.iter().find(|container| &*container.name == name).cloned();
        if let Some(container) = named(rest) {
            return Some((container, None));
        }
        let mut slashes = rest.rmatch_indices('/');
        slashes.find_map(|(at, _)| Some((named(&rest[..at])?, Some(&rest[at + 1..]))))
    }
}

/// The section a path begins with, and the rest; the rest is empty for the section itself.
pub(super) fn split(text: &str) -> Result<(Section, &str), DocumentError> {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    let section = Section::ALL.into_iter().find(|section| section.as_str() == first);
    section.map(|section| (section, rest)).ok_or_else(|| unknown(text))
}

pub(super) fn unknown(path: &str) -> DocumentError {
    DocumentError::UnknownPath { path: path.chars().take(200).collect() }
}

pub(super) const fn container_kind(section: Section) -> Option<ContainerKind> {
    match section {
        Section::Map => Some(ContainerKind::Map),
        Section::List => Some(ContainerKind::List),
        Section::Text => Some(ContainerKind::Text),
        Section::Register | Section::Counter | Section::Agent | Section::Member | Section::Coordination => None,
    }
}

pub(super) const fn record_kind(section: Section) -> Option<super::RecordKind> {
    match section {
        Section::Register => Some(super::RecordKind::Register),
        Section::Counter => Some(super::RecordKind::Counter),
        Section::Agent => Some(super::RecordKind::Agent),
        Section::Member => Some(super::RecordKind::Member),
        Section::Map | Section::List | Section::Text | Section::Coordination => None,
    }
}
