//! Goal: silence and stillness are noticed in time and nothing else is. Method: virtual time.

use std::time::Duration;

use aepoch::{
    error::Fault,
    sync::{Capabilities, Lane, Message, Received, Session, SessionError},
    time::Monotonic,
};
use bytes::Bytes;

use super::{MESSAGE, PING, PONG, START, chunks, document, frame, hello, pair, ready};

fn at(millis: u64) -> Monotonic {
    START + Duration::from_millis(millis)
}

fn hear(session: &mut Session, packet: &[u8], now: Monotonic) -> Vec<Received> {
    let mut received = Vec::new();
    session.receive(Bytes::copy_from_slice(packet), now, &mut received).unwrap();
    received
}

fn any_packet() -> Vec<u8> {
    frame(MESSAGE, &postcard::to_allocvec(&Message::Leave { document: document("a") }).unwrap())
}

fn timeout(during: &'static str, seconds: u64) -> Result<(), SessionError> {
    Err(SessionError::Timeout { during, waited: Duration::from_secs(seconds) })
}

#[test]
fn a_handshake_has_five_seconds() {
    let mut session = Session::new(hello("own", 1, Capabilities::LZ4), START);
    assert_eq!(session.next_wake(), Some(at(5_000)));
    assert_eq!(session.tick(at(4_999)), Ok(()));
    let late = session.tick(at(5_000));
    assert_eq!(late, timeout("the handshake", 5));
    let error = late.unwrap_err();
    assert_eq!((error.close_code().0, error.fault(), error.is_retryable()), (4_508, Fault::Environment, true));
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut session = ready();
    assert_eq!(session.next_wake(), Some(at(15_000)));
    session.tick(at(14_999)).unwrap();
    assert_eq!(session.poll_transmit(), None);
    session.tick(at(15_000)).unwrap();
    assert_eq!(session.poll_transmit().unwrap(), frame(PING, &0_u64.to_be_bytes()));
    assert_eq!(session.next_wake(), Some(at(45_000)));
    session.tick(at(44_999)).unwrap();
    assert_eq!(session.tick(at(45_000)), timeout("the session", 45));
}

#[test]
fn any_packet_keeps_a_peer_alive() {
    let mut session = ready();
    for second in 1..200 {
        hear(&mut session, &any_packet(), at(second * 40_000));
        session.tick(at(second * 40_000)).unwrap();
    }
}

#[test]
fn the_answer_to_a_ping_gives_the_round_trip_time() {
    let (mut asking, mut answering) = pair(Capabilities::LZ4, Capabilities::LZ4);
    assert_eq!(asking.rtt(), None);
    asking.tick(at(15_000)).unwrap();
    let ping = asking.poll_transmit().unwrap();
    assert_eq!(hear(&mut answering, &ping, at(15_060)), []);
    let pong = answering.poll_transmit().unwrap();
    let rtt = Duration::from_millis(120);
    assert_eq!(hear(&mut asking, &pong, at(15_120)), [Received::Pong { rtt }]);
    assert_eq!(asking.rtt(), Some(rtt));
    assert_eq!(hear(&mut asking, &pong, at(16_000)), [], "answered once");
}

#[test]
fn an_answer_nobody_asked_for_is_ignored() {
    let mut session = ready();
    session.ping(START);
    assert_eq!(hear(&mut session, &frame(PONG, &77_u64.to_be_bytes()), at(10)), []);
    assert_eq!(session.rtt(), None);
    assert_eq!(hear(&mut session, &frame(PONG, &0_u64.to_be_bytes()), at(20)).len(), 1);
}

#[test]
fn a_busy_connection_is_measured_every_thirty_seconds() {
    let mut session = ready();
    let mut pings = Vec::new();
    for second in 1..=100 {
        hear(&mut session, &any_packet(), at(second * 1_000));
        session.tick(at(second * 1_000)).unwrap();
        while let Some(packet) = session.poll_transmit() {
            pings.push(second);
            // Every other answer is lost: that must not end the measuring.
            if pings.len() % 2 == 0 {
                hear(&mut session, &[&[PONG], &packet[1..]].concat(), at(second * 1_000 + 5));
            }
        }
    }
    assert_eq!(pings, [30, 60, 90]);
    assert_eq!(session.rtt(), Some(Duration::from_millis(5)));
}

#[test]
fn a_message_that_stands_still_ends_the_session() {
    let mut session = ready();
    let whole = frame(MESSAGE, &vec![0; 1_000]);
    let pieces = chunks(Lane::Low, &whole, 400);
    hear(&mut session, &pieces[0], at(0));
    hear(&mut session, &pieces[1], at(29_000));
    // Other packets keep the peer alive, not the message.
    hear(&mut session, &any_packet(), at(58_000));
    session.tick(at(58_999)).unwrap();
    assert_eq!(session.next_wake(), Some(at(59_000)));
    assert_eq!(session.tick(at(59_000)), timeout("a message in chunks", 30));
}

#[test]
fn a_wake_moves_on_with_every_tick() {
    let mut session = ready();
    let mut now = START;
    for _ in 0..1_000 {
        let wake = session.next_wake().unwrap();
        assert!(wake > now, "a driver that ticks when asked would spin");
        now = wake;
        hear(&mut session, &any_packet(), now);
        session.tick(now).unwrap();
    }
}
