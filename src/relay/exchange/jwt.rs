//! Tokens of other issuers: JWS compact (RFC 7515) with RS256 or ES256, read as strictly as our own.

use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

use super::{Denial, configuration::shorten};
use crate::{
    limits,
    trust::{encoding, json},
};

/// Header parameters that bring a key of their own, or ask for what this verifier does not do.
const REFUSED: [&str; 6] = ["crit", "b64", "jku", "jwk", "x5u", "x5c"];

/// The algorithms taken: what identity providers sign with. Nothing symmetric, and never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VerifyingKey {
    /// Modulus and exponent, big-endian, without zeros before them.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
}

impl VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            // 2048 to 8192 bits.
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
        }
    }
}

/// A token taken apart, not yet believed.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    algorithm: Algorithm,
    kid: String,
    signed: &'a str,
    payload: Value,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart and checks all that needs no key.
    pub(super) fn parse(token: &'a str) -> Result<Self, Denial> {
        let refuse = |reason: String| Err(Denial::Request(reason));
        if token.len() > limits::SUBJECT_TOKEN_BYTES {
            let max = limits::SUBJECT_TOKEN_BYTES;
            return refuse(format!("a token of {} bytes is over the limit of {max}", token.len()));
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return refuse(format!("a token has 3 parts joined by dots, this has {}", parts.len()));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header = object("header", header)?;
        if let Some(refused) = REFUSED.iter().find(|name| header.get(**name).is_some()) {
            return refuse(format!("the header parameter `{refused}` is refused"));
        }
        let Some(algorithm) = header["alg"].as_str().and_then(Algorithm::of) else {
            return refuse(format!("`alg` is {}, must be \"RS256\" or \"ES256\"", shorten(&header["alg"])));
        };
        let kind = header["typ"].as_str().map(str::to_ascii_lowercase);
        if !header["typ"].is_null() && !kind.is_some_and(|kind| matches!(&*kind, "jwt" | "at+jwt")) {
            return refuse(format!("`typ` is {}, must be \"JWT\" or \"at+jwt\"", shorten(&header["typ"])));
        }
        let kid = header["kid"].as_str().filter(|kid| !kid.is_empty() && kid.len() <= limits::KEY_NAME_BYTES);
        let Some(kid) = kid.map(str::to_owned) else {
            let max = limits::KEY_NAME_BYTES;
            return refuse(format!("`kid` is {}, must be text of 1 to {max} bytes", shorten(&header["kid"])));
        };
        let Some(signature) = encoding::decode(signature) else {
            return refuse("the signature is not canonical base64url without padding".to_owned());
        };
        Ok(Self { algorithm, kid, signed, payload: object("payload", payload)?, signature })
    }

    /// Whom it says it is from: says where to look for the key, no more.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.payload["iss"].as_str()
    }

    /// A claim nobody has vouched for yet, to be shown.
    pub(super) fn shown(&self, claim: &str) -> String {
        shorten(&self.payload[claim])
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The claims, if the signature is that of `key`.
    pub(super) fn verify(&self, key: &VerifyingKey) -> Result<&Value, Denial> {
        if key.verify(self.signed.as_bytes(), &self.signature) {
            return Ok(&self.payload);
        }
        Err(Denial::Request(format!("the signature is not that of the key `{}`", self.kid)))
    }
}

fn object(part: &'static str, text: &str) -> Result<Value, Denial> {
    let unreadable = |reason: &dyn std::fmt::Display| Denial::Request(format!("the {part} cannot be read: {reason}"));
    let bytes = encoding::decode(text).ok_or_else(|| unreadable(&"it is not canonical base64url without padding"))?;
    match json::parse(&bytes) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(unreadable(&"it is no object")),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: &str = "tFmxMoK1PGSeNwHyu55ay4uPRZ6M2V_v6Co5jDSTErVWKP1VwpsQeWzXL9V5X08mX0O3sZri6fJrnfIusUov5e-ByJt2rth19LAIyZ\
        LKc6WhLo071W56QjpkbcwOCXWZi7BkJeMsqLIeyovzd3bRa30pi92xS1L4x-KQzKwd2zppeohW0EFW7OX1wEcKu_ze7ECHDoOZVZe0QZPV2Nyxz1N\
        AvfF48pd2Ad1NoQrl8CVEyL-Ail2AdRUxMazbyWAW60vUYDeyF4OASssYRABP0gB5-d86t5IjF-dLz9b22mAILAH9t1dpAlbqRj42gi8ERbu25gHO\
        20gTxBduPAEP4Q";
    const RSA_SIGNATURE: &str = "P7pIAiMm2DH69BcNzZLPt5Swn4UTvQYkVxTcckzroCoKvDSA0FGJS9wbtPBx6xHkAKP94NPexV8OMpm_UVdngKI\
        _SXKs0JZ8DXd6IPsQpoVfJDHk7C3FiYXyZMHKwrBz85CSBMls96quenA9zvotXe9bwg8BjRSPsypqWqD-ckhAz2OdX8qF1kgveZN4pIKVpVAllGdho\
        v_cSY6biRirhiQuRHoUPbwXBEVXG7ywSPLj85uf4unFf5KcuGT3Gx3U-RnXCpb_KAtd6HxLGYeS1c7UdTDQ3ZRG4c0NO4Dl_SmG_leAabLvLyhRlHh\
        cAveTYlHu2Wlv0RIvoiLlAA1EAg";
    const X: &str = "QLgyL4KbrXOoWDkCs1ROCU7mam9vU2qA7YgCin5jkgI";
    const Y: &str = "fknWUWuREC28wVjqBsCzqAvtySFWoLrfbnfdaQujXIY";
    const EC_SIGNATURE: &str = "rdwwA52Ng4RUD-J-xysVtW1iF-JiQkZPvfR6U_qcwsnaD5iritdOej5yFmZxTwWAqa-Lfcx6zmI23fTbDlYXxA";

    /// Made by OpenSSL 3 over `header.payload`, so that we agree with more than ourselves.
    #[test]
    fn signatures_of_another_implementation_are_those_of_their_keys() {
        let bytes = |text: &str| encoding::decode(text).unwrap();
        let rsa = VerifyingKey::Rsa { n: bytes(N), e: vec![1, 0, 1] };
        let p256 = VerifyingKey::P256([&[4][..], &bytes(X), &bytes(Y)].concat());
        for (key, signature) in [(rsa, bytes(RSA_SIGNATURE)), (p256, bytes(EC_SIGNATURE))] {
            assert!(key.verify(b"header.payload", &signature));
            assert!(!key.verify(b"header.payloae", &signature));
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(!key.verify(b"header.payload", &changed), "byte {at}");
            }
            assert!(!key.verify(b"header.payload", &signature[1..]));
            assert!(!key.verify(b"header.payload", &[]));
        }
    }
}
