//! A certificate authority for one test, and the files a relay and its clients are given.

use std::path::{Path, PathBuf};

use aepoch::{Relay, relay::RelayBuilder, transport::TlsTrust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut wanted = CertificateParams::default();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(wanted, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        let new = Self { folder, issuer };
        new.issue(|_| {});
        new
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file clients are given.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("ca.crt")
    }

    pub(crate) fn trust(&self) -> TlsTrust {
        TlsTrust::default().authorities(self.file())
    }

    /// Puts a new certificate and key where the relay reads them; first the one, then the other.
    pub(crate) fn issue(&self, set: impl FnOnce(&mut CertificateParams)) {
        let mut wanted = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        set(&mut wanted);
        let key = KeyPair::generate().unwrap();
        let certificate = wanted.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path("relay.crt"), certificate.pem()).unwrap();
        write_secret(&self.path("relay.key"), &key.serialize_pem());
    }

    pub(crate) fn relay(&self) -> RelayBuilder {
        Relay::builder().listen("127.0.0.1:0").shards(1).tls(self.path("relay.crt"), self.path("relay.key"))
    }
}

/// Writes a file only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    #[cfg(unix)]
    set_mode(path, 0o600);
}

#[cfg(unix)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
