//! Engines, shorthand for operations, and the way of an update into an engine.

use std::{ops::Range, sync::Arc};

use aepoch::{
    engine::{
        Admission, Applied, Container, ContainerKind, Engine, EngineError, EngineKind, Op, Value, create, guarded,
        inspect,
    },
    id::ReplicaId,
};
use bytes::Bytes;

pub(crate) type Boxed = Box<dyn Engine>;

pub(crate) fn replica(id: u64) -> ReplicaId {
    ReplicaId::from_bits(id)
}

pub(crate) fn engine(id: u64) -> Boxed {
    create(EngineKind::Automerge, replica(id)).unwrap()
}

pub(crate) fn put(map: &str, key: &str, value: impl Into<Value>) -> Op {
    Op::MapPut { map: Arc::from(map), key: Arc::from(key), value: value.into() }
}

pub(crate) fn remove(map: &str, key: &str) -> Op {
    Op::MapRemove { map: Arc::from(map), key: Arc::from(key) }
}

pub(crate) fn push(list: &str, values: Vec<Value>) -> Op {
    Op::ListInsert { list: Arc::from(list), index: None, values }
}

pub(crate) fn cut(list: &str, range: Range<usize>) -> Op {
    Op::ListRemove { list: Arc::from(list), range }
}

pub(crate) fn write_at(text: &str, index: usize, chars: &str) -> Op {
    Op::TextInsert { text: Arc::from(text), index: Some(index), chars: chars.to_owned() }
}

pub(crate) fn erase(text: &str, range: Range<usize>) -> Op {
    Op::TextRemove { text: Arc::from(text), range }
}

pub(crate) fn format(text: &str, range: Range<usize>, attribute: &str, value: impl Into<Value>) -> Op {
    Op::TextFormat { text: Arc::from(text), range, attribute: Arc::from(attribute), value: value.into() }
}

/// Performs one operation; gives the update.
pub(crate) fn act(engine: &mut Boxed, op: Op) -> Bytes {
    engine.transact(&[op], false).unwrap().update
}

/// The way of one peer's updates into an engine, all in one batch.
pub(crate) fn deliver(engine: &mut Boxed, updates: &[Bytes]) -> Result<Applied, EngineError> {
    let mut admission = Admission::default();
    for update in updates {
        admission.admit(engine.as_ref(), &inspect(EngineKind::Automerge, update)?, None)?;
    }
    guarded(|| engine.apply(updates, false))
}

/// Gives a replica what it lacks of another.
pub(crate) fn send(from: &Boxed, to: &mut Boxed) {
    let delta = from.delta_since(&to.frontier(), None).unwrap();
    deliver(to, &[delta]).unwrap();
}

/// As [`deliver`], but without the check that dependencies are there.
pub(crate) fn deliver_unordered(engine: &mut Boxed, updates: &[Bytes]) -> Result<Applied, EngineError> {
    for update in updates {
        inspect(EngineKind::Automerge, update)?;
    }
    guarded(|| engine.apply(updates, false))
}

/// Everything an observer can see, as text.
pub(crate) fn visible(engine: &Boxed) -> String {
    let mut shown = String::new();
    for Container { kind, name } in engine.containers() {
        shown.push_str(&format!("{kind} {name}: "));
        match kind {
            ContainerKind::Map => shown.push_str(&format!("{:?}", engine.map_entries(&name).unwrap())),
            ContainerKind::List => shown.push_str(&format!("{:?}", engine.list_values(&name).unwrap())),
            ContainerKind::Text => shown.push_str(&format!("{:?}", engine.text_spans(&name).unwrap())),
        }
        shown.push('\n');
    }
    shown
}

/// The characters of a text.
pub(crate) fn text(engine: &Boxed, name: &str) -> String {
    engine.text_spans(name).unwrap().into_iter().map(|span| span.text).collect()
}

/// A pseudo-random sequence (SplitMix64), the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One random edit of what is there.
pub(crate) fn random_op(engine: &Boxed, dice: &mut Dice) -> Op {
    let len = |kind, name: &str| engine.len(&Container { kind, name: Arc::from(name) }).unwrap();
    let (items, chars) = (len(ContainerKind::List, "items"), len(ContainerKind::Text, "notes"));
    let key = format!("k{}", dice.below(4));
    match dice.below(8) {
        0 => put("map", &key, dice.next()),
        1 => put("map", &key, serde_json::json!({"deep": [dice.below(9), {"x": null}]})),
        2 => remove("map", &key),
        3 => Op::ListInsert {
            list: Arc::from("items"),
            index: Some(dice.below(items + 1)),
            values: vec![Value::from(dice.below(100)), serde_json::json!([1, "two"])],
        },
        4 if items > 0 => {
            let start = dice.below(items);
            cut("items", start..start + 1)
        }
        5 if chars > 1 => {
            let start = dice.below(chars - 1);
            erase("notes", start..start + 1 + dice.below(chars - start))
        }
        6 if chars > 0 => {
            let start = dice.below(chars);
            let value = if dice.below(2) == 0 { Value::Null } else { Value::from(true) };
            format("notes", start..start + 1 + dice.below(chars - start), "bold", value)
        }
        _ => write_at("notes", dice.below(chars + 1), ["ab", "😀é", "x"][dice.below(3)]),
    }
}
