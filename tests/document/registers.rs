//! Registers: concurrent values stay visible, strategies are views, overridden values shrink.

use aepoch::{
    document::{Candidate, CustomResolver, Resolver},
    engine::{Change, Origin},
    id::ReplicaId,
};
use serde_json::{Value, json};

use crate::peer::{Peer, kinds};

/// Two replicas whose values of `song` are concurrent; replica 2 wrote later, replica 1 more often.
fn conflict(kind: aepoch::engine::EngineKind) -> [Peer; 2] {
    let [a, b] = Peer::several(kind);
    a.register("song").set(&"draft").unwrap();
    a.register("song").set(&"ours").unwrap();
    b.wall_ms.set(5_000);
    b.register("song").set(&"theirs").unwrap();
    a.sync_to(&b);
    b.sync_to(&a);
    [a, b]
}

#[test]
fn concurrent_values_are_all_visible_until_someone_who_saw_them_writes() {
    for kind in kinds() {
        let [a, b] = conflict(kind);
        for peer in [&a, &b] {
            let values: Vec<_> =
                peer.register::<String>("song").values().unwrap().into_iter().map(|value| value.value).collect();
            assert_eq!(values, [Some(json!("theirs")), Some(json!("ours"))]);
            assert_eq!(peer.document.borrow().conflicts().len(), 1);
        }
        b.register("song").set(&"agreed").unwrap();
        b.sync_to(&a);
        assert_eq!(a.register::<String>("song").values().unwrap().len(), 1);
        assert_eq!(a.register("song").get().unwrap(), Some("agreed".to_owned()));
        assert!(a.document.borrow().conflicts().is_empty());
    }
}

#[test]
fn every_strategy_picks_its_own_and_loses_nothing() {
    fn shortest(candidates: &[Candidate]) -> Option<Value> {
        let values = candidates.iter().filter_map(|candidate| candidate.value.clone());
        values.min_by_key(|value| value.as_str().map_or(0, str::len))
    }
    for kind in kinds() {
        let [a, b] = conflict(kind);
        let c = Peer::new(kind, 3);
        a.sync_to(&c);
        for peer in [&a, &b, &c] {
            let get = |resolver| peer.document.borrow().register("song", &resolver);
            assert_eq!(get(Resolver::LastWriterWins), Some(json!("theirs")));
            assert_eq!(get(Resolver::HighestVersion), Some(json!("ours")));
            assert_eq!(get(Resolver::MultiValue), Some(json!(["theirs", "ours"])));
            let custom = CustomResolver { name: "shortest", choose: shortest };
            assert_eq!(get(Resolver::Custom(custom)), Some(json!("ours")));
            assert_eq!(get(Resolver::Quorum(vec![a.replica(), b.replica(), c.replica()])), None);
        }
    }
}

#[test]
fn a_quorum_counts_what_voters_wrote_last_even_when_they_saw_each_other() {
    for kind in kinds() {
        let [a, b, c] = Peer::several(kind);
        let voters = vec![a.replica(), b.replica(), c.replica()];
        let decided =
            |peer: &Peer| peer.register::<u64>("plan").resolved_by(Resolver::Quorum(voters.clone())).get().unwrap();
        a.register("plan").set(&7).unwrap();
        a.sync_to(&b);
        assert_eq!(decided(&b), None);
        b.register("plan").set(&7).unwrap();
        b.sync_to(&a);
        assert_eq!(decided(&a), Some(7));
        // The overridden vote of `a` must not shrink away.
        assert!(a.document.borrow_mut().shrink_dominated(9_000).unwrap().is_none());
        // Half is not more than half, and strangers have no vote.
        let pair = Resolver::Quorum(vec![a.replica(), c.replica()]);
        assert_eq!(a.register::<u64>("plan").resolved_by(pair).get().unwrap(), None);
        let stranger = Resolver::Quorum(vec![ReplicaId::from_bits(77)]);
        assert_eq!(a.register::<u64>("plan").resolved_by(stranger).get().unwrap(), None);
    }
}

#[test]
fn equal_stamps_are_settled_by_writer() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.register("song").set(&1).unwrap();
        b.register("song").set(&2).unwrap();
        a.sync_to(&b);
        b.sync_to(&a);
        let values = a.register::<u64>("song").values().unwrap();
        assert_eq!(values[0].hlc, values[1].hlc);
        assert_eq!(a.register("song").get().unwrap(), Some(2));
        assert_eq!(b.register("song").get().unwrap(), Some(2));
    }
}

#[test]
fn an_override_is_newer_although_the_clock_is_behind() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let c = Peer::new(kind, 3);
        a.wall_ms.set(50_000);
        a.register("song").set(&1).unwrap();
        a.sync_to(&b);
        b.register("song").set(&2).unwrap();
        // `c` gets the override first.
        b.sync_to(&c);
        a.sync_to(&c);
        assert_eq!(c.register("song").get().unwrap(), Some(2));
        let values = c.register::<u64>("song").values().unwrap();
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].hlc.wall_ms(), 50_001);
    }
}

#[test]
fn a_write_is_newer_than_all_its_replica_has_seen() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.wall_ms.set(50_000);
        a.counter("takes").add(1).unwrap();
        a.sync_to(&b);
        b.register("song").set(&1).unwrap();
        assert_eq!(b.register::<u64>("song").values().unwrap()[0].hlc.wall_ms(), 50_001);
    }
}

#[test]
fn clearing_takes_away_what_was_seen_and_no_more() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.register("song").set(&1).unwrap();
        a.sync_to(&b);
        a.register("song").set(&2).unwrap();
        b.wall_ms.set(9_000);
        b.register::<u64>("song").clear().unwrap();
        assert_eq!(b.register::<u64>("song").get().unwrap(), None);
        b.sync_to(&a);
        a.sync_to(&b);
        // The clearing is newer, so the newest-wins view shows nothing; the other value is still there.
        assert_eq!(a.register::<u64>("song").get().unwrap(), None);
        let all = Resolver::MultiValue;
        assert_eq!(a.document.borrow().register("song", &all), Some(json!([2])));
        assert_eq!(b.document.borrow().register("song", &all), Some(json!([2])));
    }
}

#[test]
fn all_registers_below_a_prefix_are_cleared_at_once() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.commit(|tx| {
            tx.register("set/1").set(&1)?;
            tx.register("set/2").set(&2)?;
            tx.register("other").set(&3)?;
            tx.counter("set/3").add(4)
        });
        a.commit(|tx| {
            assert_eq!(tx.clear_registers("set/")?, 2);
            assert_eq!(tx.clear_registers("set/")?, 0);
            Ok(())
        });
        a.sync_to(&b);
        assert_eq!(b.render(), json!({"register": {"other": 3}, "counter": {"set/3": 4}}));
        b.commit(|tx| tx.clear_registers("").map(|cleared| assert_eq!(cleared, 1)));
        assert_eq!(b.render(), json!({"counter": {"set/3": 4}}));
    }
}

#[test]
fn versions_grow_along_the_chain_of_writers() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        assert_eq!(a.register::<u64>("song").version().unwrap(), 0);
        a.register("song").set(&1).unwrap();
        a.sync_to(&b);
        b.register("song").set(&2).unwrap();
        b.register("song").set(&3).unwrap();
        b.sync_to(&a);
        assert_eq!(a.register::<u64>("song").version().unwrap(), 3);
        let shrunk = a.document.borrow_mut().shrink_dominated(9_000).unwrap();
        assert!(shrunk.is_some());
        assert_eq!(a.register::<u64>("song").version().unwrap(), 3);
    }
}

#[test]
fn a_shrunk_value_does_not_bring_back_what_it_had_overridden() {
    for kind in kinds() {
        let [a, b, c, d] = Peer::several(kind);
        c.register("song").set(&"first").unwrap();
        c.sync_to(&a);
        // `b` knows of the first value only by what the second says about it.
        let second = a.write(|tx| tx.register("song").set(&"second"));
        b.receive(&[second]);
        b.register("song").set(&"third").unwrap();
        b.sync_to(&a);
        let shrunk = a.document.borrow_mut().shrink_dominated(9_000).unwrap().unwrap();
        assert!(a.document.borrow_mut().shrink_dominated(9_000).unwrap().is_none(), "once is enough");
        // `d` sees the first value, and then only the stub of the second and the third.
        c.sync_to(&d);
        d.receive(&[a.lacking(&d).encode().unwrap()]);
        let values = d.register::<String>("song").values().unwrap();
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].value, Some(json!("third")));
        assert_eq!(shrunk.delta.records[0].records.len(), 1);
        assert!(shrunk.delta.records[0].records[0].body.len() <= 2);
    }
}

#[test]
fn patches_tell_old_and_new_with_the_writer() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        let commit = a.commit(|tx| tx.register("song").set(&1));
        let [patch] = &commit.patches[..] else { panic!("{:?}", commit.patches) };
        assert_eq!(patch.origin, Origin::Local);
        b.receive(&[commit.delta.encode().unwrap()]);
        let second = a.write(|tx| tx.register("song").set(&2));
        let applied = b.receive(&[second]);
        let [patch] = &applied.patches[..] else { panic!("{:?}", applied.patches) };
        assert_eq!(patch.path.to_string(), "register/song");
        assert_eq!(patch.change, Change::Put { old: Some(json!(1)), new: Some(json!(2)) });
        assert_eq!((patch.writer, patch.origin), (Some(a.replica()), Origin::Remote));
    }
}
