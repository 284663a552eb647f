//! What keeps one connection from taking what belongs to all: rates, and turns.
//!
//! **Rates.** A connection that brings more than its rate allows is read no further until the rate has caught up: its own
//! queue fills, its own writes are merged there, and nothing is lost or refused.
//!
//! **Turns.** Nodes work on what a connection has brought in turns of bounded length, in the order in which connections
//! asked, so that what one of them costs (measured, not guessed from bytes) is waited for by itself: deficit round robin
//! (Shreedhar and Varghese, 1995) with time as the quantum, and no deficit carried over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    clock::Clock,
    runtime::{Sleep, sleep_until},
};
use crate::{limits::Rates, time::Monotonic};

/// How long one connection's messages are worked on before others get their turn.
pub(crate) const TURN: Duration = Duration::from_micros(500);

/// What the connections of one relay share.
#[derive(Debug)]
pub(crate) struct Fairness {
    updates_per_second: AtomicU64,
    bytes_per_second: AtomicU64,
    turns: Semaphore,
    /// Times a connection was not read for a while.
    pub(crate) throttled: AtomicU64,
    /// Turns that ended although there was more to do.
    pub(crate) turns_cut: AtomicU64,
}

impl Fairness {
    /// `at_once` turns are taken side by side: one for each core.
    pub(crate) fn new(rates: Rates, at_once: usize) -> Arc<Self> {
        Arc::new(Self {
            updates_per_second: AtomicU64::new(rates.updates_per_second),
            bytes_per_second: AtomicU64::new(rates.bytes_per_second),
            turns: Semaphore::new(at_once.max(1)),
            throttled: AtomicU64::new(0),
            turns_cut: AtomicU64::new(0),
        })
    }

    pub(crate) fn rates(&self) -> Rates {
        Rates {
            updates_per_second: self.updates_per_second.load(Ordering::Relaxed),
            bytes_per_second: self.bytes_per_second.load(Ordering::Relaxed),
        }
    }

    /// Other rates from now on, also for connections there are.
    pub(crate) fn set_rates(&self, rates: Rates) {
        self.updates_per_second.store(rates.updates_per_second, Ordering::Relaxed);
        self.bytes_per_second.store(rates.bytes_per_second, Ordering::Relaxed);
    }

    /// Waits for a turn. First come, first served.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so it always comes.
        self.turns.acquire().await.ok()
    }
}

/// A leaky bucket: `rate` units flow off in a second, and it holds as many as flow off in `burst`.
#[derive(Debug)]
struct Bucket {
    level: u64,
    since: Monotonic,
}

impl Bucket {
    /// Puts `units` in. Returns how long until what is over the brim has flowed off.
    fn put(&mut self, units: u64, rate: u64, burst: Duration, now: Monotonic) -> Duration {
        const MICROS: u128 = 1_000_000;
        let rate = u128::from(rate.max(1));
        let flowed = rate * now.since(self.since).as_micros() / MICROS;
        if flowed > 0 {
            self.level = self.level.saturating_sub(u64::try_from(flowed).unwrap_or(u64::MAX));
            self.since = now;
        }
        self.level = self.level.saturating_add(units);
        let over = u128::from(self.level).saturating_sub(rate * burst.as_micros() / MICROS);
        Duration::from_micros(u64::try_from(over * MICROS / rate).unwrap_or(u64::MAX))
    }
}

/// How fast one connection brings things.
#[derive(Debug)]
struct Pace {
    updates: Bucket,
    bytes: Bucket,
}

impl Pace {
    fn new(now: Monotonic) -> Self {
        let empty = || Bucket { level: 0, since: now };
        Self { updates: empty(), bytes: empty() }
    }

    /// Counts what was read. Returns for how long nothing more is to be.
    fn charge(&mut self, updates: u64, bytes: u64, rates: Rates, now: Monotonic) -> Duration {
        let waits = [
            self.updates.put(updates, rates.updates_per_second, Rates::UPDATES_BURST, now),
            self.bytes.put(bytes, rates.bytes_per_second, Rates::BYTES_BURST, now),
        ];
        waits.into_iter().max().unwrap_or_default().min(Rates::PAUSE_MAX)
    }
}

/// One connection's share.
pub(crate) struct Share {
    pub(crate) fairness: Arc<Fairness>,
    pace: Pace,
    /// Until when nothing is read.
    until: Monotonic,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Share {
    pub(crate) fn new(fairness: Arc<Fairness>, now: Monotonic) -> Self {
        Self { fairness, pace: Pace::new(now), until: now, pause: None }
    }

    /// Counts what the peer has brought: what is over its rate is waited for before anything more is read.
    pub(crate) fn charge(&mut self, updates: u64, bytes: u64, now: Monotonic) {
        let pause = self.pace.charge(updates, bytes, self.fairness.rates(), now);
        if pause > Duration::ZERO {
            self.fairness.throttled.fetch_add(1, Ordering::Relaxed);
            self.until = self.until.max(now + pause);
        }
    }

    /// True when more may be read, after `bytes` of last time; else `cx` is woken when it may.
    pub(crate) fn may_read(&mut self, bytes: u64, clock: Clock, cx: &mut Context<'_>) -> bool {
        let now = clock.mono();
        if bytes > 0 {
            self.charge(0, bytes, now);
        }
        if self.until <= now {
            self.pause = None;
            return true;
        }
        let until = clock.instant(self.until);
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if pause.deadline() != until {
            pause.as_mut().reset(until);
        }
        pause.as_mut().poll(cx).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { updates_per_second: 100, bytes_per_second: 1_000_000 };
    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_what_follows_waits_as_long_as_it_takes() {
        let mut pace = Pace::new(Monotonic(0));
        assert_eq!(pace.charge(200, 0, RATES, Monotonic(0)), Duration::ZERO, "two seconds' worth");
        assert_eq!(pace.charge(1, 0, RATES, Monotonic(0)), Duration::from_millis(10));
        assert_eq!(pace.charge(0, 0, RATES, Monotonic(SECOND / 100)), Duration::ZERO);
        assert_eq!(pace.charge(150, 0, RATES, Monotonic(SECOND + SECOND / 100)), Duration::from_millis(500));
    }

    #[test]
    fn bytes_count_on_their_own_and_no_pause_is_endless() {
        let mut pace = Pace::new(Monotonic(0));
        assert_eq!(pace.charge(1, 8_000_000, RATES, Monotonic(0)), Duration::ZERO, "eight seconds' worth");
        assert_eq!(pace.charge(1, 500_000, RATES, Monotonic(0)), Duration::from_millis(500));
        assert_eq!(pace.charge(1, u64::MAX, RATES, Monotonic(0)), Rates::PAUSE_MAX);
    }

    #[test]
    fn at_a_steady_rate_below_the_limit_nothing_ever_waits() {
        let mut pace = Pace::new(Monotonic(0));
        for tick in 0..10_000 {
            assert_eq!(pace.charge(1, 9_000, RATES, Monotonic(tick * SECOND / 99)), Duration::ZERO, "{tick}");
        }
    }
}
