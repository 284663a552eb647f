//! A room: one document, those who take part in it, what waits for it. Life cycle and arrivals; see `flow` for what
//! leaves and `log` for what is kept.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    config::Tuning,
    event::{DocumentStatus, Event},
    flow::{Batch, Member, SharedSnapshot},
    gate::{Gated, Written},
    guest::{self, Guest, Seats, SharedWhole},
    hub::Hub,
    inquiry::{Inquiry, InquiryId},
    log::Log,
    presence::Presence,
    tiers::TierBook,
    work::{Applied, Arrival, Job, Origin, Outcome, Work},
};
use crate::{
    coordination::participant::Participant,
    document::{DigestEntry, Document, DocumentError, Frontier, Signing, Subscription, Version},
    engine::EngineKind,
    id::{DocumentId, LinkId, ReplicaId},
    limits,
    store::{StoreDone, StoreError, StoreTask, StoredDocument},
    sync::{ErrorCode, Lane, Message},
    time::Monotonic,
    trust::quota::Quota,
};

/// Bytes of signed records that are verified at once, by whoever drives the node: some eight signatures, a millisecond.
const SIGNED_INLINE_BYTES: usize = 2 * 1024;

/// Where the document is.
#[derive(Debug)]
pub(super) enum State {
    /// The store is being read (that task), or its answer is being decoded.
    Loading { task: Option<u64> },
    /// The store could not be read just now and is asked again at that time.
    Unloaded { retry_at: Monotonic, reason: String },
    /// Here.
    Ready(Box<Document>),
    /// Out with a [`Work`].
    Away,
    /// It cannot be read.
    Failed { reason: String },
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: DocumentId,
    pub(super) engine: EngineKind,
    pub(super) state: State,
    /// Tells the outcome of earlier work from that of the present document.
    pub(super) generation: u64,
    /// The authority its document signs and checks by.
    pub(super) signed_by: Option<Arc<Signing>>,
    /// Times the application has opened it and not closed it.
    pub(super) handles: u32,
    pub(super) watch: bool,
    /// Which records this replica asks for.
    pub(super) subscription: Subscription,
    pub(super) members: BTreeMap<LinkId, Member>,
    /// Clients of other libraries that take part.
    pub(super) guests: BTreeMap<LinkId, Guest>,
    /// What waits to be told to guests until what it tells of is durable.
    pub(super) guest_gate: VecDeque<guest::Gated>,
    pub(super) guest_whole: Option<SharedWhole>,
    pub(super) guest_pending: guest::Pending,
    /// Whose client shows which awareness state.
    pub(super) seats: Seats,
    /// The members' replicas, while nobody has come or gone.
    pub(super) natives: Option<Arc<BTreeSet<ReplicaId>>>,
    pub(super) batch: Batch,
    pub(super) slots_batch: Batch,
    pub(super) log: Log,
    /// Our own writes since the document was opened here.
    pub(super) written: Written,
    /// What waits for our own store: of content and records, and of coordination, which overtakes them.
    pub(super) gated: VecDeque<Gated>,
    pub(super) gated_slots: VecDeque<Gated>,
    pub(super) presence: Presence,
    /// Our part in coordination; here once the document is.
    pub(super) participant: Option<Participant>,
    pub(super) own_presence: Option<(Bytes, Duration)>,
    pub(super) renew_presence_at: Option<Monotonic>,
    /// Whose presence is to be told, and who brought it; not before that time.
    pub(super) presence_news: BTreeMap<ReplicaId, Option<LinkId>>,
    pub(super) presence_at: Monotonic,
    /// What a durable peer has told us of our own writes.
    pub(super) acked: Version,
    pub(super) shared: Option<SharedSnapshot>,
    /// Estimate of the encoded size.
    pub(super) weight: u64,
    tiers: TierBook,
    pub(super) inbox: VecDeque<Arrival>,
    pub(super) inbox_bytes: usize,
    /// This many arrivals are applied one by one, to single out the one an engine failed on.
    careful: usize,
    resync_at: Option<(Monotonic, LinkId)>,
    /// Who is to be asked again for coordination records that were not taken in.
    pub(super) declined: BTreeSet<LinkId>,
    pub(super) idle_since: Option<Monotonic>,
    /// What peers are asked about the document.
    pub(super) inquiries: BTreeMap<InquiryId, Inquiry>,
}

impl Room {
    pub(super) fn open(id: DocumentId, engine: EngineKind, hub: &mut Hub) -> Self {
        let task = hub.store(&id, StoreTask::Load { document: id.clone() });
        Self {
            id,
            engine,
            state: State::Loading { task: Some(task) },
            generation: 0,
            signed_by: None,
            handles: 0,
            watch: false,
            subscription: Subscription::default(),
            members: BTreeMap::new(),
            guests: BTreeMap::new(),
            guest_gate: VecDeque::new(),
            guest_whole: None,
            guest_pending: guest::Pending::default(),
            seats: Seats::default(),
            natives: None,
            batch: Batch::default(),
            slots_batch: Batch::default(),
            log: Log::default(),
            written: Written::default(),
            gated: VecDeque::new(),
            gated_slots: VecDeque::new(),
            presence: Presence::default(),
            participant: None,
            own_presence: None,
            renew_presence_at: None,
            presence_news: BTreeMap::new(),
            presence_at: Monotonic(0),
            acked: Version::default(),
            shared: None,
            weight: 0,
            tiers: TierBook::default(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            careful: 0,
            resync_at: None,
            declined: BTreeSet::new(),
            idle_since: None,
            inquiries: BTreeMap::new(),
        }
    }

    pub(super) fn document(&self) -> Option<&Document> {
        match &self.state {
            State::Ready(document) => Some(document),
            _ => None,
        }
    }

    /// Sends the document out with a job. The room must be ready.
    pub(super) fn send_away(&mut self, job: Job, hub: &mut Hub) {
        if let State::Ready(document) = std::mem::replace(&mut self.state, State::Away) {
            let document_id = self.id.clone();
            let generation = self.generation;
            hub.work(Work { document: document_id, generation, subject: Some(document), job, outcome: None });
        }
    }

    /// Does a job at once, in the room, which must be ready.
    pub(super) fn work_here(&mut self, job: Job) -> Option<Outcome> {
        let State::Ready(document) = std::mem::replace(&mut self.state, State::Away) else { return None };
        let (id, generation) = (self.id.clone(), self.generation);
        let mut work = Work { document: id, generation, subject: Some(document), job, outcome: None };
        work.run();
        if let Some(document) = work.subject {
            self.state = State::Ready(document);
        }
        work.outcome
    }

    /// The store has answered the load.
    pub(super) fn loaded(&mut self, id: u64, result: Result<StoreDone, StoreError>, hub: &mut Hub) {
        if !matches!(self.state, State::Loading { task: Some(task) } if task == id) {
            return;
        }
        let mut stored = match result {
            Ok(StoreDone::Loaded(stored)) => stored.unwrap_or_default(),
            Ok(_) => return,
            Err(error) if error.is_retryable() => return self.load_failed(error, hub),
            Err(error) => return self.fail(error.to_string(), hub),
        };
        if let Some(kept) = decode_header(&stored.header)
            && kept != self.engine
        {
            if self.handles == 0 {
                let reason = format!("`{}` is kept with {kept}, not {}", self.id, self.engine);
                for link in self.members.keys() {
                    hub.refuse(*link, Some(&self.id), ErrorCode::EngineMismatch, reason.clone());
                }
                self.members.clear();
                self.natives = None;
                self.dismiss_guests(ErrorCode::EngineMismatch, &reason, hub);
            }
            self.engine = kept;
        }
        self.log.adopt(&stored);
        stored.entries.extend(self.log.pending());
        self.weight = stored_bytes(&stored) as u64;
        self.state = State::Loading { task: None };
        let heavy = self.weight > hub.config.tuning.inline_bytes as u64;
        let signing = hub.config.signing.clone();
        let job = Job::Load { kind: self.engine, replica: hub.me(), stored, signing };
        let mut work =
            Work { document: self.id.clone(), generation: self.generation, subject: None, job, outcome: None };
        if heavy {
            hub.work(work);
        } else {
            work.run();
            self.work_done(work, hub);
        }
    }

    /// What arrives meanwhile waits in the inbox: peers have been promised nothing of it yet.
    fn load_failed(&mut self, error: StoreError, hub: &mut Hub) {
        let reason = error.to_string();
        hub.event(Event::StoreFailed { document: self.id.clone(), reason: reason.clone() });
        self.log.last_error = Some(error);
        let retry_at = hub.now.mono + hub.config.tuning.store_retry;
        self.state = State::Unloaded { retry_at, reason };
        hub.arm(&self.id, retry_at);
    }

    fn retry_load(&mut self, hub: &mut Hub) {
        let State::Unloaded { retry_at, .. } = self.state else { return };
        if retry_at <= hub.now.mono {
            self.load(hub);
        } else {
            hub.arm(&self.id, retry_at);
        }
    }

    fn load(&mut self, hub: &mut Hub) {
        let task = hub.store(&self.id, StoreTask::Load { document: self.id.clone() });
        self.state = State::Loading { task: Some(task) };
    }

    pub(super) fn fail(&mut self, reason: String, hub: &mut Hub) {
        for link in self.members.keys() {
            hub.refuse(*link, Some(&self.id), ErrorCode::Unavailable, reason.clone());
        }
        self.dismiss_guests(ErrorCode::Unavailable, &reason, hub);
        hub.event(Event::OpenFailed { document: self.id.clone(), reason: reason.clone() });
        self.inbox.clear();
        self.inbox_bytes = 0;
        self.state = State::Failed { reason };
    }

    /// A job has come back.
    pub(super) fn work_done(&mut self, work: Work, hub: &mut Hub) {
        if work.generation != self.generation {
            return;
        }
        if let Some(document) = work.subject {
            self.state = State::Ready(document);
        }
        match work.outcome {
            Some(Outcome::Loaded(Ok(()))) => {
                // Read anew, it has more than the store does, and what is durable is known.
                if let (Some(document), 0) = (self.document(), self.log.queued()) {
                    self.log.durable = document.version().clone();
                }
                self.note_written(hub.me());
                self.confine(hub);
                self.signed_by = None;
                hub.event(Event::Opened { document: self.id.clone() });
                self.uphold(hub);
                self.resume_coordination(hub);
            }
            Some(Outcome::Loaded(Err(error))) => return self.fail(error.to_string(), hub),
            Some(Outcome::Applied(applied)) => self.applied(*applied, hub),
            Some(Outcome::CatchUp { link, since, delta }) => self.caught_up(link, &since, delta, hub),
            Some(Outcome::Snapshot { upto, bytes }) => self.snapshot_made(upto, bytes, hub),
            Some(Outcome::Lack { link, since, lacking }) => self.lacked(link, &since, lacking, hub),
            Some(Outcome::Converse { link, conversation, turn }) => self.conversed(link, conversation, turn, hub),
            Some(Outcome::Digest { link, question, path, entries }) => {
                self.digested(link, question, path, entries, hub);
            }
            None => {}
        }
        // A version of the policy, or a credential of ours, may have come while the document was away.
        self.uphold(hub);
        if self.confine(hub) {
            self.resume_coordination(hub);
        }
        // Who joined while the document was away has not heard what is here, nor what is durable.
        self.greet(hub);
        self.ack_known(hub);
        self.release_kept(hub);
        self.coordinate(hub);
        self.inquire(hub);
        self.settle(hub);
    }

    /// Tells all members that the document is here: what arrived before is answered now.
    fn greet(&mut self, hub: &mut Hub) {
        let State::Ready(document) = &mut self.state else { return };
        let frontier = document.wanting();
        for (link, member) in &mut self.members {
            if member.greeted {
                continue;
            }
            member.greeted = true;
            let message = Message::Frontier { document: self.id.clone(), frontier: frontier.clone() };
            hub.tell(*link, &message, Lane::Critical);
        }
    }

    /// A delta has come from a peer.
    pub(super) fn receive(&mut self, link: LinkId, encoded: Bytes, hub: &mut Hub) {
        hub.counters.deltas_in += 1;
        let Some(peer) = hub.links.get(&link) else { return };
        let author = peer.author();
        // It was on its way when one side left: nobody's fault, and who joins anew exchanges frontiers first.
        let Some(member) = self.members.get(&link) else { return };
        let confines = member.confines.clone();
        let (size, max) = (encoded.len() as u64, hub.quota(Quota::UpdateBytes));
        if size > max {
            let reason = format!("a delta of {size} bytes is over the limit of {max}");
            return hub.refuse(link, Some(&self.id), ErrorCode::Limit, reason);
        }
        if self.inbox_bytes + encoded.len() > limits::ROOM_INBOX_BYTES && !self.inbox.is_empty() {
            // Nothing is lost: the frontier exchange after the backlog brings it again.
            self.ask_again(link, hub);
            return;
        }
        self.inbox_bytes += encoded.len();
        self.inbox.push_back(Arrival { link, encoded, origin: Origin::Peer { author, confines } });
        self.settle(hub);
    }

    /// Applies what waits, as far as the document is here.
    pub(super) fn settle(&mut self, hub: &mut Hub) {
        while (!self.inbox.is_empty() || self.is_due(hub)) && matches!(self.state, State::Ready(_)) {
            let count = if self.careful > 0 { 1 } else { self.inbox.len() };
            self.careful = self.careful.saturating_sub(1);
            let arrivals: Vec<_> = self.inbox.drain(..count).collect();
            let bytes: usize = arrivals.iter().map(|one| one.encoded.len()).sum();
            self.inbox_bytes -= bytes;
            let Tuning { bulk_bytes, inline_bytes, .. } = hub.config.tuning;
            let (tiers, wall_ms) = (std::mem::take(&mut self.tiers), hub.now.wall_ms);
            let coordination = hub.coordination_closed.is_none();
            let watch = self.watch;
            let has_guests = arrivals.iter().any(|one| matches!(one.origin, Origin::Guest { .. }));
            let natives = if has_guests { self.natives(hub) } else { Arc::default() };
            let job = Job::Apply { arrivals, natives, coordination, tiers, wall_ms, watch, bulk_bytes, inline_bytes };
            let is_sealed = self.document().is_some_and(Document::is_sealed);
            if bytes > inline_bytes || is_sealed && bytes > SIGNED_INLINE_BYTES {
                return self.send_away(job, hub);
            }
            if let Some(Outcome::Applied(applied)) = self.work_here(job) {
                self.applied(*applied, hub);
            }
        }
        if matches!(self.state, State::Ready(_)) {
            self.serve_behind(hub);
        }
        if let Some(due) = self.document().and_then(Document::next_due) {
            let wait = Duration::from_millis(due.saturating_sub(hub.now.wall_ms));
            hub.arm(&self.id, hub.now.mono + wait);
        }
        self.flush_due(hub);
        self.append(hub);
        self.rest(hub);
    }

    /// Something that was stamped ahead of our clock is not any more.
    fn is_due(&self, hub: &Hub) -> bool {
        self.document().and_then(Document::next_due).is_some_and(|due| due <= hub.now.wall_ms)
    }

    fn applied(&mut self, applied: Applied, hub: &mut Hub) {
        let Applied { result, tiers, brought, absorbed, unreadable, declined, forbidden, message, suspects } = applied;
        self.tiers = tiers;
        let applied = match result {
            Ok(applied) => applied,
            Err(error) => return self.quarantine(&error, suspects, hub),
        };
        for (link, reason) in unreadable {
            hub.strike(link, Some(&self.id), reason);
        }
        for (link, reason) in forbidden {
            hub.forbid(link, Some(&self.id), reason);
        }
        self.decline(declined, hub);
        for (link, writers) in brought {
            if let Some(member) = self.members.get_mut(&link) {
                member.owe_acks(writers);
            }
        }
        for (source, error) in applied.void {
            // Its bringer may have it from somebody who could not tell.
            let reason = error.to_string();
            hub.event(Event::Offence { link: LinkId(source), document: Some(self.id.clone()), reason });
        }
        for (source, error) in applied.refused {
            hub.strike(LinkId(source), Some(&self.id), error.to_string());
        }
        if !applied.patches.is_empty() {
            hub.event(Event::Changed { document: self.id.clone(), patches: applied.patches });
        }
        match applied.waiting_on {
            Some(source) if self.resync_at.is_none() => {
                let at = hub.now.mono + hub.config.tuning.resync_after;
                self.resync_at = Some((at, LinkId(source)));
                hub.arm(&self.id, at);
            }
            Some(_) => {}
            None => self.resync_at = None,
        }
        let mut message = message;
        for landed in applied.landed {
            self.weight += landed.encoded.len() as u64;
            self.log.queue(&landed.delta, landed.encoded.clone());
            match message.take() {
                Some(message) => self.enqueue_encoded(landed, message),
                None => self.enqueue(landed),
            }
        }
        self.absorbed(absorbed, hub);
        self.coordinate(hub);
        self.inquire(hub);
        // What has just landed is acknowledged once it is durable; what was here already may be so now.
        if applied.known > 0 {
            self.ack_known(hub);
        }
    }

    /// The engine failed: rebuild from the store, then apply the suspects one at a time to find the offender.
    pub(super) fn quarantine(&mut self, error: &DocumentError, suspects: Vec<Arrival>, hub: &mut Hub) {
        hub.counters.quarantines += 1;
        hub.event(Event::Quarantined { document: self.id.clone(), reason: error.to_string() });
        self.generation += 1;
        if let [offender] = &suspects[..] {
            hub.strike(offender.link, Some(&self.id), error.to_string());
        } else {
            self.careful = suspects.len();
            for suspect in suspects.into_iter().rev() {
                self.inbox_bytes += suspect.encoded.len();
                self.inbox.push_front(suspect);
            }
        }
        self.flush(hub);
        self.shared = None;
        self.append(hub);
        self.load(hub);
        // What the failed batch would have brought is asked for again.
        for member in self.members.values_mut() {
            member.greeted = false;
        }
        self.ask_all_guests_again(hub);
    }

    /// Asks a peer for what is missing, by telling it what is here.
    pub(super) fn ask_again(&mut self, link: LinkId, hub: &mut Hub) {
        if let State::Ready(document) = &mut self.state {
            hub.counters.resyncs += 1;
            let message = Message::Frontier { document: self.id.clone(), frontier: document.wanting() };
            hub.tell(link, &message, Lane::Critical);
        } else {
            let at = hub.now.mono + hub.config.tuning.resync_after;
            self.resync_at = Some((at, link));
            hub.arm(&self.id, at);
        }
    }

    /// A peer takes part. One that did already has left and come back, and does not know what is here.
    pub(super) fn enter(&mut self, link: LinkId, frontier: Frontier, subscription: Subscription, hub: &mut Hub) {
        if let Some(member) = self.members.get_mut(&link) {
            member.greeted &= !member.entered;
        }
        self.join(link, frontier, subscription, hub);
        if let Some(member) = self.members.get_mut(&link) {
            member.entered = true;
        }
    }

    /// A peer takes part, or says anew what it has.
    pub(super) fn join(&mut self, link: LinkId, frontier: Frontier, subscription: Subscription, hub: &mut Hub) {
        if let State::Failed { reason } = &self.state {
            return hub.refuse(link, Some(&self.id), ErrorCode::Unavailable, reason.clone());
        }
        let peer = hub.links.get_mut(&link).map(|peer| {
            peer.documents.insert(self.id.clone());
            (peer.hello.identity.replica, peer.confines(&self.id).map(Arc::new))
        });
        let Some((peer, confines)) = peer else { return };
        self.idle_since = None;
        self.natives = None;
        let known = self.members.contains_key(&link);
        let member = self.members.entry(link).or_default();
        member.subscription = subscription;
        member.confines = confines;
        member.owed.insert(peer);
        member.slots_behind = Some(frontier.version.slots.clone());
        member.behind(frontier);
        if matches!(member.refused, Some((ErrorCode::NoSuchDocument, _))) {
            member.refused = None;
        }
        if !known {
            hub.event(Event::Joined { link, document: self.id.clone() });
            self.tell_all_presence(link, hub);
        }
        if matches!(self.state, State::Ready(_)) {
            self.greet(hub);
            self.ack_known(hub);
            self.serve_behind(hub);
        }
        self.inquire(hub);
    }

    /// Takes part in a peer's room: tells it what is here.
    pub(super) fn approach(&mut self, link: LinkId, subscription: Subscription, hub: &mut Hub) {
        let State::Ready(document) = &mut self.state else { return };
        let Some(peer) = hub.links.get_mut(&link) else { return };
        peer.documents.insert(self.id.clone());
        let confines = peer.confines(&self.id).map(Arc::new);
        self.natives = None;
        let member = self.members.entry(link).or_default();
        member.greeted = true;
        member.confines = confines;
        let join = Message::Join {
            document: self.id.clone(),
            engine: self.engine,
            frontier: document.wanting(),
            subscription,
        };
        hub.tell(link, &join, Lane::Critical);
        if let Some(entry) = self.present(hub) {
            hub.tell(link, &Message::Presence { document: self.id.clone(), entries: vec![entry] }, Lane::Normal);
        }
        self.inquire(hub);
    }

    /// A peer asks for a digest. It reads the whole document, so a large one is read outside.
    pub(super) fn answer_digest(&mut self, link: LinkId, question: u64, path: String, hub: &mut Hub) {
        let Some(document) = self.asked(link, hub) else { return };
        if self.weight > hub.config.tuning.inline_bytes as u64 {
            return self.send_away(Job::Digest { link, question, path }, hub);
        }
        let entries = document.digest(&path);
        self.digested(link, question, path, entries, hub);
    }

    /// The document, about which a peer asks a question; `None`, and the peer told so, when it cannot be answered now.
    pub(super) fn asked(&self, link: LinkId, hub: &mut Hub) -> Option<&Document> {
        if !self.members.contains_key(&link) {
            hub.not_joined(link, &self.id);
            return None;
        }
        // An answer is much larger than a question: whoever asks has to read.
        let reads = hub.links.get(&link).is_some_and(|link| link.outstanding <= hub.config.tuning.queue_high);
        let document = self.document().filter(|_| reads);
        if document.is_none() {
            hub.refuse(link, Some(&self.id), ErrorCode::Unavailable, "busy, try again".to_owned());
        }
        document
    }

    fn digested(
        &mut self,
        link: LinkId,
        question: u64,
        path: String,
        entries: Result<Vec<DigestEntry>, DocumentError>,
        hub: &mut Hub,
    ) {
        match entries {
            Ok(entries) => {
                hub.tell(link, &Message::Digest { document: self.id.clone(), question, path, entries }, Lane::Normal);
            }
            Err(error) => hub.refuse(link, Some(&self.id), ErrorCode::Refused, error.to_string()),
        }
    }

    pub(super) fn leave(&mut self, link: LinkId, hub: &mut Hub) {
        if self.guests.contains_key(&link) {
            return self.leave_guest(link, hub);
        }
        self.natives = None;
        if let Some(peer) = hub.links.get_mut(&link) {
            peer.documents.remove(&self.id);
        }
        self.members.remove(&link);
        self.declined.remove(&link);
        self.inquire(hub);
        let gone = self.presence.drop_link(link, hub.now.mono);
        self.announce(gone, None, hub);
        self.rest(hub);
    }

    /// Starts the wait for eviction when nobody needs the room.
    pub(super) fn rest(&mut self, hub: &mut Hub) {
        if self.handles > 0 || !self.members.is_empty() || !self.guests.is_empty() {
            self.idle_since = None;
        } else if self.idle_since.is_none() {
            self.idle_since = Some(hub.now.mono);
            hub.arm(&self.id, hub.now.mono + hub.config.tuning.evict_after);
        }
    }

    /// True when the room can be dropped: idle long enough, and all of it is durable.
    pub(super) fn is_spent(&self, hub: &Hub) -> bool {
        let idle = self.idle_since.is_some_and(|since| since + hub.config.tuning.evict_after <= hub.now.mono);
        let at_rest = matches!(self.state, State::Ready(_) | State::Unloaded { .. } | State::Failed { .. });
        idle && at_rest && self.log.is_settled() && self.inbox.is_empty()
    }

    /// A timer has fired.
    pub(super) fn tick(&mut self, hub: &mut Hub) {
        if let Some((at, link)) = self.resync_at {
            if at <= hub.now.mono {
                self.resync_at = None;
                self.ask_again(link, hub);
                if self.document().is_some_and(Document::is_waiting) {
                    // The answer may be lost to a full inbox, and whom was asked may bring its own writes only: while
                    // something is missing, the question stands, to one member after the other.
                    let again = hub.now.mono + hub.config.tuning.resync_after * 10;
                    let mut after = self.members.range((Bound::Excluded(link), Bound::Unbounded));
                    let next = after.next().or_else(|| self.members.first_key_value()).map_or(link, |(next, _)| *next);
                    self.resync_at = Some((again, next));
                    hub.arm(&self.id, again);
                }
            } else {
                hub.arm(&self.id, at);
            }
        }
        self.coordinate(hub);
        let expired = self.presence.expire(hub.now.mono);
        self.announce(expired, None, hub);
        if let Some(at) = self.presence.next_expiry() {
            // This tick may have been for something else that came before it.
            hub.arm(&self.id, at);
        }
        self.renew_presence(hub);
        self.renew_for_guests(hub);
        self.ask_guests(hub);
        self.tell_presence(hub);
        self.flush_due(hub);
        self.inquire(hub);
        self.retry_load(hub);
        self.retry_append(hub);
        self.settle(hub);
        if let Some(since) = self.idle_since {
            hub.arm(&self.id, (since + hub.config.tuning.evict_after).max(hub.now.mono + Duration::from_millis(50)));
        }
    }

    /// Our commits a durable peer (or, without any, our own store) has not confirmed, wherever the document is. Of what is
    /// still to be read from the store, none is known.
    pub(super) fn unsynced(&self, me: ReplicaId, has_targets: bool) -> u64 {
        let durable = if has_targets { &self.acked } else { &self.log.durable };
        self.written.beyond(durable, me)
    }

    /// What we wrote before is still to be read from the store.
    pub(super) const fn is_unread(&self) -> bool {
        matches!(self.state, State::Loading { .. } | State::Unloaded { .. })
    }

    pub(super) fn status(&self, hub: &Hub) -> DocumentStatus {
        let unsynced = self.unsynced(hub.me(), hub.has_targets);
        DocumentStatus {
            document: self.id.clone(),
            engine: self.engine,
            ready: matches!(self.state, State::Ready(_)),
            links: self.members.len() + self.guests.len(),
            behind: self.members.values().filter(|member| !member.is_live()).count()
                + self.guests.values().filter(|guest| guest.is_behind()).count(),
            unsynced,
            stalled: self.why_stalled(unsynced, hub),
            log_entries: self.log.entries,
            weight: self.weight,
            presence: self.presence.entries().count(),
        }
    }

    fn why_stalled(&self, unsynced: u64, hub: &Hub) -> Option<String> {
        match &self.state {
            State::Unloaded { reason, .. } => Some(format!("the store failed and is asked again: {reason}")),
            State::Failed { reason } => Some(format!("the document cannot be read: {reason}")),
            _ => (unsynced > 0).then(|| self.why_unsynced(hub)),
        }
    }

    fn why_unsynced(&self, hub: &Hub) -> String {
        if !hub.has_targets {
            return match &self.log.last_error {
                Some(error) => format!("the store failed: {error}"),
                None => "the store has not confirmed the latest writes yet".to_owned(),
            };
        }
        let durable = |link: &&LinkId| hub.links.get(link).is_some_and(super::hub::Link::is_durable);
        if let Some((_, reason)) = self.members.values().find_map(|member| member.refused.as_ref()) {
            return format!("the relay refused them: {reason}");
        }
        match self.members.keys().find(durable) {
            None if hub.links.is_empty() => "no connection to a relay".to_owned(),
            None => "no relay has joined the document".to_owned(),
            Some(_) => "the relay has not confirmed the latest writes yet".to_owned(),
        }
    }
}

fn decode_header(header: &Bytes) -> Option<EngineKind> {
    postcard::from_bytes(header).ok()
}

fn stored_bytes(stored: &StoredDocument) -> usize {
    stored.snapshot.as_ref().map_or(0, Bytes::len) + stored.entries.iter().map(Bytes::len).sum::<usize>()
}
