//! Digests: equal for equal content on both engines, and a way down to the first difference.

use aepoch::engine::Value;
use serde_json::json;

use crate::peer::{Peer, kinds};

fn fill(peer: &Peer) {
    peer.commit(|tx| {
        tx.map("files").put("a", &json!({"size": 1, "tags": ["x", null], "ratio": 2.0}))?;
        tx.map("files").put("b", &json!(u64::MAX))?;
        tx.list("jobs").push(&json!(1.5))?;
        tx.text("notes").push("héllo wörld")?;
        tx.register("setlist").set(&json!(["one", "two"]))?;
        tx.counter("takes").add(2)
    });
    peer.commit(|tx| tx.text("notes").format(0..5, "bold", json!(true)));
}

#[test]
fn equal_documents_have_equal_digests_on_every_engine() {
    let roots: Vec<_> = kinds()
        .into_iter()
        .map(|kind| {
            let [a, b] = Peer::several(kind);
            fill(&a);
            a.sync_to(&b);
            let root = a.document.borrow().root_digest().unwrap();
            assert_eq!(b.document.borrow().root_digest().unwrap(), root);
            root
        })
        .collect();
    assert!(roots.iter().all(|root| *root == roots[0]), "the engines differ");
}

/// Descends from the root to the first path whose hashes differ.
fn first_difference(a: &Peer, b: &Peer) -> Vec<String> {
    let mut trail = vec![String::new()];
    loop {
        let path = trail.last().unwrap().clone();
        let (ours, theirs) = (a.document.borrow().digest(&path), b.document.borrow().digest(&path));
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return trail };
        let differs = ours
            .iter()
            .find(|entry| !theirs.contains(entry))
            .or_else(|| theirs.iter().find(|entry| !ours.contains(entry)));
        match differs {
            Some(entry) if entry.path != path => trail.push(entry.path.clone()),
            _ => return trail,
        }
    }
}

#[test]
fn the_first_difference_is_found_from_the_top_down() {
    type Change = fn(&Peer);
    let changes: [(&str, Change); 5] = [
        ("map/files/b", |peer| peer.map("files").put("b", &json!(3)).unwrap()),
        ("list/jobs/0", |peer| peer.list("jobs").push(&json!(3)).unwrap()),
        ("text/notes/0", |peer| peer.text("notes").format(0..1, "bold", Value::Null).unwrap()),
        ("register/setlist", |peer| peer.register("setlist").set(&json!([])).unwrap()),
        ("counter/takes", |peer| peer.counter("takes").add(1).unwrap()),
    ];
    for kind in kinds() {
        for (path, change) in changes {
            let [a, b] = Peer::several(kind);
            fill(&a);
            a.sync_to(&b);
            assert_eq!(first_difference(&a, &b), [""]);
            change(&b);
            let trail = first_difference(&a, &b);
            assert_eq!(trail.last().unwrap(), path, "{trail:?}");
            assert_ne!(a.document.borrow().root_digest().unwrap(), b.document.borrow().root_digest().unwrap());
        }
    }
}

#[test]
fn a_long_list_differs_in_one_run_only() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.list("log").insert(0, &(0..300).collect::<Vec<u64>>()).unwrap();
        a.sync_to(&b);
        b.commit(|tx| {
            tx.list::<u64>("log").remove(150..151)?;
            tx.list("log").insert(150, &[7_u64])
        });
        let (ours, theirs) =
            (a.document.borrow().digest("list/log").unwrap(), b.document.borrow().digest("list/log").unwrap());
        let differing: Vec<_> =
            ours.iter().zip(&theirs).filter(|(a, b)| a != b).map(|(entry, _)| entry.path.as_str()).collect();
        assert_eq!(ours.len(), 5);
        assert_eq!(differing, ["list/log/128"]);
    }
}

#[test]
fn shrinking_does_not_change_the_digest() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.register("song").set(&"long enough to be worth shrinking").unwrap();
        a.sync_to(&b);
        b.register("song").set(&"other").unwrap();
        b.sync_to(&a);
        let root = a.document.borrow().root_digest().unwrap();
        assert!(a.document.borrow_mut().shrink_dominated(9_000).unwrap().is_some());
        assert_eq!(a.document.borrow().root_digest().unwrap(), root);
    }
}

#[test]
fn a_path_without_anything_is_an_error() {
    for kind in kinds() {
        let a = Peer::new(kind, 1);
        fill(&a);
        for path in ["map/none", "map/files/none", "register/none", "nonsense", "list/files"] {
            let error = a.document.borrow().digest(path).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
