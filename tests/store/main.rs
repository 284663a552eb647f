//! Stores: what is kept, in which order, and what survives crashes, torn files and failing disks.
//!
//! Goal: nothing reported durable is lost, and damage is named rather than returned as data. Method: one contract suite
//! run on every store; store files cut off and altered at many places; a child process killed while it writes; stores
//! that fail on purpose behind the writer thread.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod contract;
mod crash;
mod damage;
mod file;
mod sealed;
mod writer;

use aepoch::{
    id::DocumentId,
    store::{Store, StoreDone, StoreError, StoreTask, StoredDocument, StoredSummary},
};
use bytes::Bytes;

fn document(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

fn append(name: &str, entries: &[&str]) -> StoreTask {
    StoreTask::Append {
        document: document(name),
        header: Bytes::from_static(b"yrs"),
        entries: entries.iter().map(|entry| Bytes::copy_from_slice(entry.as_bytes())).collect(),
    }
}

fn compact(name: &str, upto: u64, snapshot: &str) -> StoreTask {
    StoreTask::Compact { document: document(name), upto, snapshot: Bytes::copy_from_slice(snapshot.as_bytes()) }
}

fn load(name: &str) -> StoreTask {
    StoreTask::Load { document: document(name) }
}

fn one(store: &mut dyn Store, task: StoreTask) -> Result<StoreDone, StoreError> {
    let mut answers = store.commit(&[task]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn try_read(store: &mut dyn Store, name: &str) -> Result<Option<StoredDocument>, StoreError> {
    match one(store, load(name))? {
        StoreDone::Loaded(found) => Ok(found),
        other => panic!("{other:?}"),
    }
}

fn read(store: &mut dyn Store, name: &str) -> StoredDocument {
    try_read(store, name).unwrap().expect("the document is there")
}

fn summaries(store: &mut dyn Store) -> Vec<StoredSummary> {
    match one(store, StoreTask::List).unwrap() {
        StoreDone::Listed(summaries) => summaries,
        other => panic!("{other:?}"),
    }
}

fn texts(found: &StoredDocument) -> Vec<String> {
    found.entries.iter().map(|entry| String::from_utf8(entry.to_vec()).unwrap()).collect()
}
