//! Vector consensus: delays, timeouts, agreement under random schedules.

use std::sync::Arc;

use aepoch::coordination::kernel::{
    Arrival, Ballot, BitSet, Contradiction, Definition, DefinitionError, Gate, Latched, Malformed, OnShortfall, Own,
    Proposal, Refusal, Roster, RosterChange, Slot, Tier, TierOutcome, TierState, View, Wanted, arrive, check_slot,
    contradiction, decline, enter, propose,
};
use proptest::prelude::*;

use crate::swarm::{Swarm, definition, roster, seat};

fn quiet(_: usize) -> Wanted {
    Wanted::default()
}

/// All timers have run out.
fn late(_: usize) -> Wanted {
    Wanted { expired: BitSet::full(1), lead: BitSet::new() }
}

/// All timers have run out; seat 0 begins a ballot, and the alive go on for so many delays.
fn exclude(swarm: &mut Swarm, alive: &[usize], rounds: usize) {
    swarm.round(alive, |me| if me == 0 { Wanted { lead: BitSet::full(1), ..late(me) } } else { late(me) });
    (1..rounds).for_each(|_| swarm.round(alive, late));
}

#[test]
fn strict_releases_everybody_one_delay_after_the_last_arrival_and_the_last_at_once() {
    let mut swarm = Swarm::new(&roster(definition(&[4], 0)));
    (0..3).for_each(|me| swarm.arrive(me));
    swarm.round(&[0, 1, 2, 3], quiet);
    assert_eq!(swarm.released(0, 0), None);
    swarm.arrive(3);
    swarm.step(3, &quiet(3));
    assert_eq!(swarm.released(3, 0), Some(BitSet::full(4)));
    swarm.round(&[0, 1, 2, 3], quiet);
    assert!((0..4).all(|me| swarm.released(me, 0) == Some(BitSet::full(4))));
}

#[test]
fn with_one_failure_tolerated_the_others_are_released_after_one_delay_and_the_last_after_two() {
    let mut swarm = Swarm::new(&roster(definition(&[4], 1)));
    let all = [0, 1, 2, 3];
    (0..3).for_each(|me| swarm.arrive(me));
    swarm.round(&all, quiet);
    swarm.round(&all, quiet);
    swarm.arrive(3);
    swarm.round(&all, quiet);
    // The arrival carries its writer's echo; with the receiver's own, which it has just made durable, there are two.
    for me in 0..3 {
        swarm.step(me, &quiet(me));
    }
    assert!((0..3).all(|me| swarm.released(me, 0).is_some()));
    assert_eq!(swarm.released(3, 0), None);
    swarm.round(&all, quiet);
    assert_eq!(swarm.released(3, 0), Some(BitSet::full(4)));
}

#[test]
fn who_does_not_come_is_left_out_four_delays_after_the_timeout_and_never_before() {
    let mut swarm = Swarm::new(&roster(definition(&[3], 1)));
    let alive = [0, 1];
    alive.iter().for_each(|me| swarm.arrive(*me));
    for _ in 0..10 {
        swarm.round(&alive, quiet);
    }
    assert_eq!(swarm.released(0, 0), None);
    exclude(&mut swarm, &alive, 5);
    let both: BitSet = [0, 1].into_iter().collect();
    assert_eq!(swarm.released(0, 0), Some(both.clone()));
    assert_eq!(swarm.released(1, 0), Some(both));
    let missing = [2].into_iter().collect();
    assert_eq!(swarm.nodes[1].view.outcome(0), Some(TierOutcome::Degraded { missing }));
}

#[test]
fn a_minority_never_decides() {
    let mut swarm = Swarm::new(&roster(definition(&[5], 2)));
    (0..2).for_each(|me| swarm.arrive(me));
    exclude(&mut swarm, &[0, 1], 20);
    assert_eq!(swarm.released(0, 0), None);
}

#[test]
fn a_refusal_is_agreed_on_like_an_arrival() {
    let mut swarm = Swarm::new(&roster(definition(&[3], 1)));
    (0..2).for_each(|me| swarm.arrive(me));
    let refusal = decline(&swarm.nodes[2].view, 2, &swarm.nodes[2].slot).unwrap();
    swarm.publish(2, refusal.clone());
    assert_eq!(decline(&swarm.nodes[2].view, 2, &refusal), Err(Refusal::Declined(0)));
    (0..4).for_each(|_| swarm.round(&[0, 1, 2], quiet));
    assert!((0..3).all(|me| swarm.released(me, 0) == Some([0, 1].into_iter().collect())));
}

#[test]
fn a_generation_is_settled_when_all_who_are_in_have_its_outcome_in_their_slots() {
    for gate in [Gate::Decided, Gate::Acked] {
        let roster = roster(Definition { gate, ..definition(&[3], 1) });
        let latched = Latched { tiers: BitSet::full(1), released: BitSet::full(2) };
        let knows = Slot { latched, acked: gate == Gate::Acked, ..Slot::default() };
        let mut view = View::new(Arc::clone(&roster));
        view.put(0, Arc::new(knows.clone()));
        // The outcome is known, though not to seat 1.
        assert!(view.resolved(0).is_some() && !view.settled());
        let mut unacknowledged = view.clone();
        unacknowledged.put(1, Arc::new(Slot { acked: false, ..knows.clone() }));
        assert_eq!(unacknowledged.settled(), gate == Gate::Decided);
        let gone_on = Slot { generation: 1, previous: Some(BitSet::full(2)), ..Slot::default() };
        for slot in [knows, gone_on] {
            let mut view = view.clone();
            view.put(1, Arc::new(slot));
            // Seat 2 is left out, and nobody waits for it.
            assert!(view.settled());
        }
    }
}

#[test]
fn a_generation_follows_with_those_who_stayed_and_whom_they_sponsored() {
    let mut swarm = Swarm::new(&roster(definition(&[3], 1)));
    let newcomer = seat(7, Tier::ALPHA);
    for (me, leave) in [(0, false), (1, true)] {
        let node = &swarm.nodes[me];
        let arrival = Arrival { leave, sponsored: vec![newcomer.clone()], ..Arrival::default() };
        let slot = arrive(&node.view, me, &node.slot, arrival).unwrap();
        swarm.publish(me, slot);
    }
    exclude(&mut swarm, &[0, 1], 6);
    let unlatched = Slot { latched: Default::default(), ..swarm.nodes[0].slot.as_ref().clone() };
    assert_eq!(enter(&swarm.nodes[0].view, 0, &unlatched), None);
    let (next, slot) = enter(&swarm.nodes[0].view, 0, &swarm.nodes[0].slot).unwrap();
    assert_eq!(next.seats(), [seat(0, newcomer.tier), newcomer]);
    assert_eq!(slot.as_ref().map(|slot| (slot.generation, slot.previous.clone())), Some((1, Some(BitSet::full(2)))));
    assert_eq!(enter(&swarm.nodes[1].view, 1, &swarm.nodes[1].slot).unwrap().1, None);
    // Whoever missed the end learns it from the first slot of the next generation, and the roster with it.
    let straggler = &mut swarm.nodes[2].view;
    straggler.put(0, Arc::new(slot.unwrap()));
    assert_eq!(straggler.resolved(0), Some(BitSet::full(2)));
    assert_eq!(straggler.next().as_ref(), Some(next.change()));
}

#[test]
fn a_roster_comes_back_from_its_change_alone() {
    let first = roster(definition(&[3, 2], 1));
    let arrival = Arrival { sponsored: vec![seat(9, first.tiers()[1].tier)], ..Arrival::default() };
    let released: BitSet = [0, 2, 3].into_iter().collect();
    let change = first.change_after(&released, |_| Some(&arrival)).unwrap();
    let second = Roster::of(Arc::clone(first.definition()), 1, change.clone());
    assert_eq!(second.seats().iter().map(|seat| seat.replica.get()).collect::<Vec<_>>(), [1, 3, 4, 10]);
    assert_eq!(second.change(), &change);
    assert_eq!(second.rules().recovery, 3);
    assert_eq!(second.change_after(&BitSet::new(), |_| None).unwrap().removed, BitSet::full(5));
}

#[test]
fn a_tier_that_has_shrunk_asks_for_no_more_than_it_has() {
    let mut definition = definition(&[3, 1], 1);
    (definition.tiers[0].min, definition.tiers[0].on_shortfall) = (2, OnShortfall::Break);
    let first = roster(definition);
    let after = |removed: std::ops::Range<usize>| {
        let change = RosterChange { removed: removed.collect(), ..RosterChange::default() };
        Arc::new(Roster::of(Arc::clone(first.definition()), 1, change))
    };
    let mins = [after(0..1), after(0..2), after(0..3)].map(|roster| roster.tiers()[0].min);
    assert_eq!(mins, [2, 1, 0]);
    let one = after(0..2);
    assert_eq!(one.tiers()[0].outcome(&BitSet::full(1)), TierOutcome::Complete);
    assert!(matches!(one.tiers()[0].outcome(&BitSet::new()), TierOutcome::Broken { .. }));
    // Nobody is left in it: it is complete before anybody has said anything, and the rest goes on as usual.
    let view = View::new(after(0..3));
    assert_eq!((view.outcome(0), view.outcome(1)), (Some(TierOutcome::Complete), None));
}

#[test]
fn every_wrong_definition_is_refused_with_value_and_limit() {
    let good = definition(&[2, 1], 1);
    assert_eq!(good.check(), Ok(()));
    let mut many = good.clone();
    many.tolerate = 2;
    assert_eq!(many.check().unwrap_err().to_string(), "tolerate of 2 is over the limit of 1 for 3 acceptors");
    let mut twice = good.clone();
    twice.members[1] = twice.members[0].clone();
    assert!(matches!(twice.check(), Err(DefinitionError::Twice { .. })));
    let mut high = good.clone();
    high.tiers[1].min = 2;
    assert!(matches!(high.check(), Err(DefinitionError::Minimum { min: 2, members: 1, .. })));
    let mut without = good.clone();
    without.tiers.pop();
    assert!(matches!(without.check(), Err(DefinitionError::Policies { .. })));
    let mut pair = definition(&[2], 1);
    assert!(matches!(pair.check(), Err(DefinitionError::Tolerate { max: 0, .. })));
    pair.electors = (0..3).map(|number| seat(number + 5, pair.members[0].tier)).collect();
    assert_eq!(pair.check(), Ok(()));
}

#[test]
fn definitions_that_differ_have_different_names_and_say_where() {
    let one = definition(&[3], 1);
    let mut other = one.clone();
    other.tolerate = 0;
    assert_ne!(one.id(), other.id());
    assert_eq!(one.id(), one.clone().id());
    assert_eq!(one.differences(&other), ["tolerate: 1 here, 0 there"]);
}

#[test]
fn a_proposer_includes_everybody_echoed_to_it_whatever_it_wants() {
    let roster = roster(definition(&[3], 1));
    let mut view = View::new(Arc::clone(&roster));
    let promised = TierState { promised: Ballot(1), ..TierState::default() };
    for (seat, yes) in [(0, 0..1), (1, 2..3)] {
        view.put(seat, Arc::new(Slot { yes: yes.collect(), tiers: vec![promised.clone()], ..Slot::default() }));
    }
    let prepared = TierState { proposal: Some(Proposal { ballot: Ballot(1), mask: None }), ..TierState::default() };
    let slot = Slot { tiers: vec![prepared], ..Slot::default() };
    let proposed = propose(&view, 0, &slot, 0, &BitSet::new()).unwrap();
    let mask = proposed.tier(0).proposal.as_ref().unwrap().mask.clone();
    assert_eq!(mask, Some([0, 2].into_iter().collect()));
}

#[test]
fn malformed_slots_are_refused() {
    let roster = roster(definition(&[3], 1));
    let stray = Slot { yes: [3].into_iter().collect(), ..Slot::default() };
    assert!(matches!(check_slot(&roster, 0, &stray), Err(Malformed::Stray { seat: 3, count: 3, .. })));
    let both = Slot { yes: BitSet::full(1), no: BitSet::full(1), ..Slot::default() };
    assert_eq!(check_slot(&roster, 0, &both), Err(Malformed::BothWays { seat: 0 }));
    let early = Slot { previous: Some(BitSet::new()), ..Slot::default() };
    assert_eq!(check_slot(&roster, 0, &early), Err(Malformed::Previous(0)));
    let other = Some(RosterChange { removed: BitSet::full(1), ..RosterChange::default() });
    let early = Slot { previous_change: other.clone(), ..Slot::default() };
    assert_eq!(check_slot(&roster, 0, &early), Err(Malformed::Previous(0)));
    let next = Slot { generation: 1, previous: Some(BitSet::new()), previous_change: other, ..Slot::default() };
    assert_eq!(check_slot(&roster, 0, &next), Err(Malformed::Roster(1)));
    assert_eq!(check_slot(&roster, 0, &Slot { previous_change: None, ..next }), Ok(()));
    let mut foreign = Slot::default();
    foreign.tiers.push(TierState { proposal: Some(Proposal { ballot: Ballot(2), mask: None }), ..Default::default() });
    assert!(matches!(check_slot(&roster, 0, &foreign), Err(Malformed::BallotOrder { ballot: 2, .. })));
    assert_eq!(check_slot(&roster, 1, &foreign), Ok(()));
}

#[test]
fn what_a_seat_takes_back_is_named() {
    let roster = roster(definition(&[3], 1));
    let echoed = Slot { yes: BitSet::full(2), ..Slot::default() };
    let mut promised = echoed.clone();
    promised.tiers.push(TierState { promised: Ballot(2), ..Default::default() });
    let more = Slot { yes: BitSet::full(3), ..promised.clone() };
    let spoken = Slot { own: Own::Declined, ..Slot::default() };
    let cases = [
        (&echoed, &Slot::default(), Some(Contradiction::Echo)),
        (&promised, &echoed, Some(Contradiction::Promise)),
        (&promised, &more, Some(Contradiction::EchoAfterPromise)),
        (&spoken, &Slot::default(), Some(Contradiction::Own)),
        (&Slot::default(), &more, None),
        (&echoed, &promised, None),
    ];
    for (old, new, expected) in cases {
        assert_eq!(contradiction(&roster, old, new), expected);
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrive(usize),
    Deliver(usize),
    Redeliver(usize),
    Drop(usize),
    Act(usize),
    /// The seat's timer has run out; it leads when the flag is set.
    Expire(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..16_usize).prop_map(Event::Arrive),
        10 => any::<usize>().prop_map(Event::Deliver),
        2 => any::<usize>().prop_map(Event::Redeliver),
        1 => any::<usize>().prop_map(Event::Drop),
        8 => (0..16_usize).prop_map(Event::Act),
        2 => (0..16_usize, any::<bool>()).prop_map(|(me, lead)| Event::Expire(me, lead)),
    ]
}

/// Runs a schedule; checks agreement, validity and stability after every event.
fn run(tiers: &[usize], tolerate: u32, events: &[Event]) -> Swarm {
    let roster = roster(definition(tiers, tolerate));
    let count = roster.seats().len();
    let mut swarm = Swarm::new(&roster);
    let mut expired = vec![false; count];
    let mut agreed = vec![None; tiers.len()];
    for event in events {
        let waiting = swarm.network.len();
        match *event {
            Event::Arrive(me) if swarm.nodes[me % count].slot.own == Own::Unset => swarm.arrive(me % count),
            Event::Deliver(at) if waiting > 0 => drop(swarm.deliver(at % waiting)),
            Event::Redeliver(at) if waiting > 0 => {
                let (to, from, slot) = swarm.network[at % waiting].clone();
                swarm.nodes[to].view.put(from, slot);
            }
            Event::Drop(at) if waiting > 0 => drop(swarm.network.swap_remove(at % waiting)),
            Event::Act(me) | Event::Expire(me, _) => {
                let me = me % count;
                expired[me] |= matches!(event, Event::Expire(..));
                let lead = matches!(event, Event::Expire(_, true));
                let tiers = |yes: bool| if yes { BitSet::full(tiers.len()) } else { BitSet::new() };
                swarm.step(me, &Wanted { expired: tiers(expired[me]), lead: tiers(lead) });
            }
            _ => {}
        }
        for (tier, agreed) in agreed.iter_mut().enumerate() {
            for me in 0..count {
                let Some(released) = swarm.released(me, tier) else { continue };
                assert!(released.iter().all(|member| matches!(swarm.nodes[member].slot.own, Own::Arrived(_))));
                assert_eq!(*agreed.get_or_insert_with(|| released.clone()), released, "seat {me}, tier {tier}");
            }
        }
        // B9: whoever is left out is left out by as many as recovery takes, each by its own timer.
        let left_out = agreed.iter().flatten().map(BitSet::len).sum::<usize>() < count;
        if left_out && agreed.iter().all(Option::is_some) {
            assert!(expired.iter().filter(|expired| **expired).count() >= roster.rules().recovery);
        }
    }
    swarm
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_agree_whatever_the_schedule(
        events in prop::collection::vec(event(), 0..250),
        (tiers, tolerate) in prop_oneof![
            Just((vec![3], 1)), Just((vec![5], 2)), Just((vec![4], 1)), Just((vec![2, 3], 2)), Just((vec![1, 1, 2], 1)),
            Just((vec![4], 0)),
        ],
    ) {
        run(&tiers, tolerate, &events);
    }

    #[test]
    fn a_view_does_not_depend_on_the_order_and_never_takes_back_what_was_true(
        events in prop::collection::vec(event(), 0..200),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let swarm = run(&[2, 3], 2, &events);
        let mut slots: Vec<(usize, Arc<Slot>)> = swarm.network.iter().map(|(_, from, slot)| (*from, Arc::clone(slot))).collect();
        let fresh = || View::new(Arc::clone(swarm.nodes[0].view.roster()));
        let (mut one, mut other) = (fresh(), fresh());
        let facts = |view: &View| -> Vec<BitSet> {
            let resolved = (0..2).map(|tier| view.resolved(tier).unwrap_or_default());
            [view.in0(), view.out0(), view.arrived()].into_iter().cloned().chain(resolved).collect()
        };
        for (seat, slot) in &slots {
            let before = facts(&one);
            one.put(*seat, Arc::clone(slot));
            prop_assert!(before.iter().zip(facts(&one)).all(|(before, after)| before.is_subset(&after)));
        }
        for index in &order {
            let at = index.index(slots.len().max(1));
            if at < slots.len() {
                slots.swap(0, at);
            }
        }
        for (seat, slot) in slots {
            other.put(seat, slot);
        }
        prop_assert_eq!(facts(&one), facts(&other));
    }
}
