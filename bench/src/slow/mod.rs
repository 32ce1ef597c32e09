//! `darkroom-bench slow`: what a normal client gets alone, and beside a crowd of clients that send as slowly as they can.
//!
//! `crowd` is that crowd. Phases with and without it take turns, so that whatever else changes on the machine meets both.

mod crowd;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use crate::memory::{Memory, Watch};
use crate::server::{Server, ServerArgs};
use crate::unique::Unique;
use crate::upload::load::{self, Amount, Load, Source};
use crate::upload::report::own_cpu_seconds;
use crate::upload::{progress, ready};
use crowd::{Crowd, Kind, Standing};

/// How long photos of a phase may take to become ready before the next one.
const READY_TIME_MAX: Duration = Duration::from_secs(1800);

/// What the normal client must keep of its throughput: it may fall by less than a fifth.
const RATIO_MIN: f64 = 0.8;

/// Whom to measure, and beside whom.
#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How slow the others are.
    #[arg(long, value_enum, default_value_t = Kind::Byte)]
    crowd: Kind,
    /// Slow connections.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// The address that they come from, so that they are not the normal client's: any of 127.0.0.0/8 for a server on this
    /// machine.
    #[arg(long)]
    slow_source: Option<IpAddr>,
    /// Connections of the normal client, each with one upload at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    normal_connections: u16,
    /// How long a phase takes.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Phases of each kind.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Pixels per row of the normal client's photos.
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    width: u32,
    /// Rows.
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    height: u32,
    /// Print JSON instead of lines, and no progress.
    #[arg(long)]
    json: bool,
}

/// The figures.
#[derive(Debug, Clone, Serialize)]
struct Report {
    crowd: Kind,
    connections: u16,
    normal_connections: u16,
    /// Photos per second of each phase alone.
    alone: Vec<f64>,
    /// And beside the crowd.
    beside: Vec<f64>,
    alone_median: f64,
    beside_median: f64,
    /// The part of its throughput that the normal client keeps.
    ratio: f64,
    /// At the end of each phase beside the crowd.
    crowds: Vec<Standing>,
    /// The server's, if it is known which process it is.
    memory: Option<Memory>,
    generator_cpu_cores: f64,
}

/// Measures both in turn, and prints. An error if the normal client's uploads failed, or fell by a fifth or more.
pub(crate) fn run(args: &SlowArgs) -> anyhow::Result<()> {
    let server = Server::of(&args.server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let report = runtime.block_on(measure(args, &server))?;
    report.print(args.json)?;
    report.check()
}

async fn measure(args: &SlowArgs, server: &Server) -> anyhow::Result<Report> {
    let photos = Unique::new(args.width, args.height, 85);
    let mut normal = Normal { args, server, photos, next: 0 };
    let (watch, began, cpu) = (server.pid.map(Watch::begin), Instant::now(), own_cpu_seconds());
    let (mut alone, mut beside, mut crowds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        alone.push(normal.phase().await?);
        let crowd = Crowd::gather(&server.target, args.slow_source, args.connections, args.crowd).await;
        beside.push(normal.phase().await?);
        crowds.push(crowd.disperse());
    }
    let (alone_median, beside_median) = (median(&alone), median(&beside));
    Ok(Report {
        crowd: args.crowd,
        connections: args.connections,
        normal_connections: args.normal_connections,
        ratio: beside_median / alone_median,
        alone,
        beside,
        alone_median,
        beside_median,
        crowds,
        memory: watch.and_then(Watch::end),
        generator_cpu_cores: (own_cpu_seconds() - cpu) / began.elapsed().as_secs_f64(),
    })
}

/// The client that behaves.
struct Normal<'a> {
    args: &'a SlowArgs,
    server: &'a Server,
    photos: Unique,
    next: u64,
}

impl Normal<'_> {
    /// Photos per second that are acknowledged in one phase. The next begins when all are ready, so that none works off what
    /// another left.
    async fn phase(&mut self) -> anyhow::Result<f64> {
        let time = Duration::from_secs_f64(self.args.seconds.max(0.1));
        let load = Load {
            target: self.server.target.clone(),
            photos: Source::Unique(self.photos.from(self.next)),
            amount: Amount::For(time),
            query: String::new(),
        };
        let bar = progress(self.args.json, load.amount, "uploads");
        let began = Instant::now();
        let uploaded = load::run(load, self.args.normal_connections, bar.clone()).await;
        let took = began.elapsed();
        bar.finish_and_clear();
        if let Some(failure) = uploaded.first_failure {
            bail!("an upload of the normal client failed: {failure}");
        }
        // Fewer than that many numbers were used.
        self.next += uploaded.created + uploaded.duplicates + uploaded.refusals + 1000;
        let bar = progress(self.args.json, Amount::Uploads(uploaded.created), "ready");
        let ready = ready::wait(&self.server.target, uploaded.ids, READY_TIME_MAX, bar.clone()).await;
        bar.finish_and_clear();
        if ready.failed + ready.unfinished > 0 {
            bail!(
                "{} of the normal client's photos failed, {} are not ready",
                ready.failed,
                ready.unfinished
            );
        }
        Ok(uploaded.created as f64 / took.as_secs_f64())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

impl Report {
    /// # Errors
    /// When the normal client falls by a fifth or more.
    fn check(&self) -> anyhow::Result<()> {
        let Self { ratio, alone_median, beside_median, connections, .. } = self;
        // Also where it is not a number, because nothing was taken at all.
        if *ratio > RATIO_MIN {
            return Ok(());
        }
        bail!(
            "the normal client falls from {alone_median:.1} to {beside_median:.1} photos/s beside {connections} slow \
             connections, to {:.1} % of what it gets alone: it must keep more than {:.0} %; see whether the server's \
             refusals and slots show why, and repeat it with more --rounds if the single phases differ much",
            ratio * 100.0,
            RATIO_MIN * 100.0
        )
    }

    /// Prints to standard output.
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let phases =
            |phases: &[f64]| phases.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ");
        println!(
            "alone         {:.1} photos/s acknowledged over {} connections: the median of {}",
            self.alone_median,
            self.normal_connections,
            phases(&self.alone)
        );
        println!(
            "beside        {:.1} photos/s beside {} slow connections: the median of {}",
            self.beside_median,
            self.connections,
            phases(&self.beside)
        );
        println!("ratio         {:.3}: it falls by {:.1} %", self.ratio, (1.0 - self.ratio) * 100.0);
        for crowd in &self.crowds {
            println!("crowd         {crowd}");
        }
        match &self.memory {
            Some(memory) => println!("{}", memory.told()),
            None => println!("memory        not watched: give the server's --pid"),
        }
        println!("generator     {:.2} cores of its own", self.generator_cpu_cores);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(alone: f64, beside: f64) -> Report {
        Report {
            crowd: Kind::Opened,
            connections: 1000,
            normal_connections: 8,
            alone: vec![alone],
            beside: vec![beside],
            alone_median: alone,
            beside_median: beside,
            ratio: beside / alone,
            crowds: Vec::new(),
            memory: None,
            generator_cpu_cores: 0.0,
        }
    }

    #[test]
    fn a_client_that_falls_by_a_fifth_or_more_is_an_error() {
        assert!(report(100.0, 81.0).check().is_ok());
        assert!(report(100.0, 130.0).check().is_ok());
        for (alone, beside) in [(100.0, 80.0), (100.0, 3.0), (0.0, 0.0)] {
            let error = report(alone, beside).check().unwrap_err().to_string();
            assert!(error.contains("1000 slow connections") && error.contains("80 %"), "{error}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
