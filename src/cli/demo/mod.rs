//! `aepoch demo`: a relay and a swarm of agents as processes of their own, with mishaps, and a verdict. Layer 7.
//!
//! - `corpus`, `share`: the work, and who does which part of it;
//! - `protocol`, `worker`, `phases`: an agent's process;
//! - `process`, `swarm`, `chaos`: starting, hearing and hurting them;
//! - `screen`, `tally`, `verdict`: what is seen, what is proved.
#![allow(clippy::disallowed_methods, reason = "a demo tells how long it took")]

mod chaos;
mod corpus;
mod phases;
mod process;
mod protocol;
mod screen;
mod share;
mod swarm;
mod tally;
mod verdict;
mod worker;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use aepoch::engine::EngineKind;
use clap::Args;
pub(super) use worker::{WorkerArgs, run as run_worker};

use self::{
    chaos::Schedule,
    process::{Folder, RelayProcess},
    protocol::Plan,
    screen::Screen,
    swarm::{Seen, Swarm},
    verdict::{Expected, Found, Verdict},
};
use super::{Failure, Output, lines};

/// With mishaps, pauses between files stretch the run to about this many milliseconds.
const CHAOS_MS: u64 = 6_000;
/// And those between files that alphas push: an alpha is killed in the middle of that.
const PUSH_MS: u64 = 1_500;

/// What is indexed in the absence of `--input`: the project's own text.
const OWN_TEXT: [&str; 2] = [".md", ".rs"];
/// And of that so many files, that a demo stays a matter of seconds however much of it there will be.
const OWN_FILES: usize = 160;

const EXAMPLES: &str = "\
What happens: a relay and N agents start as processes of their own, each with its own store. Together they index the
text files of a folder into one shared document: statistics of each file, an inverted index, totals. Alphas (a third of
the agents, one or two at least) partition the files into a priority queue; gammas claim them with fencing tokens and
index them; all go through the phases of an epoch (collect, reduce, publish); at the end an alpha-first barrier lets
gammas through once the result is out. No process tells another what to do.

Mishaps (unless --no-chaos): an alpha is killed for good while it pushes, the relay is killed and comes back on its
store, a gamma is offline for a while, another is killed and resumes from its store. The others decide without who is
gone, all alike. So that these land in the middle of the work, agents pause after each file; see --pace.

At the end a reader that had no part in it, all agents and the relay must hold the same, the totals must be those of a
plain sequential count, nothing that was acknowledged may be missing, every agent must have been told the same outcomes,
and no file may have been done twice: otherwise the exit code is 1.

Examples:
  aepoch demo
  aepoch demo --engine automerge --agents 3
  aepoch demo --input ~/notes --no-chaos
  aepoch demo --stay                             leaves everybody up for a look at the dashboard
  aepoch demo --json                             one line for programs
  aepoch demo --keep run                         leaves stores and logs for a closer look, for example with
  aepoch doc history --store run/relay.redb --swarm demo --document index";

/// Watch a swarm at work.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DemoArgs {
    /// The folder to index, all of it; without it, some 160 of this project's own *.md and *.rs under cargo, else of those
    /// below the current folder. Do not change its files meanwhile.
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,

    /// How many agents.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: u16,

    /// What holds the document's content: yrs or automerge.
    #[arg(long, default_value_t)]
    engine: EngineKind,

    /// Let things go wrong; the default.
    #[arg(long, overrides_with = "no_chaos")]
    chaos: bool,

    /// Let nothing go wrong, and do not pause.
    #[arg(long)]
    no_chaos: bool,

    /// Milliseconds each agent pauses after a file; with mishaps, chosen so that all takes about six seconds.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=10_000))]
    pace: Option<u64>,

    /// At the end, leave the relay and the agents running for a look at the dashboard, until Enter is pressed. Ignored
    /// without a terminal.
    #[arg(long)]
    stay: bool,

    /// An empty or new folder for stores and logs, which stay there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (root, endings) = input(args);
    let files = corpus::text_files(&root, endings)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", root.display())))?;
    let files = if endings.is_some() { corpus::sample(files, OWN_FILES) } else { files };
    if files.is_empty() {
        return Err(Failure::usage(format!("{} holds no text files", root.display())));
    }
    let mut folder = match &args.keep {
        Some(path) => Folder::kept(path)?,
        None => Folder::temporary()?,
    };
    let runtime = super::runtime(None)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = perform(args, &folder, root, files, output) => outcome,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                output.note("interrupted");
                Ok(ExitCode::FAILURE)
            }
        }
    });
    if outcome.is_err() {
        folder.keep();
    }
    outcome.map_err(|failure| failure.with(format_args!("stores and logs are in {}", folder.path().display())))
}

fn input(args: &DemoArgs) -> (PathBuf, Option<&'static [&'static str]>) {
    match &args.input {
        Some(input) => (input.clone(), None),
        None => {
            let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
            (own.unwrap_or_else(|| PathBuf::from(".")), Some(&OWN_TEXT))
        }
    }
}

async fn perform(
    args: &DemoArgs,
    folder: &Folder,
    root: PathBuf,
    files: Vec<String>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let chaos = !args.no_chaos;
    let start = Instant::now();
    let expected = Expected::count(&root, &files)?;
    let relay = RelayProcess::start(folder, "127.0.0.1:0").await?;
    let plan = plan(args, &root, files, relay.url())?;
    std::fs::write(folder.file("plan.json"), serde_json::to_vec(&plan)?)?;
    let share = |name: &String| {
        let pushes = plan.alphas.contains(name) && !plan.gammas.is_empty();
        if pushes { share::share(name, &plan.alphas, &plan.files).len() } else { plan.files.len() }
    };
    let shares: Vec<(String, usize)> = plan.agents().map(|name| (name.clone(), share(name))).collect();
    let screen = Screen::new(output, &shares)?;
    screen.tell(format_args!(
        "{} alphas and {} gammas index {} files of {} into one {} document",
        plan.alphas.len(),
        plan.gammas.len(),
        plan.files.len(),
        root.display(),
        plan.engine
    ));
    let dashboard = relay.url().replacen("ws", "http", 1);
    screen.tell(format_args!("the dashboard is at {dashboard}"));
    let schedule = if chaos { Schedule::of(&plan.alphas, &plan.gammas) } else { Schedule::default() };
    let mut swarm = Swarm::start(folder, &plan, &screen, relay, schedule)?;
    swarm.work().await?;
    let seen = swarm.settle().await?;
    let found = Found::read(&plan, &seen).await?;
    let verdict = Verdict::new(&plan, &seen, &expected, &found, start.elapsed().as_secs_f64());
    screen.finish();
    if args.stay && !output.is_json() && std::io::stdin().is_terminal() {
        let concluded = conclude(&verdict, &seen, &found, chaos, output);
        output.note(format_args!("the relay and the agents stay up at {dashboard}; Enter ends them"));
        // A line, or the end of stdin.
        let _ = lines::stdin().recv().await;
        swarm.end().await?;
        return concluded;
    }
    swarm.end().await?;
    conclude(&verdict, &seen, &found, chaos, output)
}

fn plan(args: &DemoArgs, root: &Path, files: Vec<String>, relay: &str) -> Result<Plan, Failure> {
    let alphas = (args.agents / 3).clamp(1, 8);
    let names = |role: &str, count: u16| (1..=count).map(|number| format!("{role}-{number}")).collect();
    let workers = (args.agents - alphas).max(1);
    let spread = |ms: u64, agents: u16| ms * u64::from(agents) / files.len() as u64;
    let pace_ms = args.pace.unwrap_or(if args.no_chaos { 0 } else { spread(CHAOS_MS, workers).min(600) });
    Ok(Plan {
        relay: relay.to_owned(),
        engine: args.engine,
        alphas: names("alpha", alphas),
        gammas: names("gamma", args.agents - alphas),
        root: std::path::absolute(root)?,
        push_ms: if args.no_chaos { 0 } else { spread(PUSH_MS, alphas).min(100) },
        pace_ms,
        files,
    })
}

fn conclude(verdict: &Verdict, seen: &Seen, found: &Found, chaos: bool, output: &Output) -> Result<ExitCode, Failure> {
    output.answer(verdict.explain(seen, found, chaos), verdict)?;
    if verdict.holds() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::failed("the replicas do not hold what they must"))
    }
}
