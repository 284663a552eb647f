//! The wires of other libraries: frames of a hostile Yjs or Hocuspocus client.

use std::time::Duration;

use aepoch::{
    engine::{EngineKind, inspect},
    id::DocumentId,
    time::Monotonic,
    wires::{Ask, Dialect, GuestRights, GuestSession, Hocuspocus, Told, Word, Yjs},
};
use bytes::Bytes;

use crate::pieces;

/// First byte of an input for the wire of Hocuspocus.
const HOCUSPOCUS: u8 = 1;
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
        HOCUSPOCUS => session(Hocuspocus::new(GuestRights::Write, NOW)),
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
        Ask::Presence { states, .. } => Word::Presence(states),
        Ask::Say { body, .. } => Word::Said(body),
        Ask::QueryPresence { .. } => Word::Presence(Vec::new()),
        Ask::Leave { .. } => Word::Kept(1),
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
    seeds
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
        let hocuspocus = ["nothing asked", "nothing asked", "Join", "Join", "Update", "Update", "Presence"];
        assert_eq!(outcomes[yjs.len()..][..hocuspocus.len()], hocuspocus);
        assert_eq!(outcomes[yjs.len() + hocuspocus.len()..], ["QueryPresence", "Say", "Leave"]);
    }
}
