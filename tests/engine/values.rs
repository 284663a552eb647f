//! Values come back as they went in, at the writer and at others.

use aepoch::{engine::EngineError, limits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn values_come_back_exactly(value in any_value()) {
        for &kind in ENGINES {
            let mut writer = Peer::new(kind, 1);
            writer.commit(&[put("m", "k", value.clone()), push("l", &[value.clone(), json!(7), value.clone()])]);
            let reader = writer.reload(2);
            for peer in [&writer, &reader, &reader.reload(3)] {
                prop_assert_eq!(peer.engine.map_get("m", "k").unwrap(), Some(value.clone()));
                prop_assert_eq!(peer.engine.list_values("l").unwrap(), vec![value.clone(), json!(7), value.clone()]);
            }
        }
    }
}

#[test]
fn integers_at_every_edge_stay_integers() {
    let edges = [0, 1, 63, 64, 1 << 31, (1 << 31) - 1, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, 1 << 60, i64::MAX];
    let signed = edges.iter().flat_map(|n| [json!(n), json!(-n)]).chain([json!(i64::MIN)]);
    let unsigned = [json!(i64::MAX as u64 + 1), json!(u64::MAX), json!(u64::MAX - 1)];
    let values: Vec<Value> =
        signed.chain(unsigned).chain([json!(0.1), json!(1e300), json!(-0.0), json!(5.0)]).collect();
    for &kind in ENGINES {
        let mut writer = Peer::new(kind, 1);
        writer.commit(&[push("l", &values)]);
        assert_eq!(writer.engine.list_values("l").unwrap(), values, "{kind}");
        assert_eq!(writer.reload(2).engine.list_values("l").unwrap(), values, "{kind}");
        assert_eq!(writer.reload(2).reload(3).engine.snapshot(), writer.engine.snapshot(), "{kind}");
    }
}

#[test]
fn null_is_a_value_and_not_an_absence() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[put("m", "k", Value::Null)]);
        assert_eq!(peer.engine.map_get("m", "k").unwrap(), Some(Value::Null), "{kind}");
        assert_eq!(peer.engine.map_get("m", "other").unwrap(), None, "{kind}");
        peer.commit(&[remove("m", "k")]);
        assert_eq!(peer.engine.map_get("m", "k").unwrap(), None, "{kind}");
    }
}

#[test]
fn values_over_the_limits_are_refused_and_change_nothing() {
    let deep = (0..=limits::VALUE_DEPTH).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let long = "a".repeat(limits::VALUE_BYTES + 1);
    let segments = vec!["a"; limits::CONTAINER_SEGMENTS + 1].join("/");
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        let refused = [
            put("m", "k", deep.clone()),
            put("m", "k", json!(long)),
            push("l", &[json!({ "nested": long })]),
            put("m", &"k".repeat(limits::KEY_BYTES + 1), json!(1)),
            put(&"m".repeat(limits::CONTAINER_NAME_BYTES + 1), "k", json!(1)),
            put(&segments, "k", json!(1)),
        ];
        for op in refused {
            let outcome = peer.engine.transact(&[put("m", "fine", json!(1)), op], false);
            assert!(matches!(outcome, Err(EngineError::TooLarge { .. })), "{kind}: {outcome:?}");
        }
        assert_eq!(peer.content(), Content::default(), "{kind}");
    }
}
