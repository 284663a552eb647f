//! Passes of guests: bearer tokens, told apart from credentials, and judged by the same policy.

use aepoch::trust::{
    credential::CredentialError,
    pass::{self, Pass},
    policy::SwarmPolicy,
};
use serde_json::{Value, json};

use crate::forge::{NOW, alpha_issuer, beta_issuer, claims, forge, header, issue, judge, key, policy, with};

fn pass_claims() -> Value {
    json!({
        "iss": "https://app.example", "sub": "alice", "aud": policy().hash(),
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600, "jti": "p1",
        "swm": { "rooms": [{ "p": "**", "a": ["read", "write", "presence"] }] },
    })
}

fn pass_header(kid: &str) -> String {
    json!({ "alg": "EdDSA", "kid": kid, "typ": "guest+jwt" }).to_string()
}

fn signed(claims: &Value) -> String {
    forge(&pass_header("alphas"), &claims.to_string(), &alpha_issuer())
}

fn admit_by(policy: &SwarmPolicy, token: &str) -> Result<Pass, CredentialError> {
    pass::admit(token, &crate::forge::policy().hash(), policy, NOW)
}

fn refusal(token: &str) -> String {
    admit_by(&policy(), token).unwrap_err().to_string()
}

#[test]
fn what_any_library_for_signed_tokens_can_make_is_a_pass() {
    let pass = admit_by(&policy(), &signed(&pass_claims())).unwrap();
    assert_eq!((pass.subject().as_str(), pass.id(), pass.expires()), ("alice", "p1", NOW + 600));
    let ours = pass::PassClaims::read(&pass_claims()).unwrap().sign("alphas", &alpha_issuer()).unwrap();
    assert_eq!(admit_by(&policy(), &ours), Ok(pass));
}

#[test]
fn a_credential_is_no_pass_and_a_pass_no_credential() {
    assert_eq!(refusal(&issue(&claims())), "`typ` is \"agent+jwt\", must be \"guest+jwt\"");
    let error = judge(&signed(&pass_claims())).unwrap_err().to_string();
    assert_eq!(error, "`typ` is \"guest+jwt\", must be \"agent+jwt\"");
    // Nor under the other's name.
    let renamed = forge(&header("alphas"), &pass_claims().to_string(), &alpha_issuer());
    assert!(matches!(judge(&renamed), Err(CredentialError::Claims(_))));
    let renamed = forge(&pass_header("alphas"), &claims().to_string(), &alpha_issuer());
    assert!(matches!(admit_by(&policy(), &renamed), Err(CredentialError::Claims(_))));
}

#[test]
fn a_pass_obeys_the_policy() {
    let other = SwarmPolicy { version: 2, ..policy() }.hash();
    assert!(refusal(&forge(&pass_header("alphas"), &pass_claims().to_string(), &key(99))).contains("signature"));
    assert!(refusal(&forge(&pass_header("nobody"), &pass_claims().to_string(), &alpha_issuer())).contains("no issuer"));
    for (pointer, value, part) in [
        ("/aud", json!(other), "`aud` is the swarm"),
        ("/nbf", json!(NOW + 3_600), "`exp`"),
        ("/exp", json!(NOW - 30), "expired"),
        ("/exp", json!(NOW + 365 * 86_400), "over the limit"),
        ("/exp", json!(u64::MAX), "the limit is"),
        ("/jti", json!(""), "`jti`"),
        ("/swm/rooms", json!([{ "p": "**/x", "a": [] }]), "`**`"),
        ("/swm/rooms", json!([{ "p": "**", "a": ["own"] }]), "own"),
        ("/swm/del", json!(1), "unknown field `del`"),
    ] {
        let mut spoiled = pass_claims();
        if pointer == "/exp" && value == json!(NOW - 30) {
            spoiled = with(with(spoiled, "/iat", json!(NOW - 600)), "/nbf", json!(NOW - 600));
            spoiled = with(spoiled, "/exp", json!(NOW - 300));
        } else {
            spoiled = with(spoiled, pointer, value);
        }
        let reason = refusal(&signed(&spoiled));
        assert!(reason.contains(part), "{pointer}: {reason}");
    }
    let early = with(with(pass_claims(), "/nbf", json!(NOW + 300)), "/exp", json!(NOW + 500));
    assert!(admit_by(&policy(), &signed(&early)).unwrap_err().is_retryable());
}

#[test]
fn a_newer_policy_revokes_passes_and_confines_issuers() {
    let token = signed(&pass_claims());
    let before = admit_by(&policy(), &token).unwrap();
    let changed = |change: &dyn Fn(&mut SwarmPolicy)| {
        let mut newer = policy();
        change(&mut newer);
        assert_eq!(admit_by(&newer, &token), before.under(&newer), "the same whether it is new or known");
        before.under(&newer)
    };
    let refused = |pass: Result<Pass, CredentialError>| pass.unwrap_err().to_string();
    let revoked = changed(&|policy| policy.revoked = [("alice".parse().unwrap(), NOW)].into());
    assert!(refused(revoked).contains("revokes"));
    assert!(refused(changed(&|policy| policy.allow = Some(["bob".parse().unwrap()].into()))).contains("list"));
    assert!(refused(changed(&|policy| drop(policy.issuers.remove("alphas")))).contains("no issuer"));
    assert!(refused(changed(&|policy| policy.limits.other_seconds = 60)).contains("over the limit of 60"));
    let room = "stage".parse().unwrap();
    assert!(before.scope(&room).allows_content());
    let confined = changed(&|policy| {
        policy.issuers.get_mut("alphas").unwrap().rooms = ["band/**".parse().unwrap()].into();
    });
    assert!(!confined.unwrap().scope(&room).allows_content());
    // Taken over by another key, the issuer's name is not enough.
    let other = changed_key(&before);
    assert!(refused(other).contains("no issuer"));
}

fn changed_key(before: &Pass) -> Result<Pass, CredentialError> {
    let mut newer = policy();
    newer.issuers.get_mut("alphas").unwrap().key = beta_issuer().public();
    before.under(&newer)
}
