//! `aepoch barrier`: waiting for each other. Layer 7.

use std::process::ExitCode;

use aepoch::agent::{
    AgentDocument,
    coordination::{Barrier, BarrierBuilder},
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, NamedArgs, Output,
    ending::{self, EXIT_CODES, Named, TAKING_PART},
    part::{Part, refused, take_part},
    settings::{SettingsArgs, configured},
};

const KIND: &str = "barrier";

/// Barriers.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BarrierCommand {
    /// Begin a barrier for others, and end.
    #[command(after_help = format!("{TAKING_PART}\n
Examples:
  aepoch barrier create flash --members alpha:planner --members gamma:w1,w2,w3
  aepoch barrier create flash --members alpha:a,b,c --tolerate 1 --timeout alpha=5s
  aepoch barrier create lap --members alpha:a,b --cyclic --on-shortfall break\n\n{EXIT_CODES}"))]
    Create(CreateArgs),
    /// Arrive, and wait for the release.
    #[command(after_help = format!("{TAKING_PART}\n
With --members the barrier is begun by the first of them; the others wait until it is.

Examples:
  aepoch barrier arrive flash --as a --members alpha:a,b,c      in three shells, as a, b and c
  aepoch barrier arrive flash --as w1 --store w1.redb           begun by somebody else
  aepoch barrier arrive flash --as a --store a.redb --no-wait && work && \\
    aepoch barrier wait flash --as a --store a.redb\n\n{EXIT_CODES}"))]
    Arrive(ArriveArgs),
    /// Wait for the end without arriving: of what was arrived in before, or as an onlooker.
    #[command(after_help = format!("\
With --as and --store: the generation this agent has arrived in last. Else the present one.

Examples:
  aepoch barrier wait flash --as a --store a.redb
  aepoch barrier wait flash --wait 2m --json                    as an onlooker\n\n{EXIT_CODES}"))]
    Wait(NamedArgs),
    /// Say how it stands and what would unblock it.
    #[command(after_help = "Examples:
  aepoch barrier status flash
  aepoch barrier status flash --document stage --json")]
    Status(NamedArgs),
    /// Finish it for everybody, decided or not, and free what it takes.
    #[command(after_help = "Those who still wait are told that it is gone (exit code 8).

Examples:
  aepoch barrier clean flash")]
    Clean(NamedArgs),
}

/// Begin a barrier.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    #[command(flatten)]
    shape: ShapeArgs,
}

/// Arrive at a barrier.
#[derive(Debug, Args)]
pub(in crate::cli) struct ArriveArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// Only arrive, and end; `wait` waits later.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    shape: ShapeArgs,
}

#[derive(Debug, Args)]
struct ShapeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// It goes on, generation after generation, until it is cleaned up.
    #[arg(long, requires = "members")]
    cyclic: bool,
    /// A release does not wait until what the others wrote before they arrived is here.
    #[arg(long, requires = "members")]
    no_fence: bool,
}

impl ShapeArgs {
    fn builder(&self, document: &AgentDocument, name: &str) -> BarrierBuilder {
        let builder = configured!(document.barrier(name), &self.settings).fence(!self.no_fence);
        if self.cyclic { builder.cyclic() } else { builder }
    }
}

pub(in crate::cli) fn run(command: &BarrierCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        BarrierCommand::Create(args) => create(args, output),
        BarrierCommand::Arrive(args) => arrive(args, output),
        BarrierCommand::Wait(args) => take_part(&args.part, async |part| wait(part, args, output).await),
        BarrierCommand::Status(args) => super::status(KIND, args, output),
        BarrierCommand::Clean(args) => super::clean(KIND, args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (name, settings) = (&args.named.name, &args.shape.settings);
    settings.need_members(name)?;
    args.named.part.keep_seat(settings.names())?;
    take_part(&args.named.part, async |part| {
        let builder = args.shape.builder(part.document(), name).begin();
        let barrier = part.begun(name, settings.names(), builder.open()).await?;
        part.durable().await?;
        let value = json!({ KIND: name, "object": barrier.id().to_string() });
        output.answer(format_args!("{name} is begun"), &value)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn arrive(args: &ArriveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (name, settings) = (&args.named.name, &args.shape.settings);
    let agent = args.named.part.need_agent("barrier arrive")?;
    settings.check(name)?;
    take_part(&args.named.part, async |part| {
        let open = args.shape.builder(part.document(), name).open();
        let barrier = part.begun(name, settings.names(), open).await?;
        super::of_kind(KIND, &barrier.status()?)?;
        let arrived = barrier.arrive_now().await.map_err(|error| refused(error, "`barrier wait` waits for its end"))?;
        if args.no_wait {
            part.durable().await?;
            let generation = arrived.generation;
            let value = json!({ KIND: name, "agent": agent, "generation": generation, "standing": "arrived" });
            output.answer(format_args!("{agent} has arrived at {name}, generation {generation}"), &value)?;
            return Ok(ExitCode::SUCCESS);
        }
        ended(part, &barrier, arrived, &args.named, output).await
    })
}

async fn wait(part: &Part, args: &NamedArgs, output: &Output) -> Result<ExitCode, Failure> {
    let open = part.document().barrier(&args.name).open();
    let barrier = part.begun(&args.name, std::iter::empty(), open).await?;
    super::of_kind(KIND, &barrier.status()?)?;
    let arrived = match barrier.arrived()? {
        Some(arrived) => arrived,
        None => barrier.present()?,
    };
    ended(part, &barrier, arrived, args, output).await
}

async fn ended(
    part: &Part,
    barrier: &Barrier,
    arrived: aepoch::agent::coordination::Arrived,
    args: &NamedArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let standing = |generation| barrier.standing(generation);
    let passage = part.passage(arrived, barrier.released(arrived), standing).await?;
    let named = Named { kind: KIND, name: &args.name, phase: None, agent: args.part.agent() };
    ending::tell(output, &named, &passage)
}
