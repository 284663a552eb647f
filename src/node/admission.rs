//! What credentials allow, and what happens when that changes: a newer policy, a newer credential, ours or a peer's.

use super::{
    Node, Output,
    event::Event,
    hub::{Hub, Link},
    room::{Room, State},
    signing::signing_of,
};
use crate::{
    error::CloseCode,
    id::{AgentId, LinkId},
    time::Moment,
    trust::{
        authority::Authority,
        credential::{Admission, CredentialError},
        possession::Holder,
        quota::Quota,
    },
};

impl Room {
    /// Confines local changes to what our credential allows now, once the document is here; true when that is something
    /// else than before.
    pub(super) fn confine(&mut self, hub: &Hub) -> bool {
        let confines = hub.own_confines(&self.id);
        match &mut self.state {
            State::Ready(document) if document.confines() != confines.as_ref() => {
                document.confine(confines);
                true
            }
            _ => false,
        }
    }
}

impl Node {
    /// Who may connect; `None`: everybody.
    pub fn authority(&self) -> Option<&Authority> {
        self.hub.config.authority.as_ref()
    }

    /// What this node shows when asked who it is.
    pub fn holder(&self) -> Option<&Holder> {
        self.hub.config.holder.as_ref()
    }

    /// What a credential that was accepted allows by the policy of now.
    pub(super) fn still_admitted(
        &self,
        admission: Option<Box<Admission>>,
    ) -> Result<Option<Admission>, CredentialError> {
        match (admission, self.authority()) {
            (Some(admission), Some(authority)) => admission.under(authority.policy()).map(Some),
            (admission, _) => Ok(admission.map(|admission| *admission)),
        }
    }

    /// Judges everybody by a newer policy, also those who are connected: who takes no part any more is cut off, and so
    /// is whose rights have changed, to come back with what is left.
    pub fn set_authority(&mut self, authority: Authority, now: Moment) {
        self.hub.now = now;
        let mut cut = Vec::new();
        for (link, peer) in &self.hub.links {
            let is_as_before = match (&peer.admission, &peer.guest) {
                (Some(before), _) => before.under(authority.policy()).map(|after| after.allows_as(before)),
                (None, Some(visit)) => visit.judge_by(&authority).map(|has_changed| !has_changed),
                (None, None) => continue,
            };
            match is_as_before {
                Ok(true) => {}
                Ok(false) => cut.push((*link, CloseCode::RIGHTS, "rights have changed: come back".to_owned())),
                Err(error) => cut.push((*link, CloseCode::REVOKED, error.to_string())),
            }
        }
        self.hub.config.authority = Some(authority.clone());
        self.sign_anew();
        self.hub.out.push_back(Output::Judge { authority });
        for (link, code, reason) in cut {
            self.cut_off(link, code, reason);
        }
    }

    /// Records are signed and checked by what is known now.
    fn sign_anew(&mut self) {
        let config = &self.hub.config;
        if let Some(signing) = signing_of(config.authority.as_ref(), config.holder.as_ref()) {
            self.set_signing(signing, self.hub.now);
        }
    }

    /// Ends a connection at once: what comes of it from now on is for nobody.
    fn cut_off(&mut self, link: LinkId, code: CloseCode, reason: String) {
        self.hub.out.push_back(Output::Close { link, code, reason: reason.clone() });
        self.link_down(link, reason, code.is_final());
    }

    /// True when an agent has as many connections as it may: then the new one is closed.
    pub(super) fn has_too_many(&mut self, link: LinkId, agent: &AgentId) -> bool {
        let same = |known: &&Link| known.target.is_none() && known.hello.identity.agent == *agent;
        let open = self.hub.links.values().filter(same).count();
        let max = self.hub.quota(Quota::AgentConnections);
        if (open as u64) < max {
            return false;
        }
        let reason = format!("`{agent}` has {open} connections, limit {max}");
        self.hub.out.push_back(Output::Close { link, code: CloseCode::TOO_MANY, reason });
        true
    }

    /// A peer has shown a newer credential: what it allows counts from now on.
    pub(super) fn renewed(&mut self, link: LinkId, admission: Admission) {
        let admission = match self.still_admitted(Some(Box::new(admission))) {
            Ok(admission) => admission,
            Err(error) => return self.cut_off(link, CloseCode::REVOKED, error.to_string()),
        };
        let Some(peer) = self.hub.links.get_mut(&link) else { return };
        let unchanged = match (&admission, &peer.admission) {
            (Some(after), Some(before)) => after.allows_as(before),
            _ => false,
        };
        peer.admission = admission;
        if !unchanged {
            self.cut_off(link, CloseCode::RIGHTS, "rights have changed: come back".to_owned());
        }
    }

    /// A peer wants a newer credential of ours.
    pub(super) fn renewal_asked(&mut self, link: LinkId) {
        self.hub.event(Event::RenewalAsked { link });
    }

    /// Shows a newer credential of the same key at every connection that asks for one, and goes by what it allows.
    ///
    /// # Errors
    /// [`CredentialError`] when it cannot be read: the older one stays.
    pub fn renew_credential(&mut self, presented: &str, now: Moment) -> Result<(), CredentialError> {
        self.hub.now = now;
        let own = Admission::claimed(presented)?;
        let Some(holder) = &self.hub.config.holder else { return Ok(()) };
        let holder = holder.renewed(presented);
        self.hub.config.holder = Some(holder.clone());
        self.hub.own = Some(own);
        self.hub.out.push_back(Output::Show { holder });
        self.sign_anew();
        for room in self.rooms.values_mut() {
            if room.confine(&self.hub) {
                room.resume_coordination(&mut self.hub);
            }
        }
        Ok(())
    }
}
