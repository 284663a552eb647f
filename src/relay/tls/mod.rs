//! TLS at the relay: its certificate, kept current while it serves, and handshakes that keep nobody waiting.

mod certificate;
mod listener;
mod self_signed;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(super) use certificate::Certificate;
pub(super) use listener::{Caller, PlainListener, TlsListener};
use rustls::{ServerConfig, server::NoServerSessionStorage};

use crate::transport::tls::{ALPN, VERSIONS, provider};

/// Why a relay has no certificate to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or others can read the key in it.
    #[error("cannot use `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not belong together, or hold what TLS has no use for.
    #[error("the certificate in `{}` and the key in `{}` are no pair: {reason}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// A self-signed certificate cannot be made.
    #[error("cannot make a certificate: {reason}")]
    Make {
        /// Why.
        reason: String,
    },
}

/// Where a relay's certificate comes from.
#[derive(Debug, Clone)]
pub(super) enum TlsSource {
    /// From files that somebody else keeps current.
    Files {
        /// The chain, its own certificate first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made by the relay, for a key beside its store.
    SelfSigned,
}

/// Between two looks at the files.
pub(super) const RELOAD_EVERY: Duration = Duration::from_secs(5);

impl TlsSource {
    /// The certificate to begin with. `names` are those of the relay, `store` the file of its documents.
    pub(super) fn open(self, store: Option<&Path>, names: Vec<String>) -> Result<Arc<Certificate>, TlsError> {
        Ok(Arc::new(match self {
            Self::Files { certificate, key } => Certificate::read(certificate, key)?,
            Self::SelfSigned => Certificate::fixed(self_signed::make(store, names)?),
        }))
    }
}

/// How a relay speaks TLS: 1.3, without tickets, early data or anything to resume.
pub(super) fn configuration(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&VERSIONS)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}
