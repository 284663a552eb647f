//! A document's content as one JSON object, and back: what `doc export --format json` writes. Layer 7.

use aepoch::{
    document::{Document, DocumentError, Resolver, Transaction},
    engine::{Container, ContainerKind, Op, Section, TextSpan, Value},
};
use serde_json::Map;

use super::Failure;

/// The sections that an application has written into.
const SECTIONS: [Section; 5] = [Section::Map, Section::List, Section::Text, Section::Register, Section::Counter];

/// Everything applications have written, by path: `map/lights`, `text/notes`. A text without formatting is a string,
/// one with formatting its runs.
pub(super) fn content_of(document: &Document) -> Result<Value, Failure> {
    let mut content = Map::new();
    let rendered = document.render()?;
    for section in SECTIONS.map(Section::as_str) {
        for (name, value) in rendered[section].as_object().into_iter().flatten() {
            let runs =
                if section == Section::Text.as_str() { document.content().text_spans(name)? } else { Vec::new() };
            let is_formatted = runs.iter().any(|run| !run.attributes.is_empty());
            let value = if is_formatted { serde_json::to_value(runs)? } else { value.clone() };
            content.insert(format!("{section}/{name}"), value);
        }
    }
    Ok(Value::Object(content))
}

/// What is to be written, checked before anything is.
#[derive(Debug)]
pub(super) struct Content(Vec<(String, Part)>);

#[derive(Debug)]
enum Part {
    Map(Map<String, Value>),
    List(Vec<Value>),
    Text(Vec<TextSpan>),
    Register(Value),
    Counter(i64),
}

impl Content {
    /// Reads what [`content_of`] gives.
    pub(super) fn parse(value: Value) -> Result<Self, Failure> {
        let Value::Object(parts) = value else {
            return Err(Failure::failed("the file holds no JSON object of paths, such as {\"map/lights\": {}}"));
        };
        let parts = parts.into_iter().map(|(path, value)| {
            let (section, name) = path.split_once('/').unwrap_or((&path, ""));
            let part = Part::parse(section, value).map_err(|why| Failure::failed(format!("`{path}` {why}")))?;
            if name.is_empty() {
                return Err(Failure::failed(format!("`{path}` lacks a name, for example {section}/notes")));
            }
            Ok((name.to_owned(), part))
        });
        Ok(Self(parts.collect::<Result<_, Failure>>()?))
    }

    /// Plans what it takes for the document to show this; returns how many values that changes.
    pub(super) fn write(&self, transaction: &mut Transaction<'_>) -> Result<usize, DocumentError> {
        let mut changed = 0;
        for (name, part) in &self.0 {
            changed += part.write(name, transaction)?;
        }
        Ok(changed)
    }
}

impl Part {
    fn parse(section: &str, value: Value) -> Result<Self, String> {
        let wrong = |wanted: &str, value: &Value| {
            let found = match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "an array",
                Value::Object(_) => "an object",
            };
            format!("takes {wanted}, not {found}")
        };
        let section = SECTIONS.into_iter().find(|known| known.as_str() == section);
        Ok(match (section, value) {
            (Some(Section::Map), Value::Object(entries)) => Self::Map(entries),
            (Some(Section::List), Value::Array(values)) => Self::List(values),
            (Some(Section::Text), Value::String(text)) => {
                Self::Text(vec![TextSpan { text, attributes: std::collections::BTreeMap::new() }])
            }
            (Some(Section::Text), runs @ Value::Array(_)) => {
                Self::Text(serde_json::from_value(runs).map_err(|error| format!("is no text: {error}"))?)
            }
            (Some(Section::Register), value) => Self::Register(value),
            (Some(Section::Counter), value) => {
                Self::Counter(value.as_i64().ok_or_else(|| wrong("a whole number", &value))?)
            }
            (Some(Section::Map), value) => return Err(wrong("an object", &value)),
            (Some(Section::List), value) => return Err(wrong("an array", &value)),
            (Some(Section::Text), value) => return Err(wrong("a string or an array of runs", &value)),
            _ => {
                let known: Vec<String> = SECTIONS.iter().map(|known| format!("{}/", known.as_str())).collect();
                return Err(format!("must start with one of {}", known.join(", ")));
            }
        })
    }

    fn write(&self, name: &str, transaction: &mut Transaction<'_>) -> Result<usize, DocumentError> {
        let len = |transaction: &Transaction<'_>, kind| {
            transaction.document().content().len(&Container { kind, name: name.into() })
        };
        Ok(match self {
            Self::Map(entries) => {
                let mut changed = 0;
                for (key, value) in entries {
                    if transaction.document().content().map_get(name, key)?.as_ref() != Some(value) {
                        changed += 1;
                        let op = Op::MapPut { map: name.into(), key: key.as_str().into(), value: value.clone() };
                        transaction.content(op);
                    }
                }
                changed
            }
            Self::List(values) => {
                if transaction.document().content().list_values(name)? == *values {
                    return Ok(0);
                }
                let here = len(transaction, ContainerKind::List)?;
                if here > 0 {
                    transaction.content(Op::ListRemove { list: name.into(), range: 0..here });
                }
                let op = Op::ListInsert { list: name.into(), index: Some(0), values: values.clone() };
                if !values.is_empty() {
                    transaction.content(op);
                }
                values.len()
            }
            Self::Text(runs) => {
                if transaction.document().content().text_spans(name)? == *runs {
                    return Ok(0);
                }
                let here = len(transaction, ContainerKind::Text)?;
                if here > 0 {
                    transaction.content(Op::TextRemove { text: name.into(), range: 0..here });
                }
                write_runs(name, runs, transaction)
            }
            Self::Register(value) => {
                let here = transaction.document().register(name, &Resolver::default());
                match value {
                    value if here.as_ref() == Some(value) => 0,
                    Value::Null if here.is_none() => 0,
                    Value::Null => transaction.clear_register(name).map(|()| 1)?,
                    value => transaction.set_register(name, value).map(|()| 1)?,
                }
            }
            Self::Counter(sum) => {
                let here = transaction.document().counter(name);
                match sum.checked_sub(here) {
                    Some(0) => 0,
                    Some(add) => transaction.add_counter(name, add).map(|()| 1)?,
                    None => return Err(DocumentError::Overflow { counter: name.to_owned(), share: here, add: *sum }),
                }
            }
        })
    }
}

/// The characters first, so that no run is formatted like its neighbour.
fn write_runs(name: &str, runs: &[TextSpan], transaction: &mut Transaction<'_>) -> usize {
    let chars: String = runs.iter().map(|run| run.text.as_str()).collect();
    let written = chars.chars().count();
    if written > 0 {
        transaction.content(Op::TextInsert { text: name.into(), index: Some(0), chars });
    }
    let mut from = 0;
    for run in runs {
        let range = from..from + run.text.chars().count();
        from = range.end;
        for (attribute, value) in run.attributes.iter().filter(|_| !range.is_empty()) {
            let (attribute, value) = (attribute.as_str().into(), value.clone());
            transaction.content(Op::TextFormat { text: name.into(), range: range.clone(), attribute, value });
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_content_is_refused_with_its_path() {
        for (value, told) in [
            (json!([1]), "no JSON object"),
            (json!({ "song/a": 1 }), "`song/a` must start with one of map/"),
            (json!({ "map/": {} }), "`map/` lacks a name"),
            (json!({ "map/a": [] }), "`map/a` takes an object, not an array"),
            (json!({ "text/a": 1 }), "`text/a` takes a string or an array of runs, not a number"),
            (json!({ "text/a": [{ "chars": "x" }] }), "`text/a` is no text"),
            (json!({ "counter/a": 1.5 }), "`counter/a` takes a whole number"),
        ] {
            let failure = Content::parse(value).unwrap_err().to_string();
            assert!(failure.contains(told), "{failure}");
        }
    }
}
