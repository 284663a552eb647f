//! An identity provider with an RSA and an EC key, a swarm whose policy knows the relay's key, and the file that joins
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use aepoch::{
    Relay,
    relay::RelayBuilder,
    transport::{Dialer, Question, TlsTrust},
    trust::{
        exchange::proof,
        key::{PrivateKey, PublicKey},
        policy::{Issuer, Lives, PolicyHash, Roots, SwarmPolicy},
        succession::{SignedPolicy, Versions},
    },
};
use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::authority::write_secret;

pub(crate) const ISSUER: &str = "https://idp.example";

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

#[allow(clippy::disallowed_methods, reason = "tokens are judged by the relay's clock, which is this machine's")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key of whoever asks.
pub(crate) fn holder() -> PrivateKey {
    PrivateKey::from_seed(&[21; 32])
}

/// An identity provider.
pub(crate) struct Idp {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Idp {
    pub(crate) fn new() -> Self {
        let kept = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("../vectors/exchange/rsa.pem")).unwrap();
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let ec = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self {
            rsa: RsaKeyPair::from_pkcs8(kept.secret_pkcs8_der()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(kind, ec.as_ref(), &random).unwrap(),
        }
    }

    /// Its keys under the names `r` and `e`, with others that are of no use here.
    pub(crate) fn jwks(&self) -> Value {
        let modulus = self.modulus();
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(&modulus), "e": "AQAB" },
            { "kty": "EC", "kid": "e", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "RSA", "kid": "encryption", "use": "enc", "n": b64(&modulus), "e": "AQAB" },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64([7; 32]) },
            { "kty": "oct", "kid": "shared", "k": b64([7; 32]) },
        ] })
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key()).n
    }

    /// Signs any two texts with the key that goes with `alg`; RSA unless it is ES256.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let random = SystemRandom::new();
        let signature = if header.contains("ES256") {
            self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
        } else {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
            signature
        };
        format!("{signed}.{}", b64(signature))
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(r#"{"alg":"RS256","kid":"r","typ":"JWT"}"#, &claims.to_string())
    }
}

/// Claims of somebody called `planner` that are good for ten minutes.
pub(crate) fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "aepoch", "sub": "planner", "iat": now(), "exp": now() + 600 })
}

/// The claims with one of them replaced.
pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// A swarm and the files of its relay.
pub(crate) struct Office {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) idp: Idp,
    root: PrivateKey,
    policy: SwarmPolicy,
}

impl Office {
    pub(crate) fn new() -> Self {
        let (root, issuer) = (PrivateKey::from_seed(&[1; 32]), PrivateKey::from_seed(&[11; 32]));
        let may = Issuer {
            key: issuer.public(),
            max_tier: "beta".parse().unwrap(),
            rooms: BTreeSet::from(["band/**".parse().unwrap()]),
        };
        let policy = SwarmPolicy {
            version: 1,
            previous: None,
            roots: Roots { needed: 1, keys: BTreeSet::from([root.public()]) },
            issuers: BTreeMap::from([("exchange".to_owned(), may)]),
            allow: None,
            revoked: BTreeMap::new(),
            cuts: BTreeMap::new(),
            trust: BTreeSet::new(),
            limits: Lives::default(),
            quotas: Default::default(),
        };
        let new = Self { folder: tempfile::tempdir().unwrap(), idp: Idp::new(), root, policy };
        write_secret(&new.path("issuer.key"), &issuer.to_jwk());
        new.write("jwks.json", &new.idp.jwks());
        new.write_policy(&[]);
        new.configure(json!({}));
        new
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path(name), value.to_string()).unwrap();
    }

    pub(crate) fn policy(&self) -> &SwarmPolicy {
        &self.policy
    }

    pub(crate) fn swarm(&self) -> PolicyHash {
        self.policy.hash()
    }

    /// Writes the policy's first version, and others after it.
    pub(crate) fn write_policy(&self, others: &[SwarmPolicy]) {
        let signed = |policy: &SwarmPolicy| {
            let mut version = SignedPolicy::unsigned(policy.clone());
            version.sign(&self.root);
            version
        };
        let versions = [&self.policy].into_iter().chain(others).map(signed).collect();
        self.write("swarm.json", &serde_json::to_value(Versions { versions }).unwrap());
    }

    /// Writes the relay's file, with these settings of the issuer instead of the usual ones.
    pub(crate) fn configure(&self, settings: Value) {
        let mut issuer = json!({
            "issuer": ISSUER, "audience": "aepoch", "jwks": "jwks.json", "tier": "beta",
            "rooms": [{ "p": "band/**", "a": ["read", "write"] }],
        });
        for (name, value) in settings.as_object().unwrap() {
            issuer[name] = value.clone();
        }
        self.write("exchange.json", &json!({ "policy": "swarm.json", "key": "issuer.key", "issuers": [issuer] }));
    }

    pub(crate) fn builder(&self) -> RelayBuilder {
        Relay::builder().listen("127.0.0.1:0").shards(1).exchange(self.path("exchange.json"))
    }

    /// What an honest holder sends.
    pub(crate) fn form(&self, token: &str) -> String {
        self.form_at(token, now(), &holder().public(), &holder())
    }

    /// The same with another time, key or signer.
    pub(crate) fn form_at(&self, token: &str, time: u64, key: &PublicKey, signer: &PrivateKey) -> String {
        let proof = b64(signer.sign(&proof(&self.swarm(), key, time, token)));
        form(token, time, key, &proof)
    }
}

pub(crate) fn form(token: &str, time: u64, key: &PublicKey, proof: &str) -> String {
    let token = token.replace('=', "%3D");
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";
    format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={token}\
         &subject_token_type={kind}&public_key={key}&proof={proof}&proof_time={time}"
    )
}

/// Status and answer of the relay.
pub(crate) async fn post(relay: &Relay, form: &str) -> (u16, Value) {
    let dialer = Dialer::new(&TlsTrust::default()).unwrap();
    let question = Question { path: "/v1/token", authorization: None, form: Some(form) };
    let (status, body) = dialer.ask(&relay.url(), &question, 64 * 1024).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body))))
}

/// The reason of a refusal with this status.
pub(crate) async fn refused(relay: &Relay, status: u16, form: &str) -> String {
    let (got, answer) = post(relay, form).await;
    assert_eq!(got, status, "{answer}");
    assert!(answer.get("access_token").is_none(), "{answer}");
    answer["error_description"].as_str().unwrap().to_owned()
}
