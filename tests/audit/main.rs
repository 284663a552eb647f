//! The audit log: what is taken from it, changed in it or moved is named, and what it shows cannot be forged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod log;
mod shown;
mod tampered;
