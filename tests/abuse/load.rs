//! Clients that break no rule and take more than their share. Case numbers are those of the threat model.

use aepoch::{
    coordination::kernel::Tier,
    document::Span,
    engine::{self, EngineKind, Op},
    id::{AgentId, ReplicaId},
    sync::{Lane, Message, PresenceEntry},
    time::Dice,
};
use bytes::Bytes;

use crate::{
    attacker::{Attacker, commit},
    honest::{Honest, eventually},
    relay::{PATIENCE, Relay},
};

/// Letters that no compression makes fewer.
fn noise(dice: &mut Dice, length: usize) -> String {
    (0..length).map(|_| char::from(b'a' + dice.below(26) as u8)).collect()
}

/// Case 47: one writes as fast as it can, 99 write a word each and get everybody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ninety_nine_get_their_data_beside_one_that_floods() {
    let relay = Relay::serve(&[]);
    let mut crowd = Vec::new();
    for n in 0..99 {
        let agent = relay.agent(&format!("agent-{n}")).await;
        let document = agent.document("stage").await.unwrap();
        crowd.push((agent, document));
    }
    let id = crowd[0].1.id().clone();
    let mut hog = Attacker::connect(&relay).await;
    hog.join(&id, EngineKind::Yrs).await;
    let hogging = tokio::spawn(async move {
        let (mut engine, mut dice) = (engine::create(EngineKind::Yrs, hog.me).unwrap(), Dice::new(47));
        for n in 0..3_000 {
            let put = Op::MapPut { map: "hog".into(), key: "k".into(), value: noise(&mut dice, 500).into() };
            let update = engine.transact(&[put], false).unwrap().update;
            let span = Span { writer: hog.me, since: n, upto: n + 1 };
            hog.say(&commit(&id, span, update), Lane::High).await.unwrap();
        }
        hog
    });
    for (n, (_, document)) in crowd.iter().enumerate() {
        document.register(&format!("from/{n}")).set(&n).unwrap();
    }
    for (_, document) in &crowd {
        tokio::time::timeout(PATIENCE, document.flush()).await.expect("kept").unwrap();
    }
    for (_, document) in &crowd {
        eventually("everybody's word", || {
            (0..99).all(|n| document.register::<usize>(&format!("from/{n}")).get().unwrap() == Some(n))
        })
        .await;
    }
    let _hog = hogging.await.unwrap();
    let digest = |at: usize| crowd[at].1.digest().unwrap();
    eventually("equal digests", || (1..crowd.len()).all(|at| digest(at) == digest(0))).await;
}

/// Case 48: one reads nothing while the others send 30 MB and meet at a barrier; then it gets what there is, not what was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_holds_nobody_up_and_is_given_one_delta() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let mut stalled = Attacker::connect(&relay).await;
    stalled.join(honest.id(), EngineKind::Yrs).await;
    let (flat, mut dice) = (relay.flat(), Dice::new(48));
    for n in 0..600_u64 {
        honest.writer.register("wall").set(&format!("{n}: {}", noise(&mut dice, 50_000))).unwrap();
        // One at a time: of what is written together only the last is sent.
        honest.writer.flush().await.unwrap();
        stalled.is_alive(honest.id()).await;
    }
    let arrive = |document: &aepoch::agent::AgentDocument| {
        let barrier = document.barrier("flash").members(Tier::ALPHA, ["reader", "writer"]);
        tokio::spawn(barrier.arrive())
    };
    for arriving in [arrive(&honest.writer), arrive(&honest.reader)] {
        tokio::time::timeout(PATIENCE, arriving).await.expect("released").unwrap().unwrap();
    }
    assert!(relay.metric("aepoch_conflations_total") > 0, "it was never behind");
    flat.check("30 MB that one does not read");
    let (mut deltas, mut last) = (0, false);
    while !last {
        if let Message::Delta { delta, .. } = stalled.hear().await.expect("it is still connected") {
            deltas += 1;
            last = delta.windows(5).any(|window| window == b"599: ");
        }
    }
    assert!(deltas < 500, "{deltas} deltas: nothing was left out");
    honest.go_on().await;
}

/// Case 49: a thousand come, take the whole document, and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_share_one_snapshot() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    for n in 0..50 {
        honest.writer.map("m").put(&n.to_string(), &"x".repeat(1_000)).unwrap();
    }
    honest.go_on().await;
    let served = || (relay.metric("aepoch_snapshots_total"), relay.metric("aepoch_snapshots_shared_total"));
    let (before, flat) = (served(), relay.flat());
    for n in 0..1_000 {
        let mut visitor = Attacker::connect_as(&relay, ReplicaId::from_bits(1_000_000 + n)).await;
        visitor.join(honest.id(), EngineKind::Yrs).await;
        while !matches!(visitor.hear().await, Some(Message::Delta { .. })) {}
    }
    let (built, shared) = (served().0 - before.0, served().1 - before.1);
    assert!(built <= 1, "{built} built");
    assert_eq!(built + shared, 1_000);
    eventually("they are gone", || relay.metric("aepoch_connections") == 2).await;
    honest.go_on().await;
    flat.check("1,000 reconnects");
}

/// Case 51: what is shown faster than anybody can look is told now and then, and not at all to who does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_presence_is_told_now_and_then() {
    const SHOWN: u64 = 20_000;
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let mut blind = Attacker::connect_as(&relay, ReplicaId::from_bits(1)).await;
    let mut looking = Attacker::connect_as(&relay, ReplicaId::from_bits(2)).await;
    let mut attacker = Attacker::connect(&relay).await;
    for one in [&mut blind, &mut looking, &mut attacker] {
        one.join(honest.id(), EngineKind::Yrs).await;
    }
    let flat = relay.flat();
    let (replica, id) = (attacker.me, honest.id().clone());
    let flooding = tokio::spawn(async move {
        let state = Bytes::from(format!("\"{}\"", noise(&mut Dice::new(51), 4_000)));
        for clock in 1..=SHOWN {
            let agent = AgentId::new("mallory").unwrap();
            let entry = PresenceEntry { replica, agent, clock, state: Some(state.clone()), ttl_ms: 60_000 };
            let presence = Message::Presence { document: id.clone(), entries: vec![entry] };
            attacker.say(&presence, Lane::Normal).await.unwrap();
        }
        attacker
    });
    let (mut told, mut seen) = (0, 0);
    while seen < SHOWN {
        if let Message::Presence { entries, .. } = looking.hear().await.expect("it is still connected") {
            let shown = entries.iter().filter(|entry| entry.replica == replica).map(|entry| entry.clock);
            told += 1;
            seen = shown.max().unwrap_or(seen);
        }
    }
    let _attacker = flooding.await.unwrap();
    assert!(told < SHOWN / 10, "told {told} times of {SHOWN}");
    honest.go_on().await;
    flat.check("20,000 states shown, which one does not read");
    drop(blind);
}

/// Answers are larger than questions: who asks and does not read is not answered without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_somebody_who_does_not_read_are_not_answered_without_end() {
    let relay = Relay::serve(&[]);
    let mut honest = Honest::new(&relay).await;
    let mut dice = Dice::new(1);
    for n in 0..1_000 {
        honest.writer.register(&format!("{n}-{}", noise(&mut dice, 100))).set(&n).unwrap();
    }
    honest.go_on().await;
    let mut attacker = Attacker::connect(&relay).await;
    attacker.join(honest.id(), EngineKind::Yrs).await;
    let flat = relay.flat();
    // Each would be answered with 150 kB.
    for _ in 0..3_000 {
        let question =
            Message::DigestRequest { document: honest.id().clone(), question: 1, path: "register/".to_owned() };
        attacker.say(&question, Lane::Critical).await.unwrap();
    }
    let (before, id) = (relay.metric("aepoch_deltas_received_total"), honest.id().clone());
    // What comes after the questions has been reached when this is counted.
    attacker
        .say(&commit(&id, Span { writer: attacker.me, since: 9, upto: 10 }, vec![0, 0]), Lane::Critical)
        .await
        .unwrap();
    eventually("all questions heard", || relay.metric("aepoch_deltas_received_total") > before).await;
    honest.go_on().await;
    flat.check("3,000 answers nobody reads");
}
