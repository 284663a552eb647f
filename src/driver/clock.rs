//! The clock of a process: the one place where a node's time is read.
#![allow(clippy::disallowed_methods, reason = "this is where the core's time comes from")]

use std::time::Duration;
#[cfg(not(target_family = "wasm"))]
use std::time::{Instant, SystemTime};

#[cfg(target_family = "wasm")]
use n0_future::time::{Instant, SystemTime};

use super::runtime;
use crate::time::{Moment, Monotonic};

/// Both clocks of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment { mono: self.mono(), wall_ms: wall_ms() }
    }

    pub(crate) fn mono(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The instant at which the node's clock shows `at`.
    #[cfg_attr(target_family = "wasm", expect(clippy::useless_conversion, reason = "tokio has a type of its own"))]
    pub(crate) fn instant(&self, at: Monotonic) -> runtime::Instant {
        runtime::Instant::from(self.start + Duration::from_micros(at.0))
    }
}

/// Milliseconds since 1970; zero before.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
