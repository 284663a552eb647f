//! Time and chance as arguments: a moment given by the driver, a hybrid logical clock, a seeded generator.
//! Layer 0. Nothing here reads a clock or draws entropy.

use std::{fmt, ops::Add, time::Duration};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Monotonic time of one node: microseconds since a start of the driver's choosing. Never compared between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` earlier; the start when that is before it.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The moment at which a node handles an input: both clocks, read once by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// For timers.
    pub mono: Monotonic,
    /// Wall clock, milliseconds since 1970. Feeds the hybrid logical clock only; may jump either way.
    pub wall_ms: u64,
}

/// A hybrid logical clock stamp: 48 bits of milliseconds, 16 bits of counter. Ordered as a number.
///
/// Source: Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The millisecond part.
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall_ms(), self.0 & 0xffff)
    }
}

/// Issues stamps that grow even when the wall clock stands still or steps back.
#[derive(Debug, Clone, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// A stamp greater than all issued and all witnessed before.
    pub fn stamp(&mut self, wall_ms: u64) -> Hlc {
        let physical = (wall_ms & ((1 << 48) - 1)) << 16;
        self.last = Hlc(physical.max(self.last.0.saturating_add(1)));
        self.last
    }

    /// Learns a stamp seen from elsewhere. A stamp more than a minute ahead of our wall clock is kept out, so one
    /// wrong clock cannot drag every other forward.
    pub fn witness(&mut self, seen: Hlc, wall_ms: u64) {
        if seen.wall_ms() <= wall_ms.saturating_add(limits::HLC_AHEAD_MS) {
            self.last = self.last.max(seen);
        }
    }
}

/// A seeded generator. The algorithm (ChaCha8) is pinned so that a seed replays the same run on every version.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; zero when `bound` is zero. Bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// True with probability `percent` in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A span in `[0, max]`: "full jitter" (Brooker, "Exponential Backoff And Jitter", 2015).
    pub fn jitter(&mut self, max: Duration) -> Duration {
        let micros = u64::try_from(max.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_while_the_wall_clock_steps_back() {
        let mut clock = HlcClock::default();
        let first = clock.stamp(1_000);
        let second = clock.stamp(10);
        assert!(second > first);
        assert_eq!(second.wall_ms(), 1_000);
    }

    #[test]
    fn a_stamp_far_ahead_does_not_drag_the_clock() {
        let mut clock = HlcClock::default();
        clock.witness(Hlc((1_000 + limits::HLC_AHEAD_MS + 1) << 16), 1_000);
        assert_eq!(clock.stamp(1_000).wall_ms(), 1_000);
        clock.witness(Hlc(2_000 << 16), 1_000);
        assert_eq!(clock.stamp(1_000).wall_ms(), 2_000);
    }

    #[test]
    fn seeds_replay() {
        // Pinned: a change of algorithm would silently change what every committed simulation seed means.
        assert_eq!(Dice::new(7).bits(), Dice::new(7).bits());
        assert_ne!(Dice::new(7).bits(), Dice::new(8).bits());
    }
}
