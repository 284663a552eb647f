//! Replicas that have received the same deltas show the same, whatever the order, duplication and splitting.

use aepoch::{
    document::{DocumentError, Resolver},
    engine::EngineKind,
    id::ReplicaId,
};
use bytes::Bytes;
use proptest::prelude::*;

use crate::peer::{Peer, halves, kinds};

const PEERS: usize = 4;

#[derive(Debug, Clone)]
enum Act {
    Register { key: u8, value: u8 },
    Clear { key: u8 },
    Add { key: u8, amount: i8 },
    Put { key: u8, value: u8 },
    Remove { key: u8 },
    Push { value: u8 },
    Type { at: u8 },
    Both { key: u8, value: u8 },
    Shrink,
}

#[derive(Debug, Clone)]
enum Step {
    /// A replica writes; the delta goes into everybody's mail, in halves or whole.
    Write { peer: usize, act: Act, split: bool },
    /// A replica takes one piece of its mail, wherever it lies; it may stay there as a duplicate.
    Deliver { peer: usize, pick: usize, again: bool },
    /// A replica brings another up to date.
    Sync { from: usize, to: usize },
    /// A replica sends another what it wrote itself, to be taken in now or later.
    Own { from: usize, to: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3_u8, any::<u8>()).prop_map(|(key, value)| Act::Register { key, value }),
        1 => (0..3_u8).prop_map(|key| Act::Clear { key }),
        2 => (0..2_u8, any::<i8>()).prop_map(|(key, amount)| Act::Add { key, amount }),
        2 => (0..3_u8, any::<u8>()).prop_map(|(key, value)| Act::Put { key, value }),
        1 => (0..3_u8).prop_map(|key| Act::Remove { key }),
        2 => any::<u8>().prop_map(|value| Act::Push { value }),
        1 => any::<u8>().prop_map(|at| Act::Type { at }),
        3 => (0..3_u8, any::<u8>()).prop_map(|(key, value)| Act::Both { key, value }),
        1 => Just(Act::Shrink),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PEERS, act(), any::<bool>()).prop_map(|(peer, act, split)| Step::Write { peer, act, split }),
        8 => (0..PEERS, any::<usize>(), any::<bool>())
            .prop_map(|(peer, pick, again)| Step::Deliver { peer, pick, again }),
        1 => (0..PEERS, 0..PEERS).prop_map(|(from, to)| Step::Sync { from, to }),
        1 => (0..PEERS, 0..PEERS).prop_map(|(from, to)| Step::Own { from, to }),
    ]
}

fn perform(peer: &Peer, act: &Act) -> Vec<Bytes> {
    if matches!(act, Act::Shrink) {
        let shrunk = peer.document.borrow_mut().shrink_dominated(peer.wall_ms.get()).unwrap();
        return shrunk.into_iter().map(|commit| commit.delta.encode().unwrap()).collect();
    }
    let commit = peer.commit(|tx| -> Result<(), DocumentError> {
        match act {
            Act::Register { key, value } => tx.register(&format!("r{key}")).set(value),
            Act::Clear { key } => tx.register::<u8>(&format!("r{key}")).clear(),
            Act::Add { key, amount } => tx.counter(&format!("c{key}")).add(i64::from(*amount)),
            Act::Put { key, value } => tx.map("m").put(&key.to_string(), value),
            Act::Remove { key } => tx.map::<u8>("m").remove(&key.to_string()),
            Act::Push { value } => tx.list("l").push(value),
            Act::Type { at } => {
                let len = tx.text("t").len()?;
                tx.text("t").insert(usize::from(*at) % (len + 1), "é")
            }
            Act::Both { key, value } => {
                let own = format!("r{key}-{}", tx.document().replica());
                tx.register(&own).set(value)?;
                tx.map("m").put(&own, value)
            }
            Act::Shrink => Ok(()),
        }
    });
    if commit.delta.is_empty() { Vec::new() } else { vec![commit.delta.encode().unwrap()] }
}

/// What `Act::Both` writes together must never be seen apart.
fn check_together(peer: &Peer) {
    let document = peer.document.borrow();
    for writer in (1..=PEERS as u64).map(ReplicaId::from_bits) {
        for name in (0..3).map(|key| format!("r{key}-{writer}")) {
            let record = document.register(&name, &Resolver::LastWriterWins);
            assert_eq!(document.content().map_get("m", &name).unwrap(), record, "{name}");
        }
    }
}

fn run(kind: EngineKind, steps: &[Step]) {
    let peers: [Peer; PEERS] = Peer::several(kind);
    let mut mail: [Vec<Bytes>; PEERS] = Default::default();
    for step in steps {
        match step {
            Step::Write { peer, act, split } => {
                for delta in perform(&peers[*peer], act) {
                    let (records, content) = halves(&delta);
                    for (_, inbox) in mail.iter_mut().enumerate().filter(|(other, _)| other != peer) {
                        if *split {
                            inbox.extend([content.clone(), records.clone()]);
                        } else {
                            inbox.push(delta.clone());
                        }
                    }
                }
            }
            Step::Deliver { peer, pick, again } => {
                let inbox = &mut mail[*peer];
                if !inbox.is_empty() {
                    let index = pick % inbox.len();
                    let delta = if *again { inbox[index].clone() } else { inbox.remove(index) };
                    peers[*peer].receive(&[delta]);
                }
            }
            Step::Sync { from, to } => {
                if from != to {
                    peers[*from].sync_to(&peers[*to]);
                }
            }
            Step::Own { from, to } => {
                let delta = peers[*from].own(&peers[*to]);
                if !delta.is_empty() {
                    mail[*to].push(delta.encode().unwrap());
                }
            }
        }
        peers.iter().for_each(check_together);
    }
    for (peer, inbox) in peers.iter().zip(&mail) {
        peer.receive(inbox);
    }
    // A delta may have been dropped from a full waiting room: two rounds through one replica bring everything.
    for _ in 0..2 {
        for peer in &peers[1..] {
            peer.sync_to(&peers[0]);
        }
        for peer in &peers[1..] {
            peers[0].sync_to(peer);
        }
    }
    let first = peers[0].document.borrow().root_digest().unwrap();
    for peer in &peers[1..] {
        assert_eq!(peers[0].render(), peer.render());
        assert_eq!(peer.document.borrow().root_digest().unwrap(), first);
        assert_eq!(peer.document.borrow().version(), peers[0].document.borrow().version());
        assert!(peers[0].lacking(peer).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_whatever_the_order_of_delivery(steps in prop::collection::vec(step(), 1..60)) {
        for kind in kinds() {
            run(kind, &steps);
        }
    }
}
