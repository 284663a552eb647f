//! What a relay serves over HTTP.

use aepoch::engine::EngineKind;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::world::{World, eventually, flushed};

pub(crate) async fn get(world: &World, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(world.relay.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

pub(crate) fn json(body: &str) -> Value {
    let start = body.find(['{', '[']).unwrap();
    let end = body.rfind(['}', ']']).unwrap();
    serde_json::from_str(&body[start..=end]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_documents_and_metrics_are_served() {
    let world = World::new().await;
    let a = world.agent("a").await;
    let document = a.document("stage").await.unwrap();
    document.register("r").set(&41).unwrap();
    document.map("m").put("k", &"v").unwrap();
    flushed(&document).await;
    let (status, body) = get(&world, "/health").await;
    assert_eq!((status, json(&body)["status"].as_str()), (200, Some("ok")));
    let (_, body) = get(&world, "/v1/documents").await;
    let names: Vec<String> =
        json(&body).as_array().unwrap().iter().map(|listed| listed["document"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["test/_swarm", "test/stage"]);
    let (status, body) = get(&world, "/v1/documents/test/stage").await;
    assert_eq!(status, 200, "{body}");
    let shown = json(&body);
    assert_eq!(shown["value"]["register"]["r"], 41, "{shown}");
    assert_eq!(shown["value"]["map"]["m"]["k"], "v", "{shown}");
    assert_eq!(get(&world, "/v1/documents/test/nothing").await.0, 404);
    assert_eq!(get(&world, "/v1/documents/Bad").await.0, 400);
    assert_eq!(get(&world, "/nowhere").await.0, 404);
    let (_, metrics) = get(&world, "/metrics").await;
    for line in [
        "aepoch_connections 1",
        "aepoch_documents 2",
        "aepoch_deltas_received_total",
        "aepoch_lane_bytes_total{lane=\"high\"}",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    a.close().await.unwrap();
    eventually("the connection is counted out", || world.relay.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_of_a_document_is_told_change_by_change() {
    let world = World::new().await;
    let a = world.agent("a").await;
    let me = a.identity().replica.get();
    let (score, stage) =
        (a.document_with("score", EngineKind::Automerge).await.unwrap(), a.document("stage").await.unwrap());
    for step in 0..3 {
        score.map("m").put("step", &step).unwrap();
    }
    stage.map("m").put("k", &1).unwrap();
    flushed(&score).await;
    flushed(&stage).await;

    let (status, body) = get(&world, "/v1/history/test/score").await;
    let told = json(&body);
    // The map is made by a change of its own, which is nobody's.
    assert_eq!((status, &told["changes"], &told["from"]), (200, &4.into(), &1.into()), "{told}");
    let writers: Vec<_> = told["listed"].as_array().unwrap().iter().map(|entry| entry["writer"].as_u64()).collect();
    assert_eq!(writers, [None, Some(me), Some(me), Some(me)]);
    assert_eq!(told.get("value"), None);

    let (_, body) = get(&world, "/v1/history/test/score?from=4").await;
    assert_eq!(json(&body)["listed"].as_array().unwrap().len(), 1, "{body}");
    let (_, body) = get(&world, "/v1/history/test/score?at=3").await;
    let then = json(&body);
    assert_eq!((&then["value"]["map"]["m"]["step"], &then["listed"][0]["seq"]), (&1.into(), &2.into()), "{then}");
    let (_, body) = get(&world, "/v1/history/test/score?at=0").await;
    assert_eq!((&json(&body)["value"], &json(&body)["listed"]), (&serde_json::json!({}), &serde_json::json!([])));

    for (path, status, reason) in [
        ("/v1/history/test/score?at=5", 422, "position 5 is beyond the 4 elements of `history`"),
        ("/v1/history/test/stage", 422, "yrs cannot list past changes"),
        ("/v1/history/test/score?at=-1", 400, "invalid digit"),
        ("/v1/history/test/score?until=3", 400, "unknown field `until`"),
        ("/v1/history/test/nothing", 404, "no document `test/nothing`"),
    ] {
        let (told, body) = get(&world, path).await;
        assert!(told == status && body.contains(reason), "{path}: {told} {body}");
    }
    a.close().await.unwrap();
}
