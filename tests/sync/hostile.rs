//! Goal: no bytes of a peer make a session panic, hang or hold memory beyond its limits. Method: packets made to break
//! it, then random mutations of honest ones.

use aepoch::{
    limits,
    sync::{Capabilities, Lane, Message, Received, Session, SessionError},
    time::Dice,
};

use super::{
    CHUNK, COMPRESSED, HELLO, LAST, MESSAGE, PING, START, chunks, document, encode, frame, hello, leb128, pair, ready,
    receive, samples,
};

fn refusal(packet: &[u8]) -> String {
    receive(&mut ready(), packet.to_vec()).unwrap_err().to_string()
}

#[test]
fn garbage_is_refused_with_a_reason() {
    assert!(refusal(&[]).contains("a packet is empty"));
    assert!(refusal(&[8, 0]).contains("frame kind 8 is unknown"));
    assert!(refusal(&[0xff; 100]).contains("frame kind 255 is unknown"));
    assert!(refusal(&[MESSAGE]).contains("cut short"));
    assert!(refusal(&[MESSAGE, 5, 1]).contains("a frame of 5 bytes is declared, 1 are left"));
    assert!(refusal(&[MESSAGE, 0]).contains("cannot be read"));
    assert!(refusal(&frame(MESSAGE, &[11])).contains("cannot be read"), "an unknown message");
    assert!(refusal(&frame(MESSAGE, &[1, 1, b'a', 0])).contains("is followed by 1 bytes"));
    assert!(refusal(&frame(MESSAGE, &[1, 1, b'A'])).contains("cannot be read"), "a name in capitals");
    assert!(refusal(&frame(PING, &[0; 7])).contains("a ping is of 7 bytes, it has 8"));
    assert!(refusal(&frame(CHUNK, &[])).contains("names no lane"));
    assert!(refusal(&frame(CHUNK, &[LAST])).contains("a chunk is empty"));
    assert!(refusal(&frame(COMPRESSED, &[])).contains("cut short"));
    assert!(refusal(&frame(HELLO, &[1, 1])).contains("a second Hello"));
}

#[test]
fn what_came_before_the_offence_is_still_handed_up() {
    let leave = Message::Leave { document: document("a") };
    let packet = [frame(MESSAGE, &postcard::to_allocvec(&leave).unwrap()), vec![0xff]].concat();
    let mut received = Vec::new();
    assert!(ready().receive(packet.into(), START, &mut received).is_err());
    assert_eq!(received, [Received::Message(leave)]);
}

#[test]
fn truncation_anywhere_is_refused() {
    for (name, message) in samples::all() {
        let (mut sender, _) = pair(Capabilities::default(), Capabilities::default());
        sender.send(encode(&message, Lane::High));
        let packet = sender.poll_transmit().unwrap();
        for len in 0..packet.len() {
            assert!(receive(&mut ready(), packet.slice(..len)).is_err(), "{name} cut to {len}");
            // The frame says what is left, the message in it does not.
            let shorter = frame(MESSAGE, &packet[2..len.max(2)]);
            assert!(receive(&mut ready(), shorter).is_err(), "{name} shortened to {len}");
        }
    }
}

#[test]
fn declared_lengths_allocate_nothing() {
    let huge = leb128(usize::try_from(u32::MAX).unwrap());
    let documents = [1, b'a'];
    let prefix = |variant: u8, rest: &[u8]| [&[variant], &documents[..], rest].concat();
    let bodies = [
        prefix(3, &huge),                                   // a delta
        prefix(5, &huge),                                   // presence entries
        prefix(8, &[&[0, 0], &huge[..]].concat()),          // digest lines
        prefix(2, &huge),                                   // a version vector
        prefix(2, &[&[0, 0], &huge[..]].concat()),          // an engine's frontier
        prefix(0, &[&[0, 0, 0, 0], &huge[..]].concat()),    // prefixes
        prefix(0, &[&[0, 0, 0, 0, 1], &huge[..]].concat()), // a prefix
    ];
    for body in bodies {
        assert!(refusal(&frame(MESSAGE, &body)).contains("cannot be read"), "{body:?}");
    }
    let chunk = [&[Lane::Low as u8, MESSAGE], &huge[..], &[0]].concat();
    assert!(refusal(&frame(CHUNK, &chunk)).contains("a message in chunks of 4294967295 is over"));
}

#[test]
fn an_endless_message_in_chunks_is_refused_at_its_first_piece_or_at_its_declared_end() {
    for lane in Lane::ALL {
        let max = if lane == Lane::Low { limits::BULK_BYTES } else { limits::MESSAGE_BYTES };
        let first = |declared: usize| frame(CHUNK, &[&[lane as u8, MESSAGE], &leb128(declared)[..], &[0; 10]].concat());
        let error = receive(&mut ready(), first(max + 1)).unwrap_err();
        assert_eq!(error, SessionError::TooLarge { what: "a message in chunks", size: max + 1, max });

        let mut session = ready();
        receive(&mut session, first(100_000)).unwrap();
        let endless = frame(CHUNK, &[&[lane as u8][..], &[0; 1_000]].concat());
        let refused = (1..).find(|_| receive(&mut session, endless.clone()).is_err());
        assert_eq!(refused, Some(100));
    }
}

#[test]
fn a_zip_bomb_is_refused() {
    let bomb = |len: usize| {
        let block = lz4_flex::block::compress(&vec![0; len]);
        frame(COMPRESSED, &[leb128(len), block].concat())
    };
    let whole = bomb(1_000_000);
    assert!(whole.len() < limits::CHUNK_BYTES);
    // Within bounds it is inflated, and is no message.
    assert!(refusal(&whole).contains("cannot be read"));
    for lane in [Lane::Critical, Lane::Low] {
        let max = if lane == Lane::Low { limits::BULK_BYTES } else { limits::MESSAGE_BYTES };
        let mut session = ready();
        let packets = chunks(lane, &bomb(max + 1), 16_000);
        let refused = packets.into_iter().find_map(|packet| receive(&mut session, packet).err());
        assert_eq!(refused, Some(SessionError::TooLarge { what: "an inflated message", size: max + 1, max }));
    }
    // A declared size that its bytes cannot reach.
    let lie = frame(COMPRESSED, &[&leb128(1_000_000)[..], &[0; 100]].concat());
    assert!(refusal(&lie).contains("an inflated message of 1000000 is over the limit of 25500"));
}

#[test]
fn a_flood_of_pings_is_answered_once() {
    let mut session = ready();
    for token in 0..10_000_u64 {
        receive(&mut session, frame(PING, &token.to_be_bytes())).unwrap();
    }
    let answer = session.poll_transmit().unwrap();
    assert_eq!(answer, frame(super::PONG, &9_999_u64.to_be_bytes()), "the newest, for the best estimate");
    assert_eq!(session.poll_transmit(), None);
}

/// Honest packets: a handshake, every message whole, compressed and in chunks, pings.
fn honest() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for capabilities in [Capabilities::LZ4, Capabilities::default()] {
        let (mut sender, _) = pair(capabilities, capabilities);
        for (_, message) in samples::all() {
            sender.send(encode(&message, Lane::High));
            packets.extend(sender.poll_transmit().map(Vec::from));
            packets.extend(chunks(Lane::Low, packets.last().unwrap(), 30));
        }
        let text = "the same again and again, ".repeat(1_500);
        sender.send(encode(&Message::Delta { document: document("a"), delta: text.into() }, Lane::Low));
        sender.ping(START);
        packets.extend(std::iter::from_fn(|| sender.poll_transmit()).map(Vec::from));
    }
    packets
}

fn mutate(packet: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let position = dice.below(packet.len() as u64 + 1) as usize;
    match dice.below(6) {
        0 => packet.truncate(position),
        1 => packet.extend_from_slice(&other[..other.len().min(position)]),
        2 => packet.splice(position..position, [0xff; 4]).for_each(drop),
        3 => packet.splice(position..position, dice.bits().to_be_bytes()).for_each(drop),
        _ => {
            if let Some(byte) = packet.get_mut(position) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

#[test]
fn random_mutations_of_honest_packets_never_panic() {
    let honest = honest();
    let mut dice = Dice::new(0xae90c4);
    let pick = |dice: &mut Dice| honest[dice.below(honest.len() as u64) as usize].clone();
    let (mut refused, mut taken) = (0, 0);
    for round in 0..20_000 {
        // One in four meets a session before its handshake.
        let mut session =
            if round % 4 == 0 { Session::new(hello("own", 1, Capabilities::LZ4), START) } else { ready() };
        for _ in 0..1 + dice.below(4) {
            let mut packet = if round % 4 == 0 {
                Session::new(hello("peer", 2, Capabilities::LZ4), START).poll_transmit().unwrap().to_vec()
            } else {
                pick(&mut dice)
            };
            let other = pick(&mut dice);
            for _ in 0..dice.below(4) {
                mutate(&mut packet, &other, &mut dice);
            }
            match receive(&mut session, packet) {
                Err(error) => {
                    assert_ne!(error.close_code().0, 4_508);
                    refused += 1;
                    break;
                }
                Ok(received) => {
                    taken += received.len();
                    for received in received {
                        if let Received::Message(message) = received {
                            assert_eq!(message.check(), Ok(()), "a message beyond its bounds was handed up");
                        }
                    }
                }
            }
        }
    }
    // Both happen often, or the mutations are too weak or too strong to show anything.
    assert!(refused > 2_000 && taken > 2_000, "{refused} refused, {taken} taken");
}
