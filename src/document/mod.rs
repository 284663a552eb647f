//! Replicated documents: content held by an engine, and records of our own. Layer 2: uses `engine`.

mod absorb;
mod access;
mod batch;
mod canonical;
mod circle;
mod comparison;
mod confines;
mod delta;
mod difference;
mod digest;
mod error;
mod handles;
mod history;
mod import;
mod merge;
mod path;
mod read;
mod records;
mod replica;
mod sealed;
mod slots;
mod transaction;
mod version;

pub use absorb::{Absorption, Foreign};
pub use access::{Access, Planned};
pub use comparison::Comparison;
pub use confines::Confines;
pub use delta::{
    ContentDelta, Delta, Incoming, Record, RecordKind, RecordsDelta, SlotKey, SlotPart, SlotRecord, SlotsDelta, Span,
};
pub use digest::hex;
pub use error::DocumentError;
pub use handles::{AgentState, Counter, List, Map, Register, RichText, Set};
pub use import::{Import, Imported};
pub use merge::AppliedDeltas;
pub use records::{Candidate, CustomResolver, Equivocation, Member, Resolver};
pub use replica::Document;
pub use sealed::{SealedSeats, Seating, Signer, SignerError, Signing, SlotPlace};
pub use slots::Closed;
pub use transaction::{Commit, Transaction};
pub use version::{DigestEntry, Frontier, Seen, Subscription, Version};
