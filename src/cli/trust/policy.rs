//! `aepoch policy`: writing, signing and reading a swarm's policy. Layer 7.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

use aepoch::{
    id::AgentId,
    limits,
    tier::Tier,
    trust::{
        key::PublicKey,
        pattern::RoomPattern,
        policy::{Issuer, Lives, PolicyHash, Roots, SwarmPolicy},
        succession::{SignedPolicy, Versions},
    },
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    super::{
        Failure,
        output::{GOOD, ODD, Output, STRONG},
    },
    files,
};

/// The file that says who may change the policy, who may issue credentials, and what is revoked.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PolicyCommand {
    /// Write the first version. Its hash is the name of the swarm.
    #[command(after_help = "It is in force once as many root keys have signed as --needed says.

Examples:
  aepoch policy init swarm.json --root \"$ROOT\" --issuer alpha:\"$ISSUER\" --key root.key
  aepoch policy init swarm.json --needed 2 --root \"$ADA\" --root \"$BOB\" --root \"$CYD\" \\
      --issuer beta:\"$ISSUER\":band/**,crew/*         betas at most, in these rooms only")]
    Init(InitArgs),
    /// Add your signature to the newest version.
    #[command(after_help = "A new version needs enough root keys of the version before, and of its own.

Examples:
  aepoch policy sign swarm.json --key root-2.key")]
    Sign(SignArgs),
    /// Say which version is in force, and what the newest one lacks.
    #[command(
        after_help = "Exit code 1 when none is in force. Compare the swarm's name with one you were given by other means, or
give it: whoever writes the file can write one of another swarm.

Examples:
  aepoch policy show swarm.json
  aepoch policy show swarm.json --swarm \"$SWARM\" --json | jq .policy.revoked"
    )]
    Show(ShowArgs),
    /// Write the version in which an agent's credentials, or an issuer's key, count no more.
    #[command(
        after_help = "Credentials that were issued to the agent before now are void, and those it has passed on; later ones count.
An issuer's key that is retired is refused from then on: issue by another one first.

Examples:
  aepoch policy revoke swarm.json --subject planner --key root.key
  aepoch policy revoke swarm.json --issuer \"$KID\"      then: aepoch policy sign"
    )]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// The file to write; it must not exist.
    file: PathBuf,
    /// A public key that may change the policy. Once for each.
    #[arg(long = "root", required = true, value_name = "PUBLIC", allow_hyphen_values = true)]
    roots: Vec<PublicKey>,
    /// How many of them it takes.
    #[arg(long, default_value_t = 1)]
    needed: u64,
    /// A public key that may issue credentials, the highest tier it may give, and its rooms (all, unless given).
    #[arg(long = "issuer", value_name = "TIER:PUBLIC[:ROOMS,..]", value_parser = issuer)]
    issuers: Vec<Issuer>,
    /// An agent that may take part. Once for each; without any, everybody with a credential may.
    #[arg(long = "allow", value_name = "AGENT")]
    allow: Vec<AgentId>,
    /// How long an alpha's credential may live, in seconds.
    #[arg(long, default_value_t = limits::ALPHA_LIFE_SECONDS, value_name = "SECONDS")]
    alpha_life: u64,
    /// How long any other credential may live, in seconds.
    #[arg(long, default_value_t = limits::WORKER_LIFE_SECONDS, value_name = "SECONDS")]
    life: u64,
    /// The file of a root key to sign with. Once for each.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SignArgs {
    /// The policy file.
    file: PathBuf,
    /// The file of a root key to sign with. Once for each.
    #[arg(long = "key", required = true, value_name = "FILE")]
    keys: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The policy file.
    file: PathBuf,
    /// The name the swarm must have.
    #[arg(long, value_name = "ID")]
    swarm: Option<PolicyHash>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// The policy file.
    file: PathBuf,
    /// The agent whose credentials are void.
    #[arg(long, value_name = "AGENT", required_unless_present = "issuer")]
    subject: Option<AgentId>,
    /// Those issued before this time, in seconds since 1970; now, unless given.
    #[arg(long, value_name = "SECONDS", requires = "subject")]
    before: Option<u64>,
    /// The name (kid) of the issuer's key that is retired.
    #[arg(long, value_name = "KID")]
    issuer: Option<String>,
    /// The file of a root key to sign with. Once for each.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// `beta:KEY` or `beta:KEY:band/**,crew/*`.
fn issuer(text: &str) -> Result<Issuer, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(tier), Some(key)) = (parts.next(), parts.next()) else {
        return Err(format!("`{text}` is not of the form TIER:PUBLIC or TIER:PUBLIC:ROOMS"));
    };
    let max_tier: Tier = tier.parse().map_err(|error| format!("{error}"))?;
    let key: PublicKey = key.parse().map_err(|error| format!("{error}"))?;
    let rooms = parts.next().unwrap_or("**").split(',').map(str::parse::<RoomPattern>);
    let rooms = rooms.collect::<Result<BTreeSet<_>, _>>().map_err(|error| error.to_string())?;
    Ok(Issuer { key, max_tier, rooms })
}

pub(in crate::cli) fn run(command: PolicyCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Init(args) => init(args, output),
        PolicyCommand::Sign(args) => {
            let (swarm, mut versions) = files::read_policy(&args.file)?;
            sign(&mut versions, &args.keys)?;
            files::replace_policy(&args.file, &versions)?;
            tell(&swarm, &versions, output).map(|_| ExitCode::SUCCESS)
        }
        PolicyCommand::Show(args) => {
            let (found, versions) = files::read_policy(&args.file)?;
            if let Some(wanted) = args.swarm.filter(|wanted| *wanted != found) {
                return Err(Failure::failed(format!("{} is of the swarm {found}, not {wanted}", args.file.display())));
            }
            let in_force = tell(&found, &versions, output)?;
            Ok(if in_force { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        PolicyCommand::Revoke(args) => revoke(args, output),
    }
}

fn init(args: InitArgs, output: &Output) -> Result<ExitCode, Failure> {
    let policy = SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: args.needed, keys: args.roots.into_iter().collect() },
        issuers: args.issuers.into_iter().map(|issuer| (issuer.key.thumbprint(), issuer)).collect(),
        allow: (!args.allow.is_empty()).then(|| args.allow.into_iter().collect()),
        revoked: BTreeMap::new(),
        limits: Lives { alpha_seconds: args.alpha_life, other_seconds: args.life },
    };
    policy.check().map_err(|error| Failure::usage(error.to_string()))?;
    let swarm = policy.hash();
    let mut versions = Versions { versions: vec![SignedPolicy::unsigned(policy)] };
    sign(&mut versions, &args.keys)?;
    files::write_new(&args.file, &files::policy_text(&versions)?, 0o644)?;
    tell(&swarm, &versions, output).map(|_| ExitCode::SUCCESS)
}

fn revoke(args: RevokeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let (swarm, mut versions) = files::read_policy(&args.file)?;
    let current = files::in_force(&args.file, &swarm, &versions)?;
    if let Some(pending) = versions.versions.iter().find(|version| version.policy.version > current.policy.version) {
        let version = pending.policy.version;
        return Err(Failure::failed(format!(
            "version {version} lacks signatures: sign it first, or take it out of the file"
        )));
    }
    let mut next = current.policy.next();
    if let Some(agent) = args.subject {
        // What was issued in this very second is void too.
        let before = args.before.unwrap_or_else(|| files::now() + 1);
        let earlier = next.revoked.get(&agent).copied().unwrap_or(0);
        next.revoked.insert(agent, before.max(earlier));
    }
    if let Some(kid) = args.issuer
        && next.issuers.remove(&kid).is_none()
    {
        return Err(Failure::failed(format!("version {} has no issuer `{kid}`", current.policy.version)));
    }
    next.check().map_err(|error| Failure::usage(error.to_string()))?;
    versions.versions.push(SignedPolicy::unsigned(next));
    sign(&mut versions, &args.keys)?;
    files::replace_policy(&args.file, &versions)?;
    tell(&swarm, &versions, output).map(|_| ExitCode::SUCCESS)
}

/// Signs the newest version.
fn sign(versions: &mut Versions, keys: &[PathBuf]) -> Result<(), Failure> {
    for path in keys {
        let key = files::read_key(path)?;
        let public = key.public();
        let Some(newest) = newest(versions) else { return Ok(()) };
        let before = versions.versions.iter().find(|version| Some(version.policy.hash()) == newest.policy.previous);
        let is_root = |version: &SignedPolicy| version.policy.roots.keys.contains(&public);
        if !is_root(newest) && !before.is_some_and(is_root) {
            return Err(no_root(path, newest.policy.version));
        }
        let hash = newest.policy.hash();
        versions
            .versions
            .iter_mut()
            .filter(|version| version.policy.hash() == hash)
            .for_each(|version| version.sign(&key));
    }
    Ok(())
}

fn no_root(path: &Path, version: u64) -> Failure {
    Failure::failed(format!("the key in {} is no root of version {version}, nor of the one before", path.display()))
}

fn newest(versions: &Versions) -> Option<&SignedPolicy> {
    versions.versions.iter().max_by_key(|version| version.policy.version)
}

/// Says what is in force and what the newest version lacks; true when some version is in force.
fn tell(swarm: &PolicyHash, versions: &Versions, output: &Output) -> Result<bool, Failure> {
    let current = versions.in_force(swarm).ok();
    let in_force = current.as_ref().map(|current| current.policy.version);
    let newest = newest(versions).filter(|newest| in_force.is_none_or(|version| newest.policy.version > version));
    let lacking = newest.map(|newest| {
        let before = versions.versions.iter().find(|version| Some(version.policy.hash()) == newest.policy.previous);
        let roots = before.map(|before| &before.policy.roots).into_iter().chain([&newest.policy.roots]);
        let lacks = roots.map(|roots| roots.needed.saturating_sub(newest.signed_by(roots))).max().unwrap_or(0);
        (newest.policy.version, lacks)
    });
    let mut lines = vec![format!("swarm {STRONG}{swarm}{STRONG:#}")];
    lines.push(match &current {
        Some(current) => format!("version {} is {GOOD}in force{GOOD:#}", current.policy.version),
        None => format!("{ODD}no version is in force{ODD:#}"),
    });
    for (kid, issuer) in current.iter().flat_map(|current| &current.policy.issuers) {
        let rooms: Vec<String> = issuer.rooms.iter().map(ToString::to_string).collect();
        lines.push(format!("  issuer {kid}: {} at most, in {}", issuer.max_tier, rooms.join(" ")));
    }
    for (agent, before) in current.iter().flat_map(|current| &current.policy.revoked) {
        lines.push(format!("  revoked {agent}: what was issued before {before}"));
    }
    for sibling in current.iter().flat_map(|current| &current.siblings) {
        lines.push(format!("  {ODD}alarm{ODD:#}: {sibling} was signed as well, and lost: root keys were used twice"));
    }
    if let Some((version, lacks)) = lacking {
        lines.push(format!("version {version} {ODD}lacks {lacks} signatures{ODD:#}: aepoch policy sign"));
    }
    let pending = lacking.map(|(version, lacks)| json!({ "version": version, "lacks": lacks }));
    let told = json!({
        "swarm": swarm,
        "in_force": in_force,
        "policy": current.as_ref().map(|current| &current.policy),
        "siblings": current.as_ref().map_or(&[][..], |current| &current.siblings),
        "pending": pending,
    });
    output.answer(lines.join("\n"), &told)?;
    Ok(current.is_some())
}
