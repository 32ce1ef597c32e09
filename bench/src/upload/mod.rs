//! `darkroom-bench upload`: a load generator for a running server.
//!
//! `load` shares out the photos among the connections, `ready` waits until the server has rendered what it took, `report`
//! adds up and prints.

pub(crate) mod load;
pub(crate) mod ready;
pub(crate) mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::connection::Target;
use crate::folder::read_photos;
use load::{Amount, Load, Source};
use report::Report;

/// Whom to load, with what, and for how long.
#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// The server, such as `http://127.0.0.1:8080`. Plain HTTP only.
    #[arg(long)]
    url: String,
    /// A folder of photos.
    #[arg(long)]
    photos: PathBuf,
    /// Connections that are kept open, each with one upload at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Send the whole folder so many times; beyond once, photos are sent with `?duplicate=allow`.
    #[arg(long, default_value_t = 1, conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Send photos over and over for so many seconds instead, with `?duplicate=allow`.
    #[arg(long)]
    seconds: Option<f64>,
    /// Then wait until every photo taken is ready or has failed.
    #[arg(long)]
    wait_ready: bool,
    /// How long to wait for that at most, in seconds.
    #[arg(long, default_value_t = 600.0)]
    ready_seconds_max: f64,
    /// An API key, sent as `Authorization: Bearer`.
    #[arg(long)]
    key: Option<String>,
    /// Print JSON instead of a table, and no progress.
    #[arg(long)]
    json: bool,
}

/// Loads the server and prints the figures. Refusals and failures are figures; only a server that cannot be reached at all
/// is an error.
pub(crate) fn run(args: &UploadArgs) -> anyhow::Result<()> {
    let photos = read_photos(&args.photos)?;
    let target = Target::parse(&args.url, args.key.clone())?;
    let amount = match args.seconds {
        Some(seconds) => Amount::For(Duration::from_secs_f64(seconds.max(0.1))),
        None => Amount::Uploads(photos.len() as u64 * u64::from(args.repeat)),
    };
    let repeated = args.seconds.is_some() || args.repeat > 1;
    let query = if repeated { "?duplicate=allow" } else { "" }.to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(async {
        target.connect().await.with_context(|| format!("cannot reach {}", args.url))?;
        let started = Instant::now();
        let load = Load { target: target.clone(), photos: Source::Folder(photos), amount, query };
        let bar = progress(args.json, amount, "uploads");
        let uploaded = load::run(load, args.connections, bar.clone()).await;
        bar.finish_and_clear();
        let mut report = Report::of_uploads(args.connections, &uploaded, started.elapsed());
        if args.wait_ready {
            let time = Duration::from_secs_f64(args.ready_seconds_max.max(0.0));
            let bar = progress(args.json, Amount::Uploads(uploaded.ids.len() as u64), "ready");
            let ready = ready::wait(&target, uploaded.ids, time, bar.clone()).await;
            bar.finish_and_clear();
            report.add_ready(&ready, started);
        }
        anyhow::Ok(report.with_own_cpu(started.elapsed()))
    })?;
    report.print(args.json)
}

/// A bar on standard error. It hides itself when that is no terminal.
pub(crate) fn progress(hidden: bool, amount: Amount, what: &'static str) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let (bar, template) = match amount {
        Amount::Uploads(count) => (ProgressBar::new(count), "{bar:40} {pos}/{len} {msg} {per_sec} eta {eta}"),
        Amount::For(_) => (ProgressBar::new_spinner(), "{spinner} {pos} {msg} {per_sec} {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what)
}

#[cfg(test)]
mod tests;
