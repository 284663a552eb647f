//! Documents, from outside: what replicas show, hold back, refuse and agree on. Every test runs on every engine of
//! the build.
#![cfg(any(feature = "yrs", feature = "automerge"))]
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod bounded;
mod clients;
mod convergence;
mod counters;
mod digests;
mod fence;
mod handles;
mod history;
mod members;
mod membership;
mod order;
mod peer;
mod reading;
mod refusal;
mod registers;
mod sealed;
mod sealed_bytes;
mod signers;
mod storage;
mod truncation;
mod visibility;
