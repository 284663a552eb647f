//! How a wait ended, as an answer and as an exit code. Layer 7.

use std::process::ExitCode;

use aepoch::{
    agent::coordination::Passage,
    coordination::{
        standing::{Ending, Outcome, Standing, TierResult},
        why::ObjectStatus,
    },
    id::AgentId,
};
use serde_json::{Value, json};

use super::Failure;
use crate::cli::{
    failure::UNDECIDED,
    output::{BAD, FAINT, GOOD, ODD, Output, STRONG},
};

/// Of the help of whatever waits.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  released, and nobody is missing; of what waits for no release: done
  1  something went wrong on the way, for example no seat, or arrived before
  2  the command line makes no sense
  3  the relay did not answer, or not in time
  4  degraded: released, but somebody is missing
  5  late: decided without this agent
  6  broken: a tier had too few, and nothing comes of it any more
  7  not decided, or not begun, in time: --wait is over, or with --tolerate 0 the time of a tier
  8  superseded (the others are generations ahead), or cleaned up before it was decided";

/// Of the help of whatever takes part.
pub(super) const TAKING_PART: &str = "\
Any process can take part, under the name given with --as. Those who decide that somebody is left
out have to be running; a command that has ended is unreachable, also when it has arrived. So let
commands wait, or name agents that stay (--electors x,y,z --tolerate 1).
What is over is forgotten once every member knows how it ended; what some never learn, `clean`
removes. The JSON of a wait has the same `outcome` at every agent of a tier.";

const DEGRADED: u8 = 4;
const LATE: u8 = 5;
const BROKEN: u8 = 6;
const GONE: u8 = 8;

/// The exit code of a poll or decision that came to nothing.
pub(super) fn nothing() -> ExitCode {
    ExitCode::from(BROKEN)
}

/// The exit code of what is not decided in time.
pub(super) fn undecided() -> ExitCode {
    ExitCode::from(UNDECIDED)
}

/// Tells how a generation ended. What stands under `outcome` is the same at every agent of a tier, and begins alike at
/// all of them.
pub(super) fn tell(output: &Output, object: &Named<'_>, passage: &Passage) -> Result<ExitCode, Failure> {
    let (code, word, more) = judge(&passage.standing);
    let mut value = json!({
        object.kind: object.name,
        "agent": object.agent,
        "generation": passage.generation,
        "standing": word,
        "waited_ms": u64::try_from(passage.waited.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(phase) = object.phase {
        value["phase"] = phase.into();
    }
    match &passage.standing {
        Standing::Overdue { missing } => value["missing"] = json!(missing),
        Standing::Superseded { newest } => value["newest"] = json!(newest),
        _ => {}
    }
    value["outcome"] = passage.outcome().map_or(Value::Null, |outcome| json!(outcome));
    let style = match code {
        0 => GOOD,
        DEGRADED => ODD,
        _ => BAD,
    };
    let name = object.phase.map_or_else(|| object.name.to_owned(), |phase| format!("{} {phase}", object.name));
    let text = format!("{STRONG}{name}{STRONG:#}  generation {}  {style}{word}{style:#}", passage.generation);
    output.answer(format_args!("{text}  {FAINT}{more}{FAINT:#}"), &value)?;
    Ok(ExitCode::from(code))
}

/// What was waited for, and as whom.
pub(super) struct Named<'n> {
    pub(super) kind: &'static str,
    pub(super) name: &'n str,
    pub(super) phase: Option<&'n str>,
    pub(super) agent: Option<&'n str>,
}

fn judge(standing: &Standing) -> (u8, &'static str, String) {
    match standing {
        Standing::Released(outcome) if outcome.is_complete() => (0, "complete", tiers(outcome)),
        Standing::Released(outcome) => (DEGRADED, "degraded", tiers(outcome)),
        Standing::Late(outcome) => (LATE, "late", tiers(outcome)),
        Standing::Broken(outcome) => (BROKEN, "broken", tiers(outcome)),
        Standing::Waiting => (UNDECIDED, "undecided", "`aepoch why` says what it waits for".to_owned()),
        Standing::Overdue { missing } => (UNDECIDED, "overdue", format!("missing: {}", names(missing))),
        Standing::Superseded { newest } => (GONE, "superseded", format!("the others are in generation {newest}")),
        Standing::Closed => (GONE, "closed", "cleaned up before it was decided".to_owned()),
    }
}

fn tiers(outcome: &Outcome) -> String {
    let tier = |result: &TierResult| {
        let ending = match result.ending {
            Ending::Complete => String::new(),
            Ending::Degraded => format!(", without {}", names(&result.missing)),
            Ending::Shortfall => format!(", skipped, without {}", names(&result.missing)),
            Ending::Broken => format!(", too few, without {}", names(&result.missing)),
        };
        let released = if result.released.is_empty() { "nobody".to_owned() } else { names(&result.released) };
        format!("{}: {released}{ending}", result.tier)
    };
    outcome.tiers.iter().map(tier).collect::<Vec<_>>().join("; ")
}

/// Names in a row.
fn names(agents: &[AgentId]) -> String {
    agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ")
}

/// How an object stands, for people: a line for it, one for each tier, and what keeps it. `now_ms` is the wall clock's.
pub(in crate::cli) fn describe(status: &ObjectStatus, now_ms: u64) -> String {
    let barrier = &status.barrier;
    let mut head = format!("{} {STRONG}{}{STRONG:#}  generation {}", status.kind, barrier.name, barrier.generation);
    if let Some(phase) = &status.phase {
        head.push_str(&format!("  phase {phase}"));
    }
    if let Some(poll) = status.poll {
        head.push_str(&format!("  {poll}"));
    }
    if let Some(option) = &status.approved {
        head.push_str(&format!(" {option}"));
    }
    // A process that has just come has seen it for a moment only: what counts is how long the first has waited.
    head.push_str(&match (status.is_open(), status.first_arrival_ms) {
        (true, Some(first)) => format!("  open {:.1} s", seconds(now_ms.saturating_sub(first))),
        (true, None) => "  nobody has arrived".to_owned(),
        (false, _) => "  decided".to_owned(),
    });
    let mut lines = vec![head];
    for tier in &barrier.tiers {
        let missing: Vec<AgentId> = tier
            .members
            .iter()
            .filter(|agent| !tier.arrived.contains(agent) && !tier.declined.contains(agent))
            .cloned()
            .collect();
        let mut line = format!("  {}  arrived {} of {}", tier.tier, tier.arrived.len(), tier.members.len());
        let parts = [("missing", &missing), ("declined", &tier.declined), ("timed out at", &tier.timed_out)];
        for (what, agents) in parts {
            if !agents.is_empty() {
                line.push_str(&format!("  {what} {}", names(agents)));
            }
        }
        if let Some(outcome) = tier.outcome {
            line.push_str(&format!("  {outcome}"));
        }
        lines.push(line);
    }
    lines.extend(status.why.iter().map(|why| format!("    {why}")));
    lines.join("\n")
}

#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// The wall clock in milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "people are told how long it has been open")]
pub(in crate::cli) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
