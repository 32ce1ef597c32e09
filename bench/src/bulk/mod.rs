//! `darkroom-bench bulk`: very many small photos in one batch, and whether the batch accounts for every one.
//!
//! `batch` opens it and follows its counts; `report` adds up and prints.

mod batch;
mod report;

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::memory::Watch;
use crate::server::{Server, ServerArgs};
use crate::unique::Unique;
use crate::upload::load::{self, Amount, Load, Source};
use crate::upload::progress;
use crate::upload::report::own_cpu_seconds;
use batch::Batch;
use report::Report;

/// How many photos, of what kind, and whereto.
#[derive(Debug, Args)]
pub(crate) struct BulkArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Photos, each of which is new.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    photos: u64,
    /// Connections that are kept open, each with one upload at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Pixels per row.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    width: u32,
    /// Rows.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    height: u32,
    /// JPEG quality.
    #[arg(long, default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// How long to wait at most, after the last upload, until all are ready, in seconds.
    #[arg(long, default_value_t = 3600.0)]
    ready_seconds_max: f64,
    /// Print JSON instead of lines, and no progress.
    #[arg(long)]
    json: bool,
}

/// Sends them all, waits until they are ready, and prints. An error if the batch does not account for every one.
pub(crate) fn run(args: &BulkArgs) -> anyhow::Result<()> {
    let server = Server::of(&args.server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let report = runtime.block_on(measure(args, &server))?;
    report.print(args.json)?;
    report.check()
}

async fn measure(args: &BulkArgs, server: &Server) -> anyhow::Result<Report> {
    let photos = Unique::new(args.width, args.height, args.quality);
    let photo_bytes = photos.bytes();
    let batch = Batch::open(&server.target, args.photos).await?;
    let watch = server.pid.map(Watch::begin);
    let started = Instant::now();
    let load = Load {
        target: server.target.clone(),
        photos: Source::Unique(photos),
        amount: Amount::Uploads(args.photos),
        query: format!("?batch_id={}", batch.id),
    };
    let bar = progress(args.json, load.amount, "uploads");
    let uploaded = load::run(load, args.connections, bar.clone()).await;
    bar.finish_and_clear();
    let sent = started.elapsed();
    let longest = Duration::from_secs_f64(args.ready_seconds_max.max(0.0));
    let bar = progress(args.json, Amount::Uploads(args.photos), "ready");
    let counted = batch.follow(&server.target, &uploaded, longest, &bar).await?;
    bar.finish_and_clear();
    let took = started.elapsed();
    Ok(Report {
        photos: args.photos,
        photo_bytes,
        connections: args.connections,
        sent_seconds: sent.as_secs_f64(),
        seconds: took.as_secs_f64(),
        uploads: (&uploaded).into(),
        batch: counted,
        memory: watch.and_then(Watch::end),
        generator_cpu_seconds: own_cpu_seconds(),
    })
}

#[cfg(test)]
mod tests;
