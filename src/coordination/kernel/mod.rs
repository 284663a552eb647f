//! Vector consensus over single-writer slots. Layer 3, pure.
//!
//! One instance of Paxos Commit (Gray and Lamport, "Consensus on Transaction Commit", 2006) per member, whose ballot 0
//! belongs to that member alone: its *arrival* is the ballot-0 proposal, an acceptor's *echo* the ballot-0 accept.
//! Ballots from 1 on decide all undecided members of a tier at once. The quorums are those of Flexible Paxos (Howard,
//! Malkhi and Spiegelman, 2016): with `f` failures to be survived, `f + 1` echoes or accepts decide, and a proposer
//! hears `n - f` promises first; any two such sets share an acceptor.
//!
//! | file | what it holds |
//! |-|-|
//! | `bits` | sets of seats |
//! | `definition` | what is agreed before anything happens; its hash is the identity |
//! | `roster` | the seats, tiers and quorums of one generation |
//! | `slot` | what one member publishes |
//! | `view` | what a replica knows, and the predicates over it |
//! | `transition` | the rules T1 to T7, one function each |
//! | `step` | all rules that apply, for a driver |
//! | `check` | which slots are well formed, and which contradict an earlier one |
//!
//! The model in `tests/model` explores these very functions.

mod bits;
mod check;
mod definition;
mod roster;
mod slot;
mod step;
mod transition;
mod view;

pub use bits::BitSet;
pub(super) use check::check_roster;
pub use check::{Contradiction, Malformed, check_slot, contradiction};
pub use definition::{Definition, DefinitionError, DefinitionId, Gate, OnShortfall, Seat, TierPolicy};
pub use roster::{Roster, RosterChange, Rules, TierSeats};
pub use slot::{Accepted, Arrival, Ballot, Latched, Own, Proposal, Slot, SlotError, TierState};
pub use step::{Wanted, step};
pub use transition::{Refusal, accept, acknowledge, arrive, decline, echo, enter, latch, prepare, promise, propose};
pub use view::{TierOutcome, View};

pub use crate::tier::Tier;
