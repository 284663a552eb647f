//! The laws of merging: order, grouping and repetition of updates do not matter, and frontiers tell what is there.

use aepoch::engine::{EngineError, Relation, inspect};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use crate::support::*;

/// Delivers updates in an order drawn from `seed`, one by one.
fn shuffled(updates: &[Bytes], mut seed: u64) -> Vec<Bytes> {
    let mut left = updates.to_vec();
    let mut order = Vec::new();
    while !left.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.push(left.swap_remove((seed >> 33) as usize % left.len()));
    }
    order
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn updates_commute_in_any_order_even_against_causality(history in any_history(24), seed in any::<u64>()) {
        for &kind in ENGINES {
            let updates = updates(&play(kind, &history));
            let mut forward = Peer::new(kind, 50);
            let mut mixed = Peer::new(kind, 51);
            for update in &updates {
                forward.hear(std::slice::from_ref(update));
            }
            for update in shuffled(&updates, seed) {
                mixed.hear(&[update]);
            }
            prop_assert_eq!((forward.engine.pending(), mixed.engine.pending()), (0, 0));
            prop_assert_eq!(forward.content(), mixed.content());
            prop_assert_eq!(forward.engine.frontier(), mixed.engine.frontier());
        }
    }

    #[test]
    fn merging_is_associative(history in any_history(24)) {
        for &kind in ENGINES {
            let peers = play(kind, &history);
            let mut left = peers[0].reload(50);
            left.pull(&peers[1]);
            left.pull(&peers[2]);
            let mut right = peers[1].reload(51);
            right.pull(&peers[2]);
            let mut outer = peers[0].reload(52);
            outer.pull(&right);
            prop_assert_eq!(left.content(), outer.content());
            prop_assert_eq!(left.engine.frontier(), outer.engine.frontier());
        }
    }

    #[test]
    fn merging_is_idempotent(history in any_history(24)) {
        for &kind in ENGINES {
            let mut peers = play(kind, &history);
            let updates = updates(&peers);
            let mut peer = peers.remove(0);
            peer.hear(&updates);
            let (content, frontier) = (peer.content(), peer.engine.frontier());
            let snapshot = peer.engine.snapshot();
            prop_assert!(!peer.hear(&updates).changed);
            prop_assert!(!peer.hear(&[snapshot]).changed);
            prop_assert_eq!(peer.content(), content);
            prop_assert_eq!(peer.engine.frontier(), frontier);
        }
    }

    #[test]
    fn a_batch_does_what_its_updates_do_one_by_one(history in any_history(24)) {
        for &kind in ENGINES {
            let updates = updates(&play(kind, &history));
            let (mut batch, mut singles) = (Peer::new(kind, 50), Peer::new(kind, 51));
            batch.hear(&updates);
            for update in &updates {
                singles.hear(std::slice::from_ref(update));
            }
            prop_assert_eq!(batch.content(), singles.content());
            prop_assert_eq!(batch.engine.frontier(), singles.engine.frontier());
        }
    }

    #[test]
    fn a_snapshot_holds_everything(history in any_history(24), more in any_edit()) {
        for &kind in ENGINES {
            let mut peers = play(kind, &history);
            let mut original = peers.remove(0);
            for peer in &peers {
                original.pull(peer);
            }
            let mut loaded = original.reload(1);
            prop_assert_eq!(loaded.content(), original.content());
            prop_assert_eq!(loaded.engine.frontier(), original.engine.frontier());
            original.edit(&more);
            loaded.edit(&more);
            prop_assert_eq!(loaded.content(), original.content());
        }
    }

    #[test]
    fn a_delta_is_sufficient_and_holds_nothing_known(history in any_history(24)) {
        for &kind in ENGINES {
            let peers = play(kind, &history);
            let (ours, mut theirs) = (&peers[0], peers[1].reload(2));
            let delta = ours.engine.delta_since(&theirs.engine.frontier(), None).unwrap();
            if !delta.is_empty() {
                for range in inspect(kind, &delta).unwrap().inserts {
                    prop_assert!(range.from >= theirs.engine.known(range.writer), "{range:?} is known");
                }
                theirs.hear(&[delta]);
            }
            prop_assert_eq!(theirs.engine.pending(), 0);
            let mut both = peers[0].reload(50);
            both.pull(&peers[1]);
            prop_assert_eq!(theirs.content(), both.content());
            prop_assert_eq!(theirs.engine.frontier(), both.engine.frontier());
            let nothing = ours.engine.delta_since(&both.engine.frontier(), None).unwrap();
            if both.engine.compare(&ours.engine.frontier()).unwrap() == Relation::Equal {
                prop_assert!(nothing.is_empty());
            }
        }
    }

    #[test]
    fn deltas_by_author_hold_only_their_insertions_and_add_up(history in any_history(24)) {
        for &kind in ENGINES {
            let mut peers = play(kind, &history);
            let mut source = peers.remove(0);
            for peer in &peers {
                source.pull(peer);
            }
            let mut target = peers.remove(0);
            for _round in 0..2 * WRITERS {
                for author in 1..=WRITERS as u64 {
                    let delta = source.engine.delta_since(&target.engine.frontier(), Some(replica(author))).unwrap();
                    if delta.is_empty() {
                        continue;
                    }
                    let inserts = inspect(kind, &delta).unwrap().inserts;
                    prop_assert!(inserts.iter().all(|range| range.writer == author), "{inserts:?} for {author}");
                    target.hear(&[delta]);
                }
            }
            prop_assert_eq!(target.content(), source.content());
            prop_assert_eq!(target.engine.frontier(), source.engine.frontier());
        }
    }

    #[test]
    fn equal_frontiers_mean_equal_content(history in any_history(16)) {
        for &kind in ENGINES {
            let peers = play(kind, &history);
            for a in &peers {
                for b in &peers {
                    let equal = a.engine.frontier() == b.engine.frontier();
                    let relation = a.engine.compare(&b.engine.frontier()).unwrap();
                    prop_assert_eq!(relation == Relation::Equal, equal);
                    if equal {
                        prop_assert_eq!(a.content(), b.content());
                    }
                    let mut ahead = b.reload(50);
                    ahead.pull(a);
                    if b.engine.frontier() != ahead.engine.frontier() {
                        prop_assert!(matches!(relation, Relation::PeerBehind | Relation::Diverged));
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_calls_give_the_same_bytes(history in any_history(24)) {
        for &kind in ENGINES {
            let (one, two) = (play(kind, &history), play(kind, &history));
            for (one, two) in one.iter().zip(&two) {
                prop_assert_eq!(&one.log, &two.log);
                prop_assert_eq!(one.engine.snapshot(), two.engine.snapshot());
                prop_assert_eq!(one.engine.frontier(), two.engine.frontier());
            }
        }
    }
}

#[test]
fn an_update_waits_for_the_one_before_it() {
    for &kind in ENGINES {
        let mut writer = Peer::new(kind, 1);
        let first = writer.commit(&[put("m", "a", json!(1))]);
        let second = writer.commit(&[put("m", "b", json!(2))]);
        let mut reader = Peer::new(kind, 2);
        let applied = reader.hear(std::slice::from_ref(&second));
        assert!(applied.pending && !applied.changed, "{kind}: {applied:?}");
        assert!(reader.engine.pending() > 0);
        assert_eq!(reader.content(), Content::default(), "{kind}");
        assert_eq!(reader.engine.frontier(), Peer::new(kind, 3).engine.frontier());
        let applied = reader.hear(&[first]);
        assert!(applied.changed && !applied.pending, "{kind}: {applied:?}");
        assert_eq!(reader.engine.pending(), 0);
        assert_eq!(reader.content(), writer.content(), "{kind}");
    }
}

#[test]
fn what_waits_can_be_dropped_and_sent_again() {
    for &kind in ENGINES {
        let mut writer = Peer::new(kind, 1);
        writer.commit(&[write("t", None, "hello")]);
        let second = writer.commit(&[write("t", Some(5), " world")]);
        let mut reader = Peer::new(kind, 2);
        reader.commit(&[put("m", "own", json!(true))]);
        let before = reader.content();
        reader.hear(std::slice::from_ref(&second));
        reader.engine.drop_pending().unwrap();
        assert_eq!((reader.engine.pending(), reader.content()), (0, before), "{kind}");
        reader.hear(&writer.log[..1]);
        assert_eq!(text_of(reader.engine.as_ref(), "t"), "hello", "{kind}");
        reader.pull(&writer);
        assert_eq!(text_of(reader.engine.as_ref(), "t"), "hello world", "{kind}");
        reader.commit(&[put("m", "later", json!(true))]);
        assert_eq!(reader.engine.len(&map("m")).unwrap(), 2);
    }
}

fn map(name: &str) -> aepoch::engine::Container {
    aepoch::engine::Container { kind: aepoch::engine::ContainerKind::Map, name: name.into() }
}

#[test]
fn frontiers_are_ordered_by_what_they_hold() {
    for &kind in ENGINES {
        let mut a = Peer::new(kind, 1);
        let nothing = a.engine.frontier();
        a.commit(&[put("m", "a", json!(1))]);
        let early = a.engine.frontier();
        a.commit(&[put("m", "b", json!(2))]);
        let late = a.engine.frontier();
        assert_eq!(a.engine.compare(&late).unwrap(), Relation::Equal, "{kind}");
        assert_eq!(a.engine.compare(&early).unwrap(), Relation::PeerBehind, "{kind}");
        assert_eq!(a.engine.compare(&nothing).unwrap(), Relation::PeerBehind, "{kind}");
        assert_eq!(a.engine.compare(&[]).unwrap(), Relation::PeerBehind, "{kind}");
        let mut b = Peer::new(kind, 2);
        b.hear(&a.log[..1]);
        assert_eq!(b.engine.compare(&late).unwrap(), Relation::PeerAhead, "{kind}");
        b.commit(&[put("m", "c", json!(3))]);
        assert_eq!(b.engine.compare(&late).unwrap(), Relation::Diverged, "{kind}");
        assert_eq!(a.engine.compare(&b.engine.frontier()).unwrap(), Relation::Diverged, "{kind}");
    }
}

#[test]
fn a_deletion_alone_moves_the_frontier_and_travels_in_a_delta() {
    for &kind in ENGINES {
        let mut a = Peer::new(kind, 1);
        a.commit(&[put("m", "a", json!(1)), put("m", "b", json!(2)), write("t", None, "abc")]);
        let mut b = a.reload(2);
        a.commit(&[remove("m", "a"), erase("t", 1..2)]);
        assert_ne!(a.engine.frontier(), b.engine.frontier(), "{kind}");
        assert_ne!(b.engine.compare(&a.engine.frontier()).unwrap(), Relation::Equal, "{kind}");
        assert_ne!(a.engine.compare(&b.engine.frontier()).unwrap(), Relation::PeerAhead, "{kind}");
        let delta = a.engine.delta_since(&b.engine.frontier(), None).unwrap();
        assert!(delta.len() < a.engine.snapshot().len(), "{kind}: {} bytes", delta.len());
        b.hear(&[delta]);
        assert_eq!(b.content(), a.content(), "{kind}");
        assert_eq!(b.engine.frontier(), a.engine.frontier(), "{kind}");
        assert!(a.engine.delta_since(&b.engine.frontier(), None).unwrap().is_empty(), "{kind}");
    }
}

#[test]
fn containers_created_at_once_by_two_replicas_are_one() {
    for &kind in ENGINES {
        let (mut a, mut b) = (Peer::new(kind, 1), Peer::new(kind, 2));
        a.commit(&[put("posts/42/likes", "a", json!(1)), push("jobs", &[json!("a")]), write("notes", None, "A")]);
        b.commit(&[put("posts/42/likes", "b", json!(2)), push("jobs", &[json!("b")]), write("notes", None, "B")]);
        a.pull(&b);
        b.pull(&a);
        assert_eq!(a.content(), b.content(), "{kind}");
        assert_eq!(a.engine.map_entries("posts/42/likes").unwrap().len(), 2, "{kind}");
        assert_eq!(a.engine.list_values("jobs").unwrap().len(), 2, "{kind}");
        assert_eq!(text_of(a.engine.as_ref(), "notes").len(), 2, "{kind}");
    }
}

#[test]
fn unreadable_frontiers_are_errors() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[put("m", "a", json!(1))]);
        for garbage in [&[0xff_u8; 40][..], &[1], &[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]] {
            assert!(peer.engine.compare(garbage).is_err(), "{kind}: {garbage:?}");
            assert!(peer.engine.delta_since(garbage, None).is_err(), "{kind}: {garbage:?}");
        }
    }
}

#[test]
fn an_agent_writes_under_its_own_id_alone() {
    for &kind in ENGINES {
        let mut writer = Peer::new(kind, 1);
        let update = writer.commit(&[put("m", "a", json!(1)), push("l", &[json!(2)]), write("t", None, "x")]);
        let mut relay = Peer::new(kind, 9);
        let outcome = receive(relay.engine.as_mut(), &update, Some(replica(2)));
        assert!(matches!(outcome, Err(EngineError::Refused { .. })), "{kind}: {outcome:?}");
        assert_eq!(relay.content(), Content::default(), "{kind}");
        assert!(receive(relay.engine.as_mut(), &update, Some(replica(1))).unwrap().changed, "{kind}");
        assert_eq!(relay.content(), writer.content(), "{kind}");
        // Others' content may be deleted under one's own id.
        let mut other = relay.reload(2);
        let removal = other.commit(&[remove("m", "a"), erase("t", 0..1)]);
        assert!(receive(relay.engine.as_mut(), &removal, Some(replica(2))).unwrap().changed, "{kind}");
        assert_eq!(relay.content(), other.content(), "{kind}");
    }
}

#[test]
fn writers_who_took_turns_can_be_fetched_one_after_the_other() {
    for &kind in ENGINES {
        let (mut a, mut b) = (Peer::new(kind, 1), Peer::new(kind, 2));
        for turn in 0..4 {
            a.commit(&[write("t", None, "a"), put("m", "k", json!(turn))]);
            b.pull(&a);
            b.commit(&[write("t", None, "b"), put("m", "k", json!(turn))]);
            a.pull(&b);
        }
        let mut reader = Peer::new(kind, 3);
        // Some engines send what the reader can use at once, turn by turn; others all, and the reader waits.
        for author in [1, 2].repeat(5) {
            let delta = a.engine.delta_since(&reader.engine.frontier(), Some(replica(author))).unwrap();
            if !delta.is_empty() {
                reader.hear(&[delta]);
            }
        }
        assert_eq!(reader.engine.pending(), 0, "{kind}");
        assert_eq!(reader.content(), a.content(), "{kind}");
        assert_eq!(reader.engine.frontier(), a.engine.frontier(), "{kind}");
    }
}
