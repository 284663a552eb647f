//! Sealed rooms: where the trust dial says end to end, own records are signed and everybody else's are checked.
//!
//! Nothing here runs in other rooms. What a store of ours holds was checked when it came, and is not checked again.

mod authority;
mod cut;
mod examine;
mod form;
mod known;
mod renew;
mod write;

pub use authority::{SealedSeats, Seating, Signer, SignerError, Signing, SlotPlace};
pub(super) use examine::Held;
pub(super) use known::Sealing;
