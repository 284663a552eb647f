//! Guests with passes: at the gate, and on the wire of Hocuspocus, which shows one for each document.

use std::time::Duration;

use aepoch::{
    limits,
    time::{Moment, Monotonic},
    trust::{credential::CredentialError, pattern::Right},
    wires::{Ask, Entry, Gate, GateError, GuestRights, GuestSession, Hocuspocus, WireError, Yjs},
};
use bytes::Bytes;

use crate::{
    stage::{Stage, document},
    swarm::{NOW, authority, changed, claims, issuer, pass},
};

const START: Moment = Moment { mono: Monotonic(5_000_000), wall_ms: NOW * 1_000 };
const ALL: &[Right] = &[Right::Read, Right::Write, Right::Presence];

fn gate(open: Option<GuestRights>) -> Gate {
    Gate::new(open, Some(authority()), START)
}

fn string(text: &str) -> Vec<u8> {
    let len = text.len();
    let mut bytes = if len < 128 { vec![len as u8] } else { vec![(len & 127) as u8 | 128, (len >> 7) as u8] };
    bytes.extend(text.as_bytes());
    bytes
}

/// The frame of a provider that shows a token for a document.
fn shows(document: &str, token: &str) -> String {
    crate::stage::hex(&[string(document), vec![2, 0], string(token), string("4.8.0")].concat())
}

fn provider() -> Stage {
    let mut stage = Stage::new(Hocuspocus::new(gate(None), START.mono));
    stage.now = START.mono;
    stage
}

fn text(frame: &str) -> String {
    String::from_utf8_lossy(&crate::stage::bytes(frame)).into_owned()
}

#[test]
fn a_pass_says_what_may_be_done_where() {
    let token = pass("alice", &[("band/*", ALL), ("band/notes/*", &[Right::Read]), ("other/**", ALL)]);
    let entry = gate(None).admit(Some(&token), START.mono).unwrap();
    assert_eq!(entry.subject().unwrap().as_str(), "alice");
    let rights = |room: &str| (entry.rights(&room.parse().unwrap()), entry.may_be_seen(&room.parse().unwrap()));
    assert_eq!(rights("band/stage"), (Some(GuestRights::Write), true));
    assert_eq!(rights("band/notes/1"), (Some(GuestRights::Read), false));
    assert_eq!(rights("band/notes/1/2"), (None, false));
    assert_eq!(rights("other/room"), (None, false), "its issuer gives none there");

    let mut blind = claims("alice", &[("band/*", &[Right::Write])]);
    let written = blind.sign("gates", &issuer()).unwrap();
    let entry = gate(None).admit(Some(&written), START.mono).unwrap();
    assert_eq!(entry.rights(&document()), None, "whoever cannot read cannot sync");
    blind.swm.rooms[0].rights = ALL.to_vec();
    blind.swm.rooms[0].keys = Some(["map/a".to_owned()].into());
    let below = blind.sign("gates", &issuer()).unwrap();
    let entry = gate(None).admit(Some(&below), START.mono).unwrap();
    assert_eq!(entry.rights(&document()), Some(GuestRights::Read), "content cannot be written below a path");
}

#[test]
fn who_shows_no_pass_or_a_bad_one_is_told_why() {
    let token = pass("alice", &[("band/*", ALL)]);
    let admit = |gate: &Gate, token| gate.admit(token, START.mono);
    assert_eq!(admit(&gate(None), None), Err(GateError::NoPass));
    assert_eq!(admit(&gate(None), Some("")), Err(GateError::NoPass), "as a provider without a token says it");
    let open = gate(Some(GuestRights::Read));
    assert_eq!(admit(&open, None), Ok(Entry::Open(GuestRights::Read)));
    assert!(matches!(admit(&open, Some("secret")), Err(GateError::Pass(_))), "a bad pass is not as good as none");
    let altered = token.replace('.', "..");
    assert!(matches!(admit(&open, Some(&altered)), Err(GateError::Pass(CredentialError::Token(_)))));
    let late = START.mono + Duration::from_secs(600 + limits::CLOCK_LEEWAY_SECONDS);
    assert!(matches!(gate(None).admit(Some(&token), late), Err(GateError::Pass(CredentialError::Expired { .. }))));

    let nobody = Gate::new(None, None, START);
    assert_eq!(admit(&nobody, Some(&token)), Err(GateError::NoGuests));
    assert_eq!(nobody.may_let_in(), Err(GateError::NoGuests));
    assert_eq!(gate(None).may_let_in(), Ok(()));
    let anybody = Gate::new(Some(GuestRights::Write), None, START);
    assert_eq!(
        admit(&anybody, Some("secret")),
        Ok(Entry::Open(GuestRights::Write)),
        "without a policy it says nothing"
    );
}

#[test]
fn a_provider_shows_a_pass_for_each_document() {
    let mut stage = provider();
    let reads = pass("alice", &[("band/stage", &[Right::Read])]);
    let writes = pass("alice", &[("band/notes", ALL)]);
    let asks = stage.hear(&shows("band/stage", &reads)).unwrap();
    assert!(matches!(&asks[..], [Ask::Enter { document: entered, .. }] if *entered == document()));
    assert!(text(&stage.sent()[0]).ends_with("readonly"));
    stage.hear(&shows("band/notes", &writes)).unwrap();
    assert!(text(&stage.sent()[0]).ends_with("read-write"));

    let asks = stage.hear(&shows("band/other", &writes)).unwrap();
    assert!(matches!(&asks[..], [Ask::Leave { .. }]), "{asks:?}");
    assert!(text(&stage.sent()[0]).ends_with("the pass grants no right to read `band/other`"));
    let bob = pass("bob", &[("band/**", ALL)]);
    stage.hear(&shows("band/bobs", &bob)).unwrap();
    let denied = text(&stage.sent()[0]);
    assert!(
        denied.ends_with("the pass is for `bob`, this connection is `alice`'s: use another connection"),
        "{denied}"
    );

    // A newer one counts instead, and one that does not count ends what the older one allowed.
    let asks = stage.hear(&shows("band/stage", &pass("alice", &[("band/*", ALL)]))).unwrap();
    assert!(matches!(&asks[..], [Ask::Enter { entry, .. }] if entry.rights(&document()) == Some(GuestRights::Write)));
    stage.sent();
    let asks = stage.hear(&shows("band/stage", "stolen")).unwrap();
    assert_eq!(asks, [Ask::Leave { document: document() }]);
    assert!(text(&stage.sent()[0]).contains("the pass was refused"));
}

#[test]
fn what_came_before_a_pass_that_does_not_count_is_forgotten_and_many_of_them_end_the_connection() {
    let mut stage = provider();
    let early = crate::stage::hex(&[string("band/stage"), vec![0, 0, 1, 0]].concat());
    assert_eq!(stage.hear(&early).unwrap(), []);
    stage.hear(&shows("band/stage", "bad")).unwrap();
    let asks = stage.hear(&shows("band/stage", &pass("alice", &[("band/*", ALL)]))).unwrap();
    assert!(matches!(&asks[..], [Ask::Enter { .. }]), "{asks:?}");
    let ended = (1..=limits::GUEST_DENIED).find_map(|_| stage.hear(&shows("band/x", "bad")).err());
    assert!(matches!(ended, Some(WireError::TooLarge { max: limits::GUEST_DENIED, .. })), "{ended:?}");
}

#[test]
fn a_connection_ends_with_the_pass_that_let_it_in() {
    let leeway = limits::CLOCK_LEEWAY_SECONDS;
    let end = START.mono + Duration::from_secs(600 + leeway);
    let before = end.before(Duration::from_millis(1));
    let expired = |session: &mut GuestSession| {
        session.receive(&Bytes::from_static(&[3]), before, &mut Vec::new()).ok();
        assert_eq!(session.tick(before), Ok(()));
        assert!(session.next_wake() <= Some(end));
        let error = session.tick(end).unwrap_err();
        assert!(!error.close_code().is_final(), "the client is to come back with a newer one");
        error
    };
    let entry = gate(None).admit(Some(&pass("alice", &[("band/*", ALL)])), START.mono).unwrap();
    let session = GuestSession::new(Yjs::new(document()), START.mono);
    assert_eq!(expired(&mut session.until(gate(None).end(&entry))), WireError::Expired);

    let mut stage = provider();
    stage.hear(&shows("band/stage", &pass("alice", &[("band/*", ALL)]))).unwrap();
    let mut longer = claims("alice", &[("band/*", ALL)]);
    longer.exp += 600;
    stage.hear(&shows("band/notes", &longer.sign("gates", &issuer()).unwrap())).unwrap();
    assert_eq!(expired(&mut stage.session), WireError::Expired);
}

#[test]
fn passes_are_judged_by_the_newest_policy_the_session_was_given() {
    let mut stage = provider();
    let token = pass("alice", &[("band/*", ALL)]);
    stage.hear(&shows("band/stage", &token)).unwrap();
    stage.session.judge_by(&changed(|policy| policy.revoked = [("alice".parse().unwrap(), NOW)].into()));
    stage.sent();
    stage.hear(&shows("band/notes", &token)).unwrap();
    let denied = text(&stage.sent()[0]);
    assert!(denied.contains("the policy revokes what was issued before"), "{denied}");
}
