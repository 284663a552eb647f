//! Keys, a policy, credentials: from nothing to a verdict.

use serde_json::{Value, json};

use crate::program::{self, run, text};

/// A folder to work in; names are paths within it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a key; returns its public half.
    fn key(&self, name: &str) -> String {
        program::json(&["key", "new", &self.at(name), "--json"])["public"].as_str().unwrap().to_owned()
    }

    /// Mints as the holder of `key`; returns what the program says.
    fn mint(&self, key: &str, holder: &str, more: &[&str]) -> std::process::Output {
        let (policy, key) = (self.at("swarm.json"), self.at(key));
        run(&[&["token", "mint", "--policy", &policy, "--key", &key, "--holder", holder], more].concat())
    }

    /// Exit code and JSON of judging the token by the policy.
    fn inspect(&self, token: &str) -> (Option<i32>, Value) {
        let output = run(&["token", "inspect", &self.at(token), "--policy", &self.at("swarm.json"), "--json"]);
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }
}

fn fails(code: i32, output: &std::process::Output, with: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(with), "{said}");
}

#[test]
fn keys_make_a_policy_the_policy_credentials_and_a_revocation_voids_them() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let [one, two, issuer, planner, worker] = ["one", "two", "issuer", "planner", "worker"].map(|name| desk.key(name));
    let (policy, roots) = (desk.at("swarm.json"), [desk.at("one"), desk.at("two")]);
    let issuer = format!("beta:{issuer}:band/**");
    let init = ["--root", &one, "--root", &two, "--needed", "2", "--issuer", &issuer, "--key", &roots[0], "--json"];
    let begun = program::json(&[&["policy", "init", &policy], &init[..]].concat());
    assert_eq!((&begun["in_force"], &begun["pending"]["lacks"]), (&Value::Null, &Value::from(1)));
    assert_eq!(run(&["policy", "show", &policy]).status.code(), Some(1), "nothing is in force yet");
    let asked = ["--subject", "planner", "--tier", "beta", "--room", "band/**=read,write", "--pass-on", "1"];
    fails(1, &desk.mint("issuer", &planner, &asked), "no signed first version");
    let signed = program::json(&["policy", "sign", &policy, "--key", &roots[1], "--json"]);
    assert_eq!((&signed["in_force"], &signed["swarm"]), (&Value::from(1), &begun["swarm"]));

    std::fs::write(desk.at("planner.token"), desk.mint("issuer", &planner, &asked).stdout).unwrap();
    let from = desk.at("planner.token");
    let smaller = ["--from", &from, "--subject", "worker", "--tier", "gamma", "--room", "band/stage=read"];
    std::fs::write(desk.at("worker.token"), desk.mint("planner", &worker, &smaller).stdout).unwrap();
    for (token, agent, tier, key) in
        [("planner.token", "planner", "beta", &planner), ("worker.token", "worker", "gamma", &worker)]
    {
        let (code, told) = desk.inspect(token);
        assert_eq!(code, Some(0), "{told}");
        let admitted = &told["admitted"];
        assert_eq!(
            (&admitted["agent"], &admitted["tier"], &admitted["key"]),
            (&agent.into(), &tier.into(), &key[..].into())
        );
    }
    fails(1, &desk.mint("issuer", &planner, &["--subject", "planner", "--tier", "alpha"]), "gives beta at most");
    let larger = ["--from", &from, "--subject", "worker", "--tier", "beta", "--room", "crew/*=read"];
    fails(1, &desk.mint("planner", &worker, &larger), "not all granted");

    let revoke = ["policy", "revoke", &policy, "--subject", "planner", "--key", &roots[0], "--json"];
    assert_eq!(program::json(&revoke)["in_force"], 1, "one signature is not enough");
    assert_eq!(desk.inspect("planner.token").0, Some(0));
    fails(1, &run(&revoke), "version 2 lacks signatures");
    assert_eq!(program::json(&["policy", "sign", &policy, "--key", &roots[1], "--json"])["in_force"], 2);
    for token in ["planner.token", "worker.token"] {
        let (code, told) = desk.inspect(token);
        assert_eq!(code, Some(1));
        assert!(told["refused"].as_str().unwrap().contains("the policy revokes"), "{told}");
    }
}

#[test]
fn a_token_of_another_issuer_is_exchanged_for_a_credential_that_counts() {
    use ring::{rand::SystemRandom, signature::*};
    let desk = Desk(tempfile::tempdir().unwrap());
    let [root, issuer, planner] = ["root", "issuer", "planner"].map(|name| desk.key(name));
    let (policy, issuer) = (desk.at("swarm.json"), format!("beta:{issuer}:band/**"));
    let init = ["policy", "init", &policy, "--root", &root, "--issuer", &issuer, "--key", &desk.at("root"), "--json"];
    program::json(&init);
    let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let kept = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    let idp = EcdsaKeyPair::from_pkcs8(kind, kept.as_ref(), &random).unwrap();
    let b64 = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let point = idp.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
    let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y }] });
    std::fs::write(desk.at("jwks.json"), jwks.to_string()).unwrap();
    let config = json!({ "policy": "swarm.json", "key": "issuer", "issuers": [{
        "issuer": "https://idp.example", "audience": "aepoch", "jwks": "jwks.json",
        "tier": "beta", "rooms": [{ "p": "band/**", "a": ["read"] }],
    }] });
    std::fs::write(desk.at("exchange.json"), config.to_string()).unwrap();
    let issue = |name: &str, exp: u64| {
        let claims = json!({ "iss": "https://idp.example", "aud": "aepoch", "sub": "planner", "exp": exp });
        let signed = format!("{}.{}", b64(br#"{"alg":"ES256","kid":"k"}"#), b64(claims.to_string().as_bytes()));
        let signature = idp.sign(&random, signed.as_bytes()).unwrap();
        std::fs::write(desk.at(name), format!("{signed}.{}\n", b64(signature.as_ref()))).unwrap();
    };
    issue("idp.jwt", 4_000_000_000);
    issue("old.jwt", 1_000_000_000);
    let options = ["--tls-self-signed", "--exchange", &desk.at("exchange.json")];
    let relay = program::Relay::serve_with(&desk.0.path().join("relay.redb"), &options);
    let exchange = |token: &str| {
        let (ca, key, token) = (desk.at("relay.tls.crt"), desk.at("planner"), desk.at(token));
        let asked = ["--relay", &relay.url, "--tls-ca", &ca, "--key", &key, "--subject-token", &token];
        run(&[&["token", "exchange"], &asked[..]].concat())
    };
    let exchanged = exchange("idp.jwt");
    assert!(exchanged.status.success(), "{}", text(&exchanged.stderr));
    std::fs::write(desk.at("planner.token"), exchanged.stdout).unwrap();
    let (code, told) = desk.inspect("planner.token");
    assert_eq!((code, &told["admitted"]["key"]), (Some(0), &planner.into()), "{told}");
    fails(1, &exchange("old.jwt"), "expired at 1000000000");
    std::fs::write(desk.at("no.jwt"), "a&grant_type=b").unwrap();
    fails(1, &exchange("no.jwt"), "is no token");
    let without = program::Relay::serve(&desk.0.path().join("other.redb"));
    let asked = ["--key", &desk.at("planner"), "--subject-token", &desk.at("idp.jwt")];
    fails(1, &run(&[&["token", "exchange", "--relay", &without.url], &asked[..]].concat()), "without --exchange");
}

#[test]
fn keys_are_private_and_never_overwritten_and_slips_are_named() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let (path, public) = (desk.at("a.key"), desk.key("a.key"));
    let written = std::fs::read_to_string(&path).unwrap();
    let private: Value = serde_json::from_str(&written).unwrap();
    let shown = run(&["key", "show", &path]);
    let said = text(&shown.stdout) + &text(&shown.stderr);
    assert!(said.contains(&public) && !said.contains(private["d"].as_str().unwrap()), "{said}");
    fails(1, &run(&["key", "new", &path]), "not overwritten");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        fails(1, &run(&["key", "show", &path]), "has mode 640");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let policy = desk.at("swarm.json");
    fails(2, &run(&["policy", "init", &policy, "--root", "short"]), "is no key");
    // One key in 64 begins with a hyphen: it is a value, no option.
    fails(2, &run(&["policy", "init", &policy, "--root", "-short"]), "`-short` is no key");
    fails(2, &desk.mint("a.key", "-short", &["--subject", "planner", "--tier", "beta"]), "`-short` is no key");
    fails(2, &run(&["policy", "init", &policy, "--root", &public, "--needed", "2"]), "must be 1 to 1");
    program::json(&["policy", "init", &policy, "--root", &public, "--key", &path, "--json"]);
    fails(1, &run(&["policy", "init", &policy, "--root", &public]), "not overwritten");
    let other = desk.key("b.key");
    fails(1, &run(&["policy", "sign", &policy, "--key", &desk.at("b.key")]), "is no root");
    fails(1, &run(&["policy", "revoke", &policy, "--issuer", "ghost"]), "no issuer `ghost`");
    fails(1, &desk.mint("b.key", &other, &["--subject", "planner", "--tier", "beta"]), "is no issuer of version 1");
    let granted = ["--subject", "planner", "--tier", "beta", "--room", "a/**/b=read"];
    fails(2, &desk.mint("b.key", &other, &granted), "only be the last segment");
    std::fs::write(desk.at("broken.token"), "a.b").unwrap();
    fails(1, &run(&["token", "inspect", &desk.at("broken.token")]), "this has 2");
}

#[test]
fn a_dial_is_raised_and_a_stolen_key_cut_off_in_new_versions() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let [root, stolen] = ["root", "stolen"].map(|name| desk.key(name));
    let (policy, key) = (desk.at("swarm.json"), desk.at("root"));
    let init = ["policy", "init", &policy, "--root", &root, "--dial", "crew=open", "--key", &key];
    assert!(run(&init).status.success());
    let raise = ["policy", "raise", &policy, "--key", &key, "--json", "--dial"];
    assert_eq!(program::json(&[&raise[..], &["band/**=end-to-end"]].concat())["in_force"], 2);
    fails(2, &run(&[&raise[..], &["band/**=higher"]].concat()), "`higher` is no dial: open, relay, end-to-end");
    // A key or id may begin with a dash.
    let kept = "-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let cut = ["policy", "cut", &policy, "--public", &stolen, "--keep", kept, "--key", &key, "--json"];
    assert_eq!(program::json(&cut)["policy"]["cuts"][&stolen]["survivors"], serde_json::json!([kept]));
    fails(2, &run(&["policy", "cut", &policy, "--public", &stolen, "--keep", "x"]), "`x` is no record id");
    let shown = text(&run(&["policy", "show", &policy]).stdout);
    for line in ["rooms band/**: end-to-end", "rooms crew: open", &format!("cut {stolen}: 1 records survive")] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn a_pass_is_made_looked_into_and_revoked() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let policy = desk.at("swarm.json");
    program::json(&["policy", "init", &policy, "--new-keys", &desk.at("keys"), "--json"]);
    let (issuer, root) = (desk.at("keys/issuer.key"), desk.at("keys/root.key"));
    let pass = |more: &[&str]| {
        run(&[&["token", "pass", "--policy", &policy, "--key", &issuer, "--subject", "alice"], more].concat())
    };
    let made = pass(&["--room", "band/**=read,write,presence", "--life", "60"]);
    std::fs::write(desk.at("alice.pass"), &made.stdout).unwrap();
    let (code, told) = desk.inspect("alice.pass");
    assert_eq!((code, &told["admitted"]["guest"]), (Some(0), &"alice".into()), "{told}");
    let claims = &told["pass"]["claims"];
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    let shown = text(&run(&["token", "inspect", &desk.at("alice.pass")]).stdout).to_owned();
    assert!(shown.contains("a pass for alice") && shown.contains("not verified"), "{shown}");

    fails(2, &pass(&["--room", "band/**=write:register/jobs"]), "content, which has no paths");
    fails(2, &pass(&[]), "--room");
    fails(1, &pass(&["--room", "band/**=read", "--life", "90000"]), "over the limit");
    let other = desk.at("other.key");
    program::json(&["key", "new", &other, "--json"]);
    let foreign = ["token", "pass", "--policy", &policy, "--key", &other, "--subject", "eve", "--room", "**=read"];
    fails(1, &run(&foreign), "is no issuer of version 1");

    assert!(run(&["policy", "revoke", &policy, "--subject", "alice", "--key", &root]).status.success());
    let (code, told) = desk.inspect("alice.pass");
    assert_eq!(code, Some(1), "{told}");
    assert!(told["refused"].as_str().unwrap().contains("revokes"), "{told}");
}
