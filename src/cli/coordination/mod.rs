//! `aepoch barrier`, `epoch`, `poll`, `queue` and `decide`: taking part from a shell. Layer 7.

mod barrier;
mod decide;
mod ending;
mod epoch;
mod part;
mod poll;
mod queue;
mod settings;
mod values;

use std::process::ExitCode;

use clap::Args;

pub(super) use self::{
    barrier::{BarrierCommand, run as run_barrier},
    decide::{DecideArgs, run as run_decide},
    ending::{describe, wall_ms},
    epoch::{EpochCommand, run as run_epoch},
    poll::{PollCommand, run as run_poll},
    queue::{QueueCommand, run as run_queue},
};
use super::{Failure, output::Output};

/// An object by its name.
#[derive(Debug, Args)]
pub(in crate::cli) struct NamedArgs {
    /// Its name within the document.
    name: String,
    #[command(flatten)]
    part: part::PartArgs,
}

/// How an object stands, without waiting for anything.
fn status(kind: &'static str, args: &NamedArgs, output: &Output) -> Result<ExitCode, Failure> {
    part::take_part(&args.part, async |part| {
        let status = part.status(kind, &args.name)?;
        output.answer(describe(&status, wall_ms()), &status)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Finishes an object for everybody.
fn clean(kind: &'static str, args: &NamedArgs, output: &Output) -> Result<ExitCode, Failure> {
    part::take_part(&args.part, async |part| clean_now(part, kind, &args.name, output).await)
}

async fn clean_now(part: &part::Part, kind: &'static str, name: &str, output: &Output) -> Result<ExitCode, Failure> {
    part.clean(kind, name).await?;
    let value = serde_json::json!({ kind: name, "cleaned_up": true });
    output.answer(format_args!("{name} is gone for everybody"), &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses an object of another kind under the name.
fn of_kind(kind: &str, status: &aepoch::coordination::why::ObjectStatus) -> Result<(), Failure> {
    if status.kind == kind {
        return Ok(());
    }
    Err(Failure::usage(format!("`{}` is of kind {}, not {kind}", status.barrier.name, status.kind)))
}
