//! What all rooms of a node share: its links, its queue of outputs, its timers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Output,
    config::Config,
    connector::TargetId,
    event::{Counters, Event},
    guest::Visit,
    work::Work,
};
use crate::{
    coordination::{
        participant::{CoordinationCounters, Participant},
        tally::Tally,
    },
    document::{Confines, DocumentError},
    error::CloseCode,
    id::{AgentId, DocumentId, LinkId, ReplicaId},
    limits,
    store::StoreTask,
    sync::{Capabilities, Encoded, ErrorCode, Hello, Lane, Message, Role},
    time::{Dice, HlcClock, Moment, Monotonic},
    trust::{
        credential::Admission,
        pattern::Right,
        quota::{Quota, lowered},
    },
    wires::{Told, Word},
};

/// A ready connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) hello: Hello,
    pub(super) target: Option<TargetId>,
    pub(super) trusted: bool,
    /// What its credential allows, when one was asked for.
    pub(super) admission: Option<Admission>,
    /// It is a client of another library, let in by that.
    pub(super) guest: Option<Visit>,
    /// Bytes handed over and not yet reported as drained.
    pub(super) outstanding: u64,
    pub(super) strikes: u32,
    pub(super) documents: BTreeSet<DocumentId>,
    /// The peer said goodbye and when to come back.
    pub(super) retry_after: Option<Duration>,
}

impl Link {
    /// Whose writes this connection may bring; `None`: anybody's.
    pub(super) fn author(&self) -> Option<ReplicaId> {
        (!self.trusted).then_some(self.hello.identity.replica)
    }

    /// Whose writes the peer accepts from `me`; `None`: anybody's.
    pub(super) fn accepts(&self, me: ReplicaId) -> Option<ReplicaId> {
        (!self.hello.capabilities.has(Capabilities::FORWARDING)).then_some(me)
    }

    /// What it may do in a document; `None`: everything.
    pub(super) fn confines(&self, document: &DocumentId) -> Option<Confines> {
        self.admission.as_ref().map(|admission| Confines::of(admission, document))
    }

    /// The peer's acknowledgements mean that a relay has the writes on its disk.
    pub(super) fn is_durable(&self) -> bool {
        self.hello.role == Role::Relay && self.hello.capabilities.has(Capabilities::DURABLE)
    }
}

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: Config,
    /// What our own credential says, when we have one.
    pub(super) own: Option<Admission>,
    pub(super) now: Moment,
    pub(super) hlc: HlcClock,
    pub(super) dice: Dice,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// Agents whose last link has ended, and why: for those who ask what a barrier waits for.
    pub(super) down: BTreeMap<AgentId, String>,
    pub(super) out: VecDeque<Output>,
    pub(super) counters: Counters,
    /// What participants have done that are gone.
    pub(super) coordinated: (CoordinationCounters, Tally),
    /// Why no coordination is taken in or written, while none is.
    pub(super) coordination_closed: Option<String>,
    /// Somebody keeps durable copies for us: our writes are unsynced until it acknowledges them.
    pub(super) has_targets: bool,
    timers: BTreeSet<(Monotonic, DocumentId)>,
    armed: BTreeMap<DocumentId, Monotonic>,
    tasks: BTreeMap<u64, DocumentId>,
    next_task: u64,
    next_question: u64,
}

impl Hub {
    pub(super) fn new(config: Config, now: Moment) -> Self {
        Self {
            dice: Dice::new(config.seed),
            own: config.holder.as_ref().and_then(|holder| Admission::claimed(holder.presented()).ok()),
            config,
            now,
            hlc: HlcClock::default(),
            links: BTreeMap::new(),
            down: BTreeMap::new(),
            out: VecDeque::new(),
            counters: Counters::default(),
            coordinated: Default::default(),
            coordination_closed: None,
            has_targets: false,
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            tasks: BTreeMap::new(),
            next_task: 1,
            next_question: 1,
        }
    }

    /// What this node may change in a document itself; `None`: everything.
    pub(super) fn own_confines(&self, document: &DocumentId) -> Option<Confines> {
        self.own.as_ref().map(|own| Confines::of(own, document))
    }

    /// A bound, as low as the policy has it.
    pub(super) fn quota(&self, quota: Quota) -> u64 {
        let most = quota.most();
        self.config.authority.as_ref().map_or(most, |authority| lowered(&authority.policy().quotas, quota, most))
    }

    /// # Errors
    /// `Forbidden` unless our own credential, when we have one, grants the right.
    pub(super) fn may(&self, document: &DocumentId, right: Right) -> Result<(), DocumentError> {
        self.own_confines(document).map_or(Ok(()), |own| own.require(right))
    }

    pub(super) fn me(&self) -> ReplicaId {
        self.config.identity.replica
    }

    pub(super) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(super) fn work(&mut self, work: Work) {
        self.out.push_back(Output::Work(Box::new(work)));
    }

    /// A participant goes: what it has counted stays.
    pub(super) fn retire(&mut self, participant: &Participant) {
        self.coordinated.0.add(participant.counters());
        self.coordinated.1.add(participant.tally());
    }

    /// Remembers why an agent cannot be reached, until it can be.
    pub(super) fn note_down(&mut self, agent: &AgentId, reason: &str) {
        if self.down.len() < limits::LINKS_REMEMBERED
            && self.links.values().all(|link| link.hello.identity.agent != *agent)
        {
            self.down.insert(agent.clone(), reason.to_owned());
        }
    }

    /// Queues shared bytes for several connections.
    pub(super) fn send(&mut self, links: Vec<LinkId>, encoded: Encoded) {
        self.charge(&links, &encoded);
        self.release(links, encoded);
    }

    /// Counts bytes as queued for connections.
    pub(super) fn charge(&mut self, links: &[LinkId], encoded: &Encoded) {
        let bytes = encoded.len() as u64;
        for link in links {
            if let Some(link) = self.links.get_mut(link) {
                link.outstanding += bytes;
            }
        }
        self.counters.bytes_by_lane[encoded.lane() as usize] += bytes * links.len() as u64;
    }

    /// Hands bytes that have been counted to the driver.
    pub(super) fn release(&mut self, links: Vec<LinkId>, encoded: Encoded) {
        if !links.is_empty() {
            self.out.push_back(Output::Send { links, encoded });
        }
    }

    /// Encodes and queues a message for one connection.
    pub(super) fn tell(&mut self, link: LinkId, message: &Message, lane: Lane) {
        match Encoded::new(message, lane) {
            Ok(encoded) => self.send(vec![link], encoded),
            Err(error) => {
                let reason = format!("a message could not be encoded: {error}");
                self.out.push_back(Output::Close { link, code: CloseCode::INTERNAL, reason });
            }
        }
    }

    pub(super) fn refuse(&mut self, link: LinkId, document: Option<&DocumentId>, code: ErrorCode, reason: String) {
        self.event(Event::Denied { link, document: document.cloned(), code, reason: reason.clone() });
        self.tell_refusal(link, document, code, reason);
    }

    /// Answers who asks about a document without taking part in it.
    pub(super) fn not_joined(&mut self, link: LinkId, document: &DocumentId) {
        let reason = format!("join `{document}` before asking for its digest");
        self.refuse(link, Some(document), ErrorCode::NoSuchDocument, reason);
    }

    /// The links that speak our own protocol.
    pub(super) fn peers(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|(_, link)| link.guest.is_none()).map(|(id, _)| *id)
    }

    /// Queues a word for guests.
    pub(super) fn tell_guests(&mut self, links: Vec<LinkId>, told: Arc<Told>) {
        self.charge_guests(&links, &told);
        self.release_to_guests(links, told);
    }

    /// Counts a word as queued for guests.
    pub(super) fn charge_guests(&mut self, links: &[LinkId], told: &Told) {
        let bytes = told.cost() as u64;
        for link in links {
            if let Some(link) = self.links.get_mut(link) {
                link.outstanding += bytes;
            }
        }
    }

    /// Hands a word that has been counted to the driver.
    pub(super) fn release_to_guests(&mut self, links: Vec<LinkId>, told: Arc<Told>) {
        if !links.is_empty() {
            self.out.push_back(Output::Tell { links, told });
        }
    }

    fn tell_refusal(&mut self, link: LinkId, document: Option<&DocumentId>, code: ErrorCode, reason: String) {
        if self.links.get(&link).is_some_and(|link| link.guest.is_some()) {
            let word = Word::Refused { is_forbidden: code == ErrorCode::Forbidden, reason };
            return self.tell_guests(vec![link], Told::new(document.cloned(), word));
        }
        let reason = reason.chars().take(limits::REASON_BYTES / 4).collect();
        self.tell(link, &Message::Error { document: document.cloned(), code, reason }, Lane::Critical);
    }

    /// Refuses what a credential does not allow: the peer is told, and nothing of it is kept.
    pub(super) fn forbid(&mut self, link: LinkId, document: Option<&DocumentId>, reason: String) {
        self.counters.refused += 1;
        self.refuse(link, document, ErrorCode::Forbidden, reason);
    }

    /// Refuses what breaks a rule: the peer is told why, and after a few times its connection is closed.
    pub(super) fn strike(&mut self, link: LinkId, document: Option<&DocumentId>, reason: String) {
        self.counters.refused += 1;
        self.tell_refusal(link, document, ErrorCode::Refused, reason.clone());
        self.event(Event::Offence { link, document: document.cloned(), reason: reason.clone() });
        if let Some(known) = self.links.get_mut(&link) {
            known.strikes += 1;
            if known.strikes >= limits::LINK_STRIKES {
                self.out.push_back(Output::Close { link, code: CloseCode::REFUSED, reason });
            }
        }
    }

    pub(super) fn store(&mut self, document: &DocumentId, task: StoreTask) -> u64 {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(id, document.clone());
        self.out.push_back(Output::Store { id, task });
        id
    }

    /// A number for a question to peers; never given twice, so that no answer is taken for another one's.
    pub(super) fn next_question(&mut self) -> u64 {
        self.next_question += 1;
        self.next_question - 1
    }

    /// The document a finished store task was about; `None` when it is not ours or done already.
    pub(super) fn finish_task(&mut self, id: u64) -> Option<DocumentId> {
        self.tasks.remove(&id)
    }

    /// Wakes a room at `at`, or earlier if it is to be woken earlier already.
    pub(super) fn arm(&mut self, document: &DocumentId, at: Monotonic) {
        match self.armed.get_mut(document) {
            Some(armed) if *armed <= at => {}
            Some(armed) => {
                self.timers.remove(&(*armed, document.clone()));
                *armed = at;
                self.timers.insert((at, document.clone()));
            }
            None => {
                self.armed.insert(document.clone(), at);
                self.timers.insert((at, document.clone()));
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Rooms whose time has come.
    pub(super) fn due(&mut self) -> Vec<DocumentId> {
        let mut due = Vec::new();
        while let Some((at, document)) = self.timers.first().cloned() {
            if at > self.now.mono {
                break;
            }
            self.timers.pop_first();
            self.armed.remove(&document);
            due.push(document);
        }
        due
    }
}
