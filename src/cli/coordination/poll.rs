//! `aepoch poll`: voting. Layer 7.

use std::process::ExitCode;

use aepoch::{agent::coordination::PollHandle, coordination::poll::PollOutcome};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, NamedArgs, Output,
    ending::{self, EXIT_CODES, TAKING_PART},
    part::{Part, PartArgs, refused, take_part},
    settings::{SettingsArgs, configured},
    values,
};
use crate::cli::output::STRONG;

const KIND: &str = "poll";

/// Polls.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PollCommand {
    /// Begin a poll for others, and end.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch poll create tempo --options slow,fast --members alpha:a,b,c
  aepoch poll create tempo --options slow,fast --members alpha:a,b,c --weight a=3 --threshold 4
  aepoch poll create tempo --options slow,fast --members alpha:a,b,c --closable --tolerate 1
\n{EXIT_CODES}"))]
    Create(CreateArgs),
    /// Vote, and end. A vote is never taken back.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch poll vote tempo fast --as a
  aepoch poll vote tempo fast --as a && aepoch poll wait tempo\n\n{EXIT_CODES}"))]
    Vote(VoteArgs),
    /// Wait for the end, and print the option that is approved.
    #[command(after_help = format!("Exit code 6 when no option can be approved any more.

Examples:
  aepoch poll wait tempo
  aepoch poll wait tempo --wait 5m --json\n\n{EXIT_CODES}"))]
    Wait(NamedArgs),
    /// Say how it stands and what would unblock it.
    #[command(after_help = "Examples:
  aepoch poll status tempo
  aepoch poll status tempo --document stage --json")]
    Status(NamedArgs),
    /// Finish it for everybody and free what it takes.
    #[command(after_help = "Examples:
  aepoch poll clean tempo")]
    Clean(NamedArgs),
}

/// Begin a poll.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// What is voted for.
    #[arg(long, value_name = "OPTION,...", value_delimiter = ',', required = true)]
    options: Vec<String>,
    /// The weight of a member's vote; repeat it for each. [default: 1]
    #[arg(long, value_name = "AGENT=N", value_parser = values::weight)]
    weight: Vec<(String, u32)>,
    /// The weight that approves: more than half of all. [default: the least that is]
    #[arg(long, value_name = "N")]
    threshold: Option<u64>,
    /// Close it when its time is up: whoever has not voted then abstains. Takes --tolerate.
    #[arg(long)]
    closable: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Vote.
#[derive(Debug, Args)]
pub(in crate::cli) struct VoteArgs {
    /// The poll's name within the document.
    name: String,
    /// The option.
    option: String,
    #[command(flatten)]
    part: PartArgs,
}

pub(in crate::cli) fn run(command: &PollCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        PollCommand::Create(args) => create(args, output),
        PollCommand::Vote(args) => vote(args, output),
        PollCommand::Wait(args) => take_part(&args.part, async |part| wait(part, args, output).await),
        PollCommand::Status(args) => super::status(KIND, args, output),
        PollCommand::Clean(args) => super::clean(KIND, args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (name, settings) = (&args.named.name, &args.settings);
    settings.need_members(name)?;
    args.named.part.keep_seat(settings.names())?;
    if let Some((agent, weight)) = args.weight.iter().find(|(agent, _)| settings.names().all(|name| name != agent)) {
        return Err(Failure::usage(format!("--weight {agent}={weight}: `{agent}` is no member of `{name}`")));
    }
    take_part(&args.named.part, async |part| {
        let builder =
            configured!(part.document().poll(name), settings).options(args.options.iter().map(String::as_str));
        let builder = args.weight.iter().fold(builder, |builder, (agent, weight)| builder.weight(agent, *weight));
        let builder = args.threshold.into_iter().fold(builder, |builder, weight| builder.threshold(weight));
        let builder = if args.closable { builder.closable() } else { builder };
        let poll = part.begun(name, settings.names(), builder.begin().open()).await?;
        part.durable().await?;
        let value = json!({ KIND: name, "object": poll.id().to_string(), "options": args.options });
        output.answer(format_args!("{name} is begun"), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The poll of a name.
async fn open(part: &Part, name: &str) -> Result<PollHandle, Failure> {
    let poll = part.begun(name, std::iter::empty(), part.document().poll(name).open()).await?;
    super::of_kind(KIND, &poll.status()?)?;
    Ok(poll)
}

fn vote(args: &VoteArgs, output: &Output) -> Result<ExitCode, Failure> {
    let agent = args.part.need_agent("poll vote")?;
    take_part(&args.part, async |part| {
        let poll = open(part, &args.name).await?;
        poll.vote(&args.option).await.map_err(|error| refused(error, "a vote is never taken back"))?;
        part.durable().await?;
        let stands = word(poll.outcome()?);
        let value = json!({ KIND: args.name, "agent": agent, "vote": args.option, "poll": stands });
        output.answer(format_args!("{agent} votes {} in {}, which is {stands}", args.option, args.name), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn wait(part: &Part, args: &NamedArgs, output: &Output) -> Result<ExitCode, Failure> {
    let poll = open(part, &args.name).await?;
    let decided = part.in_time(poll.decided()).await?;
    let (code, stands) = match &decided {
        Some(Some(_)) => (ExitCode::SUCCESS, "approved"),
        Some(None) => (ending::nothing(), "failed"),
        None => (ending::undecided(), "pending"),
    };
    let approved = decided.flatten();
    let value = json!({ KIND: args.name, "poll": stands, "approved": approved });
    let told = approved.unwrap_or_default();
    output.answer(format_args!("{STRONG}{}{STRONG:#}  {stands}  {told}", args.name), &value)?;
    Ok(code)
}

fn word(outcome: PollOutcome) -> &'static str {
    match outcome {
        PollOutcome::Approved(_) => "approved",
        PollOutcome::Failed => "failed",
        PollOutcome::Pending => "pending",
    }
}
