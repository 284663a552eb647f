//! Claims: one holder per token, one end, and a register that behaves like one on one machine.

use std::collections::{BTreeMap, BTreeSet};

use aepoch::{
    coordination::claim::{
        Change, Claim, ClaimBallot, ClaimMalformed, ClaimRefusal, ClaimSlot, ClaimView, accept, check, default_owner,
        last_word, prepare, promise, propose, propose_first,
    },
    id::ReplicaId,
};
use proptest::prelude::*;

const ATTEMPTS: u32 = 50;

fn replica(seat: usize) -> ReplicaId {
    ReplicaId::from_bits(seat as u64 + 1)
}

fn take(seat: usize) -> Change {
    Change::Take { holder: replica(seat), attempts: ATTEMPTS }
}

#[test]
fn tokens_grow_with_every_holder_and_stale_ones_are_refused() {
    let first = Claim::Free.apply(take(0)).unwrap();
    let second = first.apply(take(1)).unwrap();
    assert_eq!((first.token(), second.token()), (1, 2));
    assert_eq!(second.apply(Change::Complete { token: 1 }), Err(ClaimRefusal::Stale { token: 1, current: 2 }));
    let renewed = second.apply(Change::Renew { token: 2 }).unwrap();
    assert_eq!(renewed, Claim::Held { holder: replica(1), token: 2, renewal: 1 });
    let back = renewed.apply(Change::Return { token: 2 }).unwrap();
    assert_eq!(back.apply(Change::Renew { token: 2 }), Err(ClaimRefusal::Stale { token: 2, current: 2 }));
    let third = back.apply(take(0)).unwrap();
    let done = third.apply(Change::Complete { token: 3 }).unwrap();
    assert_eq!(done.apply(take(1)), Err(ClaimRefusal::Done { token: 3 }));
}

#[test]
fn the_default_owner_claims_with_one_round_of_accepts() {
    let mut view = ClaimView::new(3, 1, 1);
    let empty = ClaimSlot::default();
    assert_eq!(propose_first(&view, 0, &empty, take(0)), None);
    let mut own = propose_first(&view, 1, &empty, take(1)).unwrap();
    let (ballot, claim) = (own.proposal.unwrap().0, own.proposal.unwrap().1.unwrap());
    own = accept(&own, ballot, claim).unwrap();
    view.put(1, own.clone());
    assert_eq!(view.chosen(), None);
    view.put(2, accept(&empty, ballot, claim).unwrap());
    assert_eq!(view.chosen(), Some(Claim::Held { holder: replica(1), token: 1, renewal: 0 }));
    assert_eq!(propose_first(&view, 1, &own, take(1)), None);
}

#[test]
fn a_lease_keeps_others_out_while_it_runs_and_the_holder_in() {
    let held = Claim::Free.apply(take(0)).unwrap();
    let slot = accept(&ClaimSlot::default(), ClaimBallot { round: 0, seat: 0, step: 0 }, held).unwrap();
    let next = ClaimBallot { round: 1, seat: 1, step: 0 };
    assert_eq!(promise(&slot, next, true, false), None);
    assert!(promise(&slot, next, true, true).is_some());
    assert!(promise(&slot, next, false, false).is_some());
}

#[test]
fn a_refusal_comes_with_the_value_that_has_to_be_chosen_for_it_to_stand() {
    let done = Claim::Free.apply(take(0)).unwrap().apply(Change::Complete { token: 1 }).unwrap();
    let ballot = ClaimBallot { round: 2, seat: 1, step: 0 };
    let promised = ClaimSlot { promised: Some(ballot), ..ClaimSlot::default() };
    let mut view = ClaimView::new(3, 1, 0);
    view.put(0, ClaimSlot { accepted: Some((ClaimBallot { round: 1, seat: 0, step: 0 }, done)), ..promised.clone() });
    let own = ClaimSlot { proposal: Some((ballot, None)), ..promised };
    assert_eq!(propose(&view, 1, &own, take(1)), None);
    view.put(1, own.clone());
    let (proposed, verdict) = propose(&view, 1, &own, take(1)).unwrap();
    assert_eq!((proposed.proposal, verdict), (Some((ballot, Some(done))), Err(ClaimRefusal::Done { token: 1 })));
}

/// One of the two that have accepted an end accepts it again, at a higher ballot: the slots show it to nobody any more.
#[test]
fn an_end_that_the_slots_do_not_show_is_said_by_who_knows_it() {
    let at = |round, seat| ClaimBallot { round, seat, step: 0 };
    let held = Claim::Free.apply(take(0)).unwrap();
    let done = held.apply(Change::Complete { token: 1 }).unwrap();
    let slots = |claim| {
        let first = accept(&ClaimSlot::default(), at(1, 0), claim).unwrap();
        [first.clone(), accept(&first, at(2, 1), claim).unwrap()]
    };
    let knows = |claim| {
        let ([first, again], mut view) = (slots(claim), ClaimView::new(3, 1, 0));
        (0..2).for_each(|seat| view.put(seat, first.clone()));
        let shown = last_word(&view, 0, &first);
        view.put(1, again);
        (view, shown)
    };
    let ([first, again], (mut view, shown)) = (slots(done), knows(done));
    assert_eq!((view.chosen(), shown), (Some(done), None));
    let mut late = ClaimView::new(3, 1, 0);
    late.put(0, first.clone());
    late.put(1, again);
    assert_eq!((late.chosen(), last_word(&late, 2, &ClaimSlot::default())), (None, None));
    let said = last_word(&view, 0, &first).unwrap();
    assert_eq!((said.promised, said.accepted), (first.promised, first.accepted));
    for view in [&mut view, &mut late] {
        view.put(0, said.clone());
        assert_eq!((view.chosen(), last_word(view, 2, &ClaimSlot::default())), (Some(done), None));
    }
    // What may still change is not said.
    let (view, _) = knows(held);
    assert_eq!((view.chosen(), last_word(&view, 0, &first)), (Some(held), None));
}

#[test]
fn a_malformed_claim_slot_is_refused_with_what_is_wrong() {
    let at = |round, seat| ClaimBallot { round, seat, step: 0 };
    let held = Claim::Free.apply(take(1)).unwrap();
    let promised = |ballot| ClaimSlot { promised: Some(ballot), ..ClaimSlot::default() };
    let accepted = |ballot| ClaimSlot { accepted: Some((ballot, held)), ..promised(ballot) };
    let proposed = |ballot| ClaimSlot { proposal: Some((ballot, None)), ..ClaimSlot::default() };
    // Seat 2 writes; seat 1 is the default owner, among three.
    let verdict = |slot: &ClaimSlot| check(slot, 2, 1, 3);
    for good in [ClaimSlot::default(), accepted(at(0, 1)), promised(at(7, 0)), proposed(at(1 << 30, 2))] {
        assert_eq!(verdict(&good), Ok(()), "{good:?}");
    }
    let above = ClaimSlot { promised: Some(at(2, 2)), ..accepted(at(3, 0)) };
    let unpromised = ClaimSlot { promised: None, ..accepted(at(0, 1)) };
    let counted = |token, renewal| {
        let claim = Claim::Held { holder: replica(1), token, renewal };
        ClaimSlot { proposal: Some((at(1, 2), Some(claim))), ..ClaimSlot::default() }
    };
    let wrong = [
        (accepted(at(0, 2)), ClaimMalformed::Owner { seat: 2, owner: 1 }),
        (promised(at(0, 0)), ClaimMalformed::Owner { seat: 0, owner: 1 }),
        (proposed(at(1, 1)), ClaimMalformed::Foreign { seat: 2, owner: 1 }),
        (above, ClaimMalformed::AboveThePromise { accepted: 3, seat: 0 }),
        (unpromised, ClaimMalformed::AboveThePromise { accepted: 0, seat: 1 }),
        (promised(at((1 << 30) + 1, 0)), ClaimMalformed::Round { round: (1 << 30) + 1 }),
        (promised(at(1, 3)), ClaimMalformed::Seat { seat: 3, acceptors: 3 }),
        (counted(u64::MAX, 0), ClaimMalformed::Count { count: u64::MAX }),
        (counted(1, u64::MAX), ClaimMalformed::Count { count: u64::MAX }),
    ];
    for (slot, why) in wrong {
        assert_eq!(verdict(&slot), Err(why), "{slot:?}");
    }
    let empty = ClaimSlot::default();
    assert_eq!(check(&empty, 3, 1, 3), Err(ClaimMalformed::Seat { seat: 3, acceptors: 3 }));
    assert_eq!(check(&empty, 0, 0, 0), Err(ClaimMalformed::Seat { seat: 0, acceptors: 0 }));
}

#[test]
fn items_spread_over_their_owners_and_few_move_when_one_goes() {
    let seats: Vec<ReplicaId> = (0..5).map(replica).collect();
    let owners = |seats: &[ReplicaId]| -> Vec<ReplicaId> {
        (0..1000_u32).map(|item| seats[default_owner(&item.to_be_bytes(), seats).unwrap()]).collect()
    };
    let (all, without) = (owners(&seats), owners(&seats[..4]));
    let share = |seat| all.iter().filter(|owner| **owner == replica(seat)).count();
    assert!((0..5).all(|seat| (120..280).contains(&share(seat))), "{:?}", [0, 1, 2, 3, 4].map(share));
    let moved = all.iter().zip(&without).filter(|(before, after)| before != after).count();
    assert_eq!(moved, share(4));
    assert_eq!(default_owner(b"x", &[]), None);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    First(usize),
    Prepare(usize),
    Promise(usize, usize),
    Propose(usize, u8),
    Accept(usize, usize),
    LastWord(usize),
    /// The receiver hears the newest slot of the sender.
    Hear(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    let seat = || 0..3_usize;
    prop_oneof![
        1 => seat().prop_map(Event::First),
        3 => seat().prop_map(Event::Prepare),
        8 => (seat(), seat()).prop_map(|(me, from)| Event::Promise(me, from)),
        6 => (seat(), 0..4_u8).prop_map(|(me, change)| Event::Propose(me, change)),
        8 => (seat(), seat()).prop_map(|(me, from)| Event::Accept(me, from)),
        1 => seat().prop_map(Event::LastWord),
        16 => (seat(), seat()).prop_map(|(me, from)| Event::Hear(me, from)),
    ]
}

struct Register {
    slots: Vec<ClaimSlot>,
    views: Vec<ClaimView>,
    accepts: BTreeMap<(ClaimBallot, Claim), BTreeSet<usize>>,
    /// Values in the order in which they were chosen.
    history: Vec<(ClaimBallot, Claim)>,
}

impl Register {
    /// Everybody hears everybody's newest slot.
    fn tell_all(&mut self) {
        (0..9).for_each(|pair| self.apply(Event::Hear(pair % 3, pair / 3)));
    }

    fn write(&mut self, me: usize, slot: Option<ClaimSlot>) {
        let Some(slot) = slot else { return };
        assert_eq!(check(&slot, u16::try_from(me).unwrap(), 1, 3), Ok(()));
        if let Some(accepted) = slot.accepted {
            let by = self.accepts.entry(accepted).or_default();
            if by.insert(me) && by.len() == 2 {
                self.history.push(accepted);
            }
        }
        self.views[me].put(me, slot.clone());
        self.slots[me] = slot;
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::First(me) => {
                let slot = propose_first(&self.views[me], u16::try_from(me).unwrap(), &self.slots[me], take(me));
                self.write(me, slot);
            }
            Event::Prepare(me) => {
                let slot = prepare(&self.views[me], u16::try_from(me).unwrap(), &self.slots[me]);
                self.write(me, slot);
            }
            Event::Promise(me, from) => {
                let asked = self.views[me].proposal(from);
                let slot = asked.and_then(|(ballot, _)| promise(&self.slots[me], ballot, false, false));
                self.write(me, slot);
            }
            Event::Propose(me, change) => {
                let token = self.views[me].chosen().map_or(0, Claim::token);
                let change = [take(me), Change::Renew { token }, Change::Return { token }, Change::Complete { token }]
                    [usize::from(change)];
                let slot = propose(&self.views[me], u16::try_from(me).unwrap(), &self.slots[me], change);
                self.write(me, slot.map(|(slot, _)| slot));
            }
            Event::Accept(me, from) => {
                let Some((ballot, Some(claim))) = self.views[me].proposal(from) else { return };
                let slot = accept(&self.slots[me], ballot, claim);
                self.write(me, slot);
            }
            Event::LastWord(me) => {
                let slot = last_word(&self.views[me], u16::try_from(me).unwrap(), &self.slots[me]);
                self.write(me, slot);
            }
            Event::Hear(me, from) => {
                let slot = self.slots[from].clone();
                self.views[me].put(from, slot);
            }
        }
    }
}

/// Whether one process, going from one value on, could come to the other by any changes.
fn follows(before: Claim, after: Claim) -> bool {
    match (before, after) {
        (Claim::Done { .. }, _) => before == after,
        (Claim::Held { holder, token, renewal }, Claim::Held { holder: next, token: later, renewal: renewed })
            if token == later =>
        {
            holder == next && renewed >= renewal
        }
        (Claim::Returned { token }, Claim::Held { token: later, .. } | Claim::Done { token: later }) => later > token,
        _ => after.token() >= before.token(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Q3, Q4, and linearizability: the chosen values, in the order in which they were chosen, are a history of one
    /// register on one machine. What a view knows to be chosen was, and an end that one knows all learn, also from the
    /// last slots alone.
    #[test]
    fn the_values_chosen_are_one_history(events in prop::collection::vec(event(), 0..150)) {
        let mut register = Register {
            slots: vec![ClaimSlot::default(); 3],
            views: (0..3).map(|_| ClaimView::new(3, 1, 1)).collect(),
            accepts: BTreeMap::new(),
            history: Vec::new(),
        };
        for event in events {
            register.apply(event);
        }
        let history = register.history.clone();
        for pair in history.windows(2) {
            prop_assert!(pair[0].0 < pair[1].0, "{:?}", history);
            prop_assert!(follows(pair[0].1, pair[1].1), "{:?}", history);
        }
        let mut holders: BTreeMap<u64, ReplicaId> = BTreeMap::new();
        for (_, claim) in &history {
            if let Claim::Held { holder, token, .. } = claim {
                prop_assert_eq!(holders.entry(*token).or_insert(*holder), holder, "token {}", token);
            }
        }
        let knows = |view: &ClaimView, claim: Claim| view.chosen() == Some(claim);
        for view in &register.views {
            prop_assert!(view.chosen().is_none_or(|claim| history.iter().any(|(_, chosen)| *chosen == claim)));
        }
        let end = register.views.iter().filter_map(ClaimView::chosen).find(|claim| claim.is_final());
        if let Some(end) = end {
            register.tell_all();
            for me in 0..3 {
                register.apply(Event::LastWord(me));
            }
            register.tell_all();
            let mut late = ClaimView::new(3, 1, 1);
            register.slots.iter().enumerate().for_each(|(seat, slot)| late.put(seat, slot.clone()));
            prop_assert!(register.views.iter().chain([&late]).all(|view| knows(view, end)), "{:?}", register.slots);
        }
    }
}
