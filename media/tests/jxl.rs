//! JPEG XL through the public interface.
#![cfg(feature = "jxl")]
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;
#[path = "common/jxl.rs"]
mod jxl;

use common::streams::{assert_harmless, assert_more_is_ignored, damaged, decoded, fed};
use common::{CORNERS, assert_alike, corners, quadrants, variants};
use darkroom_media::{Limits, MediaError, Orientation, Preset, SourceFormat, probe};
use jxl::{boxed, contained, encoded};
use proptest::prelude::*;
use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;

const SIZE: (u32, u32) = (48, 32);

fn limits() -> Limits {
    Limits::default()
}

/// A bare codestream.
fn bare() -> Vec<u8> {
    encoded(SIZE, ColorSpace::RGB, BitDepth::Eight, &quadrants(SIZE.0, SIZE.1))
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let codestream = bare();
    vec![
        ("in a box", contained(&codestream, None)),
        ("in pieces", contained(&codestream, Some(100))),
        ("in small pieces", contained(&codestream, Some(3))),
        ("bare", codestream),
    ]
}

#[test]
fn facts_and_colours() {
    for (name, bytes) in files() {
        let (found, variants) = variants(&bytes, &Preset::default_ladder());
        assert_eq!((found.format, found.width, found.height), (SourceFormat::Jxl, SIZE.0, SIZE.1), "{name}");
        assert_eq!((found.components, found.bit_depth, found.has_alpha), (3, 8, false), "{name}");
        assert_eq!((found.orientation, found.frames), (Orientation::Upright, 1), "{name}");
        assert_eq!((found.image_bytes, found.bytes), (bytes.len() as u64, bytes.len() as u64), "{name}");
        assert_alike(corners(&variants[0]), CORNERS, name);
    }
}

#[test]
fn kinds_of_pixels_are_told_apart() {
    let kinds = [
        (ColorSpace::Luma, BitDepth::Eight, 1, 1, false),
        (ColorSpace::Luma, BitDepth::Sixteen, 2, 1, false),
        (ColorSpace::LumaA, BitDepth::Eight, 2, 1, true),
        (ColorSpace::RGB, BitDepth::Sixteen, 6, 3, false),
        (ColorSpace::RGBA, BitDepth::Eight, 4, 3, true),
        (ColorSpace::RGBA, BitDepth::Sixteen, 8, 3, true),
    ];
    for (space, depth, bytes_per_pixel, components, alpha) in kinds {
        for size in [(2, 2), (3, 5), (17, 33), (300, 270)] {
            let samples = vec![90; (size.0 * size.1) as usize * bytes_per_pixel];
            let bytes = encoded(size, space, depth, &samples);
            let found = probe(&bytes, &limits()).unwrap();
            assert_eq!((found.width, found.height), size, "{space:?}");
            assert_eq!((found.components, found.has_alpha), (components, alpha), "{space:?}");
            assert_eq!(found.bit_depth > 8, depth == BitDepth::Sixteen, "{space:?}");
            decoded(&bytes, &limits()).unwrap();
        }
    }
}

#[test]
fn any_cut_of_the_stream_is_the_same() {
    for (name, bytes) in files() {
        assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()), "{name}");
        assert_eq!(fed(bytes.chunks(7), &limits()), probe(&bytes, &limits()), "{name}");
    }
}

#[test]
fn cut_anywhere_a_file_is_truncated_or_cannot_be_decoded() {
    for (name, bytes) in files() {
        for length in 1..bytes.len() {
            let cut = &bytes[..length];
            match probe(cut, &limits()) {
                Err(MediaError::Truncated { .. }) => {}
                // A bare codestream does not say how long it is.
                Ok(_) if name == "bare" => {
                    assert_eq!(
                        decoded(cut, &limits()).unwrap_err().code(),
                        "corrupt-image",
                        "{name} cut to {length}"
                    );
                }
                other => panic!("{name} cut to {length} of {}: {other:?}", bytes.len()),
            }
            assert_eq!(fed(cut.chunks(1), &limits()), probe(cut, &limits()), "{name} {length}");
        }
    }
}

#[test]
fn what_follows_the_end_is_ignored() {
    for (name, bytes) in files() {
        // A bare codestream does not say how long it is.
        assert_more_is_ignored(name, &bytes, name != "bare");
    }
}

#[test]
fn bombs_are_refused_for_their_size() {
    // A size of 2³⁰ × 2³⁰: not a multiple of eight, 30 bits each, no ratio; then everything as usual.
    let mut bits: Vec<bool> = vec![false, true, true];
    bits.extend([true; 30]);
    bits.extend([false; 3]);
    bits.extend([true, true]);
    bits.extend([true; 30]);
    bits.extend([true; 8]);
    let mut bytes = b"\xFF\x0A".to_vec();
    bytes.extend(
        bits.chunks(8).map(|bits| bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum::<u8>()),
    );
    bytes.extend([0; 40]);
    let error = probe(&bytes, &limits()).unwrap_err();
    assert!(matches!(error, MediaError::TooManyPixels { width: 0x4000_0000, .. }), "{error}");
    assert_eq!(fed(bytes.chunks(1), &limits()), Err(error.clone()));
    let error = probe(&contained(&bytes, Some(5)), &limits()).unwrap_err();
    assert!(matches!(error, MediaError::TooManyPixels { .. }), "{error}");
}

#[test]
fn containers_without_a_picture_are_damaged_or_cut_short() {
    let head = boxed(*b"JXL ", b"\r\n\x87\n");
    let with = |boxes: &[u8]| probe(&[head.as_slice(), boxes].concat(), &limits()).unwrap_err();
    assert!(matches!(with(b""), MediaError::Truncated { .. }));
    assert!(matches!(with(&boxed(*b"free", b"nothing")), MediaError::Truncated { .. }));
    assert!(matches!(with(&boxed(*b"jxlc", b"")), MediaError::Truncated { .. }));
    assert_eq!(with(b"\0\0\0\0free").code(), "corrupt-image");
    assert_eq!(with(b"\0\0\0\x03free").code(), "corrupt-image");
    assert_eq!(with(b"\0\0\0\x01free\0\0\0\0\0\0\0\x09").code(), "corrupt-image");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_files_never_panic(file in damaged(files(), 1..5), piece in 1_usize..100) {
        assert_harmless(&file.bytes, piece);
    }
}
