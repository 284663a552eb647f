//! Who may do what: credentials of agents, and the swarm's policy they are judged by. Layer 1.
//!
//! A [`SwarmPolicy`](policy::SwarmPolicy) names the keys that may issue credentials; its own authority is the hash of
//! its first version, which is the name of the swarm. A credential is a signed token bound to its holder's key.
//! [`admit`](credential::admit) judges it at a given time.
//!
//! [`record`] is about what agents sign: the form, and the verdict on it.
//!
//! Pure: time and seeds come in as arguments. The verdict depends on the policy, the token and the time alone.

pub mod authority;
pub mod binding;
pub mod credential;
pub mod cut;
pub mod delegation;
pub mod dial;
pub mod exchange;
pub mod jws;
pub mod key;
pub mod pass;
pub mod pattern;
pub mod policy;
pub mod possession;
pub mod quota;
pub mod record;
pub mod request;
pub mod succession;

mod claims;
pub(crate) mod encoding;
pub(crate) mod json;
pub(crate) mod tier;
