//! Positions in texts count Unicode scalar values, whatever the engine counts inside.

use aepoch::engine::{Container, ContainerKind, EngineKind, Op, TextSpan};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

fn bold(range: std::ops::Range<usize>, value: Value) -> Op {
    Op::TextFormat { text: "t".into(), range, attribute: "bold".into(), value }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_text_behaves_like_a_vector_of_characters(edits in prop::collection::vec(any_edit(), 1..30)) {
        for &kind in ENGINES {
            let mut peer = Peer::new(kind, 1);
            let mut model: Vec<Vec<char>> = vec![Vec::new(); 2];
            for edit in &edits {
                for op in edit.ops(peer.engine.as_ref()) {
                    match &op {
                        Op::TextInsert { text, index, chars } => {
                            let text = &mut model[usize::from(&**text != "notes")];
                            let at = index.unwrap_or(text.len());
                            text.splice(at..at, chars.chars());
                        }
                        Op::TextRemove { text, range } => {
                            drop(model[usize::from(&**text != "notes")].drain(range.clone()));
                        }
                        _ => {}
                    }
                    peer.commit(&[op]);
                }
            }
            for (name, model) in ["notes", "posts/42/body"].iter().zip(&model) {
                let model: String = model.iter().collect();
                prop_assert_eq!(text_of(peer.engine.as_ref(), name), model.clone());
                prop_assert_eq!(text_of(peer.reload(2).engine.as_ref(), name), model);
            }
        }
    }
}

#[test]
fn characters_of_every_width_count_as_one() {
    for &kind in ENGINES {
        let mut a = Peer::new(kind, 1);
        a.commit(&[write("t", None, "aé漢🦀e\u{301}")]);
        let mut b = a.reload(2);
        b.commit(&[erase("t", 3..4), write("t", Some(3), "🐙🐙")]);
        a.commit(&[write("t", Some(4), "|")]);
        a.pull(&b);
        b.pull(&a);
        assert_eq!(text_of(a.engine.as_ref(), "t"), text_of(b.engine.as_ref(), "t"), "{kind}");
        let mut chars: Vec<_> = text_of(a.engine.as_ref(), "t").chars().collect();
        chars.sort_unstable();
        let mut expected: Vec<_> = "aé漢🐙🐙|e\u{301}".chars().collect();
        expected.sort_unstable();
        assert_eq!(chars, expected, "{kind}");
    }
}

#[test]
fn lengths_follow_what_others_replace() {
    for &kind in ENGINES {
        let mut a = Peer::new(kind, 1);
        a.commit(&[write("t", None, "ab")]);
        let mut b = a.reload(2);
        let container = Container { kind: ContainerKind::Text, name: "t".into() };
        assert_eq!(b.engine.len(&container).unwrap(), 2);
        a.commit(&[erase("t", 0..2), write("t", None, "🦀")]);
        b.pull(&a);
        assert_eq!(b.engine.len(&container).unwrap(), 1, "{kind}");
        b.commit(&[write("t", Some(1), "!")]);
        assert_eq!(text_of(b.engine.as_ref(), "t"), "🦀!", "{kind}");
    }
}

#[test]
fn formatting_covers_the_characters_it_names() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[write("t", None, "🦀one two"), bold(1..4, json!(true))]);
        let span = |text: &str, is_bold: bool| TextSpan {
            text: text.into(),
            attributes: is_bold.then(|| ("bold".to_owned(), json!(true))).into_iter().collect(),
        };
        let expected = [span("🦀", false), span("one", true), span(" two", false)];
        assert_eq!(peer.engine.text_spans("t").unwrap(), expected, "{kind}");
        assert_eq!(peer.reload(2).engine.text_spans("t").unwrap(), expected, "{kind}");
        peer.commit(&[bold(2..8, Value::Null)]);
        let expected = [span("🦀", false), span("o", true), span("ne two", false)];
        assert_eq!(peer.engine.text_spans("t").unwrap(), expected, "{kind}");
        assert_eq!(peer.reload(2).engine.text_spans("t").unwrap(), expected, "{kind}");
    }
}

#[test]
fn attributes_of_every_type_come_back_alike_everywhere() {
    for &kind in ENGINES {
        for value in [json!("red"), json!(12), json!(i64::MAX), json!(0.5), json!(true)] {
            let mut peer = Peer::new(kind, 1);
            peer.commit(&[write("t", None, "abc"), bold(0..2, value.clone())]);
            for peer in [&peer, &peer.reload(2)] {
                let spans = peer.engine.text_spans("t").unwrap();
                assert_eq!(spans[0].attributes.get("bold"), Some(&value), "{kind}");
            }
        }
    }
}

#[test]
fn an_engine_without_structured_attributes_says_so_and_changes_nothing() {
    let structured = json!({ "href": ["a", 1] });
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[write("t", None, "abc")]);
        match (kind, peer.engine.transact(&[bold(0..2, structured.clone())], false)) {
            (EngineKind::Yrs, outcome) => {
                outcome.unwrap();
                assert_eq!(peer.engine.text_spans("t").unwrap()[0].attributes.get("bold"), Some(&structured));
            }
            (EngineKind::Automerge, outcome) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains("automerge") && error.contains("formatting"), "{error}");
                assert_eq!(peer.engine.text_spans("t").unwrap().len(), 1);
            }
        }
    }
}
