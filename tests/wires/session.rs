//! What all wires have in common.

use std::time::Duration;

use aepoch::{
    time::Monotonic,
    wires::{GuestRights, Hocuspocus, Told, WireError, WireKind, Word, Yjs},
};
use bytes::Bytes;

use crate::stage::{Stage, document, open};

/// Ticks a session whenever it asks for it, until a time; returns the seconds at which frames left.
fn live(stage: &mut Stage, seconds: u64) -> Result<Vec<(u64, String)>, WireError> {
    let until = Monotonic(0) + Duration::from_secs(seconds);
    let mut sent = Vec::new();
    while let Some(at) = stage.session.next_wake().filter(|at| *at <= until) {
        stage.now = at;
        stage.session.tick(at)?;
        let frames = stage.sent();
        sent.extend(frames.into_iter().map(|frame| (at.0 / 1_000_000, frame)));
    }
    Ok(sent)
}

#[test]
fn a_quiet_client_hears_something_twice_as_often_as_it_has_to_and_is_asked_whether_it_is_there() {
    let mut stage = Stage::new(Yjs::new(document()));
    let sent = live(&mut stage, 60).unwrap();
    assert_eq!(sent[0], (15, "010100".to_owned()));
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 15), "{sent:?}");
    assert!(sent.contains(&(30, "03".to_owned())), "{sent:?}");
    // It answers, and lives.
    stage.hear("010100").unwrap();
    live(&mut stage, 120).unwrap();
    let dead = live(&mut stage, 200).unwrap_err();
    assert_eq!(dead.close_code().0, 4508);
}

#[test]
fn a_word_is_encoded_once_for_all_guests_of_a_wire() {
    let told = Told::new(Some(document()), Word::Update(Bytes::from_static(&[0, 0])));
    let mut frames = Vec::new();
    for _ in 0..3 {
        let mut stage = Stage::new(Yjs::new(document()));
        stage.session.tell(&told, stage.now);
        frames.push(stage.session.poll_transmit().unwrap());
    }
    assert!(frames.windows(2).all(|pair| pair[0].as_ptr() == pair[1].as_ptr()));
    let other = told.frame(WireKind::Hocuspocus, |_| Bytes::from_static(b"other"));
    assert_eq!(&other[..], b"other");
}

#[test]
fn what_was_counted_as_queued_is_reported_as_drained() {
    let mut stage = Stage::new(Yjs::new(document()));
    let told = Told::new(Some(document()), Word::Update(vec![0; 40_000].into()));
    for _ in 0..3 {
        stage.session.tell(&told, stage.now);
    }
    assert!(stage.session.queued_bytes() > 120_000);
    let mut drained = 0;
    while stage.session.poll_transmit().is_some() {
        drained += stage.session.take_drained().unwrap_or(0);
    }
    assert_eq!(drained, 3 * told.cost() as u64);
    // What a wire has no words for counts as well.
    let kept = Told::new(Some(document()), Word::Kept(1));
    for _ in 0..3_000 {
        stage.session.tell(&kept, stage.now);
    }
    assert_eq!(stage.session.take_drained(), Some(3_000 * kept.cost() as u64));
}

#[test]
fn what_a_hocuspocus_socket_was_not_told_of_is_not_sent_to_it() {
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Read), Monotonic(0)));
    assert_eq!(stage.tell(Word::Update(Bytes::from_static(&[0, 0]))), [""; 0]);
}
