//! Variants in AVIF, in builds that write it, read again by this crate's own reader.
#![cfg(feature = "avif-encode")]
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use common::look::rendered;
use common::make::Png;
use common::{CORNERS, WHITE, assert_alike, corners, quadrants, variants};
use darkroom_media::{Fit, OutputFormat, Preset, PresetFormat, Probe, SourceFormat, Subsampling};

const SIZE: (u32, u32) = (48, 32);

/// A PNG of these pixels as an AVIF: what that is, and the colours of its corners, on white where they are transparent.
fn through_avif(pixels: &[u8]) -> (Probe, [[u8; 3]; 4]) {
    let original = Png::of_bytes((SIZE.0 as usize, SIZE.1 as usize), pixels).build();
    let preset = Preset::new("x", SIZE.0, SIZE.1, Fit::Inside);
    let avif = Preset { format: PresetFormat::Avif, quality: 90, ..preset.clone() };
    let variant = rendered(&original, &avif);
    assert_eq!((variant.format, variant.width, variant.height), (OutputFormat::Avif, SIZE.0, SIZE.1));
    let (found, again) = variants(&variant.bytes, &[preset]);
    assert_eq!((found.format, found.width, found.height), (SourceFormat::Avif, SIZE.0, SIZE.1));
    (found, corners(&again[0]))
}

#[test]
fn colours_are_those_of_the_photo() {
    let (found, shown) = through_avif(&quadrants(SIZE.0, SIZE.1));
    assert_eq!((found.bit_depth, found.subsampling), (10, Some(Subsampling::S444)));
    assert!(!found.has_alpha);
    assert_alike(shown, CORNERS, "opaque");
}

#[test]
fn what_is_transparent_stays_so() {
    let colors = quadrants(SIZE.0, SIZE.1);
    let clear = |at: usize| at % SIZE.0 as usize >= 24 && at / SIZE.0 as usize >= 16;
    let pixels: Vec<u8> = (colors.chunks(3).enumerate())
        .flat_map(|(at, color)| [color[0], color[1], color[2], if clear(at) { 0 } else { 255 }])
        .collect();
    let (found, shown) = through_avif(&pixels);
    assert!(found.has_alpha);
    assert_alike(shown, [CORNERS[0], CORNERS[1], CORNERS[2], WHITE], "the last corner is clear");
}
