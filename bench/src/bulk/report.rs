//! Adding up and printing.

use anyhow::bail;
use serde::Serialize;

use super::batch::Counted;
use crate::memory::Memory;
use crate::upload::load::Uploaded;

/// The figures.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) photos: u64,
    /// Of each.
    pub(super) photo_bytes: usize,
    pub(super) connections: u16,
    /// From the first byte of the first upload to the last answer.
    pub(super) sent_seconds: f64,
    /// Until nothing was processed any more.
    pub(super) seconds: f64,
    pub(super) uploads: Uploads,
    pub(super) batch: Counted,
    /// The server's, if it is known which process it is.
    pub(super) memory: Option<Memory>,
    pub(super) generator_cpu_seconds: f64,
}

/// What the client saw.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Uploads {
    pub(super) created: u64,
    /// Photos whose first acknowledgement was lost with its connection.
    pub(super) duplicates: u64,
    refusals: u64,
    failures: u64,
    reconnections: u64,
    first_failure: Option<String>,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl From<&Uploaded> for Uploads {
    fn from(uploaded: &Uploaded) -> Self {
        let quantile = |q: f64| uploaded.latency.value_at_quantile(q) as f64 / 1e3;
        Self {
            created: uploaded.created,
            duplicates: uploaded.duplicates,
            refusals: uploaded.refusals,
            failures: uploaded.failures,
            reconnections: uploaded.reconnections,
            first_failure: uploaded.first_failure.clone(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
        }
    }
}

impl Report {
    /// Whether the batch accounts for every photo.
    ///
    /// A photo whose acknowledgement was lost is sent again, and is a duplicate then: it is received twice and ready once.
    /// That acknowledgement may be lost too, so that the batch counts more of them than were seen.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (uploads, counts) = (&self.uploads, &self.batch.counts);
        if uploads.failures > 0 {
            bail!(
                "{} uploads failed: {}",
                uploads.failures,
                uploads.first_failure.as_deref().unwrap_or_default()
            );
        }
        let whole = counts.ready == self.photos
            && counts.duplicates >= uploads.duplicates
            && counts.received == counts.ready + counts.duplicates
            && counts.processing == 0;
        if whole {
            return Ok(());
        }
        bail!(
            "the batch does not account for every photo: {} were sent and {} of them twice, and it counts {} received, {} \
             processing, {} ready, {} failed, {} duplicates, {} refused",
            self.photos,
            uploads.duplicates,
            counts.received,
            counts.processing,
            counts.ready,
            counts.failed,
            counts.duplicates,
            counts.refused,
        )
    }

    /// Prints to standard output.
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let (photos, uploads) = (self.photos as f64, &self.uploads);
        let megabytes = photos * self.photo_bytes as f64 / 1e6;
        println!(
            "acknowledged  {:.1} photos/s, {:.2} MB/s: {} photos of {} bytes in {:.1} s over {} connections",
            photos / self.sent_seconds,
            megabytes / self.sent_seconds,
            self.photos,
            self.photo_bytes,
            self.sent_seconds,
            self.connections,
        );
        println!(
            "latency       p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            uploads.p50_ms, uploads.p99_ms, uploads.max_ms
        );
        println!(
            "ready         {:.1} photos/s: the last after {:.1} s, {:.1} s after the last answer",
            photos / self.seconds,
            self.seconds,
            self.seconds - self.sent_seconds
        );
        let counts = &self.batch.counts;
        println!(
            "batch         {} received, {} processing, {} ready, {} failed, {} duplicates, {} refused, {:.1} MB",
            counts.received,
            counts.processing,
            counts.ready,
            counts.failed,
            counts.duplicates,
            counts.refused,
            self.batch.bytes as f64 / 1e6,
        );
        println!(
            "trouble       {} refusals (503, 429), {} failures, {} reconnections",
            uploads.refusals, uploads.failures, uploads.reconnections
        );
        match &self.memory {
            Some(memory) => println!("{}", memory.told()),
            None => println!("memory        not watched: give the server's --pid"),
        }
        println!(
            "generator     {:.2} CPU seconds of its own, {:.2} cores",
            self.generator_cpu_seconds,
            self.generator_cpu_seconds / self.seconds
        );
        Ok(())
    }
}
