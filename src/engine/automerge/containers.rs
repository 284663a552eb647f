//! Which object of the document a container's name refers to. Layer 1.
//!
//! A container created by us is found by its creation, whatever another program later does to the root key: deleting
//! or replacing the key hides it from that program only. Where no such creation is known, the object another program
//! put under the key is taken.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{Automerge, ObjId, ObjType, ROOT, ReadDoc, Value as Stored, ValueRef};

use super::{
    super::{Container, ContainerKind, EngineError},
    creation::Creation,
};

/// The containers created by us, by name.
#[derive(Debug, Default)]
pub(super) struct Containers {
    created: BTreeMap<Arc<str>, (ContainerKind, ObjId)>,
    count: usize,
}

impl Containers {
    /// Remembers a creation. Of several kinds under one name the one automerge shows is taken: all are operation 1,
    /// so the greatest actor wins.
    pub(super) fn add(&mut self, creation: &Creation) {
        self.count += 1;
        let object = creation.object();
        let Container { kind, name } = &creation.container;
        match self.created.get(name) {
            Some((_, known)) if *known >= object => {}
            _ => {
                self.created.insert(name.clone(), (*kind, object));
            }
        }
    }

    /// How many creations are known.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The container of that name.
    pub(super) fn find(&self, document: &Automerge, name: &str) -> Option<(ContainerKind, ObjId)> {
        if let Some(found) = self.created.get(name) {
            return Some(found.clone());
        }
        match document.get(ROOT, name) {
            Ok(Some((Stored::Object(kind), object))) => Some((kind_of(kind), object)),
            _ => None,
        }
    }

    /// The container of that name, which must be of that kind.
    pub(super) fn expect(
        &self,
        document: &Automerge,
        name: &str,
        expected: ContainerKind,
    ) -> Result<Option<ObjId>, EngineError> {
        match self.find(document, name) {
            None => Ok(None),
            Some((kind, object)) if kind == expected => Ok(Some(object)),
            Some((found, _)) => Err(EngineError::WrongType { name: name.to_owned(), expected, found }),
        }
    }

    /// All containers, sorted by name.
    pub(super) fn list(&self, document: &Automerge) -> Vec<Container> {
        let mut kinds: BTreeMap<Arc<str>, ContainerKind> = BTreeMap::new();
        for item in document.map_range(ROOT, ..) {
            if let ValueRef::Object(kind) = item.value {
                kinds.insert(Arc::from(item.key.as_ref()), kind_of(kind));
            }
        }
        kinds.extend(self.created.iter().map(|(name, (kind, _))| (name.clone(), *kind)));
        kinds.into_iter().map(|(name, kind)| Container { kind, name }).collect()
    }
}

/// The kind of container an object can serve as.
pub(super) const fn kind_of(object: ObjType) -> ContainerKind {
    match object {
        ObjType::Map | ObjType::Table => ContainerKind::Map,
        ObjType::List => ContainerKind::List,
        ObjType::Text => ContainerKind::Text,
    }
}
