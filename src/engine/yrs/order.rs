//! The order of the elements of sequences, as a tree, and which neighbours a block may name. Layer 1, pure.
//!
//! Every element is a child of its left origin, and a sequence is its tree read root first. yrs sorts siblings by what
//! they name as right neighbour and by writer (the conflict resolution of Yjs, after YATA), which gives the same order
//! at all replicas if a new element lies between neighbours that were adjacent when it was written. An author can lie
//! about that. Nobody can see what the author saw, but this much follows for elements `left` and `right` that were ever
//! adjacent:
//!
//! 1. `left` lies before `right`;
//! 2. `right` was put behind `left` or behind something before that: else what it was put behind lay between them.
//!
//! So honest blocks pass. The two rules depend on nothing but what `left` and `right` build on, so all replicas judge
//! alike. That they are enough is not proved; `tests/engine/neighbours.rs` searches for a case they miss. A reason to
//! believe it: by them `right` is a sibling of the new element or lies behind all its siblings, so every element is
//! placed among its siblings alone, and all elements below one sibling stay together.
//!
//! A run (each element behind the one before it, all of one writer) is one node. Ancestors are found in logarithmic
//! time by jump pointers (Myers, "An applicative random-access stack", 1983), since the depth is up to the author.

use std::{cmp::Ordering, collections::BTreeMap};

/// The node of a run.
pub(super) type NodeId = u32;

/// No node: of a map entry, for one.
pub(super) const UNORDERED: NodeId = u32::MAX;

/// As a child: the next element of the same run. As a parent: the start of a sequence.
const NEXT: NodeId = u32::MAX;

/// An element of a run, by its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) node: NodeId,
    pub(super) clock: u32,
}

impl At {
    /// What elements without left origin are children of.
    pub(super) const fn start_of(sequence: u32) -> Self {
        Self { node: NEXT, clock: sequence }
    }
}

/// An element on the way from another one to its root, and the child by which the way came.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: At,
    /// `None`: it is where the way begins.
    from: Option<NodeId>,
}

#[derive(Debug)]
struct Node {
    writer: u64,
    start: u32,
    /// The left origin, or the start of the sequence.
    parent: At,
    depth: u32,
    /// An ancestor further up, and the node below it on the way.
    jump: (At, NodeId),
}

/// Children of one element, in order. Most have one.
#[derive(Debug)]
enum Children {
    One(NodeId),
    Many(Vec<NodeId>),
}

impl Children {
    fn as_slice(&self) -> &[NodeId] {
        match self {
            Self::One(child) => std::slice::from_ref(child),
            Self::Many(children) => children,
        }
    }
}

/// What decides about the place of an element among its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sibling {
    /// Its writer.
    pub(super) writer: u64,
    /// Its right origin.
    pub(super) right: Option<At>,
}

/// The trees of all sequences of a document.
#[derive(Debug, Default)]
pub(super) struct Order {
    nodes: Vec<Node>,
    /// Of elements that have children other than the next one of their run.
    children: BTreeMap<At, Children>,
    /// Nodes there were at the last [`Order::settle`], and what became a child since.
    settled: usize,
    added: Vec<(At, NodeId)>,
}

impl Order {
    /// Adds the run that starts at `start`, without a place among its siblings yet.
    pub(super) fn add(&mut self, writer: u64, start: u32, parent: At) -> NodeId {
        let id = self.nodes.len() as NodeId;
        let (depth, jump) = match self.nodes.get(parent.node as usize) {
            None => (0, (parent, id)),
            Some(above) => {
                let once = above.jump.0.node;
                let depth_of = |node: NodeId| self.nodes.get(node as usize).map_or(0, |node| node.depth);
                let twice = self.nodes.get(once as usize).filter(|_| above.depth > 0).map(|node| node.jump);
                let even = twice.filter(|twice| {
                    twice.0.node != NEXT && above.depth - depth_of(once) == depth_of(once) - depth_of(twice.0.node)
                });
                (above.depth + 1, even.unwrap_or((parent, id)))
            }
        };
        self.nodes.push(Node { writer, start, parent, depth, jump });
        id
    }

    /// Puts the next element of its run among the other children of `parent`.
    pub(super) fn put_next(&mut self, parent: At, look: impl Fn(u64, u32) -> Sibling) {
        self.put(parent, NEXT, true, look);
    }

    /// Puts the run `child` among the children of `parent`. `continued`: the run of `parent` goes on behind it. `look`
    /// tells what decides about an element.
    pub(super) fn put(&mut self, parent: At, child: NodeId, continued: bool, look: impl Fn(u64, u32) -> Sibling) {
        let first = |order: &Self, child: NodeId| {
            if child == NEXT {
                At { node: parent.node, clock: parent.clock + 1 }
            } else {
                At { node: child, clock: order.nodes[child as usize].start }
            }
        };
        let sibling = |order: &Self, child: NodeId| {
            let at = first(order, child);
            look(order.nodes[at.node as usize].writer, at.clock)
        };
        let new = sibling(self, child);
        let mut siblings = match self.children.remove(&parent) {
            Some(Children::One(one)) => vec![one],
            Some(Children::Many(many)) => many,
            None if continued && child != NEXT => vec![NEXT],
            None => Vec::new(),
        };
        let mut place = 0;
        for (index, other) in siblings.iter().enumerate() {
            if new.right == Some(first(self, *other)) {
                break;
            }
            let other = sibling(self, *other);
            if other.writer < new.writer {
                place = index + 1;
            } else if other.right == new.right {
                break;
            }
        }
        siblings.insert(place, child);
        self.added.push((parent, child));
        self.keep(parent, siblings);
    }

    /// Whether the next element of a run must be put among children of `parent`.
    pub(super) fn has_children(&self, parent: At) -> bool {
        self.children.contains_key(&parent)
    }

    fn keep(&mut self, parent: At, siblings: Vec<NodeId>) {
        let children = match siblings[..] {
            [] | [NEXT] => return,
            [one] => Children::One(one),
            _ => Children::Many(siblings),
        };
        self.children.insert(parent, children);
    }

    /// The writer of an element; `None` at the start of a sequence.
    pub(super) fn writer(&self, at: At) -> Option<u64> {
        self.nodes.get(at.node as usize).map(|node| node.writer)
    }

    /// The left origin of an element; `None` at the start of a sequence.
    pub(super) fn origin(&self, at: At) -> Option<At> {
        let node = &self.nodes[at.node as usize];
        if at.clock > node.start {
            return Some(At { clock: at.clock - 1, ..at });
        }
        (node.parent.node != NEXT).then_some(node.parent)
    }

    /// Which of two elements of one sequence comes first.
    pub(super) fn compare(&self, a: At, b: At) -> Ordering {
        let (mut a, mut b) = (Step { at: a, from: None }, Step { at: b, from: None });
        let depth = self.depth(a).min(self.depth(b));
        (a, b) = (self.lift(a, depth), self.lift(b, depth));
        while a.at.node != b.at.node && self.depth(a) > 0 {
            let (far_a, far_b) = (self.jump(a), self.jump(b));
            (a, b) = if far_a.at.node == far_b.at.node { (self.up(a), self.up(b)) } else { (far_a, far_b) };
        }
        if a.at.node != b.at.node {
            let parent = self.nodes[a.at.node as usize].parent;
            return self.among(parent, a.at.node, b.at.node);
        }
        match (a.at.clock.cmp(&b.at.clock), a.from, b.from) {
            (Ordering::Equal, None, None) => Ordering::Equal,
            // A parent comes before its children.
            (Ordering::Equal | Ordering::Less, None, _) => Ordering::Less,
            (Ordering::Equal | Ordering::Greater, _, None) => Ordering::Greater,
            (Ordering::Equal, Some(left), Some(right)) => self.among(a.at, left, right),
            (Ordering::Less, Some(left), _) => self.among(a.at, left, NEXT),
            (Ordering::Greater, _, Some(right)) => self.among(b.at, NEXT, right),
        }
    }

    /// Which of two children of one element comes first.
    fn among(&self, parent: At, a: NodeId, b: NodeId) -> Ordering {
        let children = self.children.get(&parent).map_or(&[][..], Children::as_slice);
        let place = |child: NodeId| children.iter().position(|known| *known == child);
        place(a).cmp(&place(b))
    }

    fn depth(&self, step: Step) -> u32 {
        self.nodes[step.at.node as usize].depth
    }

    fn up(&self, step: Step) -> Step {
        Step { at: self.nodes[step.at.node as usize].parent, from: Some(step.at.node) }
    }

    fn jump(&self, step: Step) -> Step {
        let (at, from) = self.nodes[step.at.node as usize].jump;
        Step { at, from: Some(from) }
    }

    fn lift(&self, mut step: Step, depth: u32) -> Step {
        while self.depth(step) > depth {
            let far = self.jump(step);
            step = if self.depth(far) < depth { self.up(step) } else { far };
        }
        step
    }

    /// Keeps what was added.
    pub(super) fn settle(&mut self) {
        self.settled = self.nodes.len();
        self.added.clear();
    }

    /// Forgets what was added since the last [`Order::settle`].
    pub(super) fn roll_back(&mut self) {
        for (parent, child) in std::mem::take(&mut self.added).into_iter().rev() {
            if let Some(children) = self.children.remove(&parent) {
                let rest = children.as_slice().iter().copied().filter(|known| *known != child).collect();
                self.keep(parent, rest);
            }
        }
        self.nodes.truncate(self.settled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Dice;

    /// A tree of runs of four elements each; `deep`: nearly every run hangs on the one before it.
    fn grown(dice: &mut Dice, runs: u32, deep: bool) -> Order {
        let mut order = Order::default();
        for run in 0..runs {
            let (writer, start) = (dice.below(5), run * 4);
            let near = deep && dice.chance(95);
            let node = if near { run.saturating_sub(1) } else { dice.below(u64::from(run) + 1) as u32 };
            let parent =
                if node == run { At::start_of(0) } else { At { node, clock: node * 4 + dice.below(4) as u32 } };
            let id = order.add(writer, start, parent);
            let continued = node != run && parent.clock % 4 < 3;
            order.put(parent, id, continued, |writer, _| Sibling { writer, right: None });
        }
        order
    }

    /// The sequence, read off the tree.
    fn sequence(order: &Order) -> Vec<At> {
        let (mut sequence, mut due) = (Vec::new(), vec![]);
        let follow = |due: &mut Vec<At>, parent: At| {
            let children = order.children.get(&parent).map_or(&[][..], Children::as_slice);
            let next = At { clock: parent.clock + 1, ..parent };
            let first = |child: NodeId| At { node: child, clock: order.nodes[child as usize].start };
            if children.is_empty() && parent.node != NEXT && parent.clock % 4 < 3 {
                due.push(next);
            }
            due.extend(children.iter().rev().map(|child| if *child == NEXT { next } else { first(*child) }));
        };
        follow(&mut due, At::start_of(0));
        while let Some(at) = due.pop() {
            sequence.push(at);
            follow(&mut due, at);
        }
        sequence
    }

    #[test]
    fn elements_compare_as_they_stand_in_the_sequence() {
        let mut dice = Dice::new(3);
        for (runs, deep) in [(2, false), (40, false), (300, false), (300, true), (3_000, true)] {
            let order = grown(&mut dice, runs, deep);
            let sequence = sequence(&order);
            assert_eq!(sequence.len(), runs as usize * 4);
            for _ in 0..5_000 {
                let (a, b) = (dice.below(sequence.len() as u64) as usize, dice.below(sequence.len() as u64) as usize);
                assert_eq!(order.compare(sequence[a], sequence[b]), a.cmp(&b), "{runs} runs: {a} and {b}");
            }
        }
    }

    #[test]
    fn what_is_rolled_back_leaves_the_rest_as_it_was() {
        let mut dice = Dice::new(4);
        let mut order = grown(&mut dice, 50, false);
        let before = sequence(&order);
        order.settle();
        for run in 50..90 {
            let parent = before[dice.below(before.len() as u64) as usize];
            let id = order.add(2, run * 4, parent);
            order.put(parent, id, parent.clock % 4 < 3, |writer, _| Sibling { writer, right: None });
        }
        assert!(sequence(&order).len() > before.len());
        order.roll_back();
        assert_eq!((sequence(&order), order.nodes.len()), (before, 50));
    }
}
