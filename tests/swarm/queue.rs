//! Queues between agents over a relay, with real sockets and stores.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use aepoch::{
    Agent,
    agent::{
        AgentError,
        coordination::{Queue, QueueBuilder},
    },
    coordination::{
        claim::ClaimRefusal,
        kernel::Tier,
        participant::ParticipantError,
        queue::{Claiming, Occupation, QueueError},
    },
    node::NodeError,
};

use crate::world::{PATIENCE, World, eventually};

const NAMES: [&str; 3] = ["w1", "w2", "w3"];

async fn within<R>(what: impl Future<Output = R>) -> R {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes far too long")
}

/// Three agents with one queue.
async fn three(
    world: &World,
    rules: impl Fn(QueueBuilder<String>) -> QueueBuilder<String>,
) -> Vec<(Agent, Queue<String>)> {
    let mut opening = Vec::new();
    for name in NAMES {
        let agent = world.agent(name).await;
        let stage = agent.document("stage").await.unwrap();
        let builder = rules(stage.queue("jobs").members(NAMES));
        opening.push((agent, tokio::spawn(builder.open())));
    }
    let mut queues = Vec::new();
    for (agent, queue) in opening {
        queues.push((agent, within(queue).await.unwrap().unwrap()));
    }
    queues
}

fn stale(error: &AgentError) -> Option<(u64, u64)> {
    match error {
        AgentError::Node(NodeError::Participant(ParticipantError::Queue(QueueError::Claim(ClaimRefusal::Stale {
            token,
            current,
        })))) => Some((*token, *current)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_is_done_by_exactly_one_of_three_workers() {
    let world = World::new().await;
    for tolerate in [0, 1] {
        let mut queues = Vec::new();
        for name in NAMES {
            let agent = world.agent(&format!("{name}-{tolerate}")).await;
            let stage = agent.document(&format!("stage-{tolerate}")).await.unwrap();
            let names = NAMES.map(|name| format!("{name}-{tolerate}"));
            let builder = stage.queue::<u32>("jobs").members(names.iter().map(String::as_str)).tolerate(tolerate);
            queues.push((agent, tokio::spawn(builder.open())));
        }
        let mut open = Vec::new();
        for (agent, queue) in queues {
            open.push((agent, within(queue).await.unwrap().unwrap()));
        }
        for number in 0..60 {
            within(open[0].1.push(&number).into_future()).await.unwrap();
        }
        let mut workers = Vec::new();
        for (_, queue) in &open {
            let queue = queue.clone();
            workers.push(tokio::spawn(async move {
                let mut done = Vec::new();
                while done.len() < 20 {
                    let task = queue.claim(Claiming::Exclusive).await.unwrap();
                    done.push(*task.payload());
                    task.complete().await.unwrap();
                }
                done
            }));
        }
        let mut done = BTreeSet::new();
        for worker in workers {
            for number in within(worker).await.unwrap() {
                assert!(done.insert(number), "{number} was done twice");
            }
        }
        assert_eq!(done, (0..60).collect());
        let (_, queue) = &open[2];
        eventually("nothing is left", || queue.items().unwrap().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_is_replaced_and_its_token_refused() {
    let world = World::new().await;
    let queues = three(&world, |queue| queue.tolerate(1).lease(Duration::from_millis(600))).await;
    within(queues[0].1.push(&"tune".to_owned()).into_future()).await.unwrap();
    let paused = within(queues[1].1.claim(Claiming::Exclusive)).await.unwrap();
    queues[1].0.set_online(false);
    let task = within(queues[2].1.claim(Claiming::Exclusive)).await.unwrap();
    assert_eq!((task.item(), paused.token(), task.token()), (paused.item(), 1, 2));
    eventually("its lease is over by its own clock", || !paused.is_held()).await;
    assert!(task.is_held());
    queues[1].0.set_online(true);
    let error = within(paused.complete()).await.unwrap_err();
    assert_eq!(stale(&error), Some((1, 2)), "{error}");
    within(task.complete()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_renews_its_lease_while_it_lives() {
    let world = World::new().await;
    let queues = three(&world, |queue| queue.tolerate(1).lease(Duration::from_secs(2))).await;
    within(queues[0].1.push(&"tune".to_owned()).into_future()).await.unwrap();
    let task = within(queues[1].1.claim(Claiming::Exclusive)).await.unwrap();
    let other = queues[2].1.clone();
    let waiting = tokio::spawn(async move { other.claim(Claiming::Exclusive).await });
    // Far longer than a lease.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert!(task.is_held() && !waiting.is_finished());
    drop(task);
    let next = within(waiting).await.unwrap().unwrap();
    assert_eq!(next.token(), 2, "a task that is dropped gives its item back");
    let failure = queues[0].1.items().unwrap()[0].failure.clone();
    assert_eq!(failure.as_deref(), Some("its task was dropped"));
    within(next.complete()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_dropped_takes_nothing_along() {
    let world = World::new().await;
    let queues = three(&world, |queue| queue).await;
    let queue = &queues[0].1;
    let waiting = queue.claim(Claiming::Exclusive);
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err(), "there is nothing");
    assert_eq!(queue.status().unwrap().waiting, 0);
    within(queue.push(&"tune".to_owned()).into_future()).await.unwrap();
    let task = within(queue.claim(Claiming::Exclusive)).await.unwrap();
    assert_eq!(task.payload(), "tune");
    within(task.complete()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_and_deadlines_order_what_is_pushed_together_and_the_head_is_sealed() {
    let world = World::new().await;
    let queues = three(&world, |queue| queue.bucket(Duration::from_secs(3))).await;
    let queue = &queues[0].1;
    let soon = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let pushed = [("late", Tier::BETA, None), ("timed", Tier::BETA, Some(soon)), ("urgent", Tier::ALPHA, None)];
    // Within one bucket: the next one may have begun.
    let mut order = Vec::new();
    for _ in 0..3 {
        for item in queue.items().unwrap() {
            queue.discard(item.item).await.unwrap();
        }
        for (name, tier, deadline) in pushed {
            let push = queue.push(&name.to_owned()).tier(tier);
            let push = if let Some(at) = deadline { push.deadline(at) } else { push };
            within(push.into_future()).await.unwrap();
        }
        order = queue.items().unwrap().iter().map(|view| (view.tier, view.deadline_ms.is_some())).collect::<Vec<_>>();
        if order.len() == 3 && order[0].0 == Tier::ALPHA {
            break;
        }
    }
    assert_eq!(order, [(Tier::ALPHA, false), (Tier::BETA, true), (Tier::BETA, false)]);
    eventually("the head is sealed", || queue.peek().unwrap().is_some_and(|peek| peek.sealed)).await;
    assert_eq!(queues[2].1.peek().unwrap().unwrap().payload, "urgent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_too_often_is_a_dead_letter_until_it_is_requeued() {
    let world = World::new().await;
    let queues = three(&world, |queue| queue.tolerate(1).attempts(2)).await;
    let item = within(queues[0].1.push(&"poison".to_owned()).into_future()).await.unwrap();
    for token in [1, 2] {
        let task = within(queues[1].1.claim(Claiming::Exclusive)).await.unwrap();
        assert_eq!(task.token(), token);
        within(task.fail("it does not work")).await.unwrap();
    }
    eventually("it is dead everywhere", || {
        queues.iter().all(|(_, queue)| {
            queue.items().unwrap().iter().all(|view| view.occupation == Occupation::Dead { token: 2 })
        })
    })
    .await;
    within(queues[2].1.requeue(item)).await.unwrap();
    let task = within(queues[0].1.claim(Claiming::Exclusive)).await.unwrap();
    assert!(task.item() == item && task.token() > 2);
    within(task.complete()).await.unwrap();
}
