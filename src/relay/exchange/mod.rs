//! Exchanging another issuer's tokens for credentials of the swarm, at `/v1/token` (RFC 8693).
//!
//! Whoever shows a token of an identity provider, and has a key of its own, gets a credential bound to that key, as
//! `aepoch token mint` makes it, with what the operator's file grants. The policy in force has the last word on it.

mod configuration;
mod jwt;
mod key_set;
mod token;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use configuration::ExchangeError;
use configuration::Issuer;
use jwt::Jwt;
pub(super) use token::routes;

use crate::{
    driver::Clock,
    id::AgentId,
    limits,
    transport::tls::file,
    trust::{
        authority::Authority,
        credential::{Allowance, Claims, Confirmation},
        encoding, exchange,
        key::{PrivateKey, PublicKey},
        policy::{PolicyHash, SwarmPolicy},
        succession::Versions,
    },
};

/// Why a token is not exchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denial {
    /// What was sent is at fault.
    #[error("{0}")]
    Request(String),
    /// The issuer's keys cannot be had now.
    #[error("{0}")]
    Unavailable(String),
    /// The relay's own files are at fault: its operator has to look.
    #[error("the relay cannot issue credentials: {0}")]
    Operator(String),
}

/// What a caller sends.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Asked {
    grant_type: String,
    subject_token: String,
    subject_token_type: String,
    /// The key the credential is to be bound to.
    public_key: PublicKey,
    /// Its signature over [`exchange::proof`], in base64url.
    proof: String,
    /// When that was made, in seconds since 1970.
    proof_time: u64,
    #[serde(default = "first")]
    incarnation: u64,
}

const fn first() -> u64 {
    1
}

/// The grant of RFC 8693.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The kind of token that is taken, and given.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A relay's exchange.
pub(super) struct Exchange {
    policy: PathBuf,
    swarm: PolicyHash,
    key: PrivateKey,
    /// By what they call themselves.
    issuers: BTreeMap<String, Issuer>,
    clock: Clock,
}

/// Who the token is about, as far as we are concerned.
#[derive(Debug)]
struct Subject {
    agent: AgentId,
    expires: u64,
}

/// A credential, and how long it lives from now, in seconds.
#[derive(Debug)]
pub(super) struct Issued {
    token: String,
    life: u64,
}

impl Exchange {
    /// Reads the operator's file and what it names, which has to be of the swarm `swarm` that the relay asks for. Blocks.
    pub(super) fn open(path: &Path, swarm: Option<PolicyHash>, clock: Clock) -> Result<Arc<Self>, ExchangeError> {
        let this = configuration::open(path, clock)?;
        match swarm.filter(|swarm| *swarm != this.swarm) {
            None => Ok(Arc::new(this)),
            Some(swarm) => {
                let reason = format!("it is that of the swarm {}, and the relay's is that of {swarm}", this.swarm);
                Err(ExchangeError::Policy(reason))
            }
        }
    }

    /// Exchanges a token at the time `now`, in seconds since 1970.
    async fn exchange(self: &Arc<Self>, asked: Asked, now: u64) -> Result<Issued, Denial> {
        if asked.grant_type != GRANT {
            return Err(Denial::Request(format!("`grant_type` must be {GRANT}")));
        }
        if asked.subject_token_type != JWT {
            return Err(Denial::Request(format!("`subject_token_type` must be {JWT}")));
        }
        self.check_proof(&asked, now)?;
        let jwt = Jwt::parse(&asked.subject_token)?;
        let issuer = jwt.issuer().and_then(|name| self.issuers.get(name));
        let issuer = issuer.ok_or_else(|| Denial::Request(format!("no tokens of {} are taken", jwt.shown("iss"))))?;
        let key = issuer.keys.find(jwt.kid(), jwt.algorithm(), self.clock.mono()).await?;
        let subject = issuer.subject(jwt.verify(&key)?, now)?;
        let (agent, name) = (subject.agent.clone(), issuer.name.clone());
        let this = self.clone();
        let minting = tokio::task::spawn_blocking(move || this.mint(&name, subject, &asked, now));
        let issued = minting.await.map_err(|error| Denial::Operator(error.to_string()))?;
        match &issued {
            Ok(issued) => tracing::info!(%agent, life = issued.life, "token exchanged"),
            Err(error) => tracing::warn!(%agent, %error, "token not exchanged"),
        }
        issued
    }

    /// Nobody has a key bound to a credential who does not hold it, nor with a proof made for later or elsewhere.
    fn check_proof(&self, asked: &Asked, now: u64) -> Result<(), Denial> {
        if asked.proof_time.abs_diff(now) > limits::PROOF_SECONDS {
            let (time, max) = (asked.proof_time, limits::PROOF_SECONDS);
            return Err(Denial::Request(format!(
                "`proof_time` is {time}, it is {now}, and the limit is {max} s apart"
            )));
        }
        let proof = exchange::proof(&self.swarm, &asked.public_key, asked.proof_time, &asked.subject_token);
        let signature = encoding::decode_array(&asked.proof);
        let signature = signature.ok_or_else(|| Denial::Request("`proof` is no signature in base64url".to_owned()))?;
        if asked.public_key.verify(&proof, &signature) {
            return Ok(());
        }
        let (key, swarm) = (asked.public_key, self.swarm);
        Err(Denial::Request(format!("`proof` is not the signature of {key} over this token for the swarm {swarm}")))
    }

    /// Makes the credential. Blocks: the policy is read anew, so that what it revokes is not given out again.
    fn mint(&self, issuer: &str, subject: Subject, asked: &Asked, now: u64) -> Result<Issued, Denial> {
        let authority = read_policy(&self.policy).map_err(Denial::Operator)?;
        let swarm = authority.swarm();
        if swarm != self.swarm {
            return Err(Denial::Operator(format!("the policy is that of the swarm {swarm} now, not {}", self.swarm)));
        }
        let issuer = self.issuers.get(issuer).ok_or_else(|| Denial::Operator(format!("no issuer {issuer}")))?;
        let kid = kid_of(authority.policy(), &self.key.public()).map_err(Denial::Operator)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Denial::Operator(format!("no randomness: {error}")))?;
        // Not longer than the token it comes from: who is gone there is gone here.
        let expires = subject.expires.min(now.saturating_add(issuer.life));
        let claims = Claims {
            iss: kid.clone(),
            sub: subject.agent,
            aud: swarm,
            iat: now,
            nbf: now,
            exp: expires,
            jti: format!("{:032x}", u128::from_be_bytes(id)),
            cnf: Confirmation { jwk: asked.public_key.into() },
            swm: Allowance {
                tier: issuer.tier,
                rooms: issuer.rooms.clone(),
                inc: asked.incarnation,
                del: issuer.pass_on,
            },
        };
        let token = claims.sign(&kid, &self.key).map_err(|error| Denial::Operator(error.to_string()))?;
        let admitted = authority.admit(&token, now).map_err(|error| Denial::Request(error.to_string()))?;
        if admitted.tier != issuer.tier {
            let (given, wanted) = (admitted.tier, issuer.tier);
            return Err(Denial::Operator(format!("the policy lets it give {given} at most, not {wanted}")));
        }
        Ok(Issued { token, life: expires.saturating_sub(now) })
    }
}

/// The authority of a policy file.
fn read_policy(path: &Path) -> Result<Authority, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = File::open(path).and_then(|file| file::bounded(file, limits::POLICY_FILE_BYTES));
    let versions = Versions::read(&bytes.map_err(|error| named(&error))?).map_err(|error| named(&error))?;
    let swarm = versions.swarm().ok_or_else(|| named(&"it has no first version"))?;
    Authority::new(swarm, &versions).map_err(|error| named(&error))
}

/// The name of our key in the policy.
fn kid_of(policy: &SwarmPolicy, key: &PublicKey) -> Result<String, String> {
    policy
        .kid_of(key)
        .map(str::to_owned)
        .ok_or_else(|| format!("the key {key} is no issuer of version {} of the policy", policy.version))
}
