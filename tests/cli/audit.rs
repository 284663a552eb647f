//! What a served relay records, and what it does when it cannot. Case numbers are those of the threat model.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::program::{self, Relay, run, text};

fn lines(output: &[u8]) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn export(log: &str, options: &[&str]) -> Vec<Value> {
    let output = run(&[&["audit", "export", log, "--format", "json"], options].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    lines(&output.stdout)
}

fn public(log: &str) -> String {
    let shown = program::json(&["key", "show", &format!("{log}.key"), "--json"]);
    shown["public"].as_str().unwrap().to_owned()
}

/// One key in sixty-four begins with a hyphen.
#[test]
fn a_key_that_begins_with_hyphens_is_taken_for_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("none").to_str().unwrap().to_owned();
    let output = run(&["audit", "verify", &log, "--public", "--7XbMd0JQJ0uwh7vsjRJljdIV29O9bivz4otHfCY6g"]);
    let told = text(&output.stderr);
    assert!(!told.contains("unexpected argument") && told.contains(&log), "{told}");
}

#[cfg(unix)]
#[test]
fn what_agents_do_is_recorded_and_what_is_changed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("relay.redb");
    let relay = Relay::serve(&store);
    let at = ["--connect", relay.url.as_str(), "--json"];
    run(&[&["barrier", "status", "none", "--as", "ada"], &at[..]].concat());
    run(&[&["barrier", "arrive", "flash", "--as", "bob", "--members", "alpha:bob"], &at[..]].concat());
    let log = format!("{}.audit", store.display());
    let while_served = run(&["audit", "verify", &log]);
    assert!(while_served.status.success(), "{}", text(&while_served.stdout));
    assert_eq!(relay.terminate(), Some(0));

    let recorded = export(&log, &[]);
    let of = |action: &str, actor: &str| {
        recorded.iter().filter(|record| record["action"] == action && record["actor"] == actor).count()
    };
    assert_eq!((of("connect", "ada"), of("disconnect", "ada"), of("connect", "bob")), (1, 1, 1), "{recorded:?}");
    assert!(of("join", "ada") >= 1, "{recorded:?}");
    assert_eq!(of("define", "bob"), 1, "{recorded:?}");
    let first = &recorded[0];
    assert_eq!((&first["action"], &first["seq"], &first["node"]), (&json!("start"), &json!(1), &json!("relay")));
    assert_eq!(recorded[recorded.len() - 2]["action"], "stop");
    let decided = export(&log, &["--action", "decide"]);
    assert!(decided.iter().any(|record| record["gen"] == 0 && record["outcome"] == "done"), "{decided:?}");
    assert!(export(&log, &["--actor", "ada", "--from", "2999-01-01"]).is_empty());

    let key = public(&log);
    let holds = program::json(&["audit", "verify", &log, "--public", &key, "--json"]);
    assert_eq!((&holds["holds"], &holds["unsigned"]), (&json!(true), &json!(0)));
    let csv = text(&run(&["audit", "export", &log, "--format", "csv"]).stdout);
    assert!(csv.starts_with(
        "v,seq,prev,wall,hlc,node,actor,jti_hash,conn,action,room,def,gen,outcome,reason,policy,record_id\n"
    ));
    assert_eq!(csv.lines().count() - 1, recorded.iter().filter(|record| record["action"] != "checkpoint").count());
    let tail = text(&run(&["audit", "tail", &log, "-n", "2"]).stdout);
    assert_eq!(tail.lines().count(), 2, "{tail}");
    assert!(tail.contains("relay stop done") && tail.contains("checkpoint, signed with"), "{tail}");

    // Case 58.
    let segment = Path::new(&log).join(format!("{:020}.aud", 1));
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"ada").unwrap();
    bytes[at..at + 3].copy_from_slice(b"eve");
    fs::write(&segment, bytes).unwrap();
    let seq = recorded.iter().find(|record| record["actor"] == "ada").unwrap()["seq"].clone();
    let changed = run(&["audit", "verify", &log, "--json"]);
    assert_eq!(changed.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&changed.stdout).unwrap();
    assert_eq!((&told["holds"], &told["seq"], &told["file"]), (&json!(false), &seq, &json!(format!("{:020}.aud", 1))));
    let changed = text(&run(&["audit", "verify", &log]).stdout);
    assert!(changed.contains(&format!("record {seq}")), "{changed}");
}

/// What a relay answers to `GET path`.
#[cfg(target_os = "linux")]
fn get(relay: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(relay.strip_prefix("ws://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Case 59. The relay's process may not write more than a few KiB into one file, and its documents are in memory: what
/// is full is the audit log, and where its messages go.
#[cfg(target_os = "linux")]
#[test]
fn a_relay_whose_disk_is_full_refuses_coordination_and_goes_on_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit");
    let log = log.to_str().unwrap();
    let relay = Relay::serve_limited(&["--memory", "--audit", log], &folder.path().join("messages"));
    let url = relay.url.clone();
    let store = |agent: &str| folder.path().join(format!("{agent}.redb")).to_str().unwrap().to_owned();
    let say = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(at) = words.iter().position(|word| word == "--as") {
            words.extend(["--store".to_owned(), store(&words[at + 1])]);
        }
        words.extend(["--connect", &url, "--json"].map(str::to_owned));
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let value = |line: &str| serde_json::from_slice::<Value>(&say(line).stdout).unwrap();
    let health = || serde_json::from_str::<Value>(&get(&url, "/health")).unwrap();
    // Ada and Bob are known to the swarm.
    for agent in ["ada", "bob"] {
        say(&format!("barrier status none --as {agent}"));
    }
    assert_eq!(health()["status"], "ok");
    let mut looked = 0;
    while health()["status"] == "ok" {
        looked += 1;
        assert!(looked < 1_000, "the log is never full");
        say("state set register/a 0");
    }
    assert!(health()["reason"].as_str().unwrap().contains("audit log"), "{}", health());
    assert!(get(&url, "/metrics").contains("aepoch_audit_failing 1"));

    // Reads and writes of content and records go on.
    assert_eq!(value("state set register/a 7")["value"], 7);
    assert_eq!(value("state get register/a"), 7);
    // A barrier Ada begins is not taken in, so nobody hears of it.
    say("barrier create flash --members alpha:ada,bob --as ada --wait 2s");
    assert_eq!(say("barrier status flash").status.code(), Some(1), "the relay has taken it in");

    relay.lift_limit();
    while health()["status"] != "ok" {}
    assert!(get(&url, "/metrics").contains("aepoch_audit_failing 0"));
    say("barrier create next --members alpha:ada,bob --as bob");
    let status = say("barrier status next");
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(program::json(&["audit", "verify", log, "--public", &public(log), "--json"])["holds"], true);
    // What was refused meanwhile is recorded as well.
    let refused = export(log, &["--action", "ask"]);
    assert!(refused.iter().any(|record| record["actor"] == "ada" && record["outcome"] == "refused"), "{refused:?}");
}
