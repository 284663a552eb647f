//! Which frame goes next. Layer 3, pure.
//!
//! The highest lane goes first. A lane that waits earns one byte for every [`SHARE`] bytes that lanes above it send;
//! once it has earned the next piece of its own, that piece goes out of turn. No more than [`CHUNK_BYTES`] do so in a
//! row, so a frame of the highest lane waits for one chunk at most, whatever the lanes below are owed.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    frame::{Kind, put_header},
    message::Lane,
    reassembly::LAST,
};
use crate::limits::CHUNK_BYTES;

/// A waiting lane gets at least one byte for this many of the lanes above it.
const SHARE: usize = 8;
/// No lane is owed more than two of the largest pieces: a debt is for sharing, not for bursts.
const DEBT_MAX: usize = 2 * SHARE * CHUNK_BYTES;
/// Of a chunk frame: its kind, its length (14 bits in two bytes) and its flags.
const CHUNK_HEADER_BYTES: usize = 4;
/// Bytes of a message in one chunk, so that the chunk's frame is of `CHUNK_BYTES`.
const PIECE_BYTES: usize = CHUNK_BYTES - CHUNK_HEADER_BYTES;

#[derive(Debug)]
struct Waiting {
    frame: Bytes,
    /// What of it counts and has not yet been counted as drained.
    cost: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Waiting>,
    /// How much of the first frame has left, in chunks.
    sent: usize,
    /// Bytes of lanes above that went by while this one waited, less `SHARE` times what it got for them.
    passed: usize,
}

impl Queue {
    /// The first frame, when it goes whole.
    fn whole(&self) -> Option<&Bytes> {
        self.frames.front().map(|first| &first.frame).filter(|frame| frame.len() <= CHUNK_BYTES)
    }

    /// Bytes of the next piece; `None` when nothing waits.
    fn next_bytes(&self) -> Option<usize> {
        let first = self.frames.front()?;
        Some(if self.whole().is_some() { first.frame.len() } else { (first.frame.len() - self.sent).min(PIECE_BYTES) })
    }

    /// Bytes of the next piece, when it has been earned.
    fn owed(&self) -> Option<usize> {
        self.next_bytes().filter(|bytes| self.passed >= SHARE * bytes)
    }
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    lane: usize,
    out_of_turn: bool,
}

/// A packet, and what it takes off the counts that [`Scheduler::push`] was given.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Bytes,
    pub(super) drained: usize,
}

/// Frames waiting to be sent on one connection.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    lanes: [Queue; Lane::ALL.len()],
    queued: usize,
    /// Bytes sent out of turn since something was sent in turn.
    out_of_turn: usize,
}

impl Scheduler {
    /// Queues a frame that counts as `cost` bytes.
    pub(super) fn push(&mut self, lane: Lane, frame: Bytes, cost: usize) {
        self.queued += frame.len();
        self.lanes[lane as usize].frames.push_back(Waiting { frame, cost });
    }

    /// Bytes waiting.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The next packet. Small frames travel together; one alone travels in the very bytes it shares with other
    /// connections.
    pub(super) fn next_packet(&mut self) -> Option<Packet> {
        let turn = self.turn()?;
        if self.lanes[turn.lane].whole().is_none() {
            return self.take_chunk(turn);
        }
        let first = self.take_whole(turn)?;
        let mut drained = first.cost;
        let mut together: Option<BytesMut> = None;
        let mut len = first.frame.len();
        while let Some(turn) = self.turn() {
            let fits = self.lanes[turn.lane].whole().is_some_and(|frame| len + frame.len() <= CHUNK_BYTES);
            let Some(next) = fits.then(|| self.take_whole(turn)).flatten() else { break };
            len += next.frame.len();
            drained += next.cost;
            let packet = together.get_or_insert_with(|| {
                let mut packet = BytesMut::with_capacity(len);
                packet.put_slice(&first.frame);
                packet
            });
            packet.put_slice(&next.frame);
        }
        Some(Packet { bytes: together.map_or(first.frame, BytesMut::freeze), drained })
    }

    fn turn(&self) -> Option<Turn> {
        let highest = self.lanes.iter().position(|queue| !queue.frames.is_empty())?;
        let below = highest + 1;
        let goes = |queue: &Queue| queue.owed().is_some_and(|bytes| self.out_of_turn + bytes <= CHUNK_BYTES);
        Some(match self.lanes[below..].iter().position(goes) {
            Some(offset) => Turn { lane: below + offset, out_of_turn: true },
            None => Turn { lane: highest, out_of_turn: false },
        })
    }

    fn account(&mut self, turn: Turn, bytes: usize) {
        self.queued -= bytes;
        self.out_of_turn = if turn.out_of_turn { self.out_of_turn + bytes } else { 0 };
        let queue = &mut self.lanes[turn.lane];
        // In its own turn nothing above it waits: it is owed nothing.
        queue.passed =
            if turn.out_of_turn && !queue.frames.is_empty() { queue.passed.saturating_sub(SHARE * bytes) } else { 0 };
        for below in &mut self.lanes[turn.lane + 1..] {
            below.passed = if below.frames.is_empty() { 0 } else { (below.passed + bytes).min(DEBT_MAX) };
        }
    }

    fn take_whole(&mut self, turn: Turn) -> Option<Waiting> {
        let waiting = self.lanes[turn.lane].frames.pop_front()?;
        self.account(turn, waiting.frame.len());
        Some(waiting)
    }

    /// A piece of a large frame: cut only now, so that what waits is shared and not copied.
    fn take_chunk(&mut self, turn: Turn) -> Option<Packet> {
        let queue = &mut self.lanes[turn.lane];
        let first = queue.frames.front_mut()?;
        let end = first.frame.len().min(queue.sent + PIECE_BYTES);
        let piece = first.frame.slice(queue.sent..end);
        let last = end == first.frame.len();
        // Compressed or not, the message has counted in full when its last piece leaves.
        let drained = if last { first.cost } else { piece.len().min(first.cost) };
        first.cost -= drained;
        queue.sent = if last { 0 } else { end };
        if last {
            queue.frames.pop_front();
        }
        self.account(turn, piece.len());
        let mut packet = BytesMut::with_capacity(CHUNK_HEADER_BYTES + piece.len());
        put_header(&mut packet, Kind::Chunk, piece.len() + 1);
        packet.put_u8(turn.lane as u8 | if last { LAST } else { 0 });
        packet.put_slice(&piece);
        Some(Packet { bytes: packet.freeze(), drained })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::frame::encode;

    /// A frame of exactly `len` bytes.
    fn frame(len: usize) -> Bytes {
        let header = if len <= CHUNK_BYTES { 3 } else { 4 };
        let frame = encode(Kind::Message, &vec![0; len - header]);
        assert_eq!(frame.len(), len);
        frame
    }

    fn push(scheduler: &mut Scheduler, lane: Lane, frame: &Bytes) {
        scheduler.push(lane, frame.clone(), frame.len());
    }

    #[test]
    fn a_frame_is_cut_only_when_it_does_not_fit_and_every_packet_fits() {
        let mut scheduler = Scheduler::default();
        push(&mut scheduler, Lane::Low, &frame(CHUNK_BYTES));
        assert_eq!(scheduler.next_packet().unwrap().bytes[0], Kind::Message as u8);
        let large = frame(CHUNK_BYTES + 4);
        push(&mut scheduler, Lane::Low, &large);
        let sizes: Vec<usize> =
            std::iter::from_fn(|| scheduler.next_packet()).map(|packet| packet.bytes.len()).collect();
        assert_eq!(sizes, [CHUNK_BYTES, 1 + 1 + 1 + 8]);
    }

    #[test]
    fn a_critical_frame_waits_for_one_piece_however_much_is_owed_below() {
        let mut scheduler = Scheduler::default();
        for lane in [Lane::High, Lane::Normal, Lane::Low] {
            push(&mut scheduler, lane, &frame(1_000_000));
        }
        // A flood until all three lanes below are owed a chunk at the same moment.
        for _ in 0..SHARE {
            push(&mut scheduler, Lane::Critical, &frame(CHUNK_BYTES));
        }
        let kinds: Vec<u8> = (0..SHARE).map(|_| scheduler.next_packet().unwrap().bytes[0]).collect();
        assert_eq!(kinds, [Kind::Message as u8; SHARE]);
        assert!(scheduler.lanes[1..].iter().all(|queue| queue.owed().is_some()));
        push(&mut scheduler, Lane::Critical, &frame(200));
        assert_eq!(scheduler.next_packet().unwrap().bytes[0], Kind::Chunk as u8);
        assert_eq!(scheduler.next_packet().unwrap().bytes.len(), 200);
    }

    /// Bytes per lane while none is ever empty, with frames of the given sizes on the highest lane and below.
    fn shares(highest: usize, below: usize) -> [usize; 4] {
        let mut scheduler = Scheduler::default();
        let mut sent = [0; 4];
        while sent[0] < 4_000_000 {
            for lane in Lane::ALL {
                while scheduler.lanes[lane as usize].frames.len() < 2 {
                    push(&mut scheduler, lane, &frame(if lane == Lane::Critical { highest } else { below }));
                }
            }
            let turn = scheduler.turn().unwrap();
            let before = scheduler.queued();
            if scheduler.lanes[turn.lane].whole().is_some() {
                scheduler.take_whole(turn).unwrap();
            } else {
                scheduler.take_chunk(turn).unwrap();
            }
            sent[turn.lane] += before - scheduler.queued();
        }
        sent
    }

    #[test]
    fn a_flood_above_leaves_every_lane_below_its_share_whatever_the_size_of_frames() {
        for (highest, below) in [(131, 131), (5_000, 5_000), (100_000, 100_000), (131, 100_000), (100_000, 131)] {
            let sent = shares(highest, below);
            for lane in 1..4 {
                // Within a tenth: the next piece has to be earned before it goes.
                assert!(sent[lane] * SHARE * 10 >= sent[0] * 9, "{highest} over {below}: {sent:?}");
            }
            assert!(sent[0] > sent[1] + sent[2] + sent[3], "{highest} over {below}: {sent:?}");
        }
    }

    #[test]
    fn an_idle_lane_saves_nothing_up() {
        let mut scheduler = Scheduler::default();
        for _ in 0..100 {
            push(&mut scheduler, Lane::Critical, &frame(CHUNK_BYTES));
            scheduler.next_packet().unwrap();
        }
        push(&mut scheduler, Lane::Low, &frame(200));
        push(&mut scheduler, Lane::Critical, &frame(CHUNK_BYTES));
        assert_eq!(scheduler.next_packet().unwrap().bytes.len(), CHUNK_BYTES);
    }

    #[test]
    fn small_frames_share_a_packet_and_one_alone_keeps_its_bytes() {
        let mut scheduler = Scheduler::default();
        let shared = frame(200);
        push(&mut scheduler, Lane::High, &shared);
        assert_eq!(scheduler.next_packet().unwrap().bytes.as_ptr(), shared.as_ptr());
        for _ in 0..100 {
            push(&mut scheduler, Lane::High, &shared);
        }
        let packets: Vec<(usize, usize)> =
            std::iter::from_fn(|| scheduler.next_packet()).map(|packet| (packet.bytes.len(), packet.drained)).collect();
        assert_eq!(packets, [(16_200, 16_200), (3_800, 3_800)]);
        assert_eq!(scheduler.queued(), 0);
    }

    #[test]
    fn what_counts_drains_in_full_whatever_the_size_of_the_frame() {
        for (bytes, cost) in [(100_000, 40_000), (40_000, 100_000), (500, 200)] {
            let mut scheduler = Scheduler::default();
            scheduler.push(Lane::Low, frame(bytes), cost);
            let drained: usize = std::iter::from_fn(|| scheduler.next_packet()).map(|packet| packet.drained).sum();
            assert_eq!(drained, cost, "a frame of {bytes}");
        }
    }
}
