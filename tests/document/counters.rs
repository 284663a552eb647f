//! Counters: nothing added is lost, nothing is counted twice.

use aepoch::document::DocumentError;

use crate::peer::{Peer, kinds};

#[test]
fn additions_of_all_replicas_count_once() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.counter("takes").add(3).unwrap();
        b.counter("takes").add(-1).unwrap();
        for _ in 0..2 {
            a.sync_to(&b);
            b.sync_to(&a);
            b.receive(&[a.snapshot()]);
        }
        b.counter("takes").add(10).unwrap();
        b.sync_to(&a);
        assert_eq!((a.counter("takes").get().unwrap(), b.counter("takes").get().unwrap()), (12, 12));
        assert_eq!(a.counter("none").get().unwrap(), 0);
    }
}

#[test]
fn an_overflowing_addition_is_refused_and_a_sum_beyond_64_bits_is_held() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.counter("takes").add(i64::MAX).unwrap();
        let error = a.counter("takes").add(1).unwrap_err();
        assert!(matches!(error, DocumentError::Overflow { share: i64::MAX, add: 1, .. }));
        assert_eq!(a.counter("takes").get().unwrap(), i64::MAX);
        b.counter("takes").add(5).unwrap();
        b.sync_to(&a);
        assert_eq!(a.counter("takes").get().unwrap(), i64::MAX);
        // Held for display only: nothing of the sum is lost.
        b.counter("takes").add(-10).unwrap();
        b.sync_to(&a);
        assert_eq!(a.counter("takes").get().unwrap(), i64::MAX - 5);
    }
}
