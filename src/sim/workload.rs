//! What applications do: every type, both halves of a transaction, several documents.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::world::World;
use crate::{
    document::{Document, DocumentError, Resolver, Subscription, Transaction},
    engine::{Container, ContainerKind, Op},
    node::NodeError,
    sync::{Address, Lane},
};

/// The list to which every replica only adds, so that each addition can be accounted for.
pub(super) const LOG: &str = "log";
/// The map whose keys are written together with a register of the same name.
pub(super) const PAIR: &str = "pair";
/// Counters of each document.
pub(super) const COUNTERS: [&str; 3] = ["takes", "cues", "drops"];
/// How long a presence stands without renewal.
const PRESENCE_TTL: Duration = Duration::from_secs(2);

/// What an agent holds that holds a part of the records: all registers, and the first counter.
pub(super) fn part() -> Subscription {
    Subscription { prefixes: vec!["register/".to_owned(), format!("counter/{}", COUNTERS[0])] }
}

/// Lengths of what positions refer to, read before the transaction.
struct Lengths {
    list: usize,
    text: usize,
}

impl World {
    /// Opens a document for an application.
    pub(super) fn open(&mut self, host: usize, document: usize) {
        let moment = self.hosts[host].moment(self.now);
        if self.hosts[host].opened[document] {
            return;
        }
        let engine = self.plan.engine;
        let subscription = self.hosts[host].subscription.clone();
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        match node.open(&self.documents[document], engine, subscription, moment) {
            Ok(_) => {
                self.hosts[host].opened[document] = true;
                // It may have been dropped from memory meanwhile.
                self.hosts[host].seen_of[document].forget();
            }
            Err(error) => self.fail(format!("host {host} cannot open a document: {error}")),
        }
        if self.plan.coordination && self.plan.inquires() {
            self.inquire(host, document);
        }
        self.touch(host);
    }

    /// One thing some application does.
    pub(super) fn work_step(&mut self) {
        let host = 1 + self.dice.below(self.plan.agents as u64) as usize;
        let document = self.dice.below(self.documents.len() as u64) as usize;
        let it = &self.hosts[host];
        if it.node.is_none() || !it.opened[document] || it.stalled_until > self.now {
            return;
        }
        if self.plan.coordination && self.dice.chance(50) {
            self.coordination_step(host, document);
            return self.touch(host);
        }
        match self.dice.below(20) {
            0 => {
                let state = self.dice.chance(80).then(|| self.dice.bits());
                self.show_presence(host, document, state);
            }
            1 => self.say(host, document),
            2 => self.read_all(host, document),
            _ => self.write(host, document),
        }
        self.touch(host);
    }

    pub(super) fn show_presence(&mut self, host: usize, document: usize, state: Option<u64>) {
        let moment = self.hosts[host].moment(self.now);
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let shown = state.map(|state| Bytes::from(state.to_string()));
        match node.set_presence(&self.documents[document], shown, PRESENCE_TTL, moment) {
            Ok(()) => self.hosts[host].presence[document] = state,
            Err(error) => self.fail(format!("presence was refused: {error}")),
        }
    }

    fn say(&mut self, host: usize, document: usize) {
        let to = match self.dice.below(3) {
            0 => Address::All,
            1 => Address::Document(self.documents[document].clone()),
            _ => {
                let other = 1 + self.dice.below(self.plan.agents as u64) as usize;
                Address::Agent(self.hosts[other].agent.clone())
            }
        };
        let body = Bytes::copy_from_slice(&self.dice.bits().to_le_bytes());
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        if let Err(error) = node.send_message(to, Lane::Normal, body) {
            self.fail(format!("a message was refused: {error}"));
        }
    }

    fn read_all(&mut self, host: usize, document: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let read = node.read(&self.documents[document], |document| document.render().map(|_| ()));
        if let Ok(Err(error)) = read {
            self.fail(format!("a document could not be read: {error}"));
        }
    }

    fn write(&mut self, host: usize, document: usize) {
        let id = self.documents[document].clone();
        let moment = self.hosts[host].moment(self.now);
        let me = self.hosts[host].replica();
        let dice = &mut self.dice;
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let before = node.read(&id, |document| {
            let length = |kind, name: &str| document.content().len(&Container { kind, name: name.into() });
            (
                Lengths {
                    list: length(ContainerKind::List, "set").unwrap_or(0),
                    text: length(ContainerKind::Text, "notes").unwrap_or(0),
                },
                document.version().content.get(me),
            )
        });
        let Ok((lengths, content)) = before else { return };
        let agent = self.hosts[host].agent.clone();
        let (own_pairs, pushes) = self.ledger.next_numbers(document, me);
        let mut counted = None;
        let mut pushed = false;
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let result = node.transact(
            &id,
            |transaction| {
                for _ in 0..1 + dice.below(3) {
                    match dice.below(14) {
                        0 | 1 => {
                            transaction.set_register(pick(dice, &["tempo", "key", "song"]), &json!(dice.below(100)))?
                        }
                        2 => transaction.clear_register(pick(dice, &["tempo", "key", "song"]))?,
                        3 | 4 if counted.is_none() => {
                            let which = dice.below(COUNTERS.len() as u64) as usize;
                            let add = i64::try_from(dice.below(20)).unwrap_or(0) - 5;
                            transaction.add_counter(COUNTERS[which], add)?;
                            counted = Some((which, add));
                        }
                        5 => transaction.set_agent_value(&agent, "position", &json!([dice.below(9), dice.below(9)]))?,
                        6 | 7 if !pushed => {
                            pushed = true;
                            transaction.content(Op::ListInsert {
                                list: LOG.into(),
                                index: None,
                                values: vec![json!(format!("{me}:{pushes}"))],
                            });
                        }
                        8 => {
                            let key = me.to_string();
                            transaction.set_register(&format!("{PAIR}/{key}"), &json!(own_pairs))?;
                            transaction.content(put(PAIR, &key, json!(own_pairs)));
                        }
                        _ => random_content(transaction, dice, &lengths)?,
                    }
                }
                Ok(())
            },
            moment,
        );
        match result {
            Ok(()) => {
                let after = node.read(&id, |document| document.version().clone()).unwrap_or_default();
                let after = (after.content.get(me), after.records.get(me));
                debug_assert!(after.0 >= content);
                self.trace.note(
                    self.now,
                    &[20, host as u64, after.0, after.1],
                    format_args!("{agent} writes in {id}: content {} records {}", after.0, after.1),
                );
                self.ledger.committed(document, me, after, counted, pushed);
            }
            Err(NodeError::Busy { .. } | NodeError::NotOpen { .. }) => {}
            // Two operations of one plan may miss each other, for example two removals from one list.
            Err(NodeError::Document(DocumentError::Engine(crate::engine::EngineError::OutOfRange { .. }))) => {}
            Err(error) => self.fail(format!("a write was refused: {error}")),
        }
    }
}

fn pick<'a>(dice: &mut crate::time::Dice, names: &[&'a str]) -> &'a str {
    names[dice.below(names.len() as u64) as usize]
}

fn put(map: &str, key: &str, value: Value) -> Op {
    Op::MapPut { map: map.into(), key: key.into(), value }
}

/// A change of content nobody keeps account of, small as a rule.
fn random_content(
    transaction: &mut Transaction<'_>,
    dice: &mut crate::time::Dice,
    lengths: &Lengths,
) -> Result<(), DocumentError> {
    let key: Arc<str> = pick(dice, &["a", "b", "c", "d"]).into();
    let map: Arc<str> = pick(dice, &["songs", "songs/meta", "songs/meta/tags"]).into();
    let run = |dice: &mut crate::time::Dice, len: usize| {
        let start = dice.below(len as u64) as usize;
        start..(start + 1 + dice.below(3) as usize).min(len)
    };
    let op = match dice.below(9) {
        0 => put(&map, &key, json!(dice.below(1_000))),
        1 => put(&map, &key, json!({"title": "x".repeat(dice.below(40) as usize), "bpm": dice.below(200)})),
        2 => Op::MapRemove { map, key },
        3 => Op::ListInsert {
            list: "set".into(),
            index: Some(dice.below(lengths.list as u64 + 1) as usize),
            values: vec![json!(dice.below(100)), json!("song")],
        },
        4 if lengths.list > 0 => Op::ListRemove { list: "set".into(), range: run(dice, lengths.list) },
        5 if lengths.text > 0 => Op::TextRemove { text: "notes".into(), range: run(dice, lengths.text) },
        6 if lengths.text > 0 => {
            let value = if dice.chance(70) { json!(true) } else { Value::Null };
            Op::TextFormat { text: "notes".into(), range: run(dice, lengths.text), attribute: "bold".into(), value }
        }
        // Now and then something that is bulk on its lane.
        7 if dice.chance(15) => put(&map, &key, json!("bulk".repeat(dice.below(2_000) as usize))),
        _ => Op::TextInsert {
            text: "notes".into(),
            index: Some(dice.below(lengths.text as u64 + 1) as usize),
            chars: pick(dice, &["la", "na na", "é", "🎵 solo", "\n"]).to_owned(),
        },
    };
    transaction.content(op);
    Ok(())
}

/// The value of a writer's pair in both halves of a document.
pub(super) fn pair(document: &Document, writer: &str) -> (Option<Value>, Option<Value>) {
    let register = document.register(&format!("{PAIR}/{writer}"), &Resolver::LastWriterWins);
    (register, document.content().map_get(PAIR, writer).unwrap_or_default())
}
