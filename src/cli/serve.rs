//! `aepoch serve`: a relay until it is told to stop. Layer 7.

use std::{path::PathBuf, process::ExitCode};

use aepoch::relay::{DEFAULT_LISTEN, Relay, audit::AuditConfig};
use clap::Args;
use serde_json::json;

use super::{
    Failure, lines,
    output::{FAINT, Output, STRONG},
    store_key::StoreKeyArgs,
};

const EXAMPLES: &str = "\
Examples:
  aepoch serve                                   listen on 127.0.0.1:4433, keep documents in aepoch.redb
  aepoch serve --listen 0.0.0.0:4433 --store /var/lib/aepoch/relay.redb
  aepoch serve --store-key-file /etc/aepoch/store.key     nobody reads the store without the key
  aepoch serve --audit /var/log/aepoch --audit-key /etc/aepoch/audit.key      see: aepoch audit --help
  aepoch serve --memory --listen 127.0.0.1:0 --print-address
  curl http://127.0.0.1:4433/v1/documents        what it keeps; also /health and /metrics

An interrupt (Ctrl-C) or SIGTERM ends it in order: agents are told to come back, everything becomes durable.
A killed relay loses nothing it has acknowledged; start it again on the same store.";

/// Run a relay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    listen: String,

    /// The file that keeps the documents.
    #[arg(long, value_name = "FILE", default_value = "aepoch.redb")]
    store: PathBuf,

    /// Keep documents in memory only: gone when the relay stops.
    #[arg(long, conflicts_with_all = ["store", "store-key"])]
    memory: bool,

    #[command(flatten)]
    store_key: StoreKeyArgs,

    /// The folder of the audit log; the store's name with `.audit` behind it unless given. Without a store there is none
    /// unless given. While it cannot be written, the relay takes in no coordination.
    #[arg(long, value_name = "DIR", conflicts_with = "no_audit")]
    audit: Option<PathBuf>,

    /// The file of the key that signs the audit log, made when there is none; the log's name with `.key` behind it
    /// unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "no_audit")]
    audit_key: Option<PathBuf>,

    /// Keep no audit log.
    #[arg(long)]
    no_audit: bool,

    /// The relay's name among the agents.
    #[arg(long, default_value = "relay")]
    name: String,

    /// Nodes that share the documents; one per core unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,

    /// Let every connection bring the writes of others too: when agents also form a mesh, or to restore a lost relay
    /// from its agents.
    #[arg(long)]
    trust_forwarding: bool,

    /// Print the address agents connect to, and nothing else, once it listens.
    #[arg(long)]
    print_address: bool,

    /// Stop in order when stdin ends: whoever started this relay is gone.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl ServeArgs {
    fn audit_config(&self) -> Result<Option<AuditConfig>, Failure> {
        let beside_store = || {
            let mut folder = self.store.clone().into_os_string();
            folder.push(".audit");
            PathBuf::from(folder)
        };
        let folder = self.audit.clone().or_else(|| (!self.memory && !self.no_audit).then(beside_store));
        match (folder, &self.audit_key) {
            (Some(folder), Some(key)) => Ok(Some(AuditConfig::new(folder).key(key))),
            (Some(folder), None) => Ok(Some(AuditConfig::new(folder))),
            (None, Some(_)) => Err(Failure::usage("--audit-key without an audit log: say --audit DIR with --memory")),
            (None, None) => Ok(None),
        }
    }
}

pub(super) fn run(args: &ServeArgs, output: &Output) -> Result<ExitCode, Failure> {
    super::runtime(None)?.block_on(serve(args, output))
}

async fn serve(args: &ServeArgs, output: &Output) -> Result<ExitCode, Failure> {
    // Before the address is printed: whoever reads it may stop the relay at once.
    let told_to_stop = stop_signal()?;
    let mut builder = Relay::builder().name(&args.name).listen(&args.listen).trust_forwarding(args.trust_forwarding);
    if !args.memory {
        builder = builder.store(&args.store);
    }
    if let Some(key) = args.store_key.source() {
        builder = builder.store_key(key);
    }
    if let Some(audit) = args.audit_config()? {
        builder = builder.audit(audit);
    }
    if let Some(shards) = args.shards {
        builder = builder.shards(usize::from(shards));
    }
    let relay = builder.open().await?;
    announce(args, output, &relay)?;
    tokio::select! {
        reason = told_to_stop => tracing::info!(reason, "stopping"),
        () = lines::ended(), if args.until_stdin_ends => tracing::info!("stdin ended, stopping"),
    }
    relay.shut_down().await?;
    Ok(ExitCode::SUCCESS)
}

fn announce(args: &ServeArgs, output: &Output, relay: &Relay) -> Result<(), Failure> {
    let url = relay.url();
    if args.print_address && !output.is_json() {
        return output.answer(&url, &url);
    }
    let kept = if args.memory { "memory".to_owned() } else { args.store.display().to_string() };
    output.answer(
        format_args!("{STRONG}relay listening on {url}{STRONG:#}{FAINT}, documents in {kept}{FAINT:#}"),
        &json!({ "url": url, "address": relay.address().to_string(), "store": kept }),
    )
}

/// Ends when the system asks the process to stop; with the name of how it asked.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "interrupt",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "interrupt"
    })
}
