//! The wires of other libraries: frames of a hostile Yjs, Hocuspocus or automerge-repo client.

use std::time::Duration;

use aepoch::{
    engine::{Conversation, EngineKind, create, inspect},
    id::{DocumentId, ReplicaId},
    time::{Moment, Monotonic},
    wires::{Ask, AutomergeRepo, Dialect, Gate, GuestRights, GuestSession, Hocuspocus, Told, Word, Yjs},
};
use bytes::Bytes;

use crate::pieces;

/// First byte of an input for the wire of Hocuspocus.
const HOCUSPOCUS: u8 = 1;
/// The same for that of automerge-repo.
const AUTOMERGE: u8 = 2;
/// Frames of one run; more only repeats the same steps.
const FRAMES_MAX: usize = 64;
/// Frames a session may want to send in answer to one.
const ANSWERS_MAX: usize = 1_024;
const NOW: Monotonic = Monotonic(0);
/// `band/stage`, with its length.
const NAME: &[u8] = b"\x0aband/stage";

fn document() -> DocumentId {
    DocumentId::new("band/stage").expect("a valid name")
}

fn session(dialect: impl Dialect + 'static) -> GuestSession {
    GuestSession::new(dialect, NOW)
}

/// Sends the pieces of `data` as frames; what is asked in them must bear being answered.
pub fn fuzz_one(data: &[u8]) -> String {
    let Some((&mode, frames)) = data.split_first() else { return "nothing sent".to_owned() };
    let mut session = match mode {
        HOCUSPOCUS => {
            session(Hocuspocus::new(Gate::new(Some(GuestRights::Write), None, Moment { mono: NOW, wall_ms: 0 }), NOW))
        }
        AUTOMERGE => session(AutomergeRepo::new("relay".to_owned(), "band".to_owned(), NOW)),
        _ => session(Yjs::new(document())),
    };
    let mut outcome = String::from("nothing asked");
    for frame in pieces::split(frames).into_iter().take(FRAMES_MAX) {
        let mut asks = Vec::new();
        let heard = session.receive(&Bytes::copy_from_slice(frame), NOW, &mut asks);
        for ask in asks {
            outcome = answer(&mut session, ask);
        }
        let answers = std::iter::from_fn(|| session.poll_transmit()).take(ANSWERS_MAX).count();
        assert!(answers < ANSWERS_MAX, "one frame made a session answer without end");
        assert_eq!(session.queued_bytes(), 0, "what was sent still counts as queued");
        if let Err(error) = heard {
            return format!("{outcome}, closed with {} for {:?}", error.close_code(), error.fault());
        }
    }
    session.tick(NOW + Duration::from_secs(1)).expect("no deadline is due");
    outcome
}

/// What a node might say to it.
fn answer(session: &mut GuestSession, ask: Ask) -> String {
    let name: String = format!("{ask:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
    let about = ask.document().clone();
    let word = match ask {
        Ask::Join { frontier, .. } => Word::Frontier(frontier),
        Ask::Update { update, .. } => {
            // What the node does next with it; an error is an answer too.
            let _ = inspect(EngineKind::Yrs, &update);
            Word::Update(update)
        }
        Ask::Sync { message, .. } => {
            let _ = inspect(EngineKind::Automerge, &message.changes);
            let mut engine = create(EngineKind::Automerge, ReplicaId::from_bits(1)).expect("it is in this build");
            match engine.converse(&mut Conversation::new(true), Some(&message), true) {
                Ok(Some(says)) => Word::Sync(says),
                Ok(None) => Word::Unavailable,
                Err(error) => Word::Refused { is_forbidden: false, reason: error.to_string() },
            }
        }
        Ask::Presence { states, .. } => Word::Presence(states),
        Ask::Say { body, .. } => Word::Said(body),
        Ask::QueryPresence { .. } => Word::Presence(Vec::new()),
        Ask::Enter { .. } | Ask::Leave { .. } => Word::Kept(1),
    };
    session.tell(&Told::new(Some(about), word), NOW);
    name
}

/// The frames of honest clients, as their libraries write them.
pub fn seeds() -> Vec<Vec<u8>> {
    let update = b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01w\x01v\x00";
    let state = br#"{"user":"ann"}"#;
    let awareness = [&[1, 7, 1, state.len() as u8][..], state].concat();
    let messages: Vec<Vec<u8>> = vec![
        vec![0, 0, 1, 0],
        vec![0, 0, 3, 1, 7, 1],
        [&[0, 1, update.len() as u8][..], update].concat(),
        [&[0, 2, update.len() as u8][..], update].concat(),
        [&[1, awareness.len() as u8][..], &awareness].concat(),
        vec![3],
    ];
    let mut seeds: Vec<Vec<u8>> = (1..=messages.len()).map(|count| with_mode(0, &messages[..count])).collect();
    let token = b"\x02\x00\x06secret\x054.8.0".to_vec();
    let own = [b"\x05\x04psst".to_vec(), vec![7]];
    let named = |message: &Vec<u8>| [NAME, message].concat();
    let mut frames: Vec<Vec<u8>> = [token].iter().chain(&messages).chain(&own).map(named).collect();
    frames.insert(1, vec![9]);
    seeds.extend((1..=frames.len()).map(|count| with_mode(HOCUSPOCUS, &frames[..count])));
    seeds.extend((1..=AUTOMERGE_FRAMES.len()).map(|count| {
        let frames: Vec<_> = AUTOMERGE_FRAMES[..count].iter().map(|frame| unhex(frame)).collect();
        with_mode(AUTOMERGE, &frames)
    }));
    seeds
}

/// A join, a message of the sync protocol with a filter and a change, and something said, as automerge-repo writes them.
const AUTOMERGE_FRAMES: [&str; 3] = [
    "b900046474797065646a6f696e6873656e6465724964636164616c706565724d65746164617461b900026973746f726167654964f76b6973457068656d6572616cf57819737570706f7274656450726f746f636f6c56657273696f6e73816131",
    "b9000564747970656473796e636873656e64657249646361646168746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d533538504156645875646461746158ff43014f34d4e148d9dff7fe747ea3e80a093eb779d07f5e578303b4e91e6f25d54d2d0172f80d789ff7eac2f0edef0152efda150f7b1a1b149548ccffc1b135d9cfcab7010005010a078aa001ae01856f4a834cea771500a301011007070707070707070707070707070707014f34d4e148d9dff7fe747ea3e80a093eb779d07f5e578303b4e91e6f25d54d2d060102030213032302400256020c01050205110513081506210323033403420556055f088001037f007f017fad027f007f007f070001ac02000001ac02010002ab020000017e0002aa02017f016b00ac02ad0200ad020101ac027f04ac02017f00ac02162b2b1b0565440200ad020000020284",
    "b90007647479706569657068656d6572616c6873656e64657249646365766568746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d53353850415664587565636f756e74036973657373696f6e4964627331646461746144a1617801",
];

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn with_mode(mode: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    let mut data = vec![mode];
    data.extend(pieces::join(&frames));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_message_reaches_its_end() {
        let outcomes: Vec<String> = seeds().iter().map(|seed| fuzz_one(seed)).collect();
        let yjs = ["Join", "Join", "Update", "Update", "Presence", "QueryPresence"];
        assert_eq!(outcomes[..yjs.len()], yjs);
        let hocuspocus = ["Enter", "Enter", "Join", "Join", "Update", "Update", "Presence"];
        assert_eq!(outcomes[yjs.len()..][..hocuspocus.len()], hocuspocus);
        let rest = ["QueryPresence", "Say", "Leave", "nothing asked", "Sync", "Say"];
        assert_eq!(outcomes[yjs.len() + hocuspocus.len()..], rest);
    }
}
