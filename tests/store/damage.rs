//! Damaged files: cut off at many places, altered at many places. Whatever happens, a store answers with what was
//! written or names the damage; it never answers with anything else, never panics, and a repair keeps what survives.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aepoch::{
    store::{LOSS_NOTE, RedbStore, Store, StoreError, StoredDocument, maintenance},
    time::Dice,
};
use bytes::Bytes;

use crate::{append, compact, document, one, read, texts, try_read};

/// What a store holds: every document by name.
type Contents = BTreeMap<String, StoredDocument>;

/// Writes a store of a few hundred kilobytes. Answers its contents after each of the last commits: a file whose
/// newest commit is damaged may be read as of the one before.
fn write_store(path: &Path) -> Vec<Contents> {
    let mut dice = Dice::new(11);
    let mut store = RedbStore::open(path).unwrap();
    let mut names: Vec<String> = (0..60).map(|n| format!("band/stage-{n:02}")).collect();
    for name in &names {
        for _ in 0..=dice.below(8) {
            let entries: Vec<String> =
                (0..=dice.below(4)).map(|_| dice.bits().to_string().repeat(1 + dice.below(30) as usize)).collect();
            one(&mut store, append(name, &entries.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        }
        if dice.chance(40) {
            let snapshot = dice.bits().to_string().repeat(1 + dice.below(300) as usize);
            one(&mut store, compact(name, 1 + dice.below(6), &snapshot)).unwrap();
        }
    }
    let large = "large snapshot ".repeat(20_000);
    one(&mut store, append("large", &["a", "b"])).unwrap();
    one(&mut store, compact("large", 1, &large)).unwrap();
    names.push("large".to_owned());
    store.set_note("identity", Bytes::from_static(b"me")).unwrap();
    let mut states = vec![contents(&mut store, &names)];
    for last in ["second to last", "last"] {
        one(&mut store, append("band/stage-07", &[last])).unwrap();
        states.push(contents(&mut store, &names));
    }
    states
}

fn contents(store: &mut RedbStore, names: &[String]) -> Contents {
    names.iter().map(|name| (name.clone(), read(store, name))).collect()
}

/// Opens a damaged file and holds every answer against what was written. Tells whether the damage showed.
fn check_answers(path: &Path, states: &[Contents], case: &str) -> bool {
    let mut store = match RedbStore::open(path) {
        Ok(store) => store,
        Err(StoreError::Open { reason, .. }) => {
            assert!(!reason.is_empty(), "{case}");
            return true;
        }
        // The row with the format has a checksum, so damage never passes for another format.
        Err(other) => panic!("{case}: {other:?}"),
    };
    let mut shown = false;
    for name in states[0].keys() {
        match try_read(&mut store, name) {
            Ok(Some(found)) => {
                assert!(states.iter().any(|state| state[name] == found), "{case}: {name} reads wrong: {found:?}");
                shown |= states.last().unwrap()[name] != found;
            }
            Ok(None) => panic!("{case}: {name} is gone without a word"),
            Err(StoreError::Damaged { document: named, what, survives }) => {
                assert_eq!(named, document(name), "{case}");
                assert!(!what.is_empty() && survives.contains("survive"), "{case}: {what}; {survives}");
                shown = true;
            }
            Err(StoreError::Read { reason }) => {
                assert!(!reason.is_empty(), "{case}");
                shown = true;
            }
            Err(other) => panic!("{case}: {other:?}"),
        }
    }
    // Writing into a damaged file may fail, but in no other way; and what it wrote must not be read back altered.
    match one(&mut store, append("band/stage-07", &["after"])) {
        Ok(_) => match try_read(&mut store, "band/stage-07") {
            Ok(found) => assert_eq!(found.unwrap().entries.last().unwrap(), "after", "{case}"),
            Err(error) => assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Read { .. }), "{case}"),
        },
        Err(StoreError::Damaged { .. } | StoreError::Write { .. }) => shown = true,
        Err(other) => panic!("{case}: {other:?}"),
    }
    shown
}

/// Repairs a damaged file and holds what is left against what was written: each document is the beginning of it.
fn check_repair(path: &Path, states: &[Contents], case: &str) -> usize {
    let before = fs::read(path).unwrap();
    let repair = match maintenance::repair(path, None, |_, _| {}) {
        Ok(repair) => repair,
        Err(error) => {
            assert!(matches!(error, StoreError::Open { .. }), "{case}: {error:?}");
            assert!(fs::read(path).unwrap() == before, "{case}: the damaged file was changed");
            return 0;
        }
    };
    if let Some(kept) = &repair.damaged_file {
        assert!(fs::read(kept).unwrap() == before, "{case}: the damaged file was not kept as it was");
    }
    assert!(maintenance::verify(path, None, |_, _| {}).unwrap().is_sound(), "{case}");
    let mut store = RedbStore::open(path).unwrap();
    let mut whole = 0;
    for name in states[0].keys() {
        let last = &states.last().unwrap()[name];
        let Some(found) = try_read(&mut store, name).unwrap() else {
            assert!(repair.lost, "{case}: {name} is lost unsaid");
            continue;
        };
        whole += usize::from(found == *last);
        if found != *last {
            assert!(repair.lost, "{case}: parts of {name} are lost unsaid");
        }
        assert_eq!(found.header, last.header, "{case}: {name}");
        // Entries end with `last`, so the first one's number follows; each state may have compacted a different part.
        let start = found.last - found.entries.len() as u64;
        let sound = states.iter().any(|state| {
            let state_start = state[name].last - state[name].entries.len() as u64;
            start == state_start
                && state[name].entries.starts_with(&found.entries)
                && (found.snapshot.is_none() || found.snapshot == state[name].snapshot)
        });
        assert!(sound, "{case}: {name} was repaired into something never written: {found:?}");
    }
    assert_eq!(store.note(LOSS_NOTE).unwrap().is_some(), repair.lost, "{case}");
    whole
}

struct Ward {
    _folder: tempfile::TempDir,
    path: PathBuf,
    sound: Vec<u8>,
    states: Vec<Contents>,
}

impl Ward {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let states = write_store(&path);
        let sound = fs::read(&path).unwrap();
        Self { _folder: folder, path, sound, states }
    }

    /// Puts damaged bytes in the place of the store and checks verify, open, load and repair on them.
    fn check(&self, damaged: &[u8], case: &str) -> (bool, usize) {
        fs::write(&self.path, damaged).unwrap();
        let report = maintenance::verify(&self.path, None, |_, _| {});
        assert!(fs::read(&self.path).unwrap() == damaged, "{case}: verifying changed the file");
        let shown = check_answers(&self.path, &self.states, case);
        if shown {
            assert!(!report.is_ok_and(|report| report.is_sound()), "{case}: damage that verifying does not see");
        }
        fs::write(&self.path, damaged).unwrap();
        (shown, check_repair(&self.path, &self.states, case))
    }
}

#[test]
fn altered_bytes_are_never_returned_as_data() {
    let ward = Ward::new();
    let mut dice = Dice::new(5);
    let (mut shown, mut best, cases) = (0, 0, 90);
    for case in 0..cases {
        let mut damaged = ward.sound.clone();
        let at = dice.below(damaged.len() as u64) as usize;
        // Single bits, whole bytes, and a sector of noise or of zeros.
        let what = match dice.below(4) {
            0 => {
                damaged[at] ^= 1 << dice.below(8);
                "bit"
            }
            1 => {
                damaged[at] = !damaged[at];
                "byte"
            }
            2 => {
                damaged.iter_mut().skip(at / 512 * 512).take(512).for_each(|byte| *byte = dice.bits() as u8);
                "noise"
            }
            _ => {
                damaged.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0);
                "zeros"
            }
        };
        let outcome = ward.check(&damaged, &format!("case {case}: {what} at {at}"));
        shown += usize::from(outcome.0);
        best = best.max(outcome.1);
    }
    // Much of a file is free space; but if no damage ever showed, this test would test nothing.
    assert!(shown > cases / 10, "{shown} of {cases}");
    assert!(best >= ward.states[0].len() - 1, "repairs kept {best} of {} documents", ward.states[0].len());
}

#[test]
fn altered_bytes_at_the_head_of_the_file_are_never_returned_as_data() {
    // redb keeps the roots of its two latest commits here, so one byte decides what the whole file says.
    let ward = Ward::new();
    for at in (0..512).step_by(7) {
        let mut damaged = ward.sound.clone();
        damaged[at] ^= 0x11;
        ward.check(&damaged, &format!("byte {at}"));
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_read_right() {
    let ward = Ward::new();
    let mut dice = Dice::new(6);
    let len = ward.sound.len();
    let edges = [0, 1, 63, 64, 319, 320, 511, 4095, 4096, 4097, 8192, len / 2, len - 4096, len - 1];
    let lengths = edges.into_iter().chain((0..60).map(|_| dice.below(len as u64) as usize));
    let mut shown = 0;
    for kept in lengths {
        shown += usize::from(ward.check(&ward.sound[..kept], &format!("cut to {kept} of {len}")).0);
    }
    assert!(shown > 20, "{shown}");
    // Longer than it was, as after a crash while it grew.
    let mut longer = ward.sound.clone();
    longer.resize(len + 10_000, 0);
    ward.check(&longer, "longer");
}

/// Overwrites the bytes of one row, found by its contents; answers false when they are not in the file.
fn spoil(file: &mut [u8], contents: &[u8]) -> bool {
    let mut found = false;
    for at in 0..file.len() - contents.len() {
        if file[at..].starts_with(contents) {
            file[at] ^= 1;
            found = true;
        }
    }
    found
}

#[test]
fn a_damaged_batch_is_named_and_what_was_before_it_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["first entry"])).unwrap();
    one(&mut store, compact("stage", 1, "the snapshot")).unwrap();
    for number in 2..=6 {
        one(&mut store, append("stage", &[&format!("entry number {number}")])).unwrap();
    }
    one(&mut store, append("band", &["untouched"])).unwrap();
    store.set_note("identity", Bytes::from_static(b"me")).unwrap();
    drop(store);
    let mut file = fs::read(&path).unwrap();
    assert!(spoil(&mut file, b"entry number 4"));
    fs::write(&path, &file).unwrap();

    let damage = StoreError::Damaged {
        document: document("stage"),
        what: "the batch at entry 4 is damaged".to_owned(),
        survives: "snapshot and 2 of 5 batches survive".to_owned(),
    };
    let mut store = RedbStore::open(&path).unwrap();
    assert_eq!(try_read(&mut store, "stage").unwrap_err(), damage);
    assert_eq!(texts(&read(&mut store, "band")), ["untouched"]);
    drop(store);
    // Compacting moves pages about, so it keeps off.
    assert_eq!(maintenance::compact(&path, None, |_, _| {}).unwrap_err(), damage);

    let repair = maintenance::repair(&path, None, |_, _| {}).unwrap();
    assert!(repair.lost);
    let (damaged, what) = repair.report.damaged().next().unwrap();
    assert_eq!((damaged.document.as_str(), damaged.entries), ("stage", 2));
    assert_eq!(what.survives, "snapshot and 2 of 5 batches survive");
    let mut store = RedbStore::open(&path).unwrap();
    let found = read(&mut store, "stage");
    assert_eq!((found.snapshot.as_deref(), found.last), (Some(&b"the snapshot"[..]), 3));
    assert_eq!(texts(&found), ["entry number 2", "entry number 3"]);
    assert_eq!(texts(&read(&mut store, "band")), ["untouched"]);
    assert_eq!(store.note("identity").unwrap().as_deref(), Some(&b"me"[..]));
    let note = store.note(LOSS_NOTE).unwrap().unwrap();
    assert!(note.starts_with(b"stage: the batch at entry 4 is damaged"), "{note:?}");
    // A second repair keeps the first one's damaged file.
    drop(store);
    fs::write(&path, &file).unwrap();
    let again = maintenance::repair(&path, None, |_, _| {}).unwrap().damaged_file.unwrap();
    assert_ne!(Some(again), repair.damaged_file);
}

#[test]
fn a_damaged_snapshot_is_dropped_and_the_log_after_it_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["a", "b"])).unwrap();
    one(&mut store, compact("stage", 2, "the snapshot of both")).unwrap();
    one(&mut store, append("stage", &["c"])).unwrap();
    drop(store);
    let mut file = fs::read(&path).unwrap();
    assert!(spoil(&mut file, b"the snapshot of both"));
    fs::write(&path, &file).unwrap();
    let refused = try_read(&mut RedbStore::open(&path).unwrap(), "stage").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "document `stage` is damaged: piece 0 of its snapshot is damaged; the snapshot is lost, 1 of 1 batches survive"
    );
    maintenance::repair(&path, None, |_, _| {}).unwrap();
    let found = read(&mut RedbStore::open(&path).unwrap(), "stage");
    assert_eq!((found.snapshot.clone(), texts(&found), found.last), (None, vec!["c".to_owned()], 3));
}

/// Removes a row behind the store's back, as a lost page would.
fn remove_row(path: &Path, table: &str, key: &[u8]) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new(table);
    assert!(transaction.open_table(table).unwrap().remove(key).unwrap().is_some());
    transaction.commit().unwrap();
}

#[test]
fn rows_that_vanish_are_missed() {
    let cases: [(&str, &[u8], &str, &[&str]); 4] = [
        ("log", b"stage\0\0\0\0\0\0\0\0\x03", "its log continues at entry 4 instead of 3", &[]),
        ("log", b"stage\0\0\0\0\0\0\0\0\x04", "its log continues at entry 5 instead of 4", &["3"]),
        ("log", b"stage\0\0\0\0\0\0\0\0\x05", "its log ends at entry 4 instead of 5", &["3", "4"]),
        ("snapshots", b"stage\0\0\0\0\0\0\0\0\x00", "its snapshot is missing", &["3", "4", "5"]),
    ];
    for (table, key, expected, survive) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let mut store = RedbStore::open(&path).unwrap();
        for number in 1..=5 {
            one(&mut store, append("stage", &[&number.to_string()])).unwrap();
        }
        one(&mut store, compact("stage", 2, "12")).unwrap();
        drop(store);
        remove_row(&path, table, key);
        let refused = try_read(&mut RedbStore::open(&path).unwrap(), "stage").unwrap_err();
        assert!(matches!(&refused, StoreError::Damaged { what, .. } if what == expected), "{refused}");
        assert!(maintenance::repair(&path, None, |_, _| {}).unwrap().lost);
        let found = read(&mut RedbStore::open(&path).unwrap(), "stage");
        assert_eq!(texts(&found), survive, "{expected}");
        assert_eq!(found.snapshot.is_some(), table == "log");
    }
}

#[test]
fn a_document_without_its_index_row_is_not_begun_anew_and_can_be_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = RedbStore::open(&path).unwrap();
    one(&mut store, append("stage", &["a", "b"])).unwrap();
    let before = read(&mut store, "stage");
    drop(store);
    remove_row(&path, "documents", b"stage");

    let mut store = RedbStore::open(&path).unwrap();
    for outcome in [try_read(&mut store, "stage").map(drop), one(&mut store, append("stage", &["c"])).map(drop)] {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("its row in the table of documents is missing"), "{text}");
    }
    drop(store);
    maintenance::repair(&path, None, |_, _| {}).unwrap();
    assert_eq!(read(&mut RedbStore::open(&path).unwrap(), "stage"), before);
}
