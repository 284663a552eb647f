//! Queues over nodes: one order, one holder per token, leases, dead letters, and nothing left behind.

use std::time::Duration;

use aepoch::{
    coordination::{
        claim::ClaimRefusal,
        kernel::{Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose, QueueRules},
        participant::{Happening, ParticipantError},
        queue::{ClaimRecord, Claimed, Claiming, Hold, ItemEvent, ItemView, Occupation, Peeked, QueueError},
    },
    document::{Document, SlotKey, SlotPart, Subscription},
    engine::EngineKind,
    id::{AgentId, ObjectId, ReplicaId},
    node::{Event, NodeError, Pushing},
};
use bytes::Bytes;

use crate::world::{World, document, tuning};

const LEASE: Duration = Duration::from_secs(30);

fn plan(hosts: &[usize], electors: &[usize], tolerate: u32, attempts: u32) -> impl Fn(ObjectId) -> Plan {
    let seat = |host: &usize| Seat {
        agent: AgentId::new(&format!("host-{host}")).unwrap(),
        replica: ReplicaId::from_bits(100 + *host as u64),
        tier: Tier::ALPHA,
    };
    let (members, electors): (Vec<Seat>, Vec<Seat>) =
        (hosts.iter().map(seat).collect(), electors.iter().map(seat).collect());
    move |origin| Plan {
        definition: Definition {
            document: document(),
            name: "jobs".to_owned(),
            creator: AgentId::new("host-1").unwrap(),
            origin,
            members: members.clone(),
            electors: electors.clone(),
            tolerate,
            tiers: vec![TierPolicy {
                tier: Tier::ALPHA,
                timeout: Duration::from_secs(15),
                min: 0,
                on_shortfall: OnShortfall::Wait,
            }],
            gate: Gate::Decided,
            fence: false,
        },
        purpose: Purpose::Queue(QueueRules { span_ms: 1_000, lease: LEASE, attempts }),
    }
}

/// A relay, three agents and a queue of theirs.
fn three(tolerate: u32, attempts: u32) -> (World, ObjectId) {
    let mut world = World::new(3, &tuning());
    let now = world.now;
    let queue = world.hosts[1].node.define(&document(), plan(&[1, 2, 3], &[], tolerate, attempts), now).unwrap();
    world.pass(Duration::from_millis(10));
    (world, queue)
}

impl World {
    fn push(&mut self, host: usize, queue: ObjectId, tier: u8, payload: &'static str) -> ObjectId {
        let pushing =
            Pushing { tier: Tier(tier), payload: Bytes::from_static(payload.as_bytes()), ..Pushing::default() };
        let item = self.hosts[host].node.push(&document(), queue, pushing, self.now).unwrap();
        self.pass(Duration::from_millis(10));
        item
    }

    fn seek(&mut self, host: usize, queue: ObjectId, claiming: Claiming) -> u64 {
        let ticket = self.hosts[host].node.claim(&document(), queue, claiming, self.now).unwrap();
        self.pump();
        ticket
    }

    fn claimed(&mut self, host: usize, queue: ObjectId, ticket: u64) -> Option<Claimed> {
        let claimed = self.hosts[host].node.claimed(&document(), queue, ticket, self.now).unwrap();
        claimed.map(|(claimed, _)| claimed)
    }

    /// Claims an item, giving it up to three seconds.
    fn take(&mut self, host: usize, queue: ObjectId) -> Claimed {
        let ticket = self.seek(host, queue, Claiming::Exclusive);
        for _ in 0..30 {
            if let Some(claimed) = self.claimed(host, queue, ticket) {
                return claimed;
            }
            self.pass(Duration::from_millis(100));
        }
        panic!("host {host} gets nothing of {:?}", self.views(host, queue));
    }

    fn complete(&mut self, host: usize, queue: ObjectId, claimed: Claimed) {
        let of = (claimed.item, claimed.token);
        self.hosts[host].node.complete(&document(), queue, of, self.now).unwrap();
        self.pass(Duration::from_millis(100));
        assert_eq!(self.held(host, queue, claimed), Hold::Done);
    }

    fn fail(&mut self, host: usize, queue: ObjectId, claimed: Claimed, reason: &str) {
        let of = (claimed.item, claimed.token);
        self.hosts[host].node.fail(&document(), queue, of, reason, self.now).unwrap();
        self.pass(Duration::from_millis(100));
    }

    fn held(&self, host: usize, queue: ObjectId, claimed: Claimed) -> Hold {
        self.hosts[host].node.hold(&document(), queue, (claimed.item, claimed.token)).unwrap()
    }

    fn views(&self, host: usize, queue: ObjectId) -> Vec<ItemView> {
        self.hosts[host].node.items(&document(), queue, self.now).unwrap()
    }

    fn occupation(&self, host: usize, queue: ObjectId, item: ObjectId) -> Option<Occupation> {
        self.views(host, queue).into_iter().find(|view| view.item == item).map(|view| view.occupation)
    }

    /// Lets both clocks go on.
    fn age(&mut self, span: Duration) {
        self.now.wall_ms += u64::try_from(span.as_millis()).unwrap();
        self.pass(span);
    }

    fn item_events(&self, host: usize) -> Vec<ItemEvent> {
        let events = self.hosts[host].events.iter();
        let items = events.filter_map(|event| match event {
            Event::Coordination { happening: Happening::Item { event, .. }, .. } => Some(event.clone()),
            _ => None,
        });
        items.collect()
    }

    fn owner_and_others(&mut self, queue: ObjectId) -> (usize, Vec<usize>, Claimed) {
        // Whoever gets the item at once is its owner.
        let tickets: Vec<u64> = (1..=3).map(|host| self.seek(host, queue, Claiming::Exclusive)).collect();
        self.pass(Duration::from_millis(20));
        let taken: Vec<Option<Claimed>> = (1..=3).map(|host| self.claimed(host, queue, tickets[host - 1])).collect();
        let owner = taken.iter().position(Option::is_some).unwrap() + 1;
        assert_eq!(taken.iter().flatten().count(), 1, "one item, one holder: {taken:?}");
        for host in (1..=3).filter(|host| *host != owner) {
            self.hosts[host].node.unclaim(&document(), queue, tickets[host - 1], self.now).unwrap();
        }
        (owner, (1..=3).filter(|host| *host != owner).collect(), taken[owner - 1].unwrap())
    }
}

fn stale(result: Result<(), NodeError>) -> Option<(u64, u64)> {
    match result {
        Err(NodeError::Participant(ParticipantError::Queue(QueueError::Claim(ClaimRefusal::Stale {
            token,
            current,
        })))) => Some((token, current)),
        _ => None,
    }
}

#[test]
fn an_item_is_pushed_claimed_completed_and_dropped_everywhere() {
    for tolerate in [0, 1] {
        let (mut world, queue) = three(tolerate, 5);
        let held = world.hosts[0].node.read(&document(), |document| document.slots_held().0).unwrap();
        let items: Vec<ObjectId> = (0..6).map(|_| world.push(1, queue, 0, "work")).collect();
        for round in 0..6 {
            let claimed = world.take(1 + round % 3, queue);
            assert_eq!(claimed.token, 1);
            assert!((1..=3).all(|host| matches!(
                world.occupation(host, queue, claimed.item),
                Some(Occupation::Held { token: 1, .. })
            )));
            world.complete(1 + round % 3, queue, claimed);
        }
        world.pass(Duration::from_secs(2));
        for host in 0..=3 {
            let (left, closed) = world.hosts[host]
                .node
                .read(&document(), |document| (document.slots_held().0, document.closed().clone()))
                .unwrap();
            // What is left is the list of finished numbers.
            assert_eq!(left, held + 1, "host {host}, tolerate {tolerate}");
            assert!(items.iter().all(|item| closed.contains(*item)));
        }
        let events = world.item_events(2);
        assert_eq!(events.iter().filter(|event| matches!(event, ItemEvent::Claimed { .. })).count(), 6);
        assert_eq!(events.iter().filter(|event| matches!(event, ItemEvent::Completed { token: 1 })).count(), 6);
        world.assert_equal();
    }
}

#[test]
fn three_claims_at_once_take_three_items_and_nobody_waits_for_a_ballot() {
    let (mut world, queue) = three(1, 5);
    for _ in 0..30 {
        world.push(1, queue, 0, "work");
    }
    let mut taken = Vec::new();
    for _ in 0..5 {
        let tickets: Vec<u64> = (1..=3).map(|host| world.seek(host, queue, Claiming::Exclusive)).collect();
        world.pass(Duration::from_millis(20));
        for host in 1..=3 {
            taken.push(world.claimed(host, queue, tickets[host - 1]).expect("its own items are left").item);
        }
    }
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 15);
    let rounds = |content: &Document| -> Vec<u32> {
        let claims = content.slots().filter(|(key, ..)| matches!(key, SlotKey::Of(_, SlotPart::Claim)));
        let slots = claims.map(|(_, _, body)| ClaimRecord::decode(body).unwrap().slot);
        slots.filter_map(|slot| slot.promised).map(|ballot| ballot.round).collect()
    };
    let rounds = world.hosts[0].node.read(&document(), rounds).unwrap();
    assert!(rounds.len() >= 15 && rounds.iter().all(|round| *round == 0), "{rounds:?}");
}

#[test]
fn everybody_sees_one_order_and_a_head_is_sealed_once_all_have_promised() {
    let (mut world, queue) = three(0, 5);
    let late = world.push(1, queue, 2, "gamma");
    let first = world.push(2, queue, 0, "alpha");
    let second = world.push(3, queue, 1, "beta");
    for host in 0..=3 {
        let order: Vec<ObjectId> = world.views(host, queue).iter().map(|view| view.item).collect();
        assert_eq!(order, [first, second, late], "host {host}");
    }
    let peek = |world: &World| world.hosts[3].node.peek(&document(), queue, world.now).unwrap().unwrap();
    let (head, payload) = peek(&world);
    assert!(matches!(&head, Peeked::Tentative(view) if view.item == first), "{head:?}");
    assert_eq!(&payload[..], b"alpha");
    let status = world.hosts[1].node.queue_status(&document(), queue).unwrap();
    assert_eq!((status.open, status.unsealed_by.len()), (3, 3));
    world.cut_off(2);
    world.age(Duration::from_secs(2));
    assert!(matches!(peek(&world).0, Peeked::Tentative(_)), "host 2 may have pushed another");
    let status = world.hosts[1].node.queue_status(&document(), queue).unwrap();
    assert_eq!(status.unsealed_by.iter().map(AgentId::as_str).collect::<Vec<_>>(), ["host-2"]);
    world.cut_off_no_more(2);
    world.pass(Duration::from_secs(1));
    assert!(matches!(peek(&world).0, Peeked::Sealed(view) if view.item == first));
    // Its pusher has promised: what it pushes now comes after, whatever its clock says.
    world.now.wall_ms = 10;
    let after = world.push(1, queue, 0, "late alpha");
    let order: Vec<ObjectId> = world.views(2, queue).iter().map(|view| view.item).collect();
    assert_eq!(order, [first, second, late, after]);
}

#[test]
fn an_idle_queue_is_silent() {
    let (mut world, _) = three(1, 5);
    world.age(Duration::from_secs(5));
    let appends = |world: &World| -> u64 { world.hosts.iter().map(|host| host.node.counters().appends).sum() };
    let before = appends(&world);
    for _ in 0..20 {
        world.age(Duration::from_secs(1));
    }
    assert_eq!(appends(&world), before);
}

#[test]
fn a_holder_that_crashes_is_replaced_after_its_lease_and_its_token_is_stale() {
    let (mut world, queue) = three(1, 5);
    world.push(1, queue, 0, "work");
    let (owner, others, claimed) = world.owner_and_others(queue);
    world.cut_off(owner);
    let ticket = world.seek(others[0], queue, Claiming::Exclusive);
    world.pass(LEASE - Duration::from_secs(1));
    assert_eq!(world.claimed(others[0], queue, ticket), None, "the lease runs");
    world.pass(Duration::from_secs(5));
    let taken = world.claimed(others[0], queue, ticket).expect("the lease is over");
    assert_eq!((taken.item, taken.token), (claimed.item, 2));
    // The old holder has not heard of it, and cannot complete.
    world.hosts[owner].node.complete(&document(), queue, (claimed.item, 1), world.now).unwrap();
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.held(owner, queue, claimed), Hold::Held { .. }), "nobody has agreed");
    world.cut_off_no_more(owner);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.held(owner, queue, claimed), Hold::Lost { current: 2 });
    let renewed = world.hosts[owner].node.renew(&document(), queue, (claimed.item, 1), world.now);
    assert_eq!(stale(renewed), Some((1, 2)));
    world.complete(others[0], queue, taken);
}

#[test]
fn a_lease_that_is_renewed_keeps_everybody_else_out() {
    let (mut world, queue) = three(1, 5);
    world.push(1, queue, 0, "work");
    let (owner, others, claimed) = world.owner_and_others(queue);
    let ticket = world.seek(others[1], queue, Claiming::Exclusive);
    let mut until = claimed.until;
    for _ in 0..10 {
        world.pass(Duration::from_secs(10));
        world.hosts[owner].node.renew(&document(), queue, (claimed.item, claimed.token), world.now).unwrap();
        let asked = world.now.mono;
        world.pass(Duration::from_millis(200));
        let Hold::Held { until: now } = world.held(owner, queue, claimed) else { panic!("it renews in time") };
        assert!(now > until && now <= asked + LEASE, "it counts from before it asked");
        until = now;
        assert_eq!(world.claimed(others[1], queue, ticket), None);
    }
    world.complete(owner, queue, claimed);
}

#[test]
fn an_item_that_fails_too_often_is_dead_until_it_is_requeued_and_can_be_discarded() {
    let (mut world, queue) = three(1, 3);
    let item = world.push(1, queue, 0, "poison");
    for attempt in 1..=3 {
        let claimed = world.take(2, queue);
        assert_eq!(claimed.token, attempt);
        world.fail(2, queue, claimed, "it does not work");
    }
    for host in 1..=3 {
        assert_eq!(world.occupation(host, queue, item), Some(Occupation::Dead { token: 3 }), "host {host}");
        assert_eq!(world.hosts[host].node.peek(&document(), queue, world.now).unwrap(), None);
        assert_eq!(world.views(host, queue)[0].failure.as_deref(), Some("it does not work"));
    }
    assert!(world.item_events(3).contains(&ItemEvent::Dead { token: 3 }));
    world.hosts[3].node.requeue(&document(), queue, item, world.now).unwrap();
    world.pass(Duration::from_secs(1));
    let claimed = world.take(1, queue);
    assert!(claimed.item == item && claimed.token > 3, "{claimed:?}");
    let discarded = world.hosts[1].node.discard(&document(), queue, item, world.now);
    assert!(discarded.unwrap_err().to_string().contains("held by"));
    world.fail(1, queue, claimed, "again");
    world.hosts[3].node.discard(&document(), queue, item, world.now).unwrap();
    world.pass(Duration::from_secs(3));
    assert!((1..=3).all(|host| world.views(host, queue).is_empty()));
    let closed = world.hosts[2].node.read(&document(), |document| document.closed().contains(item)).unwrap();
    assert!(closed);
}

#[test]
fn an_item_that_kills_its_holders_is_dead_too() {
    let (mut world, queue) = three(1, 1);
    let item = world.push(1, queue, 0, "poison");
    let (owner, others, _) = world.owner_and_others(queue);
    world.cut_off(owner);
    let ticket = world.seek(others[0], queue, Claiming::Exclusive);
    world.pass(LEASE + Duration::from_secs(10));
    assert_eq!(world.claimed(others[0], queue, ticket), None);
    assert_eq!(world.occupation(others[0], queue, item), Some(Occupation::Dead { token: 1 }));
    assert_eq!(world.occupation(others[1], queue, item), Some(Occupation::Dead { token: 1 }));
}

#[test]
fn a_claim_counts_once_it_is_durable() {
    for tolerate in [0, 1] {
        let (mut world, queue) = three(tolerate, 5);
        world.push(1, queue, 0, "work");
        let (owner, _, claimed) = world.owner_and_others(queue);
        world.fail(owner, queue, claimed, "once more");
        world.hosts[owner].hold_store = true;
        let ticket = world.seek(owner, queue, Claiming::Exclusive);
        world.pass(Duration::from_millis(50));
        assert_eq!(world.claimed(owner, queue, ticket), None, "it is on no disk yet");
        assert!(world.hosts.iter().all(|host| {
            let views = host.node.items(&document(), queue, world.now).unwrap();
            views[0].occupation == Occupation::Open
        }));
        world.hosts[owner].hold_store = false;
        world.pass(Duration::from_millis(50));
        assert_eq!(world.claimed(owner, queue, ticket).unwrap().token, 2);
    }
}

#[test]
fn a_holder_that_restarts_gives_back_what_it_held_for_an_application_that_is_gone() {
    for tolerate in [0, 1] {
        let (mut world, queue) = three(tolerate, 5);
        world.push(1, queue, 0, "work");
        let (owner, _, claimed) = world.owner_and_others(queue);
        world.restart(owner);
        world.pass(Duration::from_secs(1));
        let again = world.take(owner, queue);
        assert_eq!((again.item, again.token), (claimed.item, 2));
        world.complete(owner, queue, again);
    }
}

#[test]
fn an_acceptor_that_restarts_begins_the_lease_anew() {
    let (mut world, queue) = three(1, 5);
    world.push(1, queue, 0, "work");
    let (owner, others, _) = world.owner_and_others(queue);
    world.cut_off(owner);
    world.pass(LEASE / 2);
    world.restart(others[0]);
    world.restart(others[1]);
    let ticket = world.seek(others[0], queue, Claiming::Exclusive);
    world.pass(LEASE - Duration::from_secs(1));
    assert_eq!(world.claimed(others[0], queue, ticket), None);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.claimed(others[0], queue, ticket).unwrap().token, 2);
}

#[test]
fn a_claim_that_is_given_up_lets_the_next_one_have_the_item() {
    let (mut world, queue) = three(1, 5);
    world.push(1, queue, 0, "work");
    let (owner, others, claimed) = world.owner_and_others(queue);
    world.fail(owner, queue, claimed, "changed its mind");
    let ticket = world.seek(owner, queue, Claiming::Exclusive);
    world.pass(Duration::from_millis(50));
    // The item is taken, but nobody was told: it goes back at once.
    world.hosts[owner].node.unclaim(&document(), queue, ticket, world.now).unwrap();
    world.pass(Duration::from_millis(50));
    let taken = world.take(others[0], queue);
    assert_eq!(taken.token, 3);
}

#[test]
fn advisory_claims_wait_for_nobody_and_the_lowest_wins_once_seen() {
    let (mut world, queue) = three(1, 5);
    let item = world.push(1, queue, 0, "work");
    world.cut_off(2);
    let first = world.seek(1, queue, Claiming::Advisory);
    let first = world.claimed(1, queue, first).expect("it waits for nobody");
    world.now.wall_ms += 1;
    let second = world.seek(2, queue, Claiming::Advisory);
    let second = world.claimed(2, queue, second).expect("nor does this one");
    assert_eq!((first.item, second.item, first.token), (item, item, 0));
    world.cut_off_no_more(2);
    world.pass(Duration::from_millis(500));
    assert!(matches!(world.held(1, queue, first), Hold::Held { .. }));
    assert_eq!(world.held(2, queue, second), Hold::Lost { current: 0 });
    world.hosts[1].node.complete(&document(), queue, (item, 0), world.now).unwrap();
    world.pass(Duration::from_secs(2));
    let closed = world.hosts[3].node.read(&document(), |document| document.closed().contains(item)).unwrap();
    assert!(closed && world.views(3, queue).is_empty());
}

#[test]
fn electors_decide_for_members_that_come_and_go() {
    let mut world = World::new(5, &tuning());
    let plan = plan(&[1, 2], &[3, 4, 5], 1, 5);
    let queue = world.hosts[1].node.define(&document(), plan, world.now).unwrap();
    world.pass(Duration::from_millis(10));
    world.push(1, queue, 0, "work");
    // One of the two owns it, and has it without waiting for anybody to leave it lying.
    let tickets = [1, 2].map(|host| world.seek(host, queue, Claiming::Exclusive));
    world.pass(Duration::from_millis(50));
    let owner = (1..=2).find(|host| world.claimed(*host, queue, tickets[host - 1]).is_some()).unwrap();
    let other = 3 - owner;
    world.hosts[other].node.unclaim(&document(), queue, tickets[other - 1], world.now).unwrap();
    let item = world.views(0, queue)[0].item;
    let refused = world.hosts[3].node.claim(&document(), queue, Claiming::Exclusive, world.now);
    assert!(refused.unwrap_err().to_string().contains("none of the 2 members"));
    world.cut_off(owner);
    world.cut_off(5);
    let ticket = world.seek(other, queue, Claiming::Exclusive);
    world.pass(LEASE + Duration::from_secs(5));
    let taken = world.claimed(other, queue, ticket).unwrap();
    assert_eq!((taken.item, taken.token), (item, 2));
}

#[test]
fn what_is_over_a_limit_or_not_a_queue_is_refused_with_both_named() {
    let (mut world, queue) = three(0, 5);
    let pushing = Pushing { payload: vec![0; 65 * 1024].into(), ..Pushing::default() };
    let error = world.hosts[1].node.push(&document(), queue, pushing, world.now).unwrap_err();
    assert_eq!(error.to_string(), "payload of an item of 66560 bytes is over the limit of 65536");
    let unknown = ObjectId { number: 77, ..queue };
    let error = world.hosts[1].node.push(&document(), unknown, Pushing::default(), world.now).unwrap_err();
    assert!(error.to_string().contains("not known here"), "{error}");
    let error = world.hosts[1].node.decline(&document(), queue, world.now).unwrap_err();
    assert!(error.to_string().contains("is a queue"), "{error}");
    let item = world.push(1, queue, 0, "work");
    let stale_token = world.hosts[1].node.complete(&document(), queue, (item, 4), world.now);
    assert_eq!(stale(stale_token), Some((4, 0)));
}

#[test]
fn a_queue_that_is_cleaned_up_takes_its_items_along() {
    let (mut world, queue) = three(0, 5);
    world.push(1, queue, 0, "work");
    world.push(2, queue, 0, "work");
    world.hosts[3].node.clean_up(&document(), queue, world.now).unwrap();
    world.pass(Duration::from_secs(4));
    for host in 0..=3 {
        let slots = world.hosts[host]
            .node
            .read(&document(), |document| document.slots().filter(|(key, ..)| *key != SlotKey::Closed).count())
            .unwrap();
        assert_eq!(slots, 0, "host {host}");
    }
}

#[test]
fn a_joiner_sees_the_queue_as_it_stands() {
    let (mut world, queue) = three(1, 5);
    for _ in 0..5 {
        world.push(2, queue, 0, "work");
    }
    world.take(1, queue);
    let joiner = world.join(&tuning());
    world.pass(Duration::from_millis(100));
    let (here, there) = (world.views(1, queue), world.views(joiner, queue));
    assert_eq!(here, there);
    // A second opening changes nothing.
    assert!(world.hosts[joiner].node.open(&document(), EngineKind::Yrs, Subscription::default(), world.now).unwrap());
}
