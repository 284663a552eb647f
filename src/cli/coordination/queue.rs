//! `aepoch queue`: pushing work, and doing it one item after the other. Layer 7.

use std::{
    process::{ExitCode, Stdio},
    time::Duration,
};

use aepoch::{
    agent::coordination::{Queue, Task},
    coordination::queue::{Claiming, ItemView, Occupation},
    tier::Tier,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{
    Failure, NamedArgs, Output,
    ending::{self, EXIT_CODES, TAKING_PART},
    part::{Part, PartArgs, refused, take_part},
    values::{self, Tolerate},
};

const KIND: &str = "queue";

/// Queues.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QueueCommand {
    /// Begin a queue for others, and end.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch queue create jobs --members a,b,c
  aepoch queue create jobs --members a,b,c --tolerate minority --lease 10s --attempts 3\n\n{EXIT_CODES}"))]
    Create(CreateArgs),
    /// Push an item, and end once it is on the relay's disk.
    #[command(after_help = "Examples:
  aepoch queue push jobs '{\"file\":\"a.txt\"}' --as a --store a.redb
  aepoch queue push jobs urgent --tier alpha --as a --store a.redb    what is no JSON is a string")]
    Push(PushArgs),
    /// Claim items one after the other and run a command for each: its standard input is the item, its environment has
    /// AEPOCH_ITEM and AEPOCH_TOKEN, the fencing token to be checked where its effects land. Exit code 0 completes the
    /// item; any other gives it back, until its attempts are used up. With --json what the command prints goes to
    /// standard error.
    #[command(after_help = format!("Examples:
  aepoch queue work jobs --as b --store b.redb -- ./index.sh
  aepoch queue work jobs --as b --store b.redb --count 1 --wait 5s -- cat\n\n{EXIT_CODES}"))]
    Work(WorkArgs),
    /// List the items in their order, then the dead ones.
    #[command(after_help = "Examples:
  aepoch queue list jobs
  aepoch queue list jobs --json")]
    List(NamedArgs),
    /// Finish it with all its items for everybody, and free what it takes.
    #[command(after_help = "Examples:
  aepoch queue clean jobs")]
    Clean(NamedArgs),
}

/// Begin a queue.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// Who pushes and claims. Each must be known to the swarm.
    #[arg(long, value_name = "AGENT,...", value_delimiter = ',', required = true)]
    members: Vec<String>,
    /// Let the members decide who holds an item, of whom so many may be unreachable, or a `minority`; with 0 the items of
    /// a member that is gone wait for it. A process that has ended is unreachable. [default: the relay decides, and
    /// members may come and go]
    #[arg(long, value_name = "N|minority", value_parser = values::tolerate)]
    tolerate: Option<Tolerate>,
    /// How long a claim outlives its holder.
    #[arg(long, value_name = "SPAN", value_parser = values::span, default_value = "30s")]
    lease: Duration,
    /// How often an item may fail.
    #[arg(long, value_name = "N", default_value_t = 5)]
    attempts: u32,
    /// Items pushed within this span are ordered by tier and deadline.
    #[arg(long, value_name = "SPAN", value_parser = values::span, default_value = "1s")]
    bucket: Duration,
    /// Most members it may have.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_agents: usize,
}

/// Push an item.
#[derive(Debug, Args)]
pub(in crate::cli) struct PushArgs {
    /// The queue's name within the document.
    name: String,
    /// The item: JSON, or else a string.
    item: String,
    /// Its priority.
    #[arg(long, default_value_t = Tier::ALPHA)]
    tier: aepoch::coordination::kernel::Tier,
    #[command(flatten)]
    part: PartArgs,
}

/// Work.
#[derive(Debug, Args)]
pub(in crate::cli) struct WorkArgs {
    /// The queue's name within the document.
    name: String,
    /// Ends after so many items; else when there is none for as long as --wait says.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    part: PartArgs,
    /// The command to run for each item.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(in crate::cli) fn run(command: &QueueCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        QueueCommand::Create(args) => create(args, output),
        QueueCommand::Push(args) => push(args, output),
        QueueCommand::Work(args) => work(args, output),
        QueueCommand::List(args) => list(args, output),
        QueueCommand::Clean(args) => super::clean(KIND, args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let name = &args.named.name;
    let members = || args.members.iter().map(String::as_str);
    args.named.part.keep_seat(members())?;
    take_part(&args.named.part, async |part| {
        let builder = part.document().queue::<Value>(name).members(members()).at_most(args.max_agents);
        let builder = builder.lease(args.lease).attempts(args.attempts).bucket(args.bucket);
        let builder = match args.tolerate {
            None => builder.relay_elects(),
            Some(Tolerate::Number(failures)) => builder.tolerate(failures),
            Some(Tolerate::Minority) => builder.tolerate_minority(),
        };
        let queue = part.begun(name, members(), builder.begin().open()).await?;
        part.durable().await?;
        let value = json!({ KIND: name, "object": queue.id().to_string(), "members": args.members });
        output.answer(format_args!("{name} is begun"), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The queue of a name.
async fn open(part: &Part, name: &str) -> Result<Queue<Value>, Failure> {
    part.begun(name, std::iter::empty(), part.document().queue(name).open()).await
}

fn push(args: &PushArgs, output: &Output) -> Result<ExitCode, Failure> {
    args.part.need_agent("queue push")?;
    take_part(&args.part, async |part| {
        let queue = open(part, &args.name).await?;
        let item = serde_json::from_str(&args.item).unwrap_or_else(|_| Value::String(args.item.clone()));
        let pushed = queue.push(&item).tier(args.tier).await;
        let id = pushed.map_err(|error| refused(error, "push as a member"))?;
        part.durable().await?;
        let value = json!({ KIND: args.name, "item": id.to_string(), "tier": args.tier.to_string() });
        output.answer(format_args!("{} has item {id} in {}", args.name, args.tier), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn work(args: &WorkArgs, output: &Output) -> Result<ExitCode, Failure> {
    args.part.need_agent("queue work")?;
    take_part(&args.part, async |part| {
        let queue = open(part, &args.name).await?;
        let (mut completed, mut failed) = (0, 0);
        while args.count.is_none_or(|count| completed + failed < count) {
            let claimed = part.in_time(queue.claim(Claiming::Exclusive)).await?;
            let Some(task) = claimed else { break };
            if do_one(task, &args.command, output).await? { completed += 1 } else { failed += 1 }
        }
        part.durable().await?;
        let value = json!({ KIND: args.name, "completed": completed, "failed": failed });
        output.answer(format_args!("{completed} done, {failed} given back"), &value)?;
        let enough = args.count.is_none_or(|count| completed + failed == count);
        Ok(match (enough, failed) {
            (false, _) => ending::undecided(),
            (true, 0) => ExitCode::SUCCESS,
            (true, _) => ExitCode::FAILURE,
        })
    })
}

/// Runs the command for one item; false when it failed.
async fn do_one(task: Task<Value>, command: &[String], output: &Output) -> Result<bool, Failure> {
    let (item, token) = (task.item(), task.token());
    let mut process = tokio::process::Command::new(&command[0]);
    process.args(&command[1..]).env("AEPOCH_ITEM", item.to_string()).env("AEPOCH_TOKEN", token.to_string());
    if output.is_json() {
        // Standard output is for our own line.
        process.stdout(std::io::stderr());
    }
    let spawned = process.stdin(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            task.fail(&error.to_string()).await?;
            return Err(Failure::failed(format!("cannot run `{}`: {error}", command[0])));
        }
    };
    if let Some(mut stdin) = child.stdin.take() {
        let text = match task.payload() {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        // A command need not read its item.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let status = child.wait().await?;
    if status.success() {
        task.complete().await?;
        output.note(format_args!("item {item}, token {token}: done"));
        return Ok(true);
    }
    task.fail(&format!("`{}` ended with {status}", command[0])).await?;
    output.note(format_args!("item {item}, token {token}: {status}, given back"));
    Ok(false)
}

fn list(args: &NamedArgs, output: &Output) -> Result<ExitCode, Failure> {
    take_part(&args.part, async |part| {
        part.status(KIND, &args.name)?;
        let items = open(part, &args.name).await?.items()?;
        let lines: Vec<String> = items.iter().map(line).collect();
        let text = if lines.is_empty() { format!("{} is empty", args.name) } else { lines.join("\n") };
        output.answer(text, &items)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn line(item: &ItemView) -> String {
    let who = match &item.occupation {
        Occupation::Open => "open".to_owned(),
        Occupation::Held { holder, token } => format!("held by {holder}, token {token}"),
        Occupation::Expired { holder, token } => format!("left by {holder}, token {token}"),
        Occupation::Dead { token } => format!("dead after token {token}"),
    };
    let pusher = item.pusher.as_ref().map(aepoch::id::AgentId::as_str).unwrap_or("?");
    let failure = item.failure.as_ref().map(|failure| format!("  ({failure})")).unwrap_or_default();
    format!("{}  {:6} from {pusher}  {who}, attempt {}{failure}", item.item, item.tier.to_string(), item.attempts)
}
