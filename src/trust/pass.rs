//! Passes of guests: clients of other libraries, which have nothing to sign with. Layer 1.
//!
//! A pass is a bearer token (RFC 6750): whoever has it can use it, until it ends. So it counts at the wires of guests and
//! nowhere else, and a credential does not count there: it would be shown to whoever listens, without its key.
//!
//! The form is that of a credential but for `typ`, which is `guest+jwt`, and without key, tier or passing-on. Any
//! library that signs tokens with Ed25519 can make one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    claims::{self, Registered},
    credential::CredentialError,
    jws::{self, Jws, Kind},
    key::PrivateKey,
    pattern::{Grant, Scope},
    policy::{Issuer, PolicyHash, SwarmPolicy},
};
use crate::{
    id::{AgentId, DocumentId},
    tier::Tier,
};

/// What a pass says. Times are whole seconds since 1970. Claims beyond these are ignored, except within `swm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassClaims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for: the name others see.
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
    /// What it allows.
    pub swm: PassAllowance,
}

/// What a pass allows. A field that is not known may be a restriction, so it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassAllowance {
    /// Rights, room by room. What is not granted is denied. Guests have no use for others than `read`, `write` and
    /// `presence`, nor for `write` below paths.
    pub rooms: Vec<Grant>,
}

impl PassClaims {
    /// Reads and checks what depends on nothing but the claims.
    ///
    /// # Errors
    /// [`CredentialError`]; retrying does not help.
    pub fn read(payload: &Value) -> Result<Self, CredentialError> {
        let claims = Self::deserialize(payload).map_err(|error| CredentialError::Claims(error.to_string()))?;
        claims.registered().check_form()?;
        claims::check_grants(&claims.swm.rooms)?;
        Ok(claims)
    }

    /// Signs the claims. The pass is made whether or not a policy would have it: [`admit`] says.
    ///
    /// # Errors
    /// [`CredentialError`] when nobody could read the pass.
    pub fn sign(&self, kid: &str, key: &PrivateKey) -> Result<String, CredentialError> {
        let payload = serde_json::to_value(self).map_err(|error| CredentialError::Claims(error.to_string()))?;
        Self::read(&payload)?;
        Ok(jws::sign(Kind::Guest, &payload, kid, key)?)
    }

    fn registered(&self) -> Registered<'_> {
        let Self { iss, sub, aud, iat, nbf, exp, jti, .. } = self;
        Registered { iss, sub, aud, iat: *iat, nbf: *nbf, exp: *exp, jti }
    }
}

/// An accepted pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    claims: PassClaims,
    kid: String,
    issuer: Issuer,
}

impl Pass {
    /// Whom it is for.
    pub const fn subject(&self) -> &AgentId {
        &self.claims.sub
    }

    /// Its own name, for logs.
    pub fn id(&self) -> &str {
        &self.claims.jti
    }

    /// When it ends, in seconds since 1970.
    pub const fn expires(&self) -> u64 {
        self.claims.exp
    }

    /// What it allows in a room, as far as its issuer may give rights there.
    pub fn scope(&self, room: &DocumentId) -> Scope {
        if self.issuer.rooms.iter().any(|rooms| rooms.matches(room)) {
            Scope::of(&self.claims.swm.rooms, room)
        } else {
            Scope::nothing()
        }
    }

    /// What the same pass allows under another version of the policy. Says nothing about time.
    ///
    /// # Errors
    /// [`CredentialError`] when it counts no more: the issuer is retired, the subject revoked or not listed.
    pub fn under(&self, policy: &SwarmPolicy) -> Result<Self, CredentialError> {
        let Self { claims, kid, issuer } = self;
        let issuer = policy.issuers.get(kid).filter(|known| known.key == issuer.key);
        let Some(issuer) = issuer else {
            return Err(CredentialError::Issuer { kid: kid.clone(), version: policy.version });
        };
        check(claims, policy)?;
        Ok(Self { issuer: issuer.clone(), ..self.clone() })
    }
}

/// What depends on the policy, and not on the time.
fn check(claims: &PassClaims, policy: &SwarmPolicy) -> Result<(), CredentialError> {
    let registered = claims.registered();
    registered.check_life(policy, Tier::GAMMA)?;
    registered.check_revoked(policy)?;
    registered.check_listed(policy)
}

/// Judges a pass at the time `now` (seconds since 1970). `policy` is the version in force of the swarm `swarm`.
///
/// # Errors
/// [`CredentialError`] with the first rule it breaks.
pub fn admit(token: &str, swarm: &PolicyHash, policy: &SwarmPolicy, now: u64) -> Result<Pass, CredentialError> {
    let token = Jws::parse_as(Kind::Guest, token)?;
    let kid = token.kid().to_owned();
    let Some(issuer) = policy.issuers.get(&kid) else {
        return Err(CredentialError::Issuer { kid, version: policy.version });
    };
    let claims = PassClaims::read(token.verify(&issuer.key)?)?;
    claims.registered().check_audience(swarm)?;
    claims.registered().check_time(now)?;
    check(&claims, policy)?;
    Ok(Pass { claims, kid, issuer: issuer.clone() })
}
