//! What a credential says, and whether it counts at a given time. Layer 1.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    claims::{self, Registered},
    delegation,
    jws::{self, Jws, Kind, TokenError},
    key::{PrivateKey, PublicJwk, PublicKey},
    pattern::{Grant, Right, Scope},
    policy::{Issuer, PolicyHash, SwarmPolicy},
    tier::spelled,
};
use crate::{
    error::Fault,
    id::{AgentId, DocumentId},
    limits,
    tier::Tier,
};

/// Why a credential was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// It is no token that could be a credential, or its signature is not the issuer's.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A claim is missing, of another type, or malformed.
    #[error("the claims cannot be read: {0}")]
    Claims(String),
    /// A time after the year 9999.
    #[error("`{claim}` is {value}, the limit is {max}", max = limits::TIME_MAX_SECONDS)]
    Time {
        /// Which claim.
        claim: &'static str,
        /// Seconds since 1970.
        value: u64,
    },
    /// A text that is empty or too long.
    #[error("`{claim}` of {len} bytes, must have 1 to {max}", max = limits::KEY_NAME_BYTES)]
    Length {
        /// Which claim.
        claim: &'static str,
        /// Bytes given.
        len: usize,
    },
    /// A grant has too many paths, or one that is too long.
    #[error(
        "{count} paths in a grant for `{rooms}`, of up to {longest} bytes: at most {}, of {}",
        limits::SUBSCRIPTION_PREFIXES,
        limits::PATH_BYTES
    )]
    Keys {
        /// The grant's rooms.
        rooms: String,
        /// How many.
        count: usize,
        /// Bytes of the longest.
        longest: usize,
    },
    /// It is for another swarm.
    #[error("`aud` is the swarm {found}, this is {wanted}")]
    Audience {
        /// The swarm it is for.
        found: PolicyHash,
        /// The swarm it was shown to.
        wanted: PolicyHash,
    },
    /// No issuer of the policy in force has this key: it never had, or the key is retired.
    #[error("version {version} of the policy has no issuer `{kid}`: never had, or it is retired")]
    Issuer {
        /// The key named.
        kid: String,
        /// The version in force.
        version: u64,
    },
    /// It ends before it begins.
    #[error("`exp` {expires} is not after {begins}, when it begins")]
    Empty {
        /// `exp`.
        expires: u64,
        /// The later of `iat` and `nbf`.
        begins: u64,
    },
    /// It lives longer than the policy allows.
    #[error("a life of {life} s is over the limit of {max} s for {tier}")]
    Life {
        /// Seconds from `iat` to `exp`.
        life: u64,
        /// Seconds allowed.
        max: u64,
        /// The tier whose limit it is.
        tier: Tier,
    },
    /// It is not valid yet.
    #[error("not valid before {begins}; it is {now}, and clocks may differ by {leeway} s", leeway = limits::CLOCK_LEEWAY_SECONDS)]
    Early {
        /// The later of `iat` and `nbf`.
        begins: u64,
        /// The time given.
        now: u64,
    },
    /// It is not valid any more.
    #[error("expired at {expires}; it is {now}, and clocks may differ by {leeway} s", leeway = limits::CLOCK_LEEWAY_SECONDS)]
    Expired {
        /// `exp`.
        expires: u64,
        /// The time given.
        now: u64,
    },
    /// The policy revokes what was issued to this agent before a time.
    #[error("issued to `{agent}` at {issued}; the policy revokes what was issued before {before}")]
    Revoked {
        /// The agent.
        agent: AgentId,
        /// `iat`.
        issued: u64,
        /// The time in the policy.
        before: u64,
    },
    /// The policy has a list of agents, and this one is not on it.
    #[error("`{0}` is not on the policy's list")]
    NotListed(AgentId),
    /// One link of a chain does not follow from the one before.
    #[error(transparent)]
    Delegation(#[from] delegation::DelegationError),
}

impl CredentialError {
    /// Whose fault it is: the peer's, except where only time has to pass.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Early { .. } => Fault::Environment,
            _ => Fault::Peer,
        }
    }

    /// True when the same credential may be accepted later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Early { .. })
    }
}

/// What a credential says. Times are whole seconds since 1970. Claims beyond these are ignored, except within `swm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it; of a credential passed on, the agent that did.
    pub iss: String,
    /// The agent it is for.
    pub sub: AgentId,
    /// The swarm it is for.
    pub aud: PolicyHash,
    /// When it was issued.
    pub iat: u64,
    /// Not valid before.
    pub nbf: u64,
    /// Not valid from here on.
    pub exp: u64,
    /// Its own name, for logs.
    pub jti: String,
    /// The key whose holder may use it (RFC 7800).
    pub cnf: Confirmation,
    /// What it allows.
    pub swm: Allowance,
}

/// The key a credential is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// As a JWK.
    pub jwk: PublicJwk,
}

/// What a credential allows. A field that is not known may be a restriction, so it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// The highest tier.
    #[serde(with = "spelled")]
    pub tier: Tier,
    /// Rights, room by room. What is not granted is denied.
    #[serde(default)]
    pub rooms: Vec<Grant>,
    /// The incarnation of the agent.
    pub inc: u64,
    /// How often it may be passed on: 0 (the default) to 2.
    #[serde(default)]
    pub del: u8,
}

impl Claims {
    /// Reads and checks what depends on nothing but the claims.
    ///
    /// # Errors
    /// [`CredentialError`]; retrying does not help.
    pub fn read(payload: &Value) -> Result<Self, CredentialError> {
        let claims = Self::deserialize(payload).map_err(|error| CredentialError::Claims(error.to_string()))?;
        claims.registered().check_form()?;
        claims::check_grants(&claims.swm.rooms)?;
        delegation::check_depth(claims.swm.del)?;
        Ok(claims)
    }

    /// Signs the claims. The token is made whether or not a policy would have it: [`admit`] says.
    ///
    /// # Errors
    /// [`CredentialError`] when nobody could read the token.
    pub fn sign(&self, kid: &str, key: &PrivateKey) -> Result<String, CredentialError> {
        let payload = serde_json::to_value(self).map_err(|error| CredentialError::Claims(error.to_string()))?;
        Self::read(&payload)?;
        Ok(jws::sign(Kind::Agent, &payload, kid, key)?)
    }

    fn registered(&self) -> Registered<'_> {
        let Self { iss, sub, aud, iat, nbf, exp, jti, .. } = self;
        Registered { iss, sub, aud, iat: *iat, nbf: *nbf, exp: *exp, jti }
    }

    fn check_life(&self, policy: &SwarmPolicy, max_tier: Tier) -> Result<(), CredentialError> {
        self.registered().check_life(policy, self.swm.tier.max(max_tier))
    }
}

/// What an accepted credential allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The agent.
    pub agent: AgentId,
    /// Its incarnation.
    pub incarnation: u64,
    /// Whoever uses the credential must hold this key.
    pub key: PublicKey,
    /// The lower of what the credential says and what its issuer may give.
    pub tier: Tier,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// The name of the credential, for logs.
    pub id: String,
    /// Who issued it, by the name of its key; none when nobody has looked.
    issuer: Option<(String, Issuer)>,
    /// What each link says, the issuer's first.
    links: Vec<Claims>,
}

impl Admission {
    /// What the credential allows in a room, as far as its issuer may give rights there.
    pub fn scope(&self, room: &DocumentId) -> Scope {
        let grants = self.links.last().map_or(&[][..], |last| &last.swm.rooms);
        match &self.issuer {
            Some((_, issuer)) if !issuer.rooms.iter().any(|rooms| rooms.matches(room)) => Scope::nothing(),
            _ => Scope::of(grants, room),
        }
    }

    /// True when the credential grants the right in the room, and its issuer may give rights there.
    pub fn allows(&self, room: &DocumentId, right: Right) -> bool {
        self.scope(room).allows(right)
    }

    /// True when it allows the same as another one of the same agent: only its times differ.
    pub fn allows_as(&self, other: &Self) -> bool {
        let rooms = |one: &Self| one.issuer.as_ref().map(|(_, issuer)| issuer.rooms.clone());
        let grants = |one: &Self| one.links.last().map(|last| last.swm.rooms.clone());
        (self.tier, rooms(self), grants(self)) == (other.tier, rooms(other), grants(other))
    }

    /// What the same credential allows under another version of the policy. Says nothing about time.
    ///
    /// # Errors
    /// [`CredentialError`] when it counts no more: the issuer is retired, the agent revoked or not listed.
    pub fn under(&self, policy: &SwarmPolicy) -> Result<Self, CredentialError> {
        let Some((kid, before)) = &self.issuer else { return Ok(self.clone()) };
        let retired = || CredentialError::Issuer { kid: kid.clone(), version: policy.version };
        let issuer = policy.issuers.get(kid).filter(|issuer| issuer.key == before.key).ok_or_else(retired)?;
        for link in &self.links {
            link.check_life(policy, issuer.max_tier)?;
            link.registered().check_revoked(policy)?;
            link.registered().check_listed(policy)?;
        }
        Self::of(self.links.clone(), Some((kid.clone(), issuer.clone())))
    }

    /// What a credential says of itself, verified by nobody: for its holder, who is to hear early what others would
    /// refuse.
    ///
    /// # Errors
    /// [`CredentialError`] for what no policy could accept.
    pub fn claimed(presented: &str) -> Result<Self, CredentialError> {
        let links = delegation::unverified(presented)?;
        Self::of(links.into_iter().map(|(_, claims)| claims).collect(), None)
    }

    fn of(links: Vec<Claims>, issuer: Option<(String, Issuer)>) -> Result<Self, CredentialError> {
        let last = links.last().ok_or_else(|| CredentialError::Claims("no token".to_owned()))?;
        Ok(Self {
            agent: last.sub.clone(),
            incarnation: last.swm.inc,
            key: last.cnf.jwk.x,
            tier: issuer.as_ref().map_or(last.swm.tier, |(_, issuer)| last.swm.tier.max(issuer.max_tier)),
            expires: last.exp,
            id: last.jti.clone(),
            issuer,
            links,
        })
    }
}

/// Judges a credential at the time `now` (seconds since 1970): one token, or the chain it was passed on by, joined by
/// `~` with the issuer's first. `policy` is the version in force of the swarm `swarm`.
///
/// Says nothing about who shows it: the caller has to see a signature of [`Admission::key`].
///
/// # Errors
/// [`CredentialError`] with the first rule it breaks.
pub fn admit(
    presented: &str,
    swarm: &PolicyHash,
    policy: &SwarmPolicy,
    now: u64,
) -> Result<Admission, CredentialError> {
    let vouched = vouch_at(presented, swarm, policy, Some(now))?;
    Ok(vouched.admission)
}

/// What a credential says of its holder, at whatever time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// What it allows.
    pub admission: Admission,
    /// When it begins, in seconds since 1970.
    pub begins: u64,
    /// `iat`, in seconds since 1970.
    pub issued: u64,
}

/// Judges a credential but for the time and for what is revoked, which decide who is let in and not what was signed:
/// the same at every replica, whenever it is asked.
///
/// # Errors
/// [`CredentialError`] with the first rule it breaks.
pub fn vouch(presented: &str, swarm: &PolicyHash, policy: &SwarmPolicy) -> Result<Vouched, CredentialError> {
    vouch_at(presented, swarm, policy, None)
}

fn vouch_at(
    presented: &str,
    swarm: &PolicyHash,
    policy: &SwarmPolicy,
    now: Option<u64>,
) -> Result<Vouched, CredentialError> {
    let (first, rest) = delegation::links(presented)?;
    let token = Jws::parse(first)?;
    let issuer = policy.issuers.get(token.kid());
    let issuer =
        issuer.ok_or_else(|| CredentialError::Issuer { kid: token.kid().to_owned(), version: policy.version })?;
    let claims = Claims::read(token.verify(&issuer.key)?)?;
    check_link(&claims, swarm, policy, issuer.max_tier, now)?;
    let mut links = vec![claims];
    for link in rest {
        // It was not issued before the one it came from, so what voids that one has voided the chain already.
        let claims = delegation::follow(&links[links.len() - 1], link)?;
        check_link(&claims, swarm, policy, issuer.max_tier, now)?;
        links.push(claims);
    }
    let (begins, issued) = links.last().map_or((0, 0), |last| (last.registered().begins(), last.iat));
    let admission = Admission::of(links, Some((token.kid().to_owned(), issuer.clone())))?;
    Ok(Vouched { admission, begins, issued })
}

/// What holds for every link, passed on or not.
fn check_link(
    claims: &Claims,
    swarm: &PolicyHash,
    policy: &SwarmPolicy,
    max_tier: Tier,
    now: Option<u64>,
) -> Result<(), CredentialError> {
    claims.registered().check_audience(swarm)?;
    claims.check_life(policy, max_tier)?;
    if let Some(now) = now {
        claims.registered().check_time(now)?;
        claims.registered().check_revoked(policy)?;
    }
    claims.registered().check_listed(policy)
}
