//! Epochs: places and generations, and a frontier that never runs ahead.

use std::{sync::Arc, time::Duration};

use aepoch::{
    coordination::{
        barrier::TieredBarrier,
        epoch::{Phases, PhasesError, Position, frontier, laggards},
        kernel::Arrival,
    },
    id::ReplicaId,
    time::{Dice, Monotonic},
};

use crate::swarm::definition;

fn phases(names: &[&str]) -> Result<Phases, PhasesError> {
    Phases::new(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn generations_are_phases_of_one_epoch_after_the_other() {
    let plan = phases(&["collect", "plan", "act"]).unwrap();
    let third = Position { epoch: 2, phase: 1 };
    assert_eq!(plan.position(7), third);
    assert_eq!(plan.generation(third), Some(7));
    assert_eq!((plan.name(third), plan.find(2, "plan")), (Some("plan"), Some(third)));
    assert_eq!(plan.generation(Position { epoch: 0, phase: 3 }), None);
    assert_eq!(plan.generation(Position { epoch: u64::MAX, phase: 0 }), None);
    assert_eq!(phases(&[]), Err(PhasesError::None));
    assert_eq!(phases(&["a", "b", "a"]), Err(PhasesError::Twice("a".to_owned())));
}

#[test]
fn the_frontier_is_the_slowest_members_until_it_is_left_out_by_decision() {
    let definition = Arc::new(definition(&[3], 1));
    let replica = |number| ReplicaId::from_bits(number + 1);
    let mut parts: Vec<TieredBarrier> =
        (0..2).map(|me| TieredBarrier::new(Arc::clone(&definition), replica(me), None).unwrap()).collect();
    let (mut now, mut dice, mut seen) = (Monotonic(0), Dice::new(1), 0);
    for (me, part) in parts.iter_mut().enumerate() {
        assert_eq!(frontier(part), 0, "{me}");
        part.arrive(Arrival::default(), now).unwrap();
        part.persisted();
    }
    for round in 0..40 {
        let told: Vec<_> = parts.iter().map(|part| part.durable().clone()).collect();
        for (me, part) in parts.iter_mut().enumerate() {
            part.hear(replica(1 - me as u64), told[1 - me].clone(), now).unwrap();
            while part.poll(now, &mut dice, |_| false).is_some() {
                part.persisted();
            }
        }
        if round == 20 {
            assert_eq!(frontier(&parts[0]), 0);
            assert_eq!(laggards(&parts[0]).iter().collect::<Vec<_>>(), [2]);
            now = now + Duration::from_secs(15);
        }
        assert!(frontier(&parts[1]) >= seen);
        seen = frontier(&parts[1]);
    }
    assert_eq!((frontier(&parts[0]), seen), (1, 1));
    assert!(laggards(&parts[0]).is_empty());
}
