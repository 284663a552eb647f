//! Subdocuments of plain Yjs clients: kept as they came, shown as guid and options, and bounded.

use aepoch::engine::{Change, EngineError, EngineKind, Value, inspect, merged};
use aepoch::limits;
use bytes::Bytes;
use serde_json::json;
use yrs::{Map, Out, ReadTxn, Transact, Update, updates::decoder::Decode};

use crate::{foreign, support::*};

fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut len = text.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// What Yjs writes for `new Y.Doc({ guid, gc: false, autoLoad: true, meta: { title, seen: null } })`.
pub(crate) fn content(guid: &str, title: &str) -> Vec<u8> {
    let meta = [&[118, 2][..], &string("title"), &[119], &string(title), &string("seen"), &[126]].concat();
    let options = [&[118, 3][..], &string("gc"), &[121], &string("autoLoad"), &[120], &string("meta"), &meta].concat();
    [string(guid), options].concat()
}

fn shown(guid: &str, title: &str) -> Value {
    json!({ "guid": guid, "options": { "gc": false, "autoLoad": true, "meta": { "title": title, "seen": null } } })
}

/// A block with a subdocument under `key` of the map `docs`.
fn entry(key: &str, content: &[u8]) -> Vec<u8> {
    [&[9 | 0x20, 1][..], &string("docs"), &string(key), content].concat()
}

/// An update of one client with the given blocks, which take one clock each, and deleted clocks of client 1.
fn update(client: u8, clock: u8, blocks: &[Vec<u8>], deleted: &[u8]) -> Bytes {
    let mut bytes = vec![u8::from(!blocks.is_empty())];
    if !blocks.is_empty() {
        bytes.extend([blocks.len() as u8, client, clock]);
        bytes.extend(blocks.concat());
    }
    bytes.push(u8::from(!deleted.is_empty()));
    if !deleted.is_empty() {
        bytes.extend([1, deleted.len() as u8]);
        bytes.extend(deleted.iter().flat_map(|clock| [*clock, 1]));
    }
    bytes.into()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A replica that was sent two subdocuments by client 1.
fn band() -> Peer {
    let mut peer = Peer::new(EngineKind::Yrs, 9);
    peer.hear(&[update(1, 0, &[entry("a", &content("guid-a", "A")), entry("b", &content("guid-b", "B"))], &[])]);
    peer
}

#[test]
fn a_subdocument_leaves_as_it_came_and_reads_as_guid_and_options() {
    let peer = band();
    let docs = [("a".into(), shown("guid-a", "A")), ("b".into(), shown("guid-b", "B"))];
    assert_eq!(peer.engine.map_entries("docs").unwrap(), docs);
    assert_eq!(peer.engine.map_get("docs", "a").unwrap(), Some(shown("guid-a", "A")));
    let mut reloaded = peer.reload(10);
    for _ in 0..3 {
        let snapshot = reloaded.engine.snapshot();
        assert_eq!(snapshot, peer.engine.snapshot());
        for (guid, title) in [("guid-a", "A"), ("guid-b", "B")] {
            assert!(holds(&snapshot, &content(guid, title)), "{guid} in {snapshot:?}");
        }
        assert_eq!(reloaded.engine.map_entries("docs").unwrap(), docs);
        reloaded = reloaded.reload(11);
    }
    let mut other = Peer::new(EngineKind::Yrs, 12);
    other.pull(&peer);
    assert_eq!(other.engine.snapshot(), peer.engine.snapshot());
}

#[test]
fn a_plain_client_finds_subdocuments_in_what_is_saved_here() {
    let doc = foreign::plain(2);
    doc.transact_mut().apply_update(Update::decode_v1(&band().engine.snapshot()).unwrap()).unwrap();
    let txn = doc.transact();
    let Some(Out::YDoc(subdoc)) = txn.get_map("docs").unwrap().get(&txn, "b") else { panic!("no subdocument") };
    assert_eq!((&*subdoc.guid(), subdoc.auto_load(), subdoc.skip_gc()), ("guid-b", true, true));
    assert_eq!(txn.subdoc_guids().count(), 2);
}

#[test]
fn what_a_client_brings_leaves_as_it_came() {
    let mut relay = Peer::new(EngineKind::Yrs, 9);
    let brought = update(1, 0, &[entry("a", &content("guid-a", "A"))], &[]);
    let absorbed = relay.engine.absorb(&brought, false).unwrap();
    assert_eq!(absorbed.update, brought);
    let more = update(1, 0, &[entry("a", &content("guid-a", "A")), entry("b", &content("guid-b", "B"))], &[]);
    let absorbed = relay.engine.absorb(&more, false).unwrap();
    assert_eq!(absorbed.update, update(1, 1, &[entry("b", &content("guid-b", "B"))], &[]));
    assert_eq!(merged(&[brought, absorbed.update]).unwrap(), more);
}

#[test]
fn subdocuments_lie_wherever_values_do() {
    let (a, b, c) = (content("guid-a", "A"), content("guid-b", "B"), content("guid-c", "C"));
    let list = string("list");
    let blocks = [
        // Two values, a subdocument, and one more value; then a nested map, and a page, with a subdocument in each.
        [&[8, 1], &list[..], &[1, 120]].concat(),
        [&[0x89, 1, 0][..], &a].concat(),
        vec![0x88, 1, 1, 1, 121],
        [&[7 | 0x20, 1][..], &string("docs"), &string("nested"), &[1]].concat(),
        [&[9 | 0x20, 0, 1, 3][..], &string("deep"), &b].concat(),
        [&[7, 1][..], &string("page"), &[3], &string("p")].concat(),
        [&[9, 0, 1, 5][..], &c].concat(),
    ];
    let mut peer = Peer::new(EngineKind::Yrs, 9);
    peer.hear(&[update(1, 0, &blocks, &[])]);
    assert_eq!(peer.engine.list_values("list").unwrap(), [json!(true), shown("guid-a", "A"), json!(false)]);
    assert_eq!(peer.engine.map_get("docs", "nested").unwrap(), Some(json!({ "deep": shown("guid-b", "B") })));
    let page = json!({ "name": "p", "attributes": {}, "children": [shown("guid-c", "C")] });
    assert_eq!(peer.engine.list_values("page").unwrap(), [page]);
    let reloaded = peer.reload(10);
    assert_eq!((reloaded.content(), reloaded.engine.snapshot()), (peer.content(), peer.engine.snapshot()));
    // With the map and the element goes what is in them.
    peer.hear(&[update(1, 0, &[], &[1, 3, 5])]);
    let snapshot = peer.engine.snapshot();
    for guid in ["guid-a", "guid-b", "guid-c"] {
        assert!(!holds(&snapshot, guid.as_bytes()), "{guid} in {snapshot:?}");
    }
    assert_eq!(peer.reload(10).content(), peer.content());
}

#[test]
fn subdocuments_are_deleted_and_overwritten_by_everyone() {
    let mut peer = band();
    peer.engine.transact(&[], true).unwrap();
    let removed = peer.engine.transact(&[remove("docs", "a")], true).unwrap();
    let replaced = peer.engine.transact(&[put("docs", "b", json!("mine"))], true).unwrap();
    let change = |old, new| Change::Put { old, new };
    assert_eq!(removed.patches[0].1, change(Some(shown("guid-a", "A")), None));
    assert_eq!(replaced.patches[0].1, change(Some(shown("guid-b", "B")), Some(json!("mine"))));
    assert_eq!(peer.engine.map_entries("docs").unwrap(), [("b".into(), json!("mine"))]);
    assert!(!holds(&peer.engine.snapshot(), b"guid-"));
    // A client puts another one where the first was, and one over the value.
    let over = |writer: u8, guid: &str, title: &str| [&[0x89, writer, 0][..], &content(guid, title)].concat();
    let again = [over(1, "guid-c", "C"), over(9, "guid-d", "D")];
    let heard = update(1, 2, &again, &[]);
    inspect(EngineKind::Yrs, &heard).unwrap();
    let applied = peer.engine.apply(&[heard], true).unwrap();
    let patches: Vec<_> = applied.patches.into_iter().map(|(_, change)| change).collect();
    let over_mine = change(Some(json!("mine")), Some(shown("guid-d", "D")));
    assert_eq!(patches, [change(None, Some(shown("guid-c", "C"))), over_mine]);
    assert_eq!(peer.reload(10).content(), peer.content());
}

#[test]
fn the_order_of_arrival_does_not_show() {
    let mut writer = band();
    writer.commit(&[put("docs", "b", json!(1)), put("m", "k", json!(1))]);
    let updates = [
        update(1, 0, &[entry("a", &content("guid-a", "A")), entry("b", &content("guid-b", "B"))], &[]),
        update(1, 2, &[entry("c", &content("guid-c", "C"))], &[0]),
        // Another client's under the same key, at the same time.
        update(2, 0, &[entry("c", &content("guid-e", "E"))], &[]),
        update(1, 3, &[[&[0x89, 2, 0][..], &content("guid-f", "F")].concat()], &[]),
        writer.log[0].clone(),
    ];
    let mut expected: Option<(Content, Bytes)> = None;
    for first in 0..updates.len() {
        for step in 1..updates.len() {
            let mut peer = Peer::new(EngineKind::Yrs, 20);
            for n in 0..updates.len() {
                peer.hear(&[updates[(first + n * step) % updates.len()].clone()]);
            }
            assert_eq!(peer.engine.pending(), 0, "{first} {step}");
            let found = (peer.content(), peer.engine.snapshot());
            assert_eq!(*expected.get_or_insert(found.clone()), found, "{first} {step}");
        }
    }
    let (content, _) = expected.unwrap();
    assert_eq!(content.maps["docs"]["c"], shown("guid-f", "F"));
    assert_eq!(content.maps["docs"]["b"], json!(1));
}

/// Refused in a map and in a list, for the given reason.
fn refused(content: &[u8], because: &str) {
    for block in [entry("k", content), [&[9, 1][..], &string("list"), content].concat()] {
        let bytes = update(1, 0, &[block], &[]);
        let mut peer = Peer::new(EngineKind::Yrs, 9);
        match receive(peer.engine.as_mut(), &bytes, None) {
            Err(EngineError::Refused { reason }) => assert!(reason.contains(because), "{reason}"),
            other => panic!("expected a refusal over `{because}`, got {other:?}"),
        }
        assert!(peer.engine.apply(&[bytes], false).is_err());
        peer.hear(&[band().engine.snapshot()]);
    }
}

#[test]
fn subdocuments_are_bounded() {
    let options = |value: &[u8]| [&string("g")[..], value].concat();
    let with = |option: &str, value: &[u8]| options(&[&[118, 1], &string(option)[..], value].concat());
    refused(&options(&[127]), "not a map");
    refused(&options(&[117, 0]), "not a map");
    refused(&[0, 118, 0], "guid of a subdocument is empty");
    refused(&[1, 0xff, 118, 0], "utf-8");
    refused(&[&string(&"g".repeat(521))[..], &[118, 0]].concat(), "521 bytes is over the limit of 520");
    refused(&with("guid", &[119, 1, b'h']), "`guid`");
    refused(&with("gcFilter", &[120]), "`gcFilter`");
    refused(&with(&"o".repeat(limits::KEY_BYTES + 1), &[120]), "option of a subdocument");
    refused(&options(&[118, 0xff, 0xff, 3]), "declared");
    let large = vec![b'x'; limits::VALUE_BYTES];
    refused(&with("meta", &[&[116, 0x80, 0x80, 8][..], &large].concat()), "limit 131072");
    let nested = |depth: usize| with("meta", &[&[117, 1].repeat(depth)[..], &[126]].concat());
    refused(&nested(limits::VALUE_DEPTH - 1), "65 deep, limit 64");
    refused(&nested(100_000), "deep");

    let deepest = update(1, 0, &[entry("k", &nested(limits::VALUE_DEPTH - 2))], &[]);
    let info = inspect(EngineKind::Yrs, &deepest).unwrap();
    assert_eq!((info.ops, info.depth), (1 + 1 + 63, 64));
    let mut peer = Peer::new(EngineKind::Yrs, 9);
    peer.hear(&[deepest]);
    assert_eq!(peer.reload(10).content(), peer.content());
}

#[test]
fn no_other_value_passes_for_a_subdocument() {
    let mark = b"\0aepoch:subdoc\0\0";
    let fake = [&mark[..], &content("guid-a", "A")].concat();
    let buffer = [&[fake.len() as u8][..], &fake].concat();
    let blocks = [
        [&[3, 1][..], &string("list"), &buffer].concat(),
        [&[8, 1][..], &string("list"), &[1, 116], &buffer].concat(),
        [&[8, 1][..], &string("list"), &[1, 117, 1, 116], &buffer].concat(),
    ];
    for block in blocks {
        let error = inspect(EngineKind::Yrs, &update(1, 0, &[block], &[])).unwrap_err();
        assert!(error.to_string().contains("reserved"), "{error}");
    }
    // Under a name and a key like it, binary values and subdocuments stay what they are.
    let name = std::str::from_utf8(mark).unwrap();
    let head = |kind: u8| [&[kind | 0x20, 1][..], &string(name), &string(name)].concat();
    let binary = update(1, 0, &[[head(3), vec![2, 1, 0xab]].concat()], &[]);
    let subdoc = update(1, 1, &[[&[0x89, 1, 0][..], &content("guid-a", "A")].concat()], &[]);
    let mut peer = Peer::new(EngineKind::Yrs, 9);
    peer.hear(std::slice::from_ref(&binary));
    assert_eq!((peer.engine.map_get(name, name).unwrap(), peer.engine.snapshot()), (Some(json!("01ab")), binary));
    peer.hear(&[subdoc]);
    assert_eq!(peer.engine.map_get(name, name).unwrap(), Some(shown("guid-a", "A")));
    assert_eq!(peer.reload(10).content(), peer.content());
}
