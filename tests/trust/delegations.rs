//! Cases 7 and 8, and every other rule of passing a credential on.

use aepoch::trust::{
    credential::{CredentialError, admit},
    delegation::{DelegationError, pass_on, unverified},
    pattern::Right,
};
use serde_json::{Value, json};

use crate::forge::{NOW, claims, forge, header, issue, judge, key, policy, with};

/// What `planner` may pass on to `worker`: reading below `band/stage`, for as long as it has it itself.
fn child() -> Value {
    let child = with(with(claims(), "/iss", json!("planner")), "/sub", json!("worker"));
    let child = with(with(child, "/swm/del", json!(1)), "/cnf/jwk/x", json!(key(22).public()));
    with(child, "/swm/rooms", json!([{ "p": "band/stage/**", "a": ["read"] }]))
}

/// And `worker` to `errand`.
fn grandchild() -> Value {
    let grandchild = with(with(child(), "/iss", json!("worker")), "/sub", json!("errand"));
    let grandchild = with(with(grandchild, "/swm/del", json!(0)), "/cnf/jwk/x", json!(key(23).public()));
    with(grandchild, "/swm/rooms", json!([{ "p": "band/stage/left", "a": ["read"] }]))
}

/// Signed by the holder of `seed`.
fn link(seed: u8, claims: &Value) -> String {
    forge(&header(&key(seed).public().thumbprint()), &claims.to_string(), &key(seed))
}

fn chain(parent: &Value, child: &Value) -> String {
    pass_on(&issue(parent), &link(21, child))
}

#[test]
fn a_credential_is_passed_on_twice_and_gets_smaller() {
    let once = chain(&claims(), &child());
    let admitted = judge(&once).unwrap();
    assert_eq!((admitted.agent.as_str(), admitted.key), ("worker", key(22).public()));
    assert!(admitted.allows(&"band/stage/left".parse().unwrap(), Right::Read));
    assert!(!admitted.allows(&"band/stage/left".parse().unwrap(), Right::Write));
    assert!(!admitted.allows(&"band/other".parse().unwrap(), Right::Read));
    let twice = pass_on(&once, &link(22, &grandchild()));
    assert_eq!(judge(&twice).unwrap().agent.as_str(), "errand");
    let shown = unverified(&twice).unwrap();
    assert_eq!(
        shown.iter().map(|(_, claims)| claims.sub.as_str()).collect::<Vec<_>>(),
        ["planner", "worker", "errand"]
    );
}

#[test]
fn case_07_alpha_is_never_passed_on() {
    let alpha = with(claims(), "/swm/tier", json!("alpha"));
    let passed = with(child(), "/swm/tier", json!("alpha"));
    assert!(matches!(judge(&chain(&alpha, &passed)), Err(CredentialError::Delegation(DelegationError::Alpha))));
    assert_eq!(judge(&chain(&alpha, &child())).unwrap().tier.to_string(), "beta", "an alpha may pass on a beta");
}

#[test]
fn case_08_a_credential_does_not_outlive_the_one_it_came_from() {
    let parent_ends = NOW + 600;
    assert!(judge(&chain(&claims(), &with(child(), "/exp", json!(parent_ends)))).is_ok());
    let refused = judge(&chain(&claims(), &with(child(), "/exp", json!(parent_ends + 1)))).unwrap_err();
    assert_eq!(refused, DelegationError::Outlives { found: parent_ends + 1, before: parent_ends }.into());
}

#[test]
fn a_link_allows_no_more_than_the_one_before() {
    let refused = |pointer: &str, value: Value| judge(&chain(&claims(), &with(child(), pointer, value))).unwrap_err();
    let gamma = with(claims(), "/swm/tier", json!("gamma"));
    assert!(matches!(judge(&chain(&gamma, &child())), Err(CredentialError::Delegation(DelegationError::Tier { .. }))));
    for (rooms, right) in [("**", "read"), ("band/*", "admin"), ("crew/**", "read")] {
        let refused = refused("/swm/rooms", json!([{ "p": rooms, "a": [right] }]));
        assert_eq!(refused, DelegationError::Rooms(rooms.to_owned()).into());
    }
    for claim in ["iat", "nbf"] {
        let refused = refused(&format!("/{claim}"), json!(NOW - 61));
        assert!(matches!(refused, CredentialError::Delegation(DelegationError::Begins { .. })), "{refused}");
    }
    assert!(matches!(refused("/swm/del", json!(2)), CredentialError::Delegation(DelegationError::Remaining { .. })));
    let other = policy().next().hash();
    assert!(matches!(refused("/aud", json!(other)), CredentialError::Audience { .. }));
}

#[test]
fn only_the_holder_passes_a_credential_on_and_under_its_name() {
    let thief = pass_on(&issue(&claims()), &link(66, &child()));
    assert!(matches!(judge(&thief), Err(CredentialError::Delegation(DelegationError::Key { .. }))));
    let named = forge(&header(&key(21).public().thumbprint()), &child().to_string(), &key(66));
    assert!(matches!(judge(&pass_on(&issue(&claims()), &named)), Err(CredentialError::Token(_))));
    let foreign = with(child(), "/iss", json!("another"));
    assert!(matches!(
        judge(&chain(&claims(), &foreign)),
        Err(CredentialError::Delegation(DelegationError::Issuer { .. }))
    ));
}

#[test]
fn what_may_not_be_passed_on_is_not_and_nothing_more_than_twice() {
    let fixed = with(claims(), "/swm/del", json!(0));
    let last = with(child(), "/swm/del", json!(0));
    assert!(matches!(
        judge(&chain(&fixed, &last)),
        Err(CredentialError::Delegation(DelegationError::Remaining { found: 0, before: 0 }))
    ));
    let often = issue(&with(claims(), "/swm/del", json!(3)));
    assert_eq!(judge(&often).unwrap_err(), DelegationError::Depth { depth: 3 }.into());
    let thrice = pass_on(&pass_on(&chain(&claims(), &child()), &link(22, &grandchild())), &link(23, &grandchild()));
    assert_eq!(judge(&thrice).unwrap_err(), DelegationError::Depth { depth: 3 }.into());
}

#[test]
fn who_is_revoked_takes_along_what_it_passed_on_before() {
    let at = |name: &str, before| {
        let mut policy = policy();
        policy.revoked.insert(name.parse().unwrap(), before);
        admit(&chain(&with(claims(), "/iat", json!(NOW - 60)), &child()), &crate::forge::policy().hash(), &policy, NOW)
    };
    for name in ["planner", "worker"] {
        assert!(at(name, NOW - 60).is_ok());
        assert!(matches!(at(name, NOW - 59), Err(CredentialError::Revoked { .. })), "{name}");
    }
    // Planner has a fresh credential of its own; what it passed on before the revocation stays void.
    let mut policy = policy();
    policy.revoked.insert("planner".parse().unwrap(), NOW - 30);
    let fresh = with(with(claims(), "/iat", json!(NOW - 30)), "/nbf", json!(NOW - 60));
    let refused = admit(&chain(&fresh, &child()), &crate::forge::policy().hash(), &policy, NOW).unwrap_err();
    assert!(matches!(refused, CredentialError::Delegation(DelegationError::Begins { .. })), "{refused}");
}
