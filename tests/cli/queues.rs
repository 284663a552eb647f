//! Queues between processes that are commands in shells.

use serde_json::json;

use crate::stage::Stage;

#[test]
fn items_are_pushed_in_one_process_and_done_in_another_each_under_its_token() {
    let stage = Stage::new();
    stage.introduce(["a", "b"]);
    stage.done("queue create jobs --members a,b --tolerate 0");
    stage.done("queue push jobs {\"n\":1} @a --tier gamma");
    let second = stage.done("queue push jobs urgent @a");
    let listed = stage.done("queue list jobs");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["item"], listed[0]["item"]);
    assert!(listed.as_array().unwrap().iter().any(|item| item["item"].to_string().contains("number")), "{listed}");
    assert_eq!(second["tier"], "alpha");
    let done = stage.done("queue work jobs @a --count 2 -- test 0 -lt $AEPOCH_TOKEN".replace('$', "").as_str());
    assert_eq!(done, json!({ "queue": "jobs", "completed": 2, "failed": 0 }));
    assert_eq!(stage.done("queue list jobs"), json!([]));
    stage.done("queue clean jobs");
}
