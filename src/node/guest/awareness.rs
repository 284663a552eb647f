//! Presence of guests among that of agents, both ways: a client's awareness state is the presence of a replica with its
//! number, and the presence of an agent is the awareness state of a client with the number of its replica.
//!
//! A client's state is accepted from the connection that brought it first, while that lasts: y-websocket sends back what it
//! hears of others, and an echo must neither be taken for news nor keep alive who is gone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::super::{hub::Hub, room::Room};
use crate::{
    id::{LinkId, ReplicaId},
    limits,
    sync::{ErrorCode, PresenceEntry},
    time::Monotonic,
    trust::quota::Quota,
    wires::{Awareness, Told, Word},
};

/// How long a client's state stands: its library renews it every 15 s, and forgets others after 30.
const STANDS_FOR: Duration = Duration::from_secs(45);
/// How often agents' states are told again, since clients forget what they do not hear of for 30 s.
const RENEW_EVERY: Duration = Duration::from_secs(12);
/// How long it is remembered that a client is gone, and at which clock: it may come back under the one it had.
const GONE_FOR: Duration = Duration::from_secs(600);

/// A client's place.
#[derive(Debug)]
struct Seat {
    /// Who brought it, or until when it is remembered that it is gone.
    held: Result<LinkId, Monotonic>,
    clock: u64,
    /// The clock under which others were told. It runs ahead of the client's when that came back with an old one, which
    /// others would not listen to: they have heard that it is gone.
    told: u64,
    state: Option<Bytes>,
}

/// The clients of a room's guests, and the clocks that guests were told for agents.
#[derive(Debug, Default)]
pub(in crate::node) struct Seats {
    clients: BTreeMap<u64, Seat>,
    agents: BTreeMap<ReplicaId, u64>,
    renew_at: Option<Monotonic>,
}

impl Seats {
    /// A connection has ended.
    pub(in crate::node) fn vacate(&mut self, link: LinkId, now: Monotonic) {
        for seat in self.clients.values_mut().filter(|seat| seat.held == Ok(link)) {
            seat.held = Err(now + GONE_FOR);
            seat.told += 1;
            seat.state = None;
        }
    }

    fn forget(&mut self, now: Monotonic) {
        if self.clients.len() >= limits::PRESENCE_ENTRIES {
            self.clients.retain(|_, seat| seat.held.is_ok());
        }
        self.clients.retain(|_, seat| seat.held.map_or_else(|until| until > now, |_| true));
    }

    /// The clock under which guests hear of an agent next.
    fn next_clock(&mut self, replica: ReplicaId, wall_ms: u64) -> u64 {
        let told = self.agents.entry(replica).or_insert(0);
        // Also above what was told before this node was started anew.
        *told = (*told + 1).max(wall_ms).min(ReplicaId::MAX);
        *told
    }

    /// An entry as guests hear of it.
    fn awareness(&mut self, entry: &PresenceEntry, wall_ms: u64) -> Awareness {
        let client = entry.replica.get();
        if let Some(seat) = self.clients.get(&client) {
            let state = seat.state.clone().filter(|_| entry.state.is_some());
            return Awareness { client, clock: seat.told, state };
        }
        let clock = self.next_clock(entry.replica, wall_ms);
        if entry.state.is_none() {
            self.agents.remove(&entry.replica);
        }
        Awareness { client, clock, state: entry.state.as_ref().map(|state| readable(state, entry)) }
    }
}

/// A state as awareness has it: an object. Anything else is put into one, with the agent's name.
fn readable(state: &Bytes, entry: &PresenceEntry) -> Bytes {
    match serde_json::from_slice::<serde_json::Value>(state) {
        Ok(serde_json::Value::Object(_)) => state.clone(),
        Ok(other) => serde_json::json!({ "agent": entry.agent, "state": other }).to_string().into(),
        Err(_) => serde_json::json!({ "agent": entry.agent }).to_string().into(),
    }
}

impl Room {
    /// A guest shows states.
    pub(in crate::node) fn presence_from_guest(&mut self, link: LinkId, states: Vec<Awareness>, hub: &mut Hub) {
        if self.guests.get(&link).is_none_or(|guest| !guest.is_seen) {
            return;
        }
        let natives = self.natives(hub);
        let max = hub.quota(Quota::PresenceBytes);
        self.seats.forget(hub.now.mono);
        let mut entries = Vec::new();
        for state in states {
            let (Some(peer), Some(guest)) = (hub.links.get(&link), self.guests.get_mut(&link)) else { return };
            let replica = ReplicaId::from_bits(state.client);
            let seat = self.seats.clients.get(&state.client);
            let is_agents = natives.contains(&replica) || replica == hub.me() || self.presence.is_there(replica);
            let is_news = match seat {
                Some(Seat { held: Ok(holder), clock, state: known, .. }) => {
                    let is_end = state.clock == *clock && state.state.is_none() && known.is_some();
                    *holder == link && (state.clock > *clock || is_end)
                }
                _ if state.state.is_none() || is_agents || state.client == 0 => false,
                Some(Seat { told, .. }) => guest.clients.is_empty() || state.clock > *told,
                None => true,
            };
            let is_new = !guest.clients.contains(&state.client);
            if !is_news || (is_new && guest.clients.len() >= limits::GUEST_PRESENCES) {
                continue;
            }
            let size = state.state.as_ref().map_or(0, Bytes::len) as u64;
            if size > max {
                let reason = format!("an awareness state of {size} bytes is over the limit of {max}");
                hub.refuse(link, Some(&self.id), ErrorCode::Limit, reason);
                continue;
            }
            guest.clients.insert(state.client);
            let agent = peer.hello.identity.agent.clone();
            // Clients do not listen to clock 0, under which a library shows the state it begins with.
            let told = state.clock.max(seat.map_or(0, |seat| seat.told) + 1).min(ReplicaId::MAX);
            let seat = Seat { held: Ok(link), clock: state.clock, told, state: state.state.clone() };
            self.seats.clients.insert(state.client, seat);
            let ttl_ms = u32::try_from(STANDS_FOR.as_millis()).unwrap_or(u32::MAX);
            let clock = hub.hlc.stamp(hub.now.wall_ms).0;
            entries.push(PresenceEntry { replica, agent, clock, state: state.state, ttl_ms });
        }
        let news = self.presence.merge(entries, Some(link), hub.now.mono);
        self.announce(news, Some(link), hub);
    }

    /// Tells guests that keep up what is new, but not who brought it.
    pub(in crate::node) fn tell_guests_presence(
        &mut self,
        entries: &[PresenceEntry],
        bringer: Option<LinkId>,
        hub: &mut Hub,
    ) {
        let high = hub.config.tuning.queue_high;
        let mut receivers = Vec::new();
        let others = self.guests.iter_mut().filter(|(link, guest)| Some(**link) != bringer && !guest.is_talking());
        for (link, guest) in others {
            if hub.links.get(link).is_some_and(|peer| peer.outstanding > high) {
                guest.presence_behind = true;
            } else {
                receivers.push(*link);
            }
        }
        if !receivers.is_empty() && !entries.is_empty() {
            let states = entries.iter().map(|entry| self.seats.awareness(entry, hub.now.wall_ms)).collect();
            hub.tell_guests(receivers, Told::new(Some(self.id.clone()), Word::Presence(states)));
        }
    }

    /// Tells a guest all there is; one that does not drain is told once it does.
    pub(in crate::node) fn tell_guest_all_presence(&mut self, link: LinkId, hub: &mut Hub) {
        let is_slow = hub.links.get(&link).is_some_and(|peer| peer.outstanding > hub.config.tuning.queue_high);
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.presence_behind = is_slow;
        let wall_ms = hub.now.wall_ms;
        let entries = self.presence.entries();
        let states: Vec<_> = entries.map(|entry| self.seats.awareness(entry, wall_ms)).collect();
        if !is_slow && !states.is_empty() {
            hub.tell_guests(vec![link], Told::new(Some(self.id.clone()), Word::Presence(states)));
        }
    }

    /// A guest has come: agents' states are to be renewed for it.
    pub(in crate::node) fn plan_renewal(&mut self, hub: &mut Hub) {
        let at = *self.seats.renew_at.get_or_insert(hub.now.mono + RENEW_EVERY);
        hub.arm(&self.id, at);
    }

    /// A timer has fired: tells guests again who of the agents is there.
    pub(in crate::node) fn renew_for_guests(&mut self, hub: &mut Hub) {
        let Some(at) = self.seats.renew_at else { return };
        if at > hub.now.mono {
            return hub.arm(&self.id, at);
        }
        self.seats.renew_at = None;
        self.seats.forget(hub.now.mono);
        if self.guests.is_empty() {
            return;
        }
        let is_agents = |entry: &&PresenceEntry| !self.seats.clients.contains_key(&entry.replica.get());
        let entries: Vec<_> = self.presence.entries().filter(is_agents).cloned().collect();
        self.tell_guests_presence(&entries, None, hub);
        self.plan_renewal(hub);
    }
}
