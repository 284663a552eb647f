//! Twenty agents as processes, each in a network namespace of its own: cables are pulled, processes are killed, clocks are
//! set. Over a relay, and over direct links.
//!
//! Needs Linux, root and `ip`; `.ci/check.sh` says so where they are missing. Run with
//! `cargo test --release --test processes -- --test-threads 1`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it reads from processes, which blocks")]

mod agent;
mod network;
mod scenarios;
