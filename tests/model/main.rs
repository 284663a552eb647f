//! Goal: what the kernel promises holds in every reachable state, not only in those a test happens to visit. Method:
//! exhaustive exploration (stateright) of small configurations. The actions call the production transitions, the
//! properties the production predicates.
//!
//! Messages are abstracted as the set of all slot versions ever published (as in Lamport's `PaxosCommit.tla`): an
//! action is enabled when *some* version justifies it. That covers loss, delay, duplication, reordering and gossip.
//!
//! Where it matters what a replica knows (`replicas`, `barriers`, `truncation`), each has a view of its own, of the
//! newest slots it has heard, and begins anew from its durable slot for every step.
//!
//! A checker that never complains proves nothing, so each rule is also broken on purpose (`mutants`), and the
//! check must find it.
//!
//! `cargo test --release --test model` takes a few minutes on two cores; with
//! `-- --include-ignored` (nightly) it explores the large configurations too.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod barriers;
mod claim;
mod configurations;
mod generations;
mod kernel;
mod mutants;
mod published;
mod replicas;
mod seats;
mod truncation;
mod truth;
