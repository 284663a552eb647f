//! What holds for all inputs: no panic, and no verdict that depends on an order.

use aepoch::trust::{
    pattern::RoomPattern,
    succession::{SignedPolicy, Versions},
};
use proptest::prelude::*;
use serde_json::Value;

use crate::forge::{alpha_issuer, claims, forge, header, issue, judge, policy, roots, signed};

fn segments(wild: bool) -> impl Strategy<Value = String> {
    let segment = if wild { "[ab]|\\*" } else { "[ab]" };
    let rest = if wild { "(/\\*\\*)?" } else { "" };
    let regex = format!("({segment})(/({segment})){{0,3}}{rest}");
    proptest::string::string_regex(&regex).unwrap()
}

/// Versions with siblings, a hand-over, a gap, missing and foreign signatures.
fn versions() -> Vec<SignedPolicy> {
    let second = |life: u64| {
        let mut next = policy().next();
        next.limits.other_seconds = life;
        next
    };
    let follow = |life: u64| {
        let mut next = second(life).next();
        next.roots = roots(1, &[4]);
        next
    };
    let mut all = vec![signed(policy(), &[1]), signed(policy(), &[2])];
    all.extend((100..103).map(|life| signed(second(life), &[1, 2])));
    all.extend((100..103).map(|life| signed(follow(life), &[2, 3, 4])));
    all.extend((100..103).map(|life| signed(follow(life).next(), &[4])));
    all.extend([signed(second(99), &[1]), signed(follow(99), &[1, 2, 4])]);
    all
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(judge(&text).is_err());
        prop_assert!(Versions::read(&bytes).is_err());
        // Past the signature, where only an issuer comes.
        prop_assert!(judge(&forge(&header("alphas"), &text, &alpha_issuer())).is_err());
        prop_assert!(judge(&forge(&text, &claims().to_string(), &alpha_issuer())).is_err());
    }

    #[test]
    fn a_changed_byte_of_a_token_is_never_accepted(at in any::<prop::sample::Index>(), byte in 0_u8..128) {
        let good = issue(&claims());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(judge(&String::from_utf8(bytes).unwrap()).is_err());
    }

    #[test]
    fn the_order_of_claims_does_not_matter(order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle()) {
        let claims = claims();
        let entries: Vec<(&String, &Value)> = claims.as_object().unwrap().iter().collect();
        let parts: Vec<String> = order.iter().map(|at| format!("{:?}:{}", entries[*at].0, entries[*at].1)).collect();
        let payload = format!("{{{}}}", parts.join(","));
        prop_assert_eq!(judge(&forge(&header("alphas"), &payload, &alpha_issuer())), judge(&issue(&claims)));
    }

    #[test]
    fn a_pattern_that_covers_another_matches_all_it_matches(
        wide in segments(true), narrow in segments(true), room in segments(false)
    ) {
        let [wide, narrow]: [RoomPattern; 2] = [wide.parse().unwrap(), narrow.parse().unwrap()];
        let room = room.parse().unwrap();
        prop_assert!(!wide.covers(&narrow) || !narrow.matches(&room) || wide.matches(&room));
        prop_assert!(wide.covers(&wide));
        prop_assert_eq!(wide.to_string().parse::<RoomPattern>().unwrap(), wide);
    }
}

proptest! {
    // Each case verifies some two dozen signatures.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_policy_in_force_does_not_depend_on_the_order_of_delivery(
        versions in Just(versions()).prop_shuffle(), again in any::<prop::sample::Index>()
    ) {
        let swarm = policy().hash();
        let expected = Versions { versions: self::versions() }.in_force(&swarm).unwrap();
        prop_assert_eq!(expected.policy.version, 4);
        let mut versions = versions;
        versions.push(versions[again.index(versions.len())].clone());
        prop_assert_eq!(Versions { versions }.in_force(&swarm).unwrap(), expected);
    }
}
