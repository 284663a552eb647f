//! Replicated documents: content held by an engine, and records of our own. Layer 2: uses `engine`.

mod delta;
mod version;

pub use delta::{ContentDelta, Delta, Incoming, Record, RecordKind, RecordsDelta, Span};
pub use version::{DigestEntry, Frontier, Seen, Subscription, Version};
