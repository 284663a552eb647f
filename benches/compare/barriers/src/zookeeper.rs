//! ZooKeeper: the double barrier of its recipes: watch for the node `ready`, create an ephemeral node of one's own,
//! list the nodes, and whoever finds all there creates `ready`. Kinder to it than the recipe, the watch is set before
//! the round. Also without `ready`: all have a persistent recursive watch on the members' nodes.

use std::collections::BTreeMap;

use zookeeper_client::{Acls, AddWatchMode, Client, CreateMode, Error, EventType, OneshotWatcher, PersistentWatcher};

use crate::{Recipe, rounds::Member};

const ROOT: &str = "/flash";

pub(crate) struct Zookeeper {
    client: Client,
    number: usize,
    members: usize,
    /// With [`Recipe::Ready`]: for the present round.
    ready: Option<OneshotWatcher>,
    /// With [`Recipe::Counted`].
    arrivals: Option<PersistentWatcher>,
    /// Members' nodes seen, by round.
    seen: BTreeMap<u64, usize>,
}

pub(crate) async fn members(address: &str, count: usize, recipe: Recipe) -> Vec<Zookeeper> {
    let mut all = Vec::new();
    for number in 0..count {
        let client = Client::connect(address).await.unwrap();
        if number == 0 {
            create(&client, ROOT, CreateMode::Persistent).await;
        }
        let arrivals = match recipe {
            Recipe::Ready => None,
            Recipe::Counted => Some(client.watch(ROOT, AddWatchMode::PersistentRecursive).await.unwrap()),
        };
        all.push(Zookeeper { client, number, members: count, ready: None, arrivals, seen: BTreeMap::new() });
    }
    all
}

async fn create(client: &Client, path: &str, mode: CreateMode) {
    match client.create(path, &[], &mode.with_acls(Acls::anyone_all())).await {
        // Of two that find all there, both may say so.
        Ok(_) | Err(Error::NodeExists) => {}
        Err(error) => panic!("{path}: {error}"),
    }
}

impl Member for Zookeeper {
    async fn prepare(&mut self, round: u64) {
        self.seen = self.seen.split_off(&round);
        if self.number == 0 {
            create(&self.client, &format!("{ROOT}/{round}"), CreateMode::Persistent).await;
        }
        if self.arrivals.is_none() {
            let ready = self.client.check_and_watch_stat(&format!("{ROOT}/{round}/ready")).await.unwrap();
            self.ready = Some(ready.1);
        }
    }

    async fn arrive(&mut self, round: u64) {
        create(&self.client, &format!("{ROOT}/{round}/{}", self.number), CreateMode::Ephemeral).await;
        if self.arrivals.is_some() {
            return;
        }
        let nodes = self.client.list_children(&format!("{ROOT}/{round}")).await.unwrap();
        if nodes.iter().filter(|node| *node != "ready").count() == self.members {
            create(&self.client, &format!("{ROOT}/{round}/ready"), CreateMode::Persistent).await;
        }
    }

    async fn released(&mut self, round: u64) {
        let Some(arrivals) = &mut self.arrivals else {
            let event = self.ready.take().unwrap().changed().await;
            assert_eq!(event.event_type, EventType::NodeCreated);
            return;
        };
        while self.seen.get(&round).copied().unwrap_or(0) < self.members {
            let event = arrivals.changed().await;
            let mut parts = event.path.split('/').skip(2);
            if let (EventType::NodeCreated, Some(round), Some(_)) = (event.event_type, parts.next(), parts.next()) {
                *self.seen.entry(round.parse().unwrap()).or_default() += 1;
            }
        }
    }
}
