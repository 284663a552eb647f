//! A store file that was damaged, cut off or made up: an error, never a panic, never a hang.

use std::{path::Path, sync::LazyLock};

use aepoch::{
    id::DocumentId,
    store::{RedbStore, Store as _, StoreDone, StoreTask, StoredDocument},
};
use bytes::Bytes;
use tempfile::TempDir;

/// First byte of an input whose rest is the whole file; any other first byte means edits of a good file.
const WHOLE: u8 = 0;
/// An edit: four bytes of position, one byte of value.
const EDIT_BYTES: usize = 5;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good);

fn document(name: &str) -> DocumentId {
    DocumentId::new(name).expect("a valid name")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a writable temporary folder")
}

/// A file with two documents, one of them compacted.
fn good() -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("good.redb");
    let mut store = RedbStore::open(&path).expect("a new store");
    let append = |name: &str, entry: u8| StoreTask::Append {
        document: document(name),
        header: Bytes::from_static(b"yrs"),
        entries: vec![Bytes::from(vec![entry; 300]); 3],
    };
    let compact = StoreTask::Compact { document: document("a"), upto: 3, snapshot: Bytes::from(vec![9; 2_000]) };
    for task in [append("a", 1), append("b", 2), compact, append("a", 3)] {
        assert!(store.commit(&[task]).iter().all(Result::is_ok));
    }
    drop(store);
    std::fs::read(&path).expect("the file just written")
}

/// What was written: a document that loads at all must load as this.
fn expected(name: &str) -> StoredDocument {
    let entries = |entry: u8, count| vec![Bytes::from(vec![entry; 300]); count];
    let header = Bytes::from_static(b"yrs");
    match name {
        "a" => StoredDocument { header, snapshot: Some(Bytes::from(vec![9; 2_000])), entries: entries(3, 3), last: 6 },
        _ => StoredDocument { header, snapshot: None, entries: entries(2, 3), last: 3 },
    }
}

/// Opens the file, and reads and writes whatever can be opened.
pub fn fuzz_one(data: &[u8]) -> String {
    let file = match data.split_first() {
        Some((&WHOLE, whole)) => whole.to_vec(),
        Some((_, edits)) => edited(edits),
        None => Vec::new(),
    };
    let folder = folder();
    let path = folder.path().join("file.redb");
    std::fs::write(&path, file).expect("a writable temporary folder");
    visit(&path)
}

fn visit(path: &Path) -> String {
    let mut store = match RedbStore::open(path) {
        Ok(store) => store,
        Err(error) => return kind(&format!("{error:?}")),
    };
    let tasks = [
        StoreTask::List,
        StoreTask::Load { document: document("a") },
        StoreTask::Load { document: document("b") },
        StoreTask::Append { document: document("a"), header: Bytes::new(), entries: vec![Bytes::from_static(b"x")] },
    ];
    let mut outcome = String::from("opened");
    for task in tasks {
        for answer in store.commit(std::slice::from_ref(&task)) {
            if let (StoreTask::Load { document }, Ok(StoreDone::Loaded(found))) = (&task, &answer) {
                let intact = *found == Some(expected(document.as_str()));
                assert!(intact, "damage of `{document}` went unnoticed");
            }
            outcome.push_str(if answer.is_ok() { " ok" } else { " error" });
        }
    }
    outcome
}

/// The name of an error's variant: its text holds the path.
fn kind(error: &str) -> String {
    error.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// The good file with bytes replaced; the position `0xffff____` cuts it there instead.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut file = GOOD.clone();
    for edit in edits.chunks_exact(EDIT_BYTES) {
        let at = u32::from_le_bytes([edit[0], edit[1], edit[2], edit[3]]) as usize;
        if at >> 16 == 0xffff {
            file.truncate(at & 0xffff);
        } else if let Some(length) = file.len().checked_sub(1) {
            file[at.min(length)] = edit[4];
        }
    }
    file
}

/// An unchanged file, files of nothing, and one edit in each of many places.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1], vec![WHOLE], [&[WHOLE][..], &GOOD[..GOOD.len().min(4_096)]].concat()];
    for step in 0..64 {
        let at = (GOOD.len() * step / 64) as u32;
        let mut edit = vec![1];
        edit.extend(at.to_le_bytes());
        edit.push(0xff);
        seeds.push(edit);
    }
    seeds
}
