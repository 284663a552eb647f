//! Checking a transaction before it opens: names, kinds, positions at each point of the list, sizes. Layer 1.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use automerge::{Automerge, ReadDoc};

use super::{
    super::{Container, ContainerKind, EngineError, EngineKind, Op, Value},
    containers::Containers,
    creation::Creation,
    value::{Cost, Form, check_key, form_of, measure, too_large},
};
use crate::limits;

/// Containers one transaction may create: each is a dependency of the change that follows.
const CREATIONS: usize = 1_024;
/// Operations, and values they replace, in one transaction: as many as every peer's inspection lets pass.
const OPS: usize = limits::UPDATE_OPS as usize;
/// Bytes one operation may take beside its key and value, where run lengths do not help.
const OP_BYTES: usize = 16;

/// What has been learnt of a container while walking the list.
#[derive(Debug)]
struct Place {
    container: Container,
    len: usize,
    exists: bool,
}

/// A transaction being checked.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    document: &'a Automerge,
    containers: &'a Containers,
    places: BTreeMap<Arc<str>, Place>,
    creations: Vec<Creation>,
    ops: usize,
    bytes: usize,
}

impl<'a> Plan<'a> {
    /// Checks all of `ops`, as if each had been applied before the next; gives the containers to create.
    pub(super) fn check(
        document: &'a Automerge,
        containers: &'a Containers,
        ops: &[Op],
    ) -> Result<Vec<Creation>, EngineError> {
        let mut plan = Self { document, containers, places: BTreeMap::new(), creations: Vec::new(), ops: 0, bytes: 0 };
        for op in ops {
            plan.add(op)?;
        }
        if plan.ops > OPS {
            return Err(too_large("operations of a transaction".to_owned(), plan.ops, OPS));
        }
        let bytes = plan.bytes + plan.ops * 2;
        if bytes > limits::UPDATE_BYTES {
            return Err(too_large("bytes of a transaction".to_owned(), bytes, limits::UPDATE_BYTES));
        }
        if plan.creations.len() > CREATIONS {
            return Err(too_large("containers created".to_owned(), plan.creations.len(), CREATIONS));
        }
        let total = containers.count() + plan.creations.len();
        if total > super::CONTAINERS {
            return Err(too_large("containers of a document".to_owned(), total, super::CONTAINERS));
        }
        Ok(plan.creations)
    }

    fn add(&mut self, op: &Op) -> Result<(), EngineError> {
        let container = op.container();
        let name = container.name.clone();
        let len = self.place(container)?.len;
        match op {
            Op::MapPut { key, value, .. } => {
                check_key(key)?;
                let cost = measure(&format!("`{name}`/`{}`", shortened(key)), value)?;
                let cost = Cost { ops: cost.ops + 1, ..cost };
                self.write(&name, cost, key.len() + OP_BYTES);
            }
            Op::MapRemove { key, .. } => {
                check_key(key)?;
                self.spend(Cost { ops: 2, bytes: key.len() + OP_BYTES });
            }
            Op::ListInsert { index, values, .. } => {
                check_index(&name, index.unwrap_or(len), len)?;
                for value in values {
                    let cost = measure(&format!("`{name}`"), value)?;
                    self.write(&name, cost, 0);
                }
                self.grow(&name, values.len());
            }
            Op::TextInsert { index, chars, .. } => {
                check_index(&name, index.unwrap_or(len), len)?;
                let count = chars.chars().count();
                if count > 0 {
                    self.write(&name, Cost { ops: count, bytes: chars.len() }, 0);
                    self.grow(&name, count);
                }
            }
            Op::ListRemove { range, .. } | Op::TextRemove { range, .. } => {
                check_range(&name, range, len)?;
                self.spend(Cost { ops: 2 * range.len(), bytes: range.len() * OP_BYTES });
                if let Some(place) = self.places.get_mut(&name) {
                    place.len -= range.len();
                }
            }
            Op::TextFormat { range, attribute, value, .. } => {
                check_range(&name, range, len)?;
                check_key(attribute)?;
                check_formatting(value)?;
                let cost = measure(&format!("formatting of `{name}`"), value)?;
                self.spend(Cost { ops: 2, bytes: cost.bytes + attribute.len() + 2 * OP_BYTES });
            }
        }
        Ok(())
    }

    /// The container's state at this point of the list.
    fn place(&mut self, container: Container) -> Result<&mut Place, EngineError> {
        let Container { kind, name } = container;
        if !self.places.contains_key(&name) {
            check_name(&name)?;
            let found = self.containers.find(self.document, &name);
            let exists = found.is_some();
            let (kind, len) = match found {
                None => (kind, 0),
                Some((kind @ ContainerKind::Map, _)) => (kind, 0),
                Some((kind, object)) => (kind, self.document.length(&object)),
            };
            let container = Container { kind, name: name.clone() };
            self.places.insert(name.clone(), Place { container, len, exists });
        }
        match self.places.get_mut(&name) {
            Some(place) if place.container.kind == kind => Ok(place),
            Some(place) => {
                let found = place.container.kind;
                Err(EngineError::WrongType { name: name.as_ref().to_owned(), expected: kind, found })
            }
            None => Err(EngineError::Corrupt { what: "plan", reason: format!("`{name}` is lost") }),
        }
    }

    /// Counts something written, and has its container created if need be.
    fn write(&mut self, name: &Arc<str>, cost: Cost, more_bytes: usize) {
        self.spend(Cost { ops: cost.ops, bytes: cost.bytes + more_bytes });
        if let Some(place) = self.places.get_mut(name)
            && !place.exists
        {
            place.exists = true;
            self.creations.push(Creation::new(place.container.clone()));
        }
    }

    fn spend(&mut self, cost: Cost) {
        self.ops += cost.ops;
        self.bytes += cost.bytes;
    }

    fn grow(&mut self, name: &Arc<str>, by: usize) {
        if let Some(place) = self.places.get_mut(name) {
            place.len += by;
        }
    }
}

fn shortened(key: &str) -> String {
    key.chars().take(40).collect()
}

fn check_name(name: &str) -> Result<(), EngineError> {
    let what = || format!("name of container `{}`", shortened(name));
    if name.len() > limits::CONTAINER_NAME_BYTES {
        return Err(too_large(what(), name.len(), limits::CONTAINER_NAME_BYTES));
    }
    let segments = name.split('/').count();
    if segments > limits::CONTAINER_SEGMENTS {
        return Err(too_large(what(), segments, limits::CONTAINER_SEGMENTS));
    }
    Ok(())
}

fn check_index(name: &str, index: usize, len: usize) -> Result<(), EngineError> {
    if index > len {
        return Err(EngineError::OutOfRange { name: name.to_owned(), index, len });
    }
    Ok(())
}

fn check_range(name: &str, range: &Range<usize>, len: usize) -> Result<(), EngineError> {
    check_index(name, range.end, len)?;
    check_index(name, range.start, range.end)
}

/// automerge marks carry one scalar.
fn check_formatting(value: &Value) -> Result<(), EngineError> {
    match form_of(value) {
        Form::Scalar(_) => Ok(()),
        Form::List(_) | Form::Map(_) => Err(EngineError::Unsupported {
            engine: EngineKind::Automerge,
            what: "keep a list or a map as the value of a formatting attribute",
        }),
    }
}
