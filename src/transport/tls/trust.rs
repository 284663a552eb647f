//! Whom a client believes to be the relay it calls: public authorities, those of a file, or one key. Layer 1; reads the
//! file.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{ALPN, SpkiPin, VERSIONS, file, provider};
use crate::transport::TransportError;

/// Whom to believe at the other end of `wss://`. Unless told otherwise: the authorities that browsers believe.
#[derive(Debug, Clone, Default)]
pub struct TlsTrust {
    authorities: Option<PathBuf>,
    pin: Option<SpkiPin>,
}

impl TlsTrust {
    /// Only the authorities whose certificates are in this file (PEM), or a relay's own self-signed certificate.
    #[must_use]
    pub fn authorities(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities = Some(path.into());
        self
    }

    /// Only the key with this pin. On its own it replaces authorities, names and dates: whoever holds the key is the
    /// relay (as DANE-EE, RFC 7671, section 5.1). Beside [`TlsTrust::authorities`] both must agree.
    #[must_use]
    pub fn pin(mut self, pin: SpkiPin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// How to open connections. Reads the file.
    pub(in crate::transport) fn configure(&self) -> Result<ClientConfig, TransportError> {
        let provider = provider();
        let chain = match (&self.authorities, self.pin) {
            (None, Some(_)) => None,
            _ => {
                let roots = Arc::new(self.roots()?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(verifier.map_err(|error| self.unusable(&error))?)
            }
        };
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Arc::new(RelayVerifier { chain, pin: self.pin, algorithms });
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&VERSIONS);
        let config = config.map_err(|error| self.unusable(&error))?;
        let mut config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, TransportError> {
        let Some(path) = &self.authorities else {
            return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        };
        let pem = file::read(path).map_err(|error| self.unusable(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| self.unusable(&error))?;
            roots.add(certificate).map_err(|error| self.unusable(&error))?;
        }
        if roots.is_empty() { Err(self.unusable(&"it holds no certificate in PEM")) } else { Ok(roots) }
    }

    fn unusable(&self, reason: &dyn std::fmt::Display) -> TransportError {
        let path = self.authorities.clone().unwrap_or_default();
        TransportError::Authorities { path, reason: reason.to_string() }
    }
}

/// The relay has another key than the one that was pinned.
#[derive(Debug, thiserror::Error)]
#[error("the relay's key has the pin {found}, wanted is {wanted}")]
struct PinMismatch {
    found: SpkiPin,
    wanted: SpkiPin,
}

/// Checks what a relay shows in the handshake.
#[derive(Debug)]
struct RelayVerifier {
    /// `None` when the pin alone decides.
    chain: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<SpkiPin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for RelayVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(wanted) = self.pin {
            let found = SpkiPin::of(end_entity)?;
            if found != wanted {
                let mismatch = OtherError(Arc::new(PinMismatch { found, wanted }));
                return Err(Error::InvalidCertificate(CertificateError::Other(mismatch)));
            }
        }
        match &self.chain {
            Some(chain) => chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a failed handshake means for whoever chose the address.
pub(in crate::transport) fn explain(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => "it does not speak TLS: ws:// calls it without".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is of no authority known here; name one with a file (--tls-ca), or its key by a pin \
             (--tls-pin)"
                .to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))) => reason.to_string(),
        _ => error.to_string(),
    }
}
