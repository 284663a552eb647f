//! Coordination without a coordinator: what the members of a document agree on through records of their own. Layer 3.
//!
//! No agent drives it yet: a [`TieredBarrier`](barrier::TieredBarrier) and its kin take slots and give slots, and whoever
//! uses them carries these between members.
//!
//! Pure: functions over the newest record of each member. Time comes in as an argument, chance as a
//! [`Dice`](crate::time::Dice); what must be made durable and published comes out as a value.

pub mod barrier;
pub mod claim;
pub mod epoch;
pub mod explain;
pub mod floor;
pub mod kernel;
pub mod poll;
pub mod queue;
