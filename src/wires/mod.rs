//! Other libraries' protocols: clients that people already have, on the documents agents share. Layer 3, pure.
//!
//! Such a client is a *guest*: it speaks of content alone, and knows nothing of versions, records or coordination. A
//! [`GuestSession`] translates between its frames and what a node understands, [`Ask`] and [`Word`]; what becomes of it is
//! the node's business, the same for every wire. `docs/wires.md` has what works, and what does not.
//!
//! - `gate`: who gets in, and what for;
//! - `word`: what guests ask and are told;
//! - `session`: what all wires have in common: queue, heartbeat, the end of the silent;
//! - `yjs`: the wire of y-websocket;
//! - `hocuspocus`: that of Hocuspocus providers;
//! - `automerge`: that of automerge-repo; `repo_id`: what that calls documents.

#[cfg(all(feature = "automerge", feature = "guests"))]
mod automerge;
mod error;
#[cfg(feature = "yrs")]
mod form;
mod gate;
#[cfg(feature = "yrs")]
mod hocuspocus;
#[cfg(all(feature = "automerge", feature = "guests"))]
mod repo_id;
mod session;
mod word;
#[cfg(feature = "yrs")]
mod yjs;

#[cfg(all(feature = "automerge", feature = "guests"))]
pub use automerge::AutomergeRepo;
pub use error::WireError;
pub use gate::{Entry, Gate, GateError};
#[cfg(feature = "yrs")]
pub use hocuspocus::Hocuspocus;
#[cfg(all(feature = "automerge", feature = "guests"))]
pub use repo_id::{RepoId, RepoIdError};
pub use session::{Dialect, GuestSession};
pub use word::{Ask, Awareness, GuestRights, Told, WireKind, Word};
#[cfg(feature = "yrs")]
pub use yjs::Yjs;
