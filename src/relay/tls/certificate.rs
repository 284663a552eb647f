//! The certificate a relay shows, and how a new one takes its place: connections that are open keep what they have.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::TlsError;
use crate::transport::{
    SpkiPin,
    tls::{file, provider},
};

/// A certificate and its key, replaceable while handshakes are under way.
#[derive(Debug)]
pub(in crate::relay) struct Certificate {
    files: Option<(PathBuf, PathBuf)>,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    shown: Arc<CertifiedKey>,
    pin: SpkiPin,
    /// Of the files' bytes: to tell whether they have changed. Times of files do not tell it reliably.
    digest: [u8; 32],
}

/// A chain and the key of its first certificate.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn certify(self) -> Result<(Arc<CertifiedKey>, SpkiPin), rustls::Error> {
        let shown = CertifiedKey::from_der(self.chain, self.key, &provider())?;
        let pin = SpkiPin::of(shown.end_entity_cert()?)?;
        Ok((Arc::new(shown), pin))
    }
}

impl Certificate {
    /// One that stays.
    pub(super) fn fixed(pair: (Arc<CertifiedKey>, SpkiPin)) -> Self {
        let current = Current { shown: pair.0, pin: pair.1, digest: [0; 32] };
        Self { files: None, current: RwLock::new(current) }
    }

    /// The one in two files of PEM.
    pub(super) fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = RwLock::new(Files::read(&certificate, &key)?.certify()?);
        Ok(Self { files: Some((certificate, key)), current })
    }

    /// The pin of the certificate shown now.
    pub(in crate::relay) fn pin(&self) -> SpkiPin {
        self.current().pin
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows what the files hold now; false when it is the same. When they cannot be used, the one in use stays.
    /// Blocks while it reads.
    pub(in crate::relay) fn reload(&self) -> Result<bool, TlsError> {
        let Some((certificate, key)) = &self.files else { return Ok(false) };
        let read = Files::read(certificate, key)?;
        if read.digest == self.current().digest {
            return Ok(false);
        }
        let new = read.certify()?;
        tracing::info!(certificate = %certificate.display(), pin = %new.pin, "a new certificate is in use");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }

    /// Looks at the files again and again, for as long as the certificate is in use.
    pub(in crate::relay) async fn keep_current(certificate: Weak<Self>, every: Duration) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(every).await;
            let Some(certificate) = certificate.upgrade() else { return };
            let looked = tokio::task::spawn_blocking(move || certificate.reload()).await;
            let error = match looked {
                Ok(Err(error)) => error.to_string(),
                _ => String::new(),
            };
            if !error.is_empty() && error != told {
                tracing::error!(%error, "the new certificate cannot be used, the old one stays");
            }
            told = error;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().shown)
    }
}

/// What was read from the files.
struct Files<'a> {
    paths: (&'a Path, &'a Path),
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    digest: [u8; 32],
}

impl<'a> Files<'a> {
    fn read(certificate: &'a Path, key: &'a Path) -> Result<Self, TlsError> {
        let chain = file::read(certificate).map_err(|error| unusable(certificate, error.to_string()))?;
        let secret = file::read_secret(key).map_err(|error| unusable(key, error.to_string()))?;
        let secret = Zeroizing::new(secret);
        let digest = Sha256::new().chain_update((chain.len() as u64).to_be_bytes()).chain_update(&chain);
        let digest = digest.chain_update(&*secret).finalize().into();
        Ok(Self { paths: (certificate, key), chain, key: secret, digest })
    }

    fn certify(&self) -> Result<Current, TlsError> {
        let (certificate, key) = self.paths;
        let chain = CertificateDer::pem_slice_iter(&self.chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(unusable(certificate, "it holds no certificate in PEM".to_owned()));
        }
        // What was read is not said: a part of a key could reach a log.
        let secret = PrivateKeyDer::from_pem_slice(&self.key);
        let secret = secret.map_err(|_| unusable(key, "it holds no private key in PEM".to_owned()))?;
        let (shown, pin) = Pair { chain, key: secret }.certify().map_err(|error| TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Current { shown, pin, digest: self.digest })
    }
}

fn unusable(path: &Path, reason: String) -> TlsError {
    TlsError::File { path: path.to_owned(), reason }
}
