//! What must hold: after every step, after a crash, and once all faults have healed.

use std::collections::BTreeMap;

use super::{
    Sabotage,
    digests::shared,
    network::{Connection, End},
    witness::forged,
    workload::{COUNTERS, LOG, pair},
    world::World,
};
use crate::{
    coordination::participant::Happening,
    document::{Delta, DigestEntry, Document, Subscription, Version},
    id::{DocumentId, ReplicaId},
    node::{Event, Node},
    store::{Store as _, StoreDone, StoreTask},
    sync::{ErrorCode, Message, Role},
};

/// An addition to a counter.
#[derive(Debug)]
struct Added {
    /// Number of its record.
    record: u64,
    /// The writer's content commits by then: without them the record is not shown.
    fence: u64,
    counter: usize,
    add: i64,
}

/// What one replica has written in one document: by the numbers of its commits.
#[derive(Debug, Default)]
struct Written {
    content: u64,
    records: u64,
    added: Vec<Added>,
    /// Numbers of the content commits that added to the log, in order.
    pushed: Vec<u64>,
    /// Pairs written so far.
    pairs: u64,
}

/// What was written and what was promised: kept outside of all nodes.
#[derive(Debug)]
pub(super) struct Ledger {
    written: Vec<BTreeMap<ReplicaId, Written>>,
    /// What a relay has told any agent to be durable, per document.
    acked: Vec<Version>,
}

impl Ledger {
    pub(super) fn new(documents: usize) -> Self {
        Self { written: (0..documents).map(|_| BTreeMap::new()).collect(), acked: vec![Version::default(); documents] }
    }

    /// The numbers a replica's next pair and next addition to the log bear.
    pub(super) fn next_numbers(&mut self, document: usize, writer: ReplicaId) -> (u64, usize) {
        let written = self.written[document].entry(writer).or_default();
        written.pairs += 1;
        (written.pairs, written.pushed.len())
    }

    pub(super) fn committed(
        &mut self,
        document: usize,
        writer: ReplicaId,
        (content, records): (u64, u64),
        counted: Option<(usize, i64)>,
        pushed: bool,
    ) {
        let written = self.written[document].entry(writer).or_default();
        (written.content, written.records) = (content, records);
        written.added.extend(counted.map(|(counter, add)| Added { record: records, fence: content, counter, add }));
        written.pushed.extend(pushed.then_some(content));
    }

    /// What a crash took from a replica that comes back.
    fn forget_beyond(&mut self, document: usize, writer: ReplicaId, version: &Version) {
        let Some(written) = self.written[document].get_mut(&writer) else { return };
        written.content = version.content.get(writer);
        written.records = version.records.get(writer);
        let (content, records) = (written.content, written.records);
        written.added.retain(|added| added.record <= records);
        written.pushed.retain(|commit| *commit <= content);
    }
}

impl World {
    /// After every step: versions grow, and what was written together is seen together.
    pub(super) fn check_host(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(node) = &it.node else { return };
        let mut broken = None;
        for (id, seen) in self.documents.iter().zip(&mut it.seen) {
            let found = node.read(id, |document| {
                let version = document.version();
                if version == seen {
                    return Ok(());
                }
                if !version.covers(seen) {
                    return Err(format!("its version went back from {seen:?} to {version:?}"));
                }
                seen.clone_from(version);
                whole_pairs(document)
            });
            if let Ok(Err(what)) = found {
                broken = Some(format!("{} in `{id}`: {what}", it.agent));
                break;
            }
        }
        if let Some(what) = broken {
            self.fail(what);
        }
        self.witness(host);
        self.check_inquiries(host);
        if let Some(what) = self.broken_flush(host) {
            self.fail(what);
        }
    }

    /// An application that is told that the relay has all of its writes has been promised so by the relay.
    fn broken_flush(&self, host: usize) -> Option<String> {
        let it = &self.hosts[host];
        // Disks that are put back make the account and the agent disagree about what it has written.
        let node = it.node.as_ref().filter(|_| it.role != Role::Relay && !self.climate.restores())?;
        let me = it.replica();
        for (index, id) in
            self.documents.iter().enumerate().filter(|(index, id)| it.opened[*index] && node.is_synced(id))
        {
            let (acked, seen) = (&self.ledger.acked[index], &it.seen[index]);
            let (content, records) =
                self.ledger.written[index].get(&me).map_or((0, 0), |own| (own.content, own.records));
            let is_here = acked.content.get(me) >= content && acked.records.get(me) >= records;
            if !is_here || acked.slots.get(me) < seen.slots.get(me) {
                return Some(format!("{} is told that the relay has all it wrote in `{id}`: {acked:?}", it.agent));
            }
        }
        None
    }

    /// What an honest swarm never has to tell its application.
    pub(super) fn check_event(&mut self, host: usize, event: Event) {
        let agent = self.hosts[host].agent.clone();
        match event {
            Event::OpenFailed { document, reason } => self.fail(format!("{agent} cannot read `{document}`: {reason}")),
            Event::Offence { reason, .. } => self.fail(format!("{agent} refused an honest peer: {reason}")),
            Event::Quarantined { reason, .. } if !self.plan.engines_fail() => {
                self.fail(format!("{agent} quarantined an honest document: {reason}"))
            }
            // Who works on a document cannot tell what it holds.
            Event::Refused { reason, .. } if reason == "busy, try again" => {}
            // A peer in a mesh need not have the document open.
            Event::Refused { code, reason, .. } if code != ErrorCode::NoSuchDocument => {
                self.fail(format!("{agent} was refused: {reason}"));
            }
            Event::Message { body, .. } => {
                let id = body.as_ref().try_into().map_or(0, u64::from_le_bytes);
                // In a mesh a message for all comes directly and by the relay: the wire gives it no number to tell.
                if !self.hosts[host].heard.insert(id) && !self.climate.mesh {
                    self.fail(format!("{agent} got one message twice"));
                }
            }
            Event::Digest { link, document, entries, .. } => self.compare_digest(host, link, &document, entries),
            Event::Coordination { document, object, happening } => {
                if let Some(index) = self.documents.iter().position(|known| *known == document) {
                    let now = self.now;
                    if happening == Happening::Closed {
                        self.finished.insert((index, object));
                    }
                    self.hosts[host].seen_of[index].stirred.entry(object).or_insert(now);
                }
            }
            _ => {}
        }
    }

    /// Notes what a relay promises to an agent.
    pub(super) fn note_ack(&mut self, host: usize, connection: u64, side: usize, message: &Message) {
        let from = self.connections.get(&connection).map(|connected| connected.ends[1 - side].host);
        if let (Message::Ack { document, durable }, Some(0)) = (message, from)
            && let Some(index) = self.documents.iter().position(|known| known == document)
        {
            self.ledger.acked[index].join(durable);
            self.trace.note(self.now, &[30, host as u64], format_args!("{host} is promised {durable:?}"));
        }
    }

    /// What a message becomes under sabotage; `None` when it is lost.
    pub(super) fn sabotaged(&mut self, host: usize, message: Message) -> Option<Message> {
        if let (Some(Sabotage::EchoVersions), Message::Version { document, question, .. }) =
            (self.plan.sabotage, &message)
        {
            let node = self.hosts[host].node.as_ref()?;
            let version = node.read(document, |document| document.version().clone()).ok()?;
            return Some(Message::Version { document: document.clone(), question: *question, version });
        }
        let Message::Delta { document, delta } = &message else { return Some(message) };
        if let Some(sabotage @ (Sabotage::ForgeOutcome | Sabotage::ForgetClosed)) = self.plan.sabotage {
            let delta = postcard::from_bytes(delta).ok().and_then(|delta| forged(delta, sabotage).encode().ok());
            return Some(delta.map_or(message.clone(), |delta| Message::Delta { document: document.clone(), delta }));
        }
        if self.plan.sabotage != Some(Sabotage::IgnoreGaps) {
            return Some(message);
        }
        if self.healing_since.is_none() && self.dice.chance(5) {
            return None;
        }
        let Ok(mut parts) = postcard::from_bytes::<Delta>(delta) else { return Some(message) };
        for run in &mut parts.records {
            run.span.since = 0;
        }
        let delta = parts.encode().ok()?;
        Some(Message::Delta { document: document.clone(), delta })
    }

    /// After a crash: what survives holds all that was promised, and nothing else has what its writer lost.
    pub(super) fn check_crash(&mut self, host: usize, writer: ReplicaId) {
        if !self.hosts[host].keeps {
            return;
        }
        for index in 0..self.documents.len() {
            let document = match self.survivor(host, index) {
                Ok(document) => document,
                Err(what) => return self.fail(what),
            };
            if let Err(what) = self.check_forgotten(host, index, document.as_ref()) {
                return self.fail(what);
            }
            let kept = document.map(|document| document.version().clone()).unwrap_or_default();
            let agent = self.hosts[host].agent.clone();
            if host == 0 {
                let acked = &self.ledger.acked[index];
                if !kept.covers(acked) {
                    let what = format!("{agent} lost acknowledged writes: promised {acked:?}, kept {kept:?}");
                    return self.fail(what);
                }
                continue;
            }
            self.ledger.forget_beyond(index, writer, &kept);
            let elsewhere = self.hosts.iter().filter_map(|other| Some((other, other.node.as_ref()?)));
            let ahead = elsewhere.filter_map(|(other, node)| {
                let version = node.read(&self.documents[index], |document| document.version().clone()).ok()?;
                let more = version.content.get(writer) > kept.content.get(writer)
                    || version.records.get(writer) > kept.records.get(writer);
                more.then(|| other.agent.clone())
            });
            if let Some(other) = { ahead }.next() {
                let what = format!(
                    "{agent} comes back as {writer} without commits that {other} has: it will use their numbers again"
                );
                return self.fail(what);
            }
        }
    }

    /// A document on a host's disk.
    fn survivor(&self, host: usize, index: usize) -> Result<Option<Document>, String> {
        let id = &self.documents[index];
        let load = StoreTask::Load { document: id.clone() };
        let mut disk = self.hosts[host].disk.kept().clone();
        let Some(Ok(StoreDone::Loaded(Some(stored)))) = disk.commit(&[load]).pop() else {
            return Ok(None);
        };
        let replica = self.hosts[host].replica();
        Document::load(id.clone(), self.plan.engine, replica, stored.snapshot.as_ref(), &stored.entries)
            .map(Some)
            .map_err(|error| format!("{} cannot read `{id}` after its crash: {error}", self.hosts[host].agent))
    }

    /// Some document is being worked on just now.
    pub(super) fn is_busy(&self) -> bool {
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        nodes.flat_map(Node::documents).any(|status| !status.ready)
    }

    /// Why the swarm does not agree yet; `None` when it does.
    pub(super) fn disagreement(&self) -> Option<String> {
        let relay = self.hosts[0].node.as_ref()?;
        if let Some(connection) = self.connections.values().find(|connection| connection.is_broken()) {
            let [near, far] = [&connection.ends[0], &connection.ends[1]].map(|end| &self.hosts[end.host].agent);
            return Some(format!("{near} or {far} has not noticed yet that their connection is gone"));
        }
        for id in &self.documents {
            let Ok(Some(version)) = relay.read(id, |document| Some(document.version().clone())) else {
                return Some(format!("the relay does not have `{id}` at hand"));
            };
            for host in &self.hosts[1..] {
                let Some(node) = &host.node else { return Some(format!("{} is down", host.agent)) };
                match node.read(id, |document| document.version().clone()) {
                    Err(error) => return Some(format!("{}: {error}", host.agent)),
                    Ok(theirs) if theirs != version => {
                        return Some(format!("{} has {theirs:?} of `{id}`, the relay {version:?}", host.agent));
                    }
                    Ok(_) => {}
                }
                if node.unsynced(id) > 0 {
                    let why = node.status().stalled.unwrap_or_default();
                    return Some(format!("{} has {} unsynced commits in `{id}`: {why}", host.agent, node.unsynced(id)));
                }
            }
        }
        None
    }

    /// Once all versions are equal: so are the contents, and all writes are accounted for.
    pub(super) fn check_agreed(&mut self) {
        if let Err(what) = self.agreed() {
            self.fail(what);
        }
    }

    fn agreed(&self) -> Result<(), String> {
        for (index, id) in self.documents.iter().enumerate() {
            let mut first = [None, None];
            for host in &self.hosts {
                let Some(node) = &host.node else { continue };
                let checked = node.read(id, |document| {
                    let digest = document.digest("").map_err(|error| error.to_string())?;
                    self.check_account(index, document, &host.subscription)?;
                    Ok::<_, String>([shared(digest.clone(), false), shared(digest, true)])
                });
                let digest = checked
                    .map_err(|error| error.to_string())?
                    .map_err(|what| format!("{} in `{id}`: {what}", host.agent))?;
                let whole = host.subscription.is_everything();
                let differs = |part: &mut Option<Vec<DigestEntry>>, digest: Vec<DigestEntry>| {
                    *part.get_or_insert_with(|| digest.clone()) != digest
                };
                let [some, all] = digest;
                if differs(&mut first[0], some) || whole && differs(&mut first[1], all) {
                    return Err(format!(
                        "{} holds the same version of `{id}` as the relay, but not the same",
                        host.agent
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every write the version claims is there, and every promise is kept.
    fn check_account(&self, index: usize, document: &Document, held: &Subscription) -> Result<(), String> {
        let version = document.version();
        let (acked, written) = (&self.ledger.acked[index], &self.ledger.written[index]);
        if !version.covers(acked) {
            return Err(format!("acknowledged writes are gone: promised {acked:?}, there is {version:?}"));
        }
        let held = |(_, name): &(usize, &&str)| held.wants(&format!("counter/{name}"));
        for (counter, name) in COUNTERS.iter().enumerate().filter(held) {
            let shown = |writer: ReplicaId, added: &Added| {
                added.record <= version.records.get(writer) && added.fence <= version.content.get(writer)
            };
            let expected: i64 = written
                .iter()
                .flat_map(|(writer, written)| written.added.iter().filter(|added| shown(*writer, added)))
                .filter(|added| added.counter == counter)
                .map(|added| added.add)
                .sum();
            if document.counter(name) != expected {
                return Err(format!("counter `{name}` is {}, its writers added {expected}", document.counter(name)));
            }
        }
        let mut log: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for value in document.content().list_values(LOG).map_err(|error| error.to_string())? {
            let entry = value.as_str().unwrap_or_default();
            let (writer, number) = entry.split_once(':').unwrap_or_default();
            log.entry(writer.to_owned()).or_default().push(number.to_owned());
        }
        for (writer, written) in written {
            let there = log.remove(&writer.to_string()).unwrap_or_default();
            let count = written.pushed.iter().filter(|commit| **commit <= version.content.get(*writer)).count();
            let expected: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            if there != expected {
                return Err(format!("the log holds {there:?} of {writer}, which added {count} entries"));
            }
        }
        match log.pop_first() {
            Some((writer, _)) => Err(format!("the log holds entries of `{writer}`, which wrote none")),
            None => Ok(()),
        }
    }

    /// Long after all agree: still so, and only the living are present.
    pub(super) fn check_rest(&mut self) {
        if let Some(why) = self.disagreement() {
            return self.fail(format!("the swarm had agreed and does no longer: {why}"));
        }
        self.check_agreed();
        self.check_all_heard();
        self.check_mutual();
        for (index, id) in self.documents.clone().iter().enumerate() {
            let mut expected: Vec<(ReplicaId, String)> = self
                .hosts
                .iter()
                .filter_map(|host| Some((host.replica(), host.presence[index]?.to_string())))
                .collect();
            expected.sort();
            for host in 0..self.hosts.len() {
                let Some(node) = &self.hosts[host].node else { continue };
                let present = presence(node, id);
                if present != expected {
                    let agent = &self.hosts[host].agent;
                    return self.fail(format!("{agent} sees {present:?} in `{id}`, present are {expected:?}"));
                }
            }
        }
    }
}

impl World {
    /// Of two that are connected, each takes part for the other, or neither.
    fn check_mutual(&mut self) {
        let takes_part = |end: &End, document: &DocumentId| {
            self.hosts[end.host].node.as_ref().is_some_and(|node| node.links_in(document).contains(&end.link))
        };
        for Connection { ends: [near, far], .. } in self.connections.values() {
            let is_up = near.open && far.open && near.ready && far.ready;
            let differs = |document: &&DocumentId| takes_part(near, document) != takes_part(far, document);
            if let Some(document) = self.documents.iter().find(differs).filter(|_| is_up) {
                let (one, other) = (&self.hosts[near.host].agent, &self.hosts[far.host].agent);
                return self.fail(format!("one only of {one} and {other} takes part in `{document}` for the other"));
            }
        }
    }
}

/// What was written together is seen together.
fn whole_pairs(document: &Document) -> Result<(), String> {
    for (writer, _) in document.version().records.iter() {
        let (register, content) = pair(document, &writer.to_string());
        if register != content {
            return Err(format!("half a transaction of {writer}: {register:?} beside {content:?}"));
        }
    }
    Ok(())
}

fn presence(node: &Node, document: &crate::id::DocumentId) -> Vec<(ReplicaId, String)> {
    let shown = |entry: crate::sync::PresenceEntry| {
        let state = entry.state.map(|state| String::from_utf8_lossy(&state).into_owned());
        (entry.replica, state.unwrap_or_default())
    };
    let mut present: Vec<_> = node.presence(document).into_iter().map(shown).collect();
    present.sort();
    present
}

/// A message in one line.
pub(super) fn brief(message: &Message) -> String {
    match message {
        Message::Delta { document, delta } => match postcard::from_bytes::<Delta>(delta) {
            Ok(delta) => {
                let spans = delta.content.iter().flat_map(|content| content.spans.clone());
                let spans: Vec<String> =
                    spans.map(|span| format!("{}:{}..{}", span.writer, span.since, span.upto)).collect();
                let after = delta.content.as_ref().map(|content| content.after.clone());
                let runs: Vec<String> = delta
                    .records
                    .iter()
                    .map(|run| format!("{}:{}..{}", run.span.writer, run.span.since, run.span.upto))
                    .collect();
                let slots =
                    delta.slots.iter().flat_map(|run| run.records.iter().map(move |record| (run.span.writer, record)));
                let slots: Vec<String> =
                    slots.map(|(writer, record)| format!("{writer}:{} {}", record.seq, record.key)).collect();
                format!("delta of {document}: content {spans:?} after {after:?} records {runs:?} slots {slots:?}")
            }
            Err(error) => format!("unreadable delta: {error}"),
        },
        other => format!("{other:?}").chars().take(300).collect(),
    }
}
