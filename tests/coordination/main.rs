//! Goal: the coordination layer does what its documentation says. Method: its pure functions, driven by small worlds
//! whose network is a list; random schedules (proptest) where an order could matter. `tests/model` is exhaustive where
//! this is random.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod barrier;
mod behind;
mod claim;
mod epoch;
mod kernel;
mod poll;
mod queue;
mod swarm;
