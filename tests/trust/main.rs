//! Goal: nobody gets more than the swarm's policy gives. Method: forge what an attacker would send, byte by byte where
//! the library would not write it, and judge it at given times; random bytes and random orders (proptest) for the rest.
//! Cases are numbered as in issue 4.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod credentials;
mod delegations;
mod forge;
mod keys;
mod laws;
mod passes;
mod patterns;
mod policies;
mod records;
