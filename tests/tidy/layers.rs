//! The layers of the library and what its core must not touch.

use crate::{
    code::{Token, tokens},
    tree::File,
};

/// Modules by layer, lowest first. A module uses lower layers only; on its own layer it uses nobody but itself, except
/// in layer 0, whose modules are one vocabulary.
const LAYERS: [&[&str]; 8] = [
    &["id", "tier", "time", "limits", "error"],
    &["engine", "transport", "store", "trust"],
    &["document"],
    &["sync", "coordination", "wires"],
    &["node", "audit"],
    &["driver"],
    &["agent", "relay", "sim"],
    &["cli", "main"],
];

/// Modules that run on every platform and in the simulator, from arguments alone.
const CORE: [&str; 8] = ["engine", "document", "coordination", "sync", "wires", "trust", "node", "audit"];

/// The one place in the core that may start threads: within a call, with results in the order of what it was given.
const THREADED: &str = "src/node/verification.rs";

/// Words the core must not contain, and what to do instead.
const IMPURE: [(&[&str], &str); 14] = [
    (&["tokio"], "the core does no I/O: emit an output and let a driver act"),
    (&["futures_util"], "the core does not wait: take an input, give an output"),
    (&["Instant"], "take a `Moment` from the caller"),
    (&["SystemTime"], "take a `Moment` from the caller"),
    (&["HashMap"], "iteration order varies between runs: use BTreeMap"),
    (&["HashSet"], "iteration order varies between runs: use BTreeSet"),
    (&["getrandom"], "take a `Dice` from the caller"),
    (&["std", "::", "thread"], "only drivers start threads"),
    (&["std", "::", "net"], "only transports and drivers open sockets"),
    (&["std", "::", "fs"], "only stores and drivers touch files"),
    (&["std", "::", "process"], "only drivers start programs"),
    (&["std", "::", "env"], "settings are arguments"),
    (&["TcpStream"], "only transports and drivers open sockets"),
    (&["UdpSocket"], "only transports and drivers open sockets"),
];

/// The top-level module a file belongs to; `None` for `lib.rs`, which names them all.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then_some(name)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Complains about modules the table does not know: a new module needs a decision on where it stands.
pub(crate) fn unplaced(files: &[File]) -> Vec<String> {
    let unknown = files.iter().filter(|file| module(&file.path).is_some_and(|module| layer(module).is_none()));
    unknown.map(|file| format!("{}: give its module a layer in tests/tidy/layers.rs", file.path)).collect()
}

/// Complains about uses of a higher layer, or of a neighbour on the same one.
pub(crate) fn upward(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let Some(user) = module(&file.path) else { continue };
        let Some(height) = layer(user) else { continue };
        for (line, used) in edges(&file.path, &tokens(&file.text)) {
            let Some(used_height) = layer(&used) else { continue };
            let allowed = used == user || used_height < height || (height == 0 && used_height == 0);
            if !allowed {
                complaints.push(format!(
                    "{}:{line}: `{user}` (layer {height}) uses `{used}` (layer {used_height}); dependencies point down",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// The top-level modules named after `crate::`, after `aepoch::` and after enough `super::` to leave the module.
fn edges(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inside.split('/').count();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let climbed = tokens[at..].chunks(2).take_while(|pair| is(pair, "super")).count();
        let leaves = match tokens[at].text.as_str() {
            "crate" | "aepoch" => is(&tokens[at..], &tokens[at].text).then_some(2),
            _ => (climbed >= depth).then_some(2 * climbed),
        };
        match leaves {
            Some(length) => {
                heads(&tokens[at + length..], &mut found);
                at += length;
            }
            None => at += (2 * climbed).max(1),
        }
    }
    found
}

fn is(tokens: &[Token], word: &str) -> bool {
    tokens.len() >= 2 && tokens[0].text == word && tokens[1].text == "::"
}

/// The first word of a path, or of every path in a `{…}` group.
fn heads(tokens: &[Token], found: &mut Vec<(usize, String)>) {
    let Some(first) = tokens.first() else { return };
    if first.text != "{" {
        found.push((first.line, first.text.clone()));
        return;
    }
    let mut depth = 0;
    for (before, token) in tokens.iter().zip(&tokens[1..]) {
        match before.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
        if depth == 1 && matches!(before.text.as_str(), "{" | ",") {
            found.push((token.line, token.text.clone()));
        }
    }
}

/// Complains about clocks, chance, unordered maps, threads and I/O in the core.
pub(crate) fn impure(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| module(&file.path).is_some_and(|module| CORE.contains(&module))) {
        let tokens = tokens(&file.text);
        for (words, instead) in IMPURE {
            if words == ["std", "::", "thread"] && file.path == THREADED {
                continue;
            }
            let hits = tokens.windows(words.len()).filter(|window| window.iter().map(|token| &token.text).eq(words));
            complaints
                .extend(hits.map(|hit| format!("{}:{}: `{}`: {instead}", file.path, hit[0].line, words.concat())));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<File> {
        vec![File { path: path.to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn an_upward_use_is_found_in_every_form() {
        let forms = [
            "use crate::node::Node;",
            "use crate::{id::AgentId, node};",
            "use crate::{\n    id::{AgentId, DocumentId},\n    node::Node,\n};",
            "fn f(node: &crate::node::Node) {}",
            "use super::super::node::Node;",
            "pub use super::super::{id, node};",
        ];
        for form in forms {
            let complaints = upward(&file("src/sync/session.rs", form));
            assert_eq!(complaints.len(), 1, "{form}");
            assert!(complaints[0].contains("`sync` (layer 3) uses `node` (layer 4)"), "{}", complaints[0]);
        }
    }

    #[test]
    fn neighbours_do_not_see_each_other() {
        assert_eq!(upward(&file("src/engine/mod.rs", "use crate::store::Store;")).len(), 1);
        assert_eq!(upward(&file("src/sync/mod.rs", "use crate::coordination::Kernel;")).len(), 1);
        assert_eq!(upward(&file("src/driver/host.rs", "use crate::relay::Relay;")).len(), 1);
        assert_eq!(upward(&file("src/relay/mod.rs", "use crate::driver::Host;")), Vec::<String>::new());
        assert_eq!(upward(&file("src/id.rs", "use crate::limits;")), Vec::<String>::new());
    }

    #[test]
    fn downward_and_inward_uses_are_fine() {
        let text = "use super::frame::Frame; use crate::{document::node_like, engine::{self, node}, sync::message};
            // use crate::relay;\n const TEXT: &str = \"crate::relay\";";
        assert_eq!(upward(&file("src/sync/session.rs", text)), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_layer_is_found() {
        assert_eq!(unplaced(&file("src/gossip/mod.rs", "")).len(), 1);
        assert_eq!(unplaced(&file("src/lib.rs", "")), Vec::<String>::new());
    }

    #[test]
    fn the_core_is_caught_with_a_clock_a_map_and_a_socket() {
        for text in ["let now = Instant::now();", "HashMap::new()", "use std::net::TcpListener;", "tokio::spawn(f)"] {
            assert_eq!(impure(&file("src/node/mod.rs", text)).len(), 1, "{text}");
            assert_eq!(impure(&file("src/relay/mod.rs", text)), Vec::<String>::new());
        }
        assert_eq!(
            impure(&file("src/node/mod.rs", "// Instant, HashMap: never\nuse std::sync::Arc;")),
            Vec::<String>::new()
        );
    }
}
