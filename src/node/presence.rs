//! Ephemeral states with a time-to-live. Pure; layer 4. Never stored.
//!
//! An entry lives while its connection does and it is renewed in time; whichever ends first takes it away everywhere,
//! so a process that lost power leaves no ghost. That it is gone is remembered for a while: in a mesh an older state may
//! still be under way on another path, and two nodes that had forgotten would pass it around between them for ever.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    id::{LinkId, ReplicaId},
    limits,
    sync::PresenceEntry,
    time::Monotonic,
};

/// How long it is remembered that an entry is gone.
const GONE_FOR: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Present {
    entry: PresenceEntry,
    expires: Monotonic,
    via: Option<LinkId>,
}

impl Present {
    fn is_there(&self) -> bool {
        self.entry.state.is_some()
    }
}

/// The presence of one document.
#[derive(Debug, Default)]
pub(super) struct Presence {
    present: BTreeMap<ReplicaId, Present>,
}

impl Presence {
    /// Takes entries in; returns those that were news. Entries beyond the bound are dropped.
    pub(super) fn merge(
        &mut self,
        entries: Vec<PresenceEntry>,
        via: Option<LinkId>,
        now: Monotonic,
    ) -> Vec<PresenceEntry> {
        let mut news = Vec::new();
        for entry in entries {
            let known = self.present.get(&entry.replica);
            if known.is_some_and(|known| known.entry.clock >= entry.clock)
                || (known.is_none() && self.present.len() >= limits::PRESENCE_ENTRIES)
            {
                continue;
            }
            let was_there = known.is_some_and(Present::is_there);
            let stands = match entry.state {
                Some(_) => Duration::from_millis(u64::from(entry.ttl_ms)).min(limits::PRESENCE_TTL_MAX),
                None => GONE_FOR,
            };
            let present = Present { entry: entry.clone(), expires: now + stands, via };
            let is_news = present.is_there() || was_there;
            self.present.insert(entry.replica, present);
            if is_news {
                news.push(entry);
            }
        }
        news
    }

    /// Removes what came through a connection that ended; returns the removals to announce.
    pub(super) fn drop_link(&mut self, link: LinkId, now: Monotonic) -> Vec<PresenceEntry> {
        self.remove_where(now, |present| present.via == Some(link))
    }

    /// Removes what was not renewed in time.
    pub(super) fn expire(&mut self, now: Monotonic) -> Vec<PresenceEntry> {
        self.present.retain(|_, present| present.is_there() || present.expires > now);
        self.remove_where(now, |present| present.expires <= now)
    }

    fn remove_where(&mut self, now: Monotonic, ends: impl Fn(&Present) -> bool) -> Vec<PresenceEntry> {
        let mut removed = Vec::new();
        for present in self.present.values_mut().filter(|present| present.is_there() && ends(present)) {
            present.entry.clock = present.entry.clock.saturating_add(1);
            present.entry.state = None;
            present.expires = now + GONE_FOR;
            removed.push(present.entry.clone());
        }
        removed
    }

    pub(super) fn next_expiry(&self) -> Option<Monotonic> {
        self.present.values().map(|present| present.expires).min()
    }

    /// True while a replica's state stands.
    pub(super) fn is_there(&self, replica: ReplicaId) -> bool {
        self.present.get(&replica).is_some_and(Present::is_there)
    }

    /// What a replica last said, also that it is gone, while that is remembered.
    pub(super) fn latest(&self, replica: ReplicaId) -> Option<&PresenceEntry> {
        self.present.get(&replica).map(|present| &present.entry)
    }

    /// All that is known, also who is gone.
    pub(super) fn remembered(&self) -> impl Iterator<Item = &PresenceEntry> {
        self.present.values().map(|present| &present.entry)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &PresenceEntry> {
        self.present.values().filter(|present| present.is_there()).map(|present| &present.entry)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::AgentId;

    fn entry(replica: u64, clock: u64) -> PresenceEntry {
        PresenceEntry {
            replica: ReplicaId::from_bits(replica),
            agent: AgentId::new("w1").unwrap(),
            clock,
            state: Some(Bytes::from_static(b"{}")),
            ttl_ms: 1_000,
        }
    }

    #[test]
    fn an_entry_goes_with_its_connection_or_when_its_time_is_up() {
        let mut presence = Presence::default();
        let link = LinkId(1);
        assert_eq!(presence.merge(vec![entry(1, 1), entry(2, 1)], Some(link), Monotonic(0)).len(), 2);
        assert!(presence.merge(vec![entry(1, 1)], Some(link), Monotonic(5)).is_empty(), "same clock is no news");
        presence.merge(vec![entry(2, 2)], Some(LinkId(2)), Monotonic(500_000));
        assert!(presence.expire(Monotonic(999_999)).is_empty());
        let gone = presence.drop_link(link, Monotonic(600_000));
        assert_eq!((gone.len(), gone[0].replica, gone[0].clock), (1, ReplicaId::from_bits(1), 2));
        assert_eq!(presence.expire(Monotonic(1_500_000)).len(), 1);
        assert_eq!(presence.entries().count(), 0);
    }

    #[test]
    fn an_older_state_does_not_come_back_after_a_removal() {
        let mut presence = Presence::default();
        presence.merge(vec![entry(1, 5)], None, Monotonic(0));
        assert_eq!(presence.merge(vec![PresenceEntry { state: None, ..entry(1, 7) }], None, Monotonic(1)).len(), 1);
        assert!(presence.merge(vec![entry(1, 5)], Some(LinkId(1)), Monotonic(2)).is_empty());
        assert_eq!(presence.entries().count(), 0);
        assert_eq!(presence.merge(vec![entry(1, 8)], None, Monotonic(3)).len(), 1);
    }
}
