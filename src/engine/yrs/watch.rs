//! Turns what yrs observers report into patches. Layer 1, pure.
//!
//! Observers hang on root types, and yrs calls them only for roots whose kind it was told. Kinds follow from content
//! (see [`super::shape`]), so a root is observed once something is in it; a name that was emptied and then reused as
//! another kind stays silent until the content is loaded anew.
//!
//! A change within a shared type that a plain Yjs client nested in a container is reported as a change of the whole
//! element: with the new value, and without the old one, which is gone by then.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::yrs::{
    Array, DeepObservable, Map, Out, ReadTxn, TextRef, TransactionMut, WriteTxn,
    types::{
        Change as ListChange, Delta, EntryChange, Event, Events, PathSegment, array::ArrayEvent, map::MapEvent,
        text::TextEvent,
    },
};

use super::{
    shape::{self, Shape},
    value::from_out,
};
use crate::engine::{Change, ContainerKind, Path, Segment, Value};

const KEY: &str = "aepoch";

/// Length of a text in scalar values and in UTF-16 units.
type Length = (usize, usize);

#[derive(Debug, Default)]
struct Journal {
    patches: Vec<(Path, Change)>,
    /// How long every observed text is: what removed characters were cannot be asked any more.
    texts: BTreeMap<Arc<str>, Length>,
}

/// The observers of one document.
#[derive(Debug, Default)]
pub(super) struct Watch {
    journal: Arc<Mutex<Journal>>,
    observed: BTreeSet<Arc<str>>,
    /// Roots whose kind is not known yet.
    waiting: BTreeSet<Arc<str>>,
    started: bool,
}

impl Watch {
    /// Observes everything that is there, before a transaction changes it.
    pub(super) fn before(&mut self, txn: &mut TransactionMut<'_>) {
        if !self.started {
            self.started = true;
            self.waiting.extend(txn.root_refs().map(|(name, _)| Arc::from(name)));
        }
        for name in std::mem::take(&mut self.waiting) {
            match shape::shape(txn, &name) {
                Some(shape) => self.observe(txn, &name, shape.kind, (shape.len, shape.units)),
                None => drop(self.waiting.insert(name)),
            }
        }
        self.journal().patches.clear();
    }

    /// Observes roots that this transaction is filling, before it is committed.
    pub(super) fn during<'n>(&mut self, txn: &mut TransactionMut<'_>, roots: impl Iterator<Item = &'n str>) {
        let new: Vec<Arc<str>> = roots.filter(|name| !self.observed.contains(*name)).map(Arc::from).collect();
        self.waiting.extend(new);
        for name in std::mem::take(&mut self.waiting) {
            match shape::shape(txn, &name) {
                Some(shape) => self.observe(txn, &name, shape.kind, (0, 0)),
                None => drop(self.waiting.insert(name)),
            }
        }
    }

    /// Notes roots that changed while nobody watched.
    pub(super) fn missed<'n>(&mut self, roots: impl Iterator<Item = &'n str>) {
        if self.started {
            let new: Vec<Arc<str>> = roots.filter(|name| !self.observed.contains(*name)).map(Arc::from).collect();
            self.waiting.extend(new);
        }
    }

    /// The patches of the transaction just committed: by container, and within one in the order they apply.
    pub(super) fn take(&mut self) -> Vec<(Path, Change)> {
        let mut patches = std::mem::take(&mut self.journal().patches);
        patches.sort_by(|(a, _), (b, _)| (a.section, &a.name).cmp(&(b.section, &b.name)));
        patches
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    fn observe(&mut self, txn: &mut TransactionMut<'_>, name: &Arc<str>, kind: ContainerKind, len: Length) {
        if !self.observed.insert(name.clone()) {
            return;
        }
        let observer = Observer { name: name.clone(), journal: self.journal.clone() };
        match kind {
            ContainerKind::Map => {
                txn.get_or_insert_map(name.clone()).observe_deep(KEY, move |txn, events| observer.notice(txn, events));
            }
            ContainerKind::List => {
                txn.get_or_insert_array(name.clone())
                    .observe_deep(KEY, move |txn, events| observer.notice(txn, events));
            }
            ContainerKind::Text => {
                self.journal().texts.insert(name.clone(), len);
                txn.get_or_insert_text(name.clone()).observe_deep(KEY, move |txn, events| observer.notice(txn, events));
            }
        }
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Observer {
    name: Arc<str>,
    journal: Arc<Mutex<Journal>>,
}

impl Observer {
    fn notice(&self, txn: &TransactionMut<'_>, events: &Events<'_>) {
        // yrs panics over map entries that a peer made without a value; the content itself is sound.
        let patches = catch_unwind(AssertUnwindSafe(|| self.patches(txn, events))).unwrap_or_default();
        lock(&self.journal).patches.extend(patches);
    }

    fn patches(&self, txn: &TransactionMut<'_>, events: &Events<'_>) -> Vec<(Path, Change)> {
        let mut patches = Vec::new();
        let mut elements = BTreeSet::new();
        for event in events.iter() {
            match (event.path().pop_front(), event) {
                (None, Event::Map(event)) => {
                    elements.extend(event.keys(txn).keys().map(|key| Segment::Key(key.clone())));
                    self.map(txn, event, &mut patches);
                }
                (None, Event::Array(event)) => self.list(txn, event, &mut patches),
                (None, Event::Text(event)) => self.text(txn, event, &mut patches),
                (None, _) => {}
                (Some(PathSegment::Key(key)), _) => {
                    if elements.insert(Segment::Key(key.clone())) {
                        let new = txn.get_map(self.name.clone()).and_then(|map| map.get(txn, &key));
                        let change = Change::Put { old: None, new: new.map(|out| from_out(&out, txn)) };
                        patches.push((self.path(ContainerKind::Map, Segment::Key(key)), change));
                    }
                }
                (Some(PathSegment::Index(index)), _) => {
                    let index = index as usize;
                    if elements.insert(Segment::Index(index)) {
                        patches.extend(self.element(txn, index));
                    }
                }
            }
        }
        patches
    }

    fn path(&self, kind: ContainerKind, within: Segment) -> Path {
        Path { section: kind.into(), name: self.name.clone(), within: Some(within) }
    }

    fn map(&self, txn: &TransactionMut<'_>, event: &MapEvent, patches: &mut Vec<(Path, Change)>) {
        let keys: BTreeMap<_, _> = event.keys(txn).iter().collect();
        for (key, change) in keys {
            let read = |out: &Out| Some(from_out(out, txn));
            let (old, new) = match change {
                EntryChange::Inserted(new) => (None, read(new)),
                EntryChange::Updated(old, new) => (read(old), read(new)),
                EntryChange::Removed(old) => (read(old), None),
            };
            patches.push((self.path(ContainerKind::Map, Segment::Key(key.clone())), Change::Put { old, new }));
        }
    }

    fn list(&self, txn: &TransactionMut<'_>, event: &ArrayEvent, patches: &mut Vec<(Path, Change)>) {
        let mut at = 0;
        let mut splice: (usize, Vec<Value>) = (0, Vec::new());
        let retain_to_flush = [ListChange::Retain(0)];
        for change in event.delta(txn).iter().chain(&retain_to_flush) {
            match change {
                ListChange::Removed(count) => splice.0 += *count as usize,
                ListChange::Added(values) => splice.1.extend(values.iter().map(|out| from_out(out, txn))),
                ListChange::Retain(count) => {
                    let (removed, inserted) = std::mem::take(&mut splice);
                    if removed > 0 || !inserted.is_empty() {
                        let len = inserted.len();
                        patches.push((
                            self.path(ContainerKind::List, Segment::Index(at)),
                            Change::Splice { removed, inserted },
                        ));
                        at += len;
                    }
                    at += *count as usize;
                }
            }
        }
    }

    /// A change within one element of a list.
    fn element(&self, txn: &TransactionMut<'_>, index: usize) -> Option<(Path, Change)> {
        let Shape { kind: ContainerKind::List, .. } = shape::shape(txn, &self.name)? else { return None };
        let new = txn.get_array(self.name.clone())?.get(txn, index as u32)?;
        let change = Change::Splice { removed: 1, inserted: vec![from_out(&new, txn)] };
        Some((self.path(ContainerKind::List, Segment::Index(index)), change))
    }

    fn text(&self, txn: &TransactionMut<'_>, event: &TextEvent, patches: &mut Vec<(Path, Change)>) {
        let before = lock(&self.journal).texts.get(&self.name).copied().unwrap_or_default();
        let (changes, after) = text_changes(txn, event.target(), event.delta(txn), before);
        lock(&self.journal).texts.insert(self.name.clone(), after);
        patches.extend(
            changes.into_iter().map(|(at, change)| (self.path(ContainerKind::Text, Segment::Index(at)), change)),
        );
    }
}

/// One step over a changed text, in scalar values.
enum Stretch {
    Keep { len: usize, formatted: bool },
    Splice { removed: usize, inserted: String },
}

fn text_changes(
    txn: &TransactionMut<'_>,
    text: &TextRef,
    delta: &[Delta],
    before: Length,
) -> (Vec<(usize, Change)>, Length) {
    let (mut removed, mut added): (Length, Length) = ((0, 0), (0, 0));
    let mut stretches = Vec::new();
    let wide = before.0 != before.1;
    let now = if wide { shape::read(text, txn) } else { String::new() };
    let mut chars = now.chars();
    for change in delta {
        match change {
            Delta::Retain(units, attributes) => {
                let len = if wide { skip(&mut chars, *units as usize) } else { *units as usize };
                stretches.push(Stretch::Keep { len, formatted: attributes.is_some() });
            }
            Delta::Deleted(units) => {
                removed.1 += *units as usize;
                match stretches.last_mut() {
                    Some(Stretch::Splice { removed, .. }) => *removed += *units as usize,
                    _ => stretches.push(Stretch::Splice { removed: *units as usize, inserted: String::new() }),
                }
            }
            Delta::Inserted(out, _) => {
                let new = shape::characters(out);
                let units = new.encode_utf16().count();
                added = (added.0 + new.chars().count(), added.1 + units);
                skip(&mut chars, units);
                match stretches.last_mut() {
                    Some(Stretch::Splice { inserted, .. }) => inserted.push_str(&new),
                    _ => stretches.push(Stretch::Splice { removed: 0, inserted: new.into_owned() }),
                }
            }
        }
    }
    removed.0 = if wide { (before.0 + added.0).saturating_sub(now.chars().count()) } else { removed.1 };
    if removed.0 != removed.1 {
        stretches = join_removals(stretches, removed.0, &now);
    }
    let after = (before.0 + added.0 - removed.0, (before.1 + added.1).saturating_sub(removed.1));
    (place(stretches), after)
}

/// Skips characters that take `units`; returns how many they are.
fn skip(chars: &mut std::str::Chars<'_>, units: usize) -> usize {
    let (mut taken, mut count) = (0, 0);
    while taken < units {
        let Some(c) = chars.next() else { break };
        taken += c.len_utf16();
        count += 1;
    }
    count
}

/// Only the sum of removed scalar values is known, so everything from the first removal to the last becomes one.
fn join_removals(stretches: Vec<Stretch>, removed: usize, now: &str) -> Vec<Stretch> {
    let is_removal = |stretch: &Stretch| matches!(stretch, Stretch::Splice { removed: 1.., .. });
    let first = stretches.iter().position(is_removal).unwrap_or(0);
    let last = stretches.iter().rposition(is_removal).unwrap_or(0);
    let (mut at, mut kept, mut new) = (0, 0, 0);
    let mut joined = Vec::new();
    for (index, stretch) in stretches.into_iter().enumerate() {
        let (len, is_kept) = match &stretch {
            Stretch::Keep { len, .. } => (*len, true),
            Stretch::Splice { inserted, .. } => (inserted.chars().count(), false),
        };
        if !(first..=last).contains(&index) {
            at += if index < first { len } else { 0 };
            joined.push(stretch);
            continue;
        }
        kept += if is_kept { len } else { 0 };
        new += len;
        if index == last {
            let inserted = now.chars().skip(at).take(new).collect();
            joined.push(Stretch::Splice { removed: kept + removed, inserted });
        }
    }
    joined
}

fn place(stretches: Vec<Stretch>) -> Vec<(usize, Change)> {
    let mut at = 0;
    let mut changes = Vec::new();
    for stretch in stretches {
        match stretch {
            Stretch::Keep { len, formatted } => {
                if formatted {
                    changes.push((at, Change::Format { len }));
                }
                at += len;
            }
            Stretch::Splice { removed, inserted } => {
                let len = inserted.chars().count();
                changes.push((at, Change::Splice { removed, inserted: vec![Value::from(inserted)] }));
                at += len;
            }
        }
    }
    changes
}
