//! Replicated documents for swarms of agents, without a coordinator.
//!
//! An [`Agent`] holds replicas of documents. A document has two parts: *content* (maps, sets, lists, rich text, held by
//! yrs or automerge) and *records* (registers, counters, agents' own state, with one writer per entry). Reads and
//! writes are local; replicas that meet, directly or through a [`Relay`], converge.
//!
//! ```no_run
//! # async fn example() -> Result<(), aepoch::agent::AgentError> {
//! use aepoch::Agent;
//!
//! let agent = Agent::builder("planner-1").swarm("band").connect("ws://127.0.0.1:4433").open().await?;
//! let stage = agent.document("stage").await?;
//! stage.register("setlist").set(&["intro", "outro"])?;
//! stage.map("lights").put("left", &"red")?;
//! stage.flush().await?; // on the relay's disk from here on
//! # Ok(()) }
//! ```
//!
//! # The house
//!
//! Dependencies point down, and what is pure stays pure (`tests/tidy` and `clippy.toml` see to it):
//!
//! | layer | modules | role |
//! |-|-|-|
//! | 5 | [`agent`], [`relay`], [`sim`] | drivers: tokio, and a simulated world |
//! | 4 | [`node`], [`audit`] | one sans-IO state machine, the same under every driver; the audit log's bytes |
//! | 3 | [`sync`], [`coordination`] | the protocol of one connection, sans-IO; what members agree on |
//! | 3 | [`wires`] | other libraries' protocols, sans-IO: Yjs and Hocuspocus clients |
//! | 2 | [`document`] | content and records as one replica |
//! | 1 | [`engine`], [`store`], [`transport`], [`trust`] | building blocks that do not know each other |
//! | 0 | [`id`], [`tier`], [`time`], [`limits`], [`error`] | vocabulary |
//!
//! Without any feature the crate is layers 0 to 4: no I/O, no clock, no randomness of its own, and it builds for
//! `wasm32-unknown-unknown`.

#[cfg(feature = "agent")]
pub mod agent;
pub mod audit;
pub mod coordination;
pub mod document;
#[cfg(any(feature = "agent", feature = "relay"))]
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
pub mod tier;
pub mod time;
#[cfg(feature = "tokio")]
pub mod transport;
pub mod trust;
pub mod wires;

#[cfg(feature = "agent")]
pub use agent::Agent;
#[cfg(feature = "relay")]
pub use relay::Relay;
