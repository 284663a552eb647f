//! `aepoch doc`: whole documents. Layer 7.

use std::process::ExitCode;

use aepoch::document::Document;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    connect::{DocumentArgs, PlaceArgs},
    lookup,
    output::{BAD, FAINT, GOOD, Output, STRONG, size},
    source::{Shown, Source},
    transfer::{self, ExportArgs, ImportArgs},
};

/// Whole documents.
#[derive(Debug, Subcommand)]
pub(super) enum DocCommand {
    /// List the documents kept at a relay or in a store file.
    #[command(after_help = "Examples:
  aepoch doc list
  aepoch doc list --connect ws://relay.example:4433 --json
  aepoch doc list --store planner-1.redb")]
    List(PlaceArgs),
    /// Print a document as JSON.
    #[command(after_help = "Examples:
  aepoch doc show --swarm band --document stage
  aepoch doc show --document _swarm             members, and what agents tell about themselves
  aepoch doc show --store planner-1.redb --document stage")]
    Show(DocumentArgs),
    /// List past changes with their writers, where the engine keeps them.
    #[command(
        after_help = "automerge keeps every change; yrs keeps none, so of a yrs document the number of commits by writer is shown.

Examples:
  aepoch doc history --document stage
  aepoch doc history --store planner-1.redb --document stage --json"
    )]
    History(DocumentArgs),
    /// Print a document's digest, or compare two replicas and name the first difference.
    Digest(DigestArgs),
    /// Write a document's content in a form that other programs read.
    Export(ExportArgs),
    /// Merge what other programs have written into a document.
    Import(ImportArgs),
}

/// Print a digest, or compare.
#[derive(Debug, Args)]
#[command(
    after_help = "Replicas that hold the same have the same digest, whatever their engine. Exit code 1 when two differ.

Examples:
  aepoch doc digest --document stage
  aepoch doc digest --document stage planner-1.redb ws://127.0.0.1:4433"
)]
pub(super) struct DigestArgs {
    /// Two places to compare: a relay's address or a store file each.
    #[arg(num_args = 2, value_names = ["ONE", "OTHER"])]
    places: Vec<String>,
    #[command(flatten)]
    document: DocumentArgs,
}

pub(super) fn run(command: DocCommand, output: &Output) -> Result<ExitCode, Failure> {
    super::runtime(Some(2))?.block_on(async {
        match command {
            DocCommand::List(place) => list(&place, output).await,
            DocCommand::Show(document) => show(&document, output).await,
            DocCommand::History(document) => history(&document, output).await,
            DocCommand::Digest(args) => digest(&args, output).await,
            DocCommand::Export(args) => transfer::export(&args, output).await,
            DocCommand::Import(args) => transfer::import(&args, output).await,
        }
    })
}

async fn list(place: &PlaceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let listed = place.source().list().await?;
    if listed.is_empty() {
        output.note(format_args!("no documents at {}", place.source()));
    }
    for document in listed {
        let links = document.links.map(|links| format!(", {links} connected")).unwrap_or_default();
        let kept = size(document.stored_bytes);
        output.answer(format_args!("{STRONG}{}{STRONG:#}  {kept}{links}", document.document), &document)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &DocumentArgs, output: &Output) -> Result<ExitCode, Failure> {
    let shown = args.place.source().show(&args.id("")?).await?;
    output.note(format_args!("{} ({}), digest {}", shown.document, shown.engine, shown.digest));
    output.answer(format_args!("{:#}", shown.value), &shown)?;
    Ok(ExitCode::SUCCESS)
}

async fn history(args: &DocumentArgs, output: &Output) -> Result<ExitCode, Failure> {
    match args.place.source() {
        source @ Source::Store(_) => tell_history(&source.load(&args.id("")?).await?, output)?,
        source @ Source::Relay { .. } => {
            // Opening a replica of a document nobody has would create it.
            source.show(&args.id("")?).await?;
            let live = args.open("cli", "").await?;
            live.document.read(|document| tell_history(document, output))??;
            drop(live.document);
            live.agent.close().await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_history(document: &Document, output: &Output) -> Result<(), Failure> {
    if !document.engine_kind().capabilities().history {
        output.note(format_args!("{} keeps no history; commits by writer:", document.engine_kind()));
        for (writer, commits) in document.version().content.iter() {
            let line = json!({ "writer": writer.to_string(), "commits": commits });
            output.answer(format_args!("{STRONG}{writer}{STRONG:#}  {commits} commits"), &line)?;
        }
        return Ok(());
    }
    for entry in document.history()? {
        let writer = entry.writer.map_or_else(|| "unknown writer".to_owned(), |writer| writer.to_string());
        let id: String = entry.id.chars().take(12).collect();
        let line = json!({
            "writer": writer, "seq": entry.seq, "id": entry.id, "ops": entry.ops, "wall_ms": entry.wall_ms,
        });
        let text = format!("{STRONG}{id}{STRONG:#}  {writer} #{}  {} operations", entry.seq, entry.ops);
        output.answer(text, &line)?;
    }
    Ok(())
}

async fn digest(args: &DigestArgs, output: &Output) -> Result<ExitCode, Failure> {
    let id = args.document.id("")?;
    let [one, other] = args.places.as_slice() else {
        let shown = args.document.place.source().show(&id).await?;
        output.answer(&shown.digest, &json!({ "document": shown.document, "digest": shown.digest }))?;
        return Ok(ExitCode::SUCCESS);
    };
    let timeout = args.document.place.timeout();
    let access = args.document.place.access();
    let one = Source::parse(one, access.clone(), timeout).show(&id).await?;
    let other = Source::parse(other, access, timeout).show(&id).await?;
    compare(&one, &other, output)
}

fn compare(one: &Shown, other: &Shown, output: &Output) -> Result<ExitCode, Failure> {
    let equal = one.digest == other.digest;
    let path = lookup::first_difference(&one.value, &other.value);
    let line = json!({ "equal": equal, "digests": [one.digest, other.digest], "first_difference": path });
    if equal {
        output.answer(format_args!("{GOOD}equal{GOOD:#} {}", one.digest), &line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = match &path {
        Some(path) => {
            let show = |shown: &Shown| lookup::find(&shown.value, path).map_or_else(|_| "nothing".to_owned(), shorten);
            format!("first at {STRONG}{path}{STRONG:#}: {} and {}", show(one), show(other))
        }
        None => format!("{FAINT}the values are the same, but not who wrote them or what was overridden{FAINT:#}"),
    };
    output.answer(format_args!("{BAD}different{BAD:#}, {told}"), &line)?;
    Ok(ExitCode::FAILURE)
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short}...") } else { text }
}
