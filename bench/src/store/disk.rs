//! How often a second the disk makes 4 KiB durable: the ceiling of whoever syncs once per transaction.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Bytes appended before each sync.
const PIECE: [u8; 4096] = [7; 4096];

/// Appends and syncs for `time`, in a file that is removed afterwards.
pub(super) fn syncs_per_second(folder: &Path, time: Duration) -> anyhow::Result<f64> {
    let path = folder.join("syncs");
    let mut file = File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
    let (started, mut syncs) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        file.write_all(&PIECE)?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = f64::from(syncs) / started.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(rate)
}
