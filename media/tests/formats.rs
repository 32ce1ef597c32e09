//! `docs/formats.md`, made by running a file of each kind through probe, decoder and renderer, so that it cannot claim what
//! is not so.
//!
//! What is said of builds with a feature is made and compared by such a build, and what is said of those without it by
//! another; either leaves the other's rows as they stand. `DARKROOM_WRITE_DOCS=1 cargo test -p darkroom-media --all-features
//! --test formats` writes all rows but those of builds without a feature, and without `--all-features` it writes these.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

#[path = "common/coded.rs"]
mod coded;
mod common;
#[path = "common/heif.rs"]
mod heif;
#[path = "common/jxl.rs"]
mod jxl;
#[path = "common/kinds.rs"]
mod kinds;

use std::fmt::Write;

use common::assert_alike;
use common::look::{Seen, seen};
use common::make::{Png, noise};
use darkroom_media::{
    Fit, Limits, MediaError, Preset, PresetFormat, Probe, Scratch, SourceFormat, decode, probe, render,
};
use kinds::{Becomes, Kind, sections};

/// What is not made by running files.
const HEAD: &str = include_str!("formats/head.md");
const TAIL: &str = include_str!("formats/tail.md");

/// Side of the variants: that of the largest file here, so that none is reduced.
const SIDE: u32 = 160;

/// What became of a file: its probe, whether it is marked as damaged, and its variants.
fn rendered(file: &[u8]) -> Result<(Probe, bool, Vec<Seen>), MediaError> {
    let (limits, mut scratch) = (Limits::default(), Scratch::default());
    let found = probe(file, &limits)?;
    let photo = decode(file, &found, &limits, &mut scratch)?;
    let damaged = photo.damage().is_some();
    let presets = [PresetFormat::Png, PresetFormat::Jpeg, PresetFormat::WebP].map(|format| Preset {
        format,
        quality: 95,
        ..Preset::new("x", SIDE, SIDE, Fit::Inside)
    });
    let mut variants = Vec::new();
    render(photo, &presets, &mut scratch, &mut |variant, _| variants.push(variant))?;
    let seen = variants.iter().map(|variant| Seen::of(&variant.bytes)).collect();
    Ok((found, damaged, seen))
}

/// What the probe tells of a file that is decoded.
fn facts(found: &Probe) -> String {
    let plural = if found.bit_depth == 1 { "bit" } else { "bits" };
    let mut facts = format!("{} × {} {plural}", found.components, found.bit_depth);
    if found.palette {
        facts.push_str(", palette");
    }
    if found.has_alpha {
        facts.push_str(", alpha");
    }
    if let Some(subsampling) = found.subsampling {
        let name = serde_json::to_value(subsampling).unwrap();
        write!(facts, ", chroma {}", name.as_str().unwrap()).unwrap();
    }
    let frames = found.frames;
    match found.format {
        _ if frames == 1 => {}
        SourceFormat::Gif | SourceFormat::WebP => {
            write!(facts, "; the first of {frames} frames, or all where a preset keeps motion").unwrap();
        }
        SourceFormat::Avif | SourceFormat::Heic => write!(facts, "; {frames} frames beside it").unwrap(),
        _ => write!(facts, "; the first of {frames} frames").unwrap(),
    }
    facts
}

/// Runs a file, compares the outcome with what is expected, and puts it into words.
fn outcome(kind: &Kind) -> String {
    let name = &kind.name;
    match (rendered(&kind.file), kind.becomes) {
        (Ok((found, damaged, variants)), Becomes::Shown(corners)) => {
            assert!(!damaged, "{name}");
            assert_variants(&found, &variants, corners, name);
            format!("decoded ({})", facts(&found))
        }
        (Ok((found, true, variants)), Becomes::Marked) => {
            assert_eq!(variants.len(), 3, "{name}");
            assert!(found.truncated, "{name}");
            "shown as far as it goes, and marked as damaged".to_owned()
        }
        (Err(error), Becomes::Refused(code)) => {
            assert_eq!(error.code(), code, "{name}: {error}");
            format!("refused, `{code}`: {error}")
        }
        (outcome, expected) => panic!("{name}: {outcome:?}, expected {expected:?}"),
    }
}

/// Every variant has the size of the photo as it is shown, and its colours.
fn assert_variants(found: &Probe, variants: &[Seen], corners: [[u8; 3]; 4], name: &str) {
    assert_eq!(variants.len(), 3, "{name}");
    for variant in variants {
        let (width, height) = found.shown_size();
        assert_eq!((variant.width as u32, variant.height as u32), (width, height), "{name}");
        let laid = variant.clone().laid_on_white();
        assert_alike(laid.corners(), corners, name);
    }
}

/// The document. Rows that only other builds can make are those of `written`, which is the document as it stands.
fn document(written: &str) -> String {
    let mut document = HEAD.to_owned();
    for (title, kinds) in sections() {
        write!(document, "\n### {title}\n\n| what | what becomes of it |\n|---|---|\n").unwrap();
        for kind in &kinds {
            if kind.of_this_build {
                writeln!(document, "| {} | {} |", kind.name, outcome(kind)).unwrap();
            } else if let Some(row) = row_of(written, title, &kind.name) {
                writeln!(document, "{row}").unwrap();
            }
        }
    }
    document.push('\n');
    document.push_str(TAIL);
    document
}

/// A row of the table under a title.
fn row_of<'a>(written: &'a str, title: &str, name: &str) -> Option<&'a str> {
    let (title, name) = (format!("{title}\n"), format!("| {name} | "));
    let section = written.split("\n### ").find(|section| section.starts_with(&title))?;
    section.lines().find(|line| line.starts_with(&name))
}

#[test]
fn the_document_says_what_is_so() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats.md");
    let mut written = std::fs::read_to_string(path).unwrap_or_default();
    let made = document(&written);
    if std::env::var_os("DARKROOM_WRITE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
        written.clone_from(&made);
    }
    let other = made
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(made, written)| made != written);
    assert!(
        made == written,
        "docs/formats.md is not what files become: write it with `DARKROOM_WRITE_DOCS=1 cargo test -p darkroom-media \
         --test formats`, with and without `--all-features`. The first line that differs: {other:?}"
    );
}

/// What a PNG's samples look like, by the standard's own words: scaled by their greatest value, palettes looked up.
fn shown(png: &Png, palette: &[[u8; 3]], transparent: Option<&[u16]>, at: usize) -> [u8; 4] {
    let most = (1_u32 << png.depth) - 1;
    let scaled = |sample: u16| ((u32::from(sample) * 255 * 2 + most) / (2 * most)) as u8;
    let channels = png.samples.len() / (png.width * png.height);
    let samples = &png.samples[at * channels..][..channels];
    let alpha = if transparent == Some(samples) { 0 } else { 255 };
    match (png.color_type, samples) {
        (3, [index]) => {
            let [red, green, blue] = palette[usize::from(*index)];
            let alpha = transparent.and_then(|alphas| alphas.get(usize::from(*index)));
            [red, green, blue, alpha.map_or(255, |alpha| *alpha as u8)]
        }
        (_, [gray]) => [scaled(*gray), scaled(*gray), scaled(*gray), alpha],
        (_, [gray, alpha]) => [scaled(*gray), scaled(*gray), scaled(*gray), scaled(*alpha)],
        (_, [red, green, blue]) => [scaled(*red), scaled(*green), scaled(*blue), alpha],
        (_, [red, green, blue, alpha]) => [scaled(*red), scaled(*green), scaled(*blue), scaled(*alpha)],
        _ => unreachable!("a pixel has 1 to 4 samples"),
    }
}

/// The fifteen kinds: colour type and depth (ISO/IEC 15948, table 11.1).
const PNGS: [(u8, usize); 15] = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
];

/// A PNG of noise with chunks that are to be passed over, and where the kind allows it with transparency.
fn noisy(
    color_type: u8,
    depth: usize,
    size: (usize, usize),
    filter: usize,
) -> (Png, Vec<[u8; 3]>, Option<Vec<u16>>) {
    let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(color_type)];
    let mask = ((1_u32 << depth) - 1) as u16;
    let value = |at: usize| u16::from_be_bytes([noise(at as u32, 3), noise(at as u32, 8)]) & mask;
    let samples: Vec<u16> = (0..size.0 * size.1 * channels).map(value).collect();
    let mut png = Png::new(size, color_type, depth, samples);
    png.first_filter = filter;
    png = png.with(*b"gAMA", &100_000_u32.to_be_bytes());
    let colors = 1 << depth.min(8);
    let palette: Vec<[u8; 3]> = (0..colors).map(|at| [noise(at, 1), noise(at, 2), noise(at, 3)]).collect();
    let words = |samples: &[u16]| samples.iter().flat_map(|sample| sample.to_be_bytes()).collect::<Vec<u8>>();
    match color_type {
        3 => {
            let alphas: Vec<u16> = (0..colors / 2).map(|at| u16::from(noise(at, 4)) / 2 + 90).collect();
            let bytes: Vec<u8> = alphas.iter().map(|alpha| *alpha as u8).collect();
            (
                png.with(*b"PLTE", &palette.concat()).with(*b"tRNS", &bytes).with(*b"bKGD", &[0]),
                palette,
                Some(alphas),
            )
        }
        0 | 2 => {
            let transparent = png.samples[..channels].to_vec();
            let png = png.with(*b"tRNS", &words(&transparent)).with(*b"bKGD", &words(&vec![1; channels]));
            (png, palette, Some(transparent))
        }
        _ => (png.with(*b"bKGD", &words(&vec![1; channels - 1])), palette, None),
    }
}

#[test]
fn pngs_of_every_kind_size_and_filter_are_exact() {
    let mut count = 0;
    for (color_type, depth) in PNGS {
        for side in 1..=40 {
            let size = (side, (side * 7) % 41);
            let (png, palette, transparent) = noisy(color_type, depth, size, side);
            for png in [png.clone(), png.interlaced()] {
                let exact = Preset { format: PresetFormat::Png, ..Preset::new("x", 64, 64, Fit::Inside) };
                let found = seen(&png.build(), &exact);
                assert_eq!((found.width, found.height), size);
                for (at, pixel) in found.pixels.iter().enumerate() {
                    let expected = shown(&png, &palette, transparent.as_deref(), at);
                    let what =
                        format!("{color_type}, {depth} bits, {size:?}, {}, pixel {at}", png.interlaced);
                    assert_eq!(*pixel, expected, "{what}");
                }
                count += 1;
            }
        }
    }
    assert_eq!(count, 15 * 40 * 2);
}
