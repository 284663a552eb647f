//! Presence and messages.

use aepoch::{
    node::Event,
    sync::{Address, Lane},
};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_seen_and_goes_with_its_agent() {
    let world = World::new().await;
    let (a, b) = (world.agent("a").await, world.agent("b").await);
    let (left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    left.set_presence(&"typing").unwrap();
    eventually("the presence", || {
        right.presence().iter().any(|entry| entry.agent == *a.name() && entry.state.as_deref() == Some(b"\"typing\""))
    })
    .await;
    a.disconnect();
    eventually("it comes back after a reconnect", || !right.presence().is_empty()).await;
    drop(left);
    a.close().await.unwrap();
    drop(a);
    eventually("no ghost", || right.presence().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_a_document_and_everyone_can_be_addressed() {
    let world = World::new().await;
    let (a, b, c) = (world.agent("a").await, world.agent("b").await, world.agent("c").await);
    let (_left, right) = (a.document("stage").await.unwrap(), b.document("stage").await.unwrap());
    let (mut at_b, mut at_c) = (b.events(), c.events());
    right.register("ready").set(&true).unwrap();
    let left = a.document("stage").await.unwrap();
    eventually("a sees b", || left.register::<bool>("ready").get().unwrap() == Some(true)).await;
    eventually("c is online", || c.status().online).await;
    a.send(Address::Agent(c.name().clone()), Lane::High, "to c").unwrap();
    a.send(a.address_of("stage").unwrap(), Lane::Normal, "to the stage").unwrap();
    a.send(Address::All, Lane::Critical, "to all").unwrap();
    async fn bodies(events: &mut aepoch::agent::Events, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let event = events.next().await.unwrap().unwrap();
            if let Event::Message { body, from, .. } = &*event {
                assert_eq!(from.as_str(), "a");
                bodies.push(String::from_utf8(body.to_vec()).unwrap());
            }
        }
        bodies.sort();
        bodies
    }
    assert_eq!(bodies(&mut at_b, 2).await, ["to all", "to the stage"]);
    assert_eq!(bodies(&mut at_c, 2).await, ["to all", "to c"]);
    let error = a.send(Address::All, Lane::Low, vec![0; 300_000]).unwrap_err().to_string();
    assert!(error.contains("300000") && error.contains("262144"), "{error}");
}
