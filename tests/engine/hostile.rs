//! Bytes written to break a replica: each is refused with a reason, or does no harm, and what honest writers send
//! afterwards still arrives. Inputs come from fuzzing the engine bare, where they abort, hang, lose writes or panic.

use aepoch::{
    engine::{Admission, EngineError, EngineKind, create, guarded, inspect},
    limits,
};
use bytes::Bytes;
use serde_json::json;

use crate::{foreign, support::*};

/// The honest writer whose id the inputs abuse.
const VICTIM: u64 = 7;
/// As many writers as a document may have.
const MOST: u64 = EngineKind::Yrs.most_writers() as u64;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn var(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// An update of one client with the given blocks and no deletions.
fn blocks(client: u64, clock: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    join(&[&[1], &var(blocks.len() as u64), &var(client), &var(clock), &blocks.concat(), &[0]])
}

/// A block with a value in the list `a`.
fn value_block(value: &[u8]) -> Vec<u8> {
    join(&[&[8, 1, 1, b'a', 1], value])
}

fn nested_value(depth: usize) -> Vec<u8> {
    blocks(1, 0, &[value_block(&join(&[&[0x75, 1].repeat(depth), &[0x7e]]))])
}

/// A replica that knows something of the victim, and the victim.
fn scene() -> (Peer, Peer) {
    let mut victim = Peer::new(EngineKind::Yrs, VICTIM);
    victim.commit(&[put("m", "k", json!(1)), write("t", None, "hello 🦀")]);
    (victim.reload(1), victim)
}

/// The victim's writes still arrive, and the replica can still write.
fn survives(target: &mut Peer, victim: &mut Peer) {
    let update = victim.commit(&[put("m", "later", json!("alive")), write("t", Some(0), "> ")]);
    receive(target.engine.as_mut(), &update, Some(replica(VICTIM))).unwrap();
    assert_eq!(target.engine.map_get("m", "later").unwrap(), Some(json!("alive")));
    assert_eq!(text_of(target.engine.as_ref(), "t"), text_of(victim.engine.as_ref(), "t"));
    target.commit(&[put("m", "own", json!(true))]);
    assert_eq!(target.reload(99).content(), target.content());
}

/// Refused by the prescan for the given reason, whoever sends it.
fn refused(bytes: &[u8], because: &str) {
    let (mut target, mut victim) = scene();
    let (content, frontier) = (target.content(), target.engine.frontier());
    match receive(target.engine.as_mut(), bytes, None) {
        Err(EngineError::Refused { reason }) => assert!(reason.contains(because), "{reason}"),
        other => panic!("expected a refusal over `{because}`, got {other:?}"),
    }
    // The engine inspects too: whoever forgets to gets the same answer and no abort.
    let outcome = guarded(|| target.engine.apply(&[Bytes::copy_from_slice(bytes)], false));
    assert!(outcome.is_err() || target.content() == content, "{outcome:?}");
    assert_eq!((target.content(), target.engine.frontier()), (content, frontier));
    survives(&mut target, &mut victim);
}

#[test]
fn values_nested_without_end() {
    for depth in [limits::VALUE_DEPTH + 1, 7_000, 8_000, 25_000, 100_000] {
        refused(&nested_value(depth), "nested");
    }
    let recorded = join(&[&hex("010101000801016101"), &[0x75, 1].repeat(8_000), &[0x7e, 0]]);
    refused(&recorded, "nested");
    assert!(inspect(EngineKind::Yrs, &nested_value(limits::VALUE_DEPTH)).is_ok());
}

#[test]
fn json_nested_without_end() {
    let text = "[".repeat(5_000);
    let embed = join(&[&[5, 1, 1, b'a'], &var(text.len() as u64), text.as_bytes()]);
    refused(&blocks(1, 0, &[embed]), "nested");
    let format = join(&[&[6, 1, 1, b'a', 1, b'b'], &var(text.len() as u64), text.as_bytes()]);
    refused(&blocks(1, 0, &[format]), "nested");
}

#[test]
fn shared_types_nested_without_end() {
    let deep = |client: u64, from: u64, count: u64| {
        let nest = |clock: u64| {
            if clock == 0 { vec![7, 1, 1, b'n', 0] } else { join(&[&[7, 0], &var(client), &var(clock - 1), &[0]]) }
        };
        blocks(client, from, &(from..from + count).map(nest).collect::<Vec<_>>())
    };
    refused(&deep(1, 0, 4_000), "shared types nested");
    // The same, spread over many small updates that are each harmless.
    let (mut target, mut victim) = scene();
    let mut refusal = None;
    for clock in 0..200 {
        if let Err(error) = receive(target.engine.as_mut(), &deep(2, clock, 1), None) {
            refusal = Some((clock, error));
            break;
        }
    }
    let (clock, error) = refusal.unwrap();
    assert!(clock > 32 && matches!(error, EngineError::Refused { .. }), "{clock}: {error}");
    survives(&mut target, &mut victim);
}

#[test]
fn a_client_listed_twice_with_overlapping_clocks() {
    let bytes = join(&[&hex("020109050401017401780109000401017 40a".replace(' ', "").as_str()), &[0x41; 10], &[0]]);
    refused(&bytes, "listed twice");
}

#[test]
fn runs_that_would_swallow_a_writers_future() {
    refused(&hex("0101070000ffffffff0700"), "over the limit");
    refused(&hex("0101070000ffffffff0f00"), "not below");
    refused(&hex("00014d0100ffffffff0f"), "not below");
}

#[test]
fn clocks_beyond_the_limit() {
    let text = vec![4, 1, 1, b'a', 2, b'x', b'y'];
    refused(&blocks(1, limits::CLOCK_MAX, std::slice::from_ref(&text)), "not below");
    refused(&blocks(1, limits::CLOCK_MAX - 2, std::slice::from_ref(&text)), "over the limit");
    refused(&blocks(1, u64::from(u32::MAX), &[text]), "not below");
    let skip = join(&[&[10], &var(limits::CLOCK_MAX - 1)]);
    refused(&blocks(1, 0, &[skip.clone(), skip]), "over the limit");
    let deletes = join(&[&[0, 1, 1, 1], &var(limits::CLOCK_MAX - 1), &var(9)]);
    refused(&deletes, "bounds");
}

#[test]
fn text_that_is_not_utf8() {
    refused(&hex("0101ca0100c4010a010b0620746865e56500"), "utf-8");
    refused(&blocks(1, 0, &[vec![4, 1, 1, 0xff, 1, b'a']]), "utf-8");
    refused(&blocks(1, 0, &[value_block(&[119, 2, 0xc3, 0x28])]), "utf-8");
}

#[test]
fn declared_lengths_that_are_not_there() {
    refused(&hex("80808020"), "declared");
    refused(&join(&[&[1], &var(1 << 26), &[1, 0]]), "declared");
    let map = join(&[&[118], &var(100_000_000)]);
    refused(&blocks(1, 0, &[value_block(&map)]), "declared");
    let nested = join(&[&[117, 1].repeat(40), &map]);
    refused(&blocks(1, 0, &[value_block(&nested)]), "declared");
    refused(&blocks(1, 0, &[value_block(&join(&[&[117], &var(1 << 31)]))]), "declared");
    for tag in [116, 119] {
        refused(&blocks(1, 0, &[value_block(&join(&[&[tag], &var(1 << 31)]))]), "declared");
    }
    refused(&blocks(1, 0, &[join(&[&[8, 1, 1, b'a'], &var(1 << 31)])]), "declared");
    refused(&join(&[&[0], &var(1 << 26)]), "declared");
    refused(&join(&[&[0, 1, 1], &var(1 << 26)]), "declared");
}

#[test]
fn what_this_library_does_not_take() {
    refused(&blocks(1, 0, &[vec![2, 1, 1, b'a', 1, 1, b'1']]), "legacy json");
    for kind in [5, 7, 9, 15] {
        refused(&blocks(1, 0, &[vec![7, 1, 1, b'a', kind]]), "not supported");
    }
    refused(&blocks(1, 0, &[vec![11, 1, 1, b'a', 1]]), "unknown");
    refused(&blocks(1, 0, &[value_block(&[99])]), "unknown");
    refused(&blocks(1, 0, &[vec![6 | 0x20, 1, 1, b'a', 1, b'k', 1, b'f', 1, b'1']]), "without a value");
    refused(&blocks(1, 0, &[vec![5, 1, 1, b'a', 3, b'"', b'x', b'"']]), "bare string");
    refused(&blocks(1, 0, &[vec![4, 1, 1, b'a', 0]]), "empty");
    refused(&blocks(1, 0, &[vec![0, 0]]), "empty");
    refused(&blocks(0, 0, &[vec![0, 1]]), "outside");
    refused(&blocks(1 << 53, 0, &[vec![0, 1]]), "outside");
    refused(&blocks(1, 0, &[vec![0x84, 1, 5, 1, b'x']]), "not before it");
    refused(&join(&[&blocks(1, 0, &[vec![0, 1]]), &[0]]), "after the end");
    refused(&[0, 1, 5, 2, 4, 2, 5, 1], "out of order");
    refused(&[0, 2, 5, 1, 0, 1, 5, 1, 3, 1], "twice");
    refused(&[], "ends");
    let name = "n".repeat(limits::CONTAINER_NAME_BYTES + 1);
    refused(&blocks(1, 0, &[join(&[&[8, 1], &var(name.len() as u64), name.as_bytes(), &[1, 126]])]), "container name");
}

#[test]
fn the_second_version_of_the_encoding() {
    let bytes =
        yrs::ReadTxn::encode_diff_v2(&yrs::Transact::transact(&foreign::gallery()), &yrs::StateVector::default());
    refused(&bytes, "");
}

#[test]
fn a_flood_of_client_ids() {
    let mut bytes = var(MOST + 1);
    for client in 1..=MOST + 1 {
        bytes.extend(join(&[&[1], &var(client), &[0, 0, 1]]));
    }
    bytes.push(0);
    refused(&bytes, "clients");

    let (mut target, mut victim) = scene();
    let one = |client: u64| Bytes::from(blocks(client, 0, &[vec![0, 1]]));
    let full: Vec<_> = (100..99 + MOST).map(one).collect();
    target.hear(&full);
    let outcome = receive(target.engine.as_mut(), &one(99_999), None);
    assert!(matches!(outcome, Err(EngineError::Refused { .. })), "{outcome:?}");
    let mut admission = Admission::default();
    let flood = (1..).map(|client| {
        let info = inspect(EngineKind::Yrs, &one(client)).unwrap();
        admission.admit(target.engine.as_ref(), &info, None)
    });
    assert_eq!(flood.take_while(Result::is_ok).count(), MOST as usize);
    let update = victim.commit(&[put("m", "later", json!("alive"))]);
    receive(target.engine.as_mut(), &update, Some(replica(VICTIM))).unwrap();
    assert_eq!(target.engine.map_get("m", "later").unwrap(), Some(json!("alive")));
}

#[test]
fn writing_under_another_id() {
    let (mut target, mut victim) = scene();
    let known = target.engine.known(VICTIM);
    let forged = blocks(VICTIM, known, &[vec![0, 100]]);
    let outcome = receive(target.engine.as_mut(), &forged, Some(replica(66)));
    assert!(matches!(&outcome, Err(EngineError::Refused { reason }) if reason.contains("writes as")), "{outcome:?}");
    survives(&mut target, &mut victim);
}

#[test]
fn insertions_and_deletions_beyond_what_is_known() {
    let (mut target, mut victim) = scene();
    let known = target.engine.known(VICTIM);
    let ahead = blocks(66, 5, &[vec![4, 1, 1, b'a', 1, b'x']]);
    let outcome = receive(target.engine.as_mut(), &ahead, Some(replica(66)));
    assert!(matches!(outcome, Err(EngineError::Gap { writer: 66, from: 5, known: 0 })), "{outcome:?}");
    let future = join(&[&[0, 1], &var(VICTIM), &[1], &var(known), &[50]]);
    let outcome = receive(target.engine.as_mut(), &future, Some(replica(66)));
    assert!(matches!(outcome, Err(EngineError::Gap { writer: VICTIM, .. })), "{outcome:?}");
    survives(&mut target, &mut victim);
}

#[test]
fn a_flood_of_updates_that_wait_for_ever() {
    let (mut target, mut victim) = scene();
    let orphans: Vec<_> = (0..4_000_u64)
        .map(|n| Bytes::from(blocks(66, 2 * n + 1, &[join(&[&[0x84, 65], &var(n), &[1, b'x']])])))
        .collect();
    let before = target.content();
    for orphan in &orphans {
        receive_unadmitted(&mut target, orphan);
        receive_unadmitted(&mut target, orphan);
    }
    let bytes: usize = orphans.iter().map(Bytes::len).sum();
    assert!((bytes / 2..=bytes).contains(&target.engine.pending()), "{} of {bytes}", target.engine.pending());
    assert_eq!(target.content(), before);
    let snapshot = target.engine.snapshot();
    assert!(inspect(EngineKind::Yrs, &snapshot).is_ok());
    target.engine.drop_pending().unwrap();
    assert_eq!(target.engine.pending(), 0);
    survives(&mut target, &mut victim);
}

fn receive_unadmitted(target: &mut Peer, update: &Bytes) {
    assert!(target.hear(std::slice::from_ref(update)).pending);
}

#[test]
fn blocks_that_wait_for_each_other() {
    let (mut target, mut victim) = scene();
    let beside = |client: u64| vec![0x84, client as u8, 0, 1, b'x'];
    let circle = join(&[&[2], &[1, 65, 0], &beside(66), &[1, 66, 0], &beside(65), &[0]]);
    let before = (target.content(), target.engine.frontier());
    let applied = receive(target.engine.as_mut(), &circle, None).unwrap();
    assert!(applied.pending && !applied.changed);
    assert_eq!((target.content(), target.engine.frontier()), before);
    target.engine.drop_pending().unwrap();
    survives(&mut target, &mut victim);
}

#[test]
fn edits_that_split_a_character() {
    let mut writer = Peer::new(EngineKind::Yrs, 66);
    writer.commit(&[write("t", None, "a🦀b")]);
    let between = blocks(65, 0, &[vec![0xc4, 66, 1, 66, 2, 1, b'x']]);
    let half = vec![0, 1, 66, 1, 1, 1];
    for edit in [between, half] {
        let mut target = writer.reload(1);
        let mut other = writer.reload(2);
        receive(target.engine.as_mut(), &edit, None).unwrap();
        other.hear(&[Bytes::from(edit)]);
        assert_eq!(target.content(), other.content());
        let len = text_of(target.engine.as_ref(), "t").chars().count();
        target.commit(&[erase("t", 1..len), write("t", Some(1), "🦀!")]);
        other.pull(&target);
        assert_eq!(text_of(other.engine.as_ref(), "t"), "a🦀!");
        assert_eq!(target.reload(3).content(), target.content());
    }
}

#[test]
fn a_map_entry_made_without_a_value_through_its_neighbour() {
    let mut victim = Peer::new(EngineKind::Yrs, VICTIM);
    victim.commit(&[put("m", "k", json!(1))]);
    let mut target = victim.reload(1);
    target.engine.transact(&[], true).unwrap();
    let format = Bytes::from(blocks(66, 0, &[vec![0x86, VICTIM as u8, 0, 1, b'f', 1, b'1']]));
    inspect(EngineKind::Yrs, &format).unwrap();
    guarded(|| target.engine.apply(&[format], true)).unwrap();
    assert_eq!(target.engine.map_get("m", "k").unwrap(), None);
    assert_eq!(target.engine.map_entries("m").unwrap(), []);
    victim.pull(&target);
    victim.commit(&[put("m", "k", json!(2))]);
    target.pull(&victim);
    assert_eq!(target.engine.map_get("m", "k").unwrap(), Some(json!(2)));
}

#[test]
fn an_engine_that_failed_says_so_until_it_is_rebuilt() {
    let (mut target, mut victim) = scene();
    let saved = target.engine.snapshot();
    // A child of a character: known only once the engine looks the parent up, with earlier blocks already in.
    let child = blocks(66, 0, &[vec![4, 1, 1, b'a', 1, b'x'], vec![4, 0, VICTIM as u8, 2, 1, b'y']]);
    let outcome = receive(target.engine.as_mut(), &child, None);
    assert!(matches!(outcome, Err(EngineError::Poisoned { .. })), "{outcome:?}");
    let poisoned = |outcome: Result<(), EngineError>| matches!(outcome, Err(EngineError::Poisoned { .. }));
    assert!(poisoned(target.engine.transact(&[put("m", "k", json!(2))], false).map(drop)));
    assert!(poisoned(target.engine.map_get("m", "k").map(drop)));
    assert!(poisoned(target.engine.delta_since(&[], None).map(drop)));
    assert!(poisoned(target.engine.apply(std::slice::from_ref(&saved), false).map(drop)));

    target.engine = create(EngineKind::Yrs, replica(1)).unwrap();
    target.hear(&[saved]);
    survives(&mut target, &mut victim);
}

/// Refused before the engine is touched: the content, and what may be said about it, stay.
fn contradicts(target: &mut Peer, bytes: &[u8], because: &str) {
    inspect(EngineKind::Yrs, bytes).unwrap();
    let before = (target.content(), target.engine.frontier());
    match guarded(|| target.engine.apply(&[Bytes::copy_from_slice(bytes)], false)) {
        Err(EngineError::Refused { reason }) => assert!(reason.contains(because), "{reason}"),
        other => panic!("expected a refusal over `{because}`, got {other:?}"),
    }
    assert_eq!((target.content(), target.engine.frontier()), before);
}

#[test]
fn a_block_with_neighbours_in_different_containers_is_refused() {
    let mut victim = Peer::new(EngineKind::Yrs, VICTIM);
    victim.commit(&[put("m", "k", json!(1))]);
    victim.commit(&[put("m", "j", json!(2))]);
    victim.commit(&[push("l", &[json!(1), json!(2)])]);
    victim.commit(&[write("t", None, "hello")]);
    let between = |left: u64, right: u64| {
        blocks(66, 0, &[join(&[&[0xc4], &var(VICTIM), &var(left), &var(VICTIM), &var(right), &[1, b'x']])])
    };
    // Known as it was written, and as it was loaded.
    for mut target in [victim.reload(1), victim.reload(2)] {
        contradicts(&mut target, &between(4, 2), "different containers");
        contradicts(&mut target, &between(2, 4), "different containers");
        contradicts(&mut target, &between(0, 4), "different containers");
        contradicts(&mut target, &between(4, 0), "in front of a map entry");
        contradicts(&mut target, &between(0, 1), "in front of a map entry");
        contradicts(&mut target, &blocks(66, 0, &[vec![0x44, VICTIM as u8, 1, 1, b'x']]), "in front of a map entry");
        receive(target.engine.as_mut(), &between(4, 5), None).unwrap();
        assert_eq!(text_of(target.engine.as_ref(), "t"), "hxello");
        assert_eq!(target.reload(99).content(), target.content());
        let mut victim = victim.reload(VICTIM);
        victim.pull(&target);
        survives(&mut target, &mut victim);
    }
    contradicts(&mut victim, &between(4, 2), "different containers");
}

#[test]
fn a_block_between_what_was_collected_and_a_root_type_is_refused() {
    let (mut target, mut victim) = scene();
    // A collected run of the author's own: what it was in is anybody's guess.
    receive(target.engine.as_mut(), &blocks(66, 0, &[vec![0, 2]]), None).unwrap();
    let between = |first: [u8; 2], second: [u8; 2]| blocks(66, 2, &[join(&[&[0xc4], &first, &second, &[1, b'x']])]);
    for (first, second) in [([66, 0], [VICTIM as u8, 1]), ([VICTIM as u8, 1], [66, 0])] {
        contradicts(&mut target, &between(first, second), "different containers");
    }
    survives(&mut target, &mut victim);
}

#[test]
fn a_block_whose_right_neighbour_comes_before_its_left_one_is_refused() {
    let mut victim = Peer::new(EngineKind::Yrs, VICTIM);
    victim.commit(&[write("t", None, "ab🦀")]);
    victim.commit(&[write("t", None, "cd")]);
    let victim_id = VICTIM as u8;
    let between =
        |left: u8, right: u8| Bytes::from(blocks(66, 0, &[vec![0xc4, victim_id, left, victim_id, right, 1, b'x']]));
    for mut target in [victim.reload(1), victim.reload(2)] {
        for (left, right) in [(1, 0), (5, 1), (3, 2), (3, 3)] {
            contradicts(&mut target, &between(left, right), "never adjacent");
        }
        // Backwards in the writer's clocks is not backwards in the text.
        let mut victim = victim.reload(VICTIM);
        target.hear(&[victim.commit(&[write("t", Some(0), "> ")])]);
        target.hear(&[between(7, 0)]);
        assert_eq!(text_of(target.engine.as_ref(), "t"), "> xab🦀cd");
        assert_eq!(target.reload(99).content(), target.content());
    }
}

#[test]
fn a_block_that_moves_to_another_container_halfway_is_refused() {
    let (mut target, mut victim) = scene();
    let start = blocks(66, 0, &[vec![4, 1, 1, b'a', 2, b'x', b'y']]);
    receive(target.engine.as_mut(), &start, None).unwrap();
    contradicts(&mut target, &blocks(66, 0, &[vec![4, 1, 1, b'b', 4, b'x', b'y', b'z', b'z']]), "than its start");
    receive(target.engine.as_mut(), &blocks(66, 0, &[vec![4, 1, 1, b'a', 3, b'x', b'y', b'z']]), None).unwrap();
    assert_eq!(text_of(target.engine.as_ref(), "a"), "xyz");
    survives(&mut target, &mut victim);
}
