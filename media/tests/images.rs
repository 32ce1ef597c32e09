//! Every file of a folder from its bytes to its variants: real images, which are too many and not ours to keep here.
//!
//! `DARKROOM_TEST_IMAGES=/somewhere cargo test -p darkroom-media --test images -- --nocapture` prints a table of what became
//! of each. A file may be refused, with a reason; it may not panic, and its variants must have the sizes of their presets.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use darkroom_media::{Limits, MediaError, Preset, Probe, Scratch, Variant, decode, probe, render};

/// Names the folder.
const FOLDER: &str = "DARKROOM_TEST_IMAGES";

/// All files below a folder, by name. Links are not followed.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Probe, price, decode and render, with the default limits and ladder.
fn variants(bytes: &[u8]) -> Result<(Probe, Vec<Variant>), MediaError> {
    let (limits, presets, mut scratch) = (Limits::default(), Preset::default_ladder(), Scratch::default());
    let found = probe(bytes, &limits)?;
    assert!(found.cost(&presets, &limits).peak_bytes > 0);
    let photo = decode(bytes, &found, &limits, &mut scratch)?;
    let mut variants = Vec::new();
    render(photo, &presets, &mut scratch, &mut |variant, _| variants.push(variant))?;
    Ok((found, variants))
}

/// One line of the table. Panics where a variant is not what its preset asks for.
fn line(bytes: &[u8]) -> String {
    let started = Instant::now();
    let (found, variants) = match variants(bytes) {
        Ok(made) => made,
        Err(error) => return format!("{}: {error}", error.code()),
    };
    let ladder = Preset::default_ladder();
    assert_eq!(variants.len(), ladder.len());
    let (width, height) = found.shown_size();
    for variant in &variants {
        let preset = ladder.iter().find(|preset| preset.name == variant.preset).unwrap();
        assert_eq!((variant.width, variant.height), preset.output_size(width, height), "{}", variant.preset);
    }
    let (depth, components) = (found.bit_depth, found.components);
    let took = started.elapsed().as_millis();
    format!("{} {width}×{height}, {components} × {depth} bits, {took} ms", found.format)
}

#[test]
fn every_file_of_a_folder_becomes_variants_or_a_reason() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        println!("{FOLDER} names no folder: nothing to look at");
        return;
    };
    let mut found = Vec::new();
    files(Path::new(&folder), &mut found);
    assert!(!found.is_empty(), "there are no files in {}", folder.display());
    let mut panicked = Vec::new();
    for path in &found {
        let bytes = std::fs::read(path).unwrap();
        let name = path.strip_prefix(&folder).unwrap_or(path).display().to_string();
        // Caught, so that the table is whole: the test fails at its end.
        let outcome = std::panic::catch_unwind(|| line(&bytes)).unwrap_or_else(|_| {
            panicked.push(name.clone());
            "PANIC".to_owned()
        });
        println!("{name:<60} {outcome}");
    }
    assert!(panicked.is_empty(), "{} of {} files: {panicked:?}", panicked.len(), found.len());
}
