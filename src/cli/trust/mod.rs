//! `aepoch key`, `aepoch policy` and `aepoch token`: who may do what in a swarm. Layer 7.

mod exchange;
pub(super) mod files;
mod key;
mod pass;
mod policy;
pub(super) mod policy_file;
mod token;

pub(super) use key::{KeyCommand, run as run_key};
pub(super) use policy::{PolicyCommand, run as run_policy};
pub(super) use token::{TokenCommand, run as run_token};
