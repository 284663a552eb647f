//! Patches: what changed, from automerge's own log of it. Layer 1.
//!
//! A composite value is one value to an observer, so a change anywhere inside it is reported as its replacement.
//!
//! automerge 0.12 (`PatchLog::mark`) adds the formatting of a text to that of another one when nothing else was logged
//! between them. Where several texts were formatted, each is therefore reported as formatted from start to end.

use std::{collections::BTreeSet, sync::Arc};

use automerge::{Automerge, ChangeHash, ObjId, Patch, PatchAction, Prop, ROOT, ReadDoc, legacy::OpType};

use super::{
    super::{Change, Container, ContainerKind, Path, Segment, Value},
    containers::Containers,
    value::{VALUE_LEVEL, View},
};

/// Turns automerge's patches into ours.
#[derive(Debug)]
pub(super) struct Observer<'a> {
    containers: &'a Containers,
    now: View<'a>,
    before: View<'a>,
    /// Values already reported whole, so that patches inside them say nothing new.
    fresh: BTreeSet<ObjId>,
    keys: BTreeSet<(Arc<str>, String)>,
    /// Texts formatted, when the log may have mixed them up.
    mixed: BTreeSet<String>,
    patches: Vec<(Path, Change)>,
}

impl<'a> Observer<'a> {
    /// Reports the change of `document` since `before`.
    pub(super) fn report(
        document: &'a Automerge,
        containers: &'a Containers,
        before: &'a [ChangeHash],
        patches: &[Patch],
    ) -> Vec<(Path, Change)> {
        let mut observer = Self {
            containers,
            now: View { document, heads: None },
            before: View { document, heads: Some(before) },
            fresh: BTreeSet::new(),
            keys: BTreeSet::new(),
            mixed: BTreeSet::new(),
            patches: Vec::new(),
        };
        if patches.iter().any(|patch| matches!(patch.action, PatchAction::Mark { .. })) {
            observer.mixed = formatted(document, before);
            if observer.mixed.len() < 2 {
                observer.mixed.clear();
            }
        }
        for patch in patches {
            observer.add(patch);
        }
        observer.add_mixed();
        observer.patches
    }

    fn add(&mut self, patch: &Patch) {
        // The first step leads from the root to the container, the second into it.
        let (Some((root, Prop::Map(name))), inner) = (patch.path.first(), patch.path.get(1)) else { return };
        let object = inner.map_or(&patch.obj, |(object, _)| object);
        let Some((kind, found)) = self.containers.find(self.now.document, name) else { return };
        if *root != ROOT || found != *object {
            return;
        }
        let container = Container { kind, name: Arc::from(name.as_str()) };
        match inner {
            None => self.direct(&container, object, &patch.action),
            Some((_, prop)) => {
                let value = patch.path.get(2).map_or(&patch.obj, |(value, _)| value);
                if self.fresh.insert(value.clone()) {
                    self.replaced(&container, object, prop);
                }
            }
        }
    }

    fn direct(&mut self, container: &Container, object: &ObjId, action: &PatchAction) {
        match action {
            PatchAction::PutMap { key, value: (_, id), .. } => {
                self.fresh.insert(id.clone());
                self.put(container, object, key);
            }
            PatchAction::DeleteMap { key } => self.put(container, object, key),
            PatchAction::PutSeq { index, value: (value, id), .. } => {
                self.fresh.insert(id.clone());
                let value = self.now.stored(value, id, VALUE_LEVEL);
                self.splice(container, *index, 1, vec![value]);
            }
            PatchAction::Insert { index, values } => {
                let mut inserted = Vec::with_capacity(values.len());
                for (value, id, _) in values {
                    self.fresh.insert(id.clone());
                    inserted.push(self.now.stored(value, id, VALUE_LEVEL));
                }
                self.splice(container, *index, 0, inserted);
            }
            PatchAction::SpliceText { index, value, .. } => {
                self.splice(container, *index, 0, vec![Value::String(value.make_string())]);
            }
            PatchAction::DeleteSeq { index, length } => self.splice(container, *index, *length, Vec::new()),
            PatchAction::Increment { prop, .. } => self.replaced(container, object, prop),
            PatchAction::Mark { .. } if !self.mixed.is_empty() => {}
            PatchAction::Mark { marks } => {
                for mark in marks {
                    let len = mark.end.saturating_sub(mark.start);
                    self.patches.push((path(container, Segment::Index(mark.start)), Change::Format { len }));
                }
            }
            PatchAction::Conflict { .. } => {}
        }
    }

    /// After all else, so that the length is that of the text by then.
    fn add_mixed(&mut self) {
        if self.mixed.is_empty() {
            return;
        }
        let document = self.now.document;
        for container in self.containers.list(document) {
            let Some((ContainerKind::Text, text)) = self.containers.find(document, &container.name) else { continue };
            let len = document.length(&text);
            if len > 0 && self.mixed.contains(&text.to_string()) {
                self.patches.push((path(&container, Segment::Index(0)), Change::Format { len }));
            }
        }
    }

    fn replaced(&mut self, container: &Container, object: &ObjId, prop: &Prop) {
        match prop {
            Prop::Map(key) => self.put(container, object, key),
            Prop::Seq(index) => {
                if let Some(value) = self.now.element(object, *index) {
                    self.splice(container, *index, 1, vec![value]);
                }
            }
        }
    }

    fn put(&mut self, container: &Container, map: &ObjId, key: &str) {
        if !self.keys.insert((container.name.clone(), key.to_owned())) {
            return;
        }
        let (old, new) = (self.before.get(map, key), self.now.get(map, key));
        if old != new {
            self.patches.push((path(container, Segment::Key(Arc::from(key))), Change::Put { old, new }));
        }
    }

    fn splice(&mut self, container: &Container, index: usize, removed: usize, inserted: Vec<Value>) {
        let inserted = match container.kind {
            ContainerKind::Text => {
                // Another program's block shows as one replacement character.
                let text = |value: Value| match value {
                    Value::String(text) => text,
                    _ => "\u{fffc}".to_owned(),
                };
                vec![Value::String(inserted.into_iter().map(text).collect())]
            }
            ContainerKind::Map | ContainerKind::List => inserted,
        };
        self.patches.push((path(container, Segment::Index(index)), Change::Splice { removed, inserted }));
    }
}

/// Names of the objects in which anything was formatted since `before`.
fn formatted(document: &Automerge, before: &[ChangeHash]) -> BTreeSet<String> {
    let marks = |action: &OpType| matches!(action, OpType::MarkBegin(_) | OpType::MarkEnd(_));
    let changes = document.get_changes(before).into_iter().map(|change| change.decode());
    changes.flat_map(|change| change.operations).filter(|op| marks(&op.action)).map(|op| op.obj.to_string()).collect()
}

/// Reports everything in a document that was empty before.
pub(super) fn report_all(document: &Automerge, containers: &Containers) -> Vec<(Path, Change)> {
    let view = View { document, heads: None };
    let mut patches = Vec::new();
    for container in containers.list(document) {
        let Some((_, object)) = containers.find(document, &container.name) else { continue };
        let inserted = match container.kind {
            ContainerKind::Map => {
                patches.extend(view.entries(&object, 1).into_iter().map(|(key, value)| {
                    (path(&container, Segment::Key(Arc::from(key))), Change::Put { old: None, new: Some(value) })
                }));
                continue;
            }
            ContainerKind::List => view.items(&object, 1),
            ContainerKind::Text => {
                let text = document.text(&object).unwrap_or_default();
                if text.is_empty() { Vec::new() } else { vec![Value::String(text)] }
            }
        };
        if !inserted.is_empty() {
            patches.push((path(&container, Segment::Index(0)), Change::Splice { removed: 0, inserted }));
        }
    }
    patches
}

fn path(container: &Container, within: Segment) -> Path {
    Path { section: container.kind.into(), name: container.name.clone(), within: Some(within) }
}
