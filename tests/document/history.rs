//! The past of content: what it was after each change, where the engine keeps that.

use aepoch::{
    document::DocumentError,
    engine::{EngineError, EngineKind},
};
use serde_json::json;

use crate::peer::{Peer, kinds};

/// What is content of a document, as it is shown.
fn content(peer: &Peer) -> serde_json::Value {
    let mut all = peer.document.borrow().render().unwrap();
    all.as_object_mut().unwrap().retain(|section, _| ["map", "list", "text"].contains(&section.as_str()));
    all
}

#[cfg(feature = "automerge")]
#[test]
fn after_each_change_the_content_is_what_it_was_then() {
    let peer = Peer::new(EngineKind::Automerge, 1);
    let mut seen = vec![json!({})];
    for step in 0..6 {
        peer.commit(|tx| {
            tx.map("posts").put(&format!("{}", step % 4), &json!({ "step": step }))?;
            tx.list("jobs").insert(0, &[json!(step)])?;
            tx.text("notes").push("ab")?;
            if step == 4 { tx.list::<i64>("jobs").remove(1..3) } else { tx.register("step").set(&step) }
        });
        seen.push(content(&peer));
    }
    let history = peer.document.borrow().history().unwrap();
    let after = |changes: usize| peer.document.borrow().content_after(changes).unwrap();
    let commits = history.iter().zip(1..).filter(|(entry, _)| entry.writer.is_some()).map(|(_, number)| number);
    let past: Vec<_> = [0].into_iter().chain(commits).map(after).collect();
    assert_eq!(past, seen);
    assert_eq!(after(history.len()), content(&peer));
    let beyond = peer.document.borrow().content_after(history.len() + 1).unwrap_err().to_string();
    assert!(beyond.contains(&format!("{} elements of `history`", history.len())), "{beyond}");
}

#[cfg(feature = "automerge")]
#[test]
fn the_past_of_two_who_wrote_at_the_same_time_has_both_in_the_end_and_names_each() {
    let [one, other] = Peer::several(EngineKind::Automerge);
    let first = one.write(|tx| tx.text("notes").push("song"));
    other.receive(&[first]);
    let (mine, theirs) = (one.write(|tx| tx.text("notes").push("s")), other.write(|tx| tx.map("m").put("k", &1)));
    one.receive(&[theirs]);
    other.receive(&[mine]);
    for peer in [&one, &other] {
        let document = peer.document.borrow();
        let history = document.history().unwrap();
        let writers: std::collections::BTreeSet<_> = history.iter().filter_map(|entry| entry.writer).collect();
        assert_eq!(writers, [one.replica(), other.replica()].into());
        let whole = document.content_after(history.len()).unwrap();
        assert_eq!(whole, json!({ "text": { "notes": "songs" }, "map": { "m": { "k": 1 } } }));
    }
}

#[test]
fn an_engine_without_history_says_so() {
    for kind in kinds() {
        let peer = Peer::new(kind, 1);
        peer.commit(|tx| tx.map("m").put("k", &1));
        let past = (peer.document.borrow().history().map(drop), peer.document.borrow().content_after(0).map(drop));
        if kind.capabilities().history {
            assert!(past.0.is_ok() && past.1.is_ok(), "{kind}: {past:?}");
        } else {
            let unsupported = |result| matches!(result, Err(DocumentError::Engine(EngineError::Unsupported { .. })));
            assert!(unsupported(past.0) && unsupported(past.1), "{kind}");
        }
    }
}
