//! samod, automerge-repo's counterpart in Rust, as a client of a relay.

use std::{convert::Infallible, sync::Arc};

use aepoch::{engine::EngineKind, wires::RepoId};
use automerge::{Automerge, ObjType, ROOT, ReadDoc as _, transaction::Transactable as _};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use samod::{BackoffConfig, DialError, Dialer, DocHandle, PeerId, Repo, Transport, Url};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::world::{PATIENCE, World, eventually};

/// Dials a relay. samod's own would bring a TLS library we want nothing of.
struct Relay(Url);

impl Dialer for Relay {
    type Error = Infallible;

    fn url(&self) -> Url {
        self.0.clone()
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<Infallible>>> {
        let url = self.0.to_string();
        async move {
            let (socket, _) = connect_async(url).await.map_err(DialError::transient)?;
            let (sink, stream) = socket.split();
            let sink = sink.with(|message: Vec<u8>| {
                std::future::ready(Ok::<_, tungstenite::Error>(tungstenite::Message::binary(message)))
            });
            let stream = stream.filter_map(|message| {
                std::future::ready(match message {
                    Ok(tungstenite::Message::Binary(message)) => Some(Ok(message.to_vec())),
                    Ok(_) => None,
                    Err(error) => Some(Err(error)),
                })
            });
            Ok(Transport::new(stream, sink))
        }
        .boxed()
    }
}

async fn repo(world: &World, name: &str) -> Repo {
    let repo = Repo::build_tokio().with_peer_id(PeerId::from(name)).load().await;
    let url = Url::parse(&format!("{}/automerge/test", world.relay.url())).unwrap();
    let dialer = repo.dial(BackoffConfig::default(), Arc::new(Relay(url))).unwrap();
    timeout(PATIENCE, dialer.established()).await.unwrap().unwrap();
    repo
}

fn read(handle: &DocHandle, key: &str) -> Option<String> {
    handle.with_document(|document| {
        let (value, object) = document.get(ROOT, key).unwrap()?;
        if value.is_object() { document.text(&object).ok() } else { value.as_str().map(str::to_owned) }
    })
}

#[tokio::test]
async fn two_repos_of_samod_and_an_agent_are_in_one_document() {
    let world = World::new().await;
    let (first, second) = (repo(&world, "ada").await, repo(&world, "bob").await);
    let mut content = Automerge::new();
    let mut transaction = content.transaction();
    let notes = transaction.put_object(ROOT, "notes", ObjType::Text).unwrap();
    transaction.splice_text(&notes, 0, 0, "soft").unwrap();
    transaction.commit();
    let handle = first.create(content).await.unwrap();
    let id: RepoId = handle.url().to_string().parse().unwrap();

    let agent = world.agent_with("agent", EngineKind::Automerge).await;
    let document = agent.document(&id.name()).await.unwrap();
    eventually("the text", || document.text("notes").get().is_ok_and(|text| text == "soft")).await;
    document.text("notes").push(" and loud").unwrap();
    eventually("what the agent wrote", || read(&handle, "notes").as_deref() == Some("soft and loud")).await;

    let found = timeout(PATIENCE, second.find(handle.document_id().clone())).await.unwrap().unwrap().unwrap();
    found.with_document(|document| {
        let mut transaction = document.transaction();
        transaction.put(ROOT, "by", "bob").unwrap();
        transaction.commit();
    });
    eventually("what the other wrote", || read(&handle, "by").as_deref() == Some("bob")).await;
    let heads = |handle: &DocHandle| handle.with_document(|document| document.get_heads());
    eventually("equal heads", || heads(&handle) == heads(&found)).await;

    let mut said = found.ephemera();
    handle.broadcast(b"psst".to_vec());
    assert_eq!(timeout(PATIENCE, said.next()).await.unwrap().as_deref(), Some(&b"psst"[..]));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn samod_hears_that_nobody_has_a_document() {
    let world = World::new().await;
    let repo = repo(&world, "ada").await;
    let unknown = RepoId::from_bytes([7; 16]).to_string().parse().unwrap();
    assert!(timeout(PATIENCE, repo.find(unknown)).await.unwrap().unwrap().is_none());
    repo.stop().await;
}
