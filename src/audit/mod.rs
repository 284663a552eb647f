//! The audit log as bytes: what is recorded, how records hang together, how a log is verified and shown. Layer 4.
//!
//! - `record`: what one record says;
//! - `chain`: every record is bound to all before it by a hash, and every so often the hash is signed;
//! - `verify`: finds the first record that was changed, removed or moved, in constant memory;
//! - `show`: a record as a line of text, JSON or CSV that it cannot break out of.
//!
//! Pure: bytes come from whatever reads them, time from the caller. [`relay::audit`](crate::relay) keeps a log in files.

pub mod chain;
pub mod record;
pub mod show;
pub mod verify;
