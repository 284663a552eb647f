//! Case 9, and every other rule of what policy is in force.

use aepoch::trust::{
    cut::Cut,
    dial::{Dial, DialRule},
    policy::{PolicyError, SwarmPolicy},
    quota::Quota,
    record::RecordId,
    succession::{SignedPolicy, Versions},
};

use crate::forge::{in_force, key, policy, roots, signed};

fn rule(rooms: &str, dial: Dial) -> DialRule {
    DialRule { rooms: rooms.parse().unwrap(), dial }
}

#[test]
fn a_dial_is_raised_by_later_versions_and_never_lowered() {
    let dials = |versions: &[&[DialRule]]| {
        let mut chain: Vec<SwarmPolicy> = Vec::new();
        for rules in versions {
            let before = chain.last().map_or_else(policy, SwarmPolicy::next);
            chain.push(SwarmPolicy { trust: rules.iter().cloned().collect(), ..before });
        }
        let swarm = chain[0].hash();
        let versions = chain.into_iter().map(|version| signed(version, &[1, 2])).collect();
        let in_force = Versions { versions }.in_force(&swarm).unwrap();
        ["band/stage", "band/deep/er", "crew"].map(|room| in_force.dial(&room.parse().unwrap()))
    };
    use Dial::{EndToEnd, Open, Relay};
    assert_eq!(dials(&[&[]]), [Relay; 3], "what a room has when nobody says otherwise");
    assert_eq!(dials(&[&[rule("band/*", Open)]]), [Open, Relay, Relay]);
    assert_eq!(dials(&[&[rule("band/*", Open)], &[]]), [Relay; 3], "a rule that is gone says nothing");
    assert_eq!(dials(&[&[rule("**", Open), rule("band/**", EndToEnd)]]), [EndToEnd, EndToEnd, Open]);
    let raised = &[rule("band/*", EndToEnd)][..];
    assert_eq!(dials(&[raised, &[], &[rule("**", Open)]]), [EndToEnd, Relay, Relay], "never lowered");
}

/// The next version, with other roots.
fn handed_over() -> SwarmPolicy {
    SwarmPolicy { roots: roots(2, &[4, 5]), ..policy().next() }
}

#[test]
fn a_swarm_is_named_by_its_first_version_and_needs_its_signatures() {
    let swarm = policy().hash();
    let refused = |versions: Vec<SignedPolicy>| Versions { versions }.in_force(&swarm).unwrap_err();
    assert_eq!(in_force(&swarm, &[signed(policy(), &[1, 3])]), policy());
    assert_eq!(refused(vec![signed(policy(), &[1])]), PolicyError::NoGenesis(swarm), "one of two");
    assert_eq!(refused(vec![signed(policy(), &[1, 9])]), PolicyError::NoGenesis(swarm), "one is no root");
    let mut other = policy();
    other.limits.other_seconds += 1;
    assert_eq!(refused(vec![signed(other, &[1, 2, 3])]), PolicyError::NoGenesis(swarm), "another swarm's");
}

#[test]
fn case_09_a_version_signed_by_the_new_roots_only_is_ignored() {
    let swarm = policy().hash();
    let after = |seeds: &[u8]| in_force(&swarm, &[signed(policy(), &[1, 2]), signed(handed_over(), seeds)]).version;
    assert_eq!(after(&[4, 5]), 1, "new roots only");
    assert_eq!(after(&[1, 2]), 1, "old roots only");
    assert_eq!(after(&[1, 4, 5]), 1, "one old root too few");
    assert_eq!(after(&[1, 2, 4]), 1, "one new root too few");
    assert_eq!(after(&[1, 2, 4, 5]), 2);
}

#[test]
fn a_signature_over_another_version_counts_for_nothing() {
    let mut forged = signed(handed_over(), &[4, 5]);
    forged.signatures.extend(signed(policy(), &[1, 2]).signatures);
    assert_eq!(in_force(&policy().hash(), &[signed(policy(), &[1, 2]), forged]).version, 1);
}

#[test]
fn of_siblings_the_lowest_hash_counts_and_the_others_are_told() {
    let swarm = policy().hash();
    let sibling = |life: u64| {
        let mut next = policy().next();
        next.limits.other_seconds = life;
        signed(next, &[1, 2])
    };
    let siblings: Vec<SignedPolicy> = (100..104).map(sibling).collect();
    let mut hashes: Vec<_> = siblings.iter().map(|version| version.policy.hash()).collect();
    hashes.sort_unstable();
    let versions = [vec![signed(policy(), &[1, 2])], siblings].concat();
    let found = Versions { versions }.in_force(&swarm).unwrap();
    assert_eq!((found.hash, found.siblings), (hashes[0], hashes[1..].to_vec()));
}

#[test]
fn a_version_follows_the_one_it_names_and_leaves_no_gap() {
    let swarm = policy().hash();
    let skipped = SwarmPolicy { version: 3, ..policy().next() };
    assert_eq!(in_force(&swarm, &[signed(policy(), &[1, 2]), signed(skipped, &[1, 2])]).version, 1);
    let second = policy().next();
    let third = second.next();
    assert_eq!(in_force(&swarm, &[signed(third.clone(), &[1, 2]), signed(policy(), &[1, 2])]).version, 1);
    let all = [signed(third, &[1, 2]), signed(policy(), &[1, 2]), signed(second, &[1, 2])];
    assert_eq!(in_force(&swarm, &all).version, 3);
}

#[test]
fn signatures_that_come_apart_count_together() {
    let swarm = policy().hash();
    let mut spoiled = signed(policy(), &[2]);
    let foreign = signed(handed_over(), &[1]).signatures;
    spoiled.signatures.extend(foreign);
    for versions in [[signed(policy(), &[1]), spoiled.clone()], [spoiled.clone(), signed(policy(), &[1])]] {
        assert_eq!(in_force(&swarm, &versions).version, 1, "a wrong signature takes no right one's place");
    }
}

#[test]
fn every_field_is_in_the_hash() {
    let spoil: [fn(&mut SwarmPolicy); 15] = [
        |policy| policy.version = 2,
        |policy| policy.previous = Some(policy.hash()),
        |policy| policy.roots.needed = 1,
        |policy| policy.roots = roots(2, &[1, 2]),
        |policy| policy.issuers.clear(),
        |policy| policy.issuers.get_mut("betas").unwrap().max_tier = "alpha".parse().unwrap(),
        |policy| policy.issuers.get_mut("betas").unwrap().key = key(30).public(),
        |policy| policy.issuers.get_mut("betas").unwrap().rooms.clear(),
        |policy| policy.allow = Some([].into()),
        |policy| policy.revoked = [("a".parse().unwrap(), 1)].into(),
        |policy| policy.limits.alpha_seconds += 1,
        |policy| drop(policy.cuts.insert(key(30).public(), Cut::default())),
        |policy| {
            let survivors = [RecordId::NONE].into();
            policy.cuts = [(key(30).public(), Cut { survivors })].into();
        },
        |policy| policy.trust = [rule("**", Dial::Open)].into(),
        |policy| policy.quotas = [(Quota::UpdateBytes, 1)].into(),
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let mut other = policy();
        spoil(&mut other);
        assert_ne!(other.hash(), policy().hash(), "field {at}");
    }
    assert_eq!(policy().hash().to_string(), "brXQ_KSNUmT1FwgUis9pd_DSpPlL_e1BXQsSD1AMiao", "the encoding is frozen");
    assert!(policy().encode().starts_with(b"swm/pol/1\0"));
}

#[test]
fn what_is_out_of_bounds_is_refused_with_the_value_and_the_limit() {
    let refusal = |spoil: fn(&mut SwarmPolicy)| {
        let mut spoiled = policy();
        spoil(&mut spoiled);
        spoiled.check().unwrap_err().to_string()
    };
    assert_eq!(refusal(|policy| policy.roots.needed = 4), "signatures needed: 4, must be 1 to 3");
    assert_eq!(refusal(|policy| policy.roots.needed = 0), "signatures needed: 0, must be 1 to 3");
    assert_eq!(refusal(|policy| policy.roots = roots(1, &[])), "root keys: 0, must be 1 to 32");
    assert!(refusal(|policy| policy.version = u64::MAX).starts_with("version: 18446744073709551615"));
    assert!(refusal(|policy| policy.version = 2).contains("has no predecessor"));
    assert!(refusal(|policy| policy.roots = roots(1, &[11])).contains("is an issuer too"));
    assert!(
        refusal(|policy| {
            let survivors = (0..=10_000_u32).map(|number| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                RecordId::from_bytes(bytes)
            });
            policy.cuts.insert(key(30).public(), Cut { survivors: survivors.collect() });
        })
        .starts_with("records that survive a cut: 10001")
    );
    assert_eq!(
        refusal(|policy| policy.quotas = [(Quota::AgentConnections, 11)].into()),
        "agent_connections: 11, must be 1 to 10"
    );
    assert_eq!(policy().check(), Ok(()));
}

#[test]
fn a_file_is_read_strictly() {
    let text = serde_json::to_string(&Versions { versions: vec![signed(policy(), &[1, 2])] }).unwrap();
    assert!(Versions::read(text.as_bytes()).is_ok());
    for (from, to, reason) in [
        (r#""ver":1"#, r#""ver":1,"ver":1"#, "stands twice"),
        (r#""ver":1"#, r#""ver":1,"extra":[]"#, "unknown field `extra`"),
        (r#""needed":2"#, r#""needed":9"#, "must be 1 to 3"),
        (r#""needed":2"#, r#""needed":2.0"#, "cannot be read"),
    ] {
        let spoiled = text.replacen(from, to, 1);
        assert_ne!(spoiled, text);
        let refused = Versions::read(spoiled.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}
