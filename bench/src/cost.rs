//! `darkroom-bench cost`: what admission expects a photo to take, beside what it takes.
//!
//! Each photo is rendered once by a process of its own, and memory is the kernel's count of what became resident: unlike
//! the allocator of `media/tests/memory.rs`, that counts what the C encoder takes, and pages only when they are touched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use clap::Args;
use darkroom_media::synth::PhotoSpec;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Format, Output, Preset, default_ladder, expected};
use crate::samples::kinds;
use crate::table::{Align, table};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Megapixels of the generated photos.
    #[arg(long, value_delimiter = ',', default_value = "12,24", value_parser = clap::value_parser!(u32).range(1..=100))]
    megapixels: Vec<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure in this process: a folder with the files `photo` and `warm`.
    #[arg(long, hide = true, requires = "output")]
    measure: Option<PathBuf>,
    #[arg(long, hide = true)]
    output: Option<Format>,
}

/// One photo through one ladder, on one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    photo: String,
    megapixels: u32,
    /// Format of the ladder's five variants.
    output: Format,
    #[serde(flatten)]
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    estimate_bytes: u64,
    /// Resident beyond what was before, at the peak.
    bytes: u64,
    estimate_ms: u64,
    ms: f64,
}

/// Measures and prints. Fails where a photo took more memory than was expected.
pub(crate) fn run(args: &CostArgs) -> anyhow::Result<()> {
    if let (Some(folder), Some(output)) = (&args.measure, args.output) {
        return print_json(&measure(folder, output)?);
    }
    ensure!(Path::new("/proc/self/clear_refs").exists(), "this needs Linux: it reads /proc/self");
    let mut rows = Vec::new();
    for megapixels in &args.megapixels {
        rows.extend(measure_kinds(*megapixels)?);
    }
    if args.json {
        print_json(&rows)?;
    } else {
        print(&rows);
    }
    let above: Vec<&str> = rows
        .iter()
        .filter(|row| row.found.bytes > row.found.estimate_bytes)
        .map(|row| row.photo.as_str())
        .collect();
    ensure!(above.is_empty(), "more memory was taken than expected: {}", above.join(", "));
    Ok(())
}

/// 4:3, as phones take them.
fn spec(megapixels: u32) -> PhotoSpec {
    let unit = (f64::from(megapixels) * 1e6 / 12.0).sqrt().round() as u32;
    PhotoSpec { width: unit * 4, height: unit * 3, ..PhotoSpec::default() }
}

fn measure_kinds(megapixels: u32) -> anyhow::Result<Vec<Row>> {
    // Touches the code of the same codecs, which would count as memory otherwise.
    let warm = kinds(&PhotoSpec { width: 96, height: 64, ..PhotoSpec::default() })?;
    let folder = tempfile::tempdir().context("there is no folder for temporary files")?;
    let mut rows = Vec::new();
    for (photo, warm) in kinds(&spec(megapixels))?.iter().zip(warm) {
        fs::write(folder.path().join("photo"), &photo.bytes)?;
        fs::write(folder.path().join("warm"), &warm.bytes)?;
        for output in [Format::Jpeg, Format::WebP] {
            let found = in_a_process(folder.path(), output).with_context(|| photo.name.clone())?;
            rows.push(Row { photo: photo.name.clone(), megapixels, output, found });
        }
    }
    Ok(rows)
}

/// Runs this program once more. A photo of the sizes that are allowed takes a minute at most, so it has no limit of time.
fn in_a_process(folder: &Path, output: Format) -> anyhow::Result<Found> {
    let program = env::current_exe().context("this program cannot find itself")?;
    let ended = Command::new(program)
        // Freed memory goes back to the kernel at once: what is kept for later is not needed.
        // Freed memory goes back to the kernel at once, and in pages of 4 KiB: what the allocator keeps for the next photo,
        // and huge pages that are touched in part, are the process's and not the photo's.
        .env("MIMALLOC_PURGE_DELAY", "0")
        .env("MIMALLOC_ALLOW_THP", "0")
        .args(["cost", "--output", output.name(), "--measure"])
        .arg(folder)
        .output()
        .context("this program cannot be started again")?;
    if !ended.status.success() {
        bail!("{}", String::from_utf8_lossy(&ended.stderr).trim());
    }
    serde_json::from_slice(&ended.stdout).context("the measuring process wrote no figures")
}

fn measure(folder: &Path, output: Format) -> anyhow::Result<Found> {
    let read = |name| fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"));
    let presets: Vec<Preset> =
        default_ladder(Output { format: output, quality: 80, optimise: false, effort: None })
            .map_err(anyhow::Error::msg)?;
    let (warm, photo) = (read("warm")?, read("photo")?);
    Engine::default().probe_decode_render(&warm, &presets)?;
    let estimate = expected(&photo, &presets)?;
    // 5 forgets the peak (man 5 proc_pid_clear_refs).
    fs::write("/proc/self/clear_refs", "5").context("the kernel does not let the peak be reset")?;
    let before = resident("VmHWM")?;
    let started = Instant::now();
    // Kept until the peak was read, as by a caller who stores the variants late.
    let rendered = Engine::default().probe_decode_render(&photo, &presets)?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let bytes = resident("VmHWM")?.saturating_sub(before);
    drop(rendered);
    Ok(Found { estimate_bytes: estimate.peak_bytes, bytes, estimate_ms: estimate.milliseconds, ms })
}

/// A size of this process in bytes, by its name in `/proc/self/status`.
fn resident(name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|size| size * 1024).with_context(|| format!("/proc/self/status does not tell {name}"))
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print_json(figures: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(figures)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(rows: &[Row]) {
    let columns = [
        ("photo", Align::Left),
        ("MP", Align::Right),
        ("ladder", Align::Left),
        ("MB expected", Align::Right),
        ("MB taken", Align::Right),
        ("taken/expected", Align::Right),
        ("ms expected", Align::Right),
        ("ms taken", Align::Right),
    ];
    let cells = |Row { photo, megapixels, output, found }: &Row| {
        vec![
            photo.clone(),
            megapixels.to_string(),
            output.name().to_owned(),
            format!("{:.1}", found.estimate_bytes as f64 / 1e6),
            format!("{:.1}", found.bytes as f64 / 1e6),
            format!("{:.2}", found.bytes as f64 / found.estimate_bytes as f64),
            found.estimate_ms.to_string(),
            format!("{:.0}", found.ms),
        ]
    };
    print!("{}", table(&columns, &rows.iter().map(cells).collect::<Vec<_>>()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::generated;

    #[test]
    fn photos_have_the_megapixels_asked_for() {
        for megapixels in [1, 12, 24, 100] {
            let PhotoSpec { width, height, .. } = spec(megapixels);
            let ratio = f64::from(width) * f64::from(height) / 1e6 / f64::from(megapixels);
            assert!((0.99..1.01).contains(&ratio), "{width}×{height}");
        }
    }

    #[test]
    fn a_photo_is_measured_in_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let spec = PhotoSpec { width: 1600, height: 1200, ..PhotoSpec::default() };
        for name in ["photo", "warm"] {
            fs::write(folder.path().join(name), generated(name, &spec).bytes).unwrap();
        }
        let found = measure(folder.path(), Format::Jpeg).unwrap();
        assert!(found.estimate_bytes > 1600 * 1200 && found.ms > 0.0, "{found:?}");
        fs::remove_file(folder.path().join("warm")).unwrap();
        assert_eq!(measure(folder.path(), Format::Jpeg).unwrap_err().to_string(), "cannot read warm");
    }
}
