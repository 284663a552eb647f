//! `aepoch token`: issuing credentials and passes, passing credentials on, and looking into them. Layer 7.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use aepoch::{
    id::AgentId,
    tier::Tier,
    trust::{
        credential::{Admission, Allowance, Claims, Confirmation, CredentialError, admit},
        delegation,
        jws::{Jws, Kind},
        key::{PrivateKey, PublicKey},
        pattern::{Grant, Right, RoomPattern},
        policy::{PolicyHash, SwarmPolicy},
        succession::InForce,
    },
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    super::{
        Failure,
        output::{BAD, FAINT, GOOD, Output, STRONG},
    },
    exchange::{self, ExchangeArgs},
    files,
    pass::{self, PassArgs},
};

/// How long a credential lives unless told otherwise, in seconds: what an alpha's may.
pub(super) const LIFE_SECONDS: u64 = 15 * 60;

/// Credentials: what an agent may do, signed by an issuer of the policy, useless without the agent's key.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Issue a credential, or pass one on; print it.
    #[command(
        after_help = "What the policy in force would refuse is not issued. Rights: read, write, presence, coordinate, compact, admin, or all.
With --from, you are its holder: --key is your own key, and the new one allows no more, ends no later, is never alpha.

Examples:
  aepoch token mint --policy swarm.json --key issuer.key --subject planner --holder \"$PUBLIC\" \\
      --tier beta --room 'band/**=read,write,coordinate' --pass-on 1 > planner.token
  aepoch token mint --policy swarm.json --key issuer.key --agents w1,w2,w3 --into agents --tier gamma \\
      --room 'band/**=all'                         keys and credentials; again, and the keys stay
  aepoch token mint --policy swarm.json --from planner.token --key planner.key --subject worker \\
      --holder \"$PUBLIC\" --tier gamma --room 'band/stage=read' > worker.token"
    )]
    Mint(Box<MintArgs>),
    /// Issue a pass to a client of another library (y-websocket, Hocuspocus, automerge-repo); print it.
    #[command(
        after_help = "A pass needs no key, so whoever has it can use it until it ends: give it a short life, and send it over TLS only.
Rights that mean something to such clients: read, write, presence. Your own backend can make passes with any library that
signs tokens with Ed25519: docs/wires.md.

Examples:
  aepoch token pass --policy swarm.json --key issuer.key --subject alice --room 'band/**=read,write,presence'
  aepoch token pass --policy swarm.json --key issuer.key --subject visitor --room 'band/stage=read' --life 300"
    )]
    Pass(PassArgs),
    /// Exchange a token of another issuer, such as your identity provider, for a credential; print it.
    #[command(
        after_help = "The relay checks the token with its issuer's keys, and that you have the key the credential is to be bound to.
What is granted is the relay's to say. The credential ends with the token at the latest.

Examples:
  aepoch token exchange --relay wss://relay.example --key planner.key --subject-token idp.jwt > planner.token
  fetch-token | aepoch token exchange --key planner.key --subject-token - --json | jq .expires_in"
    )]
    Exchange(ExchangeArgs),
    /// Say what a credential or a pass claims and, with a policy, whether it counts.
    #[command(
        after_help = "Exit code 1 when it cannot be read, or the policy refuses it. Without --policy nothing is verified.

Examples:
  aepoch token inspect planner.token
  aepoch token inspect - --policy swarm.json --json < planner.token | jq .admitted"
    )]
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MintArgs {
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The file of the issuer's key; with --from, of its holder's.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The agent it is for.
    #[arg(long, value_name = "AGENT", required_unless_present = "agents", requires = "holder")]
    subject: Option<AgentId>,
    /// The public key of that agent.
    #[arg(long, value_name = "PUBLIC", requires = "subject", allow_hyphen_values = true)]
    holder: Option<PublicKey>,
    /// Issue to each of these agents, into files AGENT.token beside AGENT.key; a key that is not there yet is made.
    #[arg(long, value_name = "AGENT,..", value_delimiter = ',', conflicts_with = "subject", requires = "into")]
    agents: Vec<AgentId>,
    /// The folder of those files; it is made.
    #[arg(long, value_name = "FOLDER", requires = "agents")]
    into: Option<PathBuf>,
    /// The highest tier: alpha, beta, gamma, tier-3 and so on.
    #[arg(long)]
    tier: Tier,
    /// Rights in the rooms of a pattern: * is one segment, ** at the end is all below. With paths (register/jobs), only
    /// records below them may be written. Once for each.
    #[arg(long = "room", value_name = "ROOMS=RIGHT,..[:PATH,..]", value_parser = grant)]
    rooms: Vec<Grant>,
    /// How long it lives, in seconds; 900, or as long as the one passed on, unless given.
    #[arg(long, value_name = "SECONDS")]
    life: Option<u64>,
    /// The incarnation of the agent.
    #[arg(long, default_value_t = 1)]
    incarnation: u64,
    /// How often it may be passed on: 0 to 2.
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    pass_on: u8,
    /// The credential to pass on: a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArgs {
    /// The credential or pass: a file, or - for standard input.
    file: PathBuf,
    /// The policy file to judge it by.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The time to judge it at, in seconds since 1970; now, unless given.
    #[arg(long, value_name = "SECONDS", requires = "policy")]
    at: Option<u64>,
}

/// `band/**=read,write` or `band/**=write:register/jobs,counter`.
pub(super) fn grant(text: &str) -> Result<Grant, String> {
    let form = "ROOMS=RIGHT,.. or ROOMS=RIGHT,..:PATH,..";
    let (rooms, rights) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form {form}"))?;
    let (rights, keys) = rights.split_once(':').map_or((rights, None), |(rights, keys)| (rights, Some(keys)));
    let keys = keys.map(|keys| keys.split(',').map(str::to_owned).collect());
    let rooms: RoomPattern = rooms.parse().map_err(|error| format!("{error}"))?;
    let rights = match rights {
        "all" => Right::ALL.to_vec(),
        rights => rights.split(',').map(str::parse::<Right>).collect::<Result<_, _>>()?,
    };
    Ok(Grant { rooms, rights, keys })
}

pub(in crate::cli) fn run(command: TokenCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Mint(args) => mint(&args, output),
        TokenCommand::Pass(args) => pass::mint(&args, output),
        TokenCommand::Exchange(args) => exchange::run(&args, output),
        TokenCommand::Inspect(args) => inspect(&args, output),
    }
}

fn mint(args: &MintArgs, output: &Output) -> Result<ExitCode, Failure> {
    if let (Some(agent), Some(holder)) = (&args.subject, args.holder) {
        let (token, claims) = issue(args, agent, holder)?;
        output.answer(&token, &json!({ "token": token, "claims": claims }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let into = args.into.as_deref().unwrap_or(Path::new("."));
    fs::create_dir_all(into).map_err(|error| Failure::failed(format!("{}: {error}", into.display())))?;
    for agent in &args.agents {
        let (key, token) = (into.join(format!("{agent}.key")), into.join(format!("{agent}.token")));
        let holder = files::read_or_make_key(&key)?.public();
        let (issued, claims) = issue(args, agent, holder)?;
        files::replace(&token, &format!("{issued}\n"), 0o600)?;
        let told = json!({ "agent": agent, "token": token, "key": key, "claims": claims });
        output.answer(format_args!("{STRONG}{agent}{STRONG:#}  {}  {}", token.display(), key.display()), &told)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A credential for `agent`, which the policy in force admits.
fn issue(args: &MintArgs, agent: &AgentId, holder: PublicKey) -> Result<(String, Claims), Failure> {
    let (swarm, versions) = files::read_policy(&args.policy)?;
    let current = files::in_force(&args.policy, &swarm, &versions)?;
    let key = files::read_key(&args.key)?;
    let from = args.from.as_deref().map(files::read_token).transpose()?;
    let before = from.as_deref().map(delegation::unverified).transpose().map_err(refused)?;
    let before = before.and_then(|links| links.into_iter().next_back()).map(|(_, claims)| claims);
    let now = files::now();
    let kid = if before.is_some() { key.public().thumbprint() } else { issuer(&current, &key)? };
    let claims = Claims {
        iss: before.as_ref().map_or(kid.clone(), |before| before.sub.to_string()),
        sub: agent.clone(),
        aud: swarm,
        iat: now,
        nbf: now,
        exp: match (args.life, &before) {
            (None, Some(before)) => before.exp.min(now.saturating_add(LIFE_SECONDS)),
            (life, _) => now.saturating_add(life.unwrap_or(LIFE_SECONDS)),
        },
        jti: token_id()?,
        cnf: Confirmation { jwk: holder.into() },
        swm: Allowance { tier: args.tier, rooms: args.rooms.clone(), inc: args.incarnation, del: args.pass_on },
    };
    let token = claims.sign(&kid, &key).map_err(refused)?;
    let token = from.map_or_else(|| token.clone(), |from| delegation::pass_on(&from, &token));
    let admitted = admit(&token, &swarm, &current.policy, now).map_err(refused)?;
    if admitted.tier != args.tier {
        return Err(Failure::failed(format!("the issuer gives {} at most, not {}", admitted.tier, args.tier)));
    }
    Ok((token, claims))
}

pub(super) fn token_id() -> Result<String, Failure> {
    let id: [u8; 16] = files::entropy()?;
    Ok(format!("{:032x}", u128::from_be_bytes(id)))
}

pub(super) fn issuer(current: &InForce, key: &PrivateKey) -> Result<String, Failure> {
    current.policy.kid_of(&key.public()).map(str::to_owned).ok_or_else(|| {
        let (key, version) = (key.public(), current.policy.version);
        Failure::failed(format!("the key {key} is no issuer of version {version} of the policy"))
    })
}

pub(super) fn refused(error: CredentialError) -> Failure {
    Failure::failed(error.to_string())
}

fn inspect(args: &InspectArgs, output: &Output) -> Result<ExitCode, Failure> {
    let presented = files::read_token(&args.file)?;
    if let Ok(token) = Jws::parse_as(Kind::Guest, &presented) {
        return pass::inspect(args, &presented, &token, output);
    }
    let links = delegation::unverified(&presented).map_err(refused)?;
    let verdict = judged(args, |swarm, policy, now| admit(&presented, swarm, policy, now))?;
    let mut lines: Vec<String> = links.iter().map(|(kid, claims)| line(kid, claims)).collect();
    let admitted = |admitted: &Admission| format!("as {}, tier {}", admitted.agent, admitted.tier);
    lines.push(verdict_line(verdict.as_ref(), admitted));
    let told = json!({
        "links": links.iter().map(|(kid, claims)| json!({ "kid": kid, "claims": claims })).collect::<Vec<_>>(),
        "admitted": verdict.as_ref().and_then(|verdict| verdict.as_ref().ok()).map(admission),
        "refused": verdict.as_ref().and_then(|verdict| verdict.as_ref().err()).map(ToString::to_string),
    });
    output.answer(lines.join("\n"), &told)?;
    Ok(if matches!(verdict, Some(Err(_))) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) type Verdict<T> = Result<T, CredentialError>;

/// What the policy says, when one was given.
pub(super) fn judged<T>(
    args: &InspectArgs,
    judge: impl FnOnce(&PolicyHash, &SwarmPolicy, u64) -> Verdict<T>,
) -> Result<Option<Verdict<T>>, Failure> {
    let Some(path) = &args.policy else { return Ok(None) };
    let (swarm, versions) = files::read_policy(path)?;
    let current = files::in_force(path, &swarm, &versions)?;
    Ok(Some(judge(&swarm, &current.policy, args.at.unwrap_or_else(files::now))))
}

pub(super) fn verdict_line<T>(verdict: Option<&Verdict<T>>, admitted: impl FnOnce(&T) -> String) -> String {
    match verdict {
        None => format!("{FAINT}not verified: no policy was given{FAINT:#}"),
        Some(Ok(found)) => format!("{GOOD}admitted{GOOD:#} {}", admitted(found)),
        Some(Err(error)) => format!("{BAD}refused{BAD:#}: {error}"),
    }
}

pub(super) fn rooms(grants: &[Grant]) -> String {
    let rooms = grants.iter().map(|grant| {
        let rights: Vec<&str> = grant.rights.iter().map(|right| right.name()).collect();
        let keys: Vec<&str> = grant.keys.iter().flatten().map(String::as_str).collect();
        let below = if grant.keys.is_some() { format!(" below {}", keys.join(",")) } else { String::new() };
        format!("\n  {} {}{below}", grant.rooms, rights.join(","))
    });
    rooms.collect()
}

fn line(kid: &str, claims: &Claims) -> String {
    format!(
        "{STRONG}{}{STRONG:#} {}, from {} to {}, may be passed on {} times\n  {FAINT}signed with {kid} for the swarm {}{FAINT:#}{}",
        claims.sub,
        claims.swm.tier,
        claims.nbf,
        claims.exp,
        claims.swm.del,
        claims.aud,
        rooms(&claims.swm.rooms)
    )
}

fn admission(admitted: &Admission) -> serde_json::Value {
    json!({
        "agent": admitted.agent,
        "incarnation": admitted.incarnation,
        "key": admitted.key,
        "tier": admitted.tier.to_string(),
        "expires": admitted.expires,
    })
}
