//! What the targets of both engines share: a victim, a peer, a bystander, and what must hold after an attack.

use std::sync::Arc;

use aepoch::{
    engine::{self, Admission, ContainerKind, Engine, EngineError, EngineKind, Op, guarded, inspect},
    id::ReplicaId,
};
use bytes::Bytes;
use serde_json::{Value, json};

const VICTIM: ReplicaId = ReplicaId::from_bits(7);
const ATTACKER: ReplicaId = ReplicaId::from_bits(9);
const BYSTANDER: ReplicaId = ReplicaId::from_bits(11);

/// A number of updates an attacker may send in one run; more only repeats the same steps.
const UPDATES_MAX: usize = 32;

/// The kind of an outcome: its first words, without those that hold a number and so differ from input to input.
fn class(outcome: &str) -> String {
    let words = outcome.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(10).collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

/// Inspects twice and compares: the answer decides what every replica keeps, so it must not vary.
pub(crate) fn inspect_twice(kind: EngineKind, data: &[u8]) -> String {
    let describe = || match inspect(kind, data) {
        Ok(info) => format!("accepted {info:?}"),
        Err(error) => format!("refused: {error}"),
    };
    let first = describe();
    assert_eq!(first, describe(), "two inspections of the same bytes differ");
    if first.starts_with("accepted") { "accepted".to_owned() } else { class(&first) }
}

fn replica(kind: EngineKind, id: ReplicaId) -> Box<dyn Engine> {
    engine::create(kind, id).expect("both engines are compiled in")
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

fn commit(engine: &mut dyn Engine, ops: &[Op]) -> Bytes {
    engine.transact(ops, false).expect("these operations are valid").update
}

/// What was there before the attack.
fn base(kind: EngineKind) -> Bytes {
    let mut victim = replica(kind, VICTIM);
    commit(
        victim.as_mut(),
        &[
            Op::MapPut { map: name("m"), key: name("k"), value: json!({"deep": [1, 2.5, null, "x"]}) },
            Op::ListInsert { list: name("l"), index: None, values: vec![json!(1), json!("two")] },
            Op::TextInsert { text: name("t"), index: None, chars: "abc\u{1f600}def".to_owned() },
        ],
    );
    victim.snapshot()
}

/// What an honest attacker would have sent: one update per kind of operation, then its whole document.
pub(crate) fn updates(kind: EngineKind) -> Vec<Vec<u8>> {
    let mut peer = replica(kind, ATTACKER);
    peer.apply(&[base(kind)], false).expect("our own snapshot");
    let ops = [
        Op::TextInsert { text: name("t"), index: Some(4), chars: "h\u{e9}llo".to_owned() },
        Op::TextFormat { text: name("t"), range: 1..3, attribute: name("bold"), value: json!(true) },
        Op::TextRemove { text: name("t"), range: 0..2 },
        Op::MapPut { map: name("m"), key: name("k"), value: json!([{"a": -1, "b": [true, "s"]}]) },
        Op::MapRemove { map: name("m"), key: name("k") },
        Op::ListInsert { list: name("l"), index: Some(1), values: vec![json!(9_007_199_254_740_993_u64), json!({})] },
        Op::ListRemove { list: name("l"), range: 0..2 },
        Op::MapPut { map: name("m/child"), key: name("new"), value: json!("container") },
    ];
    let mut updates: Vec<Vec<u8>> =
        ops.iter().map(|op| commit(peer.as_mut(), std::slice::from_ref(op)).to_vec()).collect();
    updates.push(peer.snapshot().to_vec());
    updates
}

/// Sends `updates` as the attacker's to a victim and to a bystander; then everything promised must still hold.
///
/// An update may be refused, and may poison the content (which is then rebuilt without it); nothing else.
pub(crate) fn attack(kind: EngineKind, updates: &[&[u8]]) -> String {
    let base = base(kind);
    let mut victim = replica(kind, VICTIM);
    let mut bystander = replica(kind, BYSTANDER);
    victim.apply(std::slice::from_ref(&base), false).expect("our own snapshot");
    bystander.apply(std::slice::from_ref(&base), false).expect("our own snapshot");
    let mut outcome = "nothing sent".to_owned();
    for update in updates.iter().take(UPDATES_MAX) {
        let update = Bytes::copy_from_slice(update);
        outcome = match receive(victim.as_mut(), &update) {
            Ok(()) => "applied".to_owned(),
            // Half changed: a document would be rebuilt here, so there is nothing more to learn from it.
            Err(EngineError::Poisoned { reason }) => return format!("poisoned: {}", class(&reason)),
            Err(error) => {
                outcome = class(&error.to_string());
                continue;
            }
        };
        receive(bystander.as_mut(), &update).expect("what one replica accepts, another one accepts too");
    }
    still_writable(victim.as_mut(), bystander.as_mut());
    reloads(victim.as_ref());
    outcome
}

fn receive(engine: &mut dyn Engine, update: &Bytes) -> Result<(), EngineError> {
    let info = inspect(engine.kind(), update)?;
    Admission::default().admit(engine, &info, Some(ATTACKER))?;
    // Whatever the error, the content is then in doubt and a document would be rebuilt.
    let in_doubt = |error: EngineError| EngineError::Poisoned { reason: error.to_string() };
    let applied = guarded(|| engine.apply(std::slice::from_ref(update), true)).map_err(in_doubt)?;
    if applied.pending {
        engine.drop_pending().map_err(in_doubt)?;
    }
    Ok(())
}

/// The victim's next write must reach the bystander: some attacks make it vanish without any error.
fn still_writable(victim: &mut dyn Engine, bystander: &mut dyn Engine) {
    let probe = Op::MapPut { map: name("probe"), key: name("k"), value: json!("still here") };
    let commit = match victim.transact(&[probe], false) {
        Ok(commit) => commit,
        // The attacker may have taken the name for a list, and honestly so.
        Err(EngineError::WrongType { .. }) => return,
        Err(error) => panic!("the victim cannot write any more: {error}"),
    };
    let info = inspect(victim.kind(), &commit.update).expect("our own update passes our own inspection");
    Admission::default().admit(bystander, &info, Some(VICTIM)).expect("our own update follows our last one");
    bystander.apply(&[commit.update], false).expect("our own update applies");
    let seen = bystander.map_get("probe", "k").expect("a map at the victim is a map at the bystander");
    assert_eq!(seen, Some(json!("still here")), "a write was acknowledged and vanished");
    assert_eq!(read(victim), read(bystander), "two replicas with the same updates differ");
}

/// A snapshot must load and show the same.
fn reloads(engine: &dyn Engine) {
    let snapshot = engine.snapshot();
    inspect(engine.kind(), &snapshot).expect("our own snapshot passes our own inspection");
    let mut copy = replica(engine.kind(), BYSTANDER);
    copy.apply(&[snapshot], false).expect("our own snapshot applies");
    assert_eq!(read(engine), read(copy.as_ref()), "a document changed by being saved and loaded");
}

/// Everything visible, by every way of reading it.
fn read(engine: &dyn Engine) -> Vec<(String, Value)> {
    let containers = engine.containers();
    let values = containers.iter().map(|container| {
        let name = &*container.name;
        let value = match container.kind {
            ContainerKind::Map => json!(engine.map_entries(name).expect("listed as a map")),
            ContainerKind::List => json!(engine.list_values(name).expect("listed as a list")),
            ContainerKind::Text => json!(engine.text_spans(name).expect("listed as a text")),
        };
        engine.len(container).expect("listed");
        (format!("{} {name}", container.kind), value)
    });
    values.collect()
}
