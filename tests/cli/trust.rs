//! Keys, a policy, credentials: from nothing to a verdict.

use serde_json::Value;

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
