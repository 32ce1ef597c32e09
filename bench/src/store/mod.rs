//! `darkroom-bench store`: durable transactions a second of the embedded metadata engine.
//!
//! Every transaction reads one row and writes three of 200 bytes, each writer in keys of its own, and is acknowledged when
//! it is on disk. Beside the engine stand redb, with as many transactions in one commit as wait, and the engine itself with
//! its syncs left out: what durability costs. The sides take turns, so that a disk whose speed drifts is the same to all.
//!
//! - `sides`: the stores, behind one small interface;
//! - `disk`: how often a second the disk syncs.

mod disk;
mod sides;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use crate::table::{Align, table};
use sides::{Kind, Side};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// How many writers at once, each waiting for one transaction before it begins the next.
    #[arg(long, value_delimiter = ',', default_value = "1,16,256")]
    writers: Vec<usize>,
    /// How long to measure each side, number of writers and round, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often each is measured; the median is told.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A folder on the disk to be measured. Without it, one below the present folder, which is removed afterwards.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The figures of one side with one number of writers.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    writers: usize,
    side: &'static str,
    /// The median of the rounds.
    transactions_per_second: f64,
    /// All rounds, in the order in which they were measured.
    rounds: Vec<f64>,
    /// Of all rounds together.
    transactions_per_sync: Option<f64>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
struct Report {
    disk_syncs_per_second: f64,
    measured: Vec<Measured>,
}

/// Measures and prints.
#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
pub(crate) fn run(args: &StoreArgs) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && !args.writers.contains(&0), "--rounds and --writers must be 1 or more");
    let seconds = Duration::from_secs_f64(args.seconds.max(0.1));
    let parent = args.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let folder = tempfile::Builder::new()
        .prefix("darkroom-bench-store-")
        .tempdir_in(&parent)
        .with_context(|| format!("could not make a folder in {}", parent.display()))?;
    let disk_syncs_per_second = disk::syncs_per_second(folder.path(), seconds)?;
    if !args.json {
        println!("the disk appends 4 KiB and syncs (fdatasync) {disk_syncs_per_second:.0} times a second\n");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for writers in &args.writers {
        measured.extend(runtime.block_on(measure(folder.path(), *writers, args.rounds, seconds))?);
    }
    let report = Report { disk_syncs_per_second, measured };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", as_table(&report.measured));
    }
    Ok(())
}

/// Every side with this number of writers, in turns, each round on the store that the rounds before it have filled.
async fn measure(
    folder: &std::path::Path,
    writers: usize,
    rounds: usize,
    time: Duration,
) -> anyhow::Result<Vec<Measured>> {
    let mut sides = Vec::new();
    for kind in Kind::ALL {
        let home = folder.join(format!("{}-{writers}", kind.name().replace(' ', "-")));
        let side = Side::open(kind, &home).await?;
        sides.push((kind, side, Vec::new()));
    }
    for round in 0..rounds {
        // Not always in the same order: what one leaves to the disk's cache meets the next.
        let first = round % Kind::ALL.len();
        sides.rotate_left(first);
        for (_, side, rates) in &mut sides {
            rates.push(load(side, writers, time).await?);
        }
        sides.rotate_right(first);
    }
    let mut measured = Vec::new();
    for (kind, side, rates) in sides {
        let transactions_per_sync = side.transactions_per_sync();
        side.close().await;
        let transactions_per_second = median(&rates);
        measured.push(Measured {
            writers,
            side: kind.name(),
            transactions_per_second,
            rounds: rates,
            transactions_per_sync,
        });
    }
    Ok(measured)
}

/// Transactions acknowledged per second by `writers` that never pause.
async fn load(side: &Side, writers: usize, time: Duration) -> anyhow::Result<f64> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (side, stop, done) = (side.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    side.transact(writer as u64, turn).await?;
                    turn += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    Ok(rate)
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

fn as_table(measured: &[Measured]) -> String {
    let columns = [
        ("writers", Align::Right),
        ("side", Align::Left),
        ("transactions/s", Align::Right),
        ("lowest", Align::Right),
        ("highest", Align::Right),
        ("per sync", Align::Right),
    ];
    let row = |measured: &Measured| {
        let least = measured.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = measured.rounds.iter().copied().fold(0.0, f64::max);
        let per_sync =
            measured.transactions_per_sync.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"));
        vec![
            measured.writers.to_string(),
            measured.side.to_owned(),
            format!("{:.0}", measured.transactions_per_second),
            format!("{least:.0}"),
            format!("{most:.0}"),
            per_sync,
        ]
    };
    table(&columns, &measured.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_side_keeps_what_it_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let home = folder.path().join(kind.name());
            let side = Side::open(kind, &home).await.unwrap();
            let rate = load(&side, 4, Duration::from_millis(200)).await.unwrap();
            assert!(rate > 0.0, "{}", kind.name());
            side.transact(77, 5).await.unwrap();
            assert!(side.holds(77, 5).await.unwrap(), "{}", kind.name());
            assert!(!side.holds(78, 5).await.unwrap(), "{}", kind.name());
            side.close().await;
        }
    }
}
