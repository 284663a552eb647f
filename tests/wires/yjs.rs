//! The wire of y-websocket. The frames are those of y-protocols 1.0.7, of a document in which client 7 set `k` to `v`.

use aepoch::{
    engine::{EngineKind, frontier_of_vector},
    wires::{Ask, Awareness, Word, Yjs},
};
use bytes::Bytes;

use crate::stage::{Stage, bytes, document};

const STEP_1: &str = "000003010701";
const UPDATE: &str = "010107002801016d016b0177017600";

fn stage() -> Stage {
    let mut stage = Stage::new(Yjs::new(document()));
    let asks = stage.hear("00000100").unwrap();
    let nothing = Ask::Join { document: document(), engine: EngineKind::Yrs, frontier: Bytes::new(), counts: false };
    assert_eq!(asks, [nothing]);
    stage
}

#[test]
fn what_y_websocket_says_is_understood() {
    let mut stage = stage();
    let frontier = frontier_of_vector(&[1, 7, 1]).unwrap();
    let join = Ask::Join { document: document(), engine: EngineKind::Yrs, frontier, counts: false };
    assert_eq!(stage.hear(STEP_1).unwrap(), [join]);
    let update = Ask::Update { document: document(), update: bytes(UPDATE) };
    for frame in ["00020f", "00010f"] {
        assert_eq!(stage.hear(&format!("{frame}{UPDATE}")).unwrap(), std::slice::from_ref(&update));
    }
    let empty = Ask::Update { document: document(), update: Bytes::from_static(&[0, 0]) };
    assert_eq!(stage.hear("0001020000").unwrap(), [empty]);
    let presence = |clock, state: Option<&'static str>| {
        let state = state.map(|state| Bytes::from_static(state.as_bytes()));
        Ask::Presence { document: document(), states: vec![Awareness { client: 7, clock, state }] }
    };
    let shown = stage.hear("01120107010e7b2275736572223a22616e6e227d").unwrap();
    assert_eq!(shown, [presence(1, Some(r#"{"user":"ann"}"#))]);
    assert_eq!(stage.hear("0108010702046e756c6c").unwrap(), [presence(2, None)]);
    assert_eq!(stage.hear("03").unwrap(), [Ask::QueryPresence { document: document() }]);
    // An auth message, and a kind of an application's own.
    assert_eq!(stage.hear("0200026e6f").unwrap(), []);
    assert_eq!(stage.hear("6401").unwrap(), []);
}

#[test]
fn what_is_told_is_as_y_websocket_expects_it() {
    let mut stage = stage();
    assert_eq!(stage.tell(Word::Lacking(bytes(UPDATE))), [format!("00010f{UPDATE}")]);
    assert_eq!(stage.tell(Word::Lacking(Bytes::new())), ["0001020000"], "an answer even when nothing is lacking");
    assert_eq!(stage.tell(Word::Update(bytes(UPDATE))), [format!("00020f{UPDATE}")]);
    assert_eq!(stage.tell(Word::Frontier(frontier_of_vector(&[1, 7, 1]).unwrap())), [STEP_1]);
    assert_eq!(stage.tell(Word::Frontier(Bytes::new())), ["00000100"]);
    let refused = Word::Refused { is_forbidden: false, reason: "no".to_owned() };
    assert_eq!(stage.tell(refused), ["0200026e6f"]);
    let state = |state: Option<&'static [u8]>| {
        Word::Presence(vec![Awareness { client: 7, clock: 1, state: state.map(Bytes::from_static) }])
    };
    assert_eq!(stage.tell(state(Some(br#"{"user":"ann"}"#))), ["01120107010e7b2275736572223a22616e6e227d"]);
    assert_eq!(stage.tell(state(None)), ["0108010701046e756c6c"]);
    assert_eq!(stage.tell(Word::Kept(3)), [""; 0]);
    assert_eq!(stage.tell(Word::Said(Bytes::from_static(b"x"))), [""; 0]);
}

#[test]
fn an_update_before_the_first_step_is_no_conversation() {
    let mut stage = Stage::new(Yjs::new(document()));
    assert_eq!(stage.hear("01120107010e7b2275736572223a22616e6e227d").unwrap(), [], "nobody to tell yet");
    stage.hear(&format!("00020f{UPDATE}")).unwrap_err();
}
