//! A relay that asks who connects: from nothing to a swarm of its own, as the README has it, and out again.

use serde_json::Value;

use crate::program::{self, Relay, run, text};

#[test]
fn a_swarm_with_two_alphas_and_its_workers_is_set_up_used_and_loses_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (policy, agents) = (at("swarm.json"), at("agents"));
    let begun = program::json(&["policy", "init", &policy, "--new-keys", &at("keys"), "--json"]);
    assert_eq!(begun["in_force"], Value::from(1));
    let (issuer, root) = (at("keys/issuer.key"), at("keys/root.key"));
    let mint = |tier: &str, names: &str| {
        let asked = ["--tier", tier, "--room", "band/**=all", "--agents", names, "--into", &agents];
        let minted = run(&[&["token", "mint", "--policy", &policy, "--key", &issuer], &asked[..]].concat());
        assert!(minted.status.success(), "{}", text(&minted.stderr));
    };
    mint("alpha", "ada,bob");
    mint("gamma", "w1,w2");
    let key = std::fs::read_to_string(at("agents/w1.key")).unwrap();
    mint("gamma", "w1,w2");
    assert_eq!(std::fs::read_to_string(at("agents/w1.key")).unwrap(), key, "a key that is there stays");

    let relay = Relay::serve_with(&folder.path().join("relay.redb"), &["--policy", &policy]);
    let place = ["--connect", &relay.url, "--swarm", "band", "--document", "stage"];
    let who = |name: &str| [at(&format!("agents/{name}.token")), at(&format!("agents/{name}.key"))];
    let with = |name: &str, command: &[&str]| {
        let [credential, key] = who(name);
        run(&[command, &place[..], &["--credential", &credential, "--key", &key]].concat())
    };
    let set = with("w1", &["state", "set", "register/setlist", "[\"intro\"]"]);
    assert!(set.status.success(), "{}", text(&set.stderr));
    let read = with("ada", &["state", "get", "register/setlist", "--json"]);
    assert_eq!(text(&read.stdout).trim(), "[\"intro\"]");

    // Without a credential neither the swarm nor what is served over HTTP can be reached.
    let stranger = run(&[&["state", "set", "register/setlist", "1"], &place[..]].concat());
    assert_eq!(stranger.status.code(), Some(3));
    let told = text(&stranger.stderr);
    assert!(told.contains("turned this agent away") && told.contains("asks for a credential"), "{told}");
    for command in [&["state", "get", "register/setlist"][..], &["doc", "list"]] {
        let stranger = run(&[command, &["--connect", &relay.url]].concat());
        assert!(text(&stranger.stderr).contains("401: this relay asks for a credential"), "{}", text(&stranger.stderr));
    }
    let list = |name: &str| {
        let [credential, key] = who(name);
        run(&["doc", "list", "--connect", &relay.url, "--credential", &credential, "--key", &key])
    };
    assert!(text(&list("w1").stdout).contains("band/stage"));

    // Out within a second of the policy, while the relay runs.
    let revoked = run(&["policy", "revoke", &policy, "--subject", "w1", "--key", &root]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let refused = loop {
        let listed = list("w1");
        if !listed.status.success() {
            break text(&listed.stderr);
        }
    };
    assert!(refused.contains("issued to `w1`"), "{refused}");
    let out = with("w1", &["state", "set", "register/setlist", "[]"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("issued to `w1`"), "{}", text(&out.stderr));
    assert_eq!(text(&with("w2", &["state", "get", "register/setlist", "--json"]).stdout).trim(), "[\"intro\"]");
}
