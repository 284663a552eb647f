//! Cases 1 to 6, 10 and 11, and every other rule of a single credential.

use aepoch::{
    error::Fault,
    tier::Tier,
    trust::{
        credential::{Claims, CredentialError, admit},
        jws::{Jws, TokenError},
        key::PublicKey,
        pattern::Right,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::forge::{
    NOW, alpha_issuer, b64, beta_issuer, claims, forge, header, issue, judge, key, policy, refusal, with, written,
};

#[test]
fn a_good_credential_is_admitted_with_what_it_says() {
    let admitted = judge(&issue(&claims())).unwrap();
    assert_eq!(admitted.agent.as_str(), "planner");
    assert_eq!((admitted.key, admitted.tier, admitted.expires), (key(21).public(), Tier::BETA, NOW + 600));
    assert!(admitted.allows(&"band/stage".parse().unwrap(), Right::Write));
    assert!(!admitted.allows(&"band/stage".parse().unwrap(), Right::Admin), "not granted");
    assert!(!admitted.allows(&"crew/stage".parse().unwrap(), Right::Read), "not granted");
    assert_eq!(judge(&written(claims()).sign("alphas", &alpha_issuer()).unwrap()), Ok(admitted));
}

/// HMAC-SHA-256 (RFC 2104) for keys of up to 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let block = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ pad).collect() };
    let inner = Sha256::new().chain_update(block(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block(0x5c)).chain_update(inner).finalize().to_vec()
}

#[test]
fn case_01_alg_none_and_hs256_with_the_public_key_are_refused() {
    let payload = b64(claims().to_string());
    for alg in ["none", "None", "HS256", "ES256", "eddsa"] {
        let header = b64(json!({ "alg": alg, "kid": "alphas", "typ": "agent+jwt" }).to_string());
        let signed = format!("{header}.{payload}");
        let mac = hmac(alpha_issuer().public().as_bytes(), signed.as_bytes());
        for signature in [Vec::new(), mac, alpha_issuer().sign(signed.as_bytes()).to_vec()] {
            let refused = judge(&format!("{signed}.{}", b64(&signature))).unwrap_err();
            let token = |error| {
                matches!(error, CredentialError::Token(TokenError::Algorithm(_) | TokenError::SignatureLength { .. }))
            };
            assert!(token(refused.clone()), "{alg}: {refused}");
        }
    }
    let missing = forge(r#"{"kid":"alphas","typ":"agent+jwt"}"#, &claims().to_string(), &alpha_issuer());
    assert_eq!(refusal(&missing), "`alg` is missing, must be \"EdDSA\"");
}

#[test]
fn case_02_a_header_that_brings_a_key_or_asks_for_more_is_refused() {
    let thief = key(66);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": thief.public() });
    for (name, value) in
        [("jwk", jwk), ("jku", json!("https://thief.example")), ("x5u", json!("x")), ("crit", json!(["exp"]))]
    {
        let mut header: Value = serde_json::from_str(&header("alphas")).unwrap();
        header[name] = value;
        for signer in [&thief, &alpha_issuer()] {
            let refused = refusal(&forge(&header.to_string(), &claims().to_string(), signer));
            assert!(refused.contains(&format!("`{name}` is refused")), "{refused}");
        }
    }
}

#[test]
fn case_03_times_that_are_no_whole_numbers_are_refused() {
    for claim in ["iat", "nbf", "exp"] {
        let number = claims()[claim].clone();
        let text = with(claims(), &format!("/{claim}"), json!(number.to_string()));
        assert!(refusal(&issue(&text)).contains("claims cannot be read"));
        for spelled in [format!("{number}.0"), format!("{number}e0"), "-1".to_owned(), "null".to_owned()] {
            let payload =
                claims().to_string().replace(&format!("\"{claim}\":{number}"), &format!("\"{claim}\":{spelled}"));
            assert_ne!(payload, claims().to_string());
            let refused = refusal(&forge(&header("alphas"), &payload, &alpha_issuer()));
            assert!(refused.contains("claims cannot be read"), "{claim} {spelled}: {refused}");
        }
        let late = with(claims(), &format!("/{claim}"), json!(u64::MAX));
        assert!(refusal(&issue(&late)).contains("the limit is 253402300799"));
    }
}

#[test]
fn case_04_a_key_that_stands_twice_is_refused() {
    let twice = |from: &str, to: &str| {
        let payload = claims().to_string().replacen(from, to, 1);
        assert_ne!(payload, claims().to_string());
        refusal(&forge(&header("alphas"), &payload, &alpha_issuer()))
    };
    assert!(twice(r#""tier":"beta""#, r#""tier":"alpha","tier":"beta""#).contains("`tier` stands twice"));
    assert!(twice(r#""jti":"1""#, r#""jti":"1","x":[{"y":1,"\u0079":2}]"#).contains("`y` stands twice"));
    let header = r#"{"alg":"none","alg":"EdDSA","kid":"alphas","typ":"agent+jwt"}"#;
    assert!(refusal(&forge(header, &claims().to_string(), &alpha_issuer())).contains("`alg` stands twice"));
}

#[test]
fn case_05_a_credential_for_another_swarm_is_refused() {
    let other = policy().next().hash();
    let refused = judge(&issue(&with(claims(), "/aud", json!(other)))).unwrap_err();
    assert!(matches!(refused, CredentialError::Audience { found, .. } if found == other), "{refused}");
    let several = with(claims(), "/aud", json!([policy().hash(), other]));
    assert!(refusal(&issue(&several)).contains("claims cannot be read"), "one audience, not several");
}

#[test]
fn case_06_an_alpha_of_an_issuer_of_betas_is_a_beta() {
    let alpha = with(claims(), "/swm/tier", json!("alpha"));
    let admitted = judge(&forge(&header("betas"), &alpha.to_string(), &beta_issuer())).unwrap();
    assert_eq!(admitted.tier.to_string(), "beta");
    assert_eq!(judge(&issue(&alpha)).unwrap().tier, Tier::ALPHA);
}

#[test]
fn an_issuer_gives_no_rights_outside_its_rooms() {
    let everywhere = with(claims(), "/swm/rooms", json!([{ "p": "**", "a": ["read"] }]));
    let admitted = judge(&forge(&header("betas"), &everywhere.to_string(), &beta_issuer())).unwrap();
    assert!(admitted.allows(&"band/stage".parse().unwrap(), Right::Read));
    assert!(!admitted.allows(&"crew/stage".parse().unwrap(), Right::Read));
    assert!(judge(&issue(&everywhere)).unwrap().allows(&"crew/stage".parse().unwrap(), Right::Read));
}

/// The eight points of small order (Chalkias et al., "Taming the many EdDSAs", 2020), canonical.
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

#[test]
fn case_10_a_key_of_small_order_is_refused_wherever_it_stands() {
    for hex in SMALL_ORDER {
        let bytes: [u8; 32] = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap();
        let refused = PublicKey::from_bytes(&bytes).unwrap_err().to_string();
        assert!(refused.contains("small order"), "{hex}: {refused}");
        let bound = with(claims(), "/cnf/jwk/x", json!(b64(bytes)));
        assert!(refusal(&issue(&bound)).contains("small order"), "{hex}");
        let issuer = serde_json::to_string(&policy()).unwrap();
        let issuer = issuer.replace(&alpha_issuer().public().to_string(), &b64(bytes));
        let read = serde_json::from_str::<aepoch::trust::policy::SwarmPolicy>(&issuer);
        assert!(read.unwrap_err().to_string().contains("small order"), "{hex}");
    }
}

#[test]
fn case_11_a_retired_key_is_refused_once_the_overlap_is_over() {
    let genesis = policy();
    let swarm = genesis.hash();
    let mut overlap = genesis.next();
    let fresh = aepoch::trust::policy::Issuer { key: key(13).public(), ..genesis.issuers["alphas"].clone() };
    overlap.issuers.insert("alphas-2".to_owned(), fresh);
    let mut after = overlap.next();
    after.issuers.remove("alphas");
    let old = issue(&claims());
    let new = forge(&header("alphas-2"), &claims().to_string(), &key(13));
    for token in [&old, &new] {
        assert!(admit(token, &swarm, &overlap, NOW).is_ok());
    }
    assert!(admit(&new, &swarm, &after, NOW).is_ok());
    let refused = admit(&old, &swarm, &after, NOW).unwrap_err().to_string();
    assert_eq!(refused, "version 3 of the policy has no issuer `alphas`: never had, or it is retired");
}

#[test]
fn a_token_has_one_spelling() {
    let good = issue(&claims());
    for spoiled in [format!("{good}."), format!("{good}.x"), format!("{good}="), format!("{good} "), format!(" {good}")]
    {
        assert!(judge(&spoiled).is_err(), "{spoiled}");
    }
    assert_eq!(refusal(&format!("{good}.x")), "a token has 3 parts joined by dots, this has 4");
    // The last character of 64 bytes carries four bits that must be zero.
    let twin = |last: char| format!("{}{last}", &good[..good.len() - 1]);
    let twins = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().map(twin);
    assert_eq!(twins.filter(|twin| judge(twin).is_ok()).count(), 1);
    let (header, rest) = good.split_once('.').unwrap();
    assert!(refusal(&format!("{header}==.{rest}")).contains("header is not canonical"));
}

#[test]
fn a_token_over_4_kib_and_one_of_another_type_are_refused() {
    let long = issue(&with(claims(), "/note", json!("x".repeat(4096))));
    assert!(refusal(&long).contains("over the limit of 4096"));
    for typ in ["JWT", "agent+JWT", ""] {
        let header = json!({ "alg": "EdDSA", "kid": "alphas", "typ": typ }).to_string();
        assert!(refusal(&forge(&header, &claims().to_string(), &alpha_issuer())).starts_with("`typ` is"), "{typ}");
    }
}

#[test]
fn a_claim_that_is_missing_or_may_restrict_is_refused_and_a_foreign_one_ignored() {
    for claim in ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "cnf", "swm"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(claim);
        assert!(refusal(&issue(&without)).contains(&format!("missing field `{claim}`")), "{claim}");
    }
    assert!(refusal(&issue(&with(claims(), "/swm/lim", json!({ "updates": 1 })))).contains("unknown field `lim`"));
    assert!(refusal(&issue(&with(claims(), "/cnf/jwk/d", json!("secret")))).contains("unknown field `d`"));
    assert!(judge(&issue(&with(claims(), "/email", json!("planner@example")))).is_ok());
}

#[test]
fn a_credential_counts_within_its_time_and_the_leeway() {
    let token = issue(&claims());
    let at = |now| admit(&token, &policy().hash(), &policy(), now);
    let (begins, ends) = (NOW - 60, NOW + 600);
    assert!(at(begins - 30).is_ok() && at(ends + 29).is_ok());
    let early = at(begins - 31).unwrap_err();
    assert!(matches!(early, CredentialError::Early { .. }) && early.is_retryable());
    assert_eq!(early.fault(), Fault::Environment);
    let late = at(ends + 30).unwrap_err();
    assert!(matches!(late, CredentialError::Expired { .. }) && !late.is_retryable());
    assert!(refusal(&issue(&with(claims(), "/exp", json!(NOW - 60)))).contains("is not after"));
}

#[test]
fn a_life_over_the_limit_of_its_tier_is_refused() {
    let ends =
        |tier: &str, life: u64| issue(&with(with(claims(), "/swm/tier", json!(tier)), "/exp", json!(NOW - 60 + life)));
    assert!(judge(&ends("beta", 3600)).is_ok());
    assert!(refusal(&ends("beta", 3601)).contains("3601 s is over the limit of 3600 s for beta"));
    assert!(judge(&ends("alpha", 900)).is_ok());
    assert!(refusal(&ends("alpha", 901)).contains("901 s is over the limit of 900 s for alpha"));
}

#[test]
fn what_was_issued_before_the_revocation_is_void() {
    let issued = NOW - 60;
    let judge = |before: u64| {
        let mut policy = policy();
        policy.revoked.insert("planner".parse().unwrap(), before);
        admit(&issue(&claims()), &crate::forge::policy().hash(), &policy, NOW)
    };
    assert!(judge(issued).is_ok());
    assert!(matches!(judge(issued + 1), Err(CredentialError::Revoked { .. })));
}

#[test]
fn with_a_list_nobody_else_takes_part() {
    let judge = |name: &str| {
        let mut policy = policy();
        policy.allow = Some([name.parse().unwrap()].into());
        admit(&issue(&claims()), &crate::forge::policy().hash(), &policy, NOW)
    };
    assert!(judge("planner").is_ok());
    assert!(matches!(judge("another"), Err(CredentialError::NotListed(_))));
}

#[test]
fn a_signature_of_another_key_or_over_another_text_is_refused() {
    assert!(refusal(&forge(&header("alphas"), &claims().to_string(), &beta_issuer())).contains("not that of the key"));
    let (head, _) = issue(&claims()).rsplit_once('.').map(|(head, tail)| (head.to_owned(), tail.to_owned())).unwrap();
    let other = issue(&with(claims(), "/jti", json!("2")));
    let swapped = format!("{head}.{}", other.rsplit_once('.').unwrap().1);
    assert!(refusal(&swapped).contains("not that of the key"));
    assert_eq!(Claims::read(Jws::parse(&swapped).unwrap().unverified()).unwrap().jti, "1", "shown, not believed");
}
