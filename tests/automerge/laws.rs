//! What every engine owes: merging is commutative, associative and idempotent, batches equal singles, saving and
//! loading change nothing, transactions are atomic.

use aepoch::engine::{Container, ContainerKind, EngineError, EngineKind, Relation, inspect};
use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// Updates of three replicas that edit concurrently and now and then exchange everything.
fn history(seed: u64, rounds: usize) -> (Vec<Boxed>, Vec<Bytes>) {
    let mut dice = Dice(seed);
    let mut engines: Vec<_> = (1..=3).map(engine).collect();
    let mut updates = Vec::new();
    for round in 0..rounds {
        for engine in &mut engines {
            let op = random_op(engine, &mut dice);
            let update = engine.transact(&[op], false).unwrap().update;
            if !update.is_empty() {
                updates.push(update);
            }
        }
        if round % 3 == 2 {
            exchange(&mut engines);
        }
    }
    exchange(&mut engines);
    (engines, updates)
}

fn exchange(engines: &mut [Boxed]) {
    for from in 0..engines.len() {
        for to in 0..engines.len() {
            let delta = engines[from].delta_since(&engines[to].frontier(), None).unwrap();
            if !delta.is_empty() {
                deliver(&mut engines[to], &[delta]).unwrap();
            }
        }
    }
}

fn shuffled(updates: &[Bytes], dice: &mut Dice) -> Vec<Bytes> {
    let mut order = updates.to_vec();
    for last in (1..order.len()).rev() {
        order.swap(last, dice.below(last + 1));
    }
    order
}

#[test]
fn replicas_that_exchanged_everything_agree() {
    for seed in 0..6 {
        let (engines, _) = history(seed, 9);
        for other in &engines[1..] {
            assert_eq!(visible(&engines[0]), visible(other), "seed {seed}");
            assert_eq!(engines[0].frontier(), other.frontier());
            assert_eq!(engines[0].compare(&other.frontier()).unwrap(), Relation::Equal);
        }
    }
}

#[test]
fn updates_merge_to_the_same_in_any_order_any_grouping_and_any_number_of_times() {
    for seed in 10..14 {
        let (engines, updates) = history(seed, 6);
        let expected = visible(&engines[0]);
        let mut dice = Dice(seed);
        let mut one_batch = engine(50);
        deliver(&mut one_batch, &updates).unwrap();
        assert_eq!(visible(&one_batch), expected, "one batch, seed {seed}");
        for _ in 0..2 {
            let mut singly = engine(51);
            for update in shuffled(&updates, &mut dice) {
                deliver_unordered(&mut singly, std::slice::from_ref(&update)).unwrap();
                deliver_unordered(&mut singly, &[update]).unwrap();
            }
            assert_eq!(visible(&singly), expected, "singly and twice, seed {seed}");
            assert_eq!(singly.pending(), 0);
            assert_eq!(singly.frontier(), one_batch.frontier());
        }
    }
}

#[test]
fn a_snapshot_loads_to_the_same_content_and_the_same_snapshot() {
    let (engines, _) = history(20, 12);
    let snapshot = engines[0].snapshot();
    let mut loaded = engine(60);
    deliver(&mut loaded, std::slice::from_ref(&snapshot)).unwrap();
    assert_eq!(visible(&loaded), visible(&engines[0]));
    assert_eq!(loaded.snapshot(), snapshot);
    assert_eq!(loaded.frontier(), engines[0].frontier());
    assert_eq!(loaded.history().unwrap(), engines[0].history().unwrap());
    assert_eq!(loaded.known(2), engines[0].known(2));
    assert!(engine(61).snapshot().is_empty());
}

#[test]
fn a_snapshot_merges_into_content_that_has_its_own_changes() {
    let (engines, _) = history(21, 6);
    let mut other = engine(62);
    act(&mut other, put("map", "mine", 1));
    act(&mut other, put("own", "x", 2));
    let applied = deliver(&mut other, &[engines[0].snapshot()]).unwrap();
    assert!(applied.changed && !applied.pending);
    assert_eq!(other.map_get("own", "x").unwrap(), Some(json!(2)));
    assert_eq!(other.compare(&engines[0].frontier()).unwrap(), Relation::PeerBehind);
    assert_eq!(text(&other, "notes"), text(&engines[0], "notes"));
    let again = deliver(&mut other, &[engines[0].snapshot()]).unwrap();
    assert!(!again.changed);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let (left, left_updates) = history(30, 6);
    let (right, right_updates) = history(30, 6);
    assert_eq!(left_updates, right_updates);
    assert_eq!(left[0].snapshot(), right[0].snapshot());
}

#[test]
fn a_container_created_twice_at_once_is_shared() {
    let (mut left, mut right) = (engine(1), engine(2));
    let from_left = act(&mut left, put("jobs/42/notes", "a", 1));
    let from_right = act(&mut right, put("jobs/42/notes", "b", 2));
    deliver(&mut left, &[from_right]).unwrap();
    deliver(&mut right, &[from_left]).unwrap();
    for engine in [&left, &right] {
        assert_eq!(engine.map_get("jobs/42/notes", "a").unwrap(), Some(json!(1)));
        assert_eq!(engine.map_get("jobs/42/notes", "b").unwrap(), Some(json!(2)));
    }
    assert_eq!(left.frontier(), right.frontier());
}

#[test]
fn a_name_created_as_two_kinds_at_once_is_the_same_kind_everywhere() {
    let (mut left, mut right) = (engine(1), engine(2));
    let from_left = act(&mut left, put("x", "a", 1));
    let from_right = act(&mut right, write_at("x", 0, "b"));
    deliver(&mut left, &[from_right]).unwrap();
    deliver(&mut right, &[from_left]).unwrap();
    assert_eq!(left.containers(), right.containers());
    assert_eq!(left.containers().len(), 1);
    let is_map = left.containers()[0].kind == ContainerKind::Map;
    let found =
        if is_map { left.transact(&[write_at("x", 0, "c")], false) } else { left.transact(&[put("x", "c", 1)], false) };
    assert!(matches!(found, Err(EngineError::WrongType { .. })));
}

#[test]
fn a_transaction_with_one_bad_operation_changes_nothing() {
    let mut engine = engine(1);
    act(&mut engine, write_at("notes", 0, "abc"));
    let (before, frontier) = (visible(&engine), engine.frontier());
    let bad = [
        (write_at("notes", 9, "x"), "position 9 is beyond the 8 elements of `notes`"),
        (erase("notes", 7..10), "position 10 is beyond the 8 elements of `notes`"),
        (push("notes", vec![json!(1)]), "`notes` is a text, not a list"),
        (push("fresh", vec![json!(1)]), "`fresh` is a map, not a list"),
        (
            format("notes", 0..1, "link", json!({"href": 1})),
            "automerge cannot keep a list or a map as the value of a formatting attribute",
        ),
        (put("fresh", "k", "v".repeat(200_000)), "value of `fresh`/`k` of 200002 is over the limit of 131072"),
    ];
    for (op, message) in bad {
        let ops = [put("fresh", "a", 1), write_at("notes", 3, "hello"), op];
        let error = engine.transact(&ops, true).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(visible(&engine), before);
        assert_eq!(engine.frontier(), frontier);
    }
    let inverted = std::ops::Range { start: 3, end: 2 };
    assert!(engine.transact(&[erase("notes", inverted)], false).is_err());
}

#[test]
fn a_transaction_without_effect_gives_no_update_and_creates_nothing() {
    let mut engine = engine(1);
    let ops = [remove("map", "k"), cut("list", 0..0), write_at("text", 0, ""), push("list", Vec::new())];
    let commit = engine.transact(&ops, true).unwrap();
    assert!(commit.update.is_empty() && commit.patches.is_empty());
    assert!(engine.containers().is_empty());
    act(&mut engine, put("map", "k", 1));
    assert!(act(&mut engine, put("map", "k", 1)).is_empty());
    assert!(act(&mut engine, remove("map", "other")).is_empty());
}

#[test]
fn a_transaction_is_one_change_and_passes_inspection() {
    let mut engine = engine(7);
    let ops = [put("m", "a", 1), push("l", vec![json!(1)]), write_at("t", 0, "xyz"), erase("t", 1..2)];
    let update = engine.transact(&ops, false).unwrap().update;
    let info = inspect(EngineKind::Automerge, &update).unwrap();
    assert_eq!(info.inserts.len(), 1);
    assert_eq!((info.inserts[0].writer, info.inserts[0].from, info.inserts[0].to), (7, 0, 1));
    assert_eq!(info.changes.len(), 4);
    assert!(info.deps.is_empty() && info.deletes.is_empty());
    assert_eq!(engine.known(7), 1);
    assert_eq!(engine.len(&Container { kind: ContainerKind::Text, name: "t".into() }).unwrap(), 2);
}
