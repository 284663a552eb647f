//! Goal: everything arrives, in order within its lane, the urgent first and the rest not starved. Method: two sessions
//! back to back, packets handed over one at a time.

use std::collections::VecDeque;

use aepoch::{
    limits,
    sync::{Address, Capabilities, Lane, Message, Session},
    time::Dice,
};
use bytes::Bytes;

use super::{START, agent, document, encode, hello, messages, pair, receive};

fn app(lane: Lane, number: u64, padding: usize) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + padding, b'.');
    Message::App { from: agent("left"), to: Address::All, lane, body: body.into() }
}

/// Bytes that LZ4 does not make smaller.
fn noise(len: usize) -> Bytes {
    let mut dice = Dice::new(1);
    (0..len.div_ceil(8)).flat_map(|_| dice.bits().to_be_bytes()).take(len).collect::<Vec<u8>>().into()
}

fn snapshot(len: usize) -> Message {
    Message::Delta { document: document("band/stage"), delta: noise(len) }
}

#[test]
fn a_critical_message_waits_for_one_chunk_of_a_snapshot_at_most() {
    let (mut sender, mut receiver) = pair(Capabilities::LZ4, Capabilities::LZ4);
    let bulk = snapshot(5_000_000);
    sender.send(encode(&bulk, Lane::Low));
    let mut arrived = Vec::new();
    let mut packets = 0;
    let mut waited_most = 0;
    let mut waiting_since = None;
    while let Some(packet) = sender.poll_transmit() {
        packets += 1;
        assert!(packet.len() <= limits::CHUNK_BYTES);
        for message in messages(receive(&mut receiver, packet).unwrap()) {
            if matches!(message, Message::App { .. }) {
                waited_most = waited_most.max(packets - waiting_since.take().unwrap());
            }
            arrived.push(message);
        }
        if packets % 7 == 0 && waiting_since.is_none() {
            sender.send(encode(&app(Lane::Critical, packets, 0), Lane::Critical));
            waiting_since = Some(packets);
        }
    }
    assert!(packets > 5_000_000 / limits::CHUNK_BYTES as u64);
    assert!(waited_most <= 2, "a critical message left in packet {waited_most} after it was queued");
    assert!(arrived.len() > 40);
    assert!(arrived.contains(&bulk), "the snapshot itself arrives whole");
}

#[test]
fn the_lowest_lane_gets_through_a_flood_on_every_lane_above() {
    let (mut sender, mut receiver) = pair(Capabilities::default(), Capabilities::default());
    let bulk = snapshot(500_000);
    sender.send(encode(&bulk, Lane::Low));
    let mut sent = 0;
    loop {
        for lane in [Lane::Critical, Lane::High, Lane::Normal] {
            sender.send(encode(&app(lane, 0, 5_000), lane));
        }
        let packet = sender.poll_transmit().unwrap();
        sent += packet.len();
        if messages(receive(&mut receiver, packet).unwrap()).contains(&bulk) {
            break;
        }
        // A ninth of what is above it, and a tenth more for rounding.
        assert!(sent < 500_000 * 10, "{sent} bytes went before the snapshot");
    }
    assert!(sent > 500_000 * 4, "{sent}: it overtook what was above it");
}

#[test]
fn everything_arrives_in_order_within_its_lane() {
    for (left, right) in [(1, 1), (1, 0), (0, 0)] {
        let (mut one, mut two) = pair(Capabilities(left), Capabilities(right));
        let mut dice = Dice::new(7);
        let mut expected: [[VecDeque<Message>; 4]; 2] = Default::default();
        for round in 0..2_000 {
            for (side, session) in [&mut one, &mut two].into_iter().enumerate() {
                let lane = Lane::ALL[dice.below(4) as usize];
                let padding = if dice.chance(5) { dice.below(100_000) } else { dice.below(900) };
                let message = app(lane, round, padding as usize);
                session.send(encode(&message, lane));
                expected[side][lane as usize].push_back(message);
            }
            let packets = dice.below(12);
            hand_over(&mut one, &mut two, packets, &mut expected[0]);
            hand_over(&mut two, &mut one, packets, &mut expected[1]);
        }
        hand_over(&mut one, &mut two, u64::MAX, &mut expected[0]);
        hand_over(&mut two, &mut one, u64::MAX, &mut expected[1]);
        assert!(expected.iter().flatten().all(VecDeque::is_empty), "something did not arrive");
    }
}

fn hand_over(from: &mut Session, to: &mut Session, packets: u64, expected: &mut [VecDeque<Message>; 4]) {
    for _ in 0..packets {
        let Some(packet) = from.poll_transmit() else { return };
        for message in messages(receive(to, packet).unwrap()) {
            let Message::App { lane, .. } = &message else { panic!("{message:?} was not sent") };
            assert_eq!(expected[*lane as usize].pop_front().as_ref(), Some(&message));
        }
    }
}

#[test]
fn readers_share_the_bytes_of_one_encoded_message() {
    let encoded = encode(&app(Lane::High, 1, 300), Lane::High);
    let packets = [(); 3].map(|()| {
        let (mut session, _) = pair(Capabilities::LZ4, Capabilities::LZ4);
        session.send(encoded.clone());
        session.poll_transmit().unwrap()
    });
    assert!(packets.iter().all(|packet| packet.as_ptr() == packets[0].as_ptr()));
    assert_eq!(packets[0].len(), encoded.len());
}

#[test]
fn what_is_sent_before_the_handshake_goes_out_after_it() {
    let mut early = Session::new(hello("early", 1, Capabilities::LZ4), START);
    let mut late = Session::new(hello("late", 2, Capabilities::LZ4), START);
    let compressible = app(Lane::High, 1, 5_000);
    early.send(encode(&compressible, Lane::High));
    assert_eq!(early.queued_bytes(), encode(&compressible, Lane::High).len());
    receive(&mut late, early.poll_transmit().unwrap()).unwrap();
    assert_eq!(early.poll_transmit(), None, "nothing but Hello before the peer's");
    receive(&mut early, late.poll_transmit().unwrap()).unwrap();
    let packet = early.poll_transmit().unwrap();
    assert!(packet.len() < 1_000, "it is compressed for this peer");
    assert_eq!(messages(receive(&mut late, packet).unwrap()), [compressible]);
}

#[test]
fn drained_bytes_add_up_to_what_was_sent_whatever_the_peer_understands() {
    for capabilities in [Capabilities::LZ4, Capabilities::default()] {
        let (mut sender, _) = pair(Capabilities::LZ4, capabilities);
        let queue = [app(Lane::Low, 1, 200_000), snapshot(100_000), app(Lane::High, 2, 10)];
        let mut outstanding = 0;
        for message in &queue {
            let encoded = encode(message, Lane::Low);
            outstanding += encoded.len() as u64;
            sender.send(encoded);
        }
        let mut reports = 0;
        while sender.poll_transmit().is_some() {
            assert!(sender.queued_bytes() > 0 || sender.has_drained());
            if let Some(bytes) = sender.take_drained() {
                outstanding -= bytes;
                reports += 1;
            }
        }
        assert_eq!(outstanding, 0, "the rest is reported when a long queue runs empty");
        assert!((2..=4).contains(&reports), "{reports} reports for 100 kB");
        assert_eq!(sender.queued_bytes(), 0);
    }
}

#[test]
fn a_short_queue_is_not_worth_a_report() {
    let (mut sender, _) = pair(Capabilities::default(), Capabilities::default());
    let encoded = encode(&app(Lane::High, 1, 1_000), Lane::High);
    let mut sent = 0;
    while sender.take_drained().is_none() {
        sender.send(encoded.clone());
        sent += encoded.len();
        sender.poll_transmit().unwrap();
        assert!(sent <= 33 * 1_024 + 1_000, "{sent} bytes and no report");
    }
    assert!(sent >= 32 * 1_024, "reported after {sent} bytes");
}

#[test]
fn the_steps_of_reports_can_be_made_smaller() {
    let (left, right) = (hello("left", 1, Capabilities::default()), hello("right", 2, Capabilities::default()));
    let mut sender = Session::new(left, START).reporting_every(2_000);
    receive(&mut sender, Session::new(right, START).poll_transmit().unwrap()).unwrap();
    let _ = sender.poll_transmit();
    let encoded = encode(&snapshot(1_200), Lane::High);
    let reports = [(); 4].map(|()| {
        sender.send(encoded.clone());
        sender.poll_transmit().unwrap();
        sender.take_drained()
    });
    let both = Some(2 * encoded.len() as u64);
    assert_eq!(reports, [None, both, None, both]);
}
