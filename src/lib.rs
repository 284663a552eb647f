//! Replicated documents and coordination for swarms of agents, without a coordinator.

pub mod document;
pub mod engine;
pub mod error;
pub mod id;
pub mod limits;
pub mod store;
pub mod sync;
pub mod time;
