//! Inquiries: who has asked its peers what they hold holds it once it has heard, whatever goes wrong meanwhile; and once
//! nothing goes wrong any more, it hears.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::{
    document::Version,
    engine::Section,
    id::{LinkId, ObjectId},
    node::{Inquired, InquiryId},
    sync::Role,
};

/// What was asked, and what those who were asked knew then.
#[derive(Debug)]
pub(super) struct Inquiry {
    host: usize,
    epoch: u64,
    document: usize,
    id: InquiryId,
    section: Option<Section>,
    known: BTreeMap<LinkId, Known>,
}

/// What a peer knew and passes on: a relay all, an agent for certain its own.
#[derive(Debug, Default)]
struct Known {
    begun: BTreeSet<ObjectId>,
    version: Version,
}

impl World {
    /// An application asks what its peers hold, or what has begun, unless it is asking already.
    pub(super) fn inquire(&mut self, host: usize, document: usize) {
        let epoch = self.hosts[host].epoch;
        if self.inquiries.iter().any(|open| (open.host, open.epoch, open.document) == (host, epoch, document)) {
            return;
        }
        let (name, moment) = (self.documents[document].clone(), self.hosts[host].moment(self.now));
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let section = host.is_multiple_of(2).then_some(Section::Coordination);
        let Ok(id) = node.inquire(&name, section, moment) else { return };
        self.trace.note(self.now, &[45, host as u64], format_args!("{host} inquires about {name}"));
        self.inquiries.push(Inquiry { host, epoch, document, id, section, known: BTreeMap::new() });
        self.note_asked(host);
    }

    /// Notes what those know who have just been asked: whoever takes part, as soon as it does.
    fn note_asked(&mut self, host: usize) {
        for at in 0..self.inquiries.len() {
            let Inquiry { host: asking, document, section, ref known, .. } = self.inquiries[at];
            let Some(node) = self.hosts[host].node.as_ref().filter(|_| asking == host) else { continue };
            let mut links = node.links_in(&self.documents[document]);
            links.retain(|link| !known.contains_key(link));
            for link in links {
                let knows = self.peer(host, link).map(|peer| self.known_at(peer, document, section));
                self.inquiries[at].known.insert(link, knows.unwrap_or_default());
            }
        }
    }

    fn known_at(&self, peer: usize, document: usize, section: Option<Section>) -> Known {
        let (it, mut begun) = (&self.hosts[peer], self.objects_at(peer, document));
        let version = it.node.as_ref().map(|node| node.read(&self.documents[document], |held| held.version().clone()));
        // While it is worked on, what it holds cannot be told.
        let mut version = version.and_then(Result::ok).unwrap_or_default().of_section(section);
        if it.role != Role::Relay {
            begun.retain(|object| object.holder == it.replica());
            version = version.of(it.replica());
        }
        Known { begun: begun.into_iter().collect(), version }
    }

    /// Who is at the other end of a connection, when it still is there.
    fn peer(&self, host: usize, link: LinkId) -> Option<usize> {
        let (connection, side) = self.hosts[host].links.get(&link)?;
        let far = &self.connections.get(connection)?.ends[1 - side];
        far.open.then_some(far.host)
    }

    /// After every step: who has heard holds all that those held whom it asked and did not lose.
    pub(super) fn check_inquiries(&mut self, host: usize) {
        self.note_asked(host);
        let mut at = 0;
        while let Some(open) = self.inquiries.get(at) {
            let it = &self.hosts[open.host];
            let node = it.node.as_ref().filter(|_| it.epoch == open.epoch);
            let name = &self.documents[open.document];
            let stands = node.map(|node| node.inquired(name, open.id));
            // What is known cannot be told while the document is worked on.
            let away = node.is_some_and(|node| node.read(name, |_| ()).is_err());
            if open.host != host || away || stands == Some(Inquired::Pending) {
                at += 1;
                continue;
            }
            let heard = self.inquiries.swap_remove(at);
            let name = self.documents[heard.document].clone();
            if let Some(node) = self.hosts[host].node.as_mut().filter(|_| stands.is_some()) {
                node.end_inquiry(&name, heard.id);
            }
            match stands {
                Some(Inquired::Heard) => self.check_heard(&heard),
                Some(Inquired::Forbidden { reason }) => self.fail(format!("an inquiry about `{name}` ended: {reason}")),
                // Its process is gone.
                None | Some(Inquired::Pending) => {}
            }
        }
    }

    fn check_heard(&mut self, heard: &Inquiry) {
        let Inquiry { host, document, .. } = *heard;
        self.trace.note(self.now, &[46, host as u64], format_args!("{host} has heard"));
        let known: BTreeSet<ObjectId> = self.objects_at(host, document).into_iter().collect();
        let Some(node) = &self.hosts[host].node else { return };
        let Ok(here) = node.read(&self.documents[document], |held| held.version().clone()) else { return };
        // Who has left meanwhile was not waited for.
        let links = node.links_in(&self.documents[document]);
        for (link, Known { begun, version }) in heard.known.iter().filter(|(link, _)| links.contains(link)) {
            if !here.covers(version) {
                let agent = &self.hosts[host].agent;
                return self.fail(format!("{agent} has heard of {link:?}, which has more: {version:?}, not {here:?}"));
            }
            // What is finished, as somebody has seen, need not be heard of.
            if let Some(object) = begun.difference(&known).find(|object| !self.finished.contains(&(document, **object)))
            {
                let agent = &self.hosts[host].agent;
                return self.fail(format!("{agent} has heard of {link:?}, and not that {object} has begun"));
            }
        }
    }

    /// Its application does not wait any more.
    pub(super) fn stop_inquiring(&mut self, host: usize, document: usize) {
        self.inquiries.retain(|open| (open.host, open.document) != (host, document));
    }

    /// At rest nobody is still asking.
    pub(super) fn check_all_heard(&mut self) {
        let lives = |open: &&Inquiry| self.hosts[open.host].epoch == open.epoch && self.hosts[open.host].node.is_some();
        if let Some(open) = self.inquiries.iter().find(lives) {
            let (agent, name) = (&self.hosts[open.host].agent, &self.documents[open.document]);
            self.fail(format!("{agent} still asks its peers about `{name}`"));
        }
    }
}
