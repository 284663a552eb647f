//! Distributions, medians over repetitions, and the table at the end.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::server::Kind;

/// Latencies in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds.
    pub(crate) fn at(&mut self, quantile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::INFINITY;
        }
        self.0.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = ((self.0.len() - 1) as f64 * quantile).round() as usize;
        f64::from(self.0[index]) / 1_000.0
    }

    pub(crate) fn into_row(mut self) -> Row {
        let (p50, p99, max) = (self.at(0.5), self.at(0.99), self.at(1.0));
        Row::from([("p50 ms", p50), ("p99 ms", p99), ("max ms", max)])
    }
}

/// What one run gave, by unit.
pub(crate) type Row = BTreeMap<&'static str, f64>;

/// What must hold, as a ratio of medians or as a plain bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) unit: &'static str,
    /// Against whom; `None`: the value itself.
    pub(crate) versus: Option<Kind>,
    pub(crate) limit: Limit,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

pub(crate) const fn at_most(unit: &'static str, limit: f64, versus: Option<Kind>) -> Bar {
    Bar { unit, versus, limit: Limit::AtMost(limit) }
}

pub(crate) const fn at_least(unit: &'static str, limit: f64, versus: Option<Kind>) -> Bar {
    Bar { unit, versus, limit: Limit::AtLeast(limit) }
}

/// Everything measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    json: Vec<Value>,
    failed: Vec<String>,
}

impl Report {
    /// Prints the medians of one area, one line per system, and its bars.
    pub(crate) fn area(&mut self, name: &str, runs: &[(Kind, Vec<Row>)], bars: &[Bar]) {
        let medians: Vec<(Kind, Row)> = runs.iter().map(|(kind, rows)| (*kind, medians(rows))).collect();
        let mut units: Vec<&str> = medians.iter().flat_map(|(_, row)| row.keys().copied()).collect();
        units.sort_unstable();
        units.dedup();
        println!("\n### {name}\n\n| | {} |\n|-|{}", units.join(" | "), "-|".repeat(units.len()));
        for (kind, row) in &medians {
            if row.is_empty() {
                println!("| {} | not measured |", kind.name());
                continue;
            }
            let values: Vec<String> =
                units.iter().map(|unit| row.get(unit).map_or("".to_owned(), |v| show(*v))).collect();
            println!("| {} | {} |", kind.name(), values.join(" | "));
        }
        println!();
        for bar in bars {
            self.judge(name, &medians, bar);
        }
        let runs: Vec<Value> = runs.iter().map(|(kind, rows)| json!({ "system": kind.name(), "runs": rows })).collect();
        self.json.push(json!({ "area": name, "systems": runs }));
    }

    fn judge(&mut self, area: &str, medians: &[(Kind, Row)], bar: &Bar) {
        let of = |wanted: Kind| medians.iter().find(|(kind, _)| *kind == wanted).and_then(|(_, row)| row.get(bar.unit));
        // What is measured against ours is ours with something more.
        let is_subject = |kind: &Kind| kind.is_our_program() && bar.versus != Some(*kind);
        let Some(subject) = medians.iter().map(|(kind, _)| *kind).find(is_subject) else { return };
        let Some(ours) = of(subject) else { return };
        let (value, versus) = match bar.versus.map(|kind| (kind, of(kind))) {
            None => (*ours, String::new()),
            Some((kind, Some(theirs))) => (ours / theirs, format!(" x {}", kind.name())),
            Some((kind, None)) => return println!("- {}: {} was not measured", bar.unit, kind.name()),
        };
        self.value(area, bar.unit, value, &versus, &bar.limit);
    }

    /// One value and its bar.
    pub(crate) fn value(&mut self, area: &str, what: &str, value: f64, versus: &str, limit: &Limit) {
        let (holds, sign, limit) = match limit {
            Limit::AtMost(limit) => (value <= *limit, "<=", limit),
            Limit::AtLeast(limit) => (value >= *limit, ">=", limit),
        };
        let verdict = if holds { "pass" } else { "FAIL" };
        let line = format!("{what}: {}{versus}, bar {sign} {limit}: {verdict}", show(value));
        println!("- {line}");
        if !holds {
            self.failed.push(format!("{area}: {line}"));
        }
    }

    /// The bars that do not hold.
    pub(crate) fn finish(&self, json: Option<&str>) {
        println!("\n{} bars do not hold", self.failed.len());
        for line in &self.failed {
            println!("- {line}");
        }
        if let Some(path) = json {
            std::fs::write(path, serde_json::to_vec_pretty(&self.json).unwrap()).unwrap();
        }
    }
}

pub(crate) fn medians(rows: &[Row]) -> Row {
    let units: Vec<&'static str> = rows.first().map(|row| row.keys().copied().collect()).unwrap_or_default();
    units
        .into_iter()
        .map(|unit| {
            let mut values: Vec<f64> = rows.iter().filter_map(|row| row.get(unit).copied()).collect();
            values.sort_by(f64::total_cmp);
            (unit, values[values.len() / 2])
        })
        .collect()
}

fn show(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
