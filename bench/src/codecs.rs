//! `darkroom-bench codecs`: each block alone, on one thread.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use darkroom_media::synth::PhotoSpec;
use serde::Serialize;

use crate::engine::{Engine, Fit, Format, Output, Rendered, Size, kind, presets, probe_only};
use crate::folder::{Photo, read_photos};
use crate::samples::kinds;
use crate::table::{Align, table};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct CodecsArgs {
    /// A folder of photos, of which the first of each kind is measured (baseline and progressive JPEG, PNG …). Without it,
    /// a generated photo of 12 MP is, as baseline and progressive JPEG, PNG, lossless and lossy WebP, and AVIF.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// How often each block is measured; the median counts. One more run before them does not.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repetitions: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The figures of one block.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Block {
    /// `probe`, `decode`, `resize to 2048` and so on.
    #[serde(rename = "block")]
    name: String,
    /// The photo's kind and size.
    input: String,
    /// The median.
    ms: f64,
    /// Of the pixels that go in; for encoding, of the variant.
    megapixels_per_second: f64,
}

/// Measures and prints.
pub(crate) fn run(args: &CodecsArgs) -> anyhow::Result<()> {
    let photos = match &args.photos {
        Some(folder) => first_of_each_kind(read_photos(folder)?)?,
        None => kinds(&PhotoSpec::default())?,
    };
    for sentence in left_out() {
        eprintln!("{sentence}");
    }
    let mut blocks = Vec::new();
    for photo in &photos {
        blocks.extend(measure(photo, args.repetitions).with_context(|| photo.name.clone())?);
    }
    print(&blocks, args.json)
}

fn first_of_each_kind(photos: Vec<Photo>) -> anyhow::Result<Vec<Photo>> {
    let mut seen: Vec<String> = Vec::new();
    let mut first = Vec::new();
    for photo in photos {
        let found = kind(&probe_only(&photo.bytes)?);
        if !seen.contains(&found) {
            seen.push(found);
            first.push(photo);
        }
    }
    Ok(first)
}

/// 2048 and 1080 inside, as in the default ladder.
fn sizes() -> [Size; 2] {
    let inside = |name, side| Size { name, width: side, height: side, fit: Fit::Inside };
    [inside("large", 2048), inside("medium", 1080)]
}

fn output(format: Format) -> Output {
    Output { format, quality: 80, optimise: false, effort: None }
}

/// A sentence for each format that cannot be measured.
fn left_out() -> Vec<String> {
    let missing = |format: Format| {
        let reason = presets(&sizes(), output(format)).err()?;
        Some(format!("encoding {} is left out: {reason}", format.name()))
    };
    Format::ALL.into_iter().filter_map(missing).collect()
}

/// All blocks of one photo.
fn measure(photo: &Photo, repetitions: u32) -> anyhow::Result<Vec<Block>> {
    let probed = probe_only(&photo.bytes)?;
    let input = format!("{} {}×{}", kind(&probed), probed.width, probed.height);
    let block = |name: &str, time: Duration, pixels: u64| Block {
        name: name.to_owned(),
        input: input.clone(),
        ms: time.as_secs_f64() * 1e3,
        megapixels_per_second: pixels as f64 / 1e6 / time.as_secs_f64(),
    };
    let mut blocks = Vec::new();
    for format in Format::ALL {
        let Ok(presets) = presets(&sizes(), output(format)) else { continue };
        let mut engine = Engine::default();
        let runs = (0..=repetitions).map(|_| engine.probe_decode_render(&photo.bytes, &presets));
        let mut runs = runs.collect::<Result<Vec<Rendered>, _>>()?;
        // The first found cold caches and memory that was not there yet.
        runs.remove(0);
        let pixels = |index: usize| {
            let (variant, _) = &runs[0].variants[index];
            u64::from(variant.width) * u64::from(variant.height)
        };
        ensure!(runs.iter().all(|run| run.variants.len() == 2), "a variant is missing");
        if blocks.is_empty() {
            blocks.push(block("probe", median(&runs, |run| run.probe), photo.pixels));
            blocks.push(block("decode", median(&runs, |run| run.decode), photo.pixels));
            // A photo that is not larger than the variant is not resized.
            if pixels(0) < photo.pixels {
                let time = median(&runs, |run| run.variants[0].1.resize);
                blocks.push(block("resize to 2048", time, photo.pixels));
            }
            if pixels(1) < pixels(0) {
                let time = median(&runs, |run| run.variants[1].1.resize);
                blocks.push(block("resize 2048 to 1080", time, pixels(0)));
            }
        }
        let time = median(&runs, |run| run.variants[0].1.encode);
        blocks.push(block(&format!("encode 2048 as {}, quality 80", format.name()), time, pixels(0)));
    }
    Ok(blocks)
}

fn median(runs: &[Rendered], time: impl Fn(&Rendered) -> Duration) -> Duration {
    let mut times: Vec<Duration> = runs.iter().map(time).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(blocks: &[Block], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(blocks)?);
        return Ok(());
    }
    let columns =
        [("block", Align::Left), ("input", Align::Left), ("ms", Align::Right), ("MP/s", Align::Right)];
    let cells = |block: &Block| {
        let (ms, rate) = (format!("{:.3}", block.ms), format!("{:.1}", block.megapixels_per_second));
        vec![block.name.clone(), block.input.clone(), ms, rate]
    };
    print!("{}", table(&columns, &blocks.iter().map(cells).collect::<Vec<_>>()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::generated;

    #[test]
    fn every_block_of_a_photo_is_measured() {
        let spec = PhotoSpec { width: 2400, height: 1200, ..PhotoSpec::default() };
        let blocks = measure(&generated("a", &spec), 3).unwrap();
        let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!(names[..4], ["probe", "decode", "resize to 2048", "resize 2048 to 1080"]);
        assert_eq!(names[4], "encode 2048 as jpeg, quality 80");
        assert!(blocks.iter().all(|block| block.ms > 0.0 && block.megapixels_per_second > 0.0), "{blocks:?}");
        assert!(blocks.iter().all(|block| block.input == "JPEG baseline 2400×1200"));
        assert_eq!(names.len() - 4 + left_out().len(), Format::ALL.len());
    }

    #[test]
    fn what_is_not_resized_is_not_measured() {
        let spec = PhotoSpec { width: 640, height: 480, progressive: true, ..PhotoSpec::default() };
        let blocks = measure(&generated("a", &spec), 1).unwrap();
        assert!(blocks.iter().all(|block| !block.name.starts_with("resize")), "{blocks:?}");
        assert_eq!(blocks[0].input, "JPEG progressive 640×480");
    }

    #[test]
    fn a_folder_gives_one_photo_of_each_kind() {
        let small = PhotoSpec { width: 32, height: 32, ..PhotoSpec::default() };
        let progressive = PhotoSpec { progressive: true, ..small };
        let photos = vec![
            generated("first", &small),
            generated("second", &PhotoSpec { seed: 1, ..small }),
            generated("third", &progressive),
        ];
        let names: Vec<String> =
            first_of_each_kind(photos).unwrap().into_iter().map(|photo| photo.name).collect();
        assert_eq!(names, ["first", "third"]);
    }

    #[test]
    fn json_has_a_stable_shape() {
        let block =
            Block { name: "probe".into(), input: "PNG 1×1".into(), ms: 1.5, megapixels_per_second: 2.0 };
        assert_eq!(
            serde_json::to_string(&block).unwrap(),
            r#"{"block":"probe","input":"PNG 1×1","ms":1.5,"megapixels_per_second":2.0}"#
        );
    }
}
