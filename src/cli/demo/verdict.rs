//! What the demo proves at its end: a fresh reader against a plain sequential count. Layer 7.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use aepoch::agent::Agent;
use serde::Serialize;

use super::{
    corpus::{self, Analysis, Statistics},
    protocol::{DOCUMENT, FILES, INDEX, Plan, SWARM},
    swarm::Seen,
};
use crate::cli::{
    Failure,
    connect::catch_up,
    http::Access,
    output::{BAD, FAINT, GOOD, STRONG, size},
    source::Source,
};

/// How long the reader may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the reader looks whether it holds what the agents hold, and how long between.
const LOOKS: u32 = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Words shown at the end.
const WORDS_SHOWN: usize = 5;

/// What must be found: one process counting one file after the other.
#[derive(Debug)]
pub(super) struct Expected {
    statistics: BTreeMap<String, Statistics>,
    index: BTreeMap<String, u64>,
    words: u64,
}

impl Expected {
    pub(super) fn count(root: &Path, files: &[String]) -> Result<Self, Failure> {
        let mut expected = Self { statistics: BTreeMap::new(), index: BTreeMap::new(), words: 0 };
        for file in files {
            let Analysis { statistics, words } = corpus::analyse(root, file)?;
            expected.words += statistics.words;
            expected.index.extend(words.into_iter().map(|(word, count)| (format!("{word}/{file}"), count)));
            expected.statistics.insert(file.clone(), statistics);
        }
        Ok(expected)
    }
}

/// What a reader found that had no part in the work.
#[derive(Debug)]
pub(super) struct Found {
    statistics: BTreeMap<String, Statistics>,
    index: BTreeMap<String, u64>,
    words: u64,
    digests: Vec<String>,
}

impl Found {
    /// Reads through the relay with an agent that has nothing, and asks the relay for its own digest.
    pub(super) async fn read(plan: &Plan, seen: &Seen) -> Result<Self, Failure> {
        let agent = Agent::builder("reader").swarm(SWARM).connect(&plan.relay).onlooker(true).open().await?;
        let document = agent.document_with(DOCUMENT, plan.engine).await?;
        catch_up(&agent, &document, PATIENCE).await?;
        let agreed = seen.digests.values().next();
        for _ in 0..LOOKS {
            if agreed == Some(&aepoch::document::hex(&document.digest()?)) {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let statistics = document.map::<Statistics>(FILES).entries()?.into_iter();
        let statistics: BTreeMap<String, Statistics> = statistics.map(|(file, one)| (file.to_string(), one)).collect();
        let index = document.map::<u64>(INDEX).entries()?;
        let relay = Source::parse(&plan.relay, Access::default(), PATIENCE).show(document.id()).await?;
        let found = Self {
            index: index.into_iter().map(|(key, count)| (key.to_string(), count)).collect(),
            words: statistics.values().map(|one| one.words).sum(),
            statistics,
            digests: vec![aepoch::document::hex(&document.digest()?), relay.digest],
        };
        drop(document);
        agent.close().await?;
        Ok(found)
    }
}

/// The outcome, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    agents: usize,
    files: usize,
    words: u64,
    expected_words: u64,
    /// All agents, the relay and the reader hold the same.
    digests_equal: bool,
    /// Results acknowledged to an agent that the reader does not see.
    acked_lost: usize,
    /// Every file and every word is counted once, as the sequential count does.
    exact: bool,
    /// Barriers and phases that ended.
    barriers: usize,
    /// How many of these ended without somebody.
    degraded: usize,
    /// Every agent was told the same of each, and shown the same result.
    outcomes_equal: bool,
    /// Claims that ended with their file done.
    claims: usize,
    /// Files that were done more than once.
    double_effects: usize,
    /// Effects of replaced holders, refused by their tokens.
    fenced_off: usize,
    resync_bytes: u64,
    seconds: f64,
}

impl Verdict {
    pub(super) fn new(plan: &Plan, seen: &Seen, expected: &Expected, found: &Found, seconds: f64) -> Self {
        let digests: BTreeSet<&String> = seen.digests.values().chain(&found.digests).collect();
        let lost = seen.acked.iter().filter(|file| found.statistics.get(*file) != expected.statistics.get(*file));
        Self {
            agents: plan.agents().count(),
            files: found.statistics.len(),
            words: found.words,
            expected_words: expected.words,
            digests_equal: digests.len() == 1,
            acked_lost: lost.count(),
            exact: found.statistics == expected.statistics && found.index == expected.index,
            barriers: seen.outcomes.len(),
            degraded: seen.outcomes.degraded(),
            outcomes_equal: seen.outcomes.are_equal()
                && seen.results.iter().eq([&(expected.words, plan.files.len() as u64)]),
            claims: seen.effects.claims(),
            double_effects: seen.effects.doubled(),
            fenced_off: seen.effects.refused(),
            resync_bytes: seen.resync_bytes,
            seconds: (seconds * 10.0).round() / 10.0,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.digests_equal && self.acked_lost == 0 && self.exact && self.outcomes_equal && self.double_effects == 0
    }

    /// What was just seen, and what to try next.
    pub(super) fn explain(&self, seen: &Seen, found: &Found, chaos: bool) -> String {
        let mark = |holds: bool| if holds { format!("{GOOD}✓{GOOD:#}") } else { format!("{BAD}✗{BAD:#}") };
        let digest: String =
            seen.digests.values().next().map(|digest| digest.chars().take(12).collect()).unwrap_or_default();
        let words = top_words(&found.index);
        let mut lines = vec![
            String::new(),
            format!("{STRONG}{} agents indexed {} files in {} s.{STRONG:#}", self.agents, self.files, self.seconds),
            format!(
                "  {} every replica holds the same: {} agents, the relay and a fresh reader {FAINT}({digest}){FAINT:#}",
                mark(self.digests_equal),
                seen.digests.len()
            ),
            format!(
                "  {} {} barriers and phases ended, {} of them without somebody; everybody was told the same",
                mark(self.outcomes_equal),
                self.barriers,
                self.degraded
            ),
            format!(
                "  {} {} claims done, {} files done twice, {} stale effects fenced off",
                mark(self.double_effects == 0),
                self.claims,
                self.double_effects,
                self.fenced_off
            ),
            format!(
                "  {} {} words counted, {} by a plain sequential count; every file and word {}",
                mark(self.exact),
                self.words,
                self.expected_words,
                if self.exact { "agrees" } else { "should agree, but not all do" }
            ),
            format!(
                "  {} {} of {} acknowledged results lost",
                mark(self.acked_lost == 0),
                self.acked_lost,
                seen.acked.len()
            ),
        ];
        if chaos {
            lines.push(format!("  the agent that worked offline came back with {}", size(self.resync_bytes)));
        }
        lines.push(format!("  most frequent: {words}"));
        lines.push(String::new());
        lines.push(
            "Nobody coordinated this: alphas pushed files into a queue, gammas claimed them, and who was gone was left\n\
             out by what the others agreed on in their own replicas. The relay only passes on and keeps.\n\
             \n\
             Next:  aepoch demo --engine automerge         the same on the other engine, with full history\n       \
             aepoch demo --input ~/notes --agents 12\n       \
             aepoch serve & aepoch state set register/setlist '[\"intro\"]' && aepoch state watch"
                .to_owned(),
        );
        lines.join("\n")
    }
}

fn top_words(index: &BTreeMap<String, u64>) -> String {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, count) in index {
        let word = key.split('/').next().unwrap_or(key);
        // Short words say nothing about a text.
        if word.chars().count() > 4 {
            *totals.entry(word).or_insert(0) += count;
        }
    }
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> =
        totals.into_iter().take(WORDS_SHOWN).map(|(word, count)| format!("{word} {count}")).collect();
    shown.join(", ")
}
