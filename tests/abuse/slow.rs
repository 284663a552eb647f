//! Case 50: connections that say nothing, or say it so slowly that they never come to an end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{
    frames::upgraded,
    honest::{Honest, eventually},
    relay::{PATIENCE, Relay},
};

/// Connections of each kind.
const EACH: usize = 20;

/// Says `words` one after the other, with pauses, until the relay hangs up.
fn is_reaped(mut stream: TcpStream, words: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut words = words.iter();
    loop {
        let mut answer = [0; 1024];
        match stream.read(&mut answer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        if let Some(word) = words.next()
            && stream.write_all(&[*word]).is_err()
        {
            return;
        }
    }
}

async fn all_are_reaped(relay: &Relay, connect: impl Fn(&Relay) -> TcpStream, words: &'static [u8]) {
    let mut honest = Honest::new(relay).await;
    let attacks: Vec<_> = (0..EACH)
        .map(|_| {
            let stream = connect(relay);
            tokio::task::spawn_blocking(move || is_reaped(stream, words))
        })
        .collect();
    honest.go_on().await;
    for attack in attacks {
        tokio::time::timeout(PATIENCE, attack).await.expect("the relay hangs up").unwrap();
    }
    honest.go_on().await;
    eventually("only the honest are left", || relay.metric("aepoch_connections") == 2).await;
}

fn silent(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.address()).unwrap()
}

fn asked(relay: &Relay) -> TcpStream {
    let mut stream = silent(relay);
    write!(stream, "GET /health HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
    stream
}

/// A line of a header that never ends.
const ENDLESS: &[u8] = b"GET /v1/sync HTTP/1.1\r\nHost: relay\r\nX-Slow: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_reaped() {
    all_are_reaped(&Relay::serve(&[]), silent, b"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_byte_by_byte_are_reaped() {
    all_are_reaped(&Relay::serve(&[]), silent, ENDLESS).await;
}

/// Empty lines before a request are ignored, and are no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_lines_are_no_request() {
    all_are_reaped(&Relay::serve(&[]), silent, b"\r\n\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_answered_and_ask_no_more_are_reaped() {
    all_are_reaped(&Relay::serve(&[]), asked, b"").await;
}

/// The first question is asked at once, the second never comes to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_requests_that_come_byte_by_byte_are_reaped() {
    all_are_reaped(&Relay::serve(&[]), asked, ENDLESS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_that_say_nothing_are_reaped() {
    all_are_reaped(&Relay::serve(&[]), upgraded, b"").await;
}

/// A frame of 100 bytes, of which ten come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_is_reaped() {
    all_are_reaped(&Relay::serve(&[]), upgraded, b"\x82\xe4\0\0\0\0\0\x62\x01\x01\x01\x01\x01\x01\x01\x01").await;
}
