//! Other libraries' wires without a node: frames as their own libraries write them, and frames that are hostile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(all(feature = "automerge", feature = "guests"))]
mod automerge;
mod hocuspocus;
mod hostile;
mod passes;
mod session;
mod stage;
mod swarm;
mod yjs;
