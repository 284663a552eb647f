//! One signed token: JWS compact (RFC 7515) in its strictest form, EdDSA only (RFC 8037). Layer 1.
//!
//! The header says `alg`, `typ` and `kid` and nothing else: every other parameter either brings its own key or asks for
//! something this verifier does not do.

use serde_json::{Value, json};

use super::{
    encoding, json,
    key::{PrivateKey, PublicKey},
};
use crate::{error::Fault, limits};

/// The only algorithm.
const ALG: &str = "EdDSA";
/// Characters of a foreign value that an error repeats.
const SHOWN_CHARS: usize = 80;

/// What a token is for. One meant for something else is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A credential: an agent's, bound to its key.
    Agent,
    /// A pass: a guest's, bound to nothing.
    Guest,
}

impl Kind {
    /// `typ` in the header.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Agent => "agent+jwt",
            Self::Guest => "guest+jwt",
        }
    }
}

/// Why a token was refused before its claims were looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any credential.
    #[error("a token of {len} bytes is over the limit of {max}", max = limits::TOKEN_BYTES)]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// Not header, payload and signature.
    #[error("a token has 3 parts joined by dots, this has {parts}")]
    Parts {
        /// Parts found.
        parts: usize,
    },
    /// A part is not in canonical base64url.
    #[error("the {part} is not canonical base64url without padding")]
    Encoding {
        /// Which part.
        part: &'static str,
    },
    /// A part is not JSON, or holds a key twice.
    #[error("the {part} cannot be read: {reason}")]
    Json {
        /// Which part.
        part: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// A header parameter other than the three.
    #[error("the header parameter `{0}` is refused: only `alg`, `kid` and `typ` are known")]
    Header(String),
    /// `alg` is missing or another one.
    #[error("`alg` is {0}, must be \"EdDSA\"")]
    Algorithm(String),
    /// `typ` is missing or another one.
    #[error("`typ` is {found}, must be \"{}\"", wanted.typ())]
    Type {
        /// What it is.
        found: String,
        /// What it is wanted for.
        wanted: Kind,
    },
    /// `kid` is missing, no text, empty or too long.
    #[error("`kid` is {0}, must be text of 1 to {max} bytes", max = limits::KEY_NAME_BYTES)]
    KeyName(String),
    /// The signature has another length.
    #[error("a signature of {len} bytes, must be 64")]
    SignatureLength {
        /// Bytes given.
        len: usize,
    },
    /// The signature is not the key's.
    #[error("the signature is not that of the key `{kid}`")]
    Signature {
        /// The key named in the header.
        kid: String,
    },
}

impl TokenError {
    /// Whoever made or altered the token.
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

/// A token taken apart, not yet believed: [`verify`](Self::verify) gives the payload.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    kid: String,
    signed: &'a str,
    payload: Value,
    signature: [u8; 64],
}

impl<'a> Jws<'a> {
    /// Takes a credential's token apart and checks all that needs no key.
    ///
    /// # Errors
    /// [`TokenError`]; retrying does not help.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        Self::parse_as(Kind::Agent, token)
    }

    /// The same for a token of any kind.
    ///
    /// # Errors
    /// [`TokenError`]; retrying does not help.
    pub fn parse_as(kind: Kind, token: &'a str) -> Result<Self, TokenError> {
        if token.len() > limits::TOKEN_BYTES {
            return Err(TokenError::TooLong { len: token.len() });
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else { return Err(TokenError::Parts { parts: parts.len() }) };
        let kid = check_header(&object("header", header)?, kind)?;
        let decoded = encoding::decode(signature).ok_or(TokenError::Encoding { part: "signature" })?;
        let signature =
            decoded.try_into().map_err(|other: Vec<u8>| TokenError::SignatureLength { len: other.len() })?;
        let signed = &token[..header.len() + 1 + payload.len()];
        Ok(Self { kid, signed, payload: object("payload", payload)?, signature })
    }

    /// The key it says it is signed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The payload, if the signature is that of `key`.
    ///
    /// # Errors
    /// [`TokenError::Signature`].
    pub fn verify(&self, key: &PublicKey) -> Result<&Value, TokenError> {
        if key.verify(self.signed.as_bytes(), &self.signature) {
            Ok(&self.payload)
        } else {
            Err(TokenError::Signature { kid: self.kid.clone() })
        }
    }

    /// The payload whoever signed it: to be shown, never to be acted on.
    pub const fn unverified(&self) -> &Value {
        &self.payload
    }
}

/// Signs the `payload` of a token under the name `kid`.
///
/// # Errors
/// [`TokenError`] when nobody would accept the token: it is too long, or the name is.
pub fn sign(kind: Kind, payload: &Value, kid: &str, key: &PrivateKey) -> Result<String, TokenError> {
    let header = json!({ "alg": ALG, "kid": kid, "typ": kind.typ() }).to_string();
    let signed =
        format!("{}.{}", encoding::encode(header.as_bytes()), encoding::encode(payload.to_string().as_bytes()));
    let token = format!("{signed}.{}", encoding::encode(&key.sign(signed.as_bytes())));
    Jws::parse_as(kind, &token)?;
    Ok(token)
}

fn object(part: &'static str, text: &str) -> Result<Value, TokenError> {
    let bytes = encoding::decode(text).ok_or(TokenError::Encoding { part })?;
    match json::parse(&bytes) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(TokenError::Json { part, reason: "it is no object".to_owned() }),
        Err(error) => Err(TokenError::Json { part, reason: error.to_string() }),
    }
}

fn check_header(header: &Value, wanted: Kind) -> Result<String, TokenError> {
    let mut names = header.as_object().into_iter().flatten().map(|(name, _)| name);
    if let Some(foreign) = names.find(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
        return Err(TokenError::Header(shorten(foreign)));
    }
    let shown = |name: &str| header.get(name).map_or("missing".to_owned(), |value| shorten(&value.to_string()));
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if text("alg") != Some(ALG) {
        return Err(TokenError::Algorithm(shown("alg")));
    }
    if text("typ") != Some(wanted.typ()) {
        return Err(TokenError::Type { found: shown("typ"), wanted });
    }
    match text("kid") {
        Some(kid) if !kid.is_empty() && kid.len() <= limits::KEY_NAME_BYTES => Ok(kid.to_owned()),
        _ => Err(TokenError::KeyName(shown("kid"))),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
