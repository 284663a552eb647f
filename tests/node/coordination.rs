//! Barriers and their kin over nodes: what is written becomes durable first, travels ahead, counts once, and goes.

use std::time::Duration;

use aepoch::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose},
        standing::{Ending, Outcome, Standing},
    },
    document::{SlotKey, SlotPart},
    id::{AgentId, ObjectId, ReplicaId},
    node::{Arriving, Event, NodeError},
    sync::ErrorCode,
    time::Dice,
};
use bytes::Bytes;

use crate::world::{World, document, tuning};

fn seat(host: usize, tier: Tier) -> Seat {
    let agent = AgentId::new(&format!("host-{host}")).unwrap();
    Seat { agent, replica: ReplicaId::from_bits(100 + host as u64), tier }
}

/// A plan over these hosts: the first tier's, the second's.
pub(crate) fn plan(
    name: &str,
    tiers: &[&[usize]],
    tolerate: u32,
    purpose: Purpose,
) -> impl Fn(ObjectId) -> Plan + use<> {
    let rank = |at| Tier(u8::try_from(at).unwrap());
    let members: Vec<Seat> =
        tiers.iter().enumerate().flat_map(|(at, hosts)| hosts.iter().map(move |host| seat(*host, rank(at)))).collect();
    let policy = |at| TierPolicy {
        tier: rank(at),
        timeout: Duration::from_secs(15),
        min: 1,
        on_shortfall: OnShortfall::Proceed,
    };
    let tiers: Vec<TierPolicy> = (0..tiers.len()).map(policy).collect();
    let name = name.to_owned();
    move |origin| Plan {
        definition: Definition {
            document: document(),
            name: name.clone(),
            creator: AgentId::new("host-1").unwrap(),
            origin,
            members: members.clone(),
            electors: Vec::new(),
            tolerate,
            tiers: tiers.clone(),
            gate: Gate::Decided,
            fence: true,
        },
        purpose: purpose.clone(),
    }
}

const ONCE: Purpose = Purpose::Barrier { once: true };

impl World {
    pub(crate) fn define(&mut self, host: usize, plan: impl Fn(ObjectId) -> Plan) -> ObjectId {
        let object = self.hosts[host].node.define(&document(), plan, self.now).unwrap();
        self.pass(Duration::from_millis(10));
        object
    }

    pub(crate) fn arrive(&mut self, host: usize, object: ObjectId) -> u64 {
        self.arrive_with(host, object, Arriving::default())
    }

    fn arrive_with(&mut self, host: usize, object: ObjectId, arriving: Arriving) -> u64 {
        let generation = self.hosts[host].node.arrive(&document(), object, arriving, self.now).unwrap();
        self.pass(Duration::from_millis(10));
        generation
    }

    fn standing(&self, host: usize, object: ObjectId, generation: u64) -> Standing {
        self.hosts[host].node.standing(&document(), object, generation, self.now).unwrap()
    }

    pub(crate) fn outcome(&self, host: usize, object: ObjectId, generation: u64) -> Outcome {
        match self.standing(host, object, generation) {
            Standing::Released(outcome) => outcome,
            other => panic!("host {host} is not released: {other:?}"),
        }
    }

    fn slots_held(&self, host: usize) -> usize {
        self.hosts[host].node.read(&document(), |document| document.slots_held().0).unwrap()
    }
}

#[test]
fn everybody_is_released_with_the_same_outcome_when_all_have_arrived_and_nobody_before() {
    for tolerate in [0, 1, 2] {
        let mut world = World::new(5, &tuning());
        let object = world.define(1, plan("flash", &[&[1, 2], &[3, 4, 5]], tolerate, ONCE));
        for host in [5, 3, 1, 2] {
            world.arrive(host, object);
            assert!((1..=5).all(|host| {
                let standing = world.standing(host, object, 0);
                standing == Standing::Waiting || host <= 2 && matches!(standing, Standing::Released(_))
            }));
        }
        assert!(world.outcome(1, object, 0).is_complete(), "alpha does not wait for the tier below");
        world.arrive(4, object);
        world.pass(Duration::from_millis(100));
        let outcomes: Vec<Outcome> = (3..=5).map(|host| world.outcome(host, object, 0)).collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0] && outcome.is_complete()), "{outcomes:?}");
        assert_eq!(outcomes[0].released().count(), 5);
        // What nobody waits for takes its time.
        world.pass(Duration::from_secs(3));
        world.assert_equal();
    }
}

#[test]
fn who_does_not_come_is_left_out_after_the_timeout_and_learns_of_it_when_it_comes() {
    let mut world = World::new(5, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2, 3, 4, 5]], 2, ONCE));
    for host in 1..=4 {
        world.arrive(host, object);
    }
    world.pass(Duration::from_secs(14));
    assert!((1..=5).all(|host| world.standing(host, object, 0) == Standing::Waiting));
    world.pass(Duration::from_secs(4));
    let outcomes: Vec<Outcome> = (1..=4).map(|host| world.outcome(host, object, 0)).collect();
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    assert_eq!(outcomes[0].tiers[0].ending, Ending::Degraded);
    assert_eq!(outcomes[0].missing().map(AgentId::as_str).collect::<Vec<_>>(), ["host-5"]);
    let Standing::Late(outcome) = world.standing(5, object, 0) else { panic!("it was left out") };
    assert_eq!(outcome, outcomes[0]);
}

#[test]
fn a_strict_barrier_only_observes_that_its_time_is_up() {
    let mut world = World::new(3, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2, 3]], 0, ONCE));
    world.arrive(1, object);
    world.arrive(2, object);
    world.pass(Duration::from_secs(60));
    let missing = vec![AgentId::new("host-3").unwrap()];
    assert_eq!(world.standing(1, object, 0), Standing::Overdue { missing: missing.into() });
    world.arrive(3, object);
    assert!(world.outcome(1, object, 0).is_complete());
}

/// An outcome that everybody can tell for himself is not written on the way to a release; see decision 0008.
#[test]
fn a_strict_release_writes_nothing_unless_its_member_stays() {
    let mut world = World::new(3, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2, 3]], 0, Purpose::Barrier { once: false }));
    for generation in 0..5 {
        (1..=3).for_each(|host| assert_eq!(world.arrive(host, object), generation));
        assert!((1..=3).all(|host| world.outcome(host, object, generation).is_complete()));
    }
    let written = |world: &World, host: usize| {
        let replica = seat(host, Tier::ALPHA).replica;
        world.hosts[host].node.read(&document(), |document| document.version().slots.get(replica)).unwrap()
    };
    assert_eq!((written(&world, 2), written(&world, 3)), (5, 5), "an arrival for each generation");
    world.pass(Duration::from_secs(2));
    assert_eq!((written(&world, 2), written(&world, 3)), (6, 6), "the last outcome as well");
    world.pass(Duration::from_secs(60));
    assert_eq!((written(&world, 2), written(&world, 3)), (6, 6), "and nothing more");
}

#[test]
fn nothing_leaves_and_nothing_counts_before_it_is_durable() {
    let mut world = World::new(2, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2]], 0, ONCE));
    world.arrive(1, object);
    world.hosts[2].hold_store = true;
    world.arrive(2, object);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.standing(1, object, 0), Standing::Waiting, "its arrival is on no disk yet");
    assert_eq!(world.standing(2, object, 0), Standing::Waiting);
    world.hosts[2].hold_store = false;
    world.pump();
    assert!(world.outcome(1, object, 0).is_complete() && world.outcome(2, object, 0).is_complete());
}

#[test]
fn echoes_that_nobody_needs_travel_with_the_next_record() {
    let mut world = World::new(6, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2, 3, 4, 5, 6]], 1, ONCE));
    world.arrive(4, object);
    world.pass(Duration::from_millis(20));
    let told = |world: &World, host: usize| {
        let key = SlotKey::Of(object, SlotPart::Slot);
        world.hosts[0].node.read(&document(), |content| content.slot(key, seat(host, Tier::ALPHA).replica).is_some())
    };
    let seen: Vec<bool> = (1..=6).map(|host| told(&world, host).unwrap()).collect();
    assert_eq!(seen, [true, true, true, true, false, false], "three echoes and the arrival");
    for host in [1, 2, 3, 5] {
        world.arrive(host, object);
    }
    world.arrive(6, object);
    assert!((1..=6).all(|host| world.outcome(host, object, 0).is_complete()), "released without the others' echoes");
    world.pass(Duration::from_secs(1));
    world.assert_equal();
}

/// Its part was noted as sent while it still waited for company, so that nobody sent it any more.
#[test]
fn who_drains_slowly_is_given_what_was_in_no_hurry_as_well() {
    let mut world = World::new(2, &tuning());
    let flash = plan("flash", &[&[1, 2]], 0, Purpose::Barrier { once: false });
    let object = world.define(1, |origin| {
        let mut plan = flash(origin);
        plan.definition.electors = vec![seat(0, Tier::ALPHA)];
        plan
    });
    let others: Vec<ObjectId> = (0..5)
        .map(|number| {
            world.define(1, plan(&format!("other-{number}"), &[&[1, 2]], 0, Purpose::Barrier { once: false }))
        })
        .collect();
    world.arrive(1, object);
    world.arrive(2, object);
    world.hold(1, true);
    // What the relay keeps of the outcome is in no hurry; this is much, and host 2 does not drain.
    let mut dice = Dice::new(11);
    for other in others {
        let noise: Vec<u8> = (0..64_000).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        world.arrive_with(1, other, Arriving { payload: Some(noise.into()), ..Arriving::default() });
    }
    world.pass(Duration::from_secs(1));
    world.hold(1, false);
    world.pump();
    world.pass(Duration::from_secs(3));
    world.assert_equal();
}

#[test]
fn what_a_relay_promises_as_an_elector_is_on_its_disk_first() {
    let mut world = World::new(2, &tuning());
    let strict = plan("flash", &[&[1, 2]], 0, ONCE);
    let object = world.define(1, |origin| {
        let mut plan = strict(origin);
        plan.definition.electors = vec![seat(0, Tier::ALPHA)];
        plan
    });
    world.hosts[0].hold_store = true;
    world.arrive(1, object);
    world.arrive(2, object);
    world.pass(Duration::from_secs(5));
    assert!((1..=2).all(|host| world.standing(host, object, 0) == Standing::Waiting), "its echoes are on no disk yet");
    world.hosts[0].hold_store = false;
    world.pump();
    world.pass(Duration::from_millis(100));
    assert!((1..=2).all(|host| world.outcome(host, object, 0).is_complete()));
}

#[test]
fn a_finished_barrier_leaves_nothing_behind_and_is_still_known_to_those_who_ask() {
    let mut world = World::new(3, &tuning());
    let before = world.slots_held(2);
    let mut objects = Vec::new();
    for round in 0..20 {
        let object = world.define(1, plan(&format!("flash-{round}"), &[&[1, 2, 3]], 1, ONCE));
        for host in 1..=3 {
            world.arrive(host, object);
        }
        objects.push(object);
    }
    world.pass(Duration::from_secs(3));
    // One record is left: which numbers are finished.
    assert!((0..=3).all(|host| world.slots_held(host) == before + 1), "{}", world.slots_held(2));
    assert!(objects.iter().all(|object| world.outcome(3, *object, 0).is_complete()));
    let key = SlotKey::Closed;
    let holder = objects[0].holder;
    let bytes = world.hosts[3].node.read(&document(), |content| content.slot(key, holder).map(Bytes::len)).unwrap();
    assert!(bytes.unwrap() < 20, "{bytes:?} bytes for twenty finished barriers");
    world.assert_equal();
}

#[test]
fn a_name_stands_for_one_plan_and_says_how_another_one_differs() {
    let mut world = World::new(2, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2]], 0, ONCE));
    assert_eq!(world.define(2, plan("flash", &[&[1, 2]], 0, ONCE)), object, "the same plan is the same object");
    let other = world.hosts[2].node.define(&document(), plan("flash", &[&[1], &[2]], 0, ONCE), world.now);
    let Err(NodeError::NameTaken { differences, .. }) = other else { panic!("{other:?}") };
    assert!(differences.iter().any(|difference| difference.starts_with("tiers: ")), "{differences:?}");
}

#[test]
fn a_barrier_goes_on_from_generation_to_generation() {
    let mut world = World::new(3, &tuning());
    let object = world.define(1, plan("beat", &[&[1, 2, 3]], 1, Purpose::Barrier { once: false }));
    for generation in 0..10 {
        for host in 1..=3 {
            assert_eq!(world.arrive(host, object), generation);
        }
        assert!((1..=3).all(|host| world.outcome(host, object, generation).is_complete()));
    }
    assert!(matches!(world.standing(1, object, 9), Standing::Released(_)));
    world.hosts[2].node.clean_up(&document(), object, world.now).unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.slots_held(3), 1);
    assert_eq!(world.standing(3, object, 10), Standing::Closed);
}

#[test]
fn what_somebody_else_has_finished_first_keeps_nobody_awake() {
    let mut world = World::new(2, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2]], 0, ONCE));
    world.arrive(1, object);
    world.arrive(2, object);
    // Its holder waits for more to finish; another one does not.
    world.hosts[2].node.clean_up(&document(), object, world.now).unwrap();
    world.pump();
    world.pass(Duration::from_millis(1_500));
    let now = world.now.mono;
    assert!(world.hosts.iter().all(|host| host.node.next_wake().is_none_or(|at| at > now)), "a wake that never ends");
}

#[test]
fn an_onlooker_waits_for_acknowledgements_as_the_lowest_tier_does() {
    let mut world = World::new(3, &tuning());
    let plan = plan("flash", &[&[1], &[2]], 0, ONCE);
    let object = world.define(1, |origin| {
        let mut plan = plan(origin);
        plan.definition.gate = Gate::Acked;
        plan
    });
    world.arrive(1, object);
    world.arrive(2, object);
    assert!((2..=3).all(|host| world.standing(host, object, 0) == Standing::Waiting));
    world.hosts[1].node.acknowledge(&document(), object, world.now).unwrap();
    world.pass(Duration::from_millis(100));
    assert!((1..=3).all(|host| world.outcome(host, object, 0).is_complete()));
}

/// Case 59, the node's part: while its driver cannot record what happens, a relay takes in no coordination.
#[test]
fn a_relay_that_is_closed_to_coordination_takes_in_the_rest_and_catches_up_when_it_is_opened() {
    let mut world = World::new(3, &tuning());
    let object = world.define(1, plan("flash", &[&[1, 2, 3]], 0, ONCE));
    world.arrive(1, object);
    let held = world.slots_held(0);
    let now = world.now;
    world.hosts[0].node.close_coordination(Some("the log is full".to_owned()), now);
    for host in [2, 3] {
        world.arrive(host, object);
        world.set(host, "tempo", host as u64);
    }
    world.put(3, "light", "on");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.slots_held(0), held, "nothing of coordination was taken in");
    assert_eq!(world.standing(1, object, 0), Standing::Overdue { missing: missing(&[2, 3]) });
    let read = |host| (world.get(host, "register/tempo"), world.get(host, "map/m/light"));
    assert_eq!(read(1), (Some(3.into()), Some("on".into())), "content and records go on");
    let told = |host: usize| {
        let refused = |event: &&Event| matches!(event, Event::Refused { code: ErrorCode::Unavailable, reason, .. } if reason == "the log is full");
        world.hosts[host].events.iter().filter(refused).count()
    };
    assert_eq!([told(1), told(2), told(3)], [0, 1, 1]);
    let denied = world.hosts[0].events.iter().filter(|event| matches!(event, Event::Denied { .. })).count();
    assert_eq!(denied, 2);

    let now = world.now;
    world.hosts[0].node.close_coordination(None, now);
    world.pass(Duration::from_secs(3));
    for host in 1..=3 {
        assert!(world.outcome(host, object, 0).is_complete());
    }
    world.assert_equal();
}

fn missing(hosts: &[usize]) -> std::sync::Arc<[AgentId]> {
    hosts.iter().map(|host| seat(*host, Tier::ALPHA).agent).collect()
}
