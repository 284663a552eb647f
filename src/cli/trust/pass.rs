//! `aepoch token pass`: passes for clients of other libraries. Layer 7.

use std::{path::PathBuf, process::ExitCode};

use aepoch::{
    id::AgentId,
    trust::{
        jws::Jws,
        pass::{PassAllowance, PassClaims, admit},
        pattern::Grant,
    },
};
use clap::Args;
use serde_json::json;

use super::{
    super::{
        Failure,
        output::{FAINT, Output, STRONG},
    },
    files,
    token::{self, InspectArgs, LIFE_SECONDS, issuer, judged, refused, rooms, token_id, verdict_line},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct PassArgs {
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The file of the issuer's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Whom it is for: the name others see.
    #[arg(long, value_name = "NAME")]
    subject: AgentId,
    /// Rights in the rooms of a pattern: * is one segment, ** at the end is all below. Once for each.
    #[arg(long = "room", value_name = "ROOMS=RIGHT,..", value_parser = token::grant, required = true)]
    rooms: Vec<Grant>,
    /// How long it lives, in seconds; as long as the policy allows to others than alphas, at most.
    #[arg(long, value_name = "SECONDS", default_value_t = LIFE_SECONDS)]
    life: u64,
}

pub(super) fn mint(args: &PassArgs, output: &Output) -> Result<ExitCode, Failure> {
    if let Some(grant) = args.rooms.iter().find(|grant| grant.keys.is_some()) {
        let reason = "clients of other libraries write content, which has no paths: leave out what follows `:`";
        return Err(Failure::usage(format!("--room {}: {reason}", grant.rooms)));
    }
    let (swarm, versions) = files::read_policy(&args.policy)?;
    let current = files::in_force(&args.policy, &swarm, &versions)?;
    let key = files::read_key(&args.key)?;
    let (now, kid) = (files::now(), issuer(&current, &key)?);
    let claims = PassClaims {
        iss: kid.clone(),
        sub: args.subject.clone(),
        aud: swarm,
        iat: now,
        nbf: now,
        exp: now.saturating_add(args.life),
        jti: token_id()?,
        swm: PassAllowance { rooms: args.rooms.clone() },
    };
    let token = claims.sign(&kid, &key).map_err(refused)?;
    admit(&token, &swarm, &current.policy, now).map_err(refused)?;
    output.answer(&token, &json!({ "token": token, "claims": claims }))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn inspect(
    args: &InspectArgs,
    presented: &str,
    token: &Jws<'_>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let claims = PassClaims::read(token.unverified()).map_err(refused)?;
    let verdict = judged(args, |swarm, policy, now| admit(presented, swarm, policy, now))?;
    let PassClaims { sub, aud, nbf, exp, swm, .. } = &claims;
    let verdict_line = verdict_line(verdict.as_ref(), |pass| format!("as the guest {}", pass.subject()));
    let text = format!(
        "a pass for {STRONG}{sub}{STRONG:#}, from {nbf} to {exp}\n  {FAINT}signed with {} for the swarm {aud}{FAINT:#}{}\n{verdict_line}",
        token.kid(),
        rooms(&swm.rooms)
    );
    let told = json!({
        "pass": { "kid": token.kid(), "claims": claims },
        "admitted": verdict.as_ref().and_then(|verdict| verdict.as_ref().ok()).map(|pass| json!({
            "guest": pass.subject(), "expires": pass.expires(),
        })),
        "refused": verdict.as_ref().and_then(|verdict| verdict.as_ref().err()).map(ToString::to_string),
    });
    output.answer(text, &told)?;
    Ok(if matches!(verdict, Some(Err(_))) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
