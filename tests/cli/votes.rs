//! Epochs, polls and decisions between processes that are commands in shells.

use serde_json::json;

use crate::stage::Stage;

#[test]
fn an_epoch_goes_from_phase_to_phase_across_processes() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("epoch create show --phases collect,act --members alpha:a,b");
    stage.done("epoch finish show collect @a --no-wait");
    let early = stage.say("epoch wait show act --wait 0");
    assert_eq!((early.code, &early.value["entered"]), (Some(7), &json!(false)), "{early:?}");
    let wrong = stage.say("epoch finish show act @b");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.error.contains("`act`") && wrong.error.contains("`collect` comes next"), "{}", wrong.error);
    let finished = stage.done("epoch finish show collect @b");
    assert_eq!(finished["phase"], "collect");
    assert_eq!(stage.done("epoch wait show @a")["outcome"], finished["outcome"]);
    assert_eq!(stage.done("epoch wait show act")["entered"], true);
    let said = stage.say_all(["epoch finish show act @a", "epoch finish show act @b"]);
    assert_eq!((said[0].code, &said[0].value["outcome"]), (Some(0), &said[1].value["outcome"]), "{said:?}");
    assert_eq!(stage.done("epoch status show")["kind"], "epoch");
    stage.done("epoch clean show");
    assert_eq!(stage.done("why"), json!([]));
}

#[test]
fn a_poll_approves_what_weighs_enough_and_an_option_is_named_when_there_is_none() {
    let stage = Stage::new();
    stage.introduce(["a", "b", "c"]);
    stage.done("poll create tempo --options slow,fast --members alpha:a,b,c --weight c=3");
    let pending = stage.done("poll vote tempo slow @a");
    assert_eq!((&pending["vote"], &pending["poll"]), (&json!("slow"), &json!("pending")));
    let in_vain = stage.say("poll wait tempo --wait 0");
    assert_eq!((in_vain.code, &in_vain.value["poll"]), (Some(7), &json!("pending")), "{in_vain:?}");
    let none = stage.say("poll vote tempo loud @b");
    assert_eq!(none.code, Some(2));
    assert!(none.error.contains("`loud`") && none.error.contains("slow, fast"), "{}", none.error);
    assert_eq!(stage.done("poll vote tempo fast @c")["poll"], "approved");
    assert_eq!(stage.done("poll wait tempo"), json!({ "poll": "approved", "approved": "fast" }));
    assert_eq!(stage.say("poll vote tempo slow @a").code, Some(1), "a vote is never taken back");
    assert_eq!(stage.done("why"), json!([]), "nobody waits for a poll that has approved something");
    stage.done("poll clean tempo");
}

#[test]
fn a_poll_that_cannot_approve_anything_any_more_ends_with_6() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("poll create tempo --options slow,fast --members alpha:a,b");
    stage.done("poll vote tempo slow @a");
    stage.done("poll vote tempo fast @b");
    let failed = stage.say("poll wait tempo");
    assert_eq!((failed.code, &failed.value["poll"]), (Some(6), &json!("failed")), "{failed:?}");
    let threshold = stage.say("poll create low --options slow,fast --members alpha:a,b --threshold 1");
    assert_eq!(threshold.code, Some(2));
    assert!(threshold.error.contains("threshold of 1 is outside 2..=2"), "{}", threshold.error);
}

#[test]
fn one_of_the_values_proposed_is_decided_for_all() {
    let stage = Stage::new();
    let line = |agent: &str| format!("decide leader \"{agent}\" --as {agent} --members alpha:a,b,c");
    let said = stage.say_all([&line("a"), &line("b"), &line("c")]);
    assert!(said.iter().all(|said| said.code == Some(0)), "{said:?}");
    let values: Vec<_> = said.iter().map(|said| said.value["value"].clone()).collect();
    assert!(["a", "b", "c"].map(|agent| json!(agent)).contains(&values[0]), "{values:?}");
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
}

#[test]
fn what_is_decided_can_be_asked_for_until_it_is_cleaned_up() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    let decided = stage.done("decide key {\"k\":1} @a --members alpha:a,b --tolerate 0");
    assert_eq!(decided["value"], json!({ "k": 1 }));
    assert_eq!(stage.done("decide key")["value"], json!({ "k": 1 }));
    let again = stage.say("decide key 2 @a");
    assert_eq!(again.code, Some(1));
    assert!(again.error.contains("leave the value out"), "{}", again.error);
    stage.done("decide key --clean");
    assert_eq!(stage.say("decide key --wait 0").code, Some(7));
    stage.done("barrier create key --members alpha:a,b");
    let wrong = stage.say("decide key --wait 0");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.error.contains("of kind barrier"), "{}", wrong.error);
}
