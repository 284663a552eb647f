//! What agents and relays share: a node under tokio, or under a browser. Layer 5, below both of them.
//!
//! `host` keeps the node and carries out its outputs, `connection` runs one session on one transport, `clock` is
//! where time comes from, `runtime` where tasks run, `keeper` what keeps documents.
#![cfg_attr(
    not(all(feature = "agent", feature = "relay")),
    allow(dead_code, unused_imports, reason = "agents and relays use their part each")
)]

mod clock;
mod connection;
mod fairness;
mod host;
mod identity;
mod keeper;
mod line;
mod link;
mod runtime;
mod trace;

pub(crate) use clock::{Clock, wall_ms};
pub(crate) use connection::{Connection, Notice, Traffic};
pub(crate) use fairness::Fairness;
pub(crate) use host::{Host, Outside, shard_of};
pub(crate) use identity::{identity_from, identity_of_key};
#[cfg(feature = "agent")]
pub(crate) use keeper::Errands;
pub(crate) use keeper::Keeper;
pub(crate) use line::WireTraffic;
#[cfg(feature = "relay")]
pub(crate) use link::run_guest;
pub(crate) use link::run_link;
#[cfg(not(target_family = "wasm"))]
pub(crate) use runtime::spawn_blocking;
pub(crate) use runtime::{JoinHandle, JoinSet, sleep, spawn, timeout};
pub(crate) use trace::trace_happening;
