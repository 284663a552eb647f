//! Patches, applied to a mirror in the order they come, keep it equal to the content.

use std::collections::BTreeMap;

use aepoch::engine::{Change, Op, Path, Section, Segment, guarded};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

/// What an application would show that knows nothing but patches.
#[derive(Debug, Default, PartialEq)]
struct Mirror {
    maps: BTreeMap<String, BTreeMap<String, Value>>,
    lists: BTreeMap<String, Vec<Value>>,
    texts: BTreeMap<String, Vec<char>>,
}

impl Mirror {
    fn apply(&mut self, path: &Path, change: &Change) {
        let name = path.name.to_string();
        match (path.section, &path.within, change) {
            (Section::Map, Some(Segment::Key(key)), Change::Put { old, new }) => {
                let map = self.maps.entry(name).or_default();
                let before = match new {
                    Some(new) => map.insert(key.to_string(), new.clone()),
                    None => map.remove(&**key),
                };
                assert_eq!(&before, old, "old value of {path}");
            }
            (Section::List, Some(Segment::Index(at)), Change::Splice { removed, inserted }) => {
                self.lists.entry(name).or_default().splice(at..&(at + removed), inserted.iter().cloned());
            }
            (Section::Text, Some(Segment::Index(at)), Change::Splice { removed, inserted }) => {
                let new: String = inserted.iter().filter_map(Value::as_str).collect();
                self.texts.entry(name).or_default().splice(at..&(at + removed), new.chars());
            }
            (Section::Text, Some(Segment::Index(at)), Change::Format { len }) => {
                assert!(at + len <= self.texts.get(&name).map_or(0, Vec::len), "{path} formats {len} beyond the end");
            }
            other => panic!("unexpected patch {other:?}"),
        }
    }

    fn settled(mut self) -> Self {
        self.maps.retain(|_, map| !map.is_empty());
        self.lists.retain(|_, list| !list.is_empty());
        self.texts.retain(|_, text| !text.is_empty());
        self
    }

    fn of(content: Content) -> Self {
        let chars = |spans: Vec<aepoch::engine::TextSpan>| spans.iter().flat_map(|span| span.text.chars()).collect();
        Self {
            maps: content.maps,
            lists: content.lists,
            texts: content.texts.into_iter().map(|(name, spans)| (name, chars(spans))).collect(),
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_mirror_fed_with_patches_equals_the_content(history in any_history(30)) {
        for &kind in ENGINES {
            let mut others = play(kind, &[]);
            let mut watched = Peer::new(kind, 9);
            let mut mirror = Mirror::default();
            for step in &history {
                let patches = match step {
                    Move::Edit(0, edit) => {
                        let ops = edit.ops(watched.engine.as_ref());
                        watched.engine.transact(&ops, true).unwrap().patches
                    }
                    Move::Edit(peer, edit) => {
                        others[*peer].edit(edit);
                        Vec::new()
                    }
                    Move::Pull(to, from) => {
                        let delta = watched.engine.delta_since(&others[*to].engine.frontier(), None).unwrap();
                        if !delta.is_empty() {
                            others[*to].hear(&[delta]);
                        }
                        let delta = others[*from].engine.delta_since(&watched.engine.frontier(), None).unwrap();
                        if delta.is_empty() {
                            continue;
                        }
                        guarded(|| watched.engine.apply(&[delta], true)).unwrap().patches
                    }
                };
                for (path, change) in &patches {
                    mirror.apply(path, change);
                }
            }
            prop_assert_eq!(mirror.settled(), Mirror::of(watched.content()));
        }
    }
}

#[test]
fn patches_name_what_changed_and_what_was_there() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        peer.commit(&[put("m", "k", json!(1))]);
        let show = |patches: &[(Path, Change)]| -> Vec<String> {
            let mut lines: Vec<String> = patches
                .iter()
                .map(|(path, change)| format!("{path} {}", serde_json::to_string(change).unwrap()))
                .collect();
            // Order matters within a container only.
            lines.sort();
            lines
        };
        let ops = [put("m", "k", json!(2)), push("l", &[json!("x")]), write("t", None, "🦀a"), erase("t", 0..1)];
        let commit = peer.engine.transact(&ops, true).unwrap();
        assert_eq!(
            show(&commit.patches),
            [
                r#"list/l/0 {"splice":{"removed":0,"inserted":["x"]}}"#,
                r#"map/m/k {"put":{"old":1,"new":2}}"#,
                r#"text/t/0 {"splice":{"removed":0,"inserted":["a"]}}"#,
            ],
            "{kind}"
        );
        let mut other = peer.reload(2);
        let removal = other.commit(&[remove("m", "k")]);
        let applied = peer.engine.apply(&[removal], true).unwrap();
        assert_eq!(show(&applied.patches), [r#"map/m/k {"put":{"old":2,"new":null}}"#], "{kind}");
    }
}

/// The texts that patches call formatted, each with the furthest character.
fn formatted(patches: &[(Path, Change)]) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for (path, change) in patches {
        if let (Some(Segment::Index(at)), Change::Format { len }) = (&path.within, change) {
            let end = ends.entry(path.name.to_string()).or_insert(0);
            *end = (*end).max(at + len);
        }
    }
    ends
}

/// automerge 0.12 counts the formatting of one text as that of the text it has logged before: the mirror above once met
/// a patch that "formats 2 beyond the end".
#[test]
fn formatting_of_two_texts_at_once_is_told_of_each() {
    let bold =
        |text: &str, range| Op::TextFormat { text: text.into(), range, attribute: "bold".into(), value: json!(true) };
    for &kind in ENGINES {
        for (short, long) in [("a", "b"), ("b", "a")] {
            let mut author = Peer::new(kind, 1);
            author.commit(&[write("a", None, "x"), write("b", None, "y")]);
            author.commit(&[write(long, None, "zzzzz")]);
            let mut local = author.reload(2);
            let mut remote = author.reload(3);
            let known = author.engine.frontier();
            author.commit(&[bold(short, 0..1)]);
            author.commit(&[bold(long, 3..6)]);
            let delta = author.engine.delta_since(&known, None).unwrap();
            let heard = remote.engine.apply(&[delta], true).unwrap().patches;
            let made = local.engine.transact(&[bold(short, 0..1), bold(long, 3..6)], true).unwrap().patches;
            let expected = BTreeMap::from([(short.to_owned(), 1), (long.to_owned(), 6)]);
            assert_eq!((formatted(&heard), formatted(&made)), (expected.clone(), expected), "{kind}");
        }
    }
}

#[test]
fn nobody_watching_costs_no_patches() {
    for &kind in ENGINES {
        let mut peer = Peer::new(kind, 1);
        assert!(peer.engine.transact(&[put("m", "k", json!(1))], false).unwrap().patches.is_empty());
        let mut other = Peer::new(kind, 2);
        assert!(other.hear(&[peer.engine.snapshot()]).patches.is_empty());
        let update = peer.commit(&[put("m", "k", json!(2))]);
        let applied = other.engine.apply(&[update], true).unwrap();
        assert_eq!(applied.patches.len(), 1, "{kind}");
    }
}
