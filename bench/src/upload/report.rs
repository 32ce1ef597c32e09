//! Adding up and printing.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::load::Uploaded;
use super::ready::Finished;

/// The figures of one measurement. Times are of the wall clock, from the first byte sent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    connections: u16,
    seconds: f64,
    acknowledged: u64,
    created: u64,
    duplicates: u64,
    acknowledged_per_second: f64,
    megabytes_per_second: f64,
    latency_ms: LatencyMs,
    refusals: u64,
    failures: u64,
    reconnections: u64,
    first_failure: Option<String>,
    ready: Option<ReadyFigures>,
    generator_cpu_seconds: f64,
    /// Of one core; 2 means two cores were busy with generating load.
    generator_cpu_cores: f64,
}

/// From the first byte of a request to the last of its answer, of acknowledged uploads.
#[derive(Debug, Clone, Serialize)]
struct LatencyMs {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Clone, Serialize)]
struct ReadyFigures {
    ready: u64,
    failed: u64,
    unfinished: u64,
    /// From the first byte sent to the last photo found finished.
    seconds: f64,
    per_second: f64,
}

/// What this process has taken of the processor since it began.
pub(crate) fn own_cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

impl Report {
    /// The figures of the uploads.
    pub(super) fn of_uploads(connections: u16, uploaded: &Uploaded, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        let acknowledged = uploaded.created + uploaded.duplicates;
        let quantile = |q: f64| uploaded.latency.value_at_quantile(q) as f64 / 1e3;
        Self {
            connections,
            seconds,
            acknowledged,
            created: uploaded.created,
            duplicates: uploaded.duplicates,
            acknowledged_per_second: acknowledged as f64 / seconds,
            megabytes_per_second: uploaded.bytes as f64 / 1e6 / seconds,
            latency_ms: LatencyMs {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                max: quantile(1.0),
            },
            refusals: uploaded.refusals,
            failures: uploaded.failures,
            reconnections: uploaded.reconnections,
            first_failure: uploaded.first_failure.clone(),
            ready: None,
            generator_cpu_seconds: 0.0,
            generator_cpu_cores: 0.0,
        }
    }

    /// The figures of the photos' becoming ready.
    pub(super) fn add_ready(&mut self, ready: &Finished, started: Instant) {
        let seconds = ready.last.map_or(0.0, |last| last.duration_since(started).as_secs_f64());
        let per_second = if seconds > 0.0 { ready.ready as f64 / seconds } else { 0.0 };
        self.ready = Some(ReadyFigures {
            ready: ready.ready,
            failed: ready.failed,
            unfinished: ready.unfinished,
            seconds,
            per_second,
        });
    }

    /// What this process itself took, so that a reader can tell whether the server was alone on the machine.
    pub(super) fn with_own_cpu(mut self, time: Duration) -> Self {
        self.generator_cpu_seconds = own_cpu_seconds();
        self.generator_cpu_cores = self.generator_cpu_seconds / time.as_secs_f64();
        self
    }

    /// Prints to standard output.
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        println!(
            "acknowledged  {:.2} photos/s, {:.1} MB/s: {} in {:.2} s over {} connections ({} new, {} duplicates)",
            self.acknowledged_per_second,
            self.megabytes_per_second,
            self.acknowledged,
            self.seconds,
            self.connections,
            self.created,
            self.duplicates,
        );
        let latency = &self.latency_ms;
        println!(
            "latency       p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            latency.p50, latency.p90, latency.p99, latency.max
        );
        if let Some(ready) = &self.ready {
            println!(
                "ready         {:.2} photos/s: {} in {:.2} s, {} failed, {} unfinished",
                ready.per_second, ready.ready, ready.seconds, ready.failed, ready.unfinished
            );
        }
        println!(
            "trouble       {} refusals (503, 429), {} failures, {} reconnections",
            self.refusals, self.failures, self.reconnections
        );
        if let Some(failure) = &self.first_failure {
            println!("first failure {failure}");
        }
        println!(
            "generator     {:.2} CPU seconds of its own, {:.2} cores",
            self.generator_cpu_seconds, self.generator_cpu_cores
        );
        Ok(())
    }
}
