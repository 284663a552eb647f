//! Messages: encoding with compression, and a session taking packets. `cargo bench --bench message`
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement that cannot go on ends here; the macros write no docs"
)]

use std::hint::black_box;

use aepoch::{
    id::{AgentId, DocumentId, Identity, ReplicaId},
    sync::{Capabilities, Encoded, Hello, Lane, Message, Role, Session},
    time::Monotonic,
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

fn session(name: &str, replica: u64) -> Session {
    let identity =
        Identity { agent: AgentId::new(name).unwrap(), replica: ReplicaId::from_bits(replica), incarnation: 1 };
    Session::new(Hello::new(identity, Role::Agent, Capabilities::LZ4), Monotonic(0))
}

fn connected() -> (Session, Session) {
    let (mut one, mut other) = (session("one", 1), session("other", 2));
    let mut received = Vec::new();
    one.receive(other.poll_transmit().unwrap(), Monotonic(0), &mut received).unwrap();
    other.receive(one.poll_transmit().unwrap(), Monotonic(0), &mut received).unwrap();
    (one, other)
}

/// A delta of that many bytes that compresses as agents' state does.
fn message(bytes: usize) -> Message {
    let state = |number: u32| json!({ "agent": number % 40, "status": "working", "step": number * 7_919, "x": 0.25 });
    let mut body: String = (0..).map(|number| state(number).to_string()).take(bytes / 50 + 1).collect();
    body.truncate(bytes);
    Message::Delta { document: DocumentId::new("bench/message").unwrap(), delta: Bytes::from(body) }
}

fn messages(criterion: &mut Criterion) {
    for bytes in [100, 1_000, 16_000, 1_000_000] {
        let message = message(bytes);
        let mut group = criterion.benchmark_group(format!("message/{bytes} bytes"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| Encoded::new(black_box(&message), Lane::High).unwrap());
        });
        let encoded = Encoded::new(&message, Lane::High).unwrap();
        let (mut sender, mut receiver) = connected();
        let mut received = Vec::new();
        group.bench_function("send and receive", |bencher| {
            bencher.iter(|| {
                sender.send(encoded.clone());
                while let Some(packet) = sender.poll_transmit() {
                    receiver.receive(packet, Monotonic(0), &mut received).unwrap();
                }
                let _ = sender.take_drained();
                received.drain(..).count()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
