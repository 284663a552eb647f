//! `aepoch decide`: one value of several, for everybody. Layer 7.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Output,
    ending::{self, EXIT_CODES, TAKING_PART},
    part::{Part, refused, take_part},
    settings::{SettingsArgs, configured},
};
use crate::cli::output::STRONG;

const KIND: &str = "decision";

/// Propose a value, or wait for what is decided.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The proposal of the first member wins unless that member is left out; then the next one's that has
made any. Whatever anybody is told is the same value. Exit code 6 when it is decided that nobody
has proposed anything.

{TAKING_PART}

Examples:
  aepoch decide leader '\"a\"' --as a --members alpha:a,b,c    begun by a, as the first of the members
  aepoch decide leader '\"b\"' --as b --members alpha:a,b,c
  aepoch decide leader                                       wait for it, as an onlooker
  aepoch decide leader --clean                               finish it for everybody\n\n{EXIT_CODES}"))]
pub(in crate::cli) struct DecideArgs {
    /// Its name within the document.
    name: String,
    /// What to propose, as JSON; text that is not JSON is taken as a string. Without it: wait for what is decided.
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    /// Finish it for everybody, decided or not, and free what it takes.
    #[arg(long, conflicts_with = "value")]
    clean: bool,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    part: super::part::PartArgs,
}

pub(in crate::cli) fn run(args: &DecideArgs, output: &Output) -> Result<ExitCode, Failure> {
    if args.value.is_some() {
        args.part.need_agent("decide with a value")?;
    }
    args.settings.check(&args.name)?;
    take_part(
        &args.part,
        async |part| if args.clean { clean(part, args, output).await } else { decide(part, args, output).await },
    )
}

async fn decide(part: &Part, args: &DecideArgs, output: &Output) -> Result<ExitCode, Failure> {
    let name = &args.name;
    let open = configured!(part.document().decision(name), &args.settings).open();
    let decision = part.begun(name, args.settings.names(), open).await?;
    super::of_kind(KIND, &decision.status()?)?;
    if let Some(value) = &args.value {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
        let proposed = decision.propose(&value).await;
        proposed.map_err(|error| refused(error, "leave the value out to wait for what is decided"))?;
    }
    let decided = part.in_time(decision.decided::<Value>()).await?;
    if decided.is_none() {
        // Whoever gives up has proposed nevertheless.
        part.durable().await?;
    }
    let (code, stands) = match &decided {
        Some(Some(_)) => (ExitCode::SUCCESS, "decided"),
        Some(None) => (ending::nothing(), "nothing proposed"),
        None => (ending::undecided(), "undecided"),
    };
    let decided = decided.flatten();
    let told = decided.as_ref().map(Value::to_string).unwrap_or_default();
    let value = json!({ KIND: name, "standing": stands, "value": decided });
    output.answer(format_args!("{STRONG}{name}{STRONG:#}  {stands}  {told}"), &value)?;
    Ok(code)
}

async fn clean(part: &Part, args: &DecideArgs, output: &Output) -> Result<ExitCode, Failure> {
    super::clean_now(part, KIND, &args.name, output).await
}
