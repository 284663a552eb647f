//! Goal: the bytes on the wire never change by accident. Method: `tests/vectors/wire` holds them as hexadecimal text;
//! every vector is encoded and decoded, and every file there is a vector.
//!
//! When a format changes on purpose the test prints the new bytes, to be put into the file by hand, beside the version
//! of the protocol that they belong to.

use std::{collections::BTreeSet, fs, path::PathBuf};

use aepoch::sync::{Capabilities, ErrorCode, Lane, Message, Received, Role, Session};
use bytes::Bytes;

use super::{COMPRESSED, START, encode, frame, hello, messages, pair, ready, receive, samples};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire")
}

/// The bytes in a file: pairs of hexadecimal digits; white space and lines that start with `#` do not count.
fn read(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap_or_default();
    let digits: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).unwrap_or_else(|| panic!("{name}: `{character}` is no digit")))
        .collect();
    assert!(digits.len().is_multiple_of(2), "{name}: half a byte");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn plain_packet(message: &Message) -> Bytes {
    let (mut sender, _) = pair(Capabilities::default(), Capabilities::default());
    sender.send(encode(message, Lane::Normal));
    sender.poll_transmit().unwrap()
}

fn full_hello() -> aepoch::sync::Hello {
    let capabilities = Capabilities::LZ4.with(Capabilities::FORWARDING).with(Capabilities::DURABLE);
    aepoch::sync::Hello { role: Role::Relay, ..hello("relay-1", 0x0012_3456_789a_bcde, capabilities) }
}

/// The message whose compressed and chunked forms are pinned.
fn repetitive() -> Message {
    Message::Error { document: None, code: ErrorCode::Refused, reason: "refused ".repeat(100) }
}

/// What this build sends, by the name of its vector.
fn sent() -> Vec<(String, Bytes)> {
    let mut vectors = vec![("hello".to_owned(), Session::new(full_hello(), START).poll_transmit().unwrap())];
    for (name, message) in samples::all() {
        vectors.push((format!("message_{name}"), plain_packet(&message)));
    }
    let mut pinging = ready();
    pinging.ping(START);
    let ping = pinging.poll_transmit().unwrap();
    let mut answering = ready();
    receive(&mut answering, ping.clone()).unwrap();
    vectors.push(("ping".to_owned(), ping));
    vectors.push(("pong".to_owned(), answering.poll_transmit().unwrap()));
    vectors
}

/// Vectors that are read but not compared with what this build sends: how an encoder compresses and cuts is its own
/// business.
const READ_ONLY: [&str; 2] = ["compressed", "chunks"];

#[test]
fn what_is_sent_is_what_the_vectors_say() {
    let changed: Vec<String> = sent()
        .into_iter()
        .filter(|(name, packet)| read(name) != *packet)
        .map(|(name, packet)| format!("{name}.hex should hold\n{}", hex(&packet)))
        .collect();
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

#[test]
fn every_message_is_read_from_its_vector() {
    for (name, message) in samples::all() {
        let received = receive(&mut ready(), read(&format!("message_{name}"))).unwrap();
        assert_eq!(received, [Received::Message(message)], "{name}");
    }
}

#[test]
fn hello_is_read_from_its_vector() {
    let mut session = Session::new(hello("left", 1, Capabilities::default()), START);
    assert_eq!(receive(&mut session, read("hello")).unwrap(), [Received::Ready(full_hello())]);
}

#[test]
fn compressed_and_cut_messages_are_read_from_their_vectors() {
    for name in READ_ONLY {
        let received = receive(&mut ready(), read(name)).map(messages);
        // Printed so that a new vector can be written by hand.
        let payload = postcard::to_allocvec(&repetitive()).unwrap();
        let block = [super::leb128(payload.len()), lz4_flex::block::compress(&payload)].concat();
        let compressed = frame(COMPRESSED, &block);
        let cut: Vec<u8> = super::chunks(Lane::Low, &compressed, 20).concat();
        assert_eq!(received, Ok(vec![repetitive()]), "compressed\n{}\nchunks\n{}", hex(&compressed), hex(&cut));
    }
}

#[test]
fn every_file_is_a_vector_in_use() {
    let names = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = names.collect();
    let used = sent().into_iter().map(|(name, _)| name).chain(READ_ONLY.map(str::to_owned));
    let used: BTreeSet<String> = used.map(|name| format!("{name}.hex")).collect();
    assert_eq!(files, used);
}
