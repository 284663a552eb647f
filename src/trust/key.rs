//! Ed25519 keys: made from a seed, written as JWK (RFC 8037), named by their thumbprint (RFC 7638). Layer 1.

use std::{cmp::Ordering, fmt};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::encoding;

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 32 bytes in canonical base64url.
    #[error("`{0}` is no key: 43 characters of base64url without padding, canonical")]
    Spelling(String),
    /// 32 bytes that are no point of the curve, or another spelling of one.
    #[error("`{0}` is no point of Ed25519 in canonical form")]
    Point(String),
    /// A point under which one signature fits many messages.
    #[error("`{0}` is a point of small order: anybody could sign for it")]
    SmallOrder(String),
}

/// A public key that is safe to verify with: canonical and not of small order. Ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Checks and keeps the 32 bytes of a key.
    ///
    /// # Errors
    /// [`KeyError`]; retrying does not help.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let shown = || encoding::encode(bytes);
        if !is_canonical(bytes) {
            return Err(KeyError::Point(shown()));
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Point(shown()))?;
        if key.is_weak() { Err(KeyError::SmallOrder(shown())) } else { Ok(Self(key)) }
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its name: the SHA-256 thumbprint of its JWK, in base64url.
    pub fn thumbprint(&self) -> String {
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{self}"}}"#);
        encoding::encode(&Sha256::digest(jwk))
    }

    /// True when `signature` is this key's over `message`, by the one strict rule all replicas use.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// True when the y coordinate is below 2^255 - 19: a second spelling of a point would be a second name of a key.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < 0xed
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = encoding::decode_array(text);
        Self::from_bytes(&bytes.ok_or_else(|| KeyError::Spelling(text.chars().take(80).collect()))?)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// A public key as a JWK: `{"kty":"OKP","crv":"Ed25519","x":…}` and nothing else, least of all the private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicJwk {
    kty: KeyType,
    crv: Curve,
    /// The key.
    pub x: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum KeyType {
    #[serde(rename = "OKP")]
    Okp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Curve {
    Ed25519,
}

impl From<PublicKey> for PublicJwk {
    fn from(x: PublicKey) -> Self {
        Self { kty: KeyType::Okp, crv: Curve::Ed25519, x }
    }
}

/// A private key. It is wiped from memory when dropped, and `Debug` shows its public half only.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key of a seed of 32 bytes, which must come from a source of entropy and be used once.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`. The same message gives the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The key as a private JWK, for a file that only its owner can read.
    pub fn to_jwk(&self) -> String {
        let (d, x) = (encoding::encode(self.0.as_bytes()), self.public());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{d}","x":"{x}"}}"#)
    }

    /// Reads what [`to_jwk`](Self::to_jwk) wrote; `None` when it is no such key, or its halves do not belong together.
    /// What was read is not said, so that no part of a key reaches a log.
    pub fn from_jwk(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct PrivateJwk {
            #[serde(rename = "kty")]
            _kty: KeyType,
            #[serde(rename = "crv")]
            _crv: Curve,
            d: String,
            x: PublicKey,
        }
        let jwk: PrivateJwk = serde_json::from_str(text).ok()?;
        let key = Self::from_seed(&encoding::decode_array(&jwk.d)?);
        (key.public() == jwk.x).then_some(key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}
