//! One transaction becomes visible at once, whatever way its halves take.

use serde_json::json;

use crate::peer::{Peer, halves, kinds};

/// Both halves of one transaction of `peer`, numbered.
fn both(peer: &Peer, number: u64) -> (bytes::Bytes, bytes::Bytes) {
    halves(&peer.write(|tx| {
        tx.register("at").set(&number)?;
        tx.map("files").put("a", &number)
    }))
}

fn shown(peer: &Peer) -> (Option<serde_json::Value>, Option<serde_json::Value>) {
    (peer.at("register/at"), peer.at("map/files/a"))
}

fn one(number: u64) -> (Option<serde_json::Value>, Option<serde_json::Value>) {
    (Some(json!(number)), Some(json!(number)))
}

#[test]
fn content_waits_for_the_records_written_with_it() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let (records, content) = both(&a, 1);
        let applied = b.receive(&[content]);
        assert!(applied.waiting_on.is_some() && applied.landed.is_empty());
        assert_eq!(shown(&b), (None, None));
        let applied = b.receive(&[records]);
        assert_eq!(applied.landed.len(), 2);
        assert!(applied.waiting_on.is_none());
        assert_eq!(shown(&b), one(1));
        assert_eq!(applied.patches.len(), 2);
    }
}

#[test]
fn records_wait_for_the_content_written_with_them() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let (records, content) = both(&a, 1);
        let applied = b.receive(&[records]);
        // They are kept and passed on, so nothing has to be asked for again.
        assert_eq!(applied.landed.len(), 1);
        assert!(applied.waiting_on.is_none() && applied.patches.is_empty());
        assert_eq!(shown(&b), (None, None));
        let applied = b.receive(&[content]);
        assert_eq!(shown(&b), one(1));
        assert_eq!(applied.patches.len(), 2);
    }
}

#[test]
fn the_older_record_is_shown_until_the_newer_ones_content_is_here() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let (first_records, first_content) = both(&a, 1);
        b.receive(&[first_records, first_content]);
        let (second_records, second_content) = both(&a, 2);
        let (third_records, third_content) = both(&a, 3);
        // Records overtake content: two transactions' worth of them.
        b.receive(&[second_records, third_records]);
        assert_eq!(shown(&b), one(1));
        b.receive(&[second_content]);
        assert_eq!(shown(&b), one(2));
        b.receive(&[third_content]);
        assert_eq!(shown(&b), one(3));
    }
}

#[test]
fn records_that_run_far_ahead_are_shown_one_by_one_as_their_content_arrives() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let (records, contents): (Vec<_>, Vec<_>) = (1..=200).map(|number| both(&a, number)).unzip();
        b.receive(&records);
        assert_eq!(shown(&b), (None, None));
        for (content, number) in contents.into_iter().zip(1..) {
            b.receive(&[content]);
            assert_eq!(shown(&b), one(number));
        }
    }
}

#[test]
fn a_third_replica_passes_on_what_it_does_not_show_itself() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        let (first_records, first_content) = both(&a, 1);
        b.receive(&[first_records, first_content]);
        let (second_records, second_content) = both(&a, 2);
        b.receive(&[second_records]);
        b.sync_to(&c);
        assert_eq!(shown(&c), one(1), "the older record must have come along with its content");
        c.receive(&[second_content]);
        assert_eq!(shown(&c), one(2));
        assert_eq!(shown(&b), one(1));
    }
}

#[test]
fn content_from_a_third_replica_waits_for_records_too() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        both(&a, 1);
        a.sync_to(&b);
        let (records, content) = halves(&b.lacking(&c).encode().unwrap());
        let applied = c.receive(&[content]);
        assert!(applied.waiting_on.is_some());
        assert_eq!(shown(&c), (None, None));
        c.receive(&[records]);
        assert_eq!(shown(&c), one(1));
    }
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    for kind in kinds() {
        let a = Peer::new(kind, 1);
        a.register("at").set(&1).unwrap();
        a.counter("takes").add(1).unwrap();
        a.list("jobs").push(&"x").unwrap();
        let before = a.snapshot();
        // The plan itself fails.
        let failed = a.document.borrow_mut().transact(2_000, true, |tx| {
            tx.register("at").set(&2)?;
            tx.register("new").set(&2)?;
            tx.counter("takes").add(1)?;
            tx.list("jobs").push(&"y")?;
            assert_eq!(tx.register::<u64>("at").get()?, Some(2));
            tx.counter("takes").add(i64::MAX)
        });
        assert!(failed.unwrap_err().to_string().contains("9223372036854775807"));
        assert_eq!(a.snapshot(), before);
        // The engine refuses what was planned.
        let failed = a.document.borrow_mut().transact(2_000, true, |tx| {
            tx.register("at").set(&2)?;
            tx.list("jobs").push(&"y")?;
            tx.list::<u64>("jobs").remove(5..6)
        });
        assert!(failed.is_err());
        assert_eq!(a.snapshot(), before);
        assert_eq!(a.render(), json!({"register": {"at": 1}, "counter": {"takes": 1}, "list": {"jobs": ["x"]}}));
        // Numbers taken back are used again.
        let delta = a.commit(|tx| tx.register("at").set(&3)).delta;
        assert_eq!(delta.records[0].span.upto, 3);
    }
}

#[test]
fn a_transaction_sees_its_own_records_and_the_content_before_it() {
    for kind in kinds() {
        let a = Peer::new(kind, 1);
        a.commit(|tx| {
            tx.register("at").set(&1)?;
            tx.register("at").set(&2)?;
            tx.counter("takes").add(2)?;
            tx.counter("takes").add(3)?;
            tx.map("files").put("a", &1)?;
            assert_eq!(tx.register::<u64>("at").get()?, Some(2));
            assert_eq!(tx.counter("takes").get()?, 5);
            assert_eq!(tx.map::<u64>("files").get("a")?, None);
            Ok(())
        });
        let (records, _) = a.document.borrow().records_held();
        assert_eq!(records, 2);
    }
}

#[test]
fn a_transaction_that_changes_nothing_makes_nothing() {
    for kind in kinds() {
        let a = Peer::new(kind, 1);
        let commit = a.commit(|tx| tx.map::<u64>("files").remove("absent"));
        assert!(commit.delta.is_empty() && commit.patches.is_empty());
        assert!(a.document.borrow().version().is_empty());
    }
}
