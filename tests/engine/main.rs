//! What every content engine promises, checked on each engine of the build through the public API alone, and what no
//! peer may do to one. Random scripts are small and many: the laws fail, if at all, on a handful of operations.

#![allow(clippy::unwrap_used, reason = "the helpers of tests panic like tests do")]

mod laws;
mod patches;
mod support;
mod text;
mod transact;
mod values;

#[cfg(all(feature = "automerge", feature = "guests"))]
mod converse;
#[cfg(feature = "yrs")]
mod foreign;
#[cfg(feature = "yrs")]
mod hostile;
#[cfg(feature = "yrs")]
mod mutated;
#[cfg(feature = "yrs")]
mod neighbours;
#[cfg(feature = "yrs")]
mod prescan;
#[cfg(feature = "yrs")]
mod subdocs;
