//! The automerge engine through its public face: the laws every engine owes, values and positions, what travels, and
//! hostile input.
//!
//! Every update goes the way it goes in a node: inspection, admission, guarded apply.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod forge;
mod hostile;
mod laws;
mod patches;
mod support;
mod travel;
mod values;
