//! `darkroom-bench jobs`: claims of due jobs per second, against contention.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::jobs::{self, Horizon, Job, Kind, Lease, Turns};
use darkroom_store::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp};
use serde::Serialize;

use crate::table::{Align, table};

/// Jobs written in one transaction.
const BATCH: usize = 500;
/// How long a claimed job stays claimed: beyond the end of the measurement.
const LEASE: Duration = Duration::from_secs(24 * 3600);

/// How often a look begins at the beginning of the queue, as in the daemon.
const WHOLE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Where the store of each measurement is made, and removed again. Without it, the folder for temporary files,
    /// which may be in memory: then the figures are not those of a disk.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// How long each pair of claimers and choice is measured, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Due jobs at the beginning of each. A measurement ends early when all are claimed.
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// How many nodes claim at once, one claim after another each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8])]
    claimers: Vec<usize>,
    /// Among how many of the longest due one is chosen (`jobs.choose_among`).
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64])]
    among: Vec<usize>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The figures of one pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Measured {
    among: usize,
    claimers: usize,
    claims_per_second: f64,
    /// Claims of a job that another had taken since the look, per claim that was made good.
    lost_per_claim: f64,
    /// Attempts that the engine refused because of a conflict, per claim that was made good.
    conflicts_per_claim: f64,
}

/// Measures and prints.
pub(crate) fn run(args: &JobsArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for among in &args.among {
        for claimers in &args.claimers {
            measured.push(runtime.block_on(measure(args, *among, *claimers))?);
        }
    }
    print(&measured, args.json)
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(measured: &[Measured], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(measured)?);
        return Ok(());
    }
    let columns = [
        ("among", Align::Right),
        ("claimers", Align::Right),
        ("claims/s", Align::Right),
        ("lost/claim", Align::Right),
        ("conflicts/claim", Align::Right),
    ];
    let rows: Vec<_> = measured
        .iter()
        .map(|row| {
            vec![
                row.among.to_string(),
                row.claimers.to_string(),
                format!("{:.0}", row.claims_per_second),
                format!("{:.2}", row.lost_per_claim),
                format!("{:.2}", row.conflicts_per_claim),
            ]
        })
        .collect();
    print!("{}", table(&columns, &rows));
    Ok(())
}

async fn measure(args: &JobsArgs, among: usize, claimers: usize) -> anyhow::Result<Measured> {
    let home = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let home = home.context("could not make a folder for the store")?;
    let metadata = Metadata::open_embedded(home.path(), EmbeddedOptions::default()).await?;
    fill(&metadata, args.jobs).await?;
    let conflicts = metadata.stats().conflicts;
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(args.seconds);
    let mut tasks = tokio::task::JoinSet::new();
    let metadata = Arc::new(metadata);
    for number in 0..claimers {
        let metadata = metadata.clone();
        tasks.spawn(async move { claim_until(&metadata, Epoch(number as u64 + 1), among, until).await });
    }
    let (mut claims, mut lost) = (0_u64, 0_u64);
    while let Some(claimer) = tasks.join_next().await {
        let (claimed, beaten) = claimer??;
        claims += claimed;
        lost += beaten;
    }
    let took = began.elapsed().as_secs_f64();
    let conflicts = metadata.stats().conflicts - conflicts;
    metadata.close().await;
    let per_claim = |count: u64| count as f64 / claims.max(1) as f64;
    Ok(Measured {
        among,
        claimers,
        claims_per_second: claims as f64 / took,
        lost_per_claim: per_claim(lost),
        conflicts_per_claim: per_claim(conflicts),
    })
}

async fn fill(metadata: &Metadata, count: usize) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let jobs: Vec<_> =
        (0..count).map(|_| Job::new(JobId::new(), Kind::Process, PhotoId::new(), now)).collect();
    for batch in jobs.chunks(BATCH) {
        metadata
            .transact("fill", |tx| async move { batch.iter().try_for_each(|job| jobs::enqueue(&tx, job)) })
            .await?;
    }
    Ok(())
}

/// Looks, chooses and claims, as the Reconciler does; how many claims were good, and how many jobs somebody else had.
async fn claim_until(
    metadata: &Metadata,
    epoch: Epoch,
    among: usize,
    until: Instant,
) -> anyhow::Result<(u64, u64)> {
    let (mut claims, mut lost, mut turns) = (0, 0, Turns::default());
    let (mut horizon, mut whole) = (Horizon::default(), Instant::now());
    while Instant::now() < until {
        let now = Timestamp::now();
        if whole.elapsed() >= WHOLE_LOOK_EVERY {
            (horizon, whole) = (Horizon::default(), Instant::now());
        }
        let from = &horizon;
        let look = |tx| async move { jobs::due_beyond(&tx, from, now, among).await };
        let due = metadata.read("look", look).await?;
        horizon = Horizon::after(&due, now, Duration::ZERO);
        let dice = |among: usize| rand::random_range(0..among);
        let Some(chosen) = jobs::choose(&due, turns, jobs::SHARES_DEFAULT, (1, among), dice).first().copied()
        else {
            break;
        };
        turns = chosen.after;
        let (id, lease) = (chosen.due.id, Lease { id: LeaseId::new(), epoch });
        let vesting = now.after(LEASE);
        let claim = |tx| async move { jobs::claim(&tx, id, lease, now, vesting).await };
        match metadata.transact("claim", claim).await? {
            Some(_) => claims += 1,
            None => lost += 1,
        }
    }
    Ok((claims, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_claimed_once_by_whoever_comes_first() {
        let args = JobsArgs {
            folder: None,
            seconds: 60.0,
            jobs: 50,
            claimers: vec![3],
            among: vec![4],
            json: false,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let measured = runtime.block_on(measure(&args, 4, 3)).unwrap();
        assert!(measured.claims_per_second > 0.0);
    }
}
