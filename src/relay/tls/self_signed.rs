//! A certificate the relay makes itself. Its key stays in a file beside the store, so that the pin stays the same.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{TlsError, certificate::Pair};
use crate::transport::{SpkiPin, tls::file};

/// Names of the machine itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes a certificate for `names` and the machine's own. With a store the key is read from `<store>.tls.key`, written
/// there the first time, and the certificate is left in `<store>.tls.crt` for clients to be given. Its dates say
/// nothing: clients believe the key.
pub(super) fn make(store: Option<&Path>, names: Vec<String>) -> Result<(Arc<CertifiedKey>, SpkiPin), TlsError> {
    let failed = |error: &dyn std::fmt::Display| TlsError::Make { reason: error.to_string() };
    let key = match store {
        Some(store) => kept_key(&store.with_extension("tls.key"))?,
        None => KeyPair::generate().map_err(|error| failed(&error))?,
    };
    let names: Vec<String> = LOCAL.map(str::to_owned).into_iter().chain(names).collect();
    let mut wanted = CertificateParams::new(names).map_err(|error| failed(&error))?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, "aepoch relay");
    let certificate = wanted.self_signed(&key).map_err(|error| failed(&error))?;
    if let Some(store) = store {
        let path = store.with_extension("tls.crt");
        let written = fs::write(&path, certificate.pem());
        written.map_err(|error| TlsError::File { path, reason: error.to_string() })?;
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Pair { chain: vec![certificate.der().clone()], key }.certify().map_err(|error| failed(&error))
}

/// The key in the file; a new one, put there, when there is none.
fn kept_key(path: &Path) -> Result<KeyPair, TlsError> {
    let unusable = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let kept = match file::read_secret(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(|error| unusable(error.to_string()))?;
            write_secret(path, key.serialize_pem()).map_err(|error| unusable(error.to_string()))?;
            return Ok(key);
        }
        kept => Zeroizing::new(kept.map_err(|error| unusable(error.to_string()))?),
    };
    let text = std::str::from_utf8(&kept).map_err(|_| unusable("it is not text".to_owned()))?;
    KeyPair::from_pem(text).map_err(|_| unusable("it holds no private key in PEM".to_owned()))
}

fn write_secret(path: &Path, pem: String) -> io::Result<()> {
    let pem = Zeroizing::new(pem);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}
