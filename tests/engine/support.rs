//! Replicas to test with, and random edits that fit whatever a replica holds.

use std::{collections::BTreeMap, sync::Arc};

use aepoch::{
    engine::{
        Admission, Applied, Container, ContainerKind, Engine, EngineError, EngineKind, Op, TextSpan, Value, create,
        guarded, inspect,
    },
    id::ReplicaId,
};
use bytes::Bytes;
use proptest::{prelude::*, test_runner::Config};
use serde_json::json;

/// The engines of this build.
pub(crate) const ENGINES: &[EngineKind] = &[
    #[cfg(feature = "yrs")]
    EngineKind::Yrs,
    #[cfg(feature = "automerge")]
    EngineKind::Automerge,
];

/// Few cases: each runs on every engine, and the suite is run often.
pub(crate) fn cases(count: u32) -> Config {
    Config { cases: count, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() }
}

pub(crate) fn replica(number: u64) -> ReplicaId {
    ReplicaId::from_bits(number)
}

/// An engine and the updates it wrote.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) log: Vec<Bytes>,
}

impl Peer {
    pub(crate) fn new(kind: EngineKind, number: u64) -> Self {
        Self { engine: create(kind, replica(number)).unwrap(), log: Vec::new() }
    }

    /// A replica that loaded what `self` saved.
    pub(crate) fn reload(&self, number: u64) -> Self {
        let mut peer = Self::new(self.engine.kind(), number);
        peer.hear(&[self.engine.snapshot()]);
        peer
    }

    /// Commits `ops` and returns the update.
    pub(crate) fn commit(&mut self, ops: &[Op]) -> Bytes {
        let commit = self.engine.transact(ops, false).unwrap();
        if !commit.update.is_empty() {
            self.log.push(commit.update.clone());
        }
        commit.update
    }

    /// Commits a random edit.
    pub(crate) fn edit(&mut self, edit: &Edit) {
        let ops = edit.ops(self.engine.as_ref());
        self.commit(&ops);
    }

    /// Applies updates as one batch, in the way documents do.
    pub(crate) fn hear(&mut self, updates: &[Bytes]) -> Applied {
        for update in updates {
            inspect(self.engine.kind(), update).unwrap();
        }
        guarded(|| self.engine.apply(updates, false)).unwrap()
    }

    /// Applies what the other has and this one lacks.
    pub(crate) fn pull(&mut self, other: &Self) {
        let delta = other.engine.delta_since(&self.engine.frontier(), None).unwrap();
        if !delta.is_empty() {
            self.hear(&[delta]);
        }
    }

    pub(crate) fn content(&self) -> Content {
        Content::of(self.engine.as_ref())
    }
}

/// What happens to bytes of a connected agent: inspection, admission, guarded application.
pub(crate) fn receive(
    engine: &mut dyn Engine,
    update: &[u8],
    author: Option<ReplicaId>,
) -> Result<Applied, EngineError> {
    let info = inspect(engine.kind(), update)?;
    Admission::default().admit(engine, &info, author)?;
    let update = Bytes::copy_from_slice(update);
    guarded(|| engine.apply(&[update], false))
}

/// Everything one can see of a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Content {
    pub(crate) maps: BTreeMap<String, BTreeMap<String, Value>>,
    pub(crate) lists: BTreeMap<String, Vec<Value>>,
    pub(crate) texts: BTreeMap<String, Vec<TextSpan>>,
}

impl Content {
    /// Empty containers are left out: whether they are still there is the engine's affair.
    pub(crate) fn of(engine: &dyn Engine) -> Self {
        let mut content = Self::default();
        for container in engine.containers() {
            let name = container.name.to_string();
            if engine.len(&container).unwrap() == 0 {
                continue;
            }
            match container.kind {
                ContainerKind::Map => {
                    let entries = engine.map_entries(&name).unwrap();
                    content
                        .maps
                        .insert(name, entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect());
                }
                ContainerKind::List => drop(content.lists.insert(name.clone(), engine.list_values(&name).unwrap())),
                ContainerKind::Text => drop(content.texts.insert(name.clone(), engine.text_spans(&name).unwrap())),
            }
        }
        content
    }
}

pub(crate) fn text_of(engine: &dyn Engine, name: &str) -> String {
    engine.text_spans(name).unwrap().into_iter().map(|span| span.text).collect()
}

pub(crate) fn put(map: &str, key: &str, value: Value) -> Op {
    Op::MapPut { map: map.into(), key: key.into(), value }
}

pub(crate) fn remove(map: &str, key: &str) -> Op {
    Op::MapRemove { map: map.into(), key: key.into() }
}

pub(crate) fn push(list: &str, values: &[Value]) -> Op {
    Op::ListInsert { list: list.into(), index: None, values: values.to_vec() }
}

pub(crate) fn write(text: &str, index: Option<usize>, chars: &str) -> Op {
    Op::TextInsert { text: text.into(), index, chars: chars.into() }
}

pub(crate) fn erase(text: &str, range: std::ops::Range<usize>) -> Op {
    Op::TextRemove { text: text.into(), range }
}

/// An edit whose positions are fractions of the length it meets.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(usize, usize, Value),
    Remove(usize, usize),
    Insert(usize, u8, Vec<Value>),
    Cut(usize, u8, u8),
    Write(usize, u8, String),
    Erase(usize, u8, u8),
    Format(usize, u8, u8, bool),
}

const MAPS: [&str; 2] = ["agents", "posts/42/likes"];
const LISTS: [&str; 2] = ["jobs", "posts/42/comments"];
const TEXTS: [&str; 2] = ["notes", "posts/42/body"];
const KEYS: [&str; 3] = ["a", "b", "ключ"];
const WORDS: [&str; 8] = ["x", "hello", "é", "e\u{301}", "漢字", "🦀", "👩‍👩‍👧", "a🦀b"];

fn at(fraction: u8, len: usize) -> usize {
    usize::from(fraction) * (len + 1) / 256
}

fn span(from: u8, to: u8, len: usize) -> std::ops::Range<usize> {
    let (from, to) = (at(from, len), at(to, len));
    from.min(to)..from.max(to)
}

impl Edit {
    /// The operations it comes to on what `engine` holds.
    pub(crate) fn ops(&self, engine: &dyn Engine) -> Vec<Op> {
        let len = |kind, name: &str| engine.len(&Container { kind, name: name.into() }).unwrap();
        let list = |index: usize| len(ContainerKind::List, LISTS[index]);
        let text = |index: usize| len(ContainerKind::Text, TEXTS[index]);
        let op = match self.clone() {
            Self::Put(map, key, value) => put(MAPS[map], KEYS[key], value),
            Self::Remove(map, key) => remove(MAPS[map], KEYS[key]),
            Self::Insert(name, fraction, values) => {
                Op::ListInsert { list: LISTS[name].into(), index: Some(at(fraction, list(name))), values }
            }
            Self::Cut(name, from, to) => Op::ListRemove { list: LISTS[name].into(), range: span(from, to, list(name)) },
            Self::Write(name, fraction, chars) => write(TEXTS[name], Some(at(fraction, text(name))), &chars),
            Self::Erase(name, from, to) => erase(TEXTS[name], span(from, to, text(name))),
            Self::Format(name, from, to, on) => Op::TextFormat {
                text: TEXTS[name].into(),
                range: span(from, to, text(name)),
                attribute: Arc::from("bold"),
                value: if on { json!(true) } else { Value::Null },
            },
        };
        vec![op]
    }
}

/// Any value that both engines keep exactly.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1_000_i64..1_000).prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

pub(crate) fn any_edit() -> impl Strategy<Value = Edit> {
    let words = || prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
    prop_oneof![
        3 => (0..2_usize, 0..3_usize, any_value()).prop_map(|(map, key, value)| Edit::Put(map, key, value)),
        1 => (0..2_usize, 0..3_usize).prop_map(|(map, key)| Edit::Remove(map, key)),
        3 => (0..2_usize, any::<u8>(), prop::collection::vec(any_value(), 1..3))
            .prop_map(|(list, at, values)| Edit::Insert(list, at, values)),
        1 => (0..2_usize, any::<u8>(), any::<u8>()).prop_map(|(list, from, to)| Edit::Cut(list, from, to)),
        4 => (0..2_usize, any::<u8>(), words()).prop_map(|(text, at, chars)| Edit::Write(text, at, chars)),
        2 => (0..2_usize, any::<u8>(), any::<u8>()).prop_map(|(text, from, to)| Edit::Erase(text, from, to)),
        1 => (0..2_usize, any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(text, from, to, on)| Edit::Format(text, from, to, on)),
    ]
}

/// Edits by several replicas, some of them after hearing of another's.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    Edit(usize, Edit),
    Pull(usize, usize),
}

pub(crate) const WRITERS: usize = 3;

pub(crate) fn any_history(len: usize) -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        5 => (0..WRITERS, any_edit()).prop_map(|(peer, edit)| Move::Edit(peer, edit)),
        1 => (0..WRITERS, 0..WRITERS).prop_map(|(to, from)| Move::Pull(to, from)),
    ];
    prop::collection::vec(step, 1..len)
}

/// Plays a history; the writers are numbered from 1.
pub(crate) fn play(kind: EngineKind, history: &[Move]) -> Vec<Peer> {
    let mut peers: Vec<_> = (1..=WRITERS as u64).map(|number| Peer::new(kind, number)).collect();
    for step in history {
        match step {
            Move::Edit(peer, edit) => peers[*peer].edit(edit),
            Move::Pull(to, from) if to != from => {
                let delta = peers[*from].engine.delta_since(&peers[*to].engine.frontier(), None).unwrap();
                if !delta.is_empty() {
                    peers[*to].hear(&[delta]);
                }
            }
            Move::Pull(..) => {}
        }
    }
    peers
}

/// All updates of a history, by writer and then in order.
pub(crate) fn updates(peers: &[Peer]) -> Vec<Bytes> {
    peers.iter().flat_map(|peer| peer.log.iter().cloned()).collect()
}
