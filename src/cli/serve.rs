//! `aepoch serve`: a relay until it is told to stop. Layer 7.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use aepoch::{
    limits::Rates,
    relay::{DEFAULT_LISTEN, Guests, Relay, audit::AuditConfig},
    trust::policy::PolicyHash,
};
use clap::Args;
use serde_json::json;

use super::{
    Failure, lines,
    output::{FAINT, Output, STRONG},
    store_key::StoreKeyArgs,
    trust::policy_file::PolicyFile,
};

/// Between two looks at the policy file: a revocation counts within a second.
const POLICY_LOOK: Duration = Duration::from_millis(400);

const EXAMPLES: &str = "\
Examples:
  aepoch serve                                   listen on 127.0.0.1:4433, keep documents in aepoch.redb
  aepoch serve --listen 0.0.0.0:4433 --store /var/lib/aepoch/relay.redb
  aepoch serve --store-key-file /etc/aepoch/store.key     nobody reads the store without the key
  aepoch serve --listen 0.0.0.0:4433 --policy swarm.json    only for agents with credentials; see aepoch policy --help
  aepoch serve --audit /var/log/aepoch --audit-key /etc/aepoch/audit.key      see: aepoch audit --help
  aepoch serve --memory --listen 127.0.0.1:0 --print-address
  aepoch serve --listen 0.0.0.0:4433 --host relay.example --allow-origin https://app.example
  aepoch serve --tls-cert relay.crt --tls-key relay.key   wss://, and https:// for REST
  aepoch serve --tls-self-signed --host relay.lan         the same, with a certificate of its own
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

    /// A name agents call this relay by, besides addresses, localhost and the name it listens on: with a port it
    /// counts for that port alone. Once for each; calls under other names are refused.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,

    /// Let web pages of this origin connect, such as https://app.example. Once for each; without it none can.
    #[arg(long = "allow-origin", value_name = "URL")]
    origins: Vec<String>,

    /// Serve with TLS only: this file has the certificate, and those of its authorities after it (PEM). Looked at again
    /// every few seconds, and on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls_self_signed")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM), in a file that only its owner may read.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Serve with TLS only, with a certificate made at the start. Its key stays beside the store: clients are given the
    /// pin that is printed, or the file that ends in .tls.crt.
    #[arg(long)]
    tls_self_signed: bool,

    /// Give credentials for tokens of other issuers, at /v1/token, as this file says (docs/security.md).
    #[arg(long, value_name = "FILE")]
    exchange: Option<PathBuf>,

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

    /// What clients of other libraries may do that show no pass, at /yjs/{room}, /hocuspocus and /automerge/{swarm}.
    /// Unless given: write without a policy; none with one, under which `aepoch token pass` makes passes that say more. See
    /// docs/wires.md.
    #[arg(long, value_name = "RIGHT", value_parser = ["none", "read", "write"])]
    guests: Option<String>,

    /// The swarm's policy: nobody comes in without a credential it admits. The file is followed: a version that is in
    /// force later, as after `aepoch policy revoke`, counts within a second.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The swarm the policy must be of, by its name; whoever can write the file could put another swarm's there.
    #[arg(long, value_name = "ID", requires = "policy")]
    policy_swarm: Option<PolicyHash>,

    /// Deltas, presence and messages in a second that a connection is read, 1,000,000 at most; what is faster is read
    /// later. 100 with a policy, which may lower it; else as many as come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    updates_per_second: Option<u64>,

    /// Bytes in a second that a connection is read. 1 MiB with a policy, which may lower it; else as many as come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    bytes_per_second: Option<u64>,

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
    builder = args.hosts.iter().fold(builder, |builder, name| builder.host(name));
    builder = args.origins.iter().fold(builder, |builder, origin| builder.allow_origin(origin));
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        builder = builder.tls(certificate, key);
    }
    if let Some(path) = &args.exchange {
        builder = builder.exchange(path);
    }
    if args.tls_self_signed {
        builder = builder.tls_self_signed();
    }
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
    let policy = args.policy.as_deref().map(|path| PolicyFile::open(path, args.policy_swarm)).transpose()?;
    if let Some(policy) = &policy {
        builder = builder.policy(policy.authority.clone());
    }
    if args.updates_per_second.is_some() || args.bytes_per_second.is_some() {
        let most = if policy.is_some() { Rates::ADMITTED } else { Rates::OPEN };
        builder = builder.rates(Rates {
            updates_per_second: args.updates_per_second.unwrap_or(most.updates_per_second),
            bytes_per_second: args.bytes_per_second.unwrap_or(most.bytes_per_second),
        });
    }
    if let Some(guests) = &args.guests {
        builder = builder.guests(match guests.as_str() {
            "write" => Guests::Write,
            "read" => Guests::Read,
            _ => Guests::None,
        });
    }
    let relay = builder.open().await?;
    announce(args, output, &relay)?;
    tokio::select! {
        reason = told_to_stop => tracing::info!(reason, "stopping"),
        never = reload_when_asked(&relay), if relay.tls_pin().is_some() => never?,
        () = lines::ended(), if args.until_stdin_ends => tracing::info!("stdin ended, stopping"),
        () = follow(policy, &relay) => {}
    }
    relay.shut_down().await?;
    Ok(ExitCode::SUCCESS)
}

/// Gives the relay every newer version; never ends.
async fn follow(policy: Option<PolicyFile>, relay: &Relay) {
    let Some(mut policy) = policy else { return std::future::pending().await };
    loop {
        tokio::time::sleep(POLICY_LOOK).await;
        let looked = tokio::task::spawn_blocking(move || {
            let newer = policy.look();
            (policy, newer)
        });
        let Ok((kept, newer)) = looked.await else { return std::future::pending().await };
        policy = kept;
        match newer {
            Ok(Some(authority)) => {
                tracing::info!(version = authority.policy().version, "a newer policy is in force");
                relay.set_policy(&authority);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the policy file is not used, the version before stays in force"),
        }
    }
}

fn announce(args: &ServeArgs, output: &Output, relay: &Relay) -> Result<(), Failure> {
    let url = relay.url();
    if args.print_address && !output.is_json() {
        return output.answer(&url, &url);
    }
    let kept = if args.memory { "memory".to_owned() } else { args.store.display().to_string() };
    let pin = relay.tls_pin().map(|pin| pin.to_string());
    let how = pin.as_ref().map(|pin| format!("\nclients: aepoch state get --connect {url} --tls-pin {pin}"));
    let how = how.unwrap_or_default();
    output.answer(
        format_args!("{STRONG}relay listening on {url}{STRONG:#}{FAINT}, documents in {kept}{how}{FAINT:#}"),
        &json!({ "url": url, "address": relay.address().to_string(), "store": kept, "tls_pin": pin }),
    )
}

/// Looks at the certificate's files whenever SIGHUP asks for it.
#[cfg(unix)]
async fn reload_when_asked(relay: &Relay) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        match relay.reload_tls().await {
            Ok(true) => {}
            Ok(false) => tracing::info!("the certificate has not changed"),
            Err(error) => tracing::error!(%error, "the new certificate cannot be used, the old one stays"),
        }
    }
    std::future::pending().await
}

#[cfg(not(unix))]
async fn reload_when_asked(_: &Relay) -> Result<(), Failure> {
    std::future::pending().await
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
