//! Queues between processes that are commands in shells.

use serde_json::json;

use crate::stage::Stage;

#[test]
fn items_are_pushed_in_one_process_and_done_in_another_each_under_its_token() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("queue create jobs --members a,b --bucket 1h");
    let low = stage.done("queue push jobs {\"n\":1} @a --tier gamma");
    let urgent = stage.done("queue push jobs urgent @a");
    let listed = stage.text("queue list jobs");
    let place = |item: &serde_json::Value| listed.find(item["item"].as_str().unwrap()).unwrap();
    assert!(place(&urgent) < place(&low), "what is urgent comes first: {listed}");
    // It succeeds when there is such a variable, and prints it.
    let first = stage.say("queue work jobs @a --count 1 -- printenv AEPOCH_TOKEN");
    assert_eq!(first.value, json!({ "queue": "jobs", "completed": 1, "failed": 0 }), "{first:?}");
    assert!(first.error.lines().any(|line| line == "1"), "the first holder's token is 1: {}", first.error);
    let left = stage.done("queue list jobs");
    assert_eq!((left.as_array().unwrap().len(), &left[0]["tier"]), (1, &json!(2)), "{left}");
    assert_eq!(stage.done("queue work jobs @b --count 1 -- printenv AEPOCH_ITEM")["completed"], 1);
    assert_eq!(stage.done("queue list jobs"), json!([]));
    stage.done("queue clean jobs");
}

#[test]
fn an_item_whose_command_fails_is_given_back_until_its_attempts_are_used_up() {
    let stage = Stage::new();
    stage.introduce(["a"]);
    stage.done("queue create jobs --members a --attempts 2");
    stage.done("queue push jobs 1 @a");
    let failed = stage.say("queue work jobs @a --count 2 -- false");
    assert_eq!((failed.code, &failed.value["failed"]), (Some(1), &json!(2)), "{failed:?}");
    let dead = stage.text("queue list jobs");
    assert!(dead.contains("dead after token 2") && dead.contains("`false` ended with"), "{dead}");
    let nothing = stage.say("queue work jobs @a --count 1 --wait 500ms -- true");
    assert_eq!((nothing.code, &nothing.value["completed"]), (Some(7), &json!(0)), "{nothing:?}");
    let nobody = stage.say("queue work jobs -- true");
    assert_eq!(nobody.code, Some(2));
}
