//! Coordination records: what each replica writes about the objects (barriers, queues, items) it takes part in.
//!
//! They are apart from the other records, with numbers of their own, so that they wait for nobody's content and travel
//! ahead of it. Nothing here knows what they say: see `coordination`.

mod board;
mod closed;
mod ranges;
mod write;

pub(in crate::document) use board::{Board, check as check_slot};
pub use closed::Closed;
use ranges::Ranges;
