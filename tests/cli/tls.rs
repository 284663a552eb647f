//! A relay served with TLS, and commands that are told whom to believe.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::program::{self, Relay, run, text};

/// Serves with these options, and what the program said of it.
fn serve(store: &Path, options: &[&str]) -> (Relay, Value) {
    let store = store.to_str().unwrap();
    let mut command = program::program(&["serve", "--listen", "127.0.0.1:0", "--json", "--store", store]);
    let mut child = command.args(options).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    (Relay { child, url: told["url"].as_str().unwrap().to_owned() }, told)
}

#[test]
fn commands_work_over_tls_and_a_wrong_pin_is_named_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, told) = serve(&folder.path().join("relay.redb"), &["--tls-self-signed", "--host", "relay.example"]);
    assert!(relay.url.starts_with("wss://"));
    let (url, pin) = (relay.url.as_str(), told["tls_pin"].as_str().unwrap());
    let file = folder.path().join("relay.tls.crt");
    let file = file.to_str().unwrap();
    let set = ["state", "set", "register/a", "1", "--connect", url, "--tls-pin", pin, "--json"];
    assert_eq!(program::json(&set)["value"], json!(1));
    for trust in [["--tls-pin", pin], ["--tls-ca", file]] {
        let with = |command: &[&str]| program::json(&[command, &["--connect", url, "--json"], &trust[..]].concat());
        assert_eq!(with(&["state", "get", "register/a"]), json!(1));
        assert_eq!(with(&["doc", "show"])["value"]["register"]["a"], json!(1));
        assert_eq!(with(&["doc", "digest", url, url])["equal"], json!(true));
        assert_eq!(with(&["why"]), json!([]));
    }
    let mut by_environment = program::program(&["state", "get", "register/a", "--json"]);
    let by_environment = by_environment.env("AEPOCH_RELAY", url).env("AEPOCH_TLS_CA", file).output().unwrap();
    assert_eq!(text(&by_environment.stdout).trim(), "1", "{}", text(&by_environment.stderr));

    let other = "ab".repeat(32);
    for command in [&["state", "set", "register/a", "2", "--timeout", "1"][..], &["doc", "show"]] {
        let refused = run(&[command, &["--connect", url, "--tls-pin", &other]].concat());
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{said}");
        assert!(said.contains(pin) && said.contains(&other), "{said}");
        let refused = run(&[command, &["--connect", url]].concat());
        let said = text(&refused.stderr);
        assert!(said.contains("no authority known here") && said.contains("--tls-pin"), "{said}");
        let refused = run(&[command, &["--connect", &url.replace("wss", "ws")]].concat());
        assert!(text(&refused.stderr).contains("use wss://"), "{}", text(&refused.stderr));
        let refused = run(&[command, &["--connect", url, "--tls-ca", "nowhere.crt"]].concat());
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("nowhere.crt"), "{}", text(&refused.stderr));
    }
    assert_eq!(run(&["doc", "show", "--tls-pin", "short"]).status.code(), Some(2));
}

/// A relay that did not know the signal would be ended by it.
#[cfg(unix)]
#[test]
fn a_hangup_makes_the_relay_look_at_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["relay.crt", "relay.key"].map(|name| folder.path().join(name));
    let issue = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        std::fs::write(&paths[0], wanted.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&paths[1], key.serialize_pem()).unwrap();
        std::fs::set_permissions(&paths[1], std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    issue();
    let files = ["--tls-cert", paths[0].to_str().unwrap(), "--tls-key", paths[1].to_str().unwrap()];
    let (relay, told) = serve(&folder.path().join("relay.redb"), &files);
    let pin = told["tls_pin"].as_str().unwrap();
    let by_pin = || run(&["doc", "list", "--connect", &relay.url, "--tls-pin", pin]);
    assert!(by_pin().status.success(), "{}", text(&by_pin().stderr));
    issue();
    let hung_up = std::process::Command::new("kill").args(["-HUP", &relay.child.id().to_string()]).status().unwrap();
    assert!(hung_up.success());
    let refused = (0..1_000).map(|_| by_pin()).find(|asked| !asked.status.success()).expect("a new certificate");
    assert!(text(&refused.stderr).contains("has the pin"), "{}", text(&refused.stderr));
    assert_eq!(relay.terminate(), Some(0));
}
