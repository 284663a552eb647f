//! The wire of automerge-repo. The frames are those of its network adapter 2.5.6 with automerge 3.5.0.

use aepoch::{
    engine::EngineKind,
    id::DocumentId,
    limits,
    time::Monotonic,
    wires::{Ask, AutomergeRepo, RepoId, Told, WireError, Word},
};
use bytes::Bytes;

use crate::stage::{Stage, bytes, hex};

const JOIN: &str = "b900046474797065646a6f696e6873656e6465724964636164616c706565724d65746164617461b900026973746f726167654964f76b6973457068656d6572616cf57819737570706f7274656450726f746f636f6c56657273696f6e73816131";
/// Protocol version 9.
const LATER: &str = "b900046474797065646a6f696e6873656e6465724964636164616c706565724d65746164617461b900007819737570706f7274656450726f746f636f6c56657273696f6e73816139";
const SYNC: &str = "b9000564747970656473796e636873656e64657249646361646168746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d5335385041566458756464617461582f4201d90764317f5e79d4ae0ef9f288527dd1fe08b8c07e5f0aa6ae00a6524fdfc87600010005010a07210300020284";
const REQUEST: &str = "b90005647479706567726571756573746873656e64657249646361646168746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d5335385041566458756464617461582f4201d90764317f5e79d4ae0ef9f288527dd1fe08b8c07e5f0aa6ae00a6524fdfc87600010005010a07210300020284";
/// Said by another peer, and passed on.
const EPHEMERAL: &str = "b90007647479706569657068656d6572616c6873656e64657249646365766568746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d53353850415664587565636f756e74036973657373696f6e4964627331646461746144a1617801";
/// Its count is five thousand million, as floating point.
const COUNTED: &str = "b90007647479706569657068656d6572616c6873656e64657249646365766568746172676574496461726a646f63756d656e744964781c344e4d4e6e6b4d684c386a5872644a396a616d53353850415664587565636f756e74fb41f2a05f200000006973657373696f6e496462733164646174614101";
const SUBSCRIPTION: &str = "b900056474797065781a72656d6f74652d737562736372697074696f6e2d6368616e67656873656e6465724964636164616874617267657449646172636164648161786672656d6f766580";
/// The sync message in the frames.
const MESSAGE: &str = "4201d90764317f5e79d4ae0ef9f288527dd1fe08b8c07e5f0aa6ae00a6524fdfc87600010005010a07210300020284";

fn document() -> DocumentId {
    RepoId::document("automerge:4NMNnkMhL8jXrdJ9jamS58PAVdXu".parse().unwrap(), "band").unwrap()
}

fn stage() -> Stage {
    Stage::new(AutomergeRepo::new("relay".to_owned(), "band".to_owned(), Monotonic(0)))
}

fn joined() -> Stage {
    let mut stage = stage();
    assert_eq!(stage.hear(JOIN).unwrap(), []);
    assert_eq!(stage.sent().len(), 1);
    stage
}

fn told(stage: &mut Stage, word: Word) -> Vec<String> {
    stage.session.tell(&Told::new(Some(document()), word), stage.now);
    stage.sent()
}

fn text(text: &str) -> String {
    hex(&[&[0x60 | text.len() as u8], text.as_bytes()].concat())
}

#[test]
fn a_client_that_joins_hears_who_the_relay_is() {
    let mut stage = stage();
    stage.hear(JOIN).unwrap();
    let storage = format!("{}a2{}{}{}f4", text("peerMetadata"), text("storageId"), text("relay"), text("isEphemeral"));
    let to = format!("{}{}{}{}", text("senderId"), text("relay"), text("targetId"), text("ada"));
    let version = format!("{}{}", text("selectedProtocolVersion"), text("1"));
    assert_eq!(stage.sent(), [format!("a5{}{}{to}{version}{storage}", text("type"), text("peer"))]);
}

#[test]
fn who_speaks_another_version_hears_so_and_who_has_not_joined_is_closed() {
    let mut stage = stage();
    let error = stage.hear(LATER).unwrap_err();
    assert!(error.to_string().contains("protocol versions 9: here it is 1"), "{error}");
    assert!(stage.sent()[0].contains(&text("error")));
    let error = self::stage().hear(SYNC).unwrap_err();
    assert!(error.to_string().contains("`sync` came before `join`"), "{error}");
    // Nor may one wait for ever.
    let mut silent = self::stage().session;
    assert_eq!(silent.tick(Monotonic(0)), Ok(()));
    let late = silent.tick(Monotonic(0) + limits::GUEST_AUTH_WAIT);
    assert!(matches!(late, Err(WireError::Unauthenticated { .. })), "{late:?}");
    let mut there = joined().session;
    assert_eq!(there.tick(Monotonic(0) + limits::GUEST_AUTH_WAIT), Ok(()));
}

#[test]
fn what_a_client_says_is_understood() {
    let mut stage = joined();
    for (frame, wants) in [(SYNC, false), (REQUEST, true)] {
        let asks = stage.hear(frame).unwrap();
        let [Ask::Sync { document: about, engine: EngineKind::Automerge, message, wants: found }] = &asks[..] else {
            panic!("{asks:?}")
        };
        assert_eq!((about, *found), (&document(), wants));
        assert_eq!((message.changes.len(), hex(&message.rest)), (0, MESSAGE.to_owned()));
    }
    for ignored in [SUBSCRIPTION, ""] {
        assert_eq!(stage.hear(ignored).unwrap(), []);
    }
    assert!(stage.sent().is_empty());
}

#[test]
fn what_is_told_is_as_a_client_expects_it() {
    let mut stage = joined();
    let frame = told(&mut stage, Word::Sync(bytes(MESSAGE))).remove(0);
    let id = format!("{}781c{}", text("documentId"), hex(b"4NMNnkMhL8jXrdJ9jamS58PAVdXu"));
    assert!(frame.starts_with(&format!("a5{}{}", text("type"), text("sync"))), "{frame}");
    assert!(frame.ends_with(&format!("{id}{}582f{MESSAGE}", text("data"))), "{frame}");
    let frame = told(&mut stage, Word::Unavailable).remove(0);
    assert!(frame.contains(&text("doc-unavailable")) && frame.ends_with(&id), "{frame}");
    let refused = Word::Refused { is_forbidden: true, reason: "no".to_owned() };
    let frame = told(&mut stage, refused).remove(0);
    assert!(
        frame.contains(&text("error")) && frame.ends_with(&format!("{}{}", text("message"), text("no"))),
        "{frame}"
    );
    assert!(told(&mut stage, Word::Kept(1)).is_empty(), "it has no word for that");
}

#[test]
fn what_one_says_reaches_others_under_the_name_of_who_said_it_first() {
    for (frame, count) in [(EPHEMERAL, "03"), (COUNTED, "1b000000012a05f200")] {
        let mut asks = joined().hear(frame).unwrap();
        let Some(Ask::Say { document: about, body }) = asks.pop() else { panic!("{asks:?}") };
        assert_eq!(about, document());
        let frame = told(&mut joined(), Word::Said(body)).remove(0);
        for part in [
            format!("{}{}", text("senderId"), text("eve")),
            format!("{}{}", text("targetId"), text("ada")),
            format!("{}{}", text("sessionId"), text("s1")),
            format!("{}{count}", text("count")),
        ] {
            assert!(frame.contains(&part), "{part} in {frame}");
        }
    }
}

#[test]
fn who_says_nothing_is_probed_and_an_answer_is_enough() {
    let mut session = joined().session;
    let mut now = Monotonic(0);
    for _ in 0..10 {
        now = session.next_wake().unwrap();
        session.tick(now).unwrap();
        while let Some(frame) = session.poll_transmit() {
            assert!(frame.is_empty(), "a ping");
            session.receive(&Bytes::new(), now, &mut Vec::new()).unwrap();
        }
    }
    assert!(now >= Monotonic(0) + std::time::Duration::from_secs(100), "{now:?}");
    let dead = std::iter::from_fn(|| {
        let now = session.next_wake()?;
        Some(session.tick(now))
    });
    assert!(matches!(dead.take(20).find_map(Result::err), Some(WireError::Timeout { .. })));
}

#[test]
fn what_is_no_message_is_refused_and_says_why() {
    // No map, a map without an end, one as large as memory, nested without end, a text that is none.
    for frame in ["80", "a1", "bbffffffffffffffff", &"9f".repeat(100_000), "a161ff6161", "a164747970650a"] {
        let error = joined().hear(frame).unwrap_err();
        assert!(matches!(&error, WireError::Malformed { reason } if reason.contains("CBOR")), "{error}");
    }
    let name = format!("a2{}{}{}79012c{}", text("type"), text("join"), text("senderId"), "61".repeat(300));
    let error = joined().hear(&name).unwrap_err();
    assert!(error.to_string().contains("300 is over the limit of 256"), "{error}");
    let unnamed = SYNC.replace(&hex(b"4NMN"), &hex(b"4NMM"));
    let error = joined().hear(&unnamed).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let damaged = SYNC.replace(MESSAGE, &MESSAGE.replace("4201", "4601"));
    let error = joined().hear(&damaged).unwrap_err();
    assert!(error.to_string().contains("a sync message of type 0x46"), "{error}");
}
