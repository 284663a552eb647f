//! The wire of Hocuspocus. The frames are those of its provider 4.8.0, of the document in [`crate::yjs`].

use aepoch::{
    limits,
    time::Monotonic,
    wires::{Ask, Entry, GuestRights, Hocuspocus, WireError, Word},
};
use bytes::Bytes;

use crate::stage::{Stage, bytes, document, hex, open};

/// `band/stage`, with its length.
const NAME: &str = "0a62616e642f7374616765";
const TOKEN: &str = "02000673656372657405342e382e30";
const UPDATE: &str = "010107002801016d016b0177017600";

fn named(frame: &str) -> String {
    format!("{NAME}{frame}")
}

fn authenticated(rights: GuestRights) -> Stage {
    let mut stage = Stage::new(Hocuspocus::new(open(rights), Monotonic(0)));
    let enters = Ask::Enter { document: document(), entry: Entry::Open(rights) };
    assert_eq!(stage.hear(&named(TOKEN)).unwrap(), [enters]);
    let scope = if rights.may_write() { "02020a726561642d7772697465" } else { "020208726561646f6e6c79" };
    assert_eq!(stage.sent(), [named(scope)]);
    stage
}

#[test]
fn what_a_provider_says_is_understood() {
    let mut stage = authenticated(GuestRights::Write);
    let asks = stage.hear(&named("000003010701")).unwrap();
    assert!(matches!(&asks[..], [Ask::Join { document: joined, counts: true, .. }] if *joined == document()));
    let update = Ask::Update { document: document(), update: bytes(UPDATE) };
    for frame in ["00020f", "00010f", "04010f"] {
        assert_eq!(stage.hear(&named(&format!("{frame}{UPDATE}"))).unwrap(), std::slice::from_ref(&update));
    }
    assert_eq!(stage.hear(&named("03")).unwrap(), [Ask::QueryPresence { document: document() }]);
    let said = Ask::Say { document: document(), body: Bytes::from_static(b"psst") };
    assert_eq!(stage.hear(&named("050470737374")).unwrap(), [said]);
    assert_eq!(stage.hear("09").unwrap(), []);
    assert_eq!(stage.sent(), ["0a"]);
    assert_eq!(stage.hear("0a").unwrap(), []);
    assert_eq!(stage.hear(&named("07")).unwrap(), [Ask::Leave { document: document() }]);
}

#[test]
fn what_is_told_is_as_a_provider_expects_it() {
    let mut stage = authenticated(GuestRights::Read);
    assert_eq!(stage.tell(Word::Update(bytes(UPDATE))), [named(&format!("00020f{UPDATE}"))]);
    assert_eq!(stage.tell(Word::Kept(2)), [named("0801"), named("0801")]);
    let refused = |is_forbidden| Word::Refused { is_forbidden, reason: "no".to_owned() };
    assert_eq!(stage.tell(refused(true)), [named("0800")]);
    assert_eq!(stage.tell(refused(false)), [named("0201026e6f")]);
    assert_eq!(stage.tell(Word::Said(Bytes::from_static(b"psst"))), [named("050470737374")]);
}

#[test]
fn a_session_is_part_of_the_name_both_ways_and_there_is_one_of_a_document() {
    const KEY: &str = "0e62616e642f737461676500616263";
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Read), Monotonic(0)));
    stage.hear(&format!("{KEY}{TOKEN}")).unwrap();
    assert_eq!(stage.sent(), [format!("{KEY}020208726561646f6e6c79")]);
    assert_eq!(stage.tell(Word::Kept(1)), [format!("{KEY}0801")]);
    stage.hear(&named(TOKEN)).unwrap();
    let denied = stage.sent().remove(0);
    assert!(denied.starts_with(&named("0201")), "{denied}");
}

#[test]
fn what_comes_before_authentication_waits_and_is_bounded() {
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    assert_eq!(stage.hear(&named("000003010701")).unwrap(), []);
    assert_eq!(stage.hear(&named("050470737374")).unwrap(), []);
    let asks = stage.hear(&named(TOKEN)).unwrap();
    assert!(matches!(&asks[..], [Ask::Enter { .. }, Ask::Join { .. }, Ask::Say { .. }]), "{asks:?}");

    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    let flood = (0..=limits::GUEST_EARLY_FRAMES).find_map(|_| stage.hear(&named("03")).err());
    assert!(matches!(flood, Some(WireError::TooLarge { .. })), "{flood:?}");
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    let large = named(&format!("05{}", "00".repeat(limits::GUEST_EARLY_BYTES)));
    assert!(stage.hear(&large).is_err());
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    let many = (0..=limits::GUEST_EARLY_DOCUMENTS).find_map(|n| {
        let name = format!("d{n}");
        stage.hear(&format!("{:02x}{}03", name.len(), hex(name.as_bytes()))).err()
    });
    assert!(matches!(many, Some(WireError::TooLarge { .. })), "{many:?}");
}

#[test]
fn who_does_not_authenticate_in_time_is_closed() {
    let late = Monotonic(0) + limits::GUEST_AUTH_WAIT;
    let mut silent = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    assert!(silent.session.next_wake() <= Some(late));
    assert_eq!(silent.session.tick(late).unwrap_err().close_code().0, 4401);
    let mut stage = authenticated(GuestRights::Write);
    stage.hear("09").unwrap();
    // A second document is no exception.
    stage.hear("016403").unwrap();
    assert_eq!(stage.session.tick(late).unwrap_err().close_code().0, 4401);
}

#[test]
fn an_update_before_the_first_step_is_left_to_the_answer_to_it() {
    let mut stage = authenticated(GuestRights::Write);
    assert_eq!(stage.hear(&named(&format!("00020f{UPDATE}"))).unwrap(), []);
}

#[test]
fn what_is_no_room_is_denied() {
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    assert_eq!(stage.hear(&format!("0153{TOKEN}")).unwrap(), []);
    assert!(stage.sent()[0].starts_with("01530201"));
}
