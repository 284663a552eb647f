//! Records: a join-semilattice in which every entry has one writer. Uses the leaf modules and the patch paths only.

mod body;
mod entry;
mod lattice;
mod member;
mod resolve;

pub(in crate::document) use body::{Body, BodyContent, SEQ_MAX, check_key, check_record, decode_share, json_text};
pub(in crate::document) use entry::{Entry, Slot};
pub use lattice::Equivocation;
pub(in crate::document) use lattice::Lattice;
pub use member::Member;
pub use resolve::{Candidate, CustomResolver, Resolver};
