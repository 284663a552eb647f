//! Digests: equal for equal content on both engines, and a way down to the first difference.

use aepoch::{document::Comparison, engine::Value, limits};
#[cfg(feature = "yrs")]
use aepoch::{
    document::{Absorption, Document, Foreign},
    engine::EngineKind,
    id::DocumentId,
};
#[cfg(feature = "yrs")]
use bytes::Bytes;
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

/// Descends from the root to the first difference; each answer has to fit into a message.
fn first_difference(a: &Peer, b: &Peer) -> (Comparison, usize) {
    let mut path = String::new();
    for trips in 1.. {
        let theirs = b.document.borrow().digest(&path).unwrap_or_default();
        assert!(theirs.len() <= limits::DIGEST_LINES, "{} lines at {path}", theirs.len());
        match a.document.borrow().compare(&path, &theirs).unwrap() {
            Comparison::Below(next) => path = next,
            end => return (end, trips),
        }
    }
    unreachable!("it ends")
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
            assert_eq!(first_difference(&a, &b).0, Comparison::Equal);
            change(&b);
            assert_eq!(first_difference(&a, &b).0, Comparison::Differs(path.to_owned()));
            assert_eq!(first_difference(&b, &a).0, Comparison::Differs(path.to_owned()));
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

/// Registers `from..upto`, written in transactions of at most 10,000.
fn registers(peer: &Peer, from: u32, upto: u32) {
    for start in (from..upto).step_by(10_000) {
        peer.commit(|tx| {
            (start..upto.min(start + 10_000)).try_for_each(|n| tx.register(&format!("task/{n:06}")).set(&n))
        });
    }
}

#[test]
fn a_difference_among_200_000_registers_is_found_in_a_few_trips() {
    let [a, b] = Peer::several(kinds()[0]);
    registers(&a, 0, 200_000);
    a.sync_to(&b);
    assert_eq!(first_difference(&a, &b), (Comparison::Equal, 1));
    b.register("task/123456").set(&0).unwrap();
    assert_eq!(first_difference(&a, &b), (Comparison::Differs("register/task/123456".to_owned()), 4));
}

#[test]
fn replicas_of_which_one_tells_groups_and_the_other_lines_find_their_difference() {
    let lines = u32::try_from(limits::DIGEST_LINES).unwrap();
    for more in [1, 1_000] {
        let [a, b] = Peer::several(kinds()[0]);
        registers(&a, 0, lines);
        a.sync_to(&b);
        registers(&b, lines, lines + more);
        for (ours, theirs) in [(&a, &b), (&b, &a)] {
            let Comparison::Differs(path) = first_difference(ours, theirs).0 else { panic!("{more} are missing") };
            let n: u32 = path.strip_prefix("register/task/").unwrap().parse().unwrap();
            assert!((lines..lines + more).contains(&n), "{path} is the same at both");
        }
    }
}

#[test]
fn only_groups_of_whole_bytes_exist() {
    let a = Peer::new(kinds()[0], 1);
    fill(&a);
    let all: Vec<_> =
        (0..=255).flat_map(|byte| a.document.borrow().digest(&format!("#{byte:02x}/")).unwrap()).collect();
    assert_eq!(all.len(), a.document.borrow().digest("").unwrap().len(), "each line is in one group");
    for path in ["#/register", "#3/register", "#3F/register", "#3f", "#zz/", &format!("#{}/", "00".repeat(33))] {
        let error = a.document.borrow().digest(path).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[cfg(feature = "yrs")]
#[test]
fn subdocuments_of_clients_count_alike_everywhere() {
    // Client 7 puts a subdocument `g` with `meta: 1` under `k` of the map `m`, and another with `meta: 2` in its place.
    let first = [1, 1, 7, 0, 0x29, 1, 1, b'm', 1, b'k', 1, b'g', 118, 1, 4, b'm', b'e', b't', b'a', 125, 1, 0];
    let second = [1, 1, 7, 1, 0xa9, 7, 0, 1, b'g', 118, 1, 4, b'm', b'e', b't', b'a', 125, 2, 0];
    let absorb = |peer: &Peer, update: &[u8]| {
        let foreign = Foreign { update: Bytes::copy_from_slice(update), source: 1, may_write: true };
        let mut patches = Vec::new();
        peer.document.borrow_mut().absorb(&foreign, |_| false, true, &mut patches).unwrap()
    };
    let root = |document: &Document| document.root_digest().unwrap();
    let [a, b, c] = Peer::several(EngineKind::Yrs);
    let mut roots = Vec::new();
    for update in [&first[..], &second] {
        let Absorption::Landed(Some(_)) = absorb(&a, update) else { panic!("refused") };
        roots.push(root(&a.document.borrow()));
        a.sync_to(&b);
    }
    assert_ne!(roots[0], roots[1], "options count");
    assert_eq!(a.at("map/m/k"), Some(json!({ "guid": "g", "options": { "meta": 2 } })));
    // From another relay, and by way of an older state.
    absorb(&c, &first);
    b.sync_to(&c);
    let id = DocumentId::new("band/stage").unwrap();
    let loaded = Document::load(id, EngineKind::Yrs, a.replica(), Some(&c.snapshot()), &[]).unwrap();
    for document in [&b.document.borrow(), &c.document.borrow(), &loaded] {
        assert_eq!((root(document), document.render().unwrap()), (roots[1], a.render()));
    }
    a.map::<()>("m").remove("k").unwrap();
    a.sync_to(&c);
    assert_eq!(root(&c.document.borrow()), root(&a.document.borrow()));
    assert!(!c.snapshot().windows(4).any(|bytes| bytes == b"meta"), "what is deleted is gone");
}
