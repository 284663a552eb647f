//! Sealed stores: what a key keeps from whoever holds the file, and what of tampering is noticed.
//!
//! Method: a store in memory plays the disk of the one who tampers, because through it every part can be taken out,
//! altered and put elsewhere with all checksums intact.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use aepoch::{
    id::DocumentId,
    store::{
        IDENTITY_NOTE, KeySource, MemoryStore, RedbStore, SealedStore, Store, StoreDone, StoreError, StoreKey,
        StoreTask, StoredDocument, maintenance, sealed,
    },
    time::Dice,
};
use bytes::Bytes;

use crate::{append, compact, document, load, one, read, summaries, texts, try_read};

pub(crate) fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; 32])
}

/// Randomness that is the same in every run.
pub(crate) fn dice(seed: u64) -> sealed::Entropy {
    let mut dice = Dice::new(seed);
    Box::new(move |out| {
        out.fill_with(|| dice.bits().to_le_bytes()[0]);
        Ok(())
    })
}

fn sealed<S: Store>(inner: S) -> SealedStore<S> {
    SealedStore::open(inner, &key(1), dice(1)).unwrap()
}

fn reopened<S: Store>(inner: S) -> SealedStore<S> {
    SealedStore::open(inner, &key(1), dice(2)).unwrap()
}

/// A disk whose answers to `Load` somebody alters on the way.
struct Tampered {
    kept: MemoryStore,
    #[allow(clippy::type_complexity, reason = "said once")]
    alter: RefCell<Box<dyn FnMut(&DocumentId, &mut StoredDocument) + Send>>,
}

impl Store for Tampered {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        let mut answers = self.kept.commit(tasks);
        for (task, answer) in tasks.iter().zip(&mut answers) {
            if let (StoreTask::Load { document }, Ok(StoreDone::Loaded(Some(found)))) = (task, answer) {
                self.alter.get_mut()(document, found);
            }
        }
        answers
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.kept.note(name)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        self.kept.set_note(name, note)
    }
}

/// Reads `name` from what `kept` holds once `alter` has been at it.
fn tampered(
    kept: &MemoryStore,
    name: &str,
    alter: impl FnMut(&DocumentId, &mut StoredDocument) + Send + 'static,
) -> Result<Option<StoredDocument>, StoreError> {
    let disk = Tampered { kept: kept.clone(), alter: RefCell::new(Box::new(alter)) };
    try_read(&mut reopened(disk), name)
}

fn damage(outcome: Result<Option<StoredDocument>, StoreError>) -> (String, String) {
    match outcome {
        Err(StoreError::Damaged { document, what, .. }) => (document.to_string(), what),
        other => panic!("{other:?}"),
    }
}

/// `band/stage` with a snapshot up to entry 2 and entries 3, 4 and 5.
fn stage() -> MemoryStore {
    let mut store = sealed(MemoryStore::new());
    one(&mut store, append("band/stage", &["a", "b", "c"])).unwrap();
    one(&mut store, append("band/stage", &["d", "e"])).unwrap();
    one(&mut store, compact("band/stage", 2, "AB")).unwrap();
    store.into_inner()
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1;
    flipped.into()
}

#[test]
fn case_53_a_flipped_byte_is_detected() {
    let kept = stage();
    let whole = tampered(&kept, "band/stage", |_, _| {}).unwrap().unwrap();
    assert_eq!(
        (whole.snapshot.as_deref(), texts(&whole)),
        (Some(&b"AB"[..]), ["c", "d", "e"].map(String::from).into())
    );
    type Part = fn(&mut StoredDocument) -> &mut Bytes;
    let parts: [(&str, Part); 4] = [
        ("header", |found| &mut found.header),
        ("snapshot", |found| found.snapshot.as_mut().unwrap()),
        ("entry 3", |found| &mut found.entries[0]),
        ("entry 5", |found| &mut found.entries[2]),
    ];
    for (named, part) in parts {
        let mut length = 1;
        let mut at = 0;
        while at < length {
            let seen = Arc::new(Mutex::new(0));
            let told = Arc::clone(&seen);
            let outcome = tampered(&kept, "band/stage", move |_, found| {
                let bytes = part(found);
                *told.lock().unwrap() = bytes.len();
                *bytes = flip(bytes, at);
            });
            let (document, what) = damage(outcome);
            assert_eq!(document, "band/stage");
            assert!(what.contains(named), "byte {at} of {named}: {what}");
            length = *seen.lock().unwrap();
            at += 1;
        }
        assert!(length > 40, "{named} was flipped byte by byte");
    }

    // A note, and the note with the master key.
    let mut store = sealed(MemoryStore::new());
    store.set_note(IDENTITY_NOTE, Bytes::from_static(b"me")).unwrap();
    let mut kept = store.into_inner();
    let master = kept.note("sealed/master").unwrap().unwrap();
    for at in 0..master.len() {
        kept.set_note("sealed/master", flip(&master, at)).unwrap();
        let refused = SealedStore::open(kept.clone(), &key(1), dice(3)).unwrap_err();
        assert!(matches!(refused, StoreError::Key { .. }), "{refused}");
    }
}

#[test]
fn case_54_swapped_or_cut_entries_are_detected() {
    let kept = stage();
    type Change = fn(&mut StoredDocument);
    let cases: [(&str, Change, &str); 9] = [
        ("two swapped", |found| found.entries.swap(0, 1), "entry 3"),
        ("the last two swapped", |found| found.entries.swap(1, 2), "entry 4"),
        ("one in the middle left out", |found| drop(found.entries.remove(1)), "snapshot up to entry 3"),
        (
            "one in the middle left out and the numbers closed up",
            |found| {
                found.entries.remove(1);
                found.last -= 1;
            },
            "entry 4",
        ),
        ("the first left out", |found| drop(found.entries.remove(0)), "snapshot up to entry 3"),
        ("one repeated", |found| found.entries[1] = found.entries[0].clone(), "entry 4"),
        ("the snapshot left out", |found| found.snapshot = None, "begins at entry 3"),
        ("the snapshot as an entry", |found| found.entries[0] = found.snapshot.clone().unwrap(), "entry 3"),
        ("an entry as the snapshot", |found| found.snapshot = Some(found.entries[0].clone()), "snapshot"),
    ];
    for (name, change, expected) in cases {
        let (document, what) = damage(tampered(&kept, "band/stage", move |_, found| change(found)));
        assert_eq!(document, "band/stage", "{name}");
        assert!(what.contains(expected), "{name}: {what}");
    }

    // The snapshot of another moment: it was once sound, and is not the one that belongs here.
    let mut store = reopened(kept.clone());
    let old = Mutex::new(None);
    let keep = Arc::new(old);
    let taken = Arc::clone(&keep);
    tampered(&kept, "band/stage", move |_, found| *taken.lock().unwrap() = found.snapshot.clone()).unwrap();
    one(&mut store, compact("band/stage", 4, "ABCD")).unwrap();
    let later = store.into_inner();
    let older = keep.lock().unwrap().clone();
    let (_, what) = damage(tampered(&later, "band/stage", move |_, found| found.snapshot = older.clone()));
    assert!(what.contains("snapshot up to entry 4"), "{what}");
}

#[test]
fn case_56_what_belongs_to_another_document_is_refused() {
    let mut store = sealed(MemoryStore::new());
    for name in ["ours", "theirs"] {
        one(&mut store, append(name, &["a", "b"])).unwrap();
        one(&mut store, compact(name, 1, "A")).unwrap();
    }
    store.set_note(IDENTITY_NOTE, Bytes::from_static(b"me")).unwrap();
    store.set_note("other", Bytes::from_static(b"them")).unwrap();
    let kept = store.into_inner();

    // Everything of both as it is on disk, by the name on disk.
    let on_disk = |kept: &MemoryStore| {
        let mut kept = kept.clone();
        let names: Vec<_> = summaries(&mut kept).into_iter().map(|summary| summary.document).collect();
        let found = names.into_iter().map(|name| {
            let found = read(&mut kept, name.as_str());
            (name, found)
        });
        found.collect::<BTreeMap<_, _>>()
    };
    type Move = fn(&mut StoredDocument, &StoredDocument);
    let moves: [(&str, Move, &str); 4] = [
        ("an entry", |found, other| found.entries = other.entries.clone(), "entry 2"),
        ("a snapshot", |found, other| found.snapshot = other.snapshot.clone(), "snapshot"),
        ("a header, and with it the key", |found, other| found.header = other.header.clone(), "header"),
        ("all of it", |found, other| *found = other.clone(), "header"),
    ];
    for (name, change, expected) in moves {
        let rows = on_disk(&kept);
        let outcome = tampered(&kept, "ours", move |disk, found| {
            let (_, other) = rows.iter().find(|(name, _)| *name != disk).unwrap();
            change(found, other);
        });
        let (document, what) = damage(outcome);
        assert_eq!(document, "ours", "{name}");
        assert!(what.contains(expected), "{name}: {what}");
    }

    // The same document in another store, under the same caller's key.
    let mut other = SealedStore::open(MemoryStore::new(), &key(1), dice(9)).unwrap();
    one(&mut other, append("ours", &["x", "y"])).unwrap();
    one(&mut other, compact("ours", 1, "X")).unwrap();
    let foreign = on_disk(&other.into_inner()).into_values().next().unwrap();
    let (document, what) = damage(tampered(&kept, "ours", move |_, found| *found = foreign.clone()));
    assert!(document == "ours" && what.contains("header"), "{document}: {what}");

    // A note under the name of another.
    let store = reopened(Relabelled(kept));
    assert!(matches!(store.note(IDENTITY_NOTE), Err(StoreError::Read { reason }) if reason.contains("identity")));
}

/// A disk that answers with the wrong note: whichever sealed one is asked for first, the other is given.
struct Relabelled(MemoryStore);

impl Store for Relabelled {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        self.0.commit(tasks)
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        if name == "sealed/master" {
            return self.0.note(name);
        }
        // What a note is called on disk is told by a store that has only this one.
        let names = Names::default();
        let store = SealedStore::open(names.with(&self.0), &key(1), dice(4))?;
        store.note("other")?;
        let other = names.asked.lock().unwrap().clone();
        self.0.note(&other)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        self.0.set_note(name, note)
    }
}

/// A disk that remembers which note was asked for last.
#[derive(Clone, Default)]
struct Names {
    kept: MemoryStore,
    asked: Arc<Mutex<String>>,
}

impl Names {
    fn with(&self, kept: &MemoryStore) -> Self {
        Self { kept: kept.clone(), asked: Arc::clone(&self.asked) }
    }
}

impl Store for Names {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        self.kept.commit(tasks)
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        name.clone_into(&mut self.asked.lock().unwrap());
        self.kept.note(name)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        self.kept.set_note(name, note)
    }
}

#[test]
fn another_key_and_no_key_are_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed_path, plain_path) = (folder.path().join("sealed.redb"), folder.path().join("plain.redb"));
    let given = |number| KeySource::Given(key(number));
    let mut store = sealed::open(&sealed_path, Some(&given(1))).unwrap();
    one(&mut *store, append("stage", &["a"])).unwrap();
    drop(store);
    let mut store = sealed::open(&plain_path, None).unwrap();
    store.set_note(IDENTITY_NOTE, Bytes::from_static(b"me")).unwrap();
    drop(store);

    let refused = |path, key: Option<&KeySource>| match sealed::open(path, key).map(drop) {
        Err(error @ StoreError::Key { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let told = refused(&sealed_path, Some(&given(2)));
    assert!(told.contains("another key") && told.contains("sealed.redb"), "{told}");
    assert!(refused(&sealed_path, None).contains("no key was given"));
    assert!(refused(&plain_path, Some(&given(1))).contains("begun without a key"));
    assert!(sealed::rekey(&plain_path, &given(1), &given(2)).is_err());
    assert!(sealed::rekey(&sealed_path, &given(2), &given(3)).is_err());
    assert!(sealed::rekey(folder.path().join("none.redb"), &given(1), &given(2)).is_err());

    let mut store = sealed::open(&sealed_path, Some(&given(1))).unwrap();
    assert_eq!(texts(&read(&mut *store, "stage")), ["a"]);
    let store = sealed::open(&plain_path, None).unwrap();
    assert_eq!(store.note(IDENTITY_NOTE), Ok(Some(Bytes::from_static(b"me"))));
}

#[test]
fn a_sealed_file_tells_neither_names_nor_contents() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = ["band/rehearsal-room", "the drummer leaves in spring", "snapshot-in-plain-sight", "who-i-am-note"];
    let holds = |key: Option<&KeySource>| {
        let path = folder.path().join(if key.is_some() { "sealed.redb" } else { "plain.redb" });
        let mut store = sealed::open(&path, key).unwrap();
        one(&mut *store, append(secrets[0], &[secrets[1]])).unwrap();
        one(&mut *store, append("band/other", &["x"])).unwrap();
        one(&mut *store, compact("band/other", 1, secrets[2])).unwrap();
        store.set_note(IDENTITY_NOTE, Bytes::from_static(secrets[3].as_bytes())).unwrap();
        drop(store);
        let bytes = fs::read(path).unwrap();
        secrets.map(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    };
    assert_eq!(holds(None), [true; 4], "the search finds what is there");
    assert_eq!(holds(Some(&KeySource::Given(key(1)))), [false; 4]);
    let mut store = sealed::open(folder.path().join("sealed.redb"), Some(&KeySource::Given(key(1)))).unwrap();
    let names: Vec<_> = summaries(&mut *store).into_iter().map(|summary| summary.document).collect();
    assert_eq!(names, [document("band/other"), document("band/rehearsal-room")]);
}

#[test]
fn a_list_shows_what_cannot_be_read_and_refuses_what_is_not_sealed() {
    let mut kept = stage();
    let mut store = reopened(Tampered {
        kept: kept.clone(),
        alter: RefCell::new(Box::new(|_, found| found.header = flip(&found.header, 0))),
    });
    let listed = summaries(&mut store);
    assert_eq!((listed.len(), listed[0].document.as_str().len(), listed[0].entries), (1, 64, 3));
    one(&mut kept, append("smuggled", &["x"])).unwrap();
    let refused = one(&mut reopened(kept), StoreTask::List).unwrap_err();
    assert!(matches!(&refused, StoreError::Damaged { document, .. } if document.as_str() == "smuggled"), "{refused}");
}

#[test]
fn errors_name_documents_as_the_caller_does() {
    let mut store = reopened(Tampered {
        kept: stage(),
        alter: RefCell::new(Box::new(|_, found| found.header = flip(&found.header, 0))),
    });
    for task in [load("band/stage"), append("band/stage", &["x"]), compact("band/stage", 5, "ABCDE")] {
        let error = one(&mut store, task).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { document, .. } if document.as_str() == "band/stage"), "{error}");
    }
    let missing = one(&mut store, compact("nobody", 1, "A"));
    assert_eq!(missing, Err(StoreError::Missing { document: document("nobody") }));
}

/// A disk that fails on demand, before or after the write took effect.
#[derive(Clone, Default)]
struct Failing {
    kept: Arc<Mutex<MemoryStore>>,
    fails: Arc<Mutex<Option<bool>>>,
}

impl Failing {
    fn fail(&self, takes_effect: bool) {
        *self.fails.lock().unwrap() = Some(takes_effect);
    }
}

impl Store for Failing {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        let mut kept = self.kept.lock().unwrap();
        if !tasks.iter().any(StoreTask::is_write) {
            return kept.commit(tasks);
        }
        match self.fails.lock().unwrap().take() {
            None => return kept.commit(tasks),
            Some(true) => drop(kept.commit(tasks)),
            Some(false) => {}
        }
        tasks.iter().map(|_| Err(StoreError::Write { reason: "the disk failed".to_owned() })).collect()
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.kept.lock().unwrap().note(name)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap();
        match self.fails.lock().unwrap().take() {
            None => return kept.set_note(name, note),
            Some(true) => kept.set_note(name, note)?,
            Some(false) => {}
        }
        Err(StoreError::Write { reason: "the disk failed".to_owned() })
    }
}

#[test]
fn a_write_that_failed_leaves_the_document_readable_whether_it_took_effect_or_not() {
    for takes_effect in [false, true] {
        for created in [false, true] {
            let disk = Failing::default();
            let mut store = sealed(disk.clone());
            if created {
                one(&mut store, append("stage", &["a"])).unwrap();
            }
            disk.fail(takes_effect);
            one(&mut store, append("stage", &["b"])).unwrap_err();
            one(&mut store, append("stage", &["b"])).unwrap();
            one(&mut store, append("stage", &["c"])).unwrap();
            let mut expected = vec!["b"; 1 + usize::from(takes_effect)];
            expected.push("c");
            if created {
                expected.insert(0, "a");
            }
            assert_eq!(texts(&read(&mut store, "stage")), expected);
            assert_eq!(texts(&read(&mut reopened(disk), "stage")), expected);
        }
    }
}

#[test]
fn case_55_a_crash_in_the_middle_of_a_rotation_leaves_it_readable() {
    for takes_effect in [false, true] {
        let disk = Failing::default();
        let mut store = sealed(disk.clone());
        one(&mut store, append("stage", &["a"])).unwrap();
        disk.fail(takes_effect);
        store.rekey(&key(2)).unwrap_err();
        drop(store);
        let (opens, refused) = if takes_effect { (2, 1) } else { (1, 2) };
        assert!(SealedStore::open(disk.clone(), &key(refused), dice(5)).is_err());
        let mut store = SealedStore::open(disk.clone(), &key(opens), dice(5)).unwrap();
        assert_eq!(texts(&read(&mut store, "stage")), ["a"]);
        // Tried again with the key that opens it, the rotation ends.
        store.rekey(&key(2)).unwrap();
        one(&mut store, append("stage", &["b"])).unwrap();
        assert!(SealedStore::open(disk.clone(), &key(1), dice(6)).is_err());
        let mut store = SealedStore::open(disk, &key(2), dice(6)).unwrap();
        assert_eq!(texts(&read(&mut store, "stage")), ["a", "b"]);
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, format!("{}\n", "07".repeat(32))).unwrap();
    let source = KeySource::File(path.clone());
    for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match source.read() {
            Ok(_) => assert!(fine, "{mode:o}"),
            Err(error) => assert!(!fine && error.to_string().contains("chmod 600"), "{mode:o}: {error}"),
        }
    }
}

#[cfg(unix)]
#[test]
fn a_key_comes_from_a_command_and_what_goes_wrong_is_said_without_the_key() {
    let command = |text: &str| KeySource::Command(text.to_owned());
    let read = command(&format!("printf {}", "07".repeat(32))).read().unwrap();
    let mut store = SealedStore::open(MemoryStore::new(), &read, dice(1)).unwrap();
    one(&mut store, append("stage", &["a"])).unwrap();
    let mut store = SealedStore::open(store.into_inner(), &key(7), dice(2)).unwrap();
    assert_eq!(one(&mut store, load("stage")).map(drop), Ok(()));
    for (source, expected) in [
        (command("exit 3"), "exit status: 3"),
        (command("echo hunter2"), "7 characters"),
        (KeySource::Environment("AEPOCH_NO_SUCH_KEY".to_owned()), "is not set"),
        (KeySource::File("no/such/key".into()), "no/such/key"),
    ] {
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let printed = command("echo hunter2 | cat").read().unwrap_err().to_string();
    assert_eq!(printed.matches("hunter2").count(), 1, "only as the command says it: {printed}");
    assert!(!format!("{:?} {:?}", key(7), KeySource::Given(key(7))).contains('7'));
}

#[test]
fn a_sealed_file_opened_again_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for round in 0..3 {
        let mut store = SealedStore::open(RedbStore::open(&path).unwrap(), &key(1), dice(round)).unwrap();
        one(&mut store, append("stage", &["x", "y"])).unwrap();
        one(&mut store, compact("stage", 2 * round + 1, "X")).unwrap();
        assert_eq!(read(&mut store, "stage").last, 2 * round + 2);
    }
}

#[test]
fn verify_with_the_key_finds_what_checksums_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = sealed(RedbStore::open(&path).unwrap());
    one(&mut store, append("ours", &["a"])).unwrap();
    one(&mut store, append("theirs", &["a"])).unwrap();
    store.set_note(IDENTITY_NOTE, Bytes::from_static(b"me")).unwrap();
    let mut inner = store.into_inner();
    let disk = summaries(&mut inner).into_iter().map(|summary| summary.document).collect::<Vec<_>>();
    drop(inner);
    let with_key = || maintenance::verify(&path, Some(&key(1)), |_, _| {}).unwrap();
    let names = |report: &maintenance::Report| report.documents.iter().map(|d| d.document.clone()).collect::<Vec<_>>();
    let report = with_key();
    assert!(report.is_sound() && report.sealed, "{report:?}");
    assert_eq!(names(&report), [document("ours"), document("theirs")]);

    // Whoever has the file and no key appends to one of them, with the right checksums.
    one(&mut RedbStore::open(&path).unwrap(), append(disk[0].as_str(), &["x"])).unwrap();
    let blind = maintenance::verify(&path, None, |_, _| {}).unwrap();
    assert!(blind.is_sound() && names(&blind) == disk, "{blind:?}");
    let report = with_key();
    let damaged: Vec<_> = report.damaged().collect();
    assert_eq!(damaged.len(), 1);
    assert!(damaged[0].1.what.contains("entry 2"), "{damaged:?}");
    let refused = maintenance::compact(&path, Some(&key(1)), |_, _| {}).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Damaged { document, .. } if *document == damaged[0].0.document),
        "{refused}"
    );
    let repaired = maintenance::repair(&path, Some(&key(1)), |_, _| {}).unwrap();
    assert!(repaired.damaged_file.is_none() && names(&repaired.report) == names(&report));
    for outcome in [
        maintenance::verify(&path, Some(&key(2)), |_, _| {}).map(drop),
        maintenance::repair(&path, Some(&key(2)), |_, _| {}).map(drop),
        maintenance::compact(&path, Some(&key(2)), |_, _| {}).map(drop),
    ] {
        assert!(matches!(outcome, Err(StoreError::Key { .. })), "{outcome:?}");
    }
}
