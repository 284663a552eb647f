//! What people write on the command line: spans of time, tiers, and what is set for each of them. Layer 7.

use std::time::Duration;

use aepoch::{
    coordination::kernel::OnShortfall,
    tier::{Tier, TierError},
};

/// Longest span that is read: a day. Longer ones are slips of a unit.
const SPAN_MAX: Duration = Duration::from_secs(86_400);

/// `500ms`, `15s`, `2m`, `1h`; a number alone is seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let end = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match &text[end..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` is no span of time, such as 500ms, 15s, 2m or 1h")),
    };
    let number: u64 = text[..end].parse().map_err(|error| format!("`{text}` is no span of time: {error}"))?;
    let span = Duration::from_millis(number.saturating_mul(unit_ms));
    if span > SPAN_MAX { Err(format!("`{text}` is over the limit of {} s", SPAN_MAX.as_secs())) } else { Ok(span) }
}

/// A tier by its name.
fn tier(text: &str) -> Result<Tier, String> {
    text.parse().map_err(|error: TierError| error.to_string())
}

/// `alpha:a,b`.
pub(super) fn members(text: &str) -> Result<(Tier, Vec<String>), String> {
    let (rank, names) = text.split_once(':').ok_or_else(|| format!("`{text}` is not of the form alpha:a,b"))?;
    let names: Vec<String> = names.split(',').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err(format!("`{text}` has a member without a name"));
    }
    Ok((tier(rank)?, names))
}

fn pair<'t>(text: &'t str, example: &str) -> Result<(&'t str, &'t str), String> {
    text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form {example}"))
}

/// `alpha=15s`.
pub(super) fn timeout(text: &str) -> Result<(Tier, Duration), String> {
    let (rank, value) = pair(text, "alpha=15s")?;
    Ok((tier(rank)?, span(value)?))
}

/// `alpha=2`.
pub(super) fn at_least(text: &str) -> Result<(Tier, u32), String> {
    let (rank, value) = pair(text, "alpha=2")?;
    let value = value.parse().map_err(|error| format!("`{text}` has no number of members: {error}"))?;
    Ok((tier(rank)?, value))
}

/// `a=3`.
pub(super) fn weight(text: &str) -> Result<(String, u32), String> {
    let (agent, value) = pair(text, "a=3")?;
    let value = value.parse().map_err(|error| format!("`{text}` has no weight: {error}"))?;
    Ok((agent.to_owned(), value))
}

/// `wait`, `proceed` or `break`, for all tiers; `alpha=break` for one.
pub(super) fn on_shortfall(text: &str) -> Result<(Option<Tier>, OnShortfall), String> {
    let (rank, what) = text.split_once('=').map_or((None, text), |(rank, what)| (Some(rank), what));
    let what = match what {
        "wait" => OnShortfall::Wait,
        "proceed" => OnShortfall::Proceed,
        "break" => OnShortfall::Break,
        _ => return Err(format!("`{what}` is none of wait, proceed and break")),
    };
    Ok((rank.map(tier).transpose()?, what))
}

/// How many may be unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tolerate {
    Number(u32),
    Minority,
}

/// `1`, or `minority`.
pub(super) fn tolerate(text: &str) -> Result<Tolerate, String> {
    match text {
        "minority" => Ok(Tolerate::Minority),
        _ => text.parse().map(Tolerate::Number).map_err(|_| format!("`{text}` is neither a number nor `minority`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_bounds() {
        let read = ["500ms", "15s", "15", "2m", "1h", "0"].map(|text| span(text).unwrap().as_millis());
        assert_eq!(read, [500, 15_000, 15_000, 120_000, 3_600_000, 0]);
        for text in ["", "s", "-1s", "1.5s", "3 s", "1d", "25h", "99999999999999999999s"] {
            assert!(span(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn what_is_set_for_tiers_is_read_and_slips_are_named() {
        assert_eq!(members("gamma:w1,w2").unwrap(), (Tier::GAMMA, vec!["w1".to_owned(), "w2".to_owned()]));
        assert_eq!(timeout("tier-3=2m").unwrap(), (Tier(3), Duration::from_secs(120)));
        assert_eq!(at_least("alpha=2").unwrap(), (Tier::ALPHA, 2));
        assert_eq!(weight("a=3").unwrap(), ("a".to_owned(), 3));
        assert_eq!(on_shortfall("wait").unwrap(), (None, OnShortfall::Wait));
        assert_eq!(on_shortfall("alpha=break").unwrap(), (Some(Tier::ALPHA), OnShortfall::Break));
        assert_eq!(tolerate("minority").unwrap(), Tolerate::Minority);
        assert!(members("a,b").unwrap_err().contains("`a,b`"));
        assert!(members("delta:a").unwrap_err().contains("`delta`"));
        assert!(members("alpha:a,,b").unwrap_err().contains("alpha:a,,b"));
        assert!(timeout("alpha=soon").unwrap_err().contains("`soon`"));
        assert!(on_shortfall("alpha=hope").unwrap_err().contains("`hope`"));
        assert!(tolerate("most").unwrap_err().contains("`most`"));
    }
}
