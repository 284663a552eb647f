//! `aepoch key`, `aepoch policy` and `aepoch token`: who may do what in a swarm. Layer 7.

mod exchange;
mod files;
mod key;
mod policy;
mod token;

pub(super) use key::{KeyCommand, run as run_key};
pub(super) use policy::{PolicyCommand, run as run_policy};
pub(super) use token::{TokenCommand, run as run_token};
