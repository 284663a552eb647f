//! Digests over the wire: once all agree, every agent asks its peers for theirs and compares.

use std::collections::BTreeSet;

use super::world::World;
use crate::{
    document::DigestEntry,
    id::{DocumentId, LinkId},
};

/// How often what was not answered is asked again, in steps longer than presence lives: a peer may be busy with the
/// document, and the last packet of a connection that was slow may take minutes.
const ASKS_MAX: u32 = 16;

/// Kinds of records of which a filtered replica holds a part or nothing.
const FILTERED: [&str; 3] = ["counter", "agent", "member"];

/// What was asked and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: BTreeSet<(usize, LinkId, DocumentId)>,
    asks: u32,
}

/// The part of a digest that two replicas share, when one of them holds only a part of the records.
pub(super) fn shared(mut entries: Vec<DigestEntry>, whole: bool) -> Vec<DigestEntry> {
    entries.retain(|entry| whole || !FILTERED.contains(&entry.path.as_str()));
    entries
}

impl World {
    /// Every agent asks all who take part in its documents.
    pub(super) fn ask_digests(&mut self) {
        for host in 1..self.hosts.len() {
            let Some(node) = &self.hosts[host].node else { continue };
            for document in &self.documents {
                let links = node.links_in(document).into_iter();
                self.asked.open.extend(links.map(|link| (host, link, document.clone())));
            }
        }
        self.ask_open();
    }

    fn ask_open(&mut self) {
        self.asked.asks += 1;
        for (host, link, document) in self.asked.open.clone() {
            if let Some(node) = self.hosts[host].node.as_mut() {
                node.request_digest(link, &document, "");
                self.touch(host);
            }
        }
    }

    /// True while answers are missing; asks again where the connection still stands.
    pub(super) fn await_digests(&mut self) -> bool {
        let hosts = &self.hosts;
        self.asked.open.retain(|(host, link, _)| hosts[*host].links.contains_key(link));
        let Some((host, _, document)) = self.asked.open.first() else { return false };
        if self.asked.asks == ASKS_MAX {
            let what = format!("{} asked {ASKS_MAX} times for a digest of `{document}`", self.hosts[*host].agent);
            self.fail(what);
            return false;
        }
        self.ask_open();
        true
    }

    /// A peer's digest has come.
    pub(super) fn compare_digest(&mut self, host: usize, link: LinkId, id: &DocumentId, theirs: Vec<DigestEntry>) {
        if !self.asked.open.remove(&(host, link, id.clone())) {
            return;
        }
        let it = &self.hosts[host];
        let Some((connection, side)) = it.links.get(&link) else { return };
        let Some(peer) = self.connections.get(connection).map(|found| &self.hosts[found.ends[1 - side].host]) else {
            return;
        };
        let whole = it.subscription.is_everything() && peer.subscription.is_everything();
        let ours = it.node.as_ref().map(|node| node.read(id, |document| document.digest("")));
        let Some(Ok(Ok(ours))) = ours else { return };
        if shared(ours, whole) != shared(theirs, whole) {
            let what = format!("{} tells another digest of `{id}` than that of {}", peer.agent, it.agent);
            self.fail(what);
        }
    }
}
