//! Inquiries: asking peers what they hold, until it is here. Layer 4.
//!
//! A peer answers with its version at one moment: what it has of all whose writes it passes on, and of the asker's own.
//! An answer counts once it covers what the asker had written when it began to ask; then all that is in it is waited
//! for. So of two replicas that inquire of one peer, the one whose answer was given later hears of what the other had
//! written: the peer had it already.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Node, NodeError,
    event::Event,
    flow::Member,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    document::{Document, Version},
    engine::Section,
    id::{DocumentId, LinkId},
    limits,
    sync::{ErrorCode, Lane, Message},
    time::{Moment, Monotonic},
};

/// The wait after an answer that does not count, twice as long with each, up to the other.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_millis(640);

/// Answers that do not count, and refusals, after which a peer that has refused something is taken not to take what was
/// written here.
const MISSES: u32 = 5;

/// One inquiry of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InquiryId(u64);

impl InquiryId {
    /// The number its questions have on the wire.
    pub fn question(self) -> u64 {
        self.0
    }
}

/// How an inquiry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inquired {
    /// Not all have answered, or not all is here; or nobody is connected, and there are targets.
    Pending,
    /// What all who take part had when they were asked is here, as far as they pass it on.
    Heard,
    /// A peer does not take what was written here, or does not let us in.
    Forbidden {
        /// The peer's sentence.
        reason: String,
    },
}

#[derive(Debug)]
pub(super) struct Inquiry {
    section: Option<Section>,
    /// What was written here when it began; `None` until the document is here.
    own: Option<Version>,
    peers: BTreeMap<LinkId, Peer>,
    /// The application has been told that it is not pending any more.
    told: bool,
}

/// What has been heard of one who takes part.
#[derive(Debug)]
struct Peer {
    /// What it had when it answered, and had all of our own.
    held: Option<Version>,
    /// When it is asked, the first time or again.
    at: Monotonic,
    wait: Duration,
    /// Answers that did not count, and refusals.
    misses: u32,
}

impl Peer {
    fn new(at: Monotonic) -> Self {
        Self { held: None, at, wait: AGAIN, misses: 0 }
    }

    fn ask_later(&mut self, now: Monotonic) {
        self.misses += 1;
        self.at = now + self.wait;
        self.wait = (self.wait * 2).min(AGAIN_MAX);
    }
}

impl Member {
    /// It can be asked what it holds: it has not said that it does not hold the document.
    pub(super) fn takes_part(&self) -> bool {
        let refused = self.refused.as_ref().map(|(code, _)| *code);
        !matches!(refused, Some(ErrorCode::NoSuchDocument | ErrorCode::EngineMismatch))
    }
}

impl Node {
    /// Begins to ask all peers that take part in a document, or come to, what they have of one section's kind (content,
    /// records or coordination records), or of all; [`Event::Inquired`] tells when it is here. O(writers) for each peer.
    ///
    /// Under partition it is about those who are connected. A peer that does not answer truly, or not at all, keeps it
    /// pending for as long as it is connected.
    ///
    /// # Errors
    /// `NotOpen`.
    pub fn inquire(
        &mut self,
        document: &DocumentId,
        section: Option<Section>,
        now: Moment,
    ) -> Result<InquiryId, NodeError> {
        self.hub.now = now;
        let room = self.rooms.get_mut(document).ok_or_else(|| NodeError::NotOpen { document: document.clone() })?;
        let id = InquiryId(self.hub.next_question());
        room.inquiries.insert(id, Inquiry { section, own: None, peers: BTreeMap::new(), told: false });
        room.inquire(&mut self.hub);
        Ok(id)
    }

    /// How an inquiry stands. One that has been ended, or whose document has been closed, has heard nothing.
    pub fn inquired(&self, document: &DocumentId, inquiry: InquiryId) -> Inquired {
        let room = self.rooms.get(document);
        let stands = room.and_then(|room| Some(room.stands(room.inquiries.get(&inquiry)?, &self.hub)));
        stands.unwrap_or(Inquired::Pending)
    }

    /// Asks no more.
    pub fn end_inquiry(&mut self, document: &DocumentId, inquiry: InquiryId) {
        self.in_room(document, |room, _| drop(room.inquiries.remove(&inquiry)));
    }
}

impl Room {
    fn stands(&self, Inquiry { peers, .. }: &Inquiry, hub: &Hub) -> Inquired {
        let misses = |link: &LinkId| peers.get(link).is_some_and(|peer| peer.held.is_none() && peer.misses >= MISSES);
        let reason = self.members.iter().filter(|(link, _)| misses(link)).find_map(|(_, member)| member.forbids());
        if let Some(reason) = reason {
            return Inquired::Forbidden { reason };
        }
        let nobody = peers.is_empty() && hub.has_targets;
        let Some(here) = self.document().map(Document::version).filter(|_| !nobody) else { return Inquired::Pending };
        let is_here = |peer: &Peer| peer.held.as_ref().is_some_and(|held| here.covers(held));
        if peers.values().all(is_here) { Inquired::Heard } else { Inquired::Pending }
    }

    /// Goes on with what is asked: to be called when something has come, or somebody has come or gone.
    pub(super) fn inquire(&mut self, hub: &mut Hub) {
        self.ask_peers(hub);
        let stands: Vec<_> = self.inquiries.iter().map(|(id, it)| (*id, self.stands(it, hub))).collect();
        for (id, stands) in stands {
            let Some(inquiry) = self.inquiries.get_mut(&id) else { continue };
            let has_ended = stands != Inquired::Pending;
            if has_ended && !inquiry.told {
                hub.event(Event::Inquired { document: self.id.clone(), inquiry: id });
            }
            inquiry.told = has_ended;
        }
    }

    /// Asks those whose turn it is, once the document is here. Who has gone is not waited for.
    fn ask_peers(&mut self, hub: &mut Hub) {
        let (members, now) = (&self.members, hub.now.mono);
        for (id, inquiry) in &mut self.inquiries {
            inquiry.peers.retain(|link, _| members.get(link).is_some_and(Member::takes_part));
            let State::Ready(document) = &self.state else { continue };
            inquiry.own.get_or_insert_with(|| document.version().of(hub.me()).of_section(inquiry.section));
            for link in members.iter().filter(|(_, member)| member.takes_part()).map(|(link, _)| *link) {
                let peer = inquiry.peers.entry(link).or_insert_with(|| Peer::new(now));
                if peer.held.is_some() {
                    continue;
                }
                if peer.at <= now {
                    let question = Message::VersionRequest { document: self.id.clone(), question: id.0 };
                    hub.tell(link, &question, Lane::Normal);
                    peer.at = now + limits::ANSWER_WAIT;
                }
                hub.arm(&self.id, peer.at);
            }
        }
    }

    /// A peer asks what is here: it is told of what it is given by us, and of what it has given to us.
    pub(super) fn answer_version(&mut self, link: LinkId, question: u64, hub: &mut Hub) {
        let Some(document) = self.asked(link, hub) else { return };
        let mut version = document.version().clone();
        if let (Some(author), Some(peer)) = (self.accepted_author(link, hub), hub.links.get(&link)) {
            let asker = version.of(peer.hello.identity.replica);
            version = version.of(author);
            version.join(&asker);
        }
        hub.tell(link, &Message::Version { document: self.id.clone(), question, version }, Lane::Normal);
    }

    /// A peer has told what it holds.
    pub(super) fn version_from(&mut self, link: LinkId, question: u64, version: Version, hub: &mut Hub) {
        let Some(inquiry) = self.inquiries.get_mut(&InquiryId(question)) else { return };
        let peer = inquiry.peers.get_mut(&link).filter(|peer| peer.held.is_none());
        let (Some(own), Some(peer)) = (&inquiry.own, peer) else { return };
        let version = version.of_section(inquiry.section);
        if version.covers(own) {
            peer.held = Some(version);
        } else {
            peer.ask_later(hub.now.mono);
        }
        self.inquire(hub);
    }

    /// A peer has refused something; it may have been a question.
    pub(super) fn refused_by(&mut self, link: LinkId, hub: &mut Hub) {
        for inquiry in self.inquiries.values_mut() {
            if let Some(peer) = inquiry.peers.get_mut(&link).filter(|peer| peer.held.is_none()) {
                peer.ask_later(hub.now.mono);
            }
        }
        self.inquire(hub);
    }
}
