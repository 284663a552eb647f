//! Tiered barriers: order of tiers, timeouts and who leads, generations, and the answers to "why".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aepoch::{
    coordination::{
        barrier::{BarrierError, Progress, TieredBarrier},
        explain::Blocker,
        kernel::{Arrival, Ballot, Definition, Gate, OnShortfall, Refusal, Slot, Tier, TierOutcome},
    },
    id::ReplicaId,
    time::{Dice, Monotonic},
};
use proptest::prelude::*;

use crate::swarm::{definition, seat};

struct World {
    barriers: Vec<TieredBarrier>,
    /// Receiver, sender, slot.
    network: Vec<(usize, usize, Slot)>,
    up: Vec<bool>,
    /// Whether those who are down are suspected.
    suspicion: bool,
    now: Monotonic,
    dice: Dice,
}

fn replica(number: usize) -> ReplicaId {
    ReplicaId::from_bits(number as u64 + 1)
}

impl World {
    fn new(definition: Definition) -> Self {
        let count = definition.members.len();
        let definition = Arc::new(definition);
        let part = |number| TieredBarrier::new(Arc::clone(&definition), replica(number), None).unwrap();
        Self {
            barriers: (0..count).map(part).collect(),
            network: Vec::new(),
            up: vec![true; count],
            suspicion: true,
            now: Monotonic(1_000_000),
            dice: Dice::new(7),
        }
    }

    fn publish(&mut self, from: usize, slot: &Slot) {
        self.barriers[from].persisted();
        let others = (0..self.barriers.len()).filter(|to| *to != from);
        self.network.extend(others.map(|to| (to, from, slot.clone())));
    }

    fn arrive_with(&mut self, me: usize, arrival: Arrival) -> Result<(), BarrierError> {
        let slot = self.barriers[me].arrive(arrival, self.now)?;
        self.publish(me, &slot);
        Ok(())
    }

    fn arrive(&mut self, me: usize) {
        self.arrive_with(me, Arrival::default()).unwrap();
    }

    fn poll(&mut self, me: usize) -> bool {
        let up = self.up.clone();
        // Suspicion is right here, late or wrong in the random runs.
        let suspicion = self.suspicion;
        let suspected = |other: ReplicaId| suspicion && up.get(other.get() as usize - 1) == Some(&false);
        let slot = self.barriers[me].poll(self.now, &mut self.dice, suspected);
        slot.map(|slot| self.publish(me, &slot)).is_some()
    }

    fn deliver(&mut self, at: usize) {
        let (to, from, slot) = self.network.swap_remove(at);
        if self.up[to] && self.up[from] {
            self.barriers[to].hear(replica(from), slot, self.now).unwrap();
        }
    }

    /// Delivers and polls until nothing happens any more; no time passes.
    fn settle(&mut self) {
        loop {
            while !self.network.is_empty() {
                self.deliver(0);
            }
            let up = (0..self.barriers.len()).filter(|me| self.up[*me]).collect::<Vec<_>>();
            if !up.into_iter().fold(false, |any, me| self.poll(me) | any) {
                return;
            }
        }
    }

    /// Lets time pass, waking at every moment a barrier asks for.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        for _ in 0..10_000 {
            let wakes = self.barriers.iter().zip(&self.up).filter(|(_, up)| **up);
            let next = wakes.filter_map(|(barrier, _)| barrier.next_wake(self.now)).min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.settle();
        }
        self.now = end;
    }

    fn progress(&self, me: usize) -> Progress {
        self.barriers[me].progress(self.barriers[me].generation(), self.now)
    }

    fn blockers(&self, me: usize, tier: usize) -> Vec<Blocker> {
        self.barriers[me].status(self.now).tiers.swap_remove(tier).blockers
    }
}

fn released(outcomes: &[(Tier, TierOutcome)]) -> Progress {
    Progress::Released { outcomes: outcomes.to_vec() }
}

fn degraded(seat: usize) -> TierOutcome {
    TierOutcome::Degraded { missing: [seat].into_iter().collect() }
}

#[test]
fn gammas_wait_for_the_alphas_decision_and_alphas_for_nobody_below() {
    let mut world = World::new(definition(&[2, 2], 1));
    [2, 3, 0].iter().for_each(|me| world.arrive(*me));
    world.settle();
    assert_eq!(world.progress(2), Progress::Waiting);
    world.arrive(1);
    world.settle();
    let complete = (Tier::ALPHA, TierOutcome::Complete);
    assert_eq!(world.progress(0), released(std::slice::from_ref(&complete)));
    assert_eq!(world.progress(2), released(&[complete, (Tier::BETA, TierOutcome::Complete)]));
    let mut alone = World::new(definition(&[2, 2], 1));
    [0, 1].iter().for_each(|me| alone.arrive(*me));
    alone.settle();
    assert_eq!(alone.progress(1), released(&[(Tier::ALPHA, TierOutcome::Complete)]));
}

#[test]
fn a_dead_alpha_is_left_out_after_its_timeout_and_hears_that_it_is_late() {
    let mut world = World::new(definition(&[2, 2], 1));
    world.up[1] = false;
    [0, 2, 3].iter().for_each(|me| world.arrive(*me));
    world.pass(Duration::from_secs(14));
    assert_eq!(world.progress(2), Progress::Waiting);
    // The first in rank leads the moment its timer runs out.
    world.pass(Duration::from_secs(1));
    let outcomes = [(Tier::ALPHA, degraded(1)), (Tier::BETA, TierOutcome::Complete)];
    assert_eq!(world.progress(2), released(&outcomes));
    assert_eq!(world.progress(0), released(&outcomes[..1]));
    world.up[1] = true;
    let told = (*world.barriers[0].durable()).clone();
    world.barriers[1].hear(replica(0), told, world.now).unwrap();
    world.settle();
    assert_eq!(world.progress(1), Progress::Late { tier: Tier::ALPHA, outcome: degraded(1) });
}

#[test]
fn the_next_in_rank_leads_when_the_first_is_dead() {
    for suspicion in [true, false] {
        let mut world = World { suspicion, ..World::new(definition(&[3], 1)) };
        world.up[0] = false;
        [1, 2].iter().for_each(|me| world.arrive(*me));
        // Without suspicion it gives the first in rank a little longer, and no more than that.
        world.pass(Duration::from_secs(15));
        let at_once = matches!(world.progress(1), Progress::Released { .. });
        assert_eq!(at_once, suspicion);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.progress(1), released(&[(Tier::ALPHA, degraded(0))]), "{suspicion}");
        assert_eq!(world.progress(2), world.progress(1));
    }
}

#[test]
fn strict_never_leaves_anybody_out_and_says_who_is_overdue() {
    let mut world = World::new(definition(&[3], 0));
    [0, 1].iter().for_each(|me| world.arrive(*me));
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.progress(0), Progress::Overdue { missing: [2].into_iter().collect() });
    assert!(world.blockers(0, 0).contains(&Blocker::Strict));
    world.arrive(2);
    world.settle();
    assert_eq!(world.progress(0), released(&[(Tier::ALPHA, TierOutcome::Complete)]));
}

#[test]
fn below_the_minimum_a_tier_waits_is_skipped_or_breaks_as_defined() {
    let shortfall = |on_shortfall| {
        let mut definition = definition(&[2, 3], 2);
        definition.tiers[0].min = 2;
        definition.tiers[0].on_shortfall = on_shortfall;
        let mut world = World::new(definition);
        world.up[1] = false;
        [0, 2, 3, 4].iter().for_each(|me| world.arrive(*me));
        world.pass(Duration::from_secs(60));
        world
    };
    let missing = || [1].into_iter().collect();
    let waits = shortfall(OnShortfall::Wait);
    assert_eq!(waits.progress(2), Progress::Overdue { missing: missing() });
    assert!(waits.blockers(0, 0).contains(&Blocker::BelowMinimum { have: 1, min: 2 }));
    assert_eq!(waits.barriers[0].view().asked(0), Ballot::ZERO);
    let skips = shortfall(OnShortfall::Proceed);
    let skipped = (Tier::ALPHA, TierOutcome::Shortfall { missing: missing() });
    assert_eq!(skips.progress(2), released(&[skipped, (Tier::BETA, TierOutcome::Complete)]));
    let breaks = shortfall(OnShortfall::Break);
    assert_eq!(breaks.progress(2), Progress::Broken { tier: Tier::ALPHA, missing: missing() });
    assert_eq!(breaks.blockers(2, 1), [Blocker::Broken { tier: Tier::ALPHA }]);
}

#[test]
fn with_the_acked_gate_gammas_wait_until_every_released_alpha_has_acted() {
    let mut world = World::new(Definition { gate: Gate::Acked, ..definition(&[2, 1], 1) });
    (0..3).for_each(|me| world.arrive(me));
    world.settle();
    assert!(matches!(world.progress(0), Progress::Released { .. }));
    assert_eq!(world.progress(2), Progress::Waiting);
    // The next generation would count as an acknowledgement.
    assert_eq!(world.arrive_with(0, Arrival::default()), Err(BarrierError::Refused(Refusal::Arrived(0))));
    for (me, left) in [(0, 1), (1, 0)] {
        let waited = world.blockers(2, 1);
        assert_eq!(waited.len(), left + 1, "{waited:?}");
        let slot = world.barriers[me].acknowledge().unwrap();
        world.publish(me, &slot);
        world.settle();
    }
    assert!(matches!(world.progress(2), Progress::Released { .. }));
    let again = world.barriers[0].acknowledge();
    assert_eq!(again, Err(BarrierError::NothingToAcknowledge { generation: 0 }));
}

/// Its own tier may be decided long before: an acknowledgement then opened lower gates for one that had not acted.
#[test]
fn a_member_whose_gate_is_shut_has_nothing_to_acknowledge() {
    let mut world = World::new(Definition { gate: Gate::Acked, ..definition(&[1, 1, 1], 1) });
    [1, 2].iter().for_each(|me| world.arrive(*me));
    world.settle();
    assert!(!world.barriers[1].durable().latched.tiers.is_empty());
    assert_eq!(world.barriers[1].acknowledge(), Err(BarrierError::NothingToAcknowledge { generation: 0 }));
    world.arrive(0);
    world.settle();
    for me in 0..2 {
        let slot = world.barriers[me].acknowledge().unwrap();
        world.publish(me, &slot);
        world.settle();
    }
    assert!(matches!(world.progress(2), Progress::Released { .. }));
}

/// It said `Superseded` before, by a generation only one ahead.
#[test]
fn a_restart_changes_no_answer_about_the_generation_before() {
    let mut world = World::new(definition(&[2, 2], 1));
    // One leaves in between, so that the rosters before and after differ.
    for (generation, members) in [4, 4, 3].into_iter().enumerate() {
        let arrivals = |me| Arrival { leave: (me, generation) == (3, 1), ..Arrival::default() };
        (0..members).for_each(|me| world.arrive_with(me, arrivals(me)).unwrap());
        world.settle();
    }
    for me in 0..3 {
        let slot = world.barriers[me].durable().clone();
        let definition = Arc::clone(world.barriers[me].definition());
        let restarted = TieredBarrier::new(definition, replica(me), Some(slot)).unwrap();
        let answers = |barrier: &TieredBarrier| [1, 2].map(|generation| barrier.progress(generation, world.now));
        assert_eq!(answers(&restarted), answers(&world.barriers[me]), "{me}");
        assert!(matches!(answers(&restarted)[0], Progress::Released { .. }));
    }
}

#[test]
fn generations_follow_each_other_and_members_may_leave_and_join() {
    let mut world = World::new(definition(&[3], 1));
    for generation in 0..4 {
        world.arrive(0);
        let twice = world.arrive_with(0, Arrival::default());
        assert_eq!(twice, Err(BarrierError::Refused(Refusal::Arrived(generation))));
        [1, 2].iter().for_each(|me| world.arrive(*me));
        world.settle();
        for barrier in &world.barriers {
            let progress = barrier.progress(generation, world.now);
            assert_eq!(progress, released(&[(Tier::ALPHA, TierOutcome::Complete)]), "generation {generation}");
        }
    }
    let newcomer = seat(3, Tier::ALPHA);
    world.arrive_with(0, Arrival { leave: true, ..Arrival::default() }).unwrap();
    world.arrive_with(1, Arrival { sponsored: vec![newcomer], ..Arrival::default() }).unwrap();
    world.arrive(2);
    world.settle();
    world.arrive(1);
    let definition = Arc::clone(world.barriers[0].definition());
    world.barriers.push(TieredBarrier::new(definition, replica(3), None).unwrap());
    world.up.push(true);
    let told = world.barriers[1].durable().clone();
    world.barriers[3].hear(replica(1), told, world.now).unwrap();
    world.arrive(3);
    // The newcomer is heard where its generation is not known yet, and only once.
    let early = world.barriers[3].durable().clone();
    world.network.retain(|(_, from, _)| *from != 3);
    world.up[3] = false;
    world.barriers[2].hear(replica(3), early, world.now).unwrap();
    world.settle();
    world.arrive(2);
    world.settle();
    assert_eq!(world.barriers[0].seat(), None);
    assert_eq!(world.progress(2), released(&[(Tier::ALPHA, TierOutcome::Complete)]));
    world.up[3] = true;
    heal(&mut world);
    world.settle();
    assert_eq!(world.barriers[3].generation(), 5);
    assert_eq!(world.progress(3), released(&[(Tier::ALPHA, TierOutcome::Complete)]));
}

/// It broke before, as the alpha that was left out could never come again.
#[test]
fn a_barrier_goes_on_when_a_tier_shrinks_below_its_minimum_or_is_empty() {
    let mut definition = definition(&[2, 3], 1);
    (definition.tiers[0].min, definition.tiers[0].on_shortfall) = (2, OnShortfall::Break);
    let mut world = World::new(definition);
    let leaves = || Arrival { leave: true, ..Arrival::default() };
    for leaver in [0, 1] {
        (leaver..5)
            .for_each(|me| world.arrive_with(me, if me == leaver { leaves() } else { Arrival::default() }).unwrap());
        world.settle();
    }
    (2..5).for_each(|me| world.arrive(me));
    world.settle();
    let complete = |tier| (tier, TierOutcome::Complete);
    for me in 2..5 {
        assert_eq!(world.barriers[me].generation(), 2);
        assert_eq!(world.progress(me), released(&[complete(Tier::ALPHA), complete(Tier::BETA)]));
    }
}

#[test]
fn why_names_the_true_cause() {
    let mut world = World::new(definition(&[2, 2], 1));
    [0, 2, 3].iter().for_each(|me| world.arrive(*me));
    world.settle();
    let missing = world.barriers[1].definition().members[1].agent.clone();
    let waiting = world.blockers(0, 0);
    assert_eq!(waiting[0], Blocker::NotArrived { agent: missing });
    assert!(matches!(waiting[1], Blocker::TimerRunning { remaining_ms: 15_000 }), "{waiting:?}");
    assert_eq!(world.blockers(2, 1), [Blocker::Gated { tier: Tier::ALPHA }]);
    // A link that carries one way only: the arrival is here, the others' echoes are not.
    let mut cut = World::new(definition(&[3], 1));
    cut.barriers[1].arrive(Arrival::default(), cut.now).unwrap();
    cut.barriers[1].persisted();
    let arrival = Slot { yes: Default::default(), ..cut.barriers[1].durable().clone() };
    cut.barriers[0].hear(replica(1), arrival, cut.now).unwrap();
    let lacks = cut.blockers(0, 0);
    assert!(lacks.iter().any(|why| matches!(why, Blocker::EchoesMissing { have: 0, need: 2, .. })), "{lacks:?}");
    // The minority side of a partition: a ballot is prepared and nobody promises.
    let mut minority = World::new(definition(&[5], 2));
    (2..5).for_each(|me| minority.up[me] = false);
    [0, 1].iter().for_each(|me| minority.arrive(*me));
    minority.pass(Duration::from_secs(60));
    let stuck = minority.blockers(1, 0);
    assert!(stuck.iter().any(|why| matches!(why, Blocker::PromisesMissing { need: 3, .. })), "{stuck:?}");
    let sentence = stuck.last().unwrap().to_string();
    assert!(sentence.contains("of 3 promises") && sentence.contains("agent-4"), "{sentence}");
}

#[test]
fn an_onlooker_tells_what_members_show_not_what_its_own_clock_says() {
    let mut world = World::new(definition(&[3], 1));
    world.arrive(0);
    let mut onlooker = TieredBarrier::new(world.barriers[0].definition().clone(), replica(9), None).unwrap();
    onlooker.hear(replica(0), world.barriers[0].durable().clone(), world.now).unwrap();
    let late = world.now + Duration::from_secs(60);
    let tier = onlooker.status(late).tiers.swap_remove(0);
    assert_eq!((tier.members.len(), tier.arrived.len(), tier.timed_out.len()), (3, 1, 0));
    assert_eq!(tier.blockers.last(), Some(&Blocker::TimersUnknown { timeout_ms: 15_000 }));
    world.up[2] = false;
    world.up[1] = false;
    world.pass(Duration::from_secs(60));
    onlooker.hear(replica(0), world.barriers[0].durable().clone(), world.now).unwrap();
    let tier = onlooker.status(world.now).tiers.swap_remove(0);
    assert_eq!(tier.timed_out, [world.barriers[0].definition().members[0].agent.clone()]);
    assert!(matches!(tier.blockers.last(), Some(Blocker::PromisesMissing { need: 2, .. })), "{:?}", tier.blockers);
}

#[test]
fn a_release_names_the_content_it_waits_for() {
    let mut world = World::new(definition(&[2], 0));
    for (me, fence) in [(0, (5, 2)), (1, (9, 0))] {
        world.arrive_with(me, Arrival { fence, ..Arrival::default() }).unwrap();
    }
    world.settle();
    assert_eq!(world.barriers[0].fence(0), Some(vec![(replica(0), (5, 2)), (replica(1), (9, 0))]));
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrive(usize, bool),
    Deliver(usize),
    Drop(usize),
    Poll(usize),
    Wait(u64),
    /// The process ends and starts again from its durable slot.
    Restart(usize),
    Heal,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..8_usize, prop::bool::weighted(0.1)).prop_map(|(me, leave)| Event::Arrive(me, leave)),
        30 => any::<usize>().prop_map(Event::Deliver),
        3 => any::<usize>().prop_map(Event::Drop),
        15 => (0..8_usize).prop_map(Event::Poll),
        3 => (1..20_u64).prop_map(Event::Wait),
        1 => (0..8_usize).prop_map(Event::Restart),
        1 => Just(Event::Heal),
    ]
}

/// Hands every seat's durable slot to every other.
fn heal(world: &mut World) {
    for from in 0..world.barriers.len() {
        let slot = world.barriers[from].durable().clone();
        for to in (0..world.barriers.len()).filter(|to| *to != from) {
            world.network.push((to, from, slot.clone()));
        }
    }
}

fn apply(world: &mut World, event: Event) {
    let (count, waiting) = (world.barriers.len(), world.network.len());
    match event {
        // What is refused here is not this test's concern.
        Event::Arrive(me, leave) => drop(world.arrive_with(me % count, Arrival { leave, ..Arrival::default() })),
        Event::Deliver(at) if waiting > 0 => world.deliver(at % waiting),
        Event::Drop(at) if waiting > 0 => drop(world.network.swap_remove(at % waiting)),
        Event::Poll(me) => drop((world.poll(me % count), ())),
        Event::Wait(seconds) => world.now = world.now + Duration::from_secs(seconds),
        Event::Restart(me) => {
            let old = &world.barriers[me % count];
            let (definition, slot) = (Arc::clone(old.definition()), old.durable().clone());
            world.barriers[me % count] = TieredBarrier::new(definition, replica(me % count), Some(slot)).unwrap();
        }
        Event::Heal => heal(world),
        Event::Deliver(_) | Event::Drop(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// B1, B4 and B6 over several generations, with restarts; then, healed, everybody who can be released is.
    #[test]
    fn generations_agree_under_loss_reordering_and_restarts(
        events in prop::collection::vec(event(), 0..300),
        (tiers, tolerate) in prop_oneof![Just((vec![3], 1)), Just((vec![2, 2], 1)), Just((vec![5], 2)), Just((vec![3], 0))],
    ) {
        let mut world = World::new(definition(&tiers, tolerate));
        let mut outcomes = BTreeMap::new();
        for event in events {
            apply(&mut world, event);
            for barrier in &world.barriers {
                let (slot, roster) = (barrier.durable(), barrier.view().roster());
                let generation = barrier.generation();
                if slot.generation != generation {
                    continue;
                }
                for tier in slot.latched.tiers.iter() {
                    let names = slot.latched.released.intersection(&roster.tiers()[tier].members);
                    let names: Vec<ReplicaId> = names.iter().map(|seat| roster.seats()[seat].replica).collect();
                    let agreed = outcomes.entry((generation, tier)).or_insert_with(|| names.clone());
                    prop_assert_eq!(&*agreed, &names, "generation {} tier {}", generation, tier);
                }
            }
            let leaves = |barrier: &TieredBarrier| barrier.durable().arrival().is_some_and(|arrival| arrival.leave);
            let goes_on = |barrier: &&TieredBarrier| barrier.seat().is_some() && !leaves(barrier);
            let generations = || world.barriers.iter().filter(goes_on).map(TieredBarrier::generation);
            // Who was left out may be further behind, but then it is no continuing member.
            if tolerate == 0 && let (Some(oldest), Some(newest)) = (generations().min(), generations().max()) {
                prop_assert!(newest - oldest <= 1);
            }
        }
        for _ in 0..4 {
            heal(&mut world);
            world.pass(Duration::from_secs(60));
        }
        let newest = world.barriers.iter().map(TieredBarrier::generation).max().unwrap();
        for barrier in &world.barriers {
            let spoken = barrier.durable().arrival().is_some();
            if barrier.seat().is_some() && spoken && barrier.view().roster().rules().ballots {
                let progress = barrier.progress(barrier.generation(), world.now);
                let ended = matches!(progress, Progress::Released { .. } | Progress::Late { .. });
                prop_assert!(ended || barrier.generation() < newest, "{:?} {:?}", progress, barrier.status(world.now));
            }
        }
    }
}
