//! Who is at the other end: asking for a credential, and showing one. Layer 3, pure.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{error::SessionError, message::Hello};
use crate::{
    limits,
    time::{Moment, Monotonic},
    trust::{
        authority::Authority,
        credential::Admission,
        possession::{Conversation, Holder, PossessionError, Proof},
    },
};

/// How long before a credential ends its holder is asked for a newer one.
const RENEW_BEFORE_SECONDS: u64 = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// What a session asks of whoever connects: a credential, and a signature of its key over this very conversation.
#[derive(Debug, Clone)]
pub struct Door {
    authority: Authority,
    challenge: [u8; 32],
    opened: Moment,
}

impl Door {
    /// Lets in whom `authority` admits. `challenge` is drawn for this connection and never used again; `now` is its
    /// beginning.
    pub const fn new(authority: Authority, challenge: [u8; 32], now: Moment) -> Self {
        Self { authority, challenge, opened: now }
    }

    fn seconds(&self, now: Monotonic) -> u64 {
        (self.opened.wall_ms / 1_000).saturating_add(now.since(self.opened.mono).as_secs())
    }

    fn at(&self, seconds: u64) -> Monotonic {
        let left = seconds.saturating_sub(self.opened.wall_ms / 1_000).min(limits::TIME_MAX_SECONDS);
        self.opened.mono + Duration::from_secs(left)
    }
}

/// Where a connection was dialled, and what only its two ends know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// Host and port as the dialler wrote them; what the other end was called by. Empty without either.
    pub audience: String,
    /// The binding of an encrypted connection (RFC 9266).
    pub binding: Option<[u8; 32]>,
}

/// A session's part in showing and asking.
#[derive(Debug, Default)]
pub(super) struct Threshold {
    door: Option<Door>,
    admitted: Option<Admission>,
    /// Its end is near, and it was asked for a newer one.
    renewal_asked: bool,
    holder: Option<Holder>,
    channel: Channel,
    /// SHA-256 of either side's Hello.
    ours: [u8; 32],
    theirs: [u8; 32],
    /// Proofs shown since the minute began.
    shown: (Monotonic, u32),
    /// The peer asks.
    is_asked: bool,
    /// Both ends know the binding: neither Hello can be changed on the way to hide that, since both are signed over.
    binds: bool,
}

impl Threshold {
    pub(super) fn ask(&mut self, door: Door) -> [u8; 32] {
        let challenge = door.challenge;
        self.door = Some(door);
        challenge
    }

    pub(super) fn judge_by(&mut self, authority: Authority) {
        if let Some(door) = &mut self.door {
            door.authority = authority;
        }
    }

    pub(super) fn hold(&mut self, holder: Holder) {
        self.holder = Some(holder);
    }

    pub(super) fn set_channel(&mut self, channel: Channel) {
        self.channel = channel;
    }

    /// Our own Hello, as it goes out.
    pub(super) fn said(&mut self, hello: &[u8]) {
        self.ours = Sha256::digest(hello).into();
    }

    /// The peer's Hello, as it came.
    pub(super) fn heard(&mut self, payload: &[u8], hello: &Hello, binds: bool) {
        self.binds = binds;
        self.theirs = Sha256::digest(payload).into();
        self.is_asked = hello.challenge.is_some();
    }

    /// True while the peer has yet to say who it is.
    pub(super) const fn is_shut(&self) -> bool {
        self.door.is_some() && self.admitted.is_none()
    }

    pub(super) const fn admitted(&self) -> Option<&Admission> {
        self.admitted.as_ref()
    }

    /// What to show, when the peer asks.
    pub(super) fn answer(&self) -> Result<Option<Proof>, SessionError> {
        if !self.is_asked {
            return Ok(None);
        }
        let holder = self.holder.as_ref().ok_or(SessionError::NoCredential)?;
        let proof = holder.prove(&self.conversation(&self.theirs, &self.ours));
        proof.map(Some).map_err(|error| SessionError::Unfit { reason: error.to_string() })
    }

    /// The peer shows a credential, for the first time or a newer one.
    pub(super) fn shown(&mut self, proof: &Proof, hello: &Hello, now: Monotonic) -> Result<Admission, SessionError> {
        let Some(door) = &self.door else {
            return Err(SessionError::protocol("a credential was shown that nobody asked for".to_owned()));
        };
        let (begun, count) = self.shown;
        self.shown = if now.since(begun) < MINUTE { (begun, count + 1) } else { (now, 1) };
        if self.shown.1 > limits::PROOFS_PER_MINUTE {
            let (size, max) = (self.shown.1 as usize, limits::PROOFS_PER_MINUTE as usize);
            return Err(SessionError::TooLarge { what: "a number of credentials within a minute", size, max });
        }
        let conversation = self.conversation(&self.ours, &self.theirs);
        let admission = proof.check(&conversation, &hello.identity, &door.authority, door.seconds(now))?;
        if let Some(before) =
            self.admitted.as_ref().filter(|before| (&before.agent, &before.key) != (&admission.agent, &admission.key))
        {
            let (found, before) = (admission.agent, before.agent.clone());
            return Err(PossessionError::Changed { found, before }.into());
        }
        self.renewal_asked = false;
        self.admitted = Some(admission.clone());
        Ok(admission)
    }

    fn conversation<'a>(&'a self, asker: &'a [u8; 32], asked: &'a [u8; 32]) -> Conversation<'a> {
        let Channel { audience, binding } = &self.channel;
        Conversation { asker, asked, audience, binding: binding.as_ref().filter(|_| self.binds) }
    }

    /// When to look at the time again: the peer's credential ends.
    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        let (door, admitted) = (self.door.as_ref()?, self.admitted.as_ref()?);
        let ends = if self.renewal_asked {
            admitted.expires.saturating_add(limits::CLOCK_LEEWAY_SECONDS)
        } else {
            admitted.expires.saturating_sub(RENEW_BEFORE_SECONDS)
        };
        Some(door.at(ends))
    }

    /// True when the peer is to be asked for a newer credential now.
    ///
    /// # Errors
    /// Its credential has ended.
    pub(super) fn tick(&mut self, now: Monotonic) -> Result<bool, SessionError> {
        if self.next_wake().is_none_or(|at| at > now) {
            return Ok(false);
        }
        let Some(admitted) = &self.admitted else { return Ok(false) };
        if self.renewal_asked {
            return Err(SessionError::Expired { agent: admitted.agent.clone(), expires: admitted.expires });
        }
        self.renewal_asked = true;
        Ok(true)
    }
}
