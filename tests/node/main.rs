//! The node as a machine: what goes in, what comes out, at which time. No socket, no clock, no thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod claims;
mod coordination;
mod digests;
mod durability;
mod flow;
mod guest;
mod guests;
mod hops;
mod inquiries;
mod mesh;
mod passes;
mod queue;
#[cfg(all(feature = "automerge", feature = "guests"))]
mod repo;
mod sealed;
#[path = "../wires/swarm.rs"]
mod swarm;
#[cfg(all(feature = "automerge", feature = "guests"))]
mod talks;
mod world;
