//! `aepoch doc export` and `doc import`: content in the forms of other programs. Layer 7.

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use aepoch::{document::Document, engine::EngineKind, limits};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    Failure,
    connect::{Live, PlaceArgs},
    containers::{self, Content},
    output::{GOOD, Output, size},
    source::Source,
};

/// The name these commands go by.
const AGENT: &str = "cli";

/// A form of a document's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One update, version 1, for `Y.applyUpdate`; of documents held with yrs.
    Yjs,
    /// A document for `Automerge.load`; of documents held with automerge.
    Automerge,
    /// An object of path to value; of any document.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Yjs => "yjs",
            Self::Automerge => "automerge",
            Self::Json => "json",
        }
    }

    /// The engine it is of; `None`: any.
    fn engine(self) -> Option<EngineKind> {
        match self {
            Self::Yjs => Some(EngineKind::Yrs),
            Self::Automerge => Some(EngineKind::Automerge),
            Self::Json => None,
        }
    }

    fn check(self, document: &Document) -> Result<(), Failure> {
        let held = document.engine_kind();
        if self.engine().is_none_or(|engine| engine == held) {
            return Ok(());
        }
        let own = if held == EngineKind::Yrs { Self::Yjs } else { Self::Automerge };
        let (id, own, asked) = (document.id(), own.name(), self.name());
        Err(Failure::failed(format!("`{id}` is held with {held}: its formats are {own} and json, not {asked}")))
    }
}

/// Write content in another form.
#[derive(Debug, Args)]
#[command(
    after_help = "Of the document its content is exported: yjs and automerge hold nothing of ours. json is an object of path to value, \
{\"map/lights\": {\"left\": \"red\"}, \"text/notes\": \"hello\"}, with registers and counters; a text with formatting is an array of \
runs. It goes to stdout unless a file is named; yjs and automerge are not written to a terminal.

Examples:
  aepoch doc export stage --format json
  aepoch doc export stage --format yjs --into stage.bin        Y.applyUpdate(doc, bytes)
  aepoch doc export stage --format automerge > stage.automerge
  aepoch doc export stage --format json --store planner-1.redb"
)]
pub(super) struct ExportArgs {
    /// The document's name.
    #[arg(env = "AEPOCH_DOCUMENT")]
    document: String,
    /// In which form.
    #[arg(long, short, default_value = "json")]
    format: Format,
    /// The file to write; it is replaced.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Merge what another program has written.
#[derive(Debug, Args)]
#[command(after_help = "The document is created when it is new. All of the file is taken in, or nothing.

yjs and automerge are merged, as if their writers had been connected: what they wrote keeps its writers, and importing it \
again changes nothing. A relay takes from an agent only what that agent wrote itself, so this needs one that is served with \
--trust-forwarding, or --store with the relay's own file while it is stopped.

An agent's own store would take it, but not pass it on to a relay without the flag, where what the agent then writes on top \
would wait for ever.

json is written as this command's own work: of a map the keys in the file are replaced and others kept, lists, texts and \
registers are replaced, and counters are brought to the sum. What is the same already is not touched. Any relay takes it.

Examples:
  aepoch doc import stage --format yjs stage.bin
  aepoch doc import stage --format automerge stage.automerge --store relay.redb
  aepoch doc export stage --format json | aepoch doc import copy --format json -")]
pub(super) struct ImportArgs {
    /// The document's name.
    #[arg(env = "AEPOCH_DOCUMENT")]
    document: String,
    /// The file to read; `-` for stdin.
    file: PathBuf,
    /// In which form it is.
    #[arg(long, short)]
    format: Format,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) async fn export(args: &ExportArgs, output: &Output) -> Result<ExitCode, Failure> {
    if args.format != Format::Json && args.into.is_none() && std::io::stdout().is_terminal() {
        let name = args.format.name();
        return Err(Failure::usage(format!("{name} is not written to a terminal: name a file with --into FILE")));
    }
    let exported = match args.place.source() {
        source @ Source::Store(_) => exported(&source.load(&args.place.id(&args.document)?).await?, args.format)?,
        source @ Source::Relay { .. } => {
            // Opening a replica of a document nobody has would create it.
            source.show(&args.place.id(&args.document)?).await?;
            let Live { agent, document } = args.place.open(AGENT, &args.document, EngineKind::Yrs).await?;
            let exported = document.read(|document| exported(document, args.format))??;
            drop(document);
            agent.close().await?;
            exported
        }
    };
    let bytes = match exported {
        Exported::Json(value) if args.into.is_none() => {
            output.value(&value)?;
            return Ok(ExitCode::SUCCESS);
        }
        Exported::Json(value) => format!("{value:#}\n").into_bytes().into(),
        Exported::Bytes(bytes) => bytes,
    };
    let Some(file) = &args.into else {
        std::io::stdout().lock().write_all(&bytes)?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |error| Failure::failed(format!("{} cannot be written: {error}", file.display()));
    std::fs::write(file, &bytes).map_err(failed)?;
    let line = json!({ "document": args.place.id(&args.document)?, "format": args.format.name(),
        "file": file.display().to_string(), "bytes": bytes.len() });
    say(output, &format!("exported {} to {}", size(bytes.len() as u64), file.display()), &line)
}

enum Exported {
    Json(Value),
    Bytes(Bytes),
}

fn exported(document: &Document, format: Format) -> Result<Exported, Failure> {
    format.check(document)?;
    Ok(match format {
        Format::Json => Exported::Json(containers::content_of(document)?),
        Format::Yjs | Format::Automerge => Exported::Bytes(document.content().snapshot()),
    })
}

pub(super) async fn import(args: &ImportArgs, output: &Output) -> Result<ExitCode, Failure> {
    let bytes = read(&args.file)?;
    // Before anything is opened: opening may create the document.
    let content = match args.format {
        Format::Json => Some(Content::parse(
            serde_json::from_slice(&bytes).map_err(|error| Failure::failed(format!("the file is no JSON: {error}")))?,
        )?),
        Format::Yjs | Format::Automerge => {
            check(args.format, &bytes)?;
            None
        }
    };
    let id = args.place.id(&args.document)?;
    output.note(format_args!("{} of {} for {id}", size(bytes.len() as u64), args.format.name()));
    let engine = args.format.engine().unwrap_or_default();
    let Live { agent, document } = args.place.open(AGENT, &args.document, engine).await?;
    document.read(|document| args.format.check(document))??;
    let (told, mut line) = match content {
        Some(content) => {
            let changed = document.transact(|transaction| content.write(transaction))?;
            (format!("{} values written", grouped(changed as u64)), json!({ "written": changed }))
        }
        None => {
            let imported = document.import(&bytes)?;
            let unit = if args.format == Format::Yjs { "insertions" } else { "changes" };
            let (new, deleted) = (grouped(imported.insertions), grouped(imported.deletions));
            let writers = imported.writers;
            (format!("{new} {unit} by {writers} writers, {deleted} deletions"), serde_json::to_value(imported)?)
        }
    };
    if tokio::time::timeout(args.place.timeout(), document.flush()).await.is_err() {
        let why = agent.status().stalled.unwrap_or_else(|| "no reason known".to_owned());
        return Err(Failure::unreachable(format!("the import is not durable yet: {why}")));
    }
    drop(document);
    agent.close().await?;
    line["document"] = json!(id);
    say(output, &format!("imported into {id}: {told}"), &line)
}

/// What can be known to be wrong with a file without the document.
fn check(format: Format, bytes: &Bytes) -> Result<(), Failure> {
    let engine = format.engine().unwrap_or_default();
    let plain = aepoch::engine::plain(engine, bytes)?;
    aepoch::engine::inspect(engine, &plain)?;
    Ok(())
}

/// A whole file, unless it is larger than a document may be.
fn read(file: &Path) -> Result<Bytes, Failure> {
    let max = limits::DOCUMENT_BYTES;
    let (name, mut bytes) = (file.display(), Vec::new());
    let mut bounded = |from: &mut dyn std::io::Read| from.take(max as u64 + 1).read_to_end(&mut bytes);
    let read = match file.as_os_str() == "-" {
        true => bounded(&mut std::io::stdin().lock()),
        false => std::fs::File::open(file).and_then(|mut file| bounded(&mut file)),
    };
    read.map_err(|error| Failure::failed(format!("{name} cannot be read: {error}")))?;
    if bytes.len() > max {
        return Err(Failure::failed(format!("{name} is over the limit of {max} bytes for a document")));
    }
    Ok(bytes.into())
}

/// The outcome beside an answer: stdout may be the export itself.
fn say(output: &Output, text: &str, line: &Value) -> Result<ExitCode, Failure> {
    if output.is_json() {
        output.answer("", line)?;
    } else {
        anstream::eprintln!("{GOOD}{text}{GOOD:#}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_204, 1_000_000].map(grouped), ["0", "999", "1,204", "1,000,000"]);
    }
}
