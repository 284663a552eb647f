//! The past of a document's content, where the engine keeps it. Records have none: each replaces the one before.

use serde_json::Map as Object;

use super::{Document, DocumentError, path::container_kind, read::render_container};
use crate::engine::{HistoryEntry, Section, Value};

impl Document {
    /// The changes of the content, each after those it builds on. Two replicas that hold the same may order changes made at
    /// the same time differently. Linear in the number of changes.
    ///
    /// # Errors
    /// `Engine` with `Unsupported` where the engine keeps none.
    pub fn history(&self) -> Result<Vec<HistoryEntry>, DocumentError> {
        Ok(self.engine.history()?)
    }

    /// The content as it was after the first `changes` of [`Document::history`], in the form of [`Document::render`].
    /// Applies all of these anew: linear in their operations.
    ///
    /// # Errors
    /// `Engine` with `Unsupported` where the engine keeps no history, with `OutOfRange` when it has fewer changes.
    pub fn content_after(&self, changes: usize) -> Result<Value, DocumentError> {
        let past = self.engine.past(changes)?;
        let mut sections = Object::new();
        for section in Section::ALL {
            let Some(kind) = container_kind(section) else { continue };
            let mut named = Object::new();
            for container in past.containers().into_iter().filter(|container| container.kind == kind) {
                named.insert(container.name.as_ref().to_owned(), render_container(&*past, &container)?);
            }
            if !named.is_empty() {
                sections.insert(section.as_str().to_owned(), Value::Object(named));
            }
        }
        Ok(Value::Object(sections))
    }
}
