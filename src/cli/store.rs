//! `aepoch store`: looking after store files. Layer 7.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use aepoch::store::{
    KeySource, StoreError, StoreKey,
    maintenance::{Report, compact, repair, verify},
    sealed,
};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    Failure,
    output::{BAD, FAINT, GOOD, ODD, Output, STRONG, size},
    store_key::{NewKeyArgs, StoreKeyArgs},
};

/// Store files that no relay or agent has open.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Read every row and report what is sound and what is not. Changes nothing.
    #[command(after_help = "Exit code 1 when anything is damaged.

Examples:
  aepoch store verify aepoch.redb
  aepoch store verify aepoch.redb --json | jq .documents")]
    Verify(FileArgs),
    /// Build a sound store from what survives; the damaged file is kept beside it.
    #[command(after_help = "A sound store is left alone. Exit code 1 when something could not be brought back.

Examples:
  aepoch store repair aepoch.redb              the damaged file becomes aepoch.redb.damaged-1")]
    Repair(FileArgs),
    /// Give the space of removed rows back to the file system.
    #[command(after_help = "Verifies first: a damaged file is not touched.

Examples:
  aepoch store compact aepoch.redb")]
    Compact(FileArgs),
    /// Have another key open a sealed store.
    #[command(after_help = "\
The documents are not sealed anew: whoever had the earlier key and a copy of the file can still read that copy, and what
is sealed later. After a crash one of the two keys opens the store.

Examples:
  aepoch store rekey aepoch.redb --store-key-file old.key --new-key-file new.key")]
    Rekey(RekeyArgs),
}

/// The store file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The store file; no relay or agent may have it open.
    file: PathBuf,

    #[command(flatten)]
    store_key: StoreKeyArgs,
}

impl FileArgs {
    fn key(&self) -> Result<Option<StoreKey>, StoreError> {
        self.store_key.source().as_ref().map(KeySource::read).transpose()
    }
}

/// The store file, its key and the next.
#[derive(Debug, Args)]
pub(super) struct RekeyArgs {
    #[command(flatten)]
    file: FileArgs,

    #[command(flatten)]
    new_key: NewKeyArgs,
}

pub(super) fn run(command: &StoreCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        StoreCommand::Verify(args) => {
            let key = args.key()?;
            let report = with_progress(&args.file, output, |progress| verify(&args.file, key.as_ref(), progress))?;
            tell(&args.file, &report, output)?;
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        StoreCommand::Repair(args) => {
            let key = args.key()?;
            let repaired = with_progress(&args.file, output, |progress| repair(&args.file, key.as_ref(), progress))?;
            let told = match &repaired.damaged_file {
                None => format!("{GOOD}sound{GOOD:#}: nothing to repair"),
                Some(kept) => format!("{ODD}repaired{ODD:#}; the damaged file is {}", kept.display()),
            };
            output.answer(told, &repaired)?;
            if repaired.damaged_file.is_some() && !output.is_json() {
                tell(&args.file, &repaired.report, output)?;
            }
            Ok(if repaired.lost { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        StoreCommand::Compact(args) => {
            let key = args.key()?;
            let done = with_progress(&args.file, output, |progress| compact(&args.file, key.as_ref(), progress))?;
            let (before, after) = (size(done.bytes_before), size(done.bytes_after));
            output.answer(format_args!("{before} → {STRONG}{after}{STRONG:#}"), &done)?;
            Ok(ExitCode::SUCCESS)
        }
        StoreCommand::Rekey(args) => {
            let (Some(old), Some(new)) = (args.file.store_key.source(), args.new_key.source()) else {
                return Err(Failure::usage("say where the present key comes from: --store-key-file, -env or -command"));
            };
            sealed::rekey(&args.file.file, &old, &new)?;
            let told = format!("{GOOD}done{GOOD:#}: the new key opens {}", args.file.file.display());
            output.answer(told, &json!({ "store": args.file.file, "rekeyed": true }))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs `work` on a file that must exist, with a bar where somebody looks.
fn with_progress<R>(
    file: &Path,
    output: &Output,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<R, StoreError>,
) -> Result<R, Failure> {
    if !file.exists() {
        return Err(Failure::failed(format!("there is no store {}", file.display())));
    }
    let seen = std::io::stderr().is_terminal() && !output.is_json();
    let bar = if seen { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} documents") {
        bar.set_style(style);
    }
    let done = work(&mut |position, total| {
        bar.set_length(total);
        bar.set_position(position);
    });
    bar.finish_and_clear();
    Ok(done?)
}

fn tell(file: &Path, report: &Report, output: &Output) -> Result<(), Failure> {
    let verdict = if report.is_sound() { format!("{GOOD}sound{GOOD:#}") } else { format!("{BAD}damaged{BAD:#}") };
    let mut lines = vec![format!(
        "{STRONG}{}{STRONG:#} {verdict}{}: {}, {} documents",
        file.display(),
        if report.sealed { ", sealed" } else { "" },
        size(report.file_bytes),
        report.documents.len()
    )];
    for document in &report.documents {
        let held = format!("snapshot {}, {} entries", size(document.snapshot_bytes), document.entries);
        lines.push(match &document.damage {
            None => format!("  {}  {FAINT}{held}{FAINT:#}", document.document),
            Some(damage) => format!("  {}  {BAD}{}{BAD:#}; {}", document.document, damage.what, damage.survives),
        });
    }
    let mut faults: Vec<String> = report.format_damage.iter().cloned().collect();
    if !report.pages_hold {
        faults.push("checksums of pages do not hold: rows may be missing".to_owned());
    }
    faults.extend(report.damaged_notes.iter().map(|note| format!("the note `{note}` is damaged")));
    faults.extend(report.strays.iter().map(|stray| format!("a row under the key {stray} belongs to no document")));
    lines.extend(faults.into_iter().map(|fault| format!("  {BAD}{fault}{BAD:#}")));
    output.answer(lines.join("\n"), report)
}
