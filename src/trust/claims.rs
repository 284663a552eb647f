//! What the claims of all tokens have in common: who issued them to whom, from when to when, and how that is checked.
//! Layer 1.

use std::collections::BTreeSet;

use super::{
    credential::CredentialError,
    pattern::Grant,
    policy::{PolicyHash, SwarmPolicy},
};
use crate::{id::AgentId, limits, tier::Tier};

/// The registered claims (RFC 7519) of a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registered<'a> {
    pub(super) iss: &'a str,
    pub(super) sub: &'a AgentId,
    pub(super) aud: &'a PolicyHash,
    pub(super) iat: u64,
    pub(super) nbf: u64,
    pub(super) exp: u64,
    pub(super) jti: &'a str,
}

impl Registered<'_> {
    /// What depends on nothing else.
    pub(super) fn check_form(self) -> Result<(), CredentialError> {
        for (claim, value) in [("iat", self.iat), ("nbf", self.nbf), ("exp", self.exp)] {
            if value > limits::TIME_MAX_SECONDS {
                return Err(CredentialError::Time { claim, value });
            }
        }
        for (claim, text) in [("iss", self.iss), ("jti", self.jti)] {
            if text.is_empty() || text.len() > limits::KEY_NAME_BYTES {
                return Err(CredentialError::Length { claim, len: text.len() });
            }
        }
        if self.exp <= self.begins() {
            return Err(CredentialError::Empty { expires: self.exp, begins: self.begins() });
        }
        Ok(())
    }

    /// The later of `iat` and `nbf`.
    pub(super) fn begins(self) -> u64 {
        self.iat.max(self.nbf)
    }

    pub(super) fn check_audience(self, swarm: &PolicyHash) -> Result<(), CredentialError> {
        if self.aud == swarm { Ok(()) } else { Err(CredentialError::Audience { found: *self.aud, wanted: *swarm }) }
    }

    pub(super) fn check_time(self, now: u64) -> Result<(), CredentialError> {
        if self.begins() > now.saturating_add(limits::CLOCK_LEEWAY_SECONDS) {
            return Err(CredentialError::Early { begins: self.begins(), now });
        }
        if now >= self.exp.saturating_add(limits::CLOCK_LEEWAY_SECONDS) {
            return Err(CredentialError::Expired { expires: self.exp, now });
        }
        Ok(())
    }

    pub(super) fn check_life(self, policy: &SwarmPolicy, tier: Tier) -> Result<(), CredentialError> {
        let (life, max) = (self.exp.saturating_sub(self.iat), policy.limits.life(tier));
        if life > max { Err(CredentialError::Life { life, max, tier }) } else { Ok(()) }
    }

    pub(super) fn check_revoked(self, policy: &SwarmPolicy) -> Result<(), CredentialError> {
        match policy.revoked.get(self.sub) {
            Some(before) if self.iat < *before => {
                Err(CredentialError::Revoked { agent: self.sub.clone(), issued: self.iat, before: *before })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_listed(self, policy: &SwarmPolicy) -> Result<(), CredentialError> {
        match &policy.allow {
            Some(listed) if !listed.contains(self.sub) => Err(CredentialError::NotListed(self.sub.clone())),
            _ => Ok(()),
        }
    }
}

pub(super) fn check_grants(grants: &[Grant]) -> Result<(), CredentialError> {
    for grant in grants {
        let count = grant.keys.as_ref().map_or(0, BTreeSet::len);
        let longest = grant.keys.iter().flatten().map(String::len).max().unwrap_or(0);
        if count > limits::SUBSCRIPTION_PREFIXES || longest > limits::PATH_BYTES {
            return Err(CredentialError::Keys { rooms: grant.rooms.to_string(), count, longest });
        }
    }
    Ok(())
}
