//! What passes through a node and is not kept: presence and application messages.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::{
    Node,
    event::Event,
    hub::{Hub, Link},
    room::Room,
};
use crate::{
    id::{AgentId, LinkId},
    limits,
    sync::{Address, Encoded, ErrorCode, Lane, Message, PresenceEntry, Role},
    trust::{pattern::Right, quota::Quota},
};

/// Shortest time between two messages about presence in a document: people see no more.
const PRESENCE_TICK: Duration = Duration::from_millis(100);
/// Entries in one message: a megabyte of the largest.
const PRESENCE_TOGETHER: usize = 256;

impl Room {
    /// Sets the node's own ephemeral state; `None` takes it away.
    pub(super) fn set_presence(&mut self, state: Option<(Bytes, Duration)>, hub: &mut Hub) {
        let withdrawn = state.is_none() && self.own_presence.is_some();
        self.own_presence = state;
        let entry = match self.present(hub) {
            Some(entry) => entry,
            None if withdrawn => self.entry(None, Duration::ZERO, hub),
            None => return,
        };
        self.spread(entry, hub);
    }

    /// Renews the node's own entry well before its time is up.
    pub(super) fn renew_presence(&mut self, hub: &mut Hub) {
        let Some(at) = self.renew_presence_at else { return };
        if at > hub.now.mono {
            return hub.arm(&self.id, at);
        }
        self.renew_presence_at = None;
        if let Some(entry) = self.present(hub) {
            self.spread(entry, hub);
        }
    }

    /// The node's own entry, to be sent now; plans its renewal.
    pub(super) fn present(&mut self, hub: &mut Hub) -> Option<PresenceEntry> {
        let (state, ttl) = self.own_presence.clone()?;
        let at = hub.now.mono + ttl / 3;
        self.renew_presence_at = Some(at);
        hub.arm(&self.id, at);
        Some(self.entry(Some(state), ttl, hub))
    }

    fn entry(&self, state: Option<Bytes>, ttl: Duration, hub: &mut Hub) -> PresenceEntry {
        PresenceEntry {
            replica: hub.me(),
            agent: hub.config.identity.agent.clone(),
            clock: hub.hlc.stamp(hub.now.wall_ms).0,
            state,
            ttl_ms: u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn spread(&mut self, entry: PresenceEntry, hub: &mut Hub) {
        let news = self.presence.merge(vec![entry], None, hub.now.mono);
        self.announce(news, None, hub);
    }

    /// Entries have come from a peer, which may speak for itself only unless it is trusted to forward.
    pub(super) fn presence_from(&mut self, link: LinkId, entries: Vec<PresenceEntry>, hub: &mut Hub) {
        let Some(peer) = hub.links.get(&link) else { return };
        // It was on its way when one side left, or was overtaken by the more urgent leave.
        let Some(member) = self.members.get(&link) else { return };
        if let Some(Err(error)) = member.confines.as_ref().map(|confines| confines.require(Right::Presence)) {
            return hub.forbid(link, Some(&self.id), error.to_string());
        }
        let author = peer.author();
        let name = &peer.hello.identity.agent;
        let is_own =
            |entry: &&PresenceEntry| author.is_none_or(|author| (author, name) == (entry.replica, &entry.agent));
        if let Some(foreign) = entries.iter().find(|entry| !is_own(entry)) {
            let (replica, agent) = (foreign.replica, &foreign.agent);
            let reason = format!("presence of `{agent}` ({replica}), which is not this connection's");
            return hub.strike(link, Some(&self.id), reason);
        }
        let (most, max) = (entries.iter().map(PresenceEntry::size).max(), hub.quota(Quota::PresenceBytes));
        if let Some(size) = most.filter(|size| *size as u64 > max) {
            let reason = format!("a presence entry of {size} bytes is over the limit of {max}");
            return hub.refuse(link, Some(&self.id), ErrorCode::Limit, reason);
        }
        let me = hub.me();
        let entries = entries.into_iter().filter(|entry| entry.replica != me).collect();
        let news = self.presence.merge(entries, Some(link), hub.now.mono);
        if let Some(at) = self.presence.next_expiry() {
            hub.arm(&self.id, at);
        }
        self.announce(news, Some(link), hub);
    }

    /// Has everyone but the bringer told, at once after a pause. What follows within [`PRESENCE_TICK`] is told together,
    /// and of what one replica said the latest.
    pub(super) fn announce(&mut self, entries: Vec<PresenceEntry>, via: Option<LinkId>, hub: &mut Hub) {
        if entries.is_empty() {
            return;
        }
        if let Some(at) = self.presence.next_expiry() {
            hub.arm(&self.id, at);
        }
        self.presence_news.extend(entries.iter().map(|entry| (entry.replica, via)));
        hub.event(Event::Presence { document: self.id.clone(), entries });
        self.tell_presence(hub);
    }

    /// Tells what is new, unless something was told just now.
    pub(super) fn tell_presence(&mut self, hub: &mut Hub) {
        if self.presence_news.is_empty() {
            return;
        }
        if self.presence_at > hub.now.mono {
            return hub.arm(&self.id, self.presence_at);
        }
        self.presence_at = hub.now.mono + PRESENCE_TICK;
        let news = std::mem::take(&mut self.presence_news);
        let bringers: BTreeSet<Option<LinkId>> = news.values().copied().collect();
        let bringer = bringers.first().copied().flatten().filter(|_| bringers.len() == 1);
        let entries: Vec<_> = news.keys().filter_map(|replica| self.presence.latest(*replica)).cloned().collect();
        self.tell_guests_presence(&entries, bringer, hub);
        let high = hub.config.tuning.queue_high;
        let mut receivers = Vec::new();
        for (link, member) in self.members.iter_mut().filter(|(link, _)| Some(**link) != bringer) {
            if hub.links.get(link).is_some_and(|peer| peer.outstanding > high) {
                member.presence_behind = true;
            } else {
                receivers.push(*link);
            }
        }
        self.send_presence(&receivers, &entries, hub);
    }

    /// Tells a member all there is; one that does not drain is told once it does.
    pub(super) fn tell_all_presence(&mut self, link: LinkId, hub: &mut Hub) {
        let is_slow = hub.links.get(&link).is_some_and(|peer| peer.outstanding > hub.config.tuning.queue_high);
        if let Some(member) = self.members.get_mut(&link) {
            member.presence_behind = is_slow;
        }
        if !is_slow {
            let entries: Vec<_> = self.presence.remembered().cloned().collect();
            self.send_presence(&[link], &entries, hub);
        }
    }

    /// Sends entries to those who take them from us: to some, only our own.
    fn send_presence(&self, receivers: &[LinkId], entries: &[PresenceEntry], hub: &mut Hub) {
        let me = hub.me();
        let is_trusting = |link: &&LinkId| hub.links.get(link).is_some_and(|link| link.accepts(me).is_none());
        let (all, own): (Vec<LinkId>, Vec<LinkId>) = receivers.iter().partition(is_trusting);
        let ours: Vec<_> = entries.iter().filter(|entry| entry.replica == me).cloned().collect();
        for (receivers, entries) in [(all, entries), (own, &ours)] {
            for entries in entries.chunks(PRESENCE_TOGETHER) {
                let message = Message::Presence { document: self.id.clone(), entries: entries.to_vec() };
                if let Ok(encoded) = Encoded::new(&message, Lane::Normal) {
                    hub.send(receivers.clone(), encoded);
                }
            }
        }
    }
}

impl Node {
    /// Sends an application message. At most once, to those connected now and not far behind.
    ///
    /// # Errors
    /// `TooLarge`; `Document(Forbidden)` when it is for a document in which we may not be seen.
    pub fn send_message(&mut self, to: Address, lane: Lane, body: Bytes) -> Result<(), super::NodeError> {
        if body.len() > limits::APP_MESSAGE_BYTES {
            return Err(super::NodeError::TooLarge {
                what: "message",
                size: body.len(),
                max: limits::APP_MESSAGE_BYTES,
            });
        }
        if let Address::Document(document) = &to {
            self.hub.may(document, Right::Presence)?;
        }
        let from = self.hub.config.identity.agent.clone();
        self.route(None, from, to, lane, body);
        Ok(())
    }

    /// An application message has come from a peer.
    pub(super) fn message_from(&mut self, link: LinkId, from: AgentId, to: Address, lane: Lane, body: Bytes) {
        let Some(peer) = self.hub.links.get(&link) else { return };
        if peer.author().is_some() && peer.hello.identity.agent != from {
            let reason = format!("a message in the name of `{from}`, which is not this connection's");
            return self.hub.strike(link, None, reason);
        }
        if let Address::Document(document) = &to
            && let Some(Err(error)) = peer.confines(document).map(|confines| confines.require(Right::Presence))
        {
            return self.hub.forbid(link, Some(document), error.to_string());
        }
        self.route(Some(link), from, to, lane, body);
    }

    /// Delivers here what is meant for here; a relay passes the rest on, one hop, so that nothing circulates.
    fn route(&mut self, via: Option<LinkId>, from: AgentId, to: Address, lane: Lane, body: Bytes) {
        let me = &self.hub.config.identity.agent;
        let is_relay = self.hub.config.role == Role::Relay;
        let here = match &to {
            Address::Agent(agent) => agent == me,
            Address::Document(document) => self.rooms.get(document).is_some_and(|room| room.handles > 0),
            Address::All => !is_relay,
        };
        if here && via.is_some() {
            self.hub.event(Event::Message { from: from.clone(), to: to.clone(), body: body.clone() });
        }
        if via.is_some() && !is_relay {
            return;
        }
        let receivers: Vec<LinkId> = match &to {
            Address::Agent(agent) => {
                let direct: Vec<_> = self.links_of(agent).collect();
                if direct.is_empty() && via.is_none() { self.relays().collect() } else { direct }
            }
            Address::Document(document) => match self.rooms.get(document) {
                Some(room) => room.members.keys().copied().collect(),
                None => Vec::new(),
            },
            Address::All => self.hub.peers().collect(),
        };
        // Who does not drain misses it: nothing here is kept for later.
        let high = self.hub.config.tuning.queue_high;
        let is_slow = |link: &LinkId| self.hub.links.get(link).is_some_and(|link| link.outstanding > high);
        let receivers = receivers.into_iter().filter(|link| Some(*link) != via && !is_slow(link)).collect();
        if let Ok(encoded) = Encoded::new(&Message::App { from, to, lane, body }, lane) {
            self.hub.send(receivers, encoded);
        }
    }

    fn links_of(&self, agent: &AgentId) -> impl Iterator<Item = LinkId> {
        let is_there = move |link: &Link| link.guest.is_none() && link.hello.identity.agent == *agent;
        self.hub.links.iter().filter(move |(_, link)| is_there(link)).map(|(id, _)| *id)
    }

    fn relays(&self) -> impl Iterator<Item = LinkId> {
        self.hub.links.iter().filter(|(_, link)| link.hello.role == Role::Relay).map(|(id, _)| *id)
    }
}
