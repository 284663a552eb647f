//! Saving and loading: what a store kept is the same document again.

use aepoch::{
    document::{Document, DocumentError},
    id::DocumentId,
};
use bytes::Bytes;

use crate::peer::{Peer, kinds};

fn load(peer: &Peer, snapshot: Option<&Bytes>, entries: &[Bytes]) -> Result<Document, DocumentError> {
    let id = DocumentId::new("band/stage").unwrap();
    let kind = peer.document.borrow().engine_kind();
    Document::load(id, kind, peer.replica(), snapshot, entries)
}

/// A replica with content and records of its own and another's.
fn lived_in(kind: aepoch::engine::EngineKind) -> Peer {
    let [a, b] = Peer::several(kind);
    a.wall_ms.set(1_000_000);
    for number in 0..5_u64 {
        a.commit(|tx| {
            tx.list("log").push(&number)?;
            tx.register("last").set(&number)
        });
        let delta = b.write(|tx| {
            tx.text("notes").push("é")?;
            tx.counter("takes").add(1)
        });
        a.receive(&[delta]);
    }
    a
}

#[test]
fn a_log_a_snapshot_and_both_load_as_the_same_document() {
    for kind in kinds() {
        let a = lived_in(kind);
        let snapshot = a.snapshot();
        a.log.borrow_mut().truncate(10);
        let log = a.log.borrow().clone();
        a.log.borrow_mut().clear();
        a.register("last").set(&"after").unwrap();
        a.list("log").push(&99).unwrap();
        let tail = a.log.borrow().clone();
        let whole: Vec<_> = log.iter().chain(&tail).cloned().collect();
        for (snapshot, entries) in [(None, &whole), (Some(&snapshot), &tail), (Some(&snapshot), &whole)] {
            let loaded = load(&a, snapshot, entries).unwrap();
            assert_eq!(loaded.version(), a.document.borrow().version());
            assert_eq!(loaded.render().unwrap(), a.render());
            assert_eq!(loaded.root_digest().unwrap(), a.document.borrow().root_digest().unwrap());
        }
    }
}

#[test]
fn writing_goes_on_after_loading() {
    for kind in kinds() {
        let a = lived_in(kind);
        let b = Peer::new(kind, 2);
        a.sync_to(&b);
        let again = Peer::of(load(&a, Some(&a.snapshot()), &[]).unwrap());
        // The clock of the new process is behind: its stamps must grow all the same.
        let before = again.register::<String>("last").values().unwrap()[0].hlc;
        again.wall_ms.set(1);
        let delta = again.write(|tx| {
            tx.register("last").set(&"again")?;
            tx.list("log").push(&100)
        });
        let applied = b.receive(&[delta]);
        assert_eq!(applied.landed.len(), 1);
        assert_eq!(b.register("last").get().unwrap(), Some("again".to_owned()));
        assert!(b.register::<String>("last").values().unwrap()[0].hlc > before);
        assert_eq!(b.render(), again.render());
    }
}

#[test]
fn what_is_overridden_after_loading_is_older_by_the_clock() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.register("other").set(&1).unwrap();
        b.wall_ms.set(500_000);
        b.register("song").set(&1).unwrap();
        a.wall_ms.set(490_000);
        b.sync_to(&a);
        // Loading knows no wall time, so it believes no stamp far beyond our own last one.
        let again = Peer::of(load(&a, Some(&a.snapshot()), &[]).unwrap());
        again.wall_ms.set(490_000);
        again.register("song").set(&2).unwrap();
        assert!(again.register::<u64>("song").values().unwrap()[0].hlc.wall_ms() >= 500_001);
    }
}

#[test]
fn a_missing_entry_and_a_damaged_one_are_named() {
    for kind in kinds() {
        let a = lived_in(kind);
        let mut log = a.log.borrow().clone();
        log.remove(2);
        assert!(matches!(load(&a, None, &log), Err(DocumentError::Incomplete { .. })));
        let mut log = a.log.borrow().clone();
        log[1] = log[1].slice(..log[1].len() / 2);
        assert!(matches!(load(&a, None, &log), Err(DocumentError::Unreadable { .. })));
    }
}

#[test]
fn what_was_not_shown_when_saved_is_not_shown_when_loaded() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let delta = a.write(|tx| {
            tx.map("files").put("a", &1)?;
            tx.register("at").set(&1)
        });
        let (records, content) = crate::peer::halves(&delta);
        b.receive(&[records]);
        let again = Peer::of(load(&b, Some(&b.snapshot()), &[]).unwrap());
        assert_eq!(again.at("register/at"), None);
        again.receive(&[content]);
        assert_eq!(again.render(), a.render());
    }
}
