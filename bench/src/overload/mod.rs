//! `darkroom-bench overload`: far more uploads than a server can process, at a fixed rate of arrival, and GETs beside.
//!
//! `schedule` says when requests are due, `open` sends them, `capacity` measures what the server does without the storm,
//! before it and after, `report` adds up and prints, `bounds` judges.

mod bounds;
mod capacity;
mod open;
mod report;
mod schedule;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::memory::Watch;
use crate::server::{Server, ServerArgs};
use crate::unique::Unique;
use crate::upload::load::Amount;
use crate::upload::report::own_cpu_seconds;
use crate::upload::{progress, ready};
use bounds::Bounds;
use capacity::Bench;
use open::Storm;
use report::{Report, Settled};

/// Whom to load, with what, and for how long.
#[derive(Debug, Args)]
pub(crate) struct OverloadArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Uploads that arrive per second; `auto`: --times what the server processes.
    #[arg(long, default_value = "auto")]
    rate: Rate,
    /// With `--rate auto`: how many times what the server processes arrives.
    #[arg(long, default_value_t = 10.0)]
    times: f64,
    /// For how long.
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// GETs of a variant that arrive per second beside the uploads.
    #[arg(long, default_value_t = 50.0)]
    gets: f64,
    /// Connections for uploads at most; what is due while all are busy waits, and that is a part of its latency.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Connections for GETs.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    get_connections: u16,
    /// Photos that are sent before and after, as fast as they are taken, to measure what the server processes. Fewer than it lets
    /// wait: for one that is refused the client stands still.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    capacity_photos: u64,
    /// Pixels per row.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    width: u32,
    /// Rows.
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    height: u32,
    /// JPEG quality. A low one makes small files that cost as much to process, so that the generator needs little of the
    /// machine.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// How many photos the server that is started lets wait (`pipeline.backlog_photos_max`). With its default of a million
    /// hardly anything would be refused: what arrives in two minutes would be taken, and be processed for a quarter of an
    /// hour.
    #[arg(long, default_value_t = 500, conflicts_with_all = ["url", "config"],
          value_parser = clap::value_parser!(u64).range(1..))]
    backlog_photos: u64,
    /// How long to wait at most until all acknowledged photos are ready, in seconds.
    #[arg(long, default_value_t = 3600.0)]
    drain_seconds_max: f64,
    #[command(flatten)]
    bounds: Bounds,
    /// Print JSON instead of lines, and no progress.
    #[arg(long)]
    json: bool,
}

/// Arrivals per second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    Auto,
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Self::PerSecond(rate)),
            _ => Err("give a number above 0, or `auto`".to_owned()),
        }
    }
}

/// Measures, overloads, waits, measures again, and prints. An error if an acknowledged photo is not ready in the end, or a
/// figure is beyond its bounds.
pub(crate) fn run(args: &OverloadArgs) -> anyhow::Result<()> {
    let backlog = ("pipeline.backlog_photos_max", args.backlog_photos.to_string());
    let server = Server::configured(&args.server, &[backlog])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let report = runtime.block_on(measure(args, &server))?;
    report.print(args.json)?;
    args.bounds.check(&report)
}

async fn measure(args: &OverloadArgs, server: &Server) -> anyhow::Result<Report> {
    let photos = Unique::new(args.width, args.height, args.quality);
    let mut bench = Bench::new(server.target.clone(), photos.clone(), args.json);
    let variant = bench.variant().await?;
    let before = bench.capacity(args.capacity_photos).await?;
    let rate = match args.rate {
        Rate::Auto => before.per_second * args.times,
        Rate::PerSecond(rate) => rate,
    };
    let storm = Storm {
        target: server.target.clone(),
        photos,
        first_photo: bench.next_photo(),
        variant,
        uploads_per_second: rate,
        gets_per_second: args.gets.max(0.1),
        upload_connections: args.connections,
        get_connections: args.get_connections,
        time: Duration::from_secs_f64(args.seconds.max(0.1)),
    };
    let (began, cpu, watch) = (Instant::now(), own_cpu_seconds(), server.pid.map(Watch::begin));
    let answers = open::run(storm.clone()).await;
    let (stormed, cpu) = (began.elapsed(), own_cpu_seconds() - cpu);
    bench.skip_to(storm.first_photo + (rate * args.seconds).ceil() as u64 + 1);
    let longest = Duration::from_secs_f64(args.drain_seconds_max.max(0.0));
    let bar = progress(args.json, Amount::Uploads(answers.ids.len() as u64), "acknowledged photos ready");
    let settled = ready::wait(&server.target, answers.ids.clone(), longest, bar.clone()).await;
    bar.finish_and_clear();
    let memory = watch.and_then(Watch::end);
    let drained = began.elapsed().saturating_sub(stormed);
    let after = bench.capacity(args.capacity_photos).await?;
    Ok(Report::new(&storm, &answers, stormed, cpu)
        .with_capacity(before, after)
        .with_settled(Settled::new(&settled, drained))
        .with_memory(memory))
}

#[cfg(test)]
mod tests;
