//! Stores whose contents only a key opens. Layer 1; `docs/storage.md` has the format and what still leaks.
//!
//! One random *master* key per store, sealed by the caller's [`StoreKey`] in one note: replacing the caller's key
//! rewrites that note and nothing else, in one commit. From the master come the key that names documents on disk and
//! the key that seals each document's own random key, which lies in the document's header.

mod cipher;
mod header;
mod key;
mod keys;
mod source;
mod store;

#[cfg(feature = "redb")]
mod file;

#[cfg(feature = "redb")]
pub(in crate::store) use file::Unsealing;
#[cfg(feature = "redb")]
pub use file::{open, rekey};
pub use key::StoreKey;
#[cfg(feature = "redb")]
pub(in crate::store) use keys::MASTER_NOTE;
pub use source::KeySource;
pub use store::{Entropy, SealedStore, system_entropy};
