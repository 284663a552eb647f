//! Goal: two sessions agree on what both can do, or part. Method: introductions of every kind.

use aepoch::{
    error::Fault,
    limits,
    sync::{Capabilities, Hello, Lane, Message, Received, Session, SessionError},
};

use super::{
    COMPRESSED, HELLO, MESSAGE, START, chunks, document, encode, frame, hello, leb128, messages, pair, receive,
};

fn meet(ours: (u16, u16), theirs: (u16, u16)) -> Result<u16, SessionError> {
    let peer = Hello { versions: theirs, ..hello("peer", 2, Capabilities::default()) };
    let mut session = Session::new(Hello { versions: ours, ..hello("own", 1, Capabilities::default()) }, START);
    receive(&mut session, Session::new(peer, START).poll_transmit().unwrap())?;
    Ok(session.negotiated().unwrap().version)
}

#[test]
fn the_highest_version_both_speak_is_used() {
    assert_eq!(meet((1, 1), (1, 1)), Ok(1));
    assert_eq!(meet((1, 4), (2, 3)), Ok(3));
    assert_eq!(meet((2, 3), (1, 9)), Ok(3));
}

#[test]
fn sessions_without_a_common_version_part() {
    for (ours, theirs) in [((1, 1), (2, 3)), ((5, 6), (1, 4)), ((1, 5), (4, 2))] {
        let error = meet(ours, theirs).unwrap_err();
        assert_eq!(error, SessionError::Version { ours, theirs });
        assert_eq!((error.close_code().0, error.is_retryable()), (4_406, false));
        assert_eq!(error.fault(), Fault::Peer);
    }
}

#[test]
fn capabilities_are_those_of_both_and_unknown_ones_are_nobodys() {
    let mut session = Session::new(hello("own", 1, Capabilities::LZ4.with(Capabilities::DURABLE)), START);
    let theirs = Capabilities(0xff00).with(Capabilities::LZ4).with(Capabilities::FORWARDING);
    let peer = hello("peer", 2, theirs);
    assert_eq!((session.peer(), session.negotiated()), (None, None));
    let received = receive(&mut session, Session::new(peer.clone(), START).poll_transmit().unwrap()).unwrap();
    assert_eq!(received, [Received::Ready(peer.clone())]);
    assert_eq!(session.peer(), Some(&peer));
    assert_eq!(session.negotiated().unwrap().capabilities, Capabilities::LZ4);
}

#[test]
fn nothing_is_compressed_unless_both_can_inflate_it() {
    let leave = Message::Leave { document: document("a") };
    let payload = postcard::to_allocvec(&leave).unwrap();
    let compressed = frame(COMPRESSED, &[leb128(payload.len()), lz4_flex::block::compress(&payload)].concat());
    let compressible = Message::Delta { document: document("a"), delta: vec![0; 5_000].into() };
    let cut: Vec<u8> = chunks(Lane::Low, &compressed, 6).concat();
    for (one, two) in [(0, 1), (1, 0), (1, 1)] {
        let both = (one, two) == (1, 1);
        for packet in [&compressed, &cut] {
            let (mut left, mut right) = pair(Capabilities(one), Capabilities(two));
            left.send(encode(&compressible, Lane::High));
            assert_eq!(left.poll_transmit().unwrap().len() < 1_000, both);
            let read = receive(&mut right, packet.clone()).map(messages);
            assert_eq!(read.ok(), both.then(|| vec![leave.clone()]));
        }
    }
}

#[test]
fn what_a_later_version_adds_to_hello_is_skipped() {
    let peer = hello("peer", 2, Capabilities::LZ4);
    let longer = [postcard::to_allocvec(&peer).unwrap(), vec![9; 100]].concat();
    let mut session = Session::new(hello("own", 1, Capabilities::LZ4), START);
    assert_eq!(receive(&mut session, frame(HELLO, &longer)).unwrap(), [Received::Ready(peer)]);
}

#[test]
fn hello_and_what_follows_may_share_a_packet() {
    let peer = hello("peer", 2, Capabilities::LZ4);
    let leave = Message::Leave { document: document("a") };
    let packet =
        [frame(HELLO, &postcard::to_allocvec(&peer).unwrap()), frame(MESSAGE, &postcard::to_allocvec(&leave).unwrap())];
    let mut session = Session::new(hello("own", 1, Capabilities::LZ4), START);
    let received = receive(&mut session, packet.concat()).unwrap();
    assert_eq!(received, [Received::Ready(peer), Received::Message(leave)]);
}

#[test]
fn nothing_but_hello_is_taken_before_hello_and_none_after() {
    let greeting = frame(HELLO, &postcard::to_allocvec(&hello("peer", 2, Capabilities::LZ4)).unwrap());
    let new = || Session::new(hello("own", 1, Capabilities::LZ4), START);
    for kind in 1..=5 {
        let error = receive(&mut new(), frame(kind, &[0; 8])).unwrap_err();
        assert!(error.to_string().contains("came before Hello"), "{error}");
        assert_eq!(error.close_code().0, 4_400);
    }
    let mut session = new();
    receive(&mut session, greeting.clone()).unwrap();
    assert!(receive(&mut session, greeting).unwrap_err().to_string().contains("a second Hello"));
    let large = vec![0; limits::HELLO_BYTES + 1];
    let refused = SessionError::TooLarge {
        what: "a packet before the handshake is done",
        size: large.len(),
        max: limits::HELLO_BYTES,
    };
    assert_eq!(receive(&mut new(), large), Err(refused));
}
