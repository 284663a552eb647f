//! Overwriting costs no room: the size of records is bounded by keys times writers.

use crate::peer::{Peer, kinds};

const KEYS: usize = 100;
const WRITES: usize = 200_000;

fn exchange(peers: &[Peer; 5]) {
    for peer in &peers[1..] {
        peer.sync_to(&peers[0]);
    }
    for peer in &peers[1..] {
        peers[0].sync_to(peer);
    }
}

/// As large as ids are in practice: contexts name them.
fn peers() -> [Peer; 5] {
    std::array::from_fn(|index| Peer::new(kinds()[0], (1 << 52) + index as u64))
}

/// Writers write all keys in turns, and meet after every `together` turns: until then, their values are concurrent.
fn overwrite(peers: &[Peer; 5], turns: usize, together: usize) {
    for turn in 0..turns {
        let peer = &peers[turn % peers.len()];
        peer.commit(|tx| {
            (0..KEYS).try_for_each(|key| tx.register(&format!("key-{key}")).set(&format!("value {key} {turn:06}")))
        });
        peer.log.borrow_mut().clear();
        if turn % together == together - 1 {
            exchange(peers);
        }
    }
    exchange(peers);
}

#[test]
fn two_hundred_thousand_overwrites_take_no_more_than_twice_the_room_of_one_write_each() {
    // Records do not touch the engine; one is enough.
    let (once, often) = (peers(), peers());
    overwrite(&once, 5, 1);
    overwrite(&often, WRITES / KEYS, 21);
    let written = often[0].document.borrow().version().records.iter().map(|(_, seq)| seq).sum::<u64>();
    assert_eq!(written, WRITES as u64);
    for peer in &often {
        peer.document.borrow_mut().shrink_dominated(1_000_000).unwrap();
    }
    exchange(&often);
    let (once, often) = (&once[0], &often[0]);
    let (small, large) = (once.snapshot().len(), often.snapshot().len());
    println!("snapshot: {small} bytes written once, {large} bytes overwritten");
    assert!(large <= 2 * small, "{large} bytes against {small}");
    let ((once_count, small), (count, large)) =
        (once.document.borrow().records_held(), often.document.borrow().records_held());
    println!("memory: {small} bytes written once, {large} bytes overwritten");
    assert_eq!((once_count, count), (KEYS * 5, KEYS * 5));
    assert!(large <= 2 * small, "{large} bytes against {small}");
}
