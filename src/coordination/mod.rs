//! Coordination without a coordinator: what the members of a document agree on through records of their own. Layer 3.
//!
//! A [`Participant`](participant::Participant) is one replica's part in all objects of a document; the node drives it.
//!
//! Pure: functions over the newest record of each member. Time comes in as an argument, chance as a
//! [`Dice`](crate::time::Dice); what must be made durable and published comes out as a value.

pub mod barrier;
pub mod claim;
pub mod epoch;
pub mod explain;
pub mod kernel;
pub mod meeting;
pub mod object;
pub mod participant;
pub mod poll;
pub mod queue;
pub mod seating;
pub mod standing;
pub mod tally;
pub mod why;
