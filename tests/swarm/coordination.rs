//! Barriers and their kin between agents over a relay and over direct links, with real sockets and stores.

use std::time::Duration;

use aepoch::{
    Agent,
    agent::{
        AgentDocument, AgentError,
        coordination::{BarrierBuilder, Passage},
    },
    coordination::{
        kernel::{OnShortfall, Tier},
        poll::PollOutcome,
        standing::{Ending, Standing},
    },
};

use crate::rest::{get, json};
use crate::world::{ENGINES, PATIENCE, World, eventually, flushed, quick_backoff};

/// So many agents with the document open.
async fn swarm(world: &World, names: &[&str]) -> Vec<(Agent, AgentDocument)> {
    let mut agents = Vec::new();
    for name in names {
        let agent = world.agent(name).await;
        let document = agent.document("stage").await.unwrap();
        agents.push((agent, document));
    }
    agents
}

/// Lets all go through a barrier at once.
async fn pass(members: &[(Agent, AgentDocument)], barrier: impl Fn(&AgentDocument) -> BarrierBuilder) -> Vec<Passage> {
    let mut tasks = Vec::new();
    for (_, document) in members {
        tasks.push(tokio::spawn(barrier(document).arrive()));
    }
    let mut passages = Vec::new();
    for task in tasks {
        passages.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap());
    }
    passages
}

#[tokio::test(flavor = "multi_thread")]
async fn alphas_are_released_first_and_everybody_sees_what_all_wrote_before() {
    let world = World::new().await;
    for engine in ENGINES {
        let names = ["a1", "a2", "w1", "w2", "w3"];
        let mut members = Vec::new();
        for name in names {
            let agent = world.agent_with(&format!("{name}-{engine}"), engine).await;
            let document = agent.document(&format!("stage-{engine}")).await.unwrap();
            members.push((agent, document));
        }
        let full: Vec<String> = names.iter().map(|name| format!("{name}-{engine}")).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let barrier = |document: &AgentDocument| {
            let tiers = document.barrier("flash").members(Tier::ALPHA, full[..2].iter().copied());
            tiers.members(Tier::GAMMA, full[2..].iter().copied()).tolerate(1)
        };
        let waiting: Vec<_> =
            members[2..].iter().map(|(_, document)| tokio::spawn(barrier(document).arrive())).collect();
        for (number, (_, document)) in members[..2].iter().enumerate() {
            document.map::<u64>("m").put(&format!("k{number}"), &7).unwrap();
            document.register("last").set(&number).unwrap();
        }
        let alphas = pass(&members[..2], barrier).await;
        assert!(alphas.iter().all(|passage| passage.outcome() == alphas[0].outcome() && passage.is_complete()));
        for (task, (_, document)) in waiting.into_iter().zip(&members[2..]) {
            let passage = tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
            assert!(passage.is_complete(), "{passage:?}");
            assert_eq!(passage.outcome().unwrap().tiers[0], alphas[0].outcome().unwrap().tiers[0]);
            // The fence: no waiting, no asking again.
            let keys = ["k0", "k1"].map(|key| document.map::<u64>("m").get(key).unwrap());
            assert_eq!(keys, [Some(7), Some(7)]);
            assert!(document.register::<usize>("last").get().unwrap().is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_alpha_is_left_out_by_all_alike_and_learns_of_it_when_it_comes() {
    let world = World::new().await;
    let mut members = swarm(&world, &["a1", "a2", "w1", "w2"]).await;
    let barrier = |document: &AgentDocument| {
        let tiers = document.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]).members(Tier::BETA, ["w1", "w2"]);
        tiers.tolerate(1).timeout(Tier::ALPHA, Duration::from_millis(300))
    };
    let (late, document) = members.remove(1);
    let _ = barrier(&members[0].1).open().await.unwrap();
    late.set_online(false);
    let passages = pass(&members, barrier).await;
    for passage in &passages {
        let alpha = &passage.outcome().unwrap().tiers[0];
        assert_eq!((alpha.ending, alpha.missing[0].as_str()), (Ending::Degraded, "a2"));
        assert!(passage.is_released());
    }
    late.set_online(true);
    let passage = tokio::time::timeout(PATIENCE, barrier(&document).arrive()).await.unwrap().unwrap();
    let Standing::Late(outcome) = &passage.standing else { panic!("{passage:?}") };
    assert_eq!(outcome.tiers[0], passages[0].outcome().unwrap().tiers[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_must_not_be_short_breaks_the_barrier_for_everybody() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "w1", "w2"]).await;
    let barrier = |document: &AgentDocument| {
        let tiers = document.barrier("flash").members(Tier::ALPHA, ["a1"]).members(Tier::BETA, ["w1", "w2"]);
        let tiers = tiers.tolerate(1).timeout(Tier::ALPHA, Duration::from_millis(200));
        tiers.on_shortfall_of(Tier::ALPHA, OnShortfall::Break)
    };
    let _ = barrier(&members[1].1).begin().open().await.unwrap();
    let passages = pass(&members[1..], barrier).await;
    assert!(passages.iter().all(|passage| matches!(passage.standing, Standing::Broken(_))), "{passages:?}");
    let status = members[1].1.barrier("flash").open().await.unwrap().status().unwrap();
    assert!(status.why.iter().any(|why| why.contains("broken for good")), "{:?}", status.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_from_its_store_where_it_died() {
    let world = World::new().await;
    let members = swarm(&world, &["a1"]).await;
    let path = world.path("a2.redb");
    let second = world.builder("a2").store(&path).open().await.unwrap();
    let document = second.document("stage").await.unwrap();
    let barrier = |document: &AgentDocument| document.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]);
    let first = barrier(&members[0].1).open().await.unwrap();
    let arrived = barrier(&document).open().await.unwrap().arrive_now().await.unwrap();
    eventually("its arrival is here", || {
        first.status().unwrap().barrier.tiers[0].arrived.iter().any(|agent| agent.as_str() == "a2")
    })
    .await;
    drop((second, document));
    let passage = tokio::time::timeout(PATIENCE, first.arrive()).await.unwrap().unwrap();
    assert!(passage.is_complete());
    // The store is free again once the last task of the agent is gone.
    let again = loop {
        match world.builder("a2").store(&path).open().await {
            Ok(agent) => break agent,
            Err(AgentError::Store(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let document = again.document("stage").await.unwrap();
    let barrier = tokio::time::timeout(PATIENCE, document.barrier("flash").open()).await.unwrap().unwrap();
    let before = barrier.arrived().unwrap().expect("its record says that it has arrived");
    assert_eq!(before.generation, arrived.generation);
    let passage = tokio::time::timeout(PATIENCE, barrier.released(before)).await.unwrap().unwrap();
    assert!(passage.is_complete(), "{passage:?}");
    assert!(barrier.arrive_now().await.is_err(), "it has arrived before it died");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_goes_from_phase_to_phase_and_begins_anew() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "a2", "a3"]).await;
    let mut tasks = Vec::new();
    for (_, document) in &members {
        let document = document.clone();
        tasks.push(tokio::spawn(async move {
            let builder = document.epoch("show").members(Tier::ALPHA, ["a1", "a2", "a3"]).tolerate(1);
            let epoch = builder.phases(["collect", "plan", "act"]).open().await.unwrap();
            for round in 0..2 {
                for phase in ["collect", "plan", "act"] {
                    epoch.phase(phase).unwrap().entered().await.unwrap();
                    let passage = epoch.finish(phase).await.unwrap();
                    assert!(passage.is_complete(), "{round} {phase}: {passage:?}");
                }
            }
            let wrong = epoch.finish("act").await.unwrap_err();
            assert!(matches!(&wrong, AgentError::WrongPhase { current, .. } if current == "collect"), "{wrong}");
            epoch.frontier().unwrap()
        }));
    }
    for task in tasks {
        assert_eq!(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_approves_what_weighs_enough_and_a_decision_takes_one_proposal_for_all() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "a2", "a3"]).await;
    let poll = |document: &AgentDocument| {
        document.poll("tempo").members(Tier::ALPHA, ["a1", "a2", "a3"]).options(["slow", "fast"]).weight("a3", 3)
    };
    let mut polls = Vec::new();
    for (_, document) in &members {
        polls.push(poll(document).open().await.unwrap());
    }
    polls[0].vote("slow").await.unwrap();
    assert!(matches!(polls[1].vote("loud").await, Err(AgentError::NoOption { .. })));
    assert_eq!(polls[0].outcome().unwrap(), PollOutcome::Pending);
    polls[2].vote("fast").await.unwrap();
    for poll in &polls {
        assert_eq!(tokio::time::timeout(PATIENCE, poll.decided()).await.unwrap().unwrap().as_deref(), Some("fast"));
    }
    let mut tasks = Vec::new();
    for (number, (_, document)) in members.iter().enumerate() {
        let document = document.clone();
        tasks.push(tokio::spawn(async move { document.request_consensus("key", &format!("key {number}")).await }));
    }
    let mut decided = Vec::new();
    for task in tasks {
        decided.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap());
    }
    assert!(decided[0].is_some() && decided.iter().all(|value| *value == decided[0]), "{decided:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_heard_of_the_others_does_not_decide_alone() {
    let mut world = World::new().await;
    let members = swarm(&world, &["a2"]).await;
    let decided = members[0].1.request_consensus("key", &"of a2".to_owned()).await.unwrap();
    assert_eq!(decided.as_deref(), Some("of a2"));
    flushed(&members[0].1).await;
    world.relay.shut_down().await.unwrap();
    let late = world.agent("a1").await;
    let document = late.document("stage").await.unwrap();
    let asking = tokio::spawn(async move { document.request_consensus("key", &"of a1".to_owned()).await });
    world.start_relay().await;
    let decided = tokio::time::timeout(PATIENCE, asking).await.unwrap().unwrap().unwrap();
    assert_eq!(decided.as_deref(), Some("of a2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_may_decide_in_place_of_members_that_come_and_go() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "a2"]).await;
    let barrier = |document: &AgentDocument| {
        let barrier = document.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]).relay_elects();
        barrier.timeout(Tier::ALPHA, Duration::from_millis(300))
    };
    let passages = pass(&members, barrier).await;
    assert!(passages.iter().all(Passage::is_complete));
    // Two members alone could not go on without each other; one elector can.
    let alone = pass(&members[..1], |document| {
        let barrier = document.barrier("alone").members(Tier::ALPHA, ["a1", "a2"]).relay_elects();
        barrier.timeout(Tier::ALPHA, Duration::from_millis(300))
    });
    let outcome = alone.await[0].outcome().unwrap().clone();
    assert_eq!((outcome.tiers[0].ending, outcome.tiers[0].missing[0].as_str()), (Ending::Degraded, "a2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_shows_what_waits_and_counts_what_ended() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "a2"]).await;
    let open = members[0].1.barrier("open").members(Tier::ALPHA, ["a1", "a2"]).open().await.unwrap();
    let _ = open.arrive_now().await.unwrap();
    let passages = pass(&members, |document| document.barrier("flash").members(Tier::BETA, ["a1", "a2"])).await;
    assert!(passages.iter().all(Passage::is_complete));
    let line = r#"aepoch_coordination_tiers_total{kind="barrier",tier="beta",ending="complete"} 1"#;
    let came = r#"aepoch_coordination_members_total{kind="barrier",tier="beta",took_part="yes"} 2"#;
    let took = r#"aepoch_coordination_duration_seconds_count{kind="barrier"} 1"#;
    let metrics = get(&world, "/metrics").await.1;
    for line in [line, came, took] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    let (status, body) = get(&world, "/v1/coordination/test/stage").await;
    let shown = json(&body);
    let waits = shown.as_array().unwrap().iter().find(|shown| shown["barrier"]["name"] == "open").unwrap();
    assert_eq!((status, &waits["why"][0]), (200, &"alpha: a2 has not arrived".into()), "{shown}");
    assert_eq!(get(&world, "/v1/coordination/test/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onlooker_sees_the_end_and_is_no_member() {
    let world = World::new().await;
    let onlooker = world.builder("cli").onlooker(true).open().await.unwrap();
    let document = onlooker.document("stage").await.unwrap();
    let members = swarm(&world, &["a1", "a2"]).await;
    let barrier = |document: &AgentDocument| document.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]);
    let opened = barrier(&members[0].1).open().await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, document.barrier("flash").open()).await.unwrap().unwrap();
    assert!(seen.arrived().unwrap().is_none() && seen.arrive_now().await.is_err(), "it has no seat");
    let waiting = seen.present().unwrap();
    let passages = pass(&members, barrier).await;
    let passage = tokio::time::timeout(PATIENCE, seen.released(waiting)).await.unwrap().unwrap();
    assert_eq!(passage.outcome(), passages[0].outcome());
    let known = onlooker.swarm().await.unwrap().read(aepoch::document::Document::members).unwrap();
    let known: Vec<&str> = known.iter().map(|(_, member)| member.agent.as_str()).collect();
    assert_eq!((known, opened.id()), (vec!["a1", "a2"], seen.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_dial_each_other_need_no_relay() {
    let first = Agent::builder("a1").swarm("test").trust_inbound(true).open().await.unwrap();
    let address = first.listen("127.0.0.1:0").await.unwrap();
    let second = Agent::builder("a2").swarm("test").connect(&format!("ws://{address}")).backoff(quick_backoff());
    let second = second.open().await.unwrap();
    let mut members = Vec::new();
    for agent in [first, second] {
        let document = agent.document("stage").await.unwrap();
        members.push((agent, document));
    }
    let passages = pass(&members, |document| document.barrier("flash").members(Tier::ALPHA, ["a1", "a2"])).await;
    assert!(passages.iter().all(Passage::is_complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_plans_under_one_name_and_too_many_agents_are_errors_that_say_why() {
    let world = World::new().await;
    let members = swarm(&world, &["a1", "a2"]).await;
    let _ = members[0].1.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]).open().await.unwrap();
    eventually("the definition is there", || members[1].1.explain().unwrap().len() == 1).await;
    let other = members[1].1.barrier("flash").members(Tier::ALPHA, ["a1", "a2"]).timeout(Tier::ALPHA, PATIENCE);
    let error = other.open().await.unwrap_err().to_string();
    assert!(error.contains("timeout: 60s here") || error.contains("tiers: "), "{error}");
    let names: Vec<String> = (0..11).map(|number| format!("a{number}")).collect();
    let many = members[0].1.barrier("many").members(Tier::ALPHA, names.iter().map(String::as_str));
    let error = many.open().await.unwrap_err().to_string();
    assert!(error.contains("11 agents") && error.contains("limit of 10"), "{error}");
}
