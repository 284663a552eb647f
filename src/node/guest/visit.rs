//! What lets a guest into documents, and what happens when that changes.

use std::collections::BTreeMap;

use super::super::{
    Node, Output,
    event::Event,
    hub::{Hub, Link},
};
use crate::{
    error::CloseCode,
    id::{DocumentId, Identity, LinkId},
    sync::{Capabilities, Hello, Role},
    trust::{authority::Authority, credential::CredentialError, policy::PolicyHash},
    wires::{Entry, GuestRights, Told, Word},
};

/// Under what a guest is here.
#[derive(Debug)]
pub(in crate::node) struct Visit {
    /// For all documents, where that was said at the beginning.
    whole: Option<Entry>,
    documents: BTreeMap<DocumentId, Entry>,
}

impl Visit {
    fn entry(&self, document: &DocumentId) -> Option<&Entry> {
        self.documents.get(document).or(self.whole.as_ref())
    }

    /// What it may do with the content of a document; `None`: nothing.
    pub(super) fn rights(&self, document: &DocumentId) -> Option<GuestRights> {
        self.entry(document)?.rights(document)
    }

    /// True when it may be seen in a document.
    pub(super) fn may_be_seen(&self, document: &DocumentId) -> bool {
        self.entry(document).is_some_and(|entry| entry.may_be_seen(document))
    }

    pub(super) fn leave(&mut self, document: &DocumentId) {
        self.documents.remove(document);
    }

    /// Judges what let it in by a newer policy; true when something is not allowed as before.
    ///
    /// # Errors
    /// [`CredentialError`] when a pass counts no more.
    pub(in crate::node) fn judge_by(&self, authority: &Authority) -> Result<bool, CredentialError> {
        let mut has_changed = false;
        for entry in self.documents.values().chain(&self.whole) {
            has_changed |= entry.under(authority)? != *entry;
        }
        Ok(has_changed)
    }
}

impl Node {
    /// A client of another library has connected.
    pub(in crate::node) fn guest_up(&mut self, link: LinkId, identity: Identity, entry: Option<Entry>) {
        let agent = identity.agent.clone();
        // The policy may have changed since it was let in.
        let entry = match entry.map(|entry| self.still_counts(entry)).transpose() {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                return self.hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
            }
        };
        let credential = entry.as_ref().and_then(|entry| self.shown(entry));
        if credential.is_some() && self.has_too_many(link, &agent) {
            return;
        }
        let up = Link {
            hello: Hello::new(identity, Role::Agent, Capabilities::default()),
            target: None,
            trusted: false,
            admission: None,
            guest: Some(Visit { whole: entry, documents: BTreeMap::new() }),
            outstanding: 0,
            strikes: 0,
            documents: Default::default(),
            retry_after: None,
        };
        self.hub.links.insert(link, up);
        self.hub.event(Event::LinkUp { link, agent, credential });
    }

    fn still_counts(&self, entry: Entry) -> Result<Entry, CredentialError> {
        match self.authority() {
            Some(authority) => entry.under(authority),
            None => Ok(entry),
        }
    }

    fn shown(&self, entry: &Entry) -> Option<(String, PolicyHash)> {
        let Entry::Pass(pass) = entry else { return None };
        Some((pass.id().to_owned(), self.authority()?.current().hash))
    }

    /// A guest is let into a document, or is in it under something else from now on.
    pub(super) fn enter(&mut self, link: LinkId, document: DocumentId, entry: Entry) {
        let entry = match self.still_counts(entry) {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                return self.hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
            }
        };
        let credential = self.shown(&entry);
        let Some(peer) = self.hub.links.get(&link) else { return };
        if let Some(subject) = entry.subject().filter(|subject| **subject != peer.hello.identity.agent)
            && self.has_too_many(link, subject)
        {
            return;
        }
        let Some(peer) = self.hub.links.get_mut(&link) else { return };
        let Some(visit) = &mut peer.guest else { return };
        let (rights, is_seen) = (entry.rights(&document), entry.may_be_seen(&document));
        let subject = entry.subject().cloned();
        visit.documents.insert(document.clone(), entry);
        if let Some(agent) = subject {
            peer.hello.identity.agent = agent.clone();
            self.hub.event(Event::Entered { link, document: document.clone(), agent, credential });
        }
        let Some(rights) = rights else { return self.in_room(&document, |room, hub| room.leave_guest(link, hub)) };
        let Some(guest) = self.rooms.get_mut(&document).and_then(|room| room.guests.get_mut(&link)) else { return };
        (guest.rights, guest.is_seen) = (rights, is_seen);
    }

    /// True when a guest may read a document; else it is told that it may not.
    pub(super) fn is_let_in(&mut self, link: LinkId, document: &DocumentId, ask: Asking) -> bool {
        let visit = self.hub.links.get(&link).and_then(|peer| peer.guest.as_ref());
        if visit.is_some_and(|visit| visit.rights(document).is_some()) {
            return true;
        }
        deny(link, document, ask, &mut self.hub);
        false
    }
}

/// How a guest asks for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// Of one connection for one document, or of one that has entered.
    Join,
    /// Of any document, one after the other; with `wants`, it waits for an answer.
    Sync { wants: bool },
}

fn deny(link: LinkId, document: &DocumentId, ask: Asking, hub: &mut Hub) {
    let reason = format!("no right to read `{document}`");
    match ask {
        Asking::Join => {
            hub.forbid(link, Some(document), reason.clone());
            hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
        }
        Asking::Sync { wants } => {
            hub.forbid(link, Some(document), reason);
            if wants {
                hub.tell_guests(vec![link], Told::new(Some(document.clone()), Word::Unavailable));
            }
        }
    }
}
