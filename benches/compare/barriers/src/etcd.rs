//! etcd: the double barrier of its recipes (`clientv3/contrib/recipes`): put a key of one's own, count the keys, and
//! whoever finds all there puts the key `ready` that the others watch. Kinder to it than the recipe, without a lease
//! and with the watch open before. Also without `ready`: all watch the members' keys.

use std::collections::BTreeMap;

use etcd_client::{Client, EventType, GetOptions, WatchOptions, WatchStream};

use crate::{Recipe, rounds::Member};

pub(crate) struct Etcd {
    client: Client,
    watch: WatchStream,
    number: usize,
    members: usize,
    recipe: Recipe,
    /// Events of the keys watched, by round.
    seen: BTreeMap<u64, usize>,
}

pub(crate) async fn members(address: &str, count: usize, recipe: Recipe) -> Vec<Etcd> {
    let mut all = Vec::new();
    for number in 0..count {
        let mut client = Client::connect([address], None).await.unwrap();
        let watched = if recipe == Recipe::Ready { "ready/" } else { "waiters/" };
        let mut watch = client.watch(watched, Some(WatchOptions::new().with_prefix())).await.unwrap();
        assert!(watch.message().await.unwrap().unwrap().created());
        all.push(Etcd { client, watch, number, members: count, recipe, seen: BTreeMap::new() });
    }
    all
}

impl Member for Etcd {
    async fn prepare(&mut self, round: u64) {
        self.seen = self.seen.split_off(&round);
    }

    async fn arrive(&mut self, round: u64) {
        self.client.put(format!("waiters/{round}/{}", self.number), "", None).await.unwrap();
        if self.recipe == Recipe::Counted {
            return;
        }
        let options = GetOptions::new().with_prefix().with_count_only();
        let arrived = self.client.get(format!("waiters/{round}/"), Some(options)).await.unwrap().count();
        if usize::try_from(arrived).unwrap() == self.members {
            self.client.put(format!("ready/{round}"), "", None).await.unwrap();
        }
    }

    async fn released(&mut self, round: u64) {
        let wanted = if self.recipe == Recipe::Ready { 1 } else { self.members };
        while self.seen.get(&round).copied().unwrap_or(0) < wanted {
            let message = self.watch.message().await.unwrap().unwrap();
            for event in message.events().iter().filter(|event| event.event_type() == EventType::Put) {
                let key = event.kv().unwrap().key_str().unwrap();
                let round = key.split('/').nth(1).unwrap().parse().unwrap();
                *self.seen.entry(round).or_default() += 1;
            }
        }
    }
}
