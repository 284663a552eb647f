//! The creation of a container: one change that every replica writes to the byte. Layer 1.
//!
//! automerge would make two objects of two concurrent creations and show one. A change is identified by its hash, so
//! when both replicas write the same bytes there is only one creation, and the container is shared.

use std::sync::Arc;

use automerge::{ActorId, Change, ObjId};
use sha2::{Digest, Sha256};

use super::{
    super::{Container, ContainerKind, EngineError},
    actor::creator_of,
};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;

/// The creation of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Creation {
    pub(super) container: Container,
}

impl Creation {
    pub(super) const fn new(container: Container) -> Self {
        Self { container }
    }

    /// The creation whose only operation has this action on this name, if there is one.
    pub(in crate::engine) fn from_operation(action: u64, name: &str) -> Option<Self> {
        let kind = match action {
            0 => ContainerKind::Map,
            2 => ContainerKind::List,
            4 => ContainerKind::Text,
            _ => return None,
        };
        Some(Self::new(Container { kind, name: Arc::from(name) }))
    }

    const fn action(&self) -> u8 {
        match self.container.kind {
            ContainerKind::Map => 0,
            ContainerKind::List => 2,
            ContainerKind::Text => 4,
        }
    }

    fn actor(&self) -> [u8; 16] {
        creator_of(self.action(), &self.container.name)
    }

    /// The container as an object of the document.
    pub(super) fn object(&self) -> ObjId {
        ObjId::Id(1, ActorId::from(self.actor()), 0)
    }

    /// The change, as a chunk: no dependencies, number 1, operation 1, time 0, no message, one operation.
    pub(in crate::engine) fn bytes(&self) -> Vec<u8> {
        let name = self.container.name.as_bytes();
        let mut key = vec![0x7f];
        unsigned(&mut key, name.len());
        key.extend_from_slice(name);
        let mut body = vec![0, 16];
        body.extend_from_slice(&self.actor());
        body.extend_from_slice(&[1, 1, 0, 0, 0]);
        // Five columns: the key, not an insertion, the action, no value, no predecessors.
        body.extend_from_slice(&[5, 0x15]);
        unsigned(&mut body, key.len());
        body.extend_from_slice(&[0x34, 1, 0x42, 2, 0x56, 2, 0x70, 2]);
        body.extend_from_slice(&key);
        body.extend_from_slice(&[1, 0x7f, self.action(), 0x7f, 0, 0x7f, 0]);
        let mut hashed = vec![CHANGE];
        unsigned(&mut hashed, body.len());
        hashed.extend_from_slice(&body);
        let mut chunk = MAGIC.to_vec();
        chunk.extend_from_slice(&Sha256::digest(&hashed)[..4]);
        chunk.extend_from_slice(&hashed);
        chunk
    }

    /// The change, for the engine.
    pub(super) fn change(&self) -> Result<Change, EngineError> {
        Change::from_bytes(self.bytes()).map_err(|error| EngineError::Poisoned { reason: error.to_string() })
    }
}

/// Writes a number in LEB128.
pub(in crate::engine) fn unsigned(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use automerge::{
        Automerge, ObjType, ROOT,
        transaction::{CommitOptions, Transactable},
    };

    use super::*;

    #[test]
    fn the_bytes_are_those_automerge_itself_would_write() {
        let names = ["jobs", "posts/42/comments", "é", &"n".repeat(200)];
        for (kind, object) in [
            (ContainerKind::Map, ObjType::Map),
            (ContainerKind::List, ObjType::List),
            (ContainerKind::Text, ObjType::Text),
        ] {
            for name in names {
                let creation = Creation::new(Container { kind, name: Arc::from(name) });
                let mut document = Automerge::new().with_actor(ActorId::from(creation.actor()));
                let mut transaction = document.transaction();
                let made = transaction.put_object(ROOT, name, object).unwrap();
                transaction.commit_with(CommitOptions::default().with_time(0));
                assert_eq!(creation.bytes(), document.get_last_local_change().unwrap().raw_bytes());
                assert_eq!(creation.object(), made);
            }
        }
    }
}
