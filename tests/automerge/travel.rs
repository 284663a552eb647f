//! What travels: deltas, frontiers, changes that wait, deltas of one author, histories.

use aepoch::engine::{Admission, EngineError, EngineKind, Relation, inspect};
use serde_json::json;

use crate::support::*;

#[test]
fn a_frontier_tells_who_is_behind() {
    let (mut left, mut right) = (engine(1), engine(2));
    assert_eq!(left.compare(&right.frontier()).unwrap(), Relation::Equal);
    let first = act(&mut left, put("m", "a", 1));
    assert_eq!(left.compare(&right.frontier()).unwrap(), Relation::PeerBehind);
    assert_eq!(right.compare(&left.frontier()).unwrap(), Relation::PeerAhead);
    deliver(&mut right, &[first]).unwrap();
    assert_eq!(left.compare(&right.frontier()).unwrap(), Relation::Equal);
    act(&mut left, put("m", "b", 1));
    assert_eq!(right.compare(&left.frontier()).unwrap(), Relation::PeerAhead);
    act(&mut right, put("m", "c", 1));
    assert_eq!(left.compare(&right.frontier()).unwrap(), Relation::Diverged);
    assert_eq!(right.compare(&left.frontier()).unwrap(), Relation::Diverged);
}

#[test]
fn a_deletion_alone_moves_the_frontier_and_travels() {
    let (mut left, mut right) = (engine(1), engine(2));
    let ops = [write_at("t", 0, "abc"), put("m", "k", 1), push("l", vec![json!(1)])];
    deliver(&mut right, &[left.transact(&ops, false).unwrap().update]).unwrap();
    for op in [erase("t", 1..2), remove("m", "k"), cut("l", 0..1)] {
        let before = left.frontier();
        act(&mut left, op);
        assert_ne!(left.frontier(), before);
        assert_eq!(left.compare(&right.frontier()).unwrap(), Relation::PeerBehind);
        send(&left, &mut right);
        assert_eq!(visible(&left), visible(&right));
    }
}

#[test]
fn a_delta_holds_what_the_peer_lacks_and_no_more_even_if_the_peer_is_ahead() {
    let (mut left, mut right) = (engine(1), engine(2));
    for at in 0..50 {
        act(&mut left, put("m", "k", at));
    }
    send(&left, &mut right);
    // Right's head is now unknown to left, which still has to see that only one change is lacking.
    act(&mut right, put("m", "mine", 1));
    act(&mut left, put("m", "last", 1));
    let delta = left.delta_since(&right.frontier(), None).unwrap();
    let info = inspect(EngineKind::Automerge, &delta).unwrap();
    assert_eq!(info.changes.len(), 1);
    assert_eq!((info.inserts[0].from, info.inserts[0].to), (50, 51));
    deliver(&mut right, &[delta]).unwrap();
    assert!(right.delta_since(&right.frontier(), None).unwrap().is_empty());
    assert_eq!(right.map_get("m", "last").unwrap(), Some(json!(1)));
}

#[test]
fn a_long_history_goes_to_a_new_peer_as_one_document() {
    let mut left = engine(1);
    for at in 0..40 {
        act(&mut left, put("m", "k", at));
    }
    let delta = left.delta_since(&[], None).unwrap();
    assert_eq!(delta, left.snapshot());
    let info = inspect(EngineKind::Automerge, &delta).unwrap();
    assert_eq!((info.inserts[0].writer, info.inserts[0].from, info.inserts[0].to), (1, 0, 40));
    assert_eq!(info.changes.len(), 1);
    assert!(info.depth >= 1 && info.ops >= 40);
}

#[test]
fn a_delta_of_one_author_has_only_that_authors_changes_and_what_nobody_wrote() {
    let (mut left, mut right, mut relay) = (engine(1), engine(2), engine(3));
    let from_right = act(&mut right, put("m", "right", 1));
    deliver(&mut left, std::slice::from_ref(&from_right)).unwrap();
    act(&mut left, put("other", "left", 1));
    // Left's change builds on right's, which the relay lacks: it goes all the same, because it is all left has to say,
    // and the relay knows what is missing.
    let early = left.delta_since(&relay.frontier(), Some(replica(1))).unwrap();
    let info = inspect(EngineKind::Automerge, &early).unwrap();
    assert_eq!((info.inserts.len(), info.changes.len(), info.deps.len()), (1, 3, 1));
    let refused = Admission::default().admit(relay.as_ref(), &info, Some(replica(1)));
    assert!(matches!(refused, Err(EngineError::Gap { .. })));
    // Of one who wrote nothing, only the creations go.
    let creations = left.delta_since(&relay.frontier(), Some(replica(9))).unwrap();
    assert!(inspect(EngineKind::Automerge, &creations).unwrap().inserts.is_empty());
    let mut bare = engine(4);
    deliver(&mut bare, &[creations]).unwrap();
    assert_eq!(bare.compare(&engine(5).frontier()).unwrap(), Relation::PeerBehind);
    assert_eq!(engine(5).compare(&bare.frontier()).unwrap(), Relation::PeerAhead);
    deliver(&mut relay, &[from_right]).unwrap();
    let delta = left.delta_since(&relay.frontier(), Some(replica(1))).unwrap();
    let info = inspect(EngineKind::Automerge, &delta).unwrap();
    assert_eq!(info.inserts.iter().map(|range| range.writer).collect::<Vec<_>>(), [1]);
    Admission::default().admit(relay.as_ref(), &info, Some(replica(1))).unwrap();
    assert!(Admission::default().admit(relay.as_ref(), &info, Some(replica(2))).is_err());
    deliver(&mut relay, &[delta]).unwrap();
    assert_eq!(visible(&relay), visible(&left));
}

#[test]
fn a_change_waits_for_what_it_builds_on() {
    let (mut left, mut right) = (engine(1), engine(2));
    let first = act(&mut left, put("m", "a", 1));
    let second = act(&mut left, put("m", "b", 2));
    let third = act(&mut left, put("m", "c", 3));
    assert!(matches!(
        deliver(&mut right, std::slice::from_ref(&second)),
        Err(EngineError::Gap { writer: 1, from: 1, known: 0 })
    ));
    let applied = deliver_unordered(&mut right, std::slice::from_ref(&third)).unwrap();
    assert!(applied.pending && !applied.changed);
    deliver_unordered(&mut right, std::slice::from_ref(&second)).unwrap();
    assert!(right.pending() > second.len() + third.len());
    assert!(right.containers().is_empty());
    let applied = deliver_unordered(&mut right, &[first]).unwrap();
    assert!(applied.changed && !applied.pending);
    assert_eq!(right.pending(), 0);
    assert_eq!(visible(&right), visible(&left));
}

#[test]
fn what_waits_can_be_dropped_and_sent_again() {
    let (mut left, mut right) = (engine(1), engine(2));
    let first = act(&mut left, put("m", "a", 1));
    let second = act(&mut left, put("m", "b", 2));
    deliver_unordered(&mut right, &[second]).unwrap();
    let frontier = right.frontier();
    right.drop_pending().unwrap();
    assert_eq!(right.pending(), 0);
    assert_eq!(right.frontier(), frontier);
    deliver(&mut right, &[first]).unwrap();
    assert_eq!(right.map_get("m", "b").unwrap(), None);
    send(&left, &mut right);
    assert_eq!(visible(&right), visible(&left));
}

#[test]
fn a_replica_goes_on_where_its_snapshot_ends() {
    let mut left = engine(1);
    act(&mut left, put("m", "a", 1));
    let mut again = engine(1);
    deliver(&mut again, &[left.snapshot()]).unwrap();
    let update = act(&mut again, put("m", "b", 2));
    assert_eq!(inspect(EngineKind::Automerge, &update).unwrap().inserts[0].from, 1);
    deliver(&mut left, &[update]).unwrap();
    assert_eq!(visible(&left), visible(&again));
}

#[test]
fn history_names_writers_and_counts_operations() {
    let (mut left, mut right) = (engine(1), engine(2));
    let update = act(&mut left, write_at("t", 0, "abc"));
    deliver(&mut right, &[update]).unwrap();
    act(&mut right, erase("t", 0..2));
    let history = right.history().unwrap();
    let short: Vec<_> =
        history.iter().map(|entry| (entry.writer.map(|writer| writer.get()), entry.seq, entry.ops)).collect();
    assert_eq!(short, [(None, 1, 1), (Some(1), 1, 3), (Some(2), 1, 2)]);
    assert!(history.iter().all(|entry| entry.id.len() == 64 && entry.wall_ms == 0));
}

#[test]
fn frontiers_that_cannot_be_read_are_errors() {
    let mut left = engine(1);
    act(&mut left, put("m", "a", 1));
    let good = left.frontier();
    for len in 1..good.len() {
        assert!(left.compare(&good[..len]).is_err(), "cut at {len}");
    }
    let longer = [&good[..], &[0]].concat();
    assert!(matches!(left.delta_since(&longer, None), Err(EngineError::Corrupt { what: "frontier", .. })));
    assert!(left.compare(&[0xff; 64]).is_err());
    // A number of heads no frontier can hold must not be believed.
    assert!(left.compare(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
}

#[test]
fn a_snapshot_wakes_what_waited_for_anything_in_it() {
    let (mut left, mut right) = (engine(1), engine(2));
    act(&mut left, put("m", "a", 1));
    let snapshot = left.snapshot();
    let later = act(&mut left, put("m", "b", 2));
    deliver_unordered(&mut right, &[later]).unwrap();
    assert!(right.pending() > 0);
    let applied = deliver(&mut right, &[snapshot]).unwrap();
    assert!(applied.changed && !applied.pending);
    assert_eq!(visible(&right), visible(&left));
}
