//! The program as its users meet it: the built binary, its texts, its exit codes, and a relay it serves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod audit;
mod barriers;
mod demo;
mod program;
mod queues;
mod relay;
mod stage;
mod stores;
mod texts;
mod tls;
mod transfer;
mod trust;
mod votes;
