//! Which neighbours a block may name. yrs orders a sequence by what its blocks name as left and right neighbour, and
//! converges only if these were adjacent when the block was written; a hostile author may name any two. What is accepted
//! must have one order, whatever the order of arrival, and no honest edit may be refused.
//!
//! Random bytes hardly ever hit this, so the blocks are built: a few writers, neighbours drawn from all that is there.

use aepoch::{
    engine::{EngineError, EngineKind},
    time::Dice,
};
use bytes::Bytes;

use crate::support::*;

/// An element: its writer and its clock.
type Id = (u64, u64);

/// A block of hostile text.
#[derive(Debug, Clone)]
struct Block {
    writer: u64,
    clock: u64,
    left: Option<Id>,
    right: Option<Id>,
    chars: String,
}

impl Block {
    fn encode(&self) -> Vec<u8> {
        let info = 4 | if self.left.is_some() { 0x80 } else { 0 } | if self.right.is_some() { 0x40 } else { 0 };
        let mut bytes = vec![1, 1, self.writer as u8, self.clock as u8, info];
        for (writer, clock) in [self.left, self.right].into_iter().flatten() {
            bytes.extend([writer as u8, clock as u8]);
        }
        if info == 4 {
            bytes.extend([1, 1, b't']);
        }
        bytes.push(self.chars.len() as u8);
        bytes.extend(self.chars.bytes());
        bytes.push(0);
        bytes
    }

    fn elements(&self) -> impl Iterator<Item = Id> {
        let (writer, from) = (self.writer, self.clock);
        (0..self.chars.len() as u64).map(move |at| (writer, from + at))
    }

    /// Everything that must be known before it can be applied.
    fn needs(&self) -> impl Iterator<Item = Id> {
        let before = self.clock.checked_sub(1).map(|clock| (self.writer, clock));
        [self.left, self.right, before].into_iter().flatten()
    }
}

/// Blocks by several writers with neighbours drawn from all there is; each was accepted after those before it.
struct Story {
    blocks: Vec<Block>,
    text: String,
    refused: usize,
}

fn story(dice: &mut Dice, writers: u64, len: usize) -> Story {
    let mut peer = Peer::new(EngineKind::Yrs, 99);
    let (mut blocks, mut elements) = (Vec::<Block>::new(), Vec::<Id>::new());
    let mut refused = 0;
    while blocks.len() < len && refused < 200 {
        let writer = 1 + dice.below(writers);
        let clock = elements.iter().filter(|(known, _)| *known == writer).count() as u64;
        let neighbour = |dice: &mut Dice| elements.get(dice.below(elements.len() as u64 + 1) as usize).copied();
        let (left, right) = (neighbour(dice), neighbour(dice));
        let start = b'a' + elements.len() as u8;
        let chars = (0..1 + dice.below(3) as u8).map(|at| char::from(start + at)).collect();
        let block = Block { writer, clock, left, right, chars };
        match receive(peer.engine.as_mut(), &block.encode(), None) {
            Ok(_) => {
                elements.extend(block.elements());
                blocks.push(block);
            }
            Err(EngineError::Refused { .. }) => refused += 1,
            Err(error) => panic!("{error} over {block:?}"),
        }
    }
    Story { blocks, text: text_of(peer.engine.as_ref(), "t"), refused }
}

/// Another order in which the blocks can be applied.
fn shuffled(dice: &mut Dice, blocks: &[Block]) -> Vec<Block> {
    let (mut order, mut known, mut rest) = (Vec::new(), Vec::new(), blocks.to_vec());
    while !rest.is_empty() {
        let ready: Vec<usize> = (0..rest.len()).filter(|at| rest[*at].needs().all(|id| known.contains(&id))).collect();
        let block = rest.remove(ready[dice.below(ready.len() as u64) as usize]);
        known.extend(block.elements());
        order.push(block);
    }
    order
}

/// Stories, those that came out in more than one way, and blocks refused on the way.
fn search(seed: u64, stories: usize) -> (usize, Vec<String>, usize) {
    let mut dice = Dice::new(seed);
    let (mut told, mut diverged, mut refused) = (0, Vec::new(), 0);
    for _ in 0..stories {
        let (writers, len) = (2 + dice.below(3), 4 + dice.below(5) as usize);
        let story = story(&mut dice, writers, len);
        refused += story.refused;
        told += 1;
        for _ in 0..8 {
            let mut other = Peer::new(EngineKind::Yrs, 98);
            let order = shuffled(&mut dice, &story.blocks);
            let outcome: Result<Vec<_>, _> =
                order.iter().map(|block| receive(other.engine.as_mut(), &block.encode(), None)).collect();
            let text = outcome.map(|_| text_of(other.engine.as_ref(), "t")).unwrap_or_else(|error| error.to_string());
            if text != story.text {
                diverged.push(format!("{text} instead of {}: {order:?}", story.text));
                break;
            }
        }
    }
    (told, diverged, refused)
}

#[test]
fn accepted_blocks_have_one_order_whatever_neighbours_they_name() {
    let (told, diverged, refused) = search(1, 1_500);
    assert!(refused > told, "{refused} blocks refused in {told} stories: they are not hostile enough");
    assert!(diverged.is_empty(), "{} of {told} diverge: {}", diverged.len(), diverged[0]);
}

/// Replicas type at the same few places at once, hear of each other late, delete, and go on at the seams.
fn honest_swarm(dice: &mut Dice) {
    let mut peers: Vec<Peer> = (1..=4).map(|number| Peer::new(EngineKind::Yrs, number)).collect();
    for _ in 0..30 {
        let (from, to) = (dice.below(4) as usize, dice.below(4) as usize);
        if dice.chance(25) && from != to {
            let delta = peers[from].engine.delta_since(&peers[to].engine.frontier(), None).unwrap();
            if !delta.is_empty() {
                peers[to].hear(&[delta]);
            }
            continue;
        }
        let peer = &mut peers[from];
        let len = text_of(peer.engine.as_ref(), "t").chars().count();
        let at = dice.below(len as u64 + 1).min(dice.below(6)) as usize;
        let op = match dice.below(4) {
            0 if at < len => erase("t", at..(at + 2).min(len)),
            1 => push("l", &[serde_json::json!(at)]),
            _ => write("t", Some(at), ["x", "yz", "é"][dice.below(3) as usize]),
        };
        peer.commit(&[op]);
    }
    let everything: Vec<Bytes> = peers.iter().map(|peer| peer.engine.snapshot()).collect();
    for peer in &mut peers {
        peer.hear(&everything);
    }
    let loaded = peers[0].reload(50);
    for peer in &peers {
        assert_eq!(peer.content(), loaded.content());
    }
}

#[test]
fn honest_edits_are_never_refused_however_concurrent() {
    let mut dice = Dice::new(7);
    for _ in 0..400 {
        honest_swarm(&mut dice);
    }
}
