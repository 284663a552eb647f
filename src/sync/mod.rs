//! The protocol between two nodes, without I/O. Layer 3: uses `document`; does not know `coordination`.
//!
//! A [`Session`] is one connection: it turns packets into messages and messages into packets. It decides what goes
//! first (lanes), cuts what is large, compresses what gains by it, and answers pings. It knows nothing of rooms.

mod bounded;
mod compression;
mod door;
mod encoded;
mod error;
mod frame;
mod message;
mod reassembly;
mod scheduler;
mod session;

pub use door::{Channel, Door};
pub use encoded::Encoded;
pub use error::{MessageError, SessionError};
pub use message::{Address, Capabilities, ErrorCode, Hello, Lane, Message, PresenceEntry, Role, VERSIONS};
pub use session::{Negotiated, Received, Session};
