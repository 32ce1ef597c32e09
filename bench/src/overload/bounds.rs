//! What an overloaded server must keep to.

use anyhow::bail;
use clap::Args;

use super::report::Report;

/// The figures at which the run is a failure.
#[derive(Debug, Clone, Args)]
pub(super) struct Bounds {
    /// GETs at the 99th percentile, from when they were due, in milliseconds.
    #[arg(long, default_value_t = 50.0)]
    get_p99_ms_max: f64,
    /// Refusals likewise.
    #[arg(long, default_value_t = 10.0)]
    refused_p99_ms_max: f64,
    /// What the server processes after the storm, as a share of what it did before.
    #[arg(long, default_value_t = 0.8)]
    capacity_share_min: f64,
    /// The most that the server may hold, in MiB. Where it is not watched, this is not looked at.
    #[arg(long)]
    memory_mib_max: Option<u64>,
}

impl Bounds {
    /// An error that names all that is beyond them.
    pub(super) fn check(&self, report: &Report) -> anyhow::Result<()> {
        let found: Vec<String> =
            [lost(report), self.slow(report), self.unfit(report)].into_iter().flatten().collect();
        if found.is_empty() {
            return Ok(());
        }
        bail!("{}", found.join("; "))
    }

    fn slow(&self, report: &Report) -> Vec<String> {
        let pairs = [
            ("GETs", report.get.from_due_ms.p99, self.get_p99_ms_max),
            ("refusals", report.refused.from_due_ms.p99, self.refused_p99_ms_max),
        ];
        let beyond = pairs.into_iter().filter(|(_, took, most)| took > most);
        beyond
            .map(|(what, took, most)| {
                format!("{what} took {took:.1} ms at the 99th percentile, and {most} ms is what they may")
            })
            .collect()
    }

    fn unfit(&self, report: &Report) -> Vec<String> {
        let mut found = Vec::new();
        if let (Some(before), Some(after)) = (report.before, report.after)
            && after.per_second < before.per_second * self.capacity_share_min
        {
            found.push(format!(
                "{:.1} photos/s are processed after the storm, and {:.1} were before it",
                after.per_second, before.per_second
            ));
        }
        let peak = report.memory.as_ref().map_or(0, |memory| memory.peak_bytes >> 20);
        if let Some(most) = self.memory_mib_max.filter(|most| peak > *most) {
            found.push(format!("the server held {peak} MiB, and {most} MiB is what it may"));
        }
        found
    }
}

/// What was promised, and is not so, whatever the bounds.
fn lost(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(settled) = &report.settled
        && settled.failed_or_missing + settled.unfinished > 0
    {
        found.push(format!(
            "of the acknowledged photos {} failed or are missing, and {} are still not ready",
            settled.failed_or_missing, settled.unfinished
        ));
    }
    let statuses =
        report.statuses.iter().filter(|(status, _)| status.starts_with("GET") && *status != "GET 200");
    let others: u64 = statuses.map(|(_, count)| count).sum();
    if others > 0 {
        found.push(format!("{others} GETs were not answered with the variant"));
    }
    if report.unreadable_refusals > 0 {
        found.push(format!("{} refusals do not say when to come back", report.unreadable_refusals));
    }
    if report.broken > 0 {
        found.push(format!(
            "{} requests got no answer, the first because: {}",
            report.broken,
            report.first_break.as_deref().unwrap_or_default()
        ));
    }
    found
}
