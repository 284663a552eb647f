//! Passing a credential on: the holder signs a smaller one for somebody else. Layer 1.
//!
//! Each link is signed by the key the link before is bound to, names its holder as `iss`, and allows no more: not more
//! rooms or rights, no higher tier, never alpha, not longer, and one passing-on less.

use super::{
    credential::{Claims, CredentialError},
    jws::Jws,
    pattern,
};
use crate::{error::Fault, id::AgentId, limits, tier::Tier};

/// What joins the links of a chain. It is in no token.
const LINK: char = '~';

/// Why a link does not follow from the one before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelegationError {
    /// Passed on more often than anybody may.
    #[error("passed on {depth} times, the limit is {max}", max = limits::DELEGATION_DEPTH)]
    Depth {
        /// How often.
        depth: usize,
    },
    /// The link before may not be passed on as often.
    #[error("`del` is {found}, must be below the {before} of the credential passed on")]
    Remaining {
        /// `del` of the link.
        found: u8,
        /// `del` of the link before.
        before: u8,
    },
    /// Signed with another key than the holder's.
    #[error("signed with `{found}`, the holder's key is `{wanted}`")]
    Key {
        /// The key named.
        found: String,
        /// The thumbprint of the holder's key.
        wanted: String,
    },
    /// It names another issuer than the holder.
    #[error("`iss` is `{found}`, the holder is `{wanted}`")]
    Issuer {
        /// The issuer named.
        found: String,
        /// The holder.
        wanted: AgentId,
    },
    /// Alpha is never passed on.
    #[error("tier alpha cannot be passed on")]
    Alpha,
    /// A higher tier than the link before.
    #[error("tier {found} is above {before}, the tier of the credential passed on")]
    Tier {
        /// The tier of the link.
        found: Tier,
        /// The tier of the link before.
        before: Tier,
    },
    /// It ends after the link before.
    #[error("`exp` is {found}, the credential passed on ends at {before}")]
    Outlives {
        /// `exp` of the link.
        found: u64,
        /// `exp` of the link before.
        before: u64,
    },
    /// It begins, or was issued, before the link before.
    #[error("`{claim}` is {found}, before the {before} of the credential passed on")]
    Begins {
        /// `iat` or `nbf`.
        claim: &'static str,
        /// Seconds since 1970.
        found: u64,
        /// The same claim of the link before.
        before: u64,
    },
    /// It grants what the link before does not.
    #[error("rights in `{0}` are not all granted by the credential passed on")]
    Rooms(String),
}

impl DelegationError {
    /// Whoever passed the credential on.
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

pub(super) fn check_depth(depth: u8) -> Result<(), DelegationError> {
    let depth = usize::from(depth);
    if depth > limits::DELEGATION_DEPTH { Err(DelegationError::Depth { depth }) } else { Ok(()) }
}

/// The issuer's token, and the links after it.
pub(super) fn links(presented: &str) -> Result<(&str, impl Iterator<Item = &str>), DelegationError> {
    let depth = presented.matches(LINK).count();
    if depth > limits::DELEGATION_DEPTH {
        return Err(DelegationError::Depth { depth });
    }
    let (first, rest) = presented.split_once(LINK).map_or((presented, None), |(first, rest)| (first, Some(rest)));
    Ok((first, rest.into_iter().flat_map(|rest| rest.split(LINK))))
}

/// What the chain says link by link, whoever signed it: to be shown, never to be acted on.
///
/// # Errors
/// [`CredentialError`] for what no policy could accept.
pub fn unverified(presented: &str) -> Result<Vec<(String, Claims)>, CredentialError> {
    let (first, rest) = links(presented)?;
    let read = |link| {
        let token = Jws::parse(link)?;
        Ok((token.kid().to_owned(), Claims::read(token.unverified())?))
    };
    std::iter::once(first).chain(rest).map(read).collect()
}

/// Appends a link to a chain.
pub fn pass_on(presented: &str, link: &str) -> String {
    format!("{presented}{LINK}{link}")
}

/// The claims of `link`, if it follows from `before`.
pub(super) fn follow(before: &Claims, link: &str) -> Result<Claims, CredentialError> {
    let token = Jws::parse(link)?;
    let holder = before.cnf.jwk.x;
    let wanted = holder.thumbprint();
    if token.kid() != wanted {
        return Err(DelegationError::Key { found: token.kid().to_owned(), wanted }.into());
    }
    let claims = Claims::read(token.verify(&holder)?)?;
    check_subset(before, &claims)?;
    Ok(claims)
}

fn check_subset(before: &Claims, link: &Claims) -> Result<(), DelegationError> {
    if link.iss != before.sub.as_str() {
        return Err(DelegationError::Issuer { found: link.iss.clone(), wanted: before.sub.clone() });
    }
    if link.swm.del >= before.swm.del {
        return Err(DelegationError::Remaining { found: link.swm.del, before: before.swm.del });
    }
    if link.swm.tier == Tier::ALPHA {
        return Err(DelegationError::Alpha);
    }
    if link.swm.tier < before.swm.tier {
        return Err(DelegationError::Tier { found: link.swm.tier, before: before.swm.tier });
    }
    if link.exp > before.exp {
        return Err(DelegationError::Outlives { found: link.exp, before: before.exp });
    }
    for (claim, found, before) in [("iat", link.iat, before.iat), ("nbf", link.nbf, before.nbf)] {
        if found < before {
            return Err(DelegationError::Begins { claim, found, before });
        }
    }
    match link.swm.rooms.iter().find(|grant| !pattern::covers(&before.swm.rooms, grant)) {
        Some(grant) => Err(DelegationError::Rooms(grant.rooms.to_string())),
        None => Ok(()),
    }
}
