//! Hostile clients against `aepoch serve` in a process of its own, over real sockets: whatever they send, the relay's
//! memory does not grow with it, and honest agents go on through the same relay.
//!
//! Nothing here measures time. Waiting is for conditions, with a bound far above what they take. Memory is the process's
//! resident set, before and after: a bound that what was sent would break many times over.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "an attacker that takes its time")]

mod attacker;
mod frames;
mod honest;
mod load;
mod relay;
mod slow;
mod updates;
