//! Agents whose documents are kept by a store of the application's that answers later, as a browser's database does.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aepoch::{
    Agent,
    node::Event,
    store::{AsyncStore, MemoryStore, Pending, Store, StoreDone, StoreError, StoreTask},
};
use bytes::Bytes;

use super::world::{World, eventually};

/// Keeps everything in memory and answers a few turns later; full when told so.
#[derive(Debug, Default)]
struct Database {
    kept: Mutex<MemoryStore>,
    is_full: AtomicBool,
    commits: AtomicUsize,
}

async fn a_few_turns() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// The database as an agent holds it.
#[derive(Debug, Clone, Default)]
struct Handle(Arc<Database>);

impl AsyncStore for Handle {
    fn commit(&self, tasks: Vec<StoreTask>) -> Pending<Vec<Result<StoreDone, StoreError>>> {
        let database = self.0.clone();
        Box::pin(async move {
            a_few_turns().await;
            database.commits.fetch_add(1, Ordering::Relaxed);
            if database.is_full.load(Ordering::Relaxed) && tasks.iter().any(StoreTask::is_write) {
                // Fewer answers than tasks: the rest counts as failed too.
                return vec![Err(StoreError::Write { reason: "no room".to_owned() })];
            }
            database.kept.lock().unwrap().commit(&tasks)
        })
    }

    fn note(&self, name: &'static str) -> Pending<Result<Option<Bytes>, StoreError>> {
        let database = self.0.clone();
        Box::pin(async move {
            a_few_turns().await;
            database.kept.lock().unwrap().note(name)
        })
    }

    fn set_note(&self, name: &'static str, note: Bytes) -> Pending<Result<(), StoreError>> {
        let database = self.0.clone();
        Box::pin(async move {
            a_few_turns().await;
            database.kept.lock().unwrap().set_note(name, note)
        })
    }
}

async fn agent(database: &Handle) -> Agent {
    Agent::builder("tab").swarm("test").store_by(Arc::new(database.clone())).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_persisted_is_there_after_a_crash_under_the_same_identity() {
    let database = Handle::default();
    let first = agent(&database).await;
    let stage = first.document("stage").await.unwrap();
    for take in 0..500 {
        stage.register("take").set(&take).unwrap();
    }
    first.persisted().await.unwrap();
    let replica = first.identity().replica;
    // No goodbye: as when a tab is killed.
    let survived =
        Handle(Arc::new(Database { kept: Mutex::new(database.0.kept.lock().unwrap().clone()), ..Database::default() }));
    drop((first, stage));

    let second = agent(&survived).await;
    let stage = second.document("stage").await.unwrap();
    assert_eq!(stage.register::<u32>("take").get().unwrap(), Some(499));
    assert_eq!(second.identity().replica, replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_gather_while_a_commit_is_under_way_go_together() {
    let database = Handle::default();
    let agent = agent(&database).await;
    let stage = agent.document("stage").await.unwrap();
    let before = database.0.commits.load(Ordering::Relaxed);
    for take in 0..500 {
        stage.counter(&format!("take-{take}")).add(1).unwrap();
    }
    agent.persisted().await.unwrap();
    let commits = database.0.commits.load(Ordering::Relaxed) - before;
    assert!((1..250).contains(&commits), "{commits} commits for 500 writes");
}

/// Nothing leaves for the relay before it is durable here, and nothing is lost when the disk has room again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_store_refuses_is_kept_once_it_has_room() {
    let world = World::new().await;
    let database = Handle::default();
    let tab = world.builder("tab").store_by(Arc::new(database.clone())).open().await.unwrap();
    let stage = tab.document("stage").await.unwrap();
    tab.flush().await.unwrap();
    let mut events = tab.events();
    database.0.is_full.store(true, Ordering::Relaxed);
    stage.counter("takes").add(1).unwrap();
    loop {
        if let Event::StoreFailed { reason, .. } = &*events.next().await.unwrap().unwrap() {
            assert!(reason.contains("no room"), "{reason}");
            break;
        }
    }
    let other = world.agent("other").await;
    let there = other.document("stage").await.unwrap();
    there.register("ready").set(&true).unwrap();
    eventually("the other's write is here", || stage.register::<bool>("ready").get().unwrap() == Some(true)).await;
    assert_eq!(there.counter("takes").get().unwrap(), 0);

    database.0.is_full.store(false, Ordering::Relaxed);
    tab.flush().await.unwrap();
    eventually("the write is there", || there.counter("takes").get().unwrap() == 1).await;
}
