//! Adding up and printing.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::capacity::Capacity;
use super::open::{Answers, Latencies, Storm};
use crate::memory::Memory;
use crate::upload::ready::Finished;

/// The figures.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    seconds: f64,
    uploads_per_second: f64,
    gets_per_second: f64,
    connections: u16,
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) broken: u64,
    pub(super) first_break: Option<String>,
    unsent: u64,
    pub(super) unreadable_refusals: u64,
    pub(super) get: Times,
    pub(super) refused: Times,
    accepted: Times,
    pub(super) before: Option<Capacity>,
    pub(super) after: Option<Capacity>,
    pub(super) settled: Option<Settled>,
    /// The server's, from the beginning of the storm until all is ready, if it is known which process it is.
    pub(super) memory: Option<Memory>,
    generator_cpu_seconds: f64,
}

/// Latencies, from when a request was due and from when it was sent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Times {
    count: u64,
    pub(super) from_due_ms: Quantiles,
    from_sent_ms: Quantiles,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Quantiles {
    p50: f64,
    pub(super) p99: f64,
    max: f64,
}

/// What became of the acknowledged photos.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settled {
    ready: u64,
    pub(super) failed_or_missing: u64,
    pub(super) unfinished: u64,
    /// From the end of the storm.
    seconds: f64,
}

impl Settled {
    /// After so long.
    pub(super) fn new(finished: &Finished, time: Duration) -> Self {
        Self {
            ready: finished.ready,
            failed_or_missing: finished.failed,
            unfinished: finished.unfinished,
            seconds: time.as_secs_f64(),
        }
    }
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |q: f64| histogram.value_at_quantile(q) as f64 / 1e3;
        Self { p50: quantile(0.5), p99: quantile(0.99), max: quantile(1.0) }
    }
}

impl Times {
    fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.from_due.len(),
            from_due_ms: Quantiles::of(&latencies.from_due),
            from_sent_ms: Quantiles::of(&latencies.from_sent),
        }
    }

    fn told(&self) -> String {
        let (due, sent) = (&self.from_due_ms, &self.from_sent_ms);
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms from when it was due; p50 {:.1}, p99 {:.1}, max {:.1} from when it was \
             sent; {}",
            due.p50, due.p99, due.max, sent.p50, sent.p99, sent.max, self.count
        )
    }
}

impl Report {
    /// The figures of the storm.
    pub(super) fn new(storm: &Storm, answers: &Answers, time: Duration, cpu_seconds: f64) -> Self {
        Self {
            seconds: time.as_secs_f64(),
            uploads_per_second: storm.uploads_per_second,
            gets_per_second: storm.gets_per_second,
            connections: storm.upload_connections + storm.get_connections,
            statuses: answers.statuses.clone(),
            broken: answers.broken,
            first_break: answers.first_break.clone(),
            unsent: answers.unsent,
            unreadable_refusals: answers.unreadable,
            get: Times::of(&answers.got),
            refused: Times::of(&answers.refused),
            accepted: Times::of(&answers.accepted),
            before: None,
            after: None,
            settled: None,
            memory: None,
            generator_cpu_seconds: cpu_seconds,
        }
    }

    /// What the server did without the storm.
    pub(super) fn with_capacity(self, before: Capacity, after: Capacity) -> Self {
        Self { before: Some(before), after: Some(after), ..self }
    }

    /// What became of what was acknowledged in it.
    pub(super) fn with_settled(self, settled: Settled) -> Self {
        Self { settled: Some(settled), ..self }
    }

    /// What the server held in it.
    pub(super) fn with_memory(self, memory: Option<Memory>) -> Self {
        Self { memory, ..self }
    }

    /// Prints to standard output.
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        println!(
            "offered       {:.1} uploads/s and {:.1} GETs/s for {:.1} s over {} connections; {} were due and never sent",
            self.uploads_per_second, self.gets_per_second, self.seconds, self.connections, self.unsent
        );
        let statuses: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        println!(
            "answers       {}; {} broken, {} refusals that say not when to come back",
            statuses.join(", "),
            self.broken,
            self.unreadable_refusals
        );
        if let Some(error) = &self.first_break {
            println!("first break   {error}");
        }
        println!("GET           {}", self.get.told());
        println!("refused       {}", self.refused.told());
        println!("accepted      {}", self.accepted.told());
        if let Some(settled) = &self.settled {
            println!(
                "acknowledged  {} ready {:.1} s after the end, {} failed or missing, {} unfinished",
                settled.ready, settled.seconds, settled.failed_or_missing, settled.unfinished
            );
        }
        if let (Some(before), Some(after)) = (self.before, self.after) {
            println!(
                "capacity      {:.1} photos/s ready before, {:.1} after: {:.0} %",
                before.per_second,
                after.per_second,
                after.per_second / before.per_second * 100.0
            );
        }
        match &self.memory {
            Some(memory) => println!("{}", memory.told()),
            None => println!("memory        not watched: give the server's --pid"),
        }
        println!(
            "generator     {:.2} CPU seconds of its own during the storm, {:.2} cores",
            self.generator_cpu_seconds,
            self.generator_cpu_seconds / self.seconds
        );
        Ok(())
    }
}
