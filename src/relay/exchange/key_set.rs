//! The keys of an issuer (JWK sets, RFC 7517): from a file, or fetched, kept, and looked for again when one is missing.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Denial,
    jwt::{Algorithm, VerifyingKey},
};
use crate::{
    limits,
    time::Monotonic,
    transport::{Dialer, Endpoint, Question, TlsTrust, tls::file},
    trust::{encoding, json},
};

/// The keys that can be used, by name and algorithm.
type Keys = BTreeMap<(String, Algorithm), VerifyingKey>;

enum Source {
    File(PathBuf),
    /// Address and path, and who opens the connection.
    Fetched(String, String, Box<Dialer>),
}

/// The keys of one issuer.
pub(super) struct KeySet {
    source: Source,
    /// And when they were read.
    known: RwLock<Option<(Arc<Keys>, Monotonic)>>,
    /// When a look began last. Held while it goes on, so that there is one at a time.
    looked: Mutex<Option<Monotonic>>,
    /// Between two looks: a caller who makes names up must not have us ask the issuer again and again.
    pause: Duration,
}

impl KeySet {
    /// In a file, which is read at once.
    pub(super) fn in_file(path: PathBuf, pause: Duration, now: Monotonic) -> Result<Self, String> {
        let set = Self::new(Source::File(path.clone()), pause);
        let keys = read_file(&path)?;
        set.keep(keys, now);
        Ok(set)
    }

    /// At an `https://` address; fetched when somebody shows a token. `authorities` are believed instead of public ones.
    pub(super) fn at(url: &str, authorities: Option<PathBuf>, pause: Duration) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or_else(|| format!("`{url}` must start with https://"))?;
        let address = format!("wss://{rest}");
        let path = Endpoint::read(&address).map_err(|error| format!("`{url}`: {error}"))?.path;
        let trust = authorities.into_iter().fold(TlsTrust::default(), TlsTrust::authorities);
        let dialer = Dialer::new(&trust).map_err(|error| error.to_string())?;
        Ok(Self::new(Source::Fetched(address, path, Box::new(dialer)), pause))
    }

    fn new(source: Source, pause: Duration) -> Self {
        Self { source, known: RwLock::default(), looked: Mutex::default(), pause }
    }

    /// The key of that name and kind; looked for when it is not known, or what is known is old.
    pub(super) async fn find(&self, kid: &str, algorithm: Algorithm, now: Monotonic) -> Result<VerifyingKey, Denial> {
        let name = (kid.to_owned(), algorithm);
        if let Some(key) = self.known(now).and_then(|keys| keys.get(&name).cloned()) {
            return Ok(key);
        }
        let mut looked = self.looked.lock().await;
        let may_look = looked.is_none_or(|at| at + self.pause <= now);
        if may_look && self.known(now).is_none_or(|keys| !keys.contains_key(&name)) {
            *looked = Some(now);
            let keys = self.read().await.map_err(|reason| {
                tracing::warn!(%reason, source = ?self.source, "no keys of the issuer");
                Denial::Unavailable("the keys of the issuer cannot be had now".to_owned())
            })?;
            self.keep(keys, now);
        }
        drop(looked);
        let keys = self.known(now).ok_or_else(|| {
            Denial::Unavailable("the keys of the issuer could not be had; try again in a minute".to_owned())
        })?;
        keys.get(&name).cloned().ok_or_else(|| Denial::Request(format!("the issuer has no key `{kid}` for this `alg`")))
    }

    /// What is known and not too old. A file's keys are looked at as often as fetched ones.
    fn known(&self, now: Monotonic) -> Option<Arc<Keys>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|(_, at)| now < *at + limits::KEY_SET_AGE).map(|(keys, _)| keys)
    }

    fn keep(&self, keys: Keys, now: Monotonic) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(keys), now));
    }

    async fn read(&self) -> Result<Keys, String> {
        match &self.source {
            Source::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || read_file(&path));
                reading.await.map_err(|error| error.to_string())?
            }
            Source::Fetched(address, path, dialer) => {
                let question = Question { path, authorization: None, form: None };
                let asked = timeout(limits::KEY_SET_WAIT, dialer.ask(address, &question, limits::KEY_SET_BYTES)).await;
                let asked = asked.map_err(|_| format!("no answer within {:?}", limits::KEY_SET_WAIT))?;
                match asked.map_err(|error| error.to_string())? {
                    (200, body) => read(&body),
                    (status, _) => Err(format!("status {status}")),
                }
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Fetched(address, ..) => write!(f, "{}", address.replacen("wss", "https", 1)),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("source", &self.source).finish_non_exhaustive()
    }
}

fn read_file(path: &PathBuf) -> Result<Keys, String> {
    let bytes = File::open(path).and_then(|file| file::bounded(file, limits::KEY_SET_BYTES));
    let keys = bytes.map_err(|error| error.to_string()).and_then(|bytes| read(&bytes));
    keys.map_err(|reason| format!("{}: {reason}", path.display()))
}

/// Reads a set. Keys of other kinds or for other uses are passed over (RFC 7517, section 5); one of ours that is
/// malformed, or two of one name, refuse the set.
fn read(bytes: &[u8]) -> Result<Keys, String> {
    let set = json::parse(bytes).map_err(|error| error.to_string())?;
    let listed = set["keys"].as_array().ok_or_else(|| "it has no list `keys`".to_owned())?;
    if listed.len() > limits::KEY_SET_KEYS {
        return Err(format!("{} keys are over the limit of {}", listed.len(), limits::KEY_SET_KEYS));
    }
    let mut keys = Keys::new();
    for jwk in listed {
        let Some(kid) = jwk["kid"].as_str() else { continue };
        if jwk["use"].as_str().is_some_and(|usage| usage != "sig") {
            continue;
        }
        let malformed = || format!("the key `{kid}` is malformed");
        let (algorithm, key) = match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
            (Some("RSA"), _) => (Algorithm::Rs256, rsa(jwk).ok_or_else(malformed)?),
            (Some("EC"), Some("P-256")) => (Algorithm::Es256, p256(jwk).ok_or_else(malformed)?),
            _ => continue,
        };
        if jwk["alg"].as_str().is_some_and(|name| Algorithm::of(name) != Some(algorithm)) {
            continue;
        }
        if keys.insert((kid.to_owned(), algorithm), key).is_some() {
            return Err(format!("the key `{kid}` stands twice"));
        }
    }
    Ok(keys)
}

fn part(jwk: &Value, name: &str) -> Option<Vec<u8>> {
    jwk[name].as_str().and_then(encoding::decode)
}

fn rsa(jwk: &Value) -> Option<VerifyingKey> {
    let (n, e) = (part(jwk, "n")?, part(jwk, "e")?);
    let is_canonical = |number: &[u8]| number.first().is_some_and(|byte| *byte != 0);
    (is_canonical(&n) && is_canonical(&e)).then_some(VerifyingKey::Rsa { n, e })
}

fn p256(jwk: &Value) -> Option<VerifyingKey> {
    let (x, y) = (part(jwk, "x")?, part(jwk, "y")?);
    (x.len() == 32 && y.len() == 32).then(|| VerifyingKey::P256([&[4][..], &x, &y].concat()))
}
