//! `aepoch audit`: reading and verifying what a relay has recorded. Layer 7.
#![allow(clippy::disallowed_methods, reason = "--follow waits between two looks at the files")]

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use aepoch::{
    audit::{
        chain::{Content, Frame, GENESIS, Link},
        record::{Action, Entry},
        show,
        verify::Expected,
    },
    document::hex,
    id::AgentId,
    relay::audit::read::{Records, verify},
    trust::key::PublicKey,
};
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::json;

use super::{
    Failure,
    output::{BAD, FAINT, GOOD, ODD, Output, STRONG},
};

/// How long `--follow` waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The audit log of a relay; all of these work while the relay runs, and after it is gone.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Show the last records.
    #[command(after_help = "What peers chose is shown escaped. Nothing is verified: that is `aepoch audit verify`.

Examples:
  aepoch audit tail aepoch.redb.audit
  aepoch audit tail aepoch.redb.audit -n 100 --follow
  aepoch audit tail aepoch.redb.audit --json | jq 'select(.outcome == \"refused\")'")]
    Tail(TailArgs),
    /// Check that no record was changed, removed or moved since it was written.
    #[command(
        after_help = "Exit code 1 when it was; the first such record is named. Reads the whole log, in little memory.

Without --public the signatures show only that nobody without the relay's key changed what they cover. Without --head
nobody can tell whether the newest records were cut off: note the head this prints, or the one the relay logs with every
checkpoint, somewhere else.

Examples:
  aepoch audit verify aepoch.redb.audit
  aepoch audit verify aepoch.redb.audit --public \"$(aepoch key show aepoch.redb.audit.key --json | jq -r .public)\"
  aepoch audit verify aepoch.redb.audit --head \"$NOTED_YESTERDAY\""
    )]
    Verify(VerifyArgs),
    /// Write the records out for other programs.
    #[command(after_help = "JSON: one object a line. CSV: a header, then one entry a line; checkpoints are left out.
Text that a spreadsheet would compute begins with an apostrophe, and control characters are escaped.

Examples:
  aepoch audit export aepoch.redb.audit --format csv > audit.csv
  aepoch audit export aepoch.redb.audit --format json --actor mallory --action offend
  aepoch audit export aepoch.redb.audit --format json --from 2026-01-31 --to 2026-02-01T12:00:00")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// The folder of the log.
    folder: PathBuf,

    /// How many.
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    lines: u64,

    /// Go on, as records come.
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The folder of the log.
    folder: PathBuf,

    /// A key that may have signed it; once for each.
    #[arg(long = "public", value_name = "KEY", allow_hyphen_values = true)]
    publics: Vec<PublicKey>,

    /// A head noted earlier, which the log must still contain.
    #[arg(long, value_name = "HASH", value_parser = link)]
    head: Option<Link>,

    /// Earlier segments were put away: the head up to which they went.
    #[arg(long, value_name = "HASH", value_parser = link)]
    after: Option<Link>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The folder of the log.
    folder: PathBuf,

    /// The form.
    #[arg(long)]
    format: Format,

    /// What was recorded at this time or later, UTC: 2026-01-31 or 2026-01-31T12:00:00.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<String>,

    /// What was recorded before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<String>,

    /// What this agent did or tried.
    #[arg(long, value_name = "AGENT")]
    actor: Option<AgentId>,

    /// One kind of action only; once for each.
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<Action>,
}

fn link(text: &str) -> Result<Link, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("`{text}` is no hash: 64 hexadecimal digits"))
}

/// Checks the form; times of one form are ordered as texts are.
fn time(text: &str) -> Result<String, String> {
    let form = "0000-00-00T00:00:00.000";
    let fits = text.len() >= 10
        && text.len() <= form.len()
        && text.chars().zip(form.chars()).all(|(c, f)| if f == '0' { c.is_ascii_digit() } else { c == f });
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` is no time such as 2026-01-31T12:00:00")) }
}

pub(super) fn run(command: AuditCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        AuditCommand::Tail(args) => tail(&args, output),
        AuditCommand::Verify(args) => verify_log(args, output),
        AuditCommand::Export(args) => export(&args),
    }
}

fn tail(args: &TailArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut records = Records::last(&args.folder, args.lines)?;
    loop {
        while let Some((before, frame)) = records.next_record()? {
            let line = if output.is_json() { show::json(&frame, &before) } else { show::text(&frame) };
            if write_line(&line)?.is_break() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Breaks when nobody reads any more.
fn write_line(line: &str) -> Result<std::ops::ControlFlow<()>, Failure> {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => Ok(std::ops::ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(std::ops::ControlFlow::Break(())),
        Err(error) => Err(error.into()),
    }
}

fn verify_log(args: VerifyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let expected =
        Expected { signers: args.publics.into_iter().collect(), head: args.head, after: args.after.unwrap_or(GENESIS) };
    let is_known = !expected.signers.is_empty();
    let verified = match verify(&args.folder, expected) {
        Ok(verified) => verified,
        Err(aepoch::relay::audit::AuditError::Damaged(finding)) => {
            let (segment, seq, what) = (&finding.segment, finding.seq, finding.breach.to_string());
            let text = format!("{BAD}does not hold{BAD:#}: {STRONG}record {seq}{STRONG:#} in {segment} {what}");
            output.answer(text, &json!({ "holds": false, "seq": seq, "file": segment, "reason": what }))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    let head = hex(&verified.head.link);
    let mut lines = vec![format!(
        "{GOOD}holds{GOOD:#}: {} records up to {}, {} checkpoints",
        verified.records, verified.head.seq, verified.checkpoints
    )];
    let about = if is_known { "" } else { ", a key nobody has vouched for: --public" };
    lines.extend(verified.signers.iter().map(|signer| format!("signed with {signer}{FAINT}{about}{FAINT:#}")));
    if verified.unsigned > 0 {
        lines.push(format!("{ODD}the last {} are not signed yet{ODD:#}", verified.unsigned));
    }
    lines.push(format!("head {head}"));
    let told = json!({
        "holds": true,
        "records": verified.records,
        "seq": verified.head.seq,
        "head": head,
        "checkpoints": verified.checkpoints,
        "unsigned": verified.unsigned,
        "signers": verified.signers,
    });
    output.answer(lines.join("\n"), &told)?;
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let mut records = Records::from(&args.folder, 1)?;
    if matches!(args.format, Format::Csv) && write_line(&show::csv_header())?.is_break() {
        return Ok(ExitCode::SUCCESS);
    }
    while let Some((before, frame)) = records.next_record()? {
        if !args.wants(&frame) {
            continue;
        }
        let line = match args.format {
            Format::Json => Some(show::json(&frame, &before)),
            Format::Csv => show::csv(&frame, &before),
        };
        if let Some(line) = line
            && write_line(&line)?.is_break()
        {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl ExportArgs {
    fn wants(&self, frame: &Frame) -> bool {
        let of_time = |wall_ms| {
            let at = show::utc(wall_ms);
            self.from.as_ref().is_none_or(|from| *from <= at) && self.to.as_ref().is_none_or(|to| at < *to)
        };
        let is_filtered = self.actor.is_some() || !self.actions.is_empty();
        match frame.content() {
            Content::Entry(Entry { wall_ms, event, .. }) => {
                of_time(wall_ms)
                    && (self.actor.is_none() || event.actor == self.actor)
                    && (self.actions.is_empty() || self.actions.contains(&event.action))
            }
            Content::Checkpoint(checkpoint) => !is_filtered && of_time(checkpoint.wall_ms),
            // What it says, and when, is not known.
            Content::Unreadable(_) => !is_filtered,
        }
    }
}
