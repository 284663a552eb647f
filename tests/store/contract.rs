//! The contract every store fulfils, as one list of rules run on each of them.

use std::path::Path;

use aepoch::store::{MemoryStore, RedbStore, SealedStore, Store, StoreDone, StoreError, StoreTask};
use bytes::Bytes;

use crate::{
    append, compact, document, load, one, read,
    sealed::{dice, key},
    summaries, texts, try_read,
};

fn appended(last: u64) -> Result<StoreDone, StoreError> {
    Ok(StoreDone::Appended { last })
}

fn entries_come_back_in_order_and_are_numbered(store: &mut dyn Store) {
    assert_eq!(one(store, append("order", &["a", "b"])), appended(2));
    assert_eq!(one(store, append("order", &["c"])), appended(3));
    let found = read(store, "order");
    assert_eq!(texts(&found), ["a", "b", "c"]);
    assert_eq!((found.last, found.snapshot), (3, None));
}

fn an_unknown_document_is_nothing(store: &mut dyn Store) {
    assert_eq!(try_read(store, "unknown"), Ok(None));
    // A name that is the beginning of another must not find the other's rows.
    one(store, append("prefix-longer", &["x"])).unwrap();
    assert_eq!(try_read(store, "prefix"), Ok(None));
}

fn the_header_of_the_first_append_stays(store: &mut dyn Store) {
    one(store, append("header", &["a"])).unwrap();
    let second = StoreTask::Append {
        document: document("header"),
        header: Bytes::from_static(b"automerge"),
        entries: vec![Bytes::from_static(b"b")],
    };
    assert_eq!(one(store, second), appended(2));
    assert_eq!(&read(store, "header").header[..], b"yrs");
}

fn appending_nothing_creates_the_document(store: &mut dyn Store) {
    assert_eq!(one(store, append("created", &[])), appended(0));
    let found = read(store, "created");
    assert_eq!((&found.header[..], found.entries.len(), found.last), (&b"yrs"[..], 0, 0));
}

fn an_empty_entry_and_an_empty_snapshot_are_kept(store: &mut dyn Store) {
    assert_eq!(one(store, append("void", &["", "x"])), appended(2));
    assert_eq!(texts(&read(store, "void")), ["", "x"]);
    assert_eq!(one(store, compact("void", 1, "")), Ok(StoreDone::Compacted));
    assert_eq!(read(store, "void").snapshot, Some(Bytes::new()));
}

fn a_batch_sees_its_own_writes_and_answers_in_order(store: &mut dyn Store) {
    let answers = store.commit(&[
        append("batch", &["a"]),
        load("batch"),
        append("batch", &["b"]),
        append("batch-other", &["z"]),
        compact("batch", 1, "A"),
        append("batch", &["c"]),
        load("batch"),
    ]);
    assert_eq!(answers.len(), 7);
    let loaded = |answer: &Result<StoreDone, StoreError>| match answer {
        Ok(StoreDone::Loaded(Some(found))) => (found.snapshot.clone(), texts(found), found.last),
        other => panic!("{other:?}"),
    };
    assert_eq!(answers[0], appended(1));
    assert_eq!(loaded(&answers[1]), (None, vec!["a".to_owned()], 1));
    assert_eq!((&answers[2], &answers[3]), (&appended(2), &appended(1)));
    assert_eq!(answers[4], Ok(StoreDone::Compacted));
    assert_eq!(answers[5], appended(3));
    assert_eq!(loaded(&answers[6]), (Some(Bytes::from_static(b"A")), vec!["b".to_owned(), "c".to_owned()], 3));
}

fn a_snapshot_replaces_the_log_it_contains(store: &mut dyn Store) {
    // In one append, so that entry 2 lies inside a stored batch.
    one(store, append("compact", &["a", "b", "c"])).unwrap();
    one(store, append("compact", &["d"])).unwrap();
    assert_eq!(one(store, compact("compact", 2, "AB")), Ok(StoreDone::Compacted));
    let found = read(store, "compact");
    assert_eq!((found.snapshot.as_deref(), texts(&found)), (Some(&b"AB"[..]), vec!["c".to_owned(), "d".to_owned()]));
    assert_eq!(found.last, 4);

    assert_eq!(one(store, append("compact", &["e"])), appended(5));
    assert_eq!(one(store, compact("compact", 5, "ABCDE")), Ok(StoreDone::Compacted));
    let found = read(store, "compact");
    assert_eq!((found.snapshot.as_deref(), found.entries.len(), found.last), (Some(&b"ABCDE"[..]), 0, 5));
    assert_eq!(one(store, append("compact", &["f"])), appended(6));
    assert_eq!(texts(&read(store, "compact")), ["f"]);
}

fn a_snapshot_of_every_length_comes_back(store: &mut dyn Store) {
    // Around the size at which a file store cuts snapshots into pieces, growing and shrinking.
    one(store, append("large", &["a"])).unwrap();
    for bytes in [255 * 1024 - 1, 255 * 1024, 255 * 1024 + 1, 1_000_000, 3] {
        let snapshot: Bytes = (0..bytes).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let task = StoreTask::Compact { document: document("large"), upto: 1, snapshot: snapshot.clone() };
        assert_eq!(one(store, task), Ok(StoreDone::Compacted));
        assert!(read(store, "large").snapshot == Some(snapshot), "{bytes} bytes");
    }
}

fn an_older_snapshot_changes_nothing(store: &mut dyn Store) {
    one(store, append("older", &["a", "b"])).unwrap();
    one(store, compact("older", 2, "AB")).unwrap();
    assert_eq!(one(store, compact("older", 1, "A")), Ok(StoreDone::Compacted));
    assert_eq!(read(store, "older").snapshot.as_deref(), Some(&b"AB"[..]));
}

fn a_snapshot_never_covers_entries_not_yet_written(store: &mut dyn Store) {
    one(store, append("ahead", &["a"])).unwrap();
    one(store, compact("ahead", 9, "A")).unwrap();
    assert_eq!(one(store, append("ahead", &["b"])), appended(2));
    assert_eq!(texts(&read(store, "ahead")), ["b"]);
}

fn a_snapshot_of_an_unknown_document_is_refused_alone(store: &mut dyn Store) {
    let answers = store.commit(&[compact("nobody", 1, "A"), append("somebody", &["a"])]);
    assert_eq!(answers[0], Err(StoreError::Missing { document: document("nobody") }));
    assert_eq!(answers[1], appended(1));
    assert_eq!(try_read(store, "nobody"), Ok(None));
}

fn a_list_tells_sizes(store: &mut dyn Store) {
    one(store, append("list", &["12345", "67890"])).unwrap();
    one(store, append("list", &["x"])).unwrap();
    one(store, compact("list", 1, "123")).unwrap();
    let found = summaries(store);
    assert!(found.is_sorted_by_key(|summary| summary.document.clone()));
    let summary = found.iter().find(|summary| summary.document == document("list")).unwrap();
    assert_eq!((summary.snapshot_bytes, summary.entries), (3, 2));
    // Stores differ in what surrounds an entry, never in the entries.
    assert!((6..500).contains(&summary.log_bytes), "{} bytes", summary.log_bytes);
}

fn notes_are_kept_and_replaced(store: &mut dyn Store) {
    assert_eq!(store.note("identity"), Ok(None));
    store.set_note("identity", Bytes::from_static(b"one")).unwrap();
    store.set_note("other", Bytes::from_static(b"")).unwrap();
    store.set_note("identity", Bytes::from_static(b"two")).unwrap();
    assert_eq!(store.note("identity"), Ok(Some(Bytes::from_static(b"two"))));
    assert_eq!(store.note("other"), Ok(Some(Bytes::new())));
}

fn all_rules(store: &mut dyn Store) {
    assert_eq!(summaries(store), []);
    assert_eq!(store.commit(&[]), []);
    entries_come_back_in_order_and_are_numbered(store);
    an_unknown_document_is_nothing(store);
    the_header_of_the_first_append_stays(store);
    appending_nothing_creates_the_document(store);
    an_empty_entry_and_an_empty_snapshot_are_kept(store);
    a_batch_sees_its_own_writes_and_answers_in_order(store);
    a_snapshot_replaces_the_log_it_contains(store);
    a_snapshot_of_every_length_comes_back(store);
    an_older_snapshot_changes_nothing(store);
    a_snapshot_never_covers_entries_not_yet_written(store);
    a_snapshot_of_an_unknown_document_is_refused_alone(store);
    a_list_tells_sizes(store);
    notes_are_kept_and_replaced(store);
}

#[test]
fn the_store_in_memory_fulfils_the_contract() {
    all_rules(&mut MemoryStore::new());
}

#[test]
fn the_store_in_a_file_fulfils_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    all_rules(&mut RedbStore::open(folder.path().join("store.redb")).unwrap());
}

#[test]
fn the_sealed_store_fulfils_the_contract_over_memory_and_in_a_file() {
    all_rules(&mut SealedStore::open(MemoryStore::new(), &key(1), dice(1)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = RedbStore::open(folder.path().join("store.redb")).unwrap();
    all_rules(&mut SealedStore::open(file, &key(1), dice(1)).unwrap());
}

#[test]
fn both_stores_answer_random_tasks_alike() {
    answers_as_the_model(|path| Box::new(RedbStore::open(path).unwrap()));
}

#[test]
fn a_sealed_file_answers_random_tasks_like_the_store_in_memory() {
    let mut opened = 0;
    answers_as_the_model(move |path| {
        opened += 1;
        Box::new(SealedStore::open(RedbStore::open(path).unwrap(), &key(1), dice(opened)).unwrap())
    });
}

/// Random batches from a pinned seed; the store in memory is the model of the one in the file.
fn answers_as_the_model(mut open: impl FnMut(&Path) -> Box<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut dice = aepoch::time::Dice::new(20_260_801);
    let mut model = MemoryStore::new();
    let mut store = open(&path);
    for round in 0..60 {
        let tasks: Vec<StoreTask> = (0..=dice.below(12))
            .map(|_| {
                let name = ["a", "a/b", "b"][dice.below(3) as usize];
                match dice.below(10) {
                    0..6 => {
                        let entries: Vec<String> = (0..dice.below(5)).map(|_| dice.bits().to_string()).collect();
                        append(name, &entries.iter().map(String::as_str).collect::<Vec<_>>())
                    }
                    6..8 => compact(name, dice.below(60), &dice.bits().to_string()),
                    _ => load(name),
                }
            })
            .collect();
        assert_eq!(store.commit(&tasks), model.commit(&tasks), "round {round}: {tasks:?}");
        if dice.chance(20) {
            drop(store);
            store = open(&path);
        }
    }
    for name in ["a", "a/b", "b"] {
        assert_eq!(read(&mut *store, name), read(&mut model, name));
    }
}

#[test]
fn a_clone_of_a_store_in_memory_goes_its_own_way() {
    let mut store = MemoryStore::new();
    one(&mut store, append("stage", &["a"])).unwrap();
    let mut crashed = store.clone();
    one(&mut store, append("stage", &["b"])).unwrap();
    assert_eq!(texts(&read(&mut crashed, "stage")), ["a"]);
    assert_eq!(texts(&read(&mut store, "stage")), ["a", "b"]);
}
