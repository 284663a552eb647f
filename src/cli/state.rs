//! `aepoch state`: read, change and watch values. Layer 7.

use std::process::ExitCode;

use aepoch::{
    agent::AgentDocument,
    document::{DocumentError, Transaction},
    engine::{Change, ContainerKind, Origin, Patch, Section, Value},
    id::AgentId,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure,
    connect::{DocumentArgs, Live},
    lookup,
    output::{FAINT, GOOD, Output, STRONG},
};

/// The name under which the program takes part in a swarm.
const AGENT: &str = "cli";

const PATHS: &str = "\
Paths:
  register/setlist          a register: several writers, the newest value is shown
  counter/takes             a counter: everybody adds
  map/files/README.md       a key of a map; map/files is all of it
  list/jobs/0               an element of a list
  text/notes                a text
  agent/planner-1/position  what an agent tells about itself (document _swarm)
  member/planner-1          who is in the swarm (document _swarm)";

/// Values of a document.
#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Print a value.
    Get(GetArgs),
    /// Change a value, and wait until the relay has it on disk.
    Set(SetArgs),
    /// Print every change as it happens.
    Watch(WatchArgs),
}

/// Print a value.
#[derive(Debug, Args)]
#[command(after_help = format!("{PATHS}\n
Examples:
  aepoch state get register/setlist
  aepoch state get map/files --swarm demo --document index --json
  aepoch state get agent/planner-1 --swarm band
  aepoch state get counter/takes --store planner-1.redb     read a file, offline"))]
pub(super) struct GetArgs {
    /// The value's path; the whole document without one.
    #[arg(default_value = "")]
    path: String,
    #[command(flatten)]
    document: DocumentArgs,
}

/// Change a value.
#[derive(Debug, Args)]
#[command(after_help = format!("{PATHS}\n
What a value means depends on the path: registers, keys of maps and agent state are set (null clears them), a counter
is added to, a list gets the value at its end, a text gets the string at its end.

Examples:
  aepoch state set register/setlist '[\"intro\", \"outro\"]'
  aepoch state set counter/takes 1                          adds one
  aepoch state set map/files/README.md null                 removes the key
  aepoch state set register/tempo 120 --store planner-1.redb"))]
pub(super) struct SetArgs {
    /// The value's path.
    path: String,
    /// The value, as JSON; text that is not JSON is taken as a string.
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    document: DocumentArgs,
}

/// Print every change.
#[derive(Debug, Args)]
#[command(after_help = format!("{PATHS}\n
Examples:
  aepoch state watch                                        the whole document
  aepoch state watch map/files --swarm demo --document index
  aepoch state watch agent/ --swarm band                    all agents' states
  aepoch state watch counter/takes --count 1 --json         wait for one change"))]
pub(super) struct WatchArgs {
    /// Only paths that start with this.
    #[arg(default_value = "")]
    prefix: String,
    /// Stop after this many changes.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    document: DocumentArgs,
}

pub(super) fn run(command: StateCommand, output: &Output) -> Result<ExitCode, Failure> {
    let runtime = super::runtime(Some(2))?;
    runtime.block_on(async {
        match command {
            StateCommand::Get(args) => get(&args, output).await,
            StateCommand::Set(args) => set(&args, output).await,
            StateCommand::Watch(args) => watch(&args, output).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn get(args: &GetArgs, output: &Output) -> Result<(), Failure> {
    let shown = args.document.place.source().show(&args.document.id(&args.path)?).await?;
    output.value(lookup::find(&shown.value, &args.path).map_err(Failure::failed)?)
}

async fn set(args: &SetArgs, output: &Output) -> Result<(), Failure> {
    let value = serde_json::from_str(&args.value).unwrap_or_else(|_| Value::String(args.value.clone()));
    let target = Target::parse(&args.path, &value)?;
    let Live { agent, document } = args.document.open(AGENT, &args.path).await?;
    let target = target.settle(&document)?;
    document.transact(|transaction| target.write(transaction, &value))?;
    let flushed = tokio::time::timeout(args.document.place.timeout(), document.flush()).await;
    if flushed.is_err() {
        let why = agent.status().stalled.unwrap_or_else(|| "no reason known".to_owned());
        return Err(Failure::unreachable(format!("the change is not durable yet: {why}")));
    }
    let now = document.read(aepoch::document::Document::render)??;
    let now = lookup::find(&now, &args.path).ok().cloned().unwrap_or_default();
    drop(document);
    agent.close().await?;
    output.answer(format_args!("{} {GOOD}is{GOOD:#} {now}", args.path), &json!({ "path": args.path, "value": now }))
}

/// What a `state set` writes, and where.
#[derive(Debug, PartialEq)]
enum Target {
    Register(String),
    Counter(String, i64),
    Agent(AgentId, String),
    /// A map's name and key in one, and where the name ends.
    Map(String, usize),
    List(String),
    Text(String, String),
}

impl Target {
    fn parse(path: &str, value: &Value) -> Result<Self, Failure> {
        let (section, rest) = path.split_once('/').unwrap_or((path, ""));
        let section = Section::ALL.into_iter().find(|known| known.as_str() == section);
        let section = section.ok_or_else(|| {
            let known: Vec<&str> = Section::ALL.iter().map(|section| section.as_str()).collect();
            Failure::usage(format!("`{path}` must start with one of {}", known.join(", ")))
        })?;
        if rest.is_empty() {
            return Err(Failure::usage(format!("`{path}` names no value, for example {}/takes", section.as_str())));
        }
        let name = rest.to_owned();
        let wrong = |wanted: &str| Failure::usage(format!("`{path}` takes {wanted}, not {value}"));
        Ok(match section {
            Section::Register => Self::Register(name),
            Section::Counter => Self::Counter(name, value.as_i64().ok_or_else(|| wrong("an integer to add"))?),
            Section::List => Self::List(name),
            Section::Text => Self::Text(name, value.as_str().ok_or_else(|| wrong("a string"))?.to_owned()),
            Section::Agent => match rest.split_once('/') {
                Some((agent, key)) if !key.is_empty() => Self::Agent(AgentId::new(agent)?, key.to_owned()),
                _ => return Err(Failure::usage(format!("`{path}` lacks the key: agent/NAME/KEY"))),
            },
            Section::Map => match rest.rfind('/') {
                Some(end) => Self::Map(name, end),
                None => return Err(Failure::usage(format!("`{path}` lacks the key: map/NAME/KEY"))),
            },
            Section::Member => return Err(Failure::usage("agents enter and leave the membership by themselves")),
            Section::Coordination => {
                return Err(Failure::usage("coordination has commands of its own: barrier, epoch, poll, decide, why"));
            }
        })
    }

    /// Names and keys of maps may both hold slashes: the longest map that exists is meant, else all up to the last
    /// slash.
    fn settle(self, document: &AgentDocument) -> Result<Self, Failure> {
        let Self::Map(rest, end) = self else { return Ok(self) };
        let containers = document.read(|document| document.content().containers())?;
        let maps = containers.iter().filter(|container| container.kind == ContainerKind::Map);
        let begins = |name: &&str| rest.strip_prefix(name).is_some_and(|after| after.starts_with('/'));
        let longest = maps.map(|map| &*map.name).filter(begins).map(str::len).max();
        Ok(Self::Map(rest, longest.unwrap_or(end)))
    }

    fn write(&self, transaction: &mut Transaction<'_>, value: &Value) -> Result<(), DocumentError> {
        match self {
            Self::Register(name) if value.is_null() => transaction.clear_register(name),
            Self::Register(name) => transaction.set_register(name, value),
            Self::Counter(name, add) => transaction.add_counter(name, *add),
            Self::Agent(agent, key) if value.is_null() => transaction.clear_agent_value(agent, key),
            Self::Agent(agent, key) => transaction.set_agent_value(agent, key, value),
            Self::Map(rest, end) => {
                let (map, key) = (transaction.map::<Value>(&rest[..*end]), &rest[*end + 1..]);
                if value.is_null() { map.remove(key) } else { map.put(key, value) }
            }
            Self::List(name) => transaction.list(name).push(value),
            Self::Text(name, chars) => transaction.text(name).push(chars),
        }
    }
}

async fn watch(args: &WatchArgs, output: &Output) -> Result<(), Failure> {
    let Live { agent, document } = args.document.open(AGENT, &args.prefix).await?;
    let mut changes = document.observe(&args.prefix);
    output.note(format_args!("watching `{}` of {}; Ctrl-C ends", args.prefix, document.id()));
    let mut left = args.count;
    while left != Some(0) {
        let change = tokio::select! {
            change = changes.next() => change,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
        };
        match change {
            Ok(Some(patch)) => {
                output.answer(describe(&patch), &patch)?;
                left = left.map(|left| left - 1);
            }
            Ok(None) => break,
            Err(missed) => output.note(format_args!("{missed}")),
        }
    }
    drop(changes);
    drop(document);
    Ok(agent.close().await?)
}

/// A change in one line.
fn describe(patch: &Patch) -> String {
    let absent = "nothing".to_owned();
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| absent.clone(), Value::to_string);
    let change = match &patch.change {
        Change::Put { old, new } => format!("{} → {}", shown(old), shown(new)),
        Change::Splice { removed: 0, inserted } => format!("+ {}", json!(inserted)),
        Change::Splice { removed, inserted } => format!("- {removed}, + {}", json!(inserted)),
        Change::Format { len } => format!("formatted, {len} characters"),
    };
    let writer = match (patch.origin, patch.writer) {
        (Origin::Local, _) => "by this replica".to_owned(),
        (Origin::Remote, Some(writer)) => format!("by {writer}"),
        (Origin::Remote, None) => String::new(),
    };
    format!("{STRONG}{}{STRONG:#}  {change}  {FAINT}{writer}{FAINT:#}", patch.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_what_they_name() {
        let target = |path| Target::parse(path, &json!(1)).unwrap();
        assert_eq!(target("register/a/b"), Target::Register("a/b".to_owned()));
        assert_eq!(target("counter/takes"), Target::Counter("takes".to_owned(), 1));
        assert_eq!(target("map/files/src/a.md"), Target::Map("files/src/a.md".to_owned(), 9));
        let agent = AgentId::new("planner-1").unwrap();
        assert_eq!(target("agent/planner-1/at"), Target::Agent(agent, "at".to_owned()));
    }

    #[test]
    fn paths_that_name_no_value_are_refused() {
        for path in ["", "register", "register/", "map/files", "agent/planner-1", "member/x", "song/title"] {
            assert!(Target::parse(path, &json!(1)).is_err(), "{path}");
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        assert!(Target::parse("counter/takes", &json!("one")).is_err());
        assert!(Target::parse("text/notes", &json!(1)).is_err());
    }
}
