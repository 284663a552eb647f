//! automerge's own sync protocol: this engine on one side, the library itself on the other.

use aepoch::engine::{Container, ContainerKind, Conversation, EngineKind, Op, guarded, inspect, read_message};
use automerge::{
    AutoCommit, ChangeHash, ObjType, ROOT, ReadDoc as _,
    sync::{ChunkList, Message, State, SyncDoc as _},
    transaction::Transactable as _,
};
use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// A program that uses automerge and nothing else.
struct Library {
    document: AutoCommit,
    state: State,
}

impl Library {
    fn new() -> Self {
        Self { document: AutoCommit::new(), state: State::new() }
    }

    fn says(&mut self) -> Option<Message> {
        self.document.sync().generate_sync_message(&mut self.state)
    }

    fn hears(&mut self, message: &[u8]) {
        let message = Message::decode(message).unwrap();
        self.document.sync().receive_sync_message(&mut self.state, message).unwrap();
    }

    fn read(&self, key: &str) -> Option<String> {
        self.document.get(ROOT, key).unwrap().map(|(value, _)| value.as_str().unwrap_or("no text").to_owned())
    }
}

/// One message to the engine, in the way rooms do it: its changes first.
fn tell(peer: &mut Peer, talk: &mut Conversation, message: Message, may_write: bool) -> Option<Bytes> {
    let mut message = read_message(&message.encode()).unwrap();
    message.changes = talk.complete(message.changes);
    if !message.changes.is_empty() && may_write {
        inspect(EngineKind::Automerge, &message.changes).unwrap();
        guarded(|| peer.engine.absorb(&message.changes, false)).unwrap();
    }
    peer.engine.converse(talk, Some(&message), true).unwrap()
}

/// Messages both ways until nobody has anything to say; how many there were.
fn exchange(peer: &mut Peer, talk: &mut Conversation, other: &mut Library, may_write: bool) -> usize {
    let mut count = 0;
    let mut answer = peer.engine.converse(talk, None, true).unwrap();
    loop {
        assert!(count < 50, "no end of messages");
        if let Some(answer) = answer.take() {
            count += 1;
            other.hears(&answer);
        }
        let Some(message) = other.says() else { return count };
        count += 1;
        answer = tell(peer, talk, message, may_write);
    }
}

fn put(map: &str, key: &str, value: &str) -> Op {
    Op::MapPut { map: map.into(), key: key.into(), value: json!(value) }
}

#[test]
fn both_have_what_either_wrote_and_then_are_silent() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    let mut talk = Conversation::new(true);
    peer.commit(&[put("lights", "left", "red")]);
    let list = other.document.put_object(ROOT, "songs", ObjType::List).unwrap();
    other.document.insert(&list, 0, "one").unwrap();
    exchange(&mut peer, &mut talk, &mut other, true);
    assert_eq!(peer.engine.list_values("songs").unwrap(), [json!("one")]);
    let (_, lights) = other.document.get(ROOT, "lights").unwrap().unwrap();
    assert_eq!(other.document.get(&lights, "left").unwrap().unwrap().0.as_str(), Some("red"));

    peer.commit(&[put("lights", "left", "green")]);
    other.document.insert(&list, 1, "two").unwrap();
    exchange(&mut peer, &mut talk, &mut other, true);
    assert_eq!(peer.engine.list_values("songs").unwrap(), [json!("one"), json!("two")]);
    assert_eq!(other.document.get(&lights, "left").unwrap().unwrap().0.as_str(), Some("green"));
    assert_eq!(exchange(&mut peer, &mut talk, &mut other, true), 0, "nothing is new");
    assert_eq!(peer.engine.containers().len(), 2);
}

#[test]
fn who_brings_changes_hears_that_they_have_come() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    let mut talk = Conversation::new(true);
    exchange(&mut peer, &mut talk, &mut other, true);
    other.document.put(ROOT, "k", "v").unwrap();
    exchange(&mut peer, &mut talk, &mut other, true);
    let heads = other.document.get_heads();
    assert_eq!(other.state.their_heads, Some(heads));
}

#[test]
fn long_histories_meet_in_few_messages() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    for n in 0..300 {
        peer.commit(&[put("m", &format!("ours{n}"), "x")]);
        other.document.put(ROOT, format!("theirs{n}"), n.to_string()).unwrap();
        other.document.commit();
    }
    let mut talk = Conversation::new(true);
    let count = exchange(&mut peer, &mut talk, &mut other, true);
    assert!(count <= 8, "{count} messages");
    let map = Container { kind: ContainerKind::Map, name: "m".into() };
    assert_eq!(peer.engine.len(&map).unwrap(), 300);
    assert_eq!(peer.engine.history().unwrap().len(), other.document.get_changes(&[]).len());
}

/// What the library knows of the first change, as when its filter says falsely that we have it.
#[test]
fn what_comes_before_what_it_builds_on_is_held_and_that_is_asked_for() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    for value in ["first", "second", "third"] {
        other.document.put(ROOT, "k", value).unwrap();
        other.document.commit();
    }
    let changes: Vec<_> = other.document.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
    let hashes: Vec<ChangeHash> = other.document.get_changes(&[]).iter().map(|change| change.hash()).collect();
    let hello = other.says().unwrap();
    let with = |changes: &[Vec<u8>]| Message { changes: ChunkList::from(changes.to_vec()), ..hello.clone() };
    let mut talk = Conversation::new(true);
    let answer = tell(&mut peer, &mut talk, with(&changes[2..]), true).unwrap();
    assert_eq!(Message::decode(&answer).unwrap().need, hashes[1..2]);
    assert!(peer.engine.history().unwrap().is_empty());
    let answer = tell(&mut peer, &mut talk, with(&changes[1..2]), true).unwrap();
    assert_eq!(Message::decode(&answer).unwrap().need, hashes[..1]);
    tell(&mut peer, &mut talk, with(&changes[..1]), true).unwrap();
    assert_eq!(peer.engine.history().unwrap().len(), 3);
}

#[test]
fn whose_changes_are_not_taken_in_is_not_asked_for_them_for_ever() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    peer.commit(&[put("m", "k", "ours")]);
    other.document.put(ROOT, "k", "theirs").unwrap();
    let mut talk = Conversation::new(false);
    exchange(&mut peer, &mut talk, &mut other, false);
    assert!(other.document.get(ROOT, "m").unwrap().is_some());
    other.document.put(ROOT, "k", "again").unwrap();
    exchange(&mut peer, &mut talk, &mut other, false);
    // The creation of the map, and what was put into it.
    assert_eq!(peer.engine.history().unwrap().len(), 2);
}

#[test]
fn who_brings_what_is_refused_is_not_answered_the_same_for_ever() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    other.document.put(ROOT, "k", "v").unwrap();
    let mut talk = Conversation::new(true);
    let mut answers = 0;
    while let Some(message) = other.says() {
        let mut message = read_message(&message.encode()).unwrap();
        message.changes.clear();
        let Some(answer) = peer.engine.converse(&mut talk, Some(&message), true).unwrap() else { break };
        answers += 1;
        assert!(answers < 10, "no end of messages");
        other.hears(&answer);
    }
    peer.commit(&[put("m", "k", "v")]);
    assert!(peer.engine.converse(&mut talk, None, true).unwrap().is_some(), "what is new is said");
}

#[test]
fn what_was_lost_on_the_way_is_sent_again_once_that_is_known() {
    let (mut peer, mut other) = (Peer::new(EngineKind::Automerge, 1), Library::new());
    let mut talk = Conversation::new(true);
    other.document.put(ROOT, "first", "1").unwrap();
    exchange(&mut peer, &mut talk, &mut other, true);
    other.document.put(ROOT, "second", "2").unwrap();
    drop(other.says().unwrap());
    talk.forget();
    exchange(&mut peer, &mut talk, &mut other, true);
    peer.commit(&[put("m", "k", "v")]);
    exchange(&mut peer, &mut talk, &mut other, true);
    assert_eq!(other.read("second").as_deref(), Some("2"));
    // The creation of the map, what was put into it, and both of theirs.
    assert_eq!(peer.engine.history().unwrap().len(), 4);
}

#[test]
fn a_document_is_absorbed_from_its_file() {
    let mut other = Library::new();
    for n in 0..40 {
        other.document.put(ROOT, format!("k{n}"), "v").unwrap();
        other.document.commit();
    }
    let file = Bytes::from(other.document.save_nocompress());
    let mut peer = Peer::new(EngineKind::Automerge, 1);
    peer.commit(&[put("m", "k", "v")]);
    let absorbed = guarded(|| peer.engine.absorb(&file, false)).unwrap();
    assert!(!absorbed.incomplete && !absorbed.update.is_empty());
    assert_eq!(peer.engine.history().unwrap().len(), 42);
    let mut copy = Peer::new(EngineKind::Automerge, 2);
    copy.hear(&[absorbed.update]);
    assert_eq!(copy.engine.history().unwrap().len(), 40);
    let info = inspect(EngineKind::Automerge, &file).unwrap();
    assert!(peer.engine.is_known(&info));
    assert!(guarded(|| peer.engine.absorb(&file, false)).unwrap().update.is_empty());
}
