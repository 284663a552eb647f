//! The store file: opening, locking, refusing what is not a store, compacting.

use std::{fs, path::Path};

use aepoch::store::{RedbStore, StoreError, maintenance};
use bytes::Bytes;

use crate::{append, compact, one, read, texts, try_read};

fn open_reason(path: &Path) -> String {
    match RedbStore::open(path) {
        Err(StoreError::Open { path: named, reason }) => {
            assert_eq!(named, path.display().to_string());
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_opened_again_holds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["a", "b", "c"])).unwrap();
    one(&mut store, compact("stage", 1, "A")).unwrap();
    aepoch::store::Store::set_note(&mut store, "identity", Bytes::from_static(b"me")).unwrap();
    let before = read(&mut store, "stage");
    drop(store);

    let mut store = RedbStore::open(&path).unwrap();
    assert_eq!(read(&mut store, "stage"), before);
    assert_eq!(texts(&before), ["b", "c"]);
    assert_eq!(aepoch::store::Store::note(&store, "identity"), Ok(Some(Bytes::from_static(b"me"))));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"], "nothing provisional is left behind");
}

#[test]
fn a_second_opening_is_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["a"])).unwrap();
    assert_eq!(open_reason(&path), "another process has it open");
    for outcome in [
        maintenance::verify(&path, None, |_, _| {}).map(drop),
        maintenance::repair(&path, None, |_, _| {}).map(drop),
        maintenance::compact(&path, None, |_, _| {}).map(drop),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::Open { reason, .. }) if reason == "another process has it open"),
            "{outcome:?}"
        );
    }
    one(&mut store, append("stage", &["b"])).unwrap();
}

#[test]
fn what_is_not_a_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let foreign = folder.path().join("foreign.redb");
    redb::Database::create(&foreign).unwrap();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "the file is empty"),
        ("text", b"these are not the bytes you are looking for".repeat(9), "not a store"),
        ("zeros", vec![0; 1 << 20], "not a store"),
        ("short", b"redb".to_vec(), "not a store"),
        ("another program's", fs::read(&foreign).unwrap(), "not a store of ours"),
    ];
    for (name, bytes, expected) in cases {
        fs::write(&path, &bytes).unwrap();
        let reason = open_reason(&path);
        assert!(reason.contains(expected), "{name}: {reason}");
        assert!(maintenance::verify(&path, None, |_, _| {}).is_err(), "{name}");
        assert!(maintenance::repair(&path, None, |_, _| {}).is_err(), "{name}");
        assert!(maintenance::compact(&path, None, |_, _| {}).is_err(), "{name}");
        // redb marks any file of its own as open and closed again; everything else stays as it is, byte for byte.
        if name == "another program's" {
            redb::Database::open(&path).unwrap();
        } else {
            assert!(fs::read(&path).unwrap() == bytes, "{name}: the file was changed");
        }
    }
    assert!(open_reason(folder.path()).contains("directory"), "a folder is not a store");
    assert!(open_reason(&folder.path().join("missing/store.redb")).contains("No such file"));
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    use sha2::Digest as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    drop(RedbStore::open(&path).unwrap());
    // Written out rather than taken from the library: this row must keep its meaning for ever.
    let mut sum = sha2::Sha256::new();
    for part in [&4_u64.to_le_bytes()[..], &6_u64.to_le_bytes(), b"meta", b"format", &7_u64.to_le_bytes()] {
        sum.update(part);
    }
    let row = [&sum.finalize()[..], &7_u64.to_le_bytes()].concat();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("meta");
    transaction.open_table(table).unwrap().insert(&b"format"[..], row.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let refused = StoreError::Format { found: 7, supported: 1 };
    assert_eq!(RedbStore::open(&path).unwrap_err(), refused);
    assert_eq!(maintenance::verify(&path, None, |_, _| {}).unwrap_err(), refused);
    assert_eq!(maintenance::repair(&path, None, |_, _| {}).unwrap_err(), refused);
}

#[test]
fn a_creation_that_was_cut_short_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for leftover in [&b""[..], b"redb", &[0; 8192]] {
        fs::write(folder.path().join("store.redb.new"), leftover).unwrap();
        let mut store = RedbStore::open(&path).unwrap();
        one(&mut store, append("stage", &["a"])).unwrap();
        drop(store);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_sound_store_is_verified_and_not_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["a", "b"])).unwrap();
    one(&mut store, append("stage", &["c"])).unwrap();
    one(&mut store, append("band/list", &["x"])).unwrap();
    one(&mut store, compact("band/list", 1, "X")).unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();

    let mut steps = Vec::new();
    let report = maintenance::verify(&path, None, |done, total| steps.push((done, total))).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(steps, [(1, 2), (2, 2)]);
    let seen: Vec<_> =
        report.documents.iter().map(|seen| (seen.document.as_str(), seen.batches, seen.entries)).collect();
    assert_eq!(seen, [("band/list", 0, 0), ("stage", 2, 3)]);

    let repair = maintenance::repair(&path, None, |_, _| {}).unwrap();
    assert_eq!((repair.damaged_file, repair.lost), (None, false));
    assert!(fs::read(&path).unwrap() == before, "looking must not change the file");
}

#[test]
fn compacting_shrinks_the_file_and_keeps_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    let bulk = "x".repeat(100_000);
    for _ in 0..40 {
        one(&mut store, append("stage", &[&bulk])).unwrap();
    }
    one(&mut store, compact("stage", 39, "S")).unwrap();
    let before = read(&mut store, "stage");
    drop(store);

    let done = maintenance::compact(&path, None, |_, _| {}).unwrap();
    assert!(done.bytes_after * 2 < done.bytes_before, "{done:?}");
    assert_eq!(done.bytes_after, fs::metadata(&path).unwrap().len());
    let mut store = RedbStore::open(&path).unwrap();
    assert_eq!(read(&mut store, "stage"), before);
    assert_eq!(try_read(&mut store, "other"), Ok(None));
}
