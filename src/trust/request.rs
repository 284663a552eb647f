//! Showing a credential with an HTTP request: in a header, signed for this request and this minute. Layer 1.
//!
//! Within the minute, whoever reads a request can send it again: it changes nothing, and over TLS nobody reads it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{
    authority::Authority,
    credential::{Admission, CredentialError},
    encoding,
    possession::Holder,
};

/// Keeps the signature from being one over anything else.
const DOMAIN: &[u8] = b"swm/http/1\0";

/// The scheme of the `Authorization` header.
const SCHEME: &str = "Aepoch";

/// Seconds a request may be old, or ahead of our clock.
const WINDOW_SECONDS: u64 = 60;

/// Why a request was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not of the form.
    #[error("`Authorization` is not of the form `{SCHEME} <credential> <seconds since 1970> <signature>`")]
    Form,
    /// Made at another time.
    #[error("made at {made}; it is {now}, and {WINDOW_SECONDS} s of difference are accepted")]
    Time {
        /// When it says it was made, in seconds since 1970.
        made: u64,
        /// The time given.
        now: u64,
    },
    /// The credential does not count.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The signature is not of the credential's key, or over another request.
    #[error("the signature is not of the credential's key over this request to `{audience}`")]
    Signature {
        /// Where it was sent.
        audience: String,
    },
}

/// What is signed of a request: reading needs no more.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path, as sent.
    pub path: &'a str,
    /// Host and port, as the client wrote them.
    pub audience: &'a str,
}

impl Request<'_> {
    fn message(&self, presented: &str, made: u64) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        message.extend(Sha256::digest(presented));
        message.extend(made.to_be_bytes());
        for part in [self.method, self.path, self.audience] {
            message.extend((part.len() as u64).to_be_bytes());
            message.extend(part.as_bytes());
        }
        message
    }

    /// The value of the `Authorization` header, made at `now` (seconds since 1970).
    pub fn authorization(&self, holder: &Holder, now: u64) -> impl fmt::Display {
        let signature = holder.key().sign(&self.message(holder.presented(), now));
        format!("{SCHEME} {} {now} {}", holder.presented(), encoding::encode(&signature))
    }

    /// Lets in whoever made the request, or says why not.
    ///
    /// # Errors
    /// [`RequestError`] with the first rule it breaks.
    pub fn admit(&self, authorization: &str, authority: &Authority, now: u64) -> Result<Admission, RequestError> {
        let parts: Vec<&str> = authorization.split(' ').collect();
        let [SCHEME, presented, made, signature] = parts[..] else { return Err(RequestError::Form) };
        let made: u64 = made.parse().map_err(|_| RequestError::Form)?;
        let signature = encoding::decode_array::<64>(signature).ok_or(RequestError::Form)?;
        if made.abs_diff(now) > WINDOW_SECONDS {
            return Err(RequestError::Time { made, now });
        }
        let admission = authority.admit(presented, now)?;
        if !admission.key.verify(&self.message(presented, made), &signature) {
            return Err(RequestError::Signature { audience: self.audience.to_owned() });
        }
        Ok(admission)
    }
}
