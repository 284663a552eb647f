//! Who gets in as a guest, and what for. Layer 3, pure.

use std::time::Duration;

use super::word::GuestRights;
use crate::{
    error::Fault,
    id::{AgentId, DocumentId},
    limits,
    time::{Moment, Monotonic},
    trust::{
        authority::Authority,
        credential::CredentialError,
        pass::{self, Pass},
        pattern::Right,
    },
};

/// What lets a guest in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: whoever reaches the relay may do so much in every document.
    Open(GuestRights),
    /// A pass.
    Pass(Box<Pass>),
}

impl Entry {
    /// What may be done with the content of a document; `None`: nothing.
    pub fn rights(&self, document: &DocumentId) -> Option<GuestRights> {
        let scope = match self {
            Self::Open(rights) => return Some(*rights),
            Self::Pass(pass) => pass.scope(document),
        };
        let write = scope.allows(Right::Write) && scope.allows_content();
        scope.allows(Right::Read).then_some(if write { GuestRights::Write } else { GuestRights::Read })
    }

    /// True when the guest may be seen in a document.
    pub fn may_be_seen(&self, document: &DocumentId) -> bool {
        match self {
            Self::Open(_) => true,
            Self::Pass(pass) => pass.scope(document).allows(Right::Presence),
        }
    }

    /// Whom the pass is for.
    pub fn subject(&self) -> Option<&AgentId> {
        match self {
            Self::Open(_) => None,
            Self::Pass(pass) => Some(pass.subject()),
        }
    }

    /// The same under another version of the policy.
    ///
    /// # Errors
    /// [`CredentialError`] when the pass counts no more.
    pub fn under(&self, authority: &Authority) -> Result<Self, CredentialError> {
        match self {
            Self::Open(rights) => Ok(Self::Open(*rights)),
            Self::Pass(pass) => pass.under(authority.policy()).map(|pass| Self::Pass(Box::new(pass))),
        }
    }
}

/// Why a client was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Nobody is let in.
    #[error("this relay takes no guests: it was not started with --guests read or write")]
    NoGuests,
    /// Nobody is let in without a pass.
    #[error("this relay takes guests with a pass only, and none was shown")]
    NoPass,
    /// The pass does not count.
    #[error("the pass was refused: {0}")]
    Pass(#[from] CredentialError),
}

impl GateError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoGuests => Fault::Environment,
            Self::NoPass => Fault::Peer,
            Self::Pass(error) => error.fault(),
        }
    }

    /// True when the same may be let in later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Pass(error) if error.is_retryable())
    }
}

/// Where one connection's guest comes in.
#[derive(Debug, Clone)]
pub struct Gate {
    open: Option<GuestRights>,
    authority: Option<Authority>,
    opened: Moment,
}

impl Gate {
    /// Lets in whoever comes as far as `open` says, and who shows a pass as far as that does. Without an `authority` there
    /// are no passes. `now` is the beginning of the connection.
    pub const fn new(open: Option<GuestRights>, authority: Option<Authority>, now: Moment) -> Self {
        Self { open, authority, opened: now }
    }

    /// Judges passes by a newer policy.
    pub fn judge_by(&mut self, authority: Authority) {
        self.authority = Some(authority);
    }

    /// Lets in whoever shows `token`, or says why not. Who shows a pass that does not count is not taken for somebody
    /// without one.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn admit(&self, token: Option<&str>, now: Monotonic) -> Result<Entry, GateError> {
        let refusal = match (&self.authority, token.filter(|token| !token.is_empty())) {
            (Some(authority), Some(token)) => {
                let admitted = pass::admit(token, &authority.swarm(), authority.policy(), self.seconds(now))?;
                return Ok(Entry::Pass(Box::new(admitted)));
            }
            (Some(_), None) => GateError::NoPass,
            (None, _) => GateError::NoGuests,
        };
        self.open.map(Entry::Open).ok_or(refusal)
    }

    /// Says so if nobody is let in, whatever is shown.
    ///
    /// # Errors
    /// `NoGuests`.
    pub const fn may_let_in(&self) -> Result<(), GateError> {
        if self.open.is_some() || self.authority.is_some() { Ok(()) } else { Err(GateError::NoGuests) }
    }

    /// When what lets a guest in comes to its end.
    pub fn end(&self, entry: &Entry) -> Option<Monotonic> {
        let Entry::Pass(pass) = entry else { return None };
        let end = pass.expires().saturating_add(limits::CLOCK_LEEWAY_SECONDS);
        let left = end.saturating_sub(self.opened.wall_ms / 1_000).min(limits::TIME_MAX_SECONDS);
        Some(self.opened.mono + Duration::from_secs(left))
    }

    fn seconds(&self, now: Monotonic) -> u64 {
        (self.opened.wall_ms / 1_000).saturating_add(now.since(self.opened.mono).as_secs())
    }
}
