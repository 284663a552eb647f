//! Reading a document: records by name, anything by path, everything as JSON.

use serde_json::Map as Object;

use super::{
    Candidate, Document, DocumentError, Member, RecordKind, Resolver, Version,
    path::{container_kind, record_kind, split, unknown},
    records::Slot,
    transaction::agent_slot,
};
use crate::{
    engine::{Container, ContainerKind, Engine, Path, Section, Value},
    id::{AgentId, ReplicaId},
};

impl Document {
    /// A register's value as `resolver` sees it.
    pub fn register(&self, name: &str, resolver: &Resolver) -> Option<Value> {
        resolver.resolve(&self.lattice, &Slot::new(RecordKind::Register, name))
    }

    /// All values of a register that nobody has overridden, newest first: more than one is a conflict.
    pub fn register_values(&self, name: &str) -> Vec<Candidate> {
        self.lattice.candidates(&Slot::new(RecordKind::Register, name))
    }

    /// The highest version among a register's values; zero when nobody wrote it.
    pub fn register_version(&self, name: &str) -> u64 {
        self.lattice.slot_version(&Slot::new(RecordKind::Register, name))
    }

    /// The names of registers that were ever written, sorted; cleared ones are among them.
    pub fn register_names(&self) -> impl Iterator<Item = &str> {
        self.lattice.slots(RecordKind::Register).map(|slot| &*slot.key)
    }

    /// Registers with more than one value that nobody has overridden, sorted by name.
    pub fn conflicts(&self) -> Vec<(&str, Vec<Candidate>)> {
        let slots = self.lattice.slots(RecordKind::Register);
        let values = slots.map(|slot| (&*slot.key, self.lattice.candidates(slot)));
        values.filter(|(_, candidates)| candidates.len() > 1).collect()
    }

    /// A counter's sum, held within 64 bits; zero when nobody has added anything.
    pub fn counter(&self, name: &str) -> i64 {
        self.lattice.total(&Slot::new(RecordKind::Counter, name)).unwrap_or(0)
    }

    /// One key of an agent's state.
    pub fn agent_value(&self, agent: &AgentId, key: &str) -> Option<Value> {
        self.lattice.current(&agent_slot(agent, key))
    }

    /// All of an agent's state, sorted by key.
    pub fn agent_values(&self, agent: &AgentId) -> Vec<(String, Value)> {
        let prefix = format!("{agent}/");
        let slots = self.lattice.slots(RecordKind::Agent);
        let own = slots.filter_map(|slot| Some((slot, slot.key.strip_prefix(&prefix)?)));
        own.filter_map(|(slot, key)| Some((key.to_owned(), self.lattice.current(slot)?))).collect()
    }

    /// The members, sorted by agent, each with the replica of its newest incarnation.
    pub fn members(&self) -> Vec<(ReplicaId, Member)> {
        self.lattice.members()
    }

    /// What has changed since `version`, at paths that start with `prefix`.
    ///
    /// For records this is exact: a path is listed when a record newer than `version` is visible there. Content is
    /// not tracked by container: when any of it is newer, every container is listed, because each may have changed.
    pub fn changes_since(&self, version: &Version, prefix: &str) -> Vec<Path> {
        let mut paths = Vec::new();
        if !version.content.covers(&self.version.content) {
            let containers = self.engine.containers().into_iter();
            paths.extend(containers.map(|Container { kind, name }| Path { section: kind.into(), name, within: None }));
        }
        let newer = |(writer, _): (ReplicaId, u64)| {
            let records = self.lattice.numbered(writer, version.records.get(writer));
            records.filter(move |(slot, entry)| self.lattice.entry(slot, writer) == Some(*entry))
        };
        paths.extend(self.version.records.iter().flat_map(newer).map(|(slot, _)| slot.path()));
        paths.sort();
        paths.dedup();
        paths.retain(|path| path.to_string().starts_with(prefix));
        paths
    }

    /// What is at a path: one value (`register/setlist`, `map/files/a`, `list/jobs/3`), a container or agent
    /// (`map/files`, `agent/planner-1`), a section (`counter`), or everything (empty). A key of a map is found below
    /// the deepest container whose name begins the path.
    ///
    /// # Errors
    /// `UnknownPath` when there is nothing.
    pub fn get_path(&self, path: &str) -> Result<Value, DocumentError> {
        if path.is_empty() {
            return self.render();
        }
        let (section, rest) = split(path)?;
        if rest.is_empty() {
            return self.render_section(section);
        }
        let found = if let Some(kind) = container_kind(section) {
            self.get_content(kind, rest)?
        } else if section == Section::Agent && !rest.contains('/') {
            let agent = AgentId::new(rest)?;
            let values: Object<String, Value> = self.agent_values(&agent).into_iter().collect();
            (!values.is_empty()).then_some(Value::Object(values))
        } else {
            record_kind(section).and_then(|kind| self.lattice.current(&Slot::new(kind, rest)))
        };
        found.ok_or_else(|| unknown(path))
    }

    fn get_content(&self, kind: ContainerKind, rest: &str) -> Result<Option<Value>, DocumentError> {
        let Some((container, within)) = self.find_container(kind, rest) else { return Ok(None) };
        let Some(within) = within else { return self.render_container(&container).map(Some) };
        Ok(match kind {
            ContainerKind::Map => self.engine.map_get(&container.name, within)?,
            ContainerKind::List => match within.parse::<usize>() {
                Ok(index) => self.engine.list_values(&container.name)?.into_iter().nth(index),
                Err(_) => None,
            },
            ContainerKind::Text => None,
        })
    }

    /// The whole document as JSON: an object of sections, each an object of names; sections without anything are
    /// left out.
    ///
    /// # Errors
    /// `Engine` only when the content contradicts itself.
    pub fn render(&self) -> Result<Value, DocumentError> {
        let mut sections = Object::new();
        for section in Section::ALL {
            let value = self.render_section(section)?;
            if value.as_object().is_some_and(|object| !object.is_empty()) {
                sections.insert(section.as_str().to_owned(), value);
            }
        }
        Ok(Value::Object(sections))
    }

    fn render_section(&self, section: Section) -> Result<Value, DocumentError> {
        let mut object = Object::new();
        if let Some(kind) = container_kind(section) {
            for container in self.engine.containers().into_iter().filter(|container| container.kind == kind) {
                object.insert(container.name.as_ref().to_owned(), self.render_container(&container)?);
            }
        } else if let Some(kind) = record_kind(section) {
            for slot in self.lattice.slots(kind) {
                let Some(value) = self.lattice.current(slot) else { continue };
                match slot.key.split_once('/') {
                    Some((agent, key)) if kind == RecordKind::Agent => {
                        let agent = object.entry(agent).or_insert_with(|| Value::Object(Object::new()));
                        if let Value::Object(values) = agent {
                            values.insert(key.to_owned(), value);
                        }
                    }
                    _ => {
                        object.insert(slot.key.as_ref().to_owned(), value);
                    }
                }
            }
        }
        Ok(Value::Object(object))
    }

    pub(super) fn render_container(&self, container: &Container) -> Result<Value, DocumentError> {
        render_container(&*self.engine, container)
    }
}

pub(super) fn render_container(engine: &dyn Engine, container: &Container) -> Result<Value, DocumentError> {
    let name = &container.name;
    Ok(match container.kind {
        ContainerKind::Map => {
            let entries = engine.map_entries(name)?.into_iter();
            Value::Object(entries.map(|(key, value)| (key.as_ref().to_owned(), value)).collect())
        }
        ContainerKind::List => Value::Array(engine.list_values(name)?),
        ContainerKind::Text => Value::String(engine.text_spans(name)?.into_iter().map(|span| span.text).collect()),
    })
}
