//! TLS 1.3 with rustls and ring: whom a client believes, and what ties a connection to its two ends. Layer 1.
//!
//! Only 1.3; no session is resumed and nothing is sent before the handshake is done, so every connection has shown the
//! key of its certificate, and nothing can be replayed.

pub(crate) mod file;
mod pin;
mod trust;

use std::sync::Arc;

pub use pin::{PinError, SpkiPin};
use rustls::{ConnectionCommon, SupportedProtocolVersion, crypto::CryptoProvider};
pub use trust::TlsTrust;
pub(super) use trust::explain;

/// The versions spoken.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// What both ends speak inside: the name keeps other protocols on the same key from being mistaken for this.
pub(crate) const ALPN: &[u8] = b"http/1.1";

/// Keeps what is exported for authentication apart from all else (RFC 8446, section 7.5).
const BINDING_LABEL: &[u8] = b"EXPORTER-aepoch-auth";

/// The cryptography used.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// 32 bytes that only the two ends of this very connection know; see [`Transport::binding`](super::Transport::binding).
pub(crate) fn binding<Side>(connection: &ConnectionCommon<Side>) -> Option<[u8; 32]> {
    connection.export_keying_material([0; 32], BINDING_LABEL, None).ok()
}
