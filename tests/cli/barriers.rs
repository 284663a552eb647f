//! Barriers between processes that are commands in shells: what they are told, and with which exit code.

use serde_json::{Value, json};

use crate::{
    program::{run, text},
    stage::{Stage, ended},
};

#[test]
fn three_processes_are_released_together_and_told_the_same() {
    let stage = Stage::new();
    let arrive = |name: &str| {
        let line = |agent: &str| format!("barrier arrive {name} --as {agent} --members alpha:a,b,c");
        stage.say_all([&line("a"), &line("b"), &line("c")])
    };
    let said = arrive("flash");
    for said in &said {
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!((&said.value["standing"], &said.value["generation"]), (&json!("complete"), &json!(0)));
        assert_eq!(said.value["outcome"], json_outcome(&["a", "b", "c"], &[], "complete"));
    }
    // They are gone for good, so nobody reckons with them: nor with those who looked on.
    stage.say("why");
    let swarm = stage.swarm();
    assert_eq!(swarm.get("member").unwrap_or(&json!({})), &json!({}), "{swarm}");
    let said = arrive("next");
    assert!(said.iter().all(|said| said.code == Some(0)), "{said:?}");
}

fn json_outcome(released: &[&str], missing: &[&str], ending: &str) -> Value {
    json!({ "generation": 0, "tiers": [{ "tier": 0, "ending": ending, "released": released, "missing": missing }] })
}

#[test]
fn who_does_not_come_is_left_out_and_late() {
    let stage = Stage::new();
    stage.introduce(["a", "b", "c"]);
    stage.done("barrier create flash --members alpha:a,b,c --tolerate 1 --timeout alpha=200ms");
    let said = stage.say_all(["barrier arrive flash @a", "barrier arrive flash @b"]);
    let degraded = json_outcome(&["a", "b"], &["c"], "degraded");
    for said in said {
        assert_eq!((said.code, &said.value["outcome"]), (Some(4), &degraded), "{said:?}");
    }
    let late = stage.say("barrier arrive flash @c");
    assert_eq!((late.code, &late.value["outcome"]), (Some(5), &degraded), "{late:?}");
    let onlooker = stage.say("barrier wait flash");
    assert_eq!((onlooker.code, &onlooker.value["outcome"]), (Some(4), &degraded), "{onlooker:?}");
}

#[test]
fn a_tier_that_must_not_be_short_breaks_it() {
    let stage = Stage::new();
    stage.introduce(["a", "w1", "w2"]);
    stage.done(
        "barrier create flash --members alpha:a --members beta:w1,w2 --tolerate 1 --timeout alpha=200ms \
         --on-shortfall alpha=break",
    );
    for said in stage.say_all(["barrier arrive flash @w1", "barrier arrive flash @w2"]) {
        assert_eq!((said.code, &said.value["standing"]), (Some(6), &json!("broken")), "{said:?}");
    }
}

#[test]
fn arriving_and_waiting_may_be_two_processes_with_one_store() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    let arrived = stage.done("barrier arrive flash @a --members alpha:a,b --no-wait");
    assert_eq!(arrived, json!({ "barrier": "flash", "agent": "a", "generation": 0, "standing": "arrived" }));
    let again = stage.say("barrier arrive flash @a");
    assert_eq!(again.code, Some(1));
    assert!(again.error.contains("barrier wait"), "{}", again.error);
    let other = stage.done("barrier arrive flash @b");
    assert_eq!(stage.done("barrier wait flash @a")["outcome"], other["outcome"]);
}

#[test]
fn nobody_is_left_out_of_a_strict_barrier_and_cleaning_up_ends_the_waiting() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("barrier create strict --members alpha:a,b --timeout alpha=100ms");
    let overdue = stage.say("barrier arrive strict @a");
    assert_eq!((overdue.code, &overdue.value["missing"]), (Some(7), &json!(["b"])), "{overdue:?}");
    assert_eq!(overdue.value["outcome"], Value::Null);
    stage.done("barrier create patient --members alpha:a,b --timeout alpha=1h");
    let waiting = stage.begin("barrier arrive patient @a");
    while stage.done("barrier status patient")["barrier"]["tiers"][0]["arrived"] != json!(["a"]) {}
    stage.done("barrier clean patient");
    let closed = ended(waiting);
    assert_eq!((closed.code, &closed.value["standing"]), (Some(8), &json!("closed")), "{closed:?}");
    assert_eq!(stage.say("barrier status patient").code, Some(1));
}

#[test]
fn without_its_store_an_agent_has_lost_its_seat() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("barrier create flash --members alpha:a,b");
    let stranger = stage.say("barrier arrive flash --as a");
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.error.contains("--store"), "{}", stranger.error);
}

#[test]
fn why_names_the_missing_alpha_and_says_when_nothing_is_open() {
    let stage = Stage::new();
    stage.introduce(["a", "b", "w"]);
    let nowhere = stage.say("why");
    assert!(
        nowhere.code == Some(1) && nowhere.error.contains("default/stage"),
        "looking creates no document: {nowhere:?}"
    );
    stage.done("barrier create flash --members alpha:a,b --members gamma:w");
    stage.done("barrier arrive flash @a --no-wait");
    stage.done("barrier create other --members alpha:a,b");
    let why = stage.done("why flash");
    let status = &why.as_array().unwrap()[0];
    assert_eq!(status["barrier"]["tiers"][0]["arrived"], json!(["a"]));
    let sentences = status["why"].as_array().unwrap();
    assert!(sentences.contains(&json!("alpha: b has not arrived")), "{sentences:?}");
    assert!(sentences.contains(&json!("gamma: alpha comes first")), "{sentences:?}");
    assert_eq!(stage.done("why").as_array().unwrap().len(), 2);
    let id = status["object"].as_str().unwrap();
    assert_eq!(stage.done(&format!("why {id}"))[0]["object"], status["object"]);
    let unknown = stage.say("why flsh");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.error.contains("flsh") && unknown.error.contains("flash, other"), "{}", unknown.error);
    for name in ["flash", "other"] {
        stage.done(&format!("barrier clean {name}"));
    }
    assert_eq!(stage.done("why"), json!([]));
    let told = stage.text("why");
    assert!(told.contains("nothing is open in default/stage"), "{told}");
}

#[test]
fn why_is_laid_out_for_people() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("barrier arrive flash @a --members alpha:a,b --no-wait");
    let told = stage.text("why");
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("barrier flash  generation 0  open "), "{told}");
    assert_eq!(lines[1], "  alpha  arrived 1 of 2  missing b");
    assert_eq!(lines[2], "    alpha: b has not arrived");
}

#[test]
fn usage_errors_name_the_value() {
    let many: Vec<String> = (0..11).map(|number| format!("a{number}")).collect();
    let many = format!("alpha:{}", many.join(","));
    for (arguments, named) in [
        (&["barrier", "arrive", "x"][..], "--as"),
        (&["barrier", "create", "x"], "`x` has no members"),
        (&["barrier", "create", "x", "--members", "delta:a"], "`delta`"),
        (&["barrier", "create", "x", "--members", "a,b"], "`a,b`"),
        (&["barrier", "create", "x", "--members", &many], "over the limit of 10: raise it with --max-agents"),
        (&["barrier", "create", "x", "--members", "alpha:a,b", "--as", "a"], "`a` would lose its seat"),
        (&["barrier", "create", "x", "--members", "alpha:a", "--timeout", "alpha=soon"], "`soon`"),
        (&["barrier", "create", "x", "--members", "alpha:a", "--tolerate", "most"], "`most`"),
        (&["barrier", "create", "x", "--members", "alpha:a", "--on-shortfall", "hope"], "`hope`"),
        (&["barrier", "create", "x", "--tolerate", "1"], "--members"),
        (&["barrier", "wait", "x", "--wait", "5d"], "`5d`"),
        (&["barrier", "wait", "x", "--store", "a.redb"], "--as"),
        (&["epoch", "create", "x", "--members", "alpha:a"], "--phases"),
        (&["poll", "create", "x", "--members", "alpha:a", "--options", "y", "--weight", "b=2"], "`b` is no member"),
        (&["poll", "vote", "x", "y"], "--as"),
        (&["decide", "x", "1"], "--as"),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?} does not name {named}: {error}");
    }
}
