//! The operator's file: whose tokens are taken, and what is given for them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Denial, Exchange, Subject, key_set::KeySet, kid_of, read_policy};
use crate::{
    driver::Clock,
    id::AgentId,
    limits,
    tier::Tier,
    transport::tls::file,
    trust::{json, key::PrivateKey, pattern::Grant, tier::spelled},
};

/// Why a relay has no exchange.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// A file cannot be used.
    #[error("cannot use `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The policy does not let this key issue credentials.
    #[error("{0}")]
    Policy(String),
}

/// The file, as it is written. Paths are relative to its folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The policy of the swarm.
    policy: PathBuf,
    /// The private key that signs credentials: an issuer of the policy.
    key: PathBuf,
    issuers: Vec<WrittenIssuer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIssuer {
    /// Its `iss`.
    issuer: String,
    /// What its tokens must have in `aud`.
    audience: String,
    /// Where its keys are: `https://…`, or a file.
    jwks: String,
    /// The authorities to believe there, when they are not public.
    jwks_ca: Option<PathBuf>,
    /// Seconds between two looks for a key that is not known.
    #[serde(default = "minute")]
    jwks_pause: u64,
    /// The claim that says who it is about.
    #[serde(default = "sub")]
    claim: String,
    /// What that claim's values are called here; without it they are agents' names themselves.
    agents: Option<BTreeMap<String, AgentId>>,
    /// What is given.
    #[serde(with = "spelled")]
    tier: Tier,
    rooms: Vec<Grant>,
    #[serde(default = "life")]
    life_seconds: u64,
    #[serde(default)]
    pass_on: u8,
}

const fn minute() -> u64 {
    60
}

fn sub() -> String {
    "sub".to_owned()
}

const fn life() -> u64 {
    limits::ALPHA_LIFE_SECONDS
}

/// An issuer whose tokens are taken.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) keys: KeySet,
    audience: String,
    claim: String,
    agents: Option<BTreeMap<String, AgentId>>,
    pub(super) tier: Tier,
    pub(super) rooms: Vec<Grant>,
    /// In seconds.
    pub(super) life: u64,
    pub(super) pass_on: u8,
}

/// Reads the file and all it names. Blocks.
pub(super) fn open(path: &Path, clock: Clock) -> Result<Exchange, ExchangeError> {
    let unusable = |path: &Path, reason: &dyn std::fmt::Display| ExchangeError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let bytes = file::read(path).map_err(|error| unusable(path, &error))?;
    let value = json::parse(&bytes).map_err(|error| unusable(path, &error))?;
    let written: Written = serde_json::from_value(value).map_err(|error| unusable(path, &error))?;
    let beside = |named: &Path| path.parent().map_or_else(|| named.to_owned(), |folder| folder.join(named));
    let (policy, secret) = (beside(&written.policy), beside(&written.key));
    let text = file::read_secret(&secret).map(Zeroizing::new).map_err(|error| unusable(&secret, &error))?;
    let key = std::str::from_utf8(&text).ok().and_then(PrivateKey::from_jwk);
    let key = key.ok_or_else(|| unusable(&secret, &"it holds no private key"))?;
    let authority = read_policy(&policy).map_err(ExchangeError::Policy)?;
    let swarm = authority.swarm();
    kid_of(authority.policy(), &key.public()).map_err(ExchangeError::Policy)?;
    let mut issuers = BTreeMap::new();
    for written in written.issuers {
        let name = written.issuer.clone();
        let issuer = written.open(&beside, clock).map_err(|reason| unusable(path, &reason))?;
        if issuers.insert(name.clone(), issuer).is_some() {
            return Err(unusable(path, &format_args!("the issuer {name} stands twice")));
        }
    }
    Ok(Exchange { policy, swarm, key, issuers, clock })
}

impl WrittenIssuer {
    fn open(self, beside: &impl Fn(&Path) -> PathBuf, clock: Clock) -> Result<Issuer, String> {
        let pause = Duration::from_secs(self.jwks_pause);
        let authorities = self.jwks_ca.as_deref().map(beside);
        let keys = if self.jwks.contains("://") {
            KeySet::at(&self.jwks, authorities, pause)?
        } else {
            KeySet::in_file(beside(Path::new(&self.jwks)), pause, clock.mono())?
        };
        Ok(Issuer {
            name: self.issuer,
            keys,
            audience: self.audience,
            claim: self.claim,
            agents: self.agents,
            tier: self.tier,
            rooms: self.rooms,
            life: self.life_seconds,
            pass_on: self.pass_on,
        })
    }
}

impl Issuer {
    /// Who a verified token is about.
    pub(super) fn subject(&self, claims: &Value, now: u64) -> Result<Subject, Denial> {
        let refuse = |reason: String| Err(Denial::Request(reason));
        let for_us = match &claims["aud"] {
            Value::String(audience) => *audience == self.audience,
            Value::Array(audiences) => audiences.iter().any(|audience| *audience == self.audience),
            _ => false,
        };
        if !for_us {
            return refuse(format!("`aud` is {}, must be or hold \"{}\"", shorten(&claims["aud"]), self.audience));
        }
        let time = |claim: &str| match &claims[claim] {
            Value::Null => Ok(None),
            value => match value.as_u64() {
                Some(time) => Ok(Some(time)),
                None => Err(Denial::Request(format!("`{claim}` is {}, must be whole seconds", shorten(value)))),
            },
        };
        let Some(expires) = time("exp")? else { return refuse("`exp` is missing".to_owned()) };
        // Without leeway: the credential would end before it began.
        if expires <= now {
            return refuse(format!("the token expired at {expires}; it is {now}"));
        }
        for claim in ["nbf", "iat"] {
            if let Some(begins) = time(claim)?.filter(|time| *time > now + limits::CLOCK_LEEWAY_SECONDS) {
                return refuse(format!("`{claim}` is {begins}, and it is {now}: not valid yet"));
            }
        }
        let Some(subject) = claims[&self.claim].as_str() else {
            return refuse(format!("`{}` is {}, must be text", self.claim, shorten(&claims[&self.claim])));
        };
        let agent = match &self.agents {
            Some(agents) => agents.get(subject).cloned(),
            None => AgentId::new(subject).ok(),
        };
        match agent {
            Some(agent) => Ok(Subject { agent, expires }),
            None => refuse(format!("`{}` is {}, which is no agent here", self.claim, shorten(&claims[&self.claim]))),
        }
    }
}

/// A foreign value, as far as an error repeats it.
pub(super) fn shorten(value: &Value) -> String {
    match value {
        Value::Null => "missing".to_owned(),
        value => value.to_string().chars().take(80).collect(),
    }
}
