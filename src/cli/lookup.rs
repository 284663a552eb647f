//! Finding a value in a rendered document by its path. Layer 7.
//!
//! Names of containers and keys of maps hold `/` themselves, so a path does not say where one ends: the longest key
//! that leads to something wins.

use serde_json::Value;

/// Names offered when nothing is found.
const OFFERED: usize = 8;

/// The value at `path`, or a sentence about where the path leaves the document.
pub(super) fn find<'v>(root: &'v Value, path: &str) -> Result<&'v Value, String> {
    if path.is_empty() {
        return Ok(root);
    }
    descend(root, path).ok_or_else(|| explain(root, path))
}

fn descend<'v>(value: &'v Value, rest: &str) -> Option<&'v Value> {
    match value {
        Value::Object(entries) => {
            candidates(entries, rest).into_iter().find_map(|(key, value)| match rest[key.len()..].strip_prefix('/') {
                None => Some(value),
                Some(within) => descend(value, within),
            })
        }
        Value::Array(values) => {
            let (index, within) = rest.split_once('/').map_or((rest, None), |(index, within)| (index, Some(within)));
            let value = values.get(index.parse::<usize>().ok()?)?;
            within.map_or(Some(value), |within| descend(value, within))
        }
        _ => None,
    }
}

/// The entries whose key begins `rest`, longest key first.
fn candidates<'v>(entries: &'v serde_json::Map<String, Value>, rest: &str) -> Vec<(&'v str, &'v Value)> {
    let begins = |key: &str| rest.strip_prefix(key).is_some_and(|after| after.is_empty() || after.starts_with('/'));
    let mut found: Vec<_> =
        entries.iter().filter(|(key, _)| begins(key)).map(|(key, value)| (key.as_str(), value)).collect();
    found.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    found
}

fn explain(root: &Value, path: &str) -> String {
    let (mut parent, mut known) = (root, 0);
    for (at, _) in path.match_indices('/') {
        if let Some(value) = descend(root, &path[..at]) {
            (parent, known) = (value, at);
        }
    }
    let place = if known == 0 { "the document".to_owned() } else { format!("`{}`", &path[..known]) };
    let there = match parent {
        Value::Object(entries) if entries.is_empty() => format!("{place} is empty"),
        Value::Object(entries) => {
            let names: Vec<&str> = entries.keys().take(OFFERED).map(String::as_str).collect();
            let more = if entries.len() > OFFERED { ", ..." } else { "" };
            format!("{place} has {}{more}", names.join(", "))
        }
        Value::Array(values) => format!("{place} has {} elements", values.len()),
        _ => format!("{place} has nothing below it"),
    };
    format!("nothing at `{path}`; {there}")
}

/// The path of the first difference between two rendered documents.
pub(super) fn first_difference(one: &Value, other: &Value) -> Option<String> {
    let below =
        |key: &str, deeper: Option<String>| deeper.map(|rest| format!("{key}/{rest}").trim_end_matches('/').to_owned());
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().find_map(|key| match (left.get(key), right.get(key)) {
                (Some(left), Some(right)) => below(key, first_difference(left, right)),
                _ => Some(key.clone()),
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            let pairs = left.iter().zip(right).enumerate();
            let inner = pairs.map(|(at, (left, right))| (at, first_difference(left, right)));
            let changed =
                inner.filter(|(_, deeper)| deeper.is_some()).map(|(at, deeper)| below(&at.to_string(), deeper));
            changed
                .flatten()
                .next()
                .or_else(|| (left.len() != right.len()).then(|| left.len().min(right.len()).to_string()))
        }
        (left, right) => (left != right).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_key_that_leads_somewhere_wins() {
        let root = json!({ "map": { "files": { "src/a.rs": 1, "src": 2 }, "files/src": { "b.rs": 3 } } });
        assert_eq!(find(&root, "map/files/src/a.rs"), Ok(&json!(1)));
        assert_eq!(find(&root, "map/files/src/b.rs"), Ok(&json!(3)));
        assert_eq!(find(&root, "map/files/src"), Ok(&json!({ "b.rs": 3 })));
        assert_eq!(find(&root, ""), Ok(&root));
    }

    #[test]
    fn elements_of_lists_are_found_by_position() {
        let root = json!({ "register": { "setlist": ["intro", { "name": "outro" }] } });
        assert_eq!(find(&root, "register/setlist/1/name"), Ok(&json!("outro")));
        assert!(find(&root, "register/setlist/2").is_err());
    }

    #[test]
    fn a_path_that_leads_nowhere_is_told_what_there_is() {
        let root = json!({ "register": { "setlist": 1, "tempo": 2 } });
        let told = find(&root, "register/setlst").unwrap_err();
        assert_eq!(told, "nothing at `register/setlst`; `register` has setlist, tempo");
        assert_eq!(find(&root, "counter/takes").unwrap_err(), "nothing at `counter/takes`; the document has register");
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let one = json!({ "map": { "a": { "k": [1, 2] } }, "text": { "t": "x" } });
        assert_eq!(first_difference(&one, &one), None);
        let other = json!({ "map": { "a": { "k": [1, 3] } }, "text": { "t": "y" } });
        assert_eq!(first_difference(&one, &other).as_deref(), Some("map/a/k/1"));
        let longer = json!({ "map": { "a": { "k": [1, 2, 3] } }, "text": { "t": "x" } });
        assert_eq!(first_difference(&one, &longer).as_deref(), Some("map/a/k/2"));
        let without = json!({ "map": { "a": { "k": [1, 2] } } });
        assert_eq!(first_difference(&one, &without).as_deref(), Some("text"));
    }
}
