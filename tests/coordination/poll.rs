//! Polls and decisions: stable, exclusive, and the same for everybody.

use std::collections::BTreeMap;

use aepoch::{
    coordination::{
        kernel::{Arrival, arrive},
        poll::{Poll, PollError, PollOutcome, agreed_votes, decision, vote_payload},
    },
    id::ReplicaId,
};
use proptest::prelude::*;

use crate::swarm::{Swarm, definition, roster};

fn voters(weights: &[u32]) -> BTreeMap<ReplicaId, u32> {
    weights.iter().enumerate().map(|(at, weight)| (ReplicaId::from_bits(at as u64 + 1), *weight)).collect()
}

#[test]
fn a_threshold_of_half_or_above_everything_is_refused() {
    let refused = |threshold| Poll::new(voters(&[2, 2]), 2, threshold).unwrap_err().to_string();
    assert_eq!(refused(2), "threshold of 2 is outside 3..=4");
    assert_eq!(refused(5), "threshold of 5 is outside 3..=4");
    assert_eq!(Poll::new(voters(&[1]), 0, 1), Err(PollError::NoOptions));
}

#[test]
fn weight_decides_and_a_poll_fails_when_nothing_can_win() {
    let poll = Poll::new(voters(&[3, 1, 1]), 3, 3).unwrap();
    let votes = |votes: &[(u64, u32)]| votes.iter().map(|(at, option)| (ReplicaId::from_bits(*at), *option)).collect();
    assert_eq!(poll.outcome(&votes(&[(1, 2)])), PollOutcome::Approved(2));
    assert_eq!(poll.outcome(&votes(&[(2, 0), (3, 1)])), PollOutcome::Pending);
    assert_eq!(poll.closed(&votes(&[(2, 0), (3, 1)])), PollOutcome::Failed);
    let even = Poll::new(voters(&[1, 1, 1]), 3, 2).unwrap();
    assert_eq!(even.outcome(&votes(&[(1, 0), (2, 1), (3, 2)])), PollOutcome::Failed);
    assert_eq!(even.outcome(&votes(&[(1, 0), (2, 9), (9, 0)])), PollOutcome::Pending);
    assert_eq!(even.outcome(&votes(&[(2, 9), (3, 9)])), PollOutcome::Failed);
}

#[test]
fn a_closed_poll_and_a_decision_go_by_who_is_in() {
    let mut swarm = Swarm::new(&roster(definition(&[3], 1)));
    for (me, option) in [(0, 1), (1, 0), (2, 1)] {
        let node = &swarm.nodes[me];
        let arrival = Arrival { payload: Some(vote_payload(option)), ..Arrival::default() };
        let slot = arrive(&node.view, me, &node.slot, arrival).unwrap();
        swarm.publish(me, slot);
        assert_eq!((agreed_votes(&swarm.nodes[me].view), decision(&swarm.nodes[me].view)), (None, None));
    }
    (0..3).for_each(|_| swarm.round(&[0, 1, 2], |_| Default::default()));
    let poll = Poll::new(voters(&[1, 1, 1]), 2, 2).unwrap();
    for node in &swarm.nodes {
        assert_eq!(poll.closed(&agreed_votes(&node.view).unwrap()), PollOutcome::Approved(1));
        assert_eq!(decision(&node.view), Some(Some(vote_payload(1))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// P1 and P2: however much of the votes a replica has, what it says is what everybody says in the end.
    #[test]
    fn what_a_replica_says_of_some_votes_is_what_all_say_of_all(
        weights in prop::collection::vec(1..5_u32, 1..8),
        options in prop::collection::vec(0..4_u32, 8),
        extra in 1..9_u64,
        seen in any::<u8>(),
    ) {
        let voters = voters(&weights);
        let weight: u64 = weights.iter().copied().map(u64::from).sum();
        let poll = Poll::new(voters.clone(), 3, (weight / 2 + extra).min(weight)).unwrap();
        let all: BTreeMap<ReplicaId, u32> = voters.keys().copied().zip(options).collect();
        let some = all.iter().enumerate().filter(|(at, _)| seen & (1 << at) != 0).map(|(_, vote)| (*vote.0, *vote.1)).collect();
        let (early, late) = (poll.outcome(&some), poll.outcome(&all));
        prop_assert!(early == PollOutcome::Pending || early == late, "{:?} became {:?}", early, late);
        prop_assert!(late != PollOutcome::Pending);
    }
}
