//! `aepoch epoch`: going through phases together. Layer 7.

use std::{process::ExitCode, time::Duration};

use aepoch::agent::coordination::{Arrived, Epoch};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, NamedArgs, Output,
    ending::{self, EXIT_CODES, Named, TAKING_PART},
    part::{Part, refused, take_part},
    settings::{SettingsArgs, configured},
    values,
};

const KIND: &str = "epoch";

/// Epochs.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EpochCommand {
    /// Begin an epoch for others, and end.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch epoch create show --phases collect,plan,act --members alpha:a,b,c
  aepoch epoch create show --phases collect,act --members alpha:a,b,c --window 5m --tolerate 1\n\n{EXIT_CODES}"))]
    Create(CreateArgs),
    /// Finish a phase, and wait until everybody has.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch epoch finish show collect --as a --store a.redb
  aepoch epoch finish show collect --as a --store a.redb --no-wait\n\n{EXIT_CODES}"))]
    Finish(FinishArgs),
    /// Wait until everybody is in a phase; without one, for the end of the phase finished last, or of the present one.
    #[command(after_help = format!("Examples:
  aepoch epoch wait show plan                                   until everybody is in it, or beyond
  aepoch epoch wait show --as a --store a.redb                  for the end of what a has finished\n\n{EXIT_CODES}"))]
    Wait(WaitArgs),
    /// Say how it stands and what would unblock it.
    #[command(after_help = "Examples:
  aepoch epoch status show
  aepoch epoch status show --document stage --json")]
    Status(NamedArgs),
    /// Finish it for everybody and free what it takes. An epoch goes on until then.
    #[command(after_help = "Examples:
  aepoch epoch clean show")]
    Clean(NamedArgs),
}

/// Begin an epoch.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// Its phases, in order; after the last comes the first again.
    #[arg(long, value_name = "PHASE,...", value_delimiter = ',', required = true)]
    phases: Vec<String>,
    /// How long a phase is waited for, from the first that finishes it on, before it may be decided that laggards are
    /// left out.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = values::span)]
    window: Duration,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Finish a phase.
#[derive(Debug, Args)]
pub(in crate::cli) struct FinishArgs {
    /// Its name within the document.
    name: String,
    /// The phase, which must be the one to finish next.
    phase: String,
    /// Only finish it, and end; `wait` waits later.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    part: super::part::PartArgs,
}

/// Wait for a phase.
#[derive(Debug, Args)]
pub(in crate::cli) struct WaitArgs {
    /// Its name within the document.
    name: String,
    /// The phase everybody has to be in.
    phase: Option<String>,
    #[command(flatten)]
    part: super::part::PartArgs,
}

pub(in crate::cli) fn run(command: &EpochCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        EpochCommand::Create(args) => create(args, output),
        EpochCommand::Finish(args) => finish(args, output),
        EpochCommand::Wait(args) => take_part(&args.part, async |part| wait(part, args, output).await),
        EpochCommand::Status(args) => super::status(KIND, args, output),
        EpochCommand::Clean(args) => super::clean(KIND, args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (name, settings) = (&args.named.name, &args.settings);
    settings.need_members(name)?;
    args.named.part.keep_seat(settings.names())?;
    take_part(&args.named.part, async |part| {
        let builder = configured!(part.document().epoch(name), settings).window(args.window);
        let builder = builder.phases(args.phases.iter().map(String::as_str)).begin();
        let epoch = part.begun(name, settings.names(), builder.open()).await?;
        part.durable().await?;
        let value = json!({ KIND: name, "object": epoch.id().to_string(), "phases": args.phases });
        output.answer(format_args!("{name} is begun"), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The epoch of a name; phases are its own.
async fn open(part: &Part, name: &str) -> Result<Epoch, Failure> {
    let epoch = part.begun(name, std::iter::empty(), part.document().epoch(name).open()).await?;
    super::of_kind(KIND, &epoch.status()?)?;
    Ok(epoch)
}

fn finish(args: &FinishArgs, output: &Output) -> Result<ExitCode, Failure> {
    let agent = args.part.need_agent("epoch finish")?;
    take_part(&args.part, async |part| {
        let epoch = open(part, &args.name).await?;
        let finished = epoch.finish_now(&args.phase).await;
        let arrived = finished.map_err(|error| refused(error, "`epoch wait` waits for its end"))?;
        if args.no_wait {
            part.durable().await?;
            let generation = arrived.generation;
            let value = json!({
                KIND: args.name, "agent": agent, "generation": generation, "phase": args.phase, "standing": "finished",
            });
            output.answer(format_args!("{agent} has finished {} of {}", args.phase, args.name), &value)?;
            return Ok(ExitCode::SUCCESS);
        }
        over(part, &epoch, arrived, (&args.name, Some(agent)), output).await
    })
}

async fn wait(part: &Part, args: &WaitArgs, output: &Output) -> Result<ExitCode, Failure> {
    let epoch = open(part, &args.name).await?;
    let Some(phase) = &args.phase else {
        let arrived = match epoch.arrived()? {
            Some(arrived) => arrived,
            None => epoch.present()?,
        };
        return over(part, &epoch, arrived, (&args.name, args.part.agent()), output).await;
    };
    let phase = epoch.phase(phase)?;
    let entered = part.in_time(phase.entered()).await?.is_some();
    let position = phase.position();
    let value = json!({ KIND: args.name, "epoch": position.epoch, "phase": args.phase, "entered": entered });
    let told = if entered { "everybody is in" } else { "not everybody is in" };
    let asked = args.phase.as_deref().unwrap_or_default();
    output.answer(format_args!("{}: {told} {asked} of epoch {}", args.name, position.epoch), &value)?;
    Ok(if entered { ExitCode::SUCCESS } else { ending::undecided() })
}

async fn over(
    part: &Part,
    epoch: &Epoch,
    arrived: Arrived,
    (name, agent): (&str, Option<&str>),
    output: &Output,
) -> Result<ExitCode, Failure> {
    let passage = part.passage(arrived, epoch.over(arrived), |generation| epoch.standing(generation)).await?;
    let (_, phase) = epoch.phase_of(passage.generation);
    ending::tell(output, &Named { kind: KIND, name, phase: Some(phase), agent }, &passage)
}
