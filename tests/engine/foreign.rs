//! Documents of plain Yjs and yrs clients: what they write reads here, what is written here reads there.

use aepoch::engine::{Change, Container, ContainerKind, EngineError, EngineKind, guarded, inspect};
use bytes::Bytes;
use serde_json::json;
use yrs::{
    Any, Array, ArrayPrelim, ClientID, Doc, GetString, In, Map, MapPrelim, OffsetKind, Options, ReadTxn, StateVector,
    Text, TextPrelim, Transact, Update, WriteTxn, XmlElementPrelim, XmlFragment, XmlTextPrelim, merge_updates_v1,
    updates::decoder::Decode,
};

use crate::support::*;

/// A document as a plain client with JavaScript's offsets would keep it.
pub(crate) fn plain(client: u64) -> Doc {
    let options = Options::with_guid_and_client_id("plain".into(), ClientID::new(client));
    Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..options })
}

pub(crate) fn state(doc: &Doc) -> Bytes {
    doc.transact().encode_diff_v1(&StateVector::default()).into()
}

/// One of everything that is accepted.
pub(crate) fn gallery() -> Doc {
    let doc = plain(77);
    let mut txn = doc.transact_mut();
    let map = txn.get_or_insert_map("map");
    map.insert(&mut txn, "plain", 1);
    map.insert(&mut txn, "big", 1_i64 << 60);
    map.insert(&mut txn, "bytes", Any::from(vec![1_u8, 0xab]));
    let inner = map.insert(&mut txn, "nested", MapPrelim::from([("a", In::from(1))]));
    inner.insert(&mut txn, "list", ArrayPrelim::from([In::from("x"), In::from(2)]));
    inner.insert(&mut txn, "text", TextPrelim::new("deep 🦀"));
    let list = txn.get_or_insert_array("list");
    list.push_back(&mut txn, MapPrelim::from([("k", In::from(true))]));
    list.push_back(&mut txn, Any::from(vec![7_u8]));
    list.push_back(&mut txn, plain(78));
    let text = txn.get_or_insert_text("text");
    text.insert(&mut txn, 0, "a🦀b");
    text.insert_embed(&mut txn, 1, Any::from_json(r#"{"image":"x.png"}"#).unwrap());
    text.format(&mut txn, 0, 2, [("bold".into(), true.into())].into());
    let xml = txn.get_or_insert_xml_fragment("page");
    let paragraph = xml.push_back(&mut txn, XmlElementPrelim::empty("p"));
    paragraph.push_back(&mut txn, XmlTextPrelim::new("words"));
    drop(txn);
    doc
}

#[test]
fn shared_types_of_plain_clients_read_as_what_they_hold() {
    let mut peer = Peer::new(EngineKind::Yrs, 1);
    peer.hear(&[state(&gallery())]);
    let engine = peer.engine.as_ref();
    assert_eq!(
        engine.map_entries("map").unwrap(),
        [
            ("big".into(), json!(1.152921504606847e18)),
            ("bytes".into(), json!("01ab")),
            ("nested".into(), json!({ "a": 1, "list": ["x", 2], "text": "deep 🦀" })),
            ("plain".into(), json!(1)),
        ]
    );
    let options = json!({ "autoLoad": false, "encoding": 0, "gc": true, "shouldLoad": true });
    let subdoc = json!({ "guid": "plain", "options": options });
    assert_eq!(engine.list_values("list").unwrap(), [json!({ "k": true }), json!("07"), subdoc]);
    assert_eq!(text_of(engine, "text"), "a\u{fffc}🦀b");
    assert_eq!(engine.len(&Container { kind: ContainerKind::Text, name: "text".into() }).unwrap(), 4);
    assert_eq!(engine.list_values("page").unwrap(), [json!({ "name": "p", "attributes": {}, "children": ["words"] })]);
    assert_eq!(peer.reload(2).content(), peer.content());
}

#[test]
fn plain_clients_read_what_is_written_here() {
    let mut peer = Peer::new(EngineKind::Yrs, 1);
    peer.commit(&[
        put("map", "int", json!(1_758_000_000_123_i64)),
        put("map", "obj", json!({ "b": [1, null], "a": "x" })),
        push("list", &[json!(1), json!("two")]),
        write("text", None, "a🦀b"),
        erase("text", 2..3),
    ]);
    let doc = plain(2);
    doc.transact_mut().apply_update(Update::decode_v1(&peer.engine.snapshot()).unwrap()).unwrap();
    let (map, list, text) =
        (doc.get_or_insert_map("map"), doc.get_or_insert_array("list"), doc.get_or_insert_text("text"));
    let txn = doc.transact();
    assert_eq!(map.get_as::<_, f64>(&txn, "int").unwrap(), 1_758_000_000_123.0);
    assert_eq!(map.get_as::<_, serde_json::Value>(&txn, "obj").unwrap()["a"], json!("x"));
    assert_eq!(list.len(&txn), 2);
    assert_eq!(text.get_string(&txn), "a🦀");
}

#[test]
fn changes_within_nested_types_are_reported_on_the_element() {
    let doc = gallery();
    let mut peer = Peer::new(EngineKind::Yrs, 1);
    peer.hear(&[state(&doc)]);
    peer.engine.transact(&[], true).unwrap();
    let before = doc.transact().state_vector();
    {
        let mut txn = doc.transact_mut();
        let nested: yrs::MapRef = txn.get_map("map").unwrap().get(&txn, "nested").unwrap().cast().unwrap();
        nested.insert(&mut txn, "a", 2);
        let element: yrs::MapRef = txn.get_array("list").unwrap().get(&txn, 0).unwrap().cast().unwrap();
        element.insert(&mut txn, "k", false);
    }
    let update = doc.transact().encode_diff_v1(&before);
    let applied = guarded(|| peer.engine.apply(&[update.into()], true)).unwrap();
    let found: Vec<_> = applied.patches.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(found, ["map/map/nested", "list/list/0"]);
    let expected = Change::Splice { removed: 1, inserted: vec![json!({ "k": false })] };
    assert_eq!(applied.patches[1].1, expected);
}

#[test]
fn gaps_left_by_merged_updates_wait_until_they_are_filled() {
    let mut writer = Peer::new(EngineKind::Yrs, 1);
    for n in 0..6 {
        writer.commit(&[put("m", &format!("k{n}"), json!(n))]);
    }
    let merged = merge_updates_v1([&writer.log[0][..], &writer.log[1], &writer.log[4]]).unwrap();
    let ranges = inspect(EngineKind::Yrs, &merged).unwrap().inserts;
    assert_eq!(ranges.iter().map(|range| (range.from, range.to)).collect::<Vec<_>>(), [(0, 2), (4, 5)]);
    let mut reader = Peer::new(EngineKind::Yrs, 2);
    assert!(reader.hear(&[merged.into()]).pending);
    assert_eq!(reader.engine.map_entries("m").unwrap().len(), 2);
    reader.hear(&writer.log[2..4]);
    assert_eq!((reader.engine.map_entries("m").unwrap().len(), reader.engine.pending()), (5, 0));
}

#[test]
fn a_name_used_as_text_and_list_at_once_reads_as_text_and_takes_no_writes() {
    let (mut a, mut b) = (Peer::new(EngineKind::Yrs, 1), Peer::new(EngineKind::Yrs, 2));
    a.commit(&[write("x", None, "🦀🦀")]);
    b.commit(&[push("x", &[json!(1)])]);
    a.pull(&b);
    b.pull(&a);
    for peer in [&mut a, &mut b] {
        assert_eq!(text_of(peer.engine.as_ref(), "x"), "🦀🦀");
        assert!(matches!(peer.engine.list_values("x"), Err(EngineError::WrongType { .. })));
        for op in [write("x", None, "y"), erase("x", 0..1), push("x", &[json!(2)])] {
            assert!(matches!(peer.engine.transact(&[op], true), Err(EngineError::WrongType { .. })));
        }
        peer.commit(&[put("m", "k", json!(1))]);
    }
}

#[test]
fn characters_within_a_nested_array_do_not_hang_the_reader() {
    let doc = plain(9);
    let list = doc.get_or_insert_array("list");
    let nested = list.push_back(&mut doc.transact_mut(), ArrayPrelim::default());
    let as_text: yrs::TextRef = yrs::branch::BranchPtr::from(nested.as_ref()).into();
    as_text.insert(&mut doc.transact_mut(), 0, "🦀🦀");
    let mut peer = Peer::new(EngineKind::Yrs, 1);
    peer.hear(&[state(&doc)]);
    assert_eq!(peer.engine.list_values("list").unwrap(), [json!("🦀🦀")]);
}
