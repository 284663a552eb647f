//! Which frame goes next: four lanes, the highest first, with a minimum share for those below.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    frame::{Kind, put_header},
    message::Lane,
};
use crate::limits::CHUNK_BYTES;

/// A lane that waits gets one chunk for every this many bytes of higher lanes: at least a ninth of the connection.
const STARVED_BYTES: usize = 8 * CHUNK_BYTES;

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// How much of the first frame has left, in chunks.
    sent: usize,
    /// Bytes of higher lanes that went before since this lane last had its turn.
    passed_over: usize,
}

impl Queue {
    /// The first frame is small enough to go whole, and none of it has gone.
    fn whole(&self) -> Option<&Bytes> {
        self.frames.front().filter(|frame| self.sent == 0 && frame.len() <= CHUNK_BYTES)
    }
}

/// Frames waiting to be sent on one connection.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    lanes: [Queue; Lane::ALL.len()],
    queued: usize,
}

impl Scheduler {
    pub(super) fn push(&mut self, lane: Lane, frame: Bytes) {
        self.queued += frame.len();
        self.lanes[lane as usize].frames.push_back(frame);
    }

    /// Bytes waiting.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The lane whose turn it is.
    fn turn(&self) -> Option<usize> {
        let waits = |lane: &usize| !self.lanes[*lane].frames.is_empty();
        let highest = (0..self.lanes.len()).find(waits)?;
        let starved = (highest + 1..self.lanes.len())
            .find(|lane| waits(lane) && self.lanes[*lane].passed_over >= STARVED_BYTES);
        Some(starved.unwrap_or(highest))
    }

    fn account(&mut self, lane: usize, bytes: usize) {
        self.queued -= bytes;
        self.lanes[lane].passed_over = 0;
        for lower in &mut self.lanes[lane + 1..] {
            // An empty lane is owed nothing.
            lower.passed_over = if lower.frames.is_empty() { 0 } else { lower.passed_over + bytes };
        }
    }

    /// The next packet and how many bytes of frames it takes. Small frames travel together; one alone travels in the
    /// very bytes it shares with other connections.
    pub(super) fn next_packet(&mut self) -> Option<(Bytes, usize)> {
        let lane = self.turn()?;
        if self.lanes[lane].whole().is_none() {
            return Some(self.next_chunk(lane));
        }
        let first = self.pop_whole(lane)?;
        let mut taken = first.len();
        if !self.next_fits(taken) {
            return Some((first, taken));
        }
        let mut packet = BytesMut::with_capacity(CHUNK_BYTES);
        packet.put_slice(&first);
        while self.next_fits(taken) {
            let Some(frame) = self.turn().and_then(|lane| self.pop_whole(lane)) else { break };
            taken += frame.len();
            packet.put_slice(&frame);
        }
        Some((packet.freeze(), taken))
    }

    fn next_fits(&self, taken: usize) -> bool {
        let next = self.turn().and_then(|lane| self.lanes[lane].whole());
        next.is_some_and(|frame| taken + frame.len() <= CHUNK_BYTES)
    }

    fn pop_whole(&mut self, lane: usize) -> Option<Bytes> {
        let frame = self.lanes[lane].frames.pop_front()?;
        self.account(lane, frame.len());
        Some(frame)
    }

    /// A piece of a large frame.
    fn next_chunk(&mut self, lane: usize) -> (Bytes, usize) {
        let queue = &mut self.lanes[lane];
        let (piece, last) = match queue.frames.front() {
            Some(frame) => {
                let end = frame.len().min(queue.sent + CHUNK_BYTES);
                (frame.slice(queue.sent..end), end == frame.len())
            }
            None => (Bytes::new(), true),
        };
        if last {
            queue.frames.pop_front();
            queue.sent = 0;
        } else {
            queue.sent += piece.len();
        }
        self.account(lane, piece.len());
        let mut packet = BytesMut::with_capacity(piece.len() + 8);
        put_header(&mut packet, Kind::Chunk, piece.len() + 1);
        packet.put_u8(lane as u8 | if last { LAST } else { 0 });
        packet.put_slice(&piece);
        (packet.freeze(), piece.len())
    }
}

/// Set in a chunk's first byte when it is the last of its message; the bits below name the lane.
pub(super) const LAST: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::frame::encode;

    fn frame(len: usize) -> Bytes {
        encode(Kind::Message, &vec![0; len])
    }

    #[test]
    fn a_critical_frame_waits_for_one_chunk_at_most() {
        let mut scheduler = Scheduler::default();
        scheduler.push(Lane::Low, frame(1_000_000));
        scheduler.next_packet().unwrap();
        scheduler.push(Lane::Critical, frame(10));
        assert_eq!(scheduler.next_packet().unwrap().1, 12);
    }

    #[test]
    fn a_flood_above_leaves_the_lowest_lane_its_share() {
        let mut scheduler = Scheduler::default();
        scheduler.push(Lane::Low, frame(1_000_000));
        let (mut critical, mut low) = (0, 0);
        for _ in 0..2_000 {
            scheduler.push(Lane::Critical, frame(8_000));
            let (packet, bytes) = scheduler.next_packet().unwrap();
            *(if packet[0] == Kind::Chunk as u8 { &mut low } else { &mut critical }) += bytes;
        }
        assert_eq!(low, 1_000_004, "all of it got through");
        assert!(critical > low, "{critical} critical bytes beside {low}");
    }

    #[test]
    fn small_frames_share_a_packet_and_one_alone_keeps_its_bytes() {
        let mut scheduler = Scheduler::default();
        let shared = frame(100);
        scheduler.push(Lane::High, shared.clone());
        assert_eq!(scheduler.next_packet().unwrap().0.as_ptr(), shared.as_ptr());
        for _ in 0..10 {
            scheduler.push(Lane::High, shared.clone());
        }
        let (packet, taken) = scheduler.next_packet().unwrap();
        assert_eq!((packet.len(), taken), (1_020, 1_020));
        assert!(scheduler.next_packet().is_none());
        assert_eq!(scheduler.queued(), 0);
    }
}
