//! Replicated documents and coordination for swarms of agents, without a coordinator.

#[cfg(feature = "agent")]
pub mod agent;
pub mod document;
#[cfg(feature = "tokio")]
mod driver;
pub mod engine;
pub mod error;
pub mod id;
pub mod limits;
pub mod node;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "sim")]
pub mod sim;
pub mod store;
pub mod sync;
pub mod time;
#[cfg(feature = "tokio")]
pub mod transport;

#[cfg(feature = "agent")]
pub use agent::Agent;
#[cfg(feature = "relay")]
pub use relay::Relay;
