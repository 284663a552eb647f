//! Agents and relays over real sockets: what a user of the library relies on.
//!
//! Nothing here measures time. Waiting is for conditions, with a bound far above what they take.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod application_store;
mod authority;
mod callers;
mod closing;
mod coordination;
mod dashboard;
mod exchange;
mod founder;
mod idp;
mod mesh;
mod offline;
mod presence;
mod queue;
mod rest;
mod samod;
mod share;
mod storage;
mod tls;
mod why;
mod world;
