//! Order of arrival: gaps wait, duplicates do nothing, what waits is bounded, a resync mends all.

use aepoch::{
    document::{Incoming, Transaction},
    id::ReplicaId,
    limits,
};
use bytes::Bytes;

use crate::peer::{Peer, kinds};

/// `count` transactions with content and records in each.
fn history(peer: &Peer, count: u64) -> Vec<Bytes> {
    let write = |number: u64| {
        peer.write(|tx| {
            tx.list("log").push(&number)?;
            tx.register("last").set(&number)
        })
    };
    (0..count).map(write).collect()
}

#[test]
fn deltas_of_one_writer_take_effect_in_order() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let deltas = history(&a, 4);
        let applied = b.receive(&[deltas[2].clone(), deltas[1].clone()]);
        assert!(applied.waiting_on.is_some() && applied.landed.is_empty());
        assert!(b.document.borrow().version().is_empty());
        let applied = b.receive(&[deltas[3].clone(), deltas[0].clone()]);
        let landed: Vec<_> = applied.landed.iter().map(|incoming| incoming.encoded.clone()).collect();
        assert_eq!(landed, deltas);
        assert!(applied.waiting_on.is_none() && !b.document.borrow().is_waiting());
        assert_eq!(a.render(), b.render());
    }
}

#[test]
fn a_whole_history_sent_last_to_first_is_healed_by_one_resync() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let mut deltas = history(&a, 300);
        deltas.reverse();
        let applied = b.receive(&deltas);
        assert!(applied.waiting_on.is_some(), "more passes than bounded");
        a.sync_to(&b);
        assert_eq!(a.render(), b.render());
        assert!(!b.document.borrow().is_waiting());
    }
}

#[test]
fn duplicates_hold_nothing_new() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let deltas = history(&a, 3);
        b.receive(&deltas);
        let before = b.snapshot();
        let applied = b.receive(&deltas);
        assert_eq!((applied.known, applied.landed.len()), (3, 0));
        assert!(applied.patches.is_empty());
        let applied = b.receive(&[a.snapshot()]);
        assert_eq!((applied.known, applied.landed.len()), (1, 0));
        assert_eq!(b.snapshot(), before);
    }
}

#[test]
fn what_waits_is_bounded_in_number_and_bytes() {
    for kind in kinds() {
        // One more than fits, of either.
        let bytes = limits::HELD_BYTES / 3;
        for (size, count) in [(bytes, 3), (1, 65)] {
            let [a, b] = Peer::several(kind);
            let first = a.write(|tx| tx.register("at").set(&0));
            let value = "x".repeat(size.min(100_000));
            let big = |tx: &mut Transaction<'_>| {
                (0..=size / 100_000).try_for_each(|key| tx.register(&format!("at/{key}")).set(&value))
            };
            let deltas: Vec<_> = (0..count).map(|_| a.write(big)).collect();
            for delta in &deltas {
                assert!(b.receive(std::slice::from_ref(delta)).waiting_on.is_some());
            }
            // The oldest was dropped, so the others have nothing to follow.
            let applied = b.receive(&[first]);
            assert_eq!(applied.landed.len(), 1);
            assert!(applied.waiting_on.is_some());
            let applied = b.receive(&deltas[..1]);
            assert_eq!(applied.landed.len(), count);
            assert_eq!(a.render(), b.render());
        }
    }
}

#[test]
fn nothing_is_sent_to_a_peer_that_lacks_nothing() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        history(&a, 3);
        history(&b, 2);
        a.sync_to(&b);
        b.sync_to(&a);
        assert!(a.lacking(&b).is_empty());
        assert!(b.lacking(&a).is_empty());
        // Nor to one that is ahead, also when it has deleted what both had.
        a.map("files").put("a", &1).unwrap();
        a.map("files").put("a", &2).unwrap();
        a.sync_to(&b);
        b.map("files").put("a", &3).unwrap();
        assert!(a.lacking(&b).is_empty());
    }
}

#[test]
fn a_delta_holds_only_what_is_lacking() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let text = "x".repeat(10_000);
        a.commit(|tx| {
            tx.text("notes").push(&text)?;
            tx.register("song").set(&text)
        });
        a.sync_to(&b);
        a.commit(|tx| {
            tx.text("notes").push("y")?;
            tx.register("other").set(&1)
        });
        let delta = a.lacking(&b).encode().unwrap();
        assert!(delta.len() < 500, "{} bytes", delta.len());
        b.receive(&[delta]);
        assert_eq!(a.render(), b.render());
    }
}

#[test]
fn content_that_builds_on_another_writers_waits_for_it() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        let first = a.write(|tx| tx.text("notes").push("ab"));
        b.receive(std::slice::from_ref(&first));
        let second = b.write(|tx| {
            tx.text("notes").insert(1, "x")?;
            tx.register("last").set(&"b")
        });
        let third = b.write(|tx| tx.text("notes").push("y"));
        // No number of `b` is missing: only the content itself shows that something of `a` is.
        let applied = c.receive(&[second.clone(), third.clone()]);
        assert!(applied.waiting_on.is_some() && applied.landed.is_empty(), "{kind}");
        assert!(c.document.borrow().version().is_empty());
        assert_eq!(c.at("register/last"), None);
        let applied = c.receive(std::slice::from_ref(&first));
        let landed: Vec<_> = applied.landed.iter().map(|incoming| incoming.encoded.clone()).collect();
        assert_eq!(landed, [first, second, third]);
        assert!(applied.waiting_on.is_none());
        assert_eq!(c.text("notes").get().unwrap(), "axby");
    }
}

#[test]
fn deletions_follow_their_writers_numbers_too() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let first = a.write(|tx| tx.list("jobs").insert(0, &[1, 2, 3]));
        let second = a.write(|tx| tx.list::<u64>("jobs").remove(0..1));
        let third = a.write(|tx| tx.list::<u64>("jobs").remove(0..1));
        // All that the third deletes is known: only its number shows that the second is missing.
        assert!(b.receive(&[first, third]).waiting_on.is_some());
        assert_eq!(b.list::<u64>("jobs").len().unwrap(), 3);
        assert_eq!(b.receive(&[second]).landed.len(), 2);
        assert_eq!(b.list::<u64>("jobs").values().unwrap(), [3]);
    }
}

/// Writes in turns, each building on the other.
fn take_turns(a: &Peer, b: &Peer) {
    for number in 0..4_u64 {
        for (writer, reader) in [(a, b), (b, a)] {
            let at = format!("at-{}", writer.replica());
            let delta = writer.write(|tx| {
                tx.text("notes").insert(usize::try_from(number).unwrap(), "x")?;
                tx.map("last").put("n", &number)?;
                tx.register(&at).set(&number)
            });
            reader.receive(&[delta]);
        }
    }
}

#[test]
fn writers_who_took_turns_can_each_bring_their_own_half() {
    for kind in kinds() {
        let [a, b, c, d, e] = Peer::several(kind);
        take_turns(&a, &b);
        // Something that lacks yet another writer's must not keep the two from each other.
        d.receive(&[e.write(|tx| tx.text("other").push("ab"))]);
        let stray = d.write(|tx| tx.text("other").insert(1, "x"));
        assert!(c.receive(&[stray]).waiting_on.is_some());
        // Each builds on the other, so neither can be shown alone.
        let (first, second) = (a.own(&c).encode().unwrap(), b.own(&c).encode().unwrap());
        c.receive(&[first]);
        assert_eq!(c.render(), serde_json::json!({}), "{kind}");
        assert_eq!(c.receive(&[second]).landed.len(), 2, "{kind}");
        assert_eq!(c.render(), a.render());
        assert!(a.lacking(&c).is_empty());
        e.sync_to(&c);
        assert!(!c.document.borrow().is_waiting());
    }
}

#[test]
fn nobody_writes_as_another_by_way_of_a_circle() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        let liar = ReplicaId::from_bits(9);
        take_turns(&a, &b);
        let mut stolen = a.own(&c);
        stolen.records.clear();
        let content = stolen.content.as_mut().unwrap();
        content.after.clear();
        content.spans[0].writer = liar;
        let stolen = Incoming::decode(stolen.encode().unwrap(), 1, Some(liar)).unwrap();
        let honest = Incoming::decode(b.own(&c).encode().unwrap(), 2, Some(b.replica())).unwrap();
        let applied = c.document.borrow_mut().apply(vec![stolen, honest], 1_000, false).unwrap();
        assert_eq!((applied.landed.len(), applied.refused.len()), (0, 1));
        assert!(c.document.borrow().version().is_empty());
        c.receive(&[a.own(&c).encode().unwrap()]);
        assert_eq!(c.render(), a.render());
    }
}

#[test]
fn writers_who_took_turns_at_length_can_each_bring_their_own_half() {
    for kind in kinds() {
        let [a, b, c, _, _] = Peer::several(kind);
        let mut noise = 7_u64;
        for number in 0..40_u64 {
            for (writer, reader) in [(&a, &b), (&b, &a)] {
                let delta = writer.write(|tx| {
                    for key in 0..200 {
                        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        tx.map("index").put(&format!("{number}/{key}/{noise}"), &noise)?;
                    }
                    tx.map("last").put("n", &number)
                });
                reader.receive(&[delta]);
            }
        }
        for _ in 0..5 {
            c.receive(&[a.own(&c).encode().unwrap()]);
            c.receive(&[b.own(&c).encode().unwrap()]);
        }
        assert_eq!(c.render(), a.render(), "{kind}");
    }
}
