//! What survives a restart of an agent.

use aepoch::{
    Agent, Relay,
    store::{KeySource, StoreKey},
};

use crate::world::{ENGINES, PATIENCE, World, converged, eventually, flushed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_done_offline_survives_a_restart_and_is_sent_later() {
    for engine in ENGINES {
        let world = World::new().await;
        let path = world.path("agent.redb");
        let first = Agent::builder("w").swarm("test").engine(engine).store(&path).open().await.unwrap();
        let identity = first.identity().clone();
        let document = first.document("stage").await.unwrap();
        document.map("m").put("k", &"offline").unwrap();
        document.register("r").set(&7).unwrap();
        flushed(&document).await;
        drop(document);
        first.close().await.unwrap();
        drop(first);
        let again = world.builder("w").engine(engine).store(&path).open().await.unwrap();
        assert_eq!(again.identity(), &identity, "a restart is not a new writer");
        let document = again.document("stage").await.unwrap();
        assert_eq!(document.register::<u32>("r").get().unwrap(), Some(7));
        document.register("r").set(&8).unwrap();
        flushed(&document).await;
        let other = world.agent_with("other", engine).await;
        let replica = other.document("stage").await.unwrap();
        converged(&[&document, &replica]).await;
        assert_eq!(replica.map::<String>("m").get("k").unwrap().as_deref(), Some("offline"));
        let writers = replica.version().unwrap().records.len();
        assert_eq!(writers, 1, "versions do not grow with sessions");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_keeps_the_engine_it_was_made_with() {
    let world = World::new().await;
    let path = world.path("agent.redb");
    let first = Agent::builder("w").store(&path).engine(ENGINES[1]).open().await.unwrap();
    let document = first.document("stage").await.unwrap();
    document.register("r").set(&1).unwrap();
    flushed(&document).await;
    drop(document);
    first.close().await.unwrap();
    drop(first);
    let again = Agent::builder("w").store(&path).engine(ENGINES[0]).open().await.unwrap();
    let error = again.document("stage").await.unwrap_err().to_string();
    assert!(error.contains("automerge") && error.contains("yrs"), "{error}");
    let kept = again.document_with("stage", ENGINES[1]).await.unwrap();
    assert_eq!(kept.register::<u32>("r").get().unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_names_and_oversize_values_name_the_value_and_the_limit() {
    let agent = Agent::builder("w").open().await.unwrap();
    assert!(agent.document("Not Allowed").await.unwrap_err().to_string().contains('N'));
    let document = agent.document("stage").await.unwrap();
    let error = document.register("r").set(&"x".repeat(200_000)).unwrap_err().to_string();
    assert!(error.contains("200") && error.contains("131072"), "{error}");
    let error = document.map("m").put("k", &"x".repeat(200_000)).unwrap_err().to_string();
    assert!(error.contains("131072"), "{error}");
    document.list("l").push(&1).unwrap();
    let error = document.list::<u32>("l").remove(0..9).unwrap_err().to_string();
    assert!(error.contains('9') && error.contains('1'), "{error}");
    document.register("r").set(&"text").unwrap();
    let error = document.register::<u64>("r").get().unwrap_err().to_string();
    assert!(error.contains('r') && error.contains("string"), "{error}");
    eventually("nothing else is there", || document.register::<String>("r").get().unwrap().is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_a_relay_find_their_documents_in_sealed_files_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = || KeySource::Given(StoreKey::from_bytes([7; 32]));
    let (relay_path, agent_path) = (folder.path().join("relay.redb"), folder.path().join("agent.redb"));
    let serve = || Relay::builder().listen("127.0.0.1:0").store(&relay_path).store_key(key()).open();
    let open = |url: &str| Agent::builder("w").connect(url).store(&agent_path).store_key(key()).open();
    let relay = serve().await.unwrap();
    let first = open(&relay.url()).await.unwrap();
    let identity = first.identity().clone();
    let document = first.document("rehearsal-room").await.unwrap();
    document.register("r").set(&"the drummer leaves in spring").unwrap();
    document.flush().await.unwrap();
    drop(document);
    first.close().await.unwrap();
    drop(first);
    relay.shut_down().await.unwrap();
    drop(relay);

    for path in [&relay_path, &agent_path] {
        let bytes = std::fs::read(path).unwrap();
        for secret in ["rehearsal-room", "the drummer leaves in spring"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "`{secret}` lies open in {}", path.display());
        }
    }
    assert!(Agent::builder("w").store(&agent_path).open().await.unwrap_err().to_string().contains("no key was given"));

    // Each from its own file: the agent without a relay, the relay with an agent that has nothing.
    let again = Agent::builder("w").store(&agent_path).store_key(key()).open().await.unwrap();
    assert_eq!(again.identity(), &identity, "a restart is not a new writer");
    let kept = again.document("rehearsal-room").await.unwrap().register::<String>("r").get().unwrap();
    assert_eq!(kept.as_deref(), Some("the drummer leaves in spring"));
    let relay = serve().await.unwrap();
    let other = Agent::builder("other").connect(&relay.url()).open().await.unwrap();
    let replica = other.document("rehearsal-room").await.unwrap();
    eventually("the relay has it", || replica.register::<String>("r").get().unwrap().is_some()).await;
}

/// A large document is worked on elsewhere while it is sent: what is known of its writes must not be forgotten meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_write_is_flushed_when_the_relay_has_it_and_not_before() {
    for engine in ENGINES {
        let world = World::new().await;
        for round in 0..3 {
            let agent = world.builder(&format!("a{round}")).engine(engine).open().await.unwrap();
            let document = agent.document("large").await.unwrap();
            tokio::time::timeout(PATIENCE, document.catch_up()).await.unwrap().unwrap();
            let written = document.transact(|transaction| {
                (0..30_000).try_for_each(|n| transaction.map("m").put(&format!("{round}/{n}"), &"x".repeat(60)))
            });
            written.unwrap();
            tokio::time::timeout(PATIENCE, document.flush()).await.unwrap().unwrap();
            drop(document);
            agent.close().await.unwrap();
        }
        let reader = world.builder("reader").engine(engine).open().await.unwrap();
        let document = reader.document("large").await.unwrap();
        tokio::time::timeout(PATIENCE, document.catch_up()).await.unwrap().unwrap();
        assert_eq!(document.map::<String>("m").len().unwrap(), 90_000, "{engine}");
    }
}
