//! Metadata and colour profiles: the input is the block, and the file around it is whole.

use std::sync::LazyLock;

use darkroom_media::{
    Fit, Gamut, MediaError, Preset, PresetFormat, Scratch, SourceFormat, Strip, decode, probe, render,
    without_private,
};
use jpeg_encoder::{ColorType, Encoder};

use super::build::deflate;
use super::mutate::png_chunk;
use super::seeds::channels;
use super::targets::{Reached, limits};

// Files without a block, encoded once: they are the same for every input.
static RGB: LazyLock<Vec<u8>> = LazyLock::new(|| jpeg(ColorType::Rgb));
static LUMA: LazyLock<Vec<u8>> = LazyLock::new(|| jpeg(ColorType::Luma));
static INKS: LazyLock<Vec<u8>> = LazyLock::new(|| jpeg(ColorType::Cmyk));
static RGB_16: LazyLock<Vec<u8>> = LazyLock::new(|| png(png::ColorType::Rgb));
static GRAY_16: LazyLock<Vec<u8>> = LazyLock::new(|| png(png::ColorType::Grayscale));

/// Longest block that fits into one segment of a JPEG beside its name.
const BLOCK_BYTES_MAX: usize = 60_000;

/// A block that cannot be read is as if it were not there, whatever it is: the photo is probed, made public and rendered.
pub(super) fn metadata(container: u8, block: &[u8]) -> Reached {
    if block.len() > BLOCK_BYTES_MAX {
        return Reached::Nothing;
    }
    let (file, format) = match container % 3 {
        0 => (with_segment(&RGB, 0xE1, &[b"Exif\0\0", block].concat()), SourceFormat::Jpeg),
        1 => (with_chunk(&RGB_16, *b"eXIf", block), SourceFormat::Png),
        _ => (webp(block), SourceFormat::WebP),
    };
    let limits = limits();
    let found = probe(&file, &limits).unwrap_or_else(|error| panic!("{error}"));
    let public = without_private(&file, format).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(without_private(&public, format).as_ref(), Ok(&public), "once more changes something");
    let after = probe(&public, &limits).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(after.orientation, found.orientation);
    let mut scratch = Scratch::default();
    let photo = decode(&file, &found, &limits, &mut scratch).unwrap_or_else(|error| panic!("{error}"));
    let presets = [Strip::Private, Strip::None].map(|strip| Preset {
        strip,
        format: [PresetFormat::Jpeg, PresetFormat::Png, PresetFormat::WebP][usize::from(container / 3 % 3)],
        ..Preset::new(if strip == Strip::None { "none" } else { "private" }, 4, 4, Fit::Inside)
    });
    let mut variants = Vec::new();
    render(photo, &presets, &mut scratch, &mut |variant, _| variants.push(variant)).unwrap();
    for variant in variants {
        let shown = probe(&variant.bytes, &limits).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((shown.width, shown.height), (variant.width, variant.height));
        assert_eq!(shown.orientation, darkroom_media::Orientation::Upright);
    }
    match (&found.capture, &after.capture) {
        (None, None) => Reached::Nothing,
        (None, Some(capture)) => panic!("what is public tells more: {capture:?}"),
        (Some(_), _) => Reached::End,
    }
}

/// Whether something was found in the block.
pub(super) fn is_told(block: &[u8]) -> bool {
    block.len() <= BLOCK_BYTES_MAX
        && probe(&with_chunk(&RGB_16, *b"eXIf", block), &limits()).is_ok_and(|found| found.capture.is_some())
}

/// A profile that makes no sense is as if it were not there, whatever it is: the photo is decoded and rendered.
///
/// What colours are converted with has the same size for the smallest photo as for any: for inks a lattice of 83,521
/// colours, for 16 bits curves of 65,536 values. So only one container in 64 is of each of these kinds.
pub(super) fn profile(container: u8, profile: &[u8]) -> Reached {
    if profile.len() > BLOCK_BYTES_MAX {
        return Reached::Nothing;
    }
    let in_segment = |plain| with_segment(plain, 0xE2, &[b"ICC_PROFILE\0\x01\x01", profile].concat());
    let in_chunk = |plain| with_chunk(plain, *b"iCCP", &[b"p\0\0", deflate(profile).as_slice()].concat());
    let file = match container % 64 {
        2 => in_segment(&INKS),
        // Of 16 bits, which are converted before they are reduced.
        3 => in_chunk(&RGB_16),
        4 => in_chunk(&GRAY_16),
        odd if odd % 2 == 1 => in_segment(&LUMA),
        _ => in_segment(&RGB),
    };
    let limits = limits();
    let found = probe(&file, &limits).unwrap_or_else(|error| panic!("{error}"));
    let mut scratch = Scratch::default();
    let photo = decode(&file, &found, &limits, &mut scratch).unwrap_or_else(|error| panic!("{error}"));
    let preset = Preset {
        gamut: if container & 0x80 == 0 { Gamut::Srgb } else { Gamut::P3 },
        ..Preset::new("only", 4, 4, Fit::Inside)
    };
    let outcome = render(photo, &[preset], &mut scratch, &mut |_, _| {});
    assert!(!matches!(outcome, Err(MediaError::Encode { .. })), "{outcome:?}");
    if is_profile(profile) { Reached::End } else { Reached::Nothing }
}

/// Whether a profile is one at all.
pub(super) fn is_profile(profile: &[u8]) -> bool {
    moxcms::ColorProfile::new_from_slice(profile).is_ok()
}

/// Eight by eight pixels.
fn jpeg(kind: ColorType) -> Vec<u8> {
    let pixels: Vec<u8> = (0..8 * 8 * 4).map(|index| index as u8).collect();
    let mut bytes = Vec::new();
    let count = channels(kind) * 64;
    Encoder::new(&mut bytes, 90).encode(&pixels[..count], 8, 8, kind).unwrap();
    bytes
}

/// With a segment behind the first marker.
fn with_segment(jpeg: &[u8], code: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, code], &length, payload, &jpeg[2..]].concat()
}

/// Four by four pixels of 16 bits.
fn png(color: png::ColorType) -> Vec<u8> {
    let pixels: Vec<u8> = (0..4 * 4 * 2 * color.samples()).map(|index| (index * 3) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// With a chunk behind the header.
fn with_chunk(png: &[u8], kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    [&png[..33], &png_chunk(kind, data), &png[33..]].concat()
}

fn webp(exif: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif.to_vec());
    encoder.encode(&[7; 48], 4, 4, image_webp::ColorType::Rgb8).unwrap();
    bytes
}
