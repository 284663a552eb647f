//! Hostile input: nothing a peer sends may abort, hang, bloat memory, or leave a document that cannot be saved and
//! loaded again. What only panics is caught, and the document rebuilt.

use aepoch::{
    engine::{Container, ContainerKind, EngineError, EngineKind, guarded, inspect},
    limits,
};
use automerge::{
    ActorId, ObjType, ROOT, ReadDoc, ScalarValue,
    marks::{ExpandMark, Mark},
    transaction::Transactable,
};
use bytes::Bytes;
use serde_json::json;

use crate::{forge::*, support::*};

/// Content of every kind, written by two replicas.
fn base() -> Boxed {
    let (mut left, mut right) = (engine(1), engine(2));
    let ops = [
        put("m", "k", json!({"a": [1, 2.5, "x"], "b": null})),
        push("l", vec![json!(1), json!([true]), json!("two"), json!(-3)]),
        write_at("t", 0, "héllo 😀 world"),
    ];
    let update = left.transact(&ops, false).unwrap().update;
    deliver(&mut right, &[update]).unwrap();
    let ops = [put("m", "k", 7), cut("l", 1..2), erase("t", 2..4), format("t", 0..3, "bold", true)];
    let update = right.transact(&ops, false).unwrap().update;
    deliver(&mut left, &[update]).unwrap();
    left
}

fn refusal(update: &[u8]) -> String {
    match inspect(EngineKind::Automerge, update) {
        Err(EngineError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Applies without looking for panics: what is known to be wrong must be found, not survived.
fn outcome(engine: &mut Boxed, updates: &[Bytes]) -> String {
    for update in updates {
        inspect(EngineKind::Automerge, update).unwrap();
    }
    match engine.apply(updates, false) {
        Err(error) => error.to_string(),
        Ok(applied) => format!("{applied:?}"),
    }
}

#[test]
fn forged_changes_are_what_automerge_would_read() {
    let forged = Forged::nulls(9, 1).bytes();
    let change = automerge::Change::from_bytes(forged.to_vec()).unwrap();
    assert_eq!((change.seq(), change.len(), change.hash().0), (1, 1, hash(&forged)));
    let mut engine = engine(1);
    deliver(&mut engine, &[forged]).unwrap();
    assert_eq!(engine.known(9), 1);
}

#[test]
fn twenty_thousand_damaged_updates_neither_abort_nor_leave_an_unloadable_document() {
    let mut dice = Dice(1);
    let mut source = base();
    let snapshot = source.snapshot();
    let mut seeds = split(
        &source.transact(&[put("n", "x", json!([1, {"y": 2}])), format("t", 1..5, "i", 1)], false).unwrap().update,
    );
    seeds.extend(split(&act(&mut source, erase("t", 0..4))));
    seeds.push(split(&act(&mut source, cut("l", 0..2))).remove(0));
    let whole = source.snapshot();
    let mut counts = [0_usize; 4];
    let mut content = base();
    for round in 0..20_000 {
        let is_whole = round % 5 == 0;
        let update =
            if is_whole { damaged(&whole, &mut dice) } else { damaged(&seeds[round % seeds.len()], &mut dice) };
        counts[0] += 1;
        if inspect(EngineKind::Automerge, &update).is_err() {
            continue;
        }
        counts[1] += 1;
        let mut fresh = engine(1);
        let target = if is_whole { &mut fresh } else { &mut content };
        match guarded(|| target.apply(&[update], round % 2 == 0)) {
            Ok(applied) if !applied.changed => target.drop_pending().unwrap(),
            Ok(_) => {
                counts[2] += 1;
                let shown = visible(target);
                let mut again = engine(1);
                deliver(&mut again, &[target.snapshot()]).unwrap();
                assert_eq!(visible(&again), shown, "round {round}");
                content = base();
            }
            Err(error) => {
                if let EngineError::Poisoned { reason } = error {
                    counts[3] += 1;
                    println!("round {round}: {reason}");
                }
                content = engine(1);
                deliver(&mut content, std::slice::from_ref(&snapshot)).unwrap();
            }
        }
    }
    println!("tried {}, inspected {}, applied {}, poisoned {}", counts[0], counts[1], counts[2], counts[3]);
    assert!(counts[1] > 100, "the damage must be subtle enough to pass sometimes: {counts:?}");
}

#[test]
fn anything_cut_short_or_followed_by_garbage_is_refused_whole() {
    let mut source = base();
    let update = act(&mut source, put("m", "z", 1));
    for bytes in [update, source.snapshot()] {
        for len in 1..bytes.len() {
            assert!(inspect(EngineKind::Automerge, &bytes[..len]).is_err(), "cut at {len}");
        }
        for garbage in [&b"\0"[..], b"garbage", &MAGIC] {
            assert!(inspect(EngineKind::Automerge, &[&bytes[..], garbage].concat()).is_err());
        }
        let mut flipped = bytes.to_vec();
        flipped[5] ^= 1;
        assert_eq!(refusal(&flipped), "wrong checksum");
        assert_eq!(
            refusal(&repaired([&bytes[..8], &[7], &bytes[9..]].concat())),
            "chunk of type 7: only documents and plain changes are accepted"
        );
    }
}

#[test]
fn compressed_chunks_columns_and_bundles_are_refused() {
    let mut document = automerge::Automerge::new();
    edit(&mut document, |transaction| {
        let text = transaction.put_object(ROOT, "t", ObjType::Text).unwrap();
        transaction.splice_text(&text, 0, 0, &"a".repeat(20_000)).unwrap();
    });
    let mut change = document.get_changes(&[]).remove(0);
    let compressed = change.bytes().into_owned();
    assert!(compressed.len() < 2_000, "a bomb");
    assert!(refusal(&compressed).starts_with("chunk of type 2"));
    assert!(refusal(&document.save()).contains("is deflated"));
    let hashes: Vec<_> = document.get_changes(&[]).iter().map(automerge::Change::hash).collect();
    assert!(refusal(document.bundle(hashes).unwrap().bytes()).starts_with("chunk of type 3"));
    assert!(inspect(EngineKind::Automerge, &document.save_nocompress()).is_ok());
}

#[test]
fn run_length_bombs_are_refused() {
    let over = i64::try_from(limits::UPDATE_OPS).unwrap() + 1_000;
    let limit = "over the limit of";
    for rows in [over, 1 << 40, i64::MAX] {
        assert!(refusal(&Forged::nulls(9, rows).bytes()).contains(limit), "{rows}");
    }
    assert!(inspect(EngineKind::Automerge, &Forged::nulls(9, over - 1_000).bytes()).is_ok());
    // Many changes share one allowance.
    let many: Vec<u8> = (1..=12).flat_map(|actor| Forged::nulls(actor, 50_000).bytes()).collect();
    assert!(refusal(&many).contains(limit));
    // One operation with very many predecessors.
    let preds = Forged::nulls(9, 2).column(0x70, [&[0x7e, 0][..], &unsigned(1 << 40)].concat());
    let preds = preds.column(0x71, run(1 << 40, &[0])).column(0x73, run(1 << 40, &[0]));
    assert!(refusal(&preds.bytes()).contains(limit));
    // Columns that promise more than the operations need.
    for (spec, data) in [(0x15, run(1 << 50, &[1, b'k'])), (0x34, unsigned(u64::MAX)), (0x56, run(i64::MIN, &[0]))] {
        assert!(!refusal(&Forged::nulls(9, 3).column(spec, data).bytes()).is_empty());
    }
    // A document of very many operations in a few bytes.
    let changes = [
        (0x01, run(1, &[0])),
        (0x03, run(1, &[1])),
        (0x13, run(1, &signed(1 << 30))),
        (0x23, run(1, &[0])),
        (0x40, run(1, &[0])),
        (0x56, run(1, &[0])),
    ];
    let rows = 1 << 30;
    let operations = [
        (0x15, run(rows, &[1, b'k'])),
        (0x21, run(rows, &[0])),
        (0x23, run(rows, &[1])),
        (0x34, unsigned(rows as u64)),
        (0x42, run(rows, &[1])),
        (0x56, run(rows, &[0])),
        (0x80, run(rows, &[0])),
    ];
    let mut body = [&[1, 8][..], &[0, 0, 0, 0, 0, 0, 0, 9], &[0]].concat();
    for table in [&changes[..], &operations[..]] {
        body.extend(unsigned(table.len() as u64));
        table.iter().for_each(|(spec, data)| body.extend([unsigned(*spec), unsigned(data.len() as u64)].concat()));
    }
    changes.iter().chain(&operations).for_each(|(_, data)| body.extend(data));
    assert!(refusal(&chunk(0, &body)).contains(limit));
}

#[test]
fn lengths_and_counts_are_not_believed() {
    let huge = unsigned(u64::MAX);
    for body in [
        [&huge[..], &[0; 40]].concat(),
        [&[0][..], &huge, &[0; 40]].concat(),
        [&[0, 1, 9, 1, 1, 0][..], &huge, &[0; 40]].concat(),
        [&[0, 1, 9, 1, 1, 0, 0][..], &huge, &[0; 40]].concat(),
        [&[0, 1, 9, 1, 1, 0, 0, 0][..], &huge, &[0; 40]].concat(),
        [&[0, 1, 9, 1, 1, 0, 0, 0, 1, 0x42][..], &huge, &[0; 40]].concat(),
    ] {
        assert!(inspect(EngineKind::Automerge, &chunk(1, &body)).is_err());
        assert!(inspect(EngineKind::Automerge, &chunk(0, &body)).is_err());
    }
    assert!(refusal(&[&MAGIC[..], &[0, 0, 0, 0, 1], &huge].concat()).contains("bytes declared"));
}

#[test]
fn changes_that_break_the_rules_within_themselves_are_refused() {
    let good = Forged::nulls(9, 1);
    let with = |change: &dyn Fn(&mut Forged)| {
        let mut forged = good.clone();
        change(&mut forged);
        refusal(&forged.bytes())
    };
    assert!(with(&|forged| forged.seq = 0).contains("change number 0"));
    assert!(with(&|forged| forged.seq = 1 << 31).contains("change number"));
    assert!(with(&|forged| forged.start_op = 0).contains("operation 0"));
    assert!(with(&|forged| forged.start_op = 1 << 31).contains("operation 2147483648"));
    assert!(with(&|forged| forged.time = i64::MIN).contains("time"));
    assert!(with(&|forged| forged.actor = Vec::new()).contains("actor of 0 bytes"));
    assert!(with(&|forged| forged.actor = vec![1; 65]).contains("actor of 65 bytes"));
    assert!(with(&|forged| forged.others = vec![vec![2], vec![1]]).contains("out of order"));
    assert!(with(&|forged| forged.footer = vec![1, 1, 9]).contains("3 bytes after the end"));
    let columns = |spec, data: &[u8]| refusal(&good.clone().column(spec, data.to_vec()).bytes());
    assert!(columns(0x42, &[0x7f, 8]).contains("unknown action 8"));
    assert!(columns(0x62, &[1, 8]).contains("unknown column 0x62"));
    assert!(columns(0x4a, &[1, 8]).contains("deflated"));
    assert!(columns(0x15, &[0x7f, 1, 0xff]).contains("UTF-8"));
    assert!(columns(0x15, &[]).contains("neither a name nor an element"));
    assert!(columns(0x01, &[0x7f, 0]).contains("half an object id"));
    assert!(columns(0x34, &[0, 1]).contains("cannot act at its place"));
    assert!(columns(0x42, &[0x7f, 3]).contains("changes nothing it names"));
    assert!(columns(0x56, &[0x7f, 0x16]).contains("1 bytes declared, 0 left"));
    assert!(columns(0x94, &[0, 1]).contains("not a mark"));
    assert!(columns(0x70, &[2, 0]).contains("links go on"));
    let refers = |actor: u8, counter: u8| {
        refusal(&good.clone().column(0x01, vec![0x7f, actor]).column(0x02, vec![0x7f, counter]).bytes())
    };
    assert!(refers(0, 1).contains("operation 1 refers to 1"));
    assert!(refers(1, 1).contains("actor 1, of 1 listed"));
}

#[test]
fn what_is_missing_in_the_document_is_found_before_automerge_is_asked() {
    let mut content = base();
    let head = |engine: &Boxed| {
        let delta = automerge::Automerge::load(&engine.snapshot()).unwrap();
        (delta.get_heads().iter().map(|head| head.0).collect::<Vec<_>>(), delta)
    };
    let (deps, document) = head(&content);
    let top = document.get_changes_meta(&[]).iter().map(|meta| meta.max_op).max().unwrap();
    let next = Forged { deps, start_op: top + 1, ..Forged::nulls(9, 1) };
    let object = |actor: &[u8], counter: u64| {
        let forged = Forged { others: vec![actor.to_vec()], ..next.clone() };
        forged.column(0x01, vec![0x7f, 1]).column(0x02, run(1, &unsigned(counter))).bytes()
    };
    let replica = [0, 0, 0, 0, 0, 0, 0, 1];
    let outcomes = [
        (object(&[5; 8], 1), "of whom nothing is known"),
        (object(&replica, 1), "is no such object"),
        (Forged { start_op: top + 2, ..next.clone() }.bytes(), "change starts at operation"),
        (Forged { start_op: top, ..next.clone() }.bytes(), "change starts at operation"),
        (Forged { start_op: 1 << 30, ..next.clone() }.bytes(), "change starts at operation"),
        (Forged { seq: 5, ..next.clone() }.bytes(), "resync required"),
        (Forged { deps: Vec::new(), seq: 2, start_op: 1, ..Forged::nulls(1, 1) }.bytes(), "change starts at operation"),
    ];
    for (update, expected) in outcomes {
        let error = outcome(&mut content, &[update]);
        assert!(error.contains(expected), "{error}");
        content = base();
    }
    let predecessor = next.clone().column(0x70, run(1, &[1])).column(0x71, run(1, &[0]));
    let predecessor = predecessor.column(0x73, run(1, &signed(top as i64))).bytes();
    assert!(deliver(&mut content, &[predecessor]).is_err());
}

#[test]
fn an_encoding_automerge_would_not_write_is_refused_because_it_could_not_be_saved() {
    let longer = "a run is shorter than it could be";
    assert_eq!(refusal(&Forged::nulls(9, 2).column(0x42, vec![1, 1, 1, 1]).bytes()), longer);
    assert_eq!(refusal(&Forged::nulls(9, 1).column(0x42, vec![1, 1]).bytes()), longer);
    // An actor that is listed and not used is dropped when the change is written again.
    let mut content = base();
    let unused = Forged { others: vec![vec![0, 0, 0, 0, 0, 0, 0, 1]], ..Forged::nulls(9, 1) };
    assert!(inspect(EngineKind::Automerge, &unused.bytes()).is_ok());
    assert!(deliver(&mut content, &[unused.bytes()]).is_err());
}

#[test]
fn one_number_used_for_two_changes_is_found() {
    let (mut honest, mut liar) = (engine(1), engine(1));
    let first = act(&mut honest, put("m", "k", 1));
    let second = act(&mut liar, put("m", "k", 2));
    let both = [&first[..], &second].concat();
    assert_eq!(refusal(&both), "two changes of writer 1 numbered 1");
    let mut peer = engine(2);
    deliver(&mut peer, std::slice::from_ref(&first)).unwrap();
    let error = deliver(&mut peer, std::slice::from_ref(&second)).unwrap_err();
    assert!(
        matches!(&error, EngineError::Refused { reason } if reason == "two changes of writer 1 numbered 1"),
        "{error}"
    );
    let mut peer = engine(2);
    assert!(deliver(&mut peer, &[first, second]).is_err());
}

#[test]
fn a_flood_of_changes_whose_dependencies_never_come_is_counted_and_can_be_dropped() {
    let mut content = base();
    let shown = visible(&content);
    let mut dice = Dice(4);
    let mut last = 0;
    for round in 0..4_000_u64 {
        let mut missing = [0; 32];
        missing[..8].copy_from_slice(&dice.next().to_be_bytes());
        let orphan = Forged { deps: vec![missing], seq: round + 1, start_op: 5, ..Forged::nulls(9, 1) }.bytes();
        assert!(matches!(deliver(&mut content, std::slice::from_ref(&orphan)), Err(EngineError::Gap { .. })));
        let applied = deliver_unordered(&mut content, &[orphan]).unwrap();
        assert!(applied.pending && !applied.changed);
        assert!(content.pending() > last && content.pending() - last < 512);
        last = content.pending();
    }
    content.drop_pending().unwrap();
    assert_eq!(content.pending(), 0);
    assert_eq!(visible(&content), shown);
    let mut again = engine(3);
    deliver(&mut again, &[content.snapshot()]).unwrap();
    assert_eq!(visible(&again), shown);
}

#[test]
fn nobody_can_write_in_the_name_of_a_container() {
    let mut source = engine(1);
    let creation = split(&act(&mut source, put("jobs", "k", 1))).remove(0);
    let (_, body) = body_of(&creation);
    let actor = body[2..18].to_vec();
    assert_eq!(&actor[..8], b"aepoch\0\x01");
    let forgery = "a change in the name of a container that is not its creation";
    let forged = Forged { actor: actor.clone(), ..Forged::nulls(9, 1) };
    assert_eq!(refusal(&forged.bytes()), forgery);
    let other_name = forged.clone().column(0x42, vec![0x7f, 0]).column(0x15, vec![0x7f, 4, b'j', b'o', b'b', b'z']);
    assert_eq!(refusal(&other_name.bytes()), forgery);
    let second = Forged { seq: 2, start_op: 2, deps: vec![hash(&creation)], ..forged };
    assert_eq!(refusal(&second.bytes()), forgery);
    // In a whole document the prescan sees only numbers; loading compares.
    let mut document = automerge::Automerge::new().with_actor(ActorId::from(&actor));
    edit(&mut document, |transaction| transaction.put(ROOT, "jobs", 1).unwrap());
    assert!(outcome(&mut engine(2), &[document.save_nocompress().into()]).contains(forgery));
    let mut other_kind = automerge::Automerge::new().with_actor(ActorId::from(&actor));
    edit(&mut other_kind, |transaction| drop(transaction.put_object(ROOT, "jobs", ObjType::Text).unwrap()));
    assert!(outcome(&mut engine(2), &[other_kind.save_nocompress().into()]).contains(forgery));
    edit(&mut document, |transaction| transaction.put(ROOT, "jobs", 2).unwrap());
    assert!(refusal(&document.save_nocompress()).contains("changed in its own name"));
}

#[test]
fn another_programs_changes_are_shown_and_do_not_take_containers_away() {
    let mut content = base();
    let mut other = foreign(&content.snapshot());
    let mut updates = Vec::new();
    let (_, map) = other.get(ROOT, "m").unwrap().unwrap();
    updates.push(edit(&mut other, |transaction| {
        transaction.put(&map, "bytes", ScalarValue::Bytes(vec![1, 0xab])).unwrap();
        transaction.put(&map, "time", ScalarValue::Timestamp(5)).unwrap();
        transaction.put(&map, "count", ScalarValue::counter(3)).unwrap();
        transaction.increment(&map, "count", 4).unwrap();
        let text = transaction.put_object(&map, "text", ObjType::Text).unwrap();
        transaction.splice_text(&text, 0, 0, "nested").unwrap();
        let plain = transaction.put_object(ROOT, "plain", ObjType::Map).unwrap();
        transaction.put(&plain, "k", 1).unwrap();
        transaction.put(ROOT, "scalar", 1).unwrap();
    }));
    updates.push(edit(&mut other, |transaction| {
        transaction.delete(ROOT, "m").unwrap();
        transaction.put(ROOT, "l", 5).unwrap();
    }));
    let info = inspect(EngineKind::Automerge, &updates[0]).unwrap();
    assert!(info.inserts[0].writer > aepoch::id::ReplicaId::MAX);
    deliver(&mut content, &updates).unwrap();
    assert_eq!(content.known(info.inserts[0].writer), 2);
    let shown: serde_json::Map<_, _> =
        content.map_entries("m").unwrap().into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    assert_eq!(json!(shown), json!({"bytes": "01ab", "count": 7, "k": 7, "text": "nested", "time": 5}));
    assert_eq!(json!(content.list_values("l").unwrap()), json!([1, "two", -3]));
    assert_eq!(content.map_get("plain", "k").unwrap(), Some(json!(1)));
    let names: Vec<_> = content.containers().into_iter().map(|container| container.name.to_string()).collect();
    assert_eq!(names, ["l", "m", "plain", "t"]);
    act(&mut content, put("m", "after", 1));
    act(&mut content, put("plain", "mine", 2));
    let mut again = engine(3);
    deliver(&mut again, &[content.snapshot()]).unwrap();
    assert_eq!(visible(&again), visible(&content));
}

#[test]
fn objects_cannot_be_nested_beyond_what_readers_can_walk() {
    let mut content = base();
    let mut other = foreign(&content.snapshot());
    let deep = edit(&mut other, |transaction| {
        let mut object = ROOT;
        for _ in 0..66 {
            object = transaction.put_object(&object, "d", ObjType::Map).unwrap();
        }
    });
    assert_eq!(refusal(&deep), "objects nested 66 deep, limit 65");
    assert_eq!(refusal(&other.save_nocompress()), "objects nested 66 deep, limit 65");
    // Step by step over several changes.
    let mut other = foreign(&content.snapshot());
    let (mut object, mut updates) = (ROOT, Vec::new());
    for _ in 0..14 {
        updates.push(edit(&mut other, |transaction| {
            for _ in 0..5 {
                object = transaction.put_object(&object, "d", ObjType::Map).unwrap();
            }
        }));
    }
    deliver(&mut content, &updates[..7]).unwrap();
    assert!(content.map_get("d", "d").unwrap().is_some());
    let error = deliver(&mut content, &updates[7..]).unwrap_err();
    assert!(error.to_string().contains("objects nested 70 deep, limit 65"), "{error}");
}

#[test]
fn counters_cannot_be_driven_to_overflow_at_their_readers() {
    let mut content = base();
    let mut other = foreign(&content.snapshot());
    let (_, map) = other.get(ROOT, "m").unwrap().unwrap();
    let created = edit(&mut other, |transaction| transaction.put(&map, "c", ScalarValue::counter(1 << 32)).unwrap());
    deliver(&mut content, &[created]).unwrap();
    assert_eq!(content.map_get("m", "c").unwrap(), Some(json!(1_u64 << 32)));
    let over = edit(&mut other, |transaction| transaction.increment(&map, "c", i64::MAX - (1 << 33)).unwrap());
    assert!(refusal(&over).starts_with("counter moved by"));
    let over = edit(&mut other, |transaction| transaction.put(&map, "d", ScalarValue::counter(i64::MIN)).unwrap());
    assert!(refusal(&over).starts_with("counter moved by"));
}

#[test]
fn a_mark_that_ends_before_it_begins_is_refused_because_it_could_not_be_loaded() {
    let mut content = base();
    let mut other = foreign(&content.snapshot());
    let (_, text) = other.get(ROOT, "t").unwrap().unwrap();
    let honest = edit(&mut other, |transaction| {
        transaction.mark(&text, Mark::new("u".to_owned(), true, 1, 4), ExpandMark::Both).unwrap();
    });
    deliver(&mut content, std::slice::from_ref(&honest)).unwrap();
    // Exchanging the elements both ends follow turns the mark around.
    let (_, body) = body_of(&honest);
    let mut turned = None;
    for at in 0..body.len() - 1 {
        let mut swapped = body.to_vec();
        swapped[at] = swapped[at].wrapping_add(3);
        swapped[at + 1] = (swapped[at + 1] & 0x80) | (swapped[at + 1].wrapping_sub(6) & 0x7f);
        let update = chunk(1, &swapped);
        let mut target = base();
        if inspect(EngineKind::Automerge, &update).is_ok()
            && let Err(EngineError::Poisoned { reason }) = guarded(|| target.apply(&[update], false))
            && reason.contains("mark")
        {
            turned = Some(reason);
        }
    }
    assert!(turned.is_some_and(|reason| reason.contains("invalid mark operation order")));
}

#[test]
fn bytes_that_are_no_frontier_are_errors_or_harmless() {
    let content = base();
    let mut dice = Dice(8);
    let good = content.frontier();
    for _ in 0..3_000 {
        let mut bytes = good.to_vec();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.next() as u8;
        }
        if content.compare(&bytes).is_ok() {
            let delta = content.delta_since(&bytes, None).unwrap();
            assert!(delta.is_empty() || inspect(EngineKind::Automerge, &delta).is_ok());
        }
    }
    assert!(content.len(&Container { kind: ContainerKind::Text, name: "t".into() }).unwrap() > 0);
}
