//! `darkroom-bench quality`: what the default ladder's variants lose against a reference.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::engine::{Engine, Fit, Preset, Variant, default_ladders};
use crate::folder::Photo;
use crate::likeness::{Likeness, Original};
use crate::picture::Picture;
use crate::samples::photos;
use crate::table::{Align, table};

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct QualityArgs {
    /// A folder of JPEG, PNG and WebP photos. Without it, three generated ones are used.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// One variant of one photo against its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Compared {
    photo: String,
    preset: String,
    format: String,
    width: u32,
    height: u32,
    bytes: usize,
    /// Of the brightness, at most 1.
    ssim: f64,
    /// Of all three channels, in dB. `null` where nothing was lost.
    psnr: f64,
}

/// Compares and prints. Photos of which no reference can be made are named on standard error.
pub(crate) fn run(args: &QualityArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for photo in photos(args.photos.as_deref())? {
        match Original::decode(&photo.bytes) {
            Ok(mut original) => {
                for ladder in default_ladders() {
                    rows.extend(compare(&photo, &mut original, &ladder).with_context(|| photo.name.clone())?);
                }
            }
            Err(error) => eprintln!("{} is left out: {error:#}", photo.name),
        }
    }
    if rows.is_empty() {
        bail!("there was nothing to compare");
    }
    print(&rows, args.json)
}

/// Every variant of a photo.
fn compare(photo: &Photo, original: &mut Original, ladder: &[Preset]) -> anyhow::Result<Vec<Compared>> {
    let rendered = Engine::default().probe_decode_render(&photo.bytes, ladder)?;
    let mut rows = Vec::new();
    for (variant, _) in &rendered.variants {
        let fit = ladder
            .iter()
            .find(|preset| preset.name == variant.preset)
            .map_or(Fit::Inside, |preset| preset.fit);
        let Likeness { ssim, psnr } = against_reference(original, fit, variant)
            .with_context(|| format!("the variant `{}` cannot be compared", variant.preset))?;
        rows.push(Compared {
            photo: photo.name.clone(),
            preset: variant.preset.clone(),
            format: variant.format.to_string(),
            width: variant.width,
            height: variant.height,
            bytes: variant.bytes.len(),
            ssim,
            psnr,
        });
    }
    Ok(rows)
}

fn against_reference(original: &mut Original, fit: Fit, variant: &Variant) -> anyhow::Result<Likeness> {
    let shown = Picture::decode(&variant.bytes)?;
    let said = (variant.width as usize, variant.height as usize);
    ensure!((shown.width, shown.height) == said, "its file has another size than the variant");
    original.compare(fit, &shown)
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(rows: &[Compared], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(rows)?);
    } else {
        print!("{}", as_table(rows));
    }
    Ok(())
}

fn as_table(rows: &[Compared]) -> String {
    let columns = [
        ("photo", Align::Left),
        ("preset", Align::Left),
        ("format", Align::Left),
        ("size", Align::Right),
        ("bytes", Align::Right),
        ("bits/pixel", Align::Right),
        ("SSIM", Align::Right),
        ("PSNR dB", Align::Right),
    ];
    let mut cells: Vec<Vec<String>> = rows.iter().map(row_cells).collect();
    let mut photos: Vec<&str> = rows.iter().map(|row| row.photo.as_str()).collect();
    photos.dedup();
    if photos.len() > 1 {
        cells.extend(means(rows, photos.len()));
    }
    table(&columns, &cells)
}

fn row_cells(row: &Compared) -> Vec<String> {
    let pixels = f64::from(row.width) * f64::from(row.height);
    vec![
        row.photo.clone(),
        row.preset.clone(),
        row.format.clone(),
        format!("{}×{}", row.width, row.height),
        row.bytes.to_string(),
        format!("{:.3}", row.bytes as f64 * 8.0 / pixels),
        format!("{:.4}", row.ssim),
        format!("{:.2}", row.psnr),
    ]
}

/// One row for each preset and format, over all photos.
fn means(rows: &[Compared], photos: usize) -> Vec<Vec<String>> {
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let kind = (row.preset.as_str(), row.format.as_str());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mean = |(preset, format): &(&str, &str)| {
        let of_kind: Vec<&Compared> = rows
            .iter()
            .filter(|row| (row.preset.as_str(), row.format.as_str()) == (*preset, *format))
            .collect();
        let mean = |value: &dyn Fn(&Compared) -> f64| {
            of_kind.iter().map(|row| value(row)).sum::<f64>() / of_kind.len() as f64
        };
        vec![
            format!("mean of {photos}"),
            (*preset).to_owned(),
            (*format).to_owned(),
            String::new(),
            format!("{:.0}", mean(&|row| row.bytes as f64)),
            format!(
                "{:.3}",
                mean(&|row| row.bytes as f64 * 8.0 / f64::from(row.width) / f64::from(row.height))
            ),
            format!("{:.4}", mean(&|row| row.ssim)),
            format!("{:.2}", mean(&|row| row.psnr)),
        ]
    };
    kinds.iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::PhotoSpec;

    use super::*;
    use crate::engine::Orientation;
    use crate::samples::generated;

    #[test]
    fn variants_are_close_to_the_reference_whichever_way_is_up() {
        for orientation in [Orientation::Upright, Orientation::Transverse] {
            let spec = PhotoSpec { width: 700, height: 500, orientation, ..PhotoSpec::default() };
            let photo = generated("a", &spec);
            let picture = Picture::decode(&photo.bytes).unwrap();
            let mut original = Original::of(picture.clone());
            let rows = compare(&photo, &mut original, &default_ladders()[0]).unwrap();
            assert_eq!(rows.len(), 5);
            assert!(rows.iter().all(|row| row.ssim > 0.75 && row.psnr > 30.0), "{rows:?}");
            let mut turned = picture;
            turned.pixels.reverse();
            let rows = compare(&photo, &mut Original::of(turned), &default_ladders()[0]).unwrap();
            assert!(rows.iter().all(|row| row.ssim < 0.7 && row.psnr < 20.0), "{rows:?}");
        }
    }

    #[test]
    fn the_table_ends_with_means() {
        let row = |photo: &str, ssim| Compared {
            photo: photo.to_owned(),
            preset: "thumb".to_owned(),
            format: "JPEG".to_owned(),
            width: 100,
            height: 50,
            bytes: 1250,
            ssim,
            psnr: 36.0,
        };
        let text = as_table(&[row("a", 0.96), row("b", 0.98)]);
        let last = text.lines().last().unwrap();
        let cells: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(cells, ["mean", "of", "2", "thumb", "JPEG", "1250", "2.000", "0.9700", "36.00"]);
        assert_eq!(as_table(&[row("a", 0.96)]).lines().count(), 2, "one photo needs no mean");
        let json = serde_json::to_value(row("a", 0.5)).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 8, "{keys:?}");
    }
}
