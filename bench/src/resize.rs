//! `darkroom-bench resize`: how many photos a second go through the ladder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use darkroom_media::synth::PhotoSpec;
use darkroom_media::{Limits, Preset, Scratch, decode, probe, render};
use serde::Serialize;

use crate::folder::{Photo, read_photos};
use crate::samples::generated;

/// Generated photos, when no folder is given: enough that none stays in a cache.
const GENERATED: u64 = 8;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// A folder of photos. Without it, 8 generated photos of 12 MP are used.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// How long to measure each number of threads, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The greatest number of threads; every number from 1 on is measured. Without it, the number of cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Time spent in each stage, summed over all photos and threads.
#[derive(Debug, Clone, Copy, Default)]
struct Stages {
    photos: u64,
    pixels: u64,
    bytes_in: u64,
    bytes_out: u64,
    probe: Duration,
    decode: Duration,
    resize: Duration,
    encode: Duration,
}

/// The figures of one number of threads.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    threads: usize,
    seconds: f64,
    photos: u64,
    photos_per_second: f64,
    megapixels_per_second: f64,
    megabytes_in_per_second: f64,
    bytes_out_per_photo: f64,
    stages: [Stage; 4],
    ms_per_photo: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Stage {
    name: &'static str,
    ms_per_photo: f64,
    share: f64,
}

/// Measures and prints.
pub(crate) fn run(args: &ResizeArgs) -> anyhow::Result<()> {
    let photos = match &args.photos {
        Some(folder) => read_photos(folder)?,
        None => several(),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let presets = Preset::default_ladder();
    let mut measured = Vec::new();
    for threads in 1..=args.threads.unwrap_or(cores).max(1) {
        measured.push(measure(&photos, &presets, threads, Duration::from_secs_f64(args.seconds.max(0.1)))?);
    }
    if args.json {
        print_json(&measured)
    } else {
        print_table(&photos, &measured);
        Ok(())
    }
}

fn several() -> Vec<Photo> {
    let photo =
        |seed| generated(&format!("generated photo {seed}"), &PhotoSpec { seed, ..PhotoSpec::default() });
    (0..GENERATED).map(photo).collect()
}

/// Runs `threads` threads over the photos until the time is over. Each takes the next photo that nobody has taken.
fn measure(photos: &[Photo], presets: &[Preset], threads: usize, time: Duration) -> anyhow::Result<Measured> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let sums: Vec<anyhow::Result<Stages>> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work(photos, presets, &next, &stop))).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|outcome| outcome.unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut sum = Stages::default();
    for stages in sums {
        sum.add(&stages?);
    }
    Ok(Measured::new(threads, seconds, &sum))
}

/// One thread: whole photos, one after the other, at least one.
fn work(
    photos: &[Photo],
    presets: &[Preset],
    next: &AtomicUsize,
    stop: &AtomicBool,
) -> anyhow::Result<Stages> {
    let mut scratch = Scratch::default();
    let mut stages = Stages::default();
    while stages.photos == 0 || !stop.load(Ordering::Relaxed) {
        let photo = &photos[next.fetch_add(1, Ordering::Relaxed) % photos.len()];
        stages.photo(photo, presets, &mut scratch).with_context(|| photo.name.clone())?;
    }
    Ok(stages)
}

impl Stages {
    /// Takes one photo through all stages.
    fn photo(&mut self, photo: &Photo, presets: &[Preset], scratch: &mut Scratch) -> anyhow::Result<()> {
        let limits = Limits::default();
        let started = Instant::now();
        let found = probe(&photo.bytes, &limits)?;
        self.probe += started.elapsed();
        let started = Instant::now();
        let decoded = decode(&photo.bytes, &found, &limits, scratch)?;
        self.decode += started.elapsed();
        render(decoded, presets, scratch, &mut |variant, times| {
            self.resize += times.resize;
            self.encode += times.encode;
            self.bytes_out += variant.bytes.len() as u64;
        })?;
        self.photos += 1;
        self.pixels += photo.pixels;
        self.bytes_in += photo.bytes.len() as u64;
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        self.photos += other.photos;
        self.pixels += other.pixels;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.probe += other.probe;
        self.decode += other.decode;
        self.resize += other.resize;
        self.encode += other.encode;
    }
}

impl Measured {
    fn new(threads: usize, seconds: f64, sum: &Stages) -> Self {
        let photos = sum.photos as f64;
        let whole = (sum.probe + sum.decode + sum.resize + sum.encode).as_secs_f64();
        let stage = |name, time: Duration| Stage {
            name,
            ms_per_photo: time.as_secs_f64() * 1e3 / photos,
            share: time.as_secs_f64() / whole,
        };
        Self {
            threads,
            seconds,
            photos: sum.photos,
            photos_per_second: photos / seconds,
            megapixels_per_second: sum.pixels as f64 / 1e6 / seconds,
            megabytes_in_per_second: sum.bytes_in as f64 / 1e6 / seconds,
            bytes_out_per_photo: sum.bytes_out as f64 / photos,
            stages: [
                stage("probe", sum.probe),
                stage("decode", sum.decode),
                stage("resize", sum.resize),
                stage("encode", sum.encode),
            ],
            ms_per_photo: whole * 1e3 / photos,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print_json(measured: &[Measured]) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(measured)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print_table(photos: &[Photo], measured: &[Measured]) {
    let pixels: u64 = photos.iter().map(|photo| photo.pixels).sum();
    let bytes: usize = photos.iter().map(|photo| photo.bytes.len()).sum();
    println!(
        "{} photos of {:.1} MP and {:.2} MB on average; ladder of {} presets",
        photos.len(),
        pixels as f64 / 1e6 / photos.len() as f64,
        bytes as f64 / 1e6 / photos.len() as f64,
        Preset::default_ladder().len(),
    );
    println!(
        "{:>7} {:>9} {:>8} {:>8} {:>9}  ms per photo (share)",
        "threads", "photos/s", "MP/s", "MB/s in", "kB out"
    );
    for row in measured {
        let stages: Vec<String> = row
            .stages
            .iter()
            .map(|stage| format!("{} {:.1} ({:.0} %)", stage.name, stage.ms_per_photo, stage.share * 100.0))
            .collect();
        println!(
            "{:>7} {:>9.2} {:>8.1} {:>8.1} {:>9.0}  {}; all {:.1}",
            row.threads,
            row.photos_per_second,
            row.megapixels_per_second,
            row.megabytes_in_per_second,
            row.bytes_out_per_photo / 1e3,
            stages.join(", "),
            row.ms_per_photo,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stages_are_measured() {
        let photo = generated("a", &PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
        let presets = Preset::default_ladder();
        let measured = measure(&[photo], &presets, 2, Duration::from_millis(50)).unwrap();
        assert!(measured.photos >= 2, "each thread takes at least one");
        assert!(measured.stages.iter().all(|stage| stage.ms_per_photo > 0.0), "{measured:?}");
        let share: f64 = measured.stages.iter().map(|stage| stage.share).sum();
        assert!((share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_photo_that_cannot_be_decoded_is_named() {
        let mut photo =
            generated("broken.jpg", &PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
        let mut bytes = photo.bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xFF);
        photo.bytes = bytes.into();
        let error = measure(&[photo], &Preset::default_ladder(), 1, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.to_string(), "broken.jpg");
    }
}
