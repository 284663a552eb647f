//! `doc export` and `doc import`: what goes out in one form comes in again, as a whole or not at all.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use aepoch::{
    agent::Agent,
    document::{Document, DocumentError, Transaction},
    engine::{EngineKind, Op},
    id::{DocumentId, ReplicaId},
    limits,
};
use serde_json::{Value, json};

use crate::program::{self, Relay, run, text};

/// A relay that takes what others wrote, and files beside its store.
struct Place {
    folder: tempfile::TempDir,
    relay: Relay,
}

impl Place {
    fn trusting() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::serve_with(&folder.path().join("relay.redb"), &["--trust-forwarding"]);
        Self { folder, relay }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--connect", &self.relay.url, "--json"]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        program::json(&[arguments, &["--connect", &self.relay.url, "--json"]].concat())
    }

    /// It fails with code 1 and says this.
    fn fails(&self, arguments: &[&str], told: &str) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }

    fn content(&self, document: &str) -> Value {
        self.json(&["doc", "export", document, "--format", "json"])
    }
}

/// Content of its own kind: formatting, a deletion, values within values, and numbers of 64 bits.
fn written(kind: EngineKind, replica: u64) -> Document {
    let id = DocumentId::new("default/elsewhere").unwrap();
    let mut document = Document::new(id, kind, ReplicaId::from_bits(replica)).unwrap();
    let ops = [
        Op::MapPut { map: "lights".into(), key: "left".into(), value: json!({ "red": [1, u32::MAX, 0.5, null] }) },
        Op::MapPut { map: "lights".into(), key: "count".into(), value: json!(i64::MAX) },
        Op::ListInsert { list: "jobs".into(), index: None, values: vec![json!("first"), json!(2), json!([])] },
        Op::ListRemove { list: "jobs".into(), range: 1..2 },
        Op::TextInsert { text: "notes".into(), index: None, chars: "slow 🎵 and loud".to_owned() },
        Op::TextFormat { text: "notes".into(), range: 5..6, attribute: "bold".into(), value: json!(true) },
    ];
    ops.into_iter().for_each(|op| change(&mut document, op));
    document
}

fn change(document: &mut Document, op: Op) {
    let plan = |transaction: &mut Transaction<'_>| {
        transaction.content(op);
        Ok::<_, DocumentError>(())
    };
    document.transact(1_000, false, plan).unwrap();
}

fn save(document: &Document, file: &str) {
    std::fs::write(file, document.content().snapshot()).unwrap();
}

#[test]
fn a_yjs_update_comes_in_and_goes_out_without_loss_and_only_once() {
    let place = Place::trusting();
    let (file, again) = (place.file("in.bin"), place.file("out.bin"));
    save(&written(EngineKind::Yrs, 77), &file);
    let first = place.json(&["doc", "import", "stage", "--format", "yjs", &file]);
    assert_eq!((&first["writers"], &first["document"]), (&json!(1), &json!("default/stage")));
    assert!(first["insertions"].as_u64().unwrap() > 15, "{first}");
    let content = place.content("stage");
    assert_eq!(content["map/lights"], json!({ "left": { "red": [1, u32::MAX, 0.5, null] }, "count": i64::MAX }));
    assert_eq!(content["list/jobs"], json!(["first", []]));
    let runs = json!([
        { "text": "slow ", "attributes": {} },
        { "text": "🎵", "attributes": { "bold": true } },
        { "text": " and loud", "attributes": {} },
    ]);
    assert_eq!(content["text/notes"], runs);

    let exported = place.json(&["doc", "export", "stage", "--format", "yjs", "--into", &again]);
    assert_eq!(exported["bytes"].as_u64().unwrap(), std::fs::metadata(&again).unwrap().len());
    place.json(&["doc", "import", "copy", "--format", "yjs", &again]);
    let shown = |document| place.json(&["doc", "show", "--document", document])["value"].clone();
    let digest = |document| place.json(&["doc", "digest", "--document", document])["digest"].clone();
    assert_eq!((place.content("copy"), shown("copy")), (content, shown("stage")));
    assert_eq!(digest("copy"), digest("stage"));

    // What is here already changes nothing; what was written since is kept.
    place.json(&["state", "set", "text/notes", "!", "--document", "copy"]);
    let kept = place.content("copy");
    let repeated = place.json(&["doc", "import", "copy", "--format", "yjs", &again]);
    assert_eq!((&repeated["insertions"], &repeated["deletions"]), (&json!(0), &json!(0)));
    assert_eq!(place.content("copy"), kept);
}

#[test]
fn json_is_replaced_key_by_key_and_comes_in_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    // Any relay takes it.
    let place = Place { relay: Relay::serve(&folder.path().join("relay.redb")), folder };
    let set = |path, value| place.json(&["state", "set", path, value, "--document", "stage"]);
    set("map/lights/left", "\"green\"");
    set("map/lights/right", "\"blue\"");
    set("text/notes", "old");
    set("list/jobs", "old");
    set("counter/takes", "5");
    set("register/other", "1");
    let content = json!({
        "map/lights": { "left": "red", "a/b": [1] },
        "list/jobs": ["x", { "y": null }],
        "text/notes": [{ "text": "lo", "attributes": { "bold": true } }, { "text": "ud", "attributes": {} }],
        "register/setlist": ["intro"],
        "counter/takes": 2,
    });
    let import = |document: &str| {
        let mut command = program::program(&["doc", "import", document, "--format", "json", "-", "--json"]);
        command.args(["--connect", &place.relay.url]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(import("stage")["written"], json!(2 + 2 + 4 + 1 + 1));
    let mut wanted = content.clone();
    wanted["map/lights"]["right"] = json!("blue");
    wanted["register/other"] = json!(1);
    assert_eq!(place.content("stage"), wanted);
    assert_eq!(import("stage")["written"], json!(0));
    import("copy");
    assert_eq!(place.content("copy"), content);

    let plain = place.file("plain.json");
    std::fs::write(&plain, json!({ "text/notes": "plain", "register/setlist": null }).to_string()).unwrap();
    place.json(&["doc", "import", "copy", "--format", "json", &plain]);
    let now = place.content("copy");
    assert_eq!((&now["text/notes"], &now["register/setlist"]), (&json!("plain"), &Value::Null));
}

#[test]
fn a_relay_that_trusts_nobody_takes_an_update_into_its_store_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("relay.redb");
    let place = Place { relay: Relay::serve(&store), folder };
    let file = place.file("in.bin");
    save(&written(EngineKind::Yrs, 77), &file);
    place.json(&["state", "set", "map/lights/right", "1", "--document", "stage"]);
    let before = place.content("stage");
    place.fails(&["doc", "import", "stage", "--format", "yjs", &file], "--trust-forwarding");
    assert_eq!(place.content("stage"), before);

    let Place { folder, relay } = place;
    #[cfg(unix)]
    assert_eq!(relay.terminate(), Some(0));
    let path = store.to_str().unwrap();
    program::json(&["doc", "import", "stage", "--format", "yjs", &file, "--store", path, "--json"]);
    let stored = program::json(&["doc", "export", "stage", "--format", "json", "--store", path, "--json"]);
    assert_eq!(stored["map/lights"]["right"], json!(1));
    assert_eq!(stored["list/jobs"], json!(["first", []]));
    let place = Place { relay: Relay::serve(&store), folder };
    assert_eq!(place.content("stage"), stored);
}

#[test]
fn what_is_damaged_too_large_or_of_another_kind_changes_nothing() {
    let place = Place::trusting();
    let (good, bad) = (place.file("in.bin"), place.file("bad.bin"));
    save(&written(EngineKind::Yrs, 77), &good);
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&bad, &bytes[..bytes.len() / 2]).unwrap();
    place.fails(&["doc", "import", "new", "--format", "yjs", &bad], "update refused");
    let mut document = written(EngineKind::Yrs, 77);
    let before = document.content().frontier();
    change(&mut document, Op::MapPut { map: "lights".into(), key: "late".into(), value: json!(1) });
    std::fs::write(&bad, document.content().delta_since(&before, None).unwrap()).unwrap();
    place.fails(&["doc", "import", "new", "--format", "yjs", &bad], "builds on what is not here: writer 77");
    place.fails(&["doc", "import", "new", "--format", "automerge", &good], "no automerge document");
    place.fails(&["doc", "import", "new", "--format", "json", &good], "no JSON");
    place.fails(&["doc", "import", "new", "--format", "yjs", &place.file("none")], "cannot be read");
    std::fs::write(&bad, json!({ "map/lights": { "left": 1 }, "song/a": 1 }).to_string()).unwrap();
    place.fails(&["doc", "import", "new", "--format", "json", &bad], "`song/a` must start with");
    let large = std::fs::File::create(&bad).unwrap();
    large.set_len(limits::DOCUMENT_BYTES as u64 + 1).unwrap();
    place.fails(&["doc", "import", "new", "--format", "yjs", &bad], "is over the limit of 67108864 bytes");
    place.fails(&["doc", "export", "new", "--format", "yjs"], "no document `default/new`");

    // Within the limit of a file, but not of one transaction.
    place.json(&["state", "set", "map/lights/right", "1", "--document", "stage"]);
    let before = place.content("stage");
    let content = json!({ "map/lights": { "left": 1 }, "text/notes": "x".repeat(limits::UPDATE_BYTES + 1) });
    std::fs::write(&bad, content.to_string()).unwrap();
    place.fails(&["doc", "import", "stage", "--format", "json", &bad], "over the limit of");
    std::fs::write(&bad, json!({ "text/notes": "a", "list/lights": [1] }).to_string()).unwrap();
    place.fails(&["doc", "import", "stage", "--format", "json", &bad], "`lights` is a map, not a list");
    assert_eq!(place.content("stage"), before);
    place.fails(&["doc", "export", "stage", "--format", "automerge"], "held with yrs: its formats are yjs and json");
}

/// An agent has one number in all its documents: yrs alone would take what another of them holds under it for known.
#[test]
fn what_another_document_holds_under_the_same_number_is_not_taken_for_known() {
    let place = Place::trusting();
    let (one, other) = (place.file("one.bin"), place.file("other.bin"));
    let id = DocumentId::new("default/elsewhere").unwrap();
    for (file, chars) in [(&one, "first"), (&other, "other")] {
        let mut document = Document::new(id.clone(), EngineKind::Yrs, ReplicaId::from_bits(77)).unwrap();
        change(&mut document, Op::TextInsert { text: "notes".into(), index: None, chars: chars.to_owned() });
        save(&document, file);
    }
    place.json(&["doc", "import", "stage", "--format", "yjs", &one]);
    place.fails(&["doc", "import", "stage", "--format", "yjs", &other], "holds under number 4d something else");
    assert_eq!(place.content("stage")["text/notes"], json!("first"));
}

#[test]
fn an_automerge_document_goes_out_as_automerge_saves_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("a.redb"), folder.path().join("out.automerge"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let agent = Agent::builder("writer").swarm("default").store(&store).open().await.unwrap();
        let document = agent.document_with("stage", EngineKind::Automerge).await.unwrap();
        document.map("lights").put("left", &json!("red")).unwrap();
        document.flush().await.unwrap();
        drop(document);
        agent.close().await.unwrap();
    });
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let export = |format: &str, into: &PathBuf| {
        run(&["doc", "export", "stage", "--format", format, "--into", &at(into), "--store", &at(&store)])
    };
    let output = export("automerge", &file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("exported "), "{}", text(&output.stderr));
    automerge::Automerge::load(&std::fs::read(&file).unwrap()).unwrap();
    let refused = export("yjs", &file);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("held with automerge: its formats are automerge and json"));
    let json = program::json(&["doc", "export", "stage", "--store", &at(&store), "--json"]);
    assert_eq!(json, json!({ "map/lights": { "left": "red" } }));
}

#[test]
fn an_automerge_file_comes_in_and_goes_out_without_loss_and_only_once() {
    use automerge::{AutoCommit, ObjType, ROOT, transaction::Transactable as _};

    let place = Place::trusting();
    let mut one = AutoCommit::new();
    let notes = one.put_object(ROOT, "notes", ObjType::Text).unwrap();
    one.splice_text(&notes, 0, 0, &"soft ".repeat(200)).unwrap();
    let mut other = one.fork();
    for n in 0..40 {
        other.put(ROOT, "plays", n).unwrap();
        other.commit();
    }
    one.put(ROOT, "plays", "many").unwrap();
    one.merge(&mut other).unwrap();
    // Compressed, as other programs save it.
    std::fs::write(place.file("in.automerge"), one.save()).unwrap();
    let import = || place.json(&["doc", "import", "stage", "--format", "automerge", &place.file("in.automerge")]);
    assert_eq!(import()["insertions"], json!(42));
    assert_eq!(place.content("stage")["text/notes"], json!("soft ".repeat(200)));
    let out = place.file("out.automerge");
    place.json(&["doc", "export", "stage", "--format", "automerge", "--into", &out]);
    let mut back = AutoCommit::load(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(back.get_heads(), one.get_heads());
    assert_eq!(import()["insertions"], json!(0));
    // One that is cut off changes nothing.
    let file = one.save();
    std::fs::write(place.file("half.automerge"), &file[..file.len() / 2]).unwrap();
    let refused = place.run(&["doc", "import", "other", "--format", "automerge", &place.file("half.automerge")]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(place.run(&["doc", "export", "other", "--format", "json"]).status.code() != Some(0));
}
