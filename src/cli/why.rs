//! `aepoch why`: what everybody is waiting for. Layer 7.

use std::process::ExitCode;

use aepoch::coordination::why::ObjectStatus;
use clap::Args;

use super::{
    Failure,
    connect::{DocumentArgs, Live},
    coordination::{describe, wall_ms},
    output::Output,
    source::Source,
};

/// Say what keeps a document's barriers, epochs, polls and decisions.
#[derive(Debug, Args)]
#[command(after_help = "\
It looks on without being a member. For each object: how long it has been open (since the first
arrival, by the clock of whoever arrived), who has arrived in each tier, and what would unblock it:
who has not arrived, whose echo is missing, which tier comes first, whose timer has run out, which
link is down. The JSON is one list.

Defaults of objects: alphas are waited for 15 s, others 30 s, a phase of an epoch 60 s; at most 10
agents; tiers are alpha, beta, gamma, tier-3 and so on.

Examples:
  aepoch why                                     everything that is open in the document main
  aepoch why flash --document stage              one of them, also when it is decided
  aepoch why --swarm band --document stage --json | jq '.[].why'
  aepoch why --store planner-1.redb --document stage    as that agent sees it, offline")]
pub(super) struct WhyArgs {
    /// Only the object of this name or id.
    #[arg(value_name = "NAME|ID")]
    object: Option<String>,
    #[command(flatten)]
    document: DocumentArgs,
}

pub(super) fn run(args: &WhyArgs, output: &Output) -> Result<ExitCode, Failure> {
    super::runtime(Some(2))?.block_on(async {
        let source = args.document.place.source();
        if let Source::Relay { .. } = source {
            // Opening a replica of a document nobody has would create it.
            source.show(&args.document.id("")?).await?;
        }
        let Live { agent, document } = args.document.open("cli", "").await?;
        let mut all = document.explain()?;
        all.sort_by(|one, other| one.barrier.name.cmp(&other.barrier.name));
        let name = document.id().to_string();
        drop(document);
        agent.close().await?;
        tell(args.object.as_deref(), &name, all, output)
    })
}

fn tell(object: Option<&str>, document: &str, all: Vec<ObjectStatus>, output: &Output) -> Result<ExitCode, Failure> {
    let names: Vec<String> = all.iter().map(|status| status.barrier.name.clone()).collect();
    let wanted = |status: &ObjectStatus| match object {
        Some(object) => {
            [&status.barrier.name, &status.object, &status.barrier.id].iter().any(|known| **known == object)
        }
        None => status.is_open(),
    };
    let found: Vec<ObjectStatus> = all.into_iter().filter(wanted).collect();
    match object {
        Some(object) if found.is_empty() => {
            let others = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return Err(Failure::failed(format!("no `{object}` in {document}, which has {others}")));
        }
        _ => {}
    }
    let now = wall_ms();
    let text = if found.is_empty() {
        let rest = match names.len() {
            0 => String::new(),
            decided => format!("; {decided} decided, and not yet forgotten: {}", names.join(", ")),
        };
        format!("nothing is open in {document}: no barrier, epoch, poll or decision waits for anybody{rest}")
    } else {
        found.iter().map(|status| describe(status, now)).collect::<Vec<_>>().join("\n")
    };
    output.answer(text, &found)?;
    Ok(ExitCode::SUCCESS)
}
