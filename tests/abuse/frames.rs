//! Bytes below the level of messages: WebSocket fragments, frames, chunks, compression. Case numbers are those of the
//! threat model.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use aepoch::{error::CloseCode, limits, sync::Lane};

use crate::{attacker::Attacker, honest::Honest, relay::Relay};

const MESSAGE: u8 = 1;
const COMPRESSED: u8 = 2;
const CHUNK: u8 = 3;
/// Marks the last chunk of a message.
const LAST: u8 = 0x80;
/// Opcodes of RFC 6455, section 5.2.
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
/// What an attacker offers on one connection: far more than a relay may take of it.
const OFFERED_BYTES: usize = 64 * 1024 * 1024;

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind], &leb128(payload.len())[..], payload].concat()
}

/// A message in chunks of one lane; the last bears this mark.
fn chunks(lane: Lane, whole: &[u8], mark: u8) -> Vec<Vec<u8>> {
    let mut pieces = whole.chunks(16_000).peekable();
    let piece = || {
        let piece = pieces.next()?;
        let mark = if pieces.peek().is_none() { mark } else { 0 };
        Some(frame(CHUNK, &[&[lane as u8 | mark], piece].concat()))
    };
    std::iter::from_fn(piece).collect()
}

/// A socket on which a WebSocket has been agreed.
pub(crate) fn upgraded(relay: &Relay) -> TcpStream {
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    let request = format!(
        "GET /v1/sync HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: aepoch.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        relay.address()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A WebSocket frame that is not the last of its message, masked with zeros.
fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let length = if length < 126 { vec![0x80 | length as u8] } else { [&[0xfe], &length.to_be_bytes()[..]].concat() };
    [&[opcode], &length[..], &[0; 4], payload].concat()
}

/// Sends `again` over and over, until the relay hangs up.
fn is_cut_off(mut stream: TcpStream, first: &[u8], again: &[u8]) {
    let mut offered = 0;
    let mut sent = stream.write_all(first);
    while sent.is_ok() {
        assert!(offered < OFFERED_BYTES, "the relay took {offered} bytes and wants more");
        offered += again.len();
        sent = stream.write_all(again);
    }
}

/// Case 35: one WebSocket message in fragments without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_endless_fragments_is_cut_off() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let flat = relay.flat();
    for _ in 0..32 {
        let stream = upgraded(&relay);
        let piece = [7; 16_000];
        tokio::task::spawn_blocking(move || {
            is_cut_off(stream, &fragment(BINARY, &piece), &fragment(CONTINUATION, &piece));
        })
        .await
        .unwrap();
    }
    honest.go_on().await;
    flat.check("32 messages in endless fragments");
}

/// Case 35: fragments without content never make up a message too large; the deadline of the handshake ends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_without_content_end_with_the_handshakes_deadline() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let flat = relay.flat();
    let mut attacks = Vec::new();
    for _ in 0..8 {
        let mut stream = upgraded(&relay);
        attacks.push(tokio::task::spawn_blocking(move || {
            let nothing = fragment(CONTINUATION, &[]);
            let mut sent = stream.write_all(&fragment(BINARY, &[1]));
            while sent.is_ok() {
                sent = stream.write_all(&nothing.repeat(100));
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }));
    }
    honest.go_on().await;
    for attack in attacks {
        tokio::time::timeout(crate::relay::PATIENCE, attack).await.expect("cut off").unwrap();
    }
    honest.go_on().await;
    flat.check("fragments without content");
}

/// Case 35, one level up: a message of ours in chunks that does not end where it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_endless_chunks_is_cut_off() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let flat = relay.flat();
    for lane in Lane::ALL {
        let first = |declared: usize| [&[MESSAGE], &leb128(declared)[..], &[0; 1_000]].concat();
        let declared = limits::MESSAGE_BYTES;
        let endless = chunks(lane, &[first(declared), vec![0; declared + 100_000]].concat(), 0);
        let attacker = Attacker::connect(&relay).await;
        assert_eq!(attacker.hung_up_on(endless).await, Some(CloseCode::PROTOCOL), "lane {lane:?}");
        let attacker = Attacker::connect(&relay).await;
        let huge = chunks(lane, &first(1 << 31), 0);
        assert_eq!(attacker.hung_up_on(huge).await, Some(CloseCode::TOO_LARGE), "lane {lane:?}");
        honest.go_on().await;
    }
    flat.check("messages in endless chunks");
}

/// Case 36.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zip_bombs_are_refused_before_they_are_inflated() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let bomb = |len: usize| {
        let block = lz4_flex::block::compress(&vec![0; len]);
        frame(COMPRESSED, &[leb128(len), block].concat())
    };
    let lie = |declared: usize| frame(COMPRESSED, &[&leb128(declared)[..], &[0; 100]].concat());
    let too_large = chunks(Lane::Low, &bomb(limits::BULK_BYTES + 1), LAST);
    let flat = relay.flat();
    for _ in 0..50 {
        for packets in [vec![lie(1 << 31)], vec![lie(1_000_000)], too_large.clone()] {
            let attacker = Attacker::connect(&relay).await;
            assert_eq!(attacker.hung_up_on(packets).await, Some(CloseCode::TOO_LARGE));
        }
        // Within bounds it is inflated, and is no message.
        let attacker = Attacker::connect(&relay).await;
        assert_eq!(attacker.hung_up_on([bomb(1_000_000)]).await, Some(CloseCode::PROTOCOL));
    }
    honest.go_on().await;
    flat.check("200 zip bombs");
}

/// Case 46: lengths and counts of 2^31, wherever the protocol has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_lengths_are_not_believed() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let huge = leb128(1 << 31);
    let in_document = |variant: u8, rest: &[u8]| frame(MESSAGE, &[&[variant, 1, b'a'], rest].concat());
    let packets = [
        [&[MESSAGE], &huge[..]].concat(),
        [&[CHUNK], &huge[..]].concat(),
        in_document(0, &[&[0, 0, 0, 0], &huge[..]].concat()), // prefixes of a subscription
        in_document(2, &huge),                                // a version vector
        in_document(3, &huge),                                // a delta
        in_document(5, &huge),                                // presence entries
        in_document(8, &[&[0], &huge[..]].concat()),          // digest lines
    ];
    let flat = relay.flat();
    for _ in 0..20 {
        for packet in packets.clone() {
            let attacker = Attacker::connect(&relay).await;
            let code = attacker.hung_up_on([packet.clone()]).await;
            assert_eq!(code, Some(CloseCode::PROTOCOL), "{packet:?}");
        }
    }
    honest.go_on().await;
    flat.check("lengths of 2^31");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_break_the_protocol_end_their_own_connection_only() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let packets: [Vec<u8>; 6] = [
        vec![0xff; 100],
        vec![1, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0, 4, 1, 2, 3, 4],
        vec![2, 6, 0xff, 0xff, 0xff, 0x7f, 1, 2],
        vec![3, 2, 0x7f, 0],
        vec![0; 60_000],
    ];
    for packet in packets {
        // As the first packet, and after the handshake.
        let mut stream = upgraded(&relay);
        let (mut header, length) = (vec![0x80 | BINARY], u16::try_from(packet.len()).unwrap());
        header.extend(if length < 126 {
            vec![0x80 | length as u8]
        } else {
            [&[0xfe], &length.to_be_bytes()[..]].concat()
        });
        stream.write_all(&[&header[..], &[0; 4], &packet].concat()).unwrap();
        let hung_up = tokio::task::spawn_blocking(move || std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
        // A reset is as good as an end.
        let _ = tokio::time::timeout(crate::relay::PATIENCE, hung_up).await.expect("the relay hangs up").unwrap();
        assert!(Attacker::connect(&relay).await.hung_up_on([packet]).await.is_some());
        honest.go_on().await;
    }
}
