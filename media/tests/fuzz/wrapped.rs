//! Metadata and colour profiles: the input is the block, and the file around it is whole.

use darkroom_media::{
    Fit, Gamut, MediaError, Preset, PresetFormat, Scratch, SourceFormat, Strip, decode, probe, render,
    without_private,
};
use jpeg_encoder::{ColorType, Encoder};

use super::build::deflate;
use super::mutate::png_chunk;
use super::seeds::channels;
use super::targets::{Reached, limits};

/// Longest block that fits into one segment of a JPEG beside its name.
const BLOCK_BYTES_MAX: usize = 60_000;

/// A block that cannot be read is as if it were not there, whatever it is: the photo is probed, made public and rendered.
pub(super) fn metadata(container: u8, block: &[u8]) -> Reached {
    if block.len() > BLOCK_BYTES_MAX {
        return Reached::Nothing;
    }
    let (file, format) = match container % 3 {
        0 => (jpeg(ColorType::Rgb, 0xE1, &[b"Exif\0\0", block].concat()), SourceFormat::Jpeg),
        1 => (png(*b"eXIf", block), SourceFormat::Png),
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
        && probe(&png(*b"eXIf", block), &limits()).is_ok_and(|found| found.capture.is_some())
}

/// A profile that makes no sense is as if it were not there, whatever it is: the photo is decoded and rendered.
pub(super) fn profile(container: u8, profile: &[u8]) -> Reached {
    if profile.len() > BLOCK_BYTES_MAX {
        return Reached::Nothing;
    }
    let segment = [b"ICC_PROFILE\0\x01\x01", profile].concat();
    let file = match container % 5 {
        0 => jpeg(ColorType::Rgb, 0xE2, &segment),
        1 => jpeg(ColorType::Luma, 0xE2, &segment),
        2 => jpeg(ColorType::Cmyk, 0xE2, &segment),
        // Also of 16 bits, which are converted before they are reduced.
        3 => png(*b"iCCP", &[b"p\0\0", deflate(profile).as_slice()].concat()),
        _ => png_of(png::ColorType::Grayscale, *b"iCCP", &[b"p\0\0", deflate(profile).as_slice()].concat()),
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

/// Eight by eight pixels, with a segment behind the first marker.
fn jpeg(kind: ColorType, code: u8, payload: &[u8]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..8 * 8 * 4).map(|index| index as u8).collect();
    let mut bytes = Vec::new();
    let count = channels(kind) * 64;
    Encoder::new(&mut bytes, 90).encode(&pixels[..count], 8, 8, kind).unwrap();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&bytes[..2], &[0xFF, code], &length, payload, &bytes[2..]].concat()
}

fn png(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    png_of(png::ColorType::Rgb, kind, data)
}

/// Four by four pixels of 16 bits, with a chunk behind the header.
fn png_of(color: png::ColorType, kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..4 * 4 * 2 * color.samples()).map(|index| (index * 3) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    [&bytes[..33], &png_chunk(kind, data), &bytes[33..]].concat()
}

fn webp(exif: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif.to_vec());
    encoder.encode(&[7; 48], 4, 4, image_webp::ColorType::Rgb8).unwrap();
    bytes
}
