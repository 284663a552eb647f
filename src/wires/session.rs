//! One guest's connection: frames out in order, a heartbeat, the end of the silent. Layer 3, pure.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    error::WireError,
    word::{Ask, Told, WireKind},
};
use crate::{limits, time::Monotonic, trust::authority::Authority};

/// A client that hears nothing of the application for 30 s takes the connection for dead (y-websocket); half of that, so
/// that one late timer does no harm.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that has said nothing for this long is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// A client silent for this long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(75);
/// Drained bytes are reported in steps of this size.
const REPORT_BYTES: usize = 32 * 1024;

/// A wire's own part: frames in, frames out.
pub trait Dialect: Send + fmt::Debug {
    /// Which wire it is.
    fn wire(&self) -> WireKind;

    /// Reads one frame: what it asks of the node is added to `asks`, what is to be answered at once to `answers`.
    ///
    /// # Errors
    /// The frame is not what the protocol has: close the connection.
    fn hear(
        &mut self,
        frame: &Bytes,
        now: Monotonic,
        asks: &mut Vec<Ask>,
        answers: &mut Vec<Bytes>,
    ) -> Result<(), WireError>;

    /// The frames for a word; none for what the wire has no words for.
    fn frames(&mut self, told: &Told) -> Vec<Bytes>;

    /// A frame that says nothing.
    fn heartbeat(&self) -> Option<Bytes>;

    /// A frame that a client answers.
    fn probe(&self) -> Option<Bytes>;

    /// Until when the client has to have said who it is; `None` once it has.
    fn deadline(&self) -> Option<Monotonic>;

    /// Judges passes by a newer policy; for wires on which they are shown.
    fn judge_by(&mut self, _authority: &Authority) {}

    /// When the first of the passes that were shown on it ends.
    fn end(&self) -> Option<Monotonic> {
        None
    }
}

/// A guest's protocol state, without I/O; used like a [`Session`](../sync/struct.Session.html) between agents:
/// [`receive`](Self::receive) or [`tell`](Self::tell), then [`poll_transmit`](Self::poll_transmit) while the transport
/// takes frames; [`tick`](Self::tick) at [`next_wake`](Self::next_wake). After an error it is over: drop it.
#[derive(Debug)]
pub struct GuestSession {
    dialect: Box<dyn Dialect>,
    /// When what let the client in ends.
    end: Option<Monotonic>,
    queue: VecDeque<(Bytes, usize)>,
    queued: usize,
    heard: Monotonic,
    probed: bool,
    /// When something was last queued.
    said: Monotonic,
    unreported: usize,
    /// More than one report's worth has been waiting since the queue was last empty.
    filled: bool,
    /// It has run empty since: the rest is worth a report, small as it is.
    emptied: bool,
}

impl GuestSession {
    /// A session that speaks `dialect`.
    pub fn new(dialect: impl Dialect + 'static, now: Monotonic) -> Self {
        Self {
            dialect: Box::new(dialect),
            end: None,
            queue: VecDeque::new(),
            queued: 0,
            heard: now,
            probed: false,
            said: now,
            unreported: 0,
            filled: false,
            emptied: false,
        }
    }

    /// It ends at `end`, whatever is said until then.
    #[must_use]
    pub fn until(self, end: Option<Monotonic>) -> Self {
        Self { end, ..self }
    }

    /// Judges passes that are shown on the wire by a newer policy.
    pub fn judge_by(&mut self, authority: &Authority) {
        self.dialect.judge_by(authority);
    }

    fn end(&self) -> Option<Monotonic> {
        [self.end, self.dialect.end()].into_iter().flatten().min()
    }

    /// Which wire it is.
    pub fn wire(&self) -> WireKind {
        self.dialect.wire()
    }

    /// Takes a frame in; what it asks is added to `asks`, also what came before an error.
    ///
    /// # Errors
    /// The client broke its protocol or a limit: close the connection with [`WireError::close_code`].
    pub fn receive(&mut self, frame: &Bytes, now: Monotonic, asks: &mut Vec<Ask>) -> Result<(), WireError> {
        let (size, max) = (frame.len(), limits::GUEST_FRAME_BYTES);
        if size > max {
            return Err(WireError::TooLarge { what: "a frame", size, max });
        }
        self.heard = now;
        self.probed = false;
        let mut answers = Vec::new();
        let heard = self.dialect.hear(frame, now, asks, &mut answers);
        for answer in answers {
            let cost = answer.len();
            self.push(answer, cost, now);
        }
        heard
    }

    /// Queues a word.
    pub fn tell(&mut self, told: &Arc<Told>, now: Monotonic) {
        let mut frames = self.dialect.frames(told);
        let last = frames.pop();
        for frame in frames {
            self.push(frame, 0, now);
        }
        match last {
            Some(frame) => self.push(frame, told.cost(), now),
            // It was counted as queued, so it counts as drained.
            None => self.unreported += told.cost(),
        }
    }

    fn push(&mut self, frame: Bytes, cost: usize, now: Monotonic) {
        self.said = now;
        self.queued += frame.len();
        self.queue.push_back((frame, cost));
        self.filled |= self.queued > REPORT_BYTES;
    }

    /// The next frame for the transport; `None` when nothing waits.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        let (frame, cost) = self.queue.pop_front()?;
        self.queued -= frame.len();
        self.unreported += cost;
        if self.queue.is_empty() {
            self.emptied |= std::mem::take(&mut self.filled);
        }
        Some(frame)
    }

    /// Forgets what is queued.
    pub fn discard(&mut self) {
        self.queue.clear();
        self.queued = 0;
    }

    /// Bytes waiting to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Bytes drained since the last report, once that is worth one; in the measure of [`Told::cost`].
    pub fn take_drained(&mut self) -> Option<u64> {
        if !self.has_drained() {
            return None;
        }
        self.emptied = false;
        u64::try_from(std::mem::take(&mut self.unreported)).ok()
    }

    /// True when [`GuestSession::take_drained`] has something to report.
    pub fn has_drained(&self) -> bool {
        self.unreported >= REPORT_BYTES || (self.emptied && self.unreported > 0)
    }

    /// When to call [`GuestSession::tick`].
    pub fn next_wake(&self) -> Option<Monotonic> {
        let quiet = self.heard + if self.probed { DEAD_AFTER } else { PROBE_AFTER };
        let beat = self.said + HEARTBEAT;
        [Some(quiet), Some(beat), self.dialect.deadline(), self.end()].into_iter().flatten().min()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The client is dead, or has not said who it is, or its pass has ended.
    pub fn tick(&mut self, now: Monotonic) -> Result<(), WireError> {
        if self.end().is_some_and(|end| end <= now) {
            return Err(WireError::Expired);
        }
        if self.dialect.deadline().is_some_and(|deadline| deadline <= now) {
            return Err(WireError::Unauthenticated { waited: limits::GUEST_AUTH_WAIT });
        }
        if self.heard + DEAD_AFTER <= now {
            return Err(WireError::Timeout { waited: DEAD_AFTER });
        }
        if self.heard + PROBE_AFTER <= now
            && !std::mem::replace(&mut self.probed, true)
            && let Some(probe) = self.dialect.probe()
        {
            self.push(probe, 0, now);
        }
        if self.said + HEARTBEAT <= now {
            self.said = now;
            if let Some(beat) = self.dialect.heartbeat() {
                self.push(beat, 0, now);
            }
        }
        Ok(())
    }
}
