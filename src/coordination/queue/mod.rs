//! Queues that nobody keeps: items in one order at every replica, claimed with tokens, gone when done. Layer 3, pure.
//!
//! - `order`: which item comes first, and when that is firm;
//! - `item`: the records of items, and of claims of them;
//! - `seats`: who may push and claim, and who decides;
//! - `register`: who holds one item, as one replica drives it;
//! - `line`: items by key, so that nothing looks at all of them;
//! - `state`: one queue at one replica;
//! - `seek`: which item a claim takes;
//! - `wish`: what an application asks for;
//! - `look`: what it is told;
//! - `queues`: all queues of a document, for the participant.
//!
//! **Items** are objects of their own. Their pusher is their holder, so it alone finishes them: once an item is done (or
//! discarded) it adds the item to its finished objects, and everybody drops the item with all claims of it. That is
//! safe: *done* is the last value of the item's register, and whoever knows that the item is finished takes no part in
//! its register any more. A stale replica that still has the item and wants to claim it needs promises of `n - f`
//! acceptors; one of any so many has accepted *done*, and either says so or, having dropped the item, says nothing.
//! What returns later, from however stale a replica, is ignored on receipt.
//!
//! **Exclusive** claims go through the item's register: at most one holder per token, tokens grow with every holder, one
//! end. A lease keeps others from taking over as long as its holder renews it. Under partition a side with fewer than
//! `n - tolerate` acceptors takes nothing over; a holder that is cut off may work on without knowing that it was
//! replaced, and only the token, checked where the effect lands, keeps its effects out.
//!
//! **Advisory** claims are written intents: nobody waits, the lowest one wins once it is seen, so several may work on
//! one item until then and for ever under partition. For work that may be done twice. The two kinds see each other's
//! claims once these have travelled, but do not exclude each other: use one kind for one queue.
//!
//! A queue that tolerates no failures (`tolerate` 0) claims without any message, and is as available as the item's owner
//! alone; an item of a holder or owner that is gone for good then waits for it for ever.

mod item;
mod line;
mod look;
mod order;
mod queues;
mod register;
mod seats;
mod seek;
mod state;
mod wish;

pub use item::{ClaimRecord, Failure, Intent, ItemRecord, RecordError};
pub use look::{Claimed, Hold, ItemView, Occupation, Peeked, QueueStatus};
pub use order::{Buckets, Head, Key, head, low_mark};
pub use seek::Claiming;
pub use state::{ItemEvent, Queue};
pub use wish::QueueError;

pub(super) use queues::Queues;
