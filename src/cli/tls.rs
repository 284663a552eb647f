//! Whom to believe at `wss://` addresses, as options. Layer 7.

use std::path::PathBuf;

use aepoch::{
    agent::AgentBuilder,
    transport::{SpkiPin, TlsTrust},
};
use clap::Args;

/// Whom to believe at a `wss://` address: unless given, the authorities browsers believe.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// Believe relays with a certificate of the authorities in this file (PEM), or a relay's self-signed one.
    #[arg(long, value_name = "FILE", env = "AEPOCH_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// Believe the relay whose key has this pin, as `aepoch serve` prints it.
    #[arg(long, value_name = "PIN", env = "AEPOCH_TLS_PIN")]
    tls_pin: Option<SpkiPin>,
}

impl TlsArgs {
    /// For questions over HTTP.
    pub(super) fn trust(&self) -> TlsTrust {
        let trust = TlsTrust::default();
        let trust = self.tls_ca.iter().fold(trust, |trust, path| trust.authorities(path));
        self.tls_pin.into_iter().fold(trust, TlsTrust::pin)
    }

    /// For agents.
    pub(super) fn set(&self, builder: AgentBuilder) -> AgentBuilder {
        let builder = self.tls_ca.iter().fold(builder, |builder, path| builder.tls_ca(path));
        self.tls_pin.into_iter().fold(builder, AgentBuilder::tls_pin)
    }
}
