//! Inquiries: asking peers what they hold, until this replica holds the same. Layer 4.
//!
//! A peer answers a digest request at one moment. Once both digests are equal, all that the peer had at that moment is
//! here, and the peer had then what is here. So of two replicas that inquire of one peer, the one that is answered later
//! has heard of all that the other one held when it was answered.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Node, NodeError,
    flow::Member,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    document::DigestEntry,
    id::{DocumentId, LinkId},
    limits,
    sync::{ErrorCode, Lane, Message},
    time::{Moment, Monotonic},
};

/// The wait after an answer that differs, twice as long with each, up to the other.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_millis(640);

/// Answers that have found this replica's part changed since the last, and still differ, after which a peer is not asked
/// again.
const CHANGES: u32 = 10;

/// Answers that have not, after which a peer that has refused something is taken to be different for good.
const STANDSTILLS: u32 = 5;

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
    /// Not all have been asked yet, or hold the same; or nobody is connected, and there are targets.
    Pending,
    /// What all who take part had when they were asked is here.
    Heard,
    /// What some of them have changes all the time: ten times what came did not make it the same, and what they had when
    /// they were asked first has come as far as can be told.
    Changing,
    /// A peer does not take what was written here, or does not let us in, so both will not hold the same.
    Forbidden {
        /// The peer's sentence.
        reason: String,
    },
}

#[derive(Debug)]
pub(super) struct Inquiry {
    path: String,
    peers: BTreeMap<LinkId, Peer>,
}

/// What has been heard of one who takes part.
#[derive(Debug)]
struct Peer {
    heard: bool,
    /// When it is asked, the first time or again.
    at: Monotonic,
    wait: Duration,
    /// Its answer, until it is compared.
    answer: Option<Vec<DigestEntry>>,
    /// What was held here when it answered last.
    held: Option<Vec<DigestEntry>>,
    changes: u32,
    /// Answers and refusals since what is held here has changed.
    standstills: u32,
}

impl Peer {
    fn new(at: Monotonic) -> Self {
        Self { heard: false, at, wait: AGAIN, answer: None, held: None, changes: 0, standstills: 0 }
    }

    fn is_done(&self) -> bool {
        self.heard || self.changes >= CHANGES
    }

    fn ask_later(&mut self, now: Monotonic) {
        self.standstills += 1;
        self.at = now + self.wait;
        self.wait = (self.wait * 2).min(AGAIN_MAX);
    }

    fn compare(&mut self, theirs: &[DigestEntry], ours: Vec<DigestEntry>, now: Monotonic) {
        if self.held.as_ref().is_some_and(|held| *held != ours) {
            self.changes += 1;
            self.standstills = 0;
        }
        self.heard = ours == theirs;
        self.held = Some(ours);
        self.ask_later(now);
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
    /// Begins to ask all peers that take part in a document, or come to, what they hold below a path, until this replica
    /// holds the same; [`Node::inquired`] tells when.
    ///
    /// # Errors
    /// `NotOpen`.
    pub fn inquire(&mut self, document: &DocumentId, path: &str, now: Moment) -> Result<InquiryId, NodeError> {
        self.hub.now = now;
        let room = self.rooms.get_mut(document).ok_or_else(|| NodeError::NotOpen { document: document.clone() })?;
        let id = InquiryId(self.hub.next_question());
        room.inquiries.insert(id, Inquiry { path: path.to_owned(), peers: BTreeMap::new() });
        room.ask_peers(&mut self.hub);
        Ok(id)
    }

    /// How an inquiry stands. One that has been ended, or whose document has been closed, has heard nothing.
    pub fn inquired(&self, document: &DocumentId, inquiry: InquiryId) -> Inquired {
        let pending = Inquired::Pending;
        let Some(room) = self.rooms.get(document) else { return pending };
        let Some(Inquiry { peers, .. }) = room.inquiries.get(&inquiry) else { return pending };
        let differs =
            |link: &LinkId| peers.get(link).is_some_and(|peer| !peer.is_done() && peer.standstills >= STANDSTILLS);
        let reason = room.members.iter().filter(|(link, _)| differs(link)).find_map(|(_, member)| member.forbids());
        if let Some(reason) = reason {
            return Inquired::Forbidden { reason };
        }
        let nobody = peers.is_empty() && self.hub.has_targets;
        match peers.values() {
            _ if nobody => pending,
            all if all.clone().all(|peer| peer.heard) => Inquired::Heard,
            all if all.clone().all(Peer::is_done) => Inquired::Changing,
            _ => pending,
        }
    }

    /// Asks no more.
    pub fn end_inquiry(&mut self, document: &DocumentId, inquiry: InquiryId) {
        self.in_room(document, |room, _| drop(room.inquiries.remove(&inquiry)));
    }
}

impl Room {
    /// Asks those whose turn it is. Who has gone is not waited for.
    pub(super) fn ask_peers(&mut self, hub: &mut Hub) {
        let (members, now) = (&self.members, hub.now.mono);
        for (id, inquiry) in &mut self.inquiries {
            inquiry.peers.retain(|link, _| members.get(link).is_some_and(Member::takes_part));
            for link in members.iter().filter(|(_, member)| member.takes_part()).map(|(link, _)| *link) {
                let peer = inquiry.peers.entry(link).or_insert_with(|| Peer::new(now));
                if peer.is_done() || peer.answer.is_some() {
                    continue;
                }
                if peer.at <= now {
                    let question = Message::DigestRequest {
                        document: self.id.clone(),
                        question: id.0,
                        path: inquiry.path.clone(),
                    };
                    hub.tell(link, &question, Lane::Normal);
                    peer.at = now + limits::ANSWER_WAIT;
                }
                hub.arm(&self.id, peer.at);
            }
        }
    }

    /// A peer has told what it holds.
    pub(super) fn digest_from(
        &mut self,
        link: LinkId,
        question: u64,
        path: &str,
        entries: &[DigestEntry],
        hub: &mut Hub,
    ) {
        let inquiry = self.inquiries.get_mut(&InquiryId(question)).filter(|inquiry| inquiry.path == path);
        let peer = inquiry.and_then(|inquiry| inquiry.peers.get_mut(&link)).filter(|peer| !peer.is_done());
        let Some(peer) = peer else { return };
        peer.answer = Some(entries.to_vec());
        self.compare_digests(hub);
    }

    /// A peer has refused something; it may have been a question.
    pub(super) fn refused_by(&mut self, link: LinkId, hub: &mut Hub) {
        for inquiry in self.inquiries.values_mut() {
            if let Some(peer) = inquiry.peers.get_mut(&link).filter(|peer| !peer.is_done() && peer.answer.is_none()) {
                peer.ask_later(hub.now.mono);
            }
        }
        self.ask_peers(hub);
    }

    /// Compares what has been answered, when the document is here.
    pub(super) fn compare_digests(&mut self, hub: &mut Hub) {
        let State::Ready(document) = &self.state else { return };
        for inquiry in self.inquiries.values_mut() {
            for peer in inquiry.peers.values_mut() {
                if let Some(theirs) = peer.answer.take() {
                    // Nothing is at that path, here or there: then there is nothing to hear of.
                    let ours = document.digest(&inquiry.path).unwrap_or_default();
                    peer.compare(&theirs, ours, hub.now.mono);
                }
            }
        }
        self.ask_peers(hub);
    }
}
