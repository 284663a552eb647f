//! The command line: what can be asked, and how each answer leaves the program. One file per subcommand. Layer 7.

mod audit;
mod connect;
mod containers;
mod coordination;
mod credential;
mod demo;
mod doc;
mod failure;
mod http;
mod lines;
mod lookup;
mod output;
mod serve;
mod sim;
mod source;
mod state;
mod store;
mod store_key;
mod tls;
mod transfer;
mod trust;
mod why;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub(crate) use failure::Failure;
use output::Output;

/// Stack of the runtime's threads: engines decode recursive structures, and depth limits are sized for this.
const THREAD_STACK_BYTES: usize = 8 * 1024 * 1024;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a check failed, or something went wrong on the way
  2  the command line makes no sense
  3  nobody answered, or not in time
Of barriers, epochs, polls and decisions also:
  4  degraded: released, but somebody is missing
  5  late: decided without this agent
  6  broken, or nothing approved: nothing comes of it any more
  7  not decided, or not begun, in time
  8  superseded, or cleaned up before it was decided

Start here:
  aepoch demo                                   a relay, six agents, three mishaps
  aepoch serve                                  a relay at ws://127.0.0.1:4433
  aepoch state set register/setlist '[\"intro\"]'
  aepoch state get register/setlist
  aepoch state watch                            see every change as it happens

Every command explains itself with examples: aepoch state --help";

/// Replicated documents and coordination for swarms of agents, without a coordinator.
#[derive(Debug, Parser)]
#[command(name = "aepoch", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// Print JSON, one value per line, for programs to read.
    #[arg(long, global = true)]
    json: bool,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as `aepoch=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG")]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a relay: agents connect to it, it keeps their documents durably.
    Serve(serve::ServeArgs),
    /// Watch a swarm index a folder while its relay is killed and an agent works offline.
    Demo(demo::DemoArgs),
    /// Read, change and watch values of a document.
    #[command(subcommand)]
    State(state::StateCommand),
    /// List, show, compare, export and import whole documents.
    #[command(subcommand)]
    Doc(doc::DocCommand),
    /// Wait for the others: members arrive, and all are released together.
    #[command(subcommand)]
    Barrier(coordination::BarrierCommand),
    /// Go through named phases together.
    #[command(subcommand)]
    Epoch(coordination::EpochCommand),
    /// Vote; weight decides.
    #[command(subcommand)]
    Poll(coordination::PollCommand),
    /// Push work, and do it one item after the other.
    #[command(subcommand)]
    Queue(coordination::QueueCommand),
    /// Have exactly one of the values proposed become everybody's.
    Decide(coordination::DecideArgs),
    /// Say why barriers, epochs, polls and decisions stand as they do, and what would unblock them.
    Why(why::WhyArgs),
    /// Simulate swarms under faults, one world per seed, and check what must hold.
    Sim(sim::SimArgs),
    /// Check, repair, compact and rekey store files.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Read and verify what a relay has recorded: who came, what was refused, what became of coordination.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make keys, and show their public halves.
    #[command(subcommand)]
    Key(trust::KeyCommand),
    /// Write, sign and read the policy of a swarm: who may issue credentials, and what is revoked.
    #[command(subcommand)]
    Policy(trust::PolicyCommand),
    /// Issue credentials of agents, pass them on, look into them.
    #[command(subcommand)]
    Token(trust::TokenCommand),
    /// One agent of the demo, as its own process.
    #[command(hide = true)]
    DemoAgent(demo::WorkerArgs),
}

/// Parses, logs, runs, reports.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments);
    let output = Output::new(arguments.json);
    let outcome = match arguments.command {
        Command::Serve(args) => serve::run(&args, &output),
        Command::Demo(args) => demo::run(&args, &output),
        Command::State(command) => state::run(command, &output),
        Command::Doc(command) => doc::run(command, &output),
        Command::Barrier(command) => coordination::run_barrier(&command, &output),
        Command::Epoch(command) => coordination::run_epoch(&command, &output),
        Command::Poll(command) => coordination::run_poll(&command, &output),
        Command::Queue(command) => coordination::run_queue(&command, &output),
        Command::Decide(args) => coordination::run_decide(&args, &output),
        Command::Why(args) => why::run(&args, &output),
        Command::Sim(args) => sim::run(&args, &output),
        Command::Store(command) => store::run(&command, &output),
        Command::Audit(command) => audit::run(command, &output),
        Command::Key(command) => trust::run_key(&command, &output),
        Command::Policy(command) => trust::run_policy(command, &output),
        Command::Token(command) => trust::run_token(command, &output),
        Command::DemoAgent(args) => demo::run_worker(&args),
    };
    outcome.unwrap_or_else(|failure| failure.report(&output))
}

fn start_log(arguments: &Arguments) {
    let default = if matches!(arguments.command, Command::Serve(_)) { "info" } else { "error" };
    let wanted = arguments.log.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(default);
    let filter = EnvFilter::builder().parse_lossy(wanted);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Where stderr cannot be written, saying so there would panic: a full disk must not end a relay.
    let log = log.log_internal_errors(false);
    if arguments.json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    }
}

/// A runtime with `threads` workers; one per core for `None`.
fn runtime(threads: Option<usize>) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime could not start: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
